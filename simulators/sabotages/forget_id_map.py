"""Breaks I4: what the charger says of a transaction leaves with the charger's id, though the CSMS knows another."""

from __future__ import annotations

from gateway.cli import main
from gateway.ocpp.core import RELAYED, Core
from gateway.ocpp.meaning import Message


def apply() -> None:
    """Let every message pass unchanged."""

    def for_csms(self: Core, message: Message, csms_id: int | None) -> tuple[str, str]:
        return message.frame.text, RELAYED

    Core.for_csms = for_csms  # type: ignore[method-assign]


if __name__ == "__main__":
    apply()
    raise SystemExit(main())

"""Breaks I10: a charger's transaction messages are read and written anew before they go to the CSMS."""

from __future__ import annotations

import json

from gateway.cli import main
from gateway.ocpp.core import Core
from gateway.ocpp.meaning import Message


def apply() -> None:
    """The same content in other bytes."""
    as_it_came = Core.for_csms

    def for_csms(self: Core, message: Message, csms_id: int | None) -> tuple[str, str]:
        text, rule = as_it_came(self, message, csms_id)
        return json.dumps(json.loads(text)), rule

    Core.for_csms = for_csms  # type: ignore[method-assign]


if __name__ == "__main__":
    apply()
    raise SystemExit(main())

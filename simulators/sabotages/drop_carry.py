"""Breaks I7: the rounding rest of a quarter hour is not handed on; every one starts from zero."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.cli import main
from gateway.energy import quarter
from gateway.energy.split import Allocation, Key, allocate


def apply() -> None:
    """Forget the carry where it is used."""

    def without_carry(
        solar_wh: int, pool_wh: int, consumption: Mapping[str, int], carry: Mapping[str, int], key: Key
    ) -> Allocation:
        return allocate(solar_wh, pool_wh, consumption, {}, key)

    quarter.allocate = without_carry  # type: ignore[attr-defined]


if __name__ == "__main__":
    apply()
    raise SystemExit(main())

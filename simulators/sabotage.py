"""Faults that are patched into the gateway from outside, to show that the judge finds them.

`python -m simulators.sabotage NAME run --config ...` runs instead of `python -m gateway run --config ...`. Nothing of
the gateway is imported here; each file of `sabotages/` does that in the gateway's own process.
"""

from __future__ import annotations

import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "sabotages"


@dataclass(frozen=True, slots=True)
class Sabotage:
    """A fault, where it stands, and the invariants that it must break (others may break with them)."""

    description: str
    script: Path
    breaks: tuple[str, ...]

    @property
    def module(self) -> str:
        """What `python -m` runs."""
        return f"simulators.sabotages.{self.script.stem}"


def _one(name: str, description: str, *breaks: str) -> tuple[str, Sabotage]:
    return name, Sabotage(description, FOLDER / f"{name.replace('-', '_')}.py", breaks)


NAMES: dict[str, Sabotage] = dict(
    (
        _one("answer-before-commit", "meter values are confirmed minutes before they are on disk", "I3"),
        _one("forget-id-map", "the CSMS is told the charger's transaction ids instead of its own", "I4", "I10"),
        _one("drop-carry", "every quarter hour begins without the rounding rest of the one before", "I7"),
        _one("double-record", "the end of each session goes to the cloud twice, under two record ids", "I5"),
        _one("shift-register", "each end register is one watt-hour too high, and signed so", "I6"),
        _one("rewrite-frame", "transaction messages are parsed and written anew on their way to the CSMS", "I10"),
        _one("skip-fallback", "no box is ever told its fallback, and each counts as proven", "I1p"),
    )
)


def main(arguments: list[str]) -> None:
    """Run the gateway with a fault; it ends the process with the gateway's exit code, or 2 for an unknown name."""
    if not arguments or arguments[0] not in NAMES:
        print(f"usage: python -m simulators.sabotage {{{','.join(NAMES)}}} run --config ...", file=sys.stderr)
        raise SystemExit(2)
    sys.argv = ["zev-gateway", *arguments[1:]]
    runpy.run_module(NAMES[arguments[0]].module, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])

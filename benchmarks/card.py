"""What the gateway writes to its SD card in a day, with 20 wallboxes, with and without both backends.

    python -m benchmarks.card

The whole building of `tests/site` on virtual time, on a disk below SQLite that counts the bytes handed to it. First
everything is there; then backend and broker go: in the first hour every MeterValues is kept, later one per transaction
and quarter hour; at last the cars leave. Each is measured for a while. A day is every box in a transaction for twelve
hours, and empty for twelve; the figures with a car at every box stand beside it.

What a file system writes of its own is not in it. A commit that fills one page of 4 kB touches two blocks of the card,
so that fewer commits save more there than here.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from simulators.charger import Charger, Transaction
from tests.site.budget import LOOK_EVERY_S
from tests.site.house import House
from tests.site.plan import DAY_S, SETTLE_S, Fault, Plan, make_plan
from tests.site.run import Options, simulate

BOXES = 20
PHASES = {
    "online": (1, 7),
    "away, the first hour": (8, 13),
    "away, a car at every box": (14, 20),
    "away, nobody": (21, 26),
}
"""Name -> the looks between which it is measured."""

ONLINE_MB, AWAY_MB = 30, 100
"""What may be written in a day (design rule 10)."""

AWAY_S, LEAVE_S, BACK_S = (look * LOOK_EVERY_S for look in (8.5, 21.5, 27.5))
"""Half-way between two looks: what it costs to lose one another is no daily cost."""

SECONDS = BACK_S + SETTLE_S


class Everybody(Options):
    """Every box has a car from the first minutes on, until all leave."""

    def plan(self) -> Plan:
        """The house of the seed, the visits of a crowd."""
        crowd = make_plan(self.seed, self.hours, self.chargers, 0.0, crowded=True).visits
        visits = tuple(replace(visit, stays_s=LEAVE_S - visit.at_s) for visit in crowd)
        return replace(super().plan(), visits=visits)


@dataclass(frozen=True)
class Written:
    """What the boxes had sent and the disk had taken by a moment, or between two."""

    total: int
    syncs: int
    meter_values: int

    def since(self, before: Written) -> Written:
        """What came between."""
        return Written(self.total - before.total, self.syncs - before.syncs, self.meter_values - before.meter_values)

    def mb_a_day(self, seconds: int) -> float:
        """As if these seconds went on for a day."""
        return self.total * DAY_S / seconds / 1e6


def measure() -> dict[str, Written]:
    """Live through it once; what the hour of each phase has cost."""
    looks: list[Written] = []
    sent = 0
    take_stock, meter = House.take_stock, Charger._meter

    def look(self: House) -> None:
        take_stock(self)
        assert self.machine is not None
        looks.append(Written(self.machine.disk.bytes_written, self.machine.disk.synced, sent))

    def counted(self: Charger, transaction: Transaction | None) -> None:
        nonlocal sent
        sent += 1
        meter(self, transaction)

    House.take_stock, Charger._meter = look, counted  # type: ignore[method-assign]
    away = tuple(Fault(AWAY_S, kind, BACK_S - AWAY_S) for kind in ("csms_away", "broker_away"))
    options = Everybody(hours=SECONDS / 3600, chargers=BOXES, faults_per_hour=0.0, added=away)
    with tempfile.TemporaryDirectory() as folder:
        outcome = simulate(options, Path(folder))
    if not outcome.holds:
        raise SystemExit(f"no measure: broken {outcome.broken} {outcome.crash}")
    return {name: looks[last].since(looks[first]) for name, (first, last) in PHASES.items()}


def report(measured: dict[str, Written]) -> bool:
    """Print it; whether both promises are kept."""
    a_day = {}
    for name, written in measured.items():
        first, last = PHASES[name]
        seconds = (last - first) * LOOK_EVERY_S
        a_day[name] = written.mb_a_day(seconds)
        print(
            f"{name:25} {a_day[name]:6.1f} MB a day: {written.total / 1e6:.2f} MB in {written.syncs} syncs "
            f"for {written.meter_values} MeterValues in {seconds // 60} minutes"
        )
    away = (a_day["away, a car at every box"] + a_day["away, nobody"]) / 2
    print(f"online, a car at every box all day: {a_day['online']:.1f} MB, at most {ONLINE_MB} are promised")
    print(f"away, a car at every box for twelve hours: {away:.1f} MB, at most {AWAY_MB} are promised")
    return a_day["online"] <= ONLINE_MB and away <= AWAY_MB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    measured = measure()
    if parser.parse_args().json:
        print(json.dumps({name: asdict(hour) for name, hour in measured.items()}))
        return 0
    kept = report(measured)
    print("within the promise" if kept else "OVER THE PROMISE")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

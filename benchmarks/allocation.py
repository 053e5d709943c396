"""What a decision of the load manager costs: `allocate` alone, and a whole tick, for 24 and 100 wallboxes.

The floor is a bare loop over the same links that only adds up what is drawn; the figure to judge by is the ratio.
Each connector has a new reading in each tick, so that none is remembered from the one before: no tick is dearer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

from gateway.load.admission import Claim
from gateway.load.allocate import Snapshot, allocate
from gateway.load.decide import step
from gateway.load.foreign import Sample
from gateway.load.plant import Plant, plant_of
from gateway.load.state import Inputs, State
from gateway.model import ConnectorRef, ConnectorState
from gateway.site import Charger, Circuit, Connector, Site, Tariff

ROTATIONS = ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (2, 1, 0), (1, 0, 2))
PHASES = (3, 1, 3, 2, 3, 1)
SIZES = (24, 100)
RATIO_LIMIT = 400
"""Above this many times the floor a decision has become slower than it was built."""


def building(boxes: int) -> Site:
    """A root with a meter, a garage below it, three feeders below that; 1-, 2- and 3-phase boxes, rotated."""
    limit_ma = 4_000 * boxes

    def circuit(name: str, parent: str | None, ma: int, meter: str | None = None) -> Circuit:
        return Circuit(
            id=name,
            parent=parent,
            fuse_a=ma // 1000,
            fuse="gG",
            limit_ma=ma,
            house_worst_ma=0,
            safe_ma=ma // 4,
            meter=meter,
        )

    circuits = (
        circuit("house", None, limit_ma, "grid"),
        circuit("garage", "house", limit_ma * 4 // 5),
        *(circuit(f"feeder{number}", "garage", limit_ma * 2 // 5) for number in range(3)),
    )
    chargers = tuple(
        Charger(
            id=f"box{number:03}",
            connectors=(
                Connector(
                    ref=ConnectorRef(f"box{number:03}", 1),
                    circuit=f"feeder{number % 3}",
                    rotation=ROTATIONS[number % 6],
                    phases=PHASES[number % 6],
                    max_ma=32_000 if number % 4 == 0 else 16_000,
                    fallback_ma=0,
                    participant=f"p{number}",
                ),
            ),
        )
        for number in range(boxes)
    )
    tariff = Tariff(id="flat", default="NT", windows=())
    return Site(id="bench", name="bench", timezone="UTC", circuits=circuits, chargers=chargers, tariff=tariff)


def snapshot(plant: Plant) -> Snapshot:
    """Every second box charges, the others ask to; the minima do not all fit."""
    claims = tuple(
        Claim(
            ref,
            plant.tree.links_of[ref],
            spot.connector.min_ma,
            spot.connector.max_ma,
            on=number % 2 == 0,
            since_s=float(number),
            one_sided=len(spot.phases) < 3,
        )
        for number, (ref, spot) in enumerate(plant.spots.items())
    )
    capacity = tuple(circuit.limit_ma - 5_000 for circuit in plant.tree.circuits for _ in range(3))
    return Snapshot(1000.0, claims, capacity, capacity)


def ticks(plant: Plant) -> Callable[[], None]:
    """Ticks with all cars in a transaction, the grid's samples moving."""
    state = State(0.0)
    now_s = 100.0
    connectors = tuple(ConnectorState(ref, True, "Charging", 1, fallback_proven=True) for ref in plant.spots)

    def tick() -> None:
        nonlocal state, now_s
        now_s += 1.0
        house_ma = 5_000 + round(now_s * 377) % 3_000
        total = tuple(Sample(now_s - back, (house_ma, house_ma, house_ma)) for back in range(19, -1, -1))
        draws = {ref: (Sample(now_s - 5, (0, 0, 0)), Sample(now_s - 1, (0, 0, 0))) for ref in plant.spots}
        state = step(plant, state, Inputs(now_s, connectors, draws, {"house": total})).state

    return tick


def floor(claims: tuple[Claim, ...], links: int) -> Callable[[], None]:
    """The least that any decision does: go over every link of every car once."""

    def loop() -> None:
        total = [0] * links
        for claim in claims:
            for link in claim.links:
                total[link] += claim.min_ma

    return loop


def milliseconds(work: Callable[[], object], seconds: float) -> float:
    """The median of single runs, repeated for `seconds`."""
    work()
    took: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(took) < 5:
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def measure(boxes: int, seconds: float) -> dict[str, float]:
    """Milliseconds and ratios for one size, all in the same run."""
    plant = plant_of(building(boxes))
    question = snapshot(plant)
    floor_ms = milliseconds(floor(question.claims, plant.tree.size), seconds)
    allocate_ms = milliseconds(lambda: allocate(question), seconds)
    tick_ms = milliseconds(ticks(plant), seconds)
    return {
        "chargers": boxes,
        "floor_ms": round(floor_ms, 4),
        "allocate_ms": round(allocate_ms, 3),
        "allocate_ratio": round(allocate_ms / floor_ms, 1),
        "tick_ms": round(tick_ms, 3),
        "tick_ratio": round(tick_ms / floor_ms, 1),
    }


def main() -> int:
    """Print the figures; 1 where a ratio is above its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each figure is measured")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    rows = [measure(boxes, options.seconds) for boxes in SIZES]
    if options.json:
        print(json.dumps({"v": 1, "rows": rows, "ratio_limit": RATIO_LIMIT}))
    else:
        for row in rows:
            print(
                f"{row['chargers']:>4} chargers: floor {row['floor_ms']:.4f} ms, "
                f"allocate {row['allocate_ms']:.3f} ms ({row['allocate_ratio']:.0f}x), "
                f"tick {row['tick_ms']:.3f} ms ({row['tick_ratio']:.0f}x; limit {RATIO_LIMIT}x)"
            )
    return int(any(max(row["allocate_ratio"], row["tick_ratio"]) > RATIO_LIMIT for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())

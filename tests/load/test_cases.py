"""Situations as data: one file per case in `cases/`, each begins with a sentence that says what it shows."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from gateway.load.admission import OFF_S, Claim
from gateway.load.allocate import Snapshot, allocate
from gateway.model import ConnectorRef

CASES = sorted((Path(__file__).parent / "cases").glob("*.toml"))
NOW_S = 100_000.0
PHASES = {"L1": 0, "L2": 1, "L3": 2}


def ma(ampere: float) -> int:
    return round(ampere * 1000)


def links(circuits: list[dict[str, Any]], circuit: str, phases: list[int]) -> tuple[int, ...]:
    index = {one["id"]: number for number, one in enumerate(circuits)}
    path = [circuit]
    while (parent := circuits[index[path[-1]]].get("parent")) is not None:
        path.append(parent)
    return tuple(3 * index[one] + phase for one in path for phase in phases)


def claim(circuits: list[dict[str, Any]], car: dict[str, Any]) -> Claim:
    rotation = car.get("rotation", "L1L2L3")
    phases = [PHASES[rotation[place : place + 2]] for place in range(0, len(rotation), 2)]
    since_s = NOW_S - car.get("on_s", car.get("waits_s", 0))
    return Claim(
        ConnectorRef(car["id"], 1),
        links(circuits, car["circuit"], phases),
        ma(car.get("min_a", 6)),
        ma(car.get("max_a", 16)),
        car.get("why", "full"),
        car.get("weight", 1),
        "on_s" in car,
        since_s,
        not car.get("paused", False) or NOW_S - since_s >= OFF_S,
        car.get("asleep", False),
        len(phases) < 3,
    )


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    """Every case file gives exactly the limits, reasons and places that it states."""
    case = tomllib.loads(path.read_text(encoding="utf-8"))
    circuits = case["circuit"]
    plan = allocate(
        Snapshot(
            NOW_S,
            tuple(claim(circuits, car) for car in case["car"]),
            tuple(ma(value) for one in circuits for value in one["left_a"]),
            tuple(ma(value) for one in circuits for value in one.get("careful_a", one["left_a"])),
            tuple(
                ((3 * number, 3 * number + 1, 3 * number + 2), ma(one["imbalance_a"]))
                for number, one in enumerate(circuits)
                if "imbalance_a" in one
            ),
        )
    )
    found = {ref.charger: [grant.limit_ma / 1000, grant.reason] for ref, grant in plan.grants.items()}
    assert found == case["expect"], case["say"]
    for name, place in case.get("queue", {}).items():
        grant = plan.grants[ConnectorRef(name, 1)]
        assert [grant.position, grant.wait_s] == place, case["say"]


def test_every_case_says_what_it_shows() -> None:
    """A case is read as text first."""
    assert CASES
    for path in CASES:
        assert path.read_text(encoding="utf-8").startswith('say = "'), path.name

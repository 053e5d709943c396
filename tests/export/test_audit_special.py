"""The audit's own formulas against the gateway's, on anything: two implementations that came about apart must agree."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.energy.battery import Tanks, origin_of
from gateway.energy.split import Flows, Key, allocate, largest_remainder
from gateway.export.audit_script import share
from gateway.export.audit_special import Registers, balance, key_of
from gateway.model import Connection
from gateway.store.sqlite import connect

AMOUNT = st.integers(0, 3000)
NAMES = st.dictionaries(st.sampled_from("abcdef"), AMOUNT, min_size=1)


@given(NAMES, st.integers(0, 100), st.integers(0, 2**32))
def test_sharing_agrees(weights: dict[str, int], percent: int, seed: int) -> None:
    """Largest remainder with a carry: the same watt-hours, the same rest."""
    total = sum(weights.values()) * percent // 100
    draw = random.Random(seed)
    carry = {name: draw.randint(-(10**9), 10**9) for name in weights}
    assert share(total, weights, carry) == largest_remainder(total, weights, carry)


@given(AMOUNT, AMOUNT, AMOUNT, AMOUNT, AMOUNT, AMOUNT, AMOUNT)
def test_the_battery_agrees(
    bought: int, sold: int, made: int, filled: int, drawn: int, of_sun: int, of_grid: int
) -> None:
    """Any flows, also those that no house can have: the sun in the use, the sun to share, both tanks."""
    house = {"grid": "g", "battery": ["b"], "production": ["p"], "balance": "meter", "metered": {}}
    counts: dict[str, Any] = {"g": (bought, sold, []), "b": (filled, drawn, []), "p": (0, made, [])}
    *_, used, sun, pool, tanks = balance(house, counts, [of_sun, of_grid])
    flows = Flows(bought, sold, made, filled, drawn)
    origin = origin_of(flows, Tanks(of_sun, of_grid))
    assert (used, sun, pool) == (flows.consumption_wh, origin.solar_wh, origin.pool_wh)
    assert tanks == [origin.tanks.solar_wh, origin.tanks.grid_wh]


@given(NAMES, AMOUNT, AMOUNT, st.sampled_from(["dynamic", "static", "equal"]), st.integers(0, 2**32))
def test_every_key_agrees(used: dict[str, int], sun: int, sold: int, kind: Any, seed: int) -> None:
    """Dynamic, static and equal: the same shares, the same rest."""
    draw = random.Random(seed)
    parts = {name: draw.randint(0, 1_000_000 // len(used)) for name in used} if kind == "static" else {}
    carry = {name: draw.randint(-(10**9), 10**9) for name in used}
    sun = min(sun, sum(used.values()))
    pool = sun + sold
    expected = allocate(sun, pool, used, carry, Key(kind, parts))
    given_wh, after = key_of({"key": {"kind": kind, "parts": parts}}, sun, pool, used, carry)
    assert given_wh == {name: one.solar_wh for name, one in expected.shares.items()}
    assert {name: after[name] for name in used} == {name: one.carry_after for name, one in expected.shares.items()}


@pytest.fixture
def empty(tmp_path: Any) -> Any:
    """A database without a reading."""
    db = connect(tmp_path / "x.db")
    db.execute("CREATE TABLE kept_reading (id INTEGER PRIMARY KEY, meter TEXT, requested_ms INTEGER, reading TEXT)")
    db.execute("CREATE TABLE interval (k INTEGER PRIMARY KEY, boundary TEXT)")
    yield db
    db.close()


def row(at_ms: int, taken: int, **more: Any) -> dict[str, Any]:
    """A reading as it is kept."""
    return {"requested_ms": at_ms, "import_wh": taken, "serial": "A", **more}


def test_a_register_that_is_full_begins_again(empty: Connection) -> None:
    """99.9 of 100 kWh and then 0.2 kWh: 300 Wh in two pieces; the same jump in the middle of its range is a reset."""
    registers = Registers(empty)
    low, high = row(0, 99_900, range_wh=100_000), row(900_000, 200, range_wh=100_000)
    assert registers.count(0, "m", low, high) == (300, None, [("A", 99_900, 100_000), ("A", 0, 200)])
    assert registers.count(0, "m", row(0, 50_000, range_wh=100_000), high) is None
    assert registers.count(0, "m", row(0, 99_900), high) is None


def test_a_swapped_meter_counts_on_both_sides(empty: Connection) -> None:
    """Old meter to its removal, new one from its start; what flowed in between is not invented."""
    for at_ms, taken, serial in ((300_000, 10_178, "A"), (400_000, 17, "B")):
        empty.execute(
            "INSERT INTO kept_reading (meter, requested_ms, reading) VALUES ('m', ?, json_object('requested_ms', ?, "
            "'import_wh', ?, 'serial', ?))",
            (at_ms, at_ms, taken, serial),
        )
    counted = Registers(empty).count(0, "m", row(0, 10_000), row(900_000, 207, serial="B"))
    assert counted == (178 + 190, None, [("A", 10_000, 10_178), ("B", 17, 207)])


def test_a_new_level_counts_on_both_sides_and_nothing_in_between(empty: Connection) -> None:
    """A meter without a serial number was exchanged for one that had counted more."""
    rows = [row(300_000, 10_178, serial=None), row(400_000, 90_000, serial=None, new_level=True)]
    for one in rows:
        text = "INSERT INTO kept_reading (meter, requested_ms, reading) VALUES ('m', ?, ?)"
        empty.execute(text, (one["requested_ms"], json.dumps(one)))
    counted = Registers(empty).count(0, "m", row(0, 10_000, serial=None), row(900_000, 90_207, serial=None))
    assert counted == (178 + 207, None, [(None, 10_000, 10_178), (None, 90_000, 90_207)])


def test_a_missed_boundary_lies_on_the_straight_line(empty: Connection) -> None:
    """Reference example 4: 1001 Wh over two quarter hours are 500 and 501; with no reading after it: not known."""
    text = "INSERT INTO interval (k, boundary) VALUES (?, json_object('m', json(?)))"
    empty.execute(text, (0, '{"requested_ms":0,"import_wh":7000,"serial":"A"}'))
    registers = Registers(empty)
    assert registers.count(0, "m", row(0, 7000), None) is None
    empty.execute(text, (2, '{"requested_ms":1800000,"import_wh":8001,"serial":"A"}'))
    first, second = (
        registers.count(0, "m", row(0, 7000), None), registers.count(1, "m", None, row(1_800_000, 8001)),
    )  # fmt: skip
    assert first is not None
    assert second is not None
    assert (first[0], second[0]) == (500, 501)

"""A small house on random days: silent meters, kills, cars that come and go. What must hold holds in every one."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from typing import Any

import pytest

from gateway.clock import iso
from gateway.records.verify import Link, check_sequence
from gateway.store import records

NANO = 10**9


class Day:
    """Drives the small house from one seed."""

    def __init__(self, house: Any, seed: int) -> None:
        self.house, self.draw = house, random.Random(seed)
        self.now_ms = house.clock.now_ms
        self.transaction = 0
        self.charging: int | None = None

    def flow(self, seconds: int) -> None:
        """Energy flows for a while: sun, flat, box, the rest; the grid meter sees what is left."""
        hours = seconds / 3600
        sun = round(self.draw.choice((0, 2000, 8000)) * hours)
        flat, rest = round(self.draw.choice((100, 900)) * hours), round(self.draw.choice((0, 300)) * hours)
        box = round((11_000 if self.charging is not None else self.draw.choice((3, 3, 400))) * hours)
        registers = self.house.meters.registers
        add = {"pv": (0, sun), "flat": (flat, None), "m1": (box, None)}
        net = flat + rest + box - sun
        add["grid"] = (max(0, net), max(0, -net))
        for meter, (taken, given) in add.items():
            old = registers[meter]
            registers[meter] = (old[0] + taken, None if old[1] is None else old[1] + (given or 0))
        self.now_ms += seconds * 1000
        self.house.clock.now_ms = self.now_ms

    async def car(self) -> None:
        """A car comes, or the one that charges goes."""
        if self.charging is None:
            self.transaction += 1
            self.charging = self.transaction
            await self.house.start(self.charging)
        else:
            await self.house.stop(self.charging)
            self.charging = None
        entries = (await self.house.rows("SELECT count(*) FROM journal"))[0][0]
        await self.house.until("SELECT entry FROM cursor", entries)

    async def quarter(self) -> None:
        """To the next boundary, with cars and silent meters on the way."""
        left = 900 - (self.now_ms // 1000) % 900
        while left > 60:
            step = self.draw.randint(20, left - 30)
            self.flow(step)
            left -= step
            if self.draw.random() < 0.5:
                await self.car()
        self.flow(left)
        silent = {meter for meter in ("grid", "pv", "flat", "m1") if self.draw.random() < 0.12}
        self.house.meters.silent = silent
        await self.house.boundary(iso(self.now_ms))
        self.house.meters.silent = set()
        self.house.clock.now_ms = self.now_ms

    async def finish(self) -> None:
        """The car goes, and three quarter hours pass without a fault: all gaps are bridged."""
        if self.charging is not None:
            await self.car()
        self.house.meters.poll("m1")
        await self.house.until("SELECT count(*) FROM session WHERE state <> 'ended'", 0)
        for _ in range(3):
            self.flow(900 - (self.now_ms // 1000) % 900)
            await self.house.boundary(iso(self.now_ms))
        await self.house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_random_days_close_to_the_watt_hour(house: Any, seed: int) -> None:
    await random_day(house, seed, lives=3, quarters=5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
async def test_many_random_days(house: Any, seed: int) -> None:
    await random_day(house, seed, lives=5, quarters=8)


async def random_day(house: Any, seed: int, *, lives: int, quarters: int) -> None:
    """Several lives of the gateway with dead time in between; then every invariant on what is kept."""
    day = Day(house, seed)
    for life in range(lives):
        async with house.running():
            if life == 0:
                await house.boundary("09:15:00")
                day.now_ms = house.clock.now_ms
            for _ in range(quarters):
                await day.quarter()
            if life == lives - 1:
                await day.finish()
        day.flow(day.draw.choice((30, 500, 2000, 7000)))
    await every_split_closes(house)
    await every_session_and_meter_closes(house)
    await every_record_verifies(house)


async def every_split_closes(house: Any) -> None:
    """I7: shares, solar, grid, carry with its adjustments; and the sum over all intervals is last minus first."""
    rows = await house.rows("SELECT result FROM interval WHERE version > 0 ORDER BY k")
    bodies = [json.loads(row[0]) for row in rows][1:]
    assert all(body["state"] != "provisional" for body in bodies)
    carry: dict[str, int] = defaultdict(int)
    versions = await house.bodies("interval.v1")
    assert len({(body["k"], body["version"]) for body in versions}) == len(versions)
    for body in bodies:
        shares = body["shares"]
        assert sum(one["wh"] for one in shares) == body["consumption_wh"] - body["imbalance_wh"]
        assert sum(one["solar_wh"] for one in shares) == body["solar_wh"] - body["unallocated_wh"]
        assert body["consumption_wh"] == body["import_wh"] + body["production_wh"] - body["export_wh"]
        whole = sum(one["wh"] for one in shares)
        for one in shares:
            assert one["solar_wh"] + one["grid_wh"] == one["wh"]
            exact = (body["solar_wh"] - body["unallocated_wh"]) * one["wh"] * NANO // whole if whole else 0
            assert one["solar_wh"] * NANO - exact == one["carry_before_nano_wh"] - one["carry_after_nano_wh"]
            carry[one["participant"]] += one["carry_before_nano_wh"] - one["carry_after_nano_wh"]
    for participant, nano_wh, adjustment in await house.rows("SELECT * FROM carry"):
        assert carry[participant] == -(nano_wh + adjustment)
    first, last = bodies[0]["at_start"], bodies[-1]["at_end"]
    for meter, name in (("grid", "import_wh"), ("flat", None), ("m1", None)):
        moved = last[meter]["import_wh"] - first[meter]["import_wh"]
        if name:
            assert sum(body[name] for body in bodies) == moved
        else:
            who = "box1" if meter == "m1" else meter
            assert sum(one["wh"] for body in bodies for one in body["shares"] if one["participant"] == who) == moved


async def every_session_and_meter_closes(house: Any) -> None:
    """I6, I6b: energy = registers = solar + classes; the box's meter = its sessions + what is named outside."""
    splits = {split["session"]: split for split in await house.bodies("split.v1")}
    ends = [end for end in await house.bodies("session.end.v1") if end["billable"]]
    assert ends
    for end in ends:
        split = splits[end["session"]]
        assert end["energy_wh"] == end["end_wh"] - end["begin_wh"] == split["energy_wh"]
        assert split["solar_wh"] + sum(split["classes_wh"].values()) == end["energy_wh"]
        assert split["solar_wh"] == sum(split["solar_by_class_wh"].values())
        assert split["state"] == "final"
    rows = await house.rows("SELECT result FROM interval WHERE version > 0 ORDER BY k")
    bodies = [json.loads(row[0]) for row in rows][1:]
    beside = sum(piece["wh"] for body in bodies for piece in body["outside"])
    moved = bodies[-1]["at_end"]["m1"]["import_wh"] - bodies[0]["at_start"]["m1"]["import_wh"]
    assert sum(end["energy_wh"] for end in ends) + beside == moved
    for body in bodies:
        [box] = [one for one in body["shares"] if one["participant"] == "box1"]
        pieces = [*body["sessions"], *body["outside"]]
        assert sum(piece["solar_wh"] for piece in pieces) == box["solar_wh"]


async def every_record_verifies(house: Any) -> None:
    """I5: one begin and one end for each billable session; the chain and the pagination are whole."""
    kept = await house.db.run(lambda db: list(records.everything(db)))
    links = [
        Link(row.id, row.key_id, row.charge_point, row.pagination, row.text, row.prev, row.sha256, row.signed_by)
        for row in kept
    ]
    assert check_sequence(links, {house.signer.key_id: house.signer.public_spki()}) == []
    for end in await house.bodies("session.end.v1"):
        kinds = sorted(row.kind for row in kept if row.session == end["session"])
        assert kinds == ["begin", "end"] if end["billable"] else "end" not in kinds

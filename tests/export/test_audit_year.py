"""A made-up house over a long time: chargers, three inverters, a battery, missed boundaries, each kind of key.

The gateway's own settlement settles it; the audit must agree on everything, and find one watt-hour.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.export.audit import audit
from gateway.model import INTERVAL_MS, Connection, Reading, Stamp, TimeQuality
from gateway.sessions.quarters import Quarters
from gateway.sessions.rules import of_site
from gateway.site import Charger, Meter, Participant, Site, Split
from gateway.store import intervals, readings, rules, sessions
from gateway.store.database import Database
from gateway.store.outbox import Identity
from gateway.store.sqlite import connect
from tests.sessions.conftest import connector, ms, small_house

FIRST_K = ms("2026-01-01T00:00:00Z") // INTERVAL_MS
PLAIN = Split()


def big_house(chargers: int, split: Split) -> Site:
    """`chargers` boxes with a meter each, a flat, three inverters, a battery, a grid meter."""
    names = [f"box{number}" for number in range(chargers)]
    roles = [("grid", "grid"), ("flat", "participant"), ("battery", "battery")]
    roles += [(f"pv{number}", "production") for number in range(3)]
    roles += [(f"m-{name}", "charger") for name in names]
    people = [Participant(id=name, name=name, kind="charger") for name in names]
    flat = Participant(id="flat", name="Flat", kind="flat", meter="flat")
    return replace(
        small_house(),
        meters=tuple(Meter(id=name, model="x", bus="b", unit=1, role=role) for name, role in roles),  # type: ignore[arg-type]
        chargers=tuple(Charger(id=name, connectors=(connector(name, f"m-{name}"),)) for name in names),
        participants=(*people, flat, Participant(id="common", name="House", kind="common")),
        split=split,
    )


class Months:
    """Lets energy flow, quarter hour by quarter hour, and has it settled."""

    def __init__(self, db: Connection, site: Site, seed: int) -> None:
        self.db, self.site, self.draw = db, site, random.Random(seed)
        self.quarters = Quarters(site, Identity("gw-test", "e" * 32, 1), random.Random(1))
        self.registers = {meter.id: [self.draw.randint(0, 10**6), 0] for meter in site.meters}
        self.running: dict[str, dict[str, Any]] = {}
        self.held = 0
        self.number = 0
        self.rules = rules.put(db, of_site(site).dump(), 0)

    def live(self, quarters: int, missed: float) -> None:
        """So many quarter hours; `missed` is how likely a boundary is not read."""
        self.boundary(FIRST_K, 0.0)
        for k in range(FIRST_K, FIRST_K + quarters):
            self.flow(k)
            self.boundary(k + 1, missed if k < FIRST_K + quarters - 1 else 0.0)
            self.quarters.settle_next(self.db, k, self.stamp(k))
        for k in intervals.dirty(self.db):
            self.quarters.look_again(self.db, k, self.stamp(k))

    @staticmethod
    def stamp(k: int) -> Stamp:
        return Stamp((k + 1) * INTERVAL_MS, TimeQuality.NTP)

    def boundary(self, k: int, missed: float) -> None:
        found = {}
        for meter, (taken, given) in self.registers.items():
            late_ms = self.draw.randint(0, 900)
            both = meter in ("grid", "battery") or meter.startswith("pv")
            reading = Reading(
                meter=meter, requested_ms=k * INTERVAL_MS + late_ms, replied_ms=k * INTERVAL_MS + late_ms + 40,
                quality=TimeQuality.NTP, import_wh=taken, export_wh=given if both else None, serial=f"S-{meter}",
            )  # fmt: skip
            found[meter] = None if self.draw.random() < missed else reading
        intervals.add_boundary(self.db, k, found, self.rules)
        for meter, reading in found.items():
            if reading and (gap := intervals.gap_before(self.db, meter, k)) is not None:
                intervals.mark_dirty(self.db, gap, k - 1)

    def flow(self, k: int) -> None:
        """Sun by day, cars that come and go, a battery that follows, the grid that gives the rest."""
        hour, used = k % 96 / 4, 0
        sun = [round(self.draw.random() * 900) if 7 < hour < 18 else 0 for _ in range(3)]
        for charger in self.site.chargers:
            meter = str(charger.connectors[0].meter)
            used += self.of_box(k, charger.id, meter)
        flat, rest = self.draw.randint(20, 300), self.draw.randint(-3, 200)
        for number, wh in enumerate(sun):
            self.registers[f"pv{number}"][1] += wh
        self.registers["flat"][0] += flat
        left = used + flat + rest - sum(sun)
        moved = min(500, -left, 9000 - self.held) if left < 0 else -min(500, left, self.held)
        moved += self.draw.choice((0, 0, 0, 300))  # filled from the grid
        self.held += moved - (moved // 10 if moved > 0 else 0)
        self.registers["battery"][0 if moved > 0 else 1] += abs(moved)
        net, both = left + moved, self.draw.choice((0, 0, 25))  # bought and sold in one quarter hour
        self.registers["grid"][0] += max(0, net) + both
        self.registers["grid"][1] += max(0, -net) + both

    def of_box(self, k: int, charger: str, meter: str) -> int:
        car = self.running.get(charger)
        before = self.registers[meter][0]
        if car is None and self.draw.random() < 0.05:
            self.begin(k, charger, meter)
        self.registers[meter][0] += self.draw.randint(0, 2800) if self.running.get(charger) else self.draw.randint(0, 3)
        if car is not None and self.draw.random() < 0.2:
            self.end(k, charger, meter)
        if self.draw.random() < 0.01:
            self.registers[meter][0] += 80  # somebody charges without a session
        return self.registers[meter][0] - before

    def begin(self, k: int, charger: str, meter: str) -> None:
        self.number += 1
        self.registers[meter][0] += 1
        values = dict.fromkeys(sessions.COLUMNS)
        values |= {
            "id": f"{self.number:08d}", "charger": charger, "connector": 1, "transaction_id": self.number,
            "state": "open", "id_tag": "CARD", "participant": charger, "authorised_by": "gateway",
            "begin_ms": k * INTERVAL_MS + 300_000, "begin_q": "ntp", "begin_wh": self.registers[meter][0],
            "begin_provenance": "meter", "end_provenance": "none", "billable": 0, "meter": meter,
            "meter_serial": f"S-{meter}",
        }  # fmt: skip
        self.running[charger] = values
        sessions.put(self.db, values)
        self.keep(meter, k * INTERVAL_MS + 300_000, "begin")

    def keep(self, meter: str, at_ms: int, why: str) -> None:
        reading = Reading(
            meter=meter, requested_ms=at_ms, replied_ms=at_ms + 40, quality=TimeQuality.NTP,
            import_wh=self.registers[meter][0], serial=f"S-{meter}",
        )  # fmt: skip
        readings.keep(self.db, reading, why)

    def end(self, k: int, charger: str, meter: str) -> None:
        at_ms = k * INTERVAL_MS + 600_000
        self.keep(meter, at_ms + 900, "end")
        values = self.running.pop(charger) | {
            "state": "ended", "stop_ms": at_ms, "stop_arrived_ms": at_ms, "end_ms": at_ms + 900, "end_q": "ntp",
            "end_wh": self.registers[meter][0], "end_provenance": "meter", "billable": int(self.draw.random() < 0.9),
        }  # fmt: skip
        values["unbillable_reason"] = None if values["billable"] else "start_refused"
        sessions.put(self.db, values)
        if not values["billable"]:  # as the tracker does where what was settled rests on it
            intervals.mark_dirty(self.db, int(str(values["begin_ms"])) // INTERVAL_MS, k)


@pytest.fixture
async def database(tmp_path: Path) -> Any:
    """An empty database of the real schema, in one transaction of the test's own."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        await (await Database.open(tmp_path / "billing.db", connect, executor)).close()
    db = connect(tmp_path / "billing.db")
    db.execute("PRAGMA synchronous=OFF")
    db.execute("BEGIN")
    yield db
    db.close()


KEYS = {
    "dynamic": PLAIN,
    "equal": Split(key="equal"),
    "static": Split(key="static", keys={"box0": 200_000, "box1": 100_000, "flat": 300_000, "common": 250_000}),
    "virtual": Split(balance="virtual"),
    "ceiling": Split(common_ceiling_w=400),
}


@pytest.mark.parametrize("name", sorted(KEYS))
def test_every_kind_of_house_agrees(database: Connection, name: str) -> None:
    """A battery, missed boundaries, refused sessions, free charging: the audit comes to the same, to the nano-Wh."""
    months = Months(database, big_house(3, KEYS[name]), 7)
    months.live(200, 0.01)
    found = audit(database)
    assert found.differences == []
    assert found.quarters == 200
    assert found.unknown == 0
    assert found.sessions > 5
    [corrected] = database.execute("SELECT count(*) FROM interval WHERE state = 'corrected'").fetchone() or [0]
    assert corrected > 0  # some rest on estimated boundaries
    stored = database.execute("SELECT handed FROM interval WHERE handed NOT LIKE '%\"tanks_after\":[0,0]%'").fetchone()
    assert (stored is None) is (KEYS[name].balance == "virtual")


def places(db: Connection) -> Iterator[tuple[int, str]]:
    """Numbers of settled quarter hours that may be one watt-hour off."""
    for name in ("$.solar_wh", "$.shares[0].solar_wh", "$.shares[1].wh", "$.sessions[0].solar_wh", "$.outside[0].wh"):
        rows = db.execute("SELECT k FROM interval WHERE json_extract(result, ?) > 0 ORDER BY k", (name,)).fetchall()
        yield rows[len(rows) // 2][0], name


def finds_each_fault(db: Connection) -> None:
    """One watt-hour at a time; the audit names its quarter hour and no other."""
    for k, name in list(places(db)):
        db.execute("SAVEPOINT fault")
        db.execute(
            "UPDATE interval SET result = json_set(result, ?, json_extract(result, ?) + 1) WHERE k = ?", (name, name, k)
        )
        found = audit(db, k - 10, k + 10)
        assert len({one.where for one in found.differences}) == 1, (name, found.differences)
        db.execute("ROLLBACK TO fault")


def test_one_watt_hour_in_a_week_is_found(database: Connection) -> None:
    """Seeded one at a time into a week of a house with a battery."""
    months = Months(database, big_house(3, PLAIN), 11)
    months.live(300, 0.01)
    finds_each_fault(database)


@pytest.mark.slow
def test_one_watt_hour_in_a_year_is_found(database: Connection) -> None:
    """A year of eight chargers, three inverters and a battery: nothing differs, and each seeded fault is found."""
    months = Months(database, big_house(8, PLAIN), 13)
    months.live(365 * 96, 0.0005)
    assert audit(database).differences == []
    finds_each_fault(database)

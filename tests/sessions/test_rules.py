"""A correction is computed by what was in force then, whatever the configuration says today."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.sessions.rules import load, of_site
from gateway.site import Meter, Participant, Split, Tariff, TariffWindow


def test_rules_come_back_as_they_were_kept(house: Any) -> None:
    tariff = replace(
        house.site.tariff,
        windows=(*house.site.tariff.windows, TariffWindow(name="W", weekdays=frozenset({6}), start_quarter=0,
                                                          end_quarter=96, season=(1001, 331)),),
        holidays=frozenset({"2026-08-01", "2026-01-01"}),
        successors=(replace(house.site.tariff, id="next", valid_from="2027-01-01"),),
    )  # fmt: skip
    split = Split(key="static", keys={"flat": 400_000, "box1": 600_000}, common_ceiling_w=400)
    rules = of_site(replace(house.site, tariff=tariff, split=split))
    assert load(rules.dump()) == rules
    assert load(rules.dump()).dump() == rules.dump()


async def settled(house: Any) -> None:
    """Two quarter hours; the grid meter is silent at the boundary between them."""
    async with house.running():
        await house.boundary("09:15:00")
        house.meters.silent = {"grid"}
        await house.boundary("09:30:00", pv=(0, 50_600), flat=(20_300, None), m1=(7_300, None))


@pytest.mark.parametrize(
    "changes",
    [
        {"tariff": Tariff(id="one", default="ET", windows=())},
        {"split": Split(key="equal")},
        {"participants": (Participant(id="common", name="House", kind="common"),)},
    ],
    ids=["tariff", "key", "participants"],
)
async def test_a_late_value_is_settled_by_the_rules_of_its_time(house: Any, changes: dict[str, Any]) -> None:
    """The configuration changed before the late value came: tariff, key and participants of then count."""
    await settled(house)
    house.site = replace(house.site, **changes)
    house.meters.silent = set()
    async with house.running():
        house.at("09:31:00")
        await house.boundary("09:45:00", grid=(100_400, 0), pv=(0, 50_900), flat=(20_600, None), m1=(7_500, None))
        await house.until("SELECT count(*) FROM interval WHERE state = 'corrected'", 1)
        await house.boundary("10:00:00")
    bodies = {(one["start"][11:16], one["version"]): one for one in await house.bodies("interval.v1")}
    late = bodies["09:15", 2]
    assert (late["tariff"], late["tariff_class"], late["key"]) == ("egbb", "HT", "dynamic")
    assert {one["participant"]: one["wh"] for one in late["shares"]} == {"flat": 300, "box1": 300, "common": 200}
    today = bodies["09:45", 1]
    assert today["tariff"] == house.site.tariff.id
    assert today["key"] == house.site.split.key


async def test_each_change_of_the_rules_is_kept_once(house: Any) -> None:
    """Restarts without a change add nothing."""
    for _ in range(3):
        async with house.running():
            pass
    assert await house.rows("SELECT count(*) FROM rules") == [(1,)]
    house.site = replace(house.site, split=Split(key="equal"))
    async with house.running():
        await house.boundary("09:15:00")
    assert await house.rows("SELECT count(*) FROM rules") == [(2,)]


async def test_a_meter_that_was_added_counts_from_the_quarter_hour_that_begins_with_it(house: Any) -> None:
    """The running quarter hour goes on by the meters that it began with, and is complete."""
    async with house.running():
        await house.boundary("09:15:00")
    house.site = replace(
        house.site,
        meters=(*house.site.meters, Meter(id="flat2", model="iem3155", bus="b", unit=9, role="participant")),
        participants=(*house.site.participants, Participant(id="flat2", name="2", kind="flat", meter="flat2")),
    )
    async with house.running():
        await house.boundary("09:30:00", grid=(100_400, 0), flat2=(5_000, None))
        await house.boundary("09:45:00", grid=(100_900, 0), flat2=(5_300, None))
    before, after = (await house.bodies("interval.v1"))[1:]
    assert (before["state"], after["state"]) == ("final", "final")
    assert "flat2" not in {one["participant"] for one in before["shares"]}
    assert {one["participant"]: one["wh"] for one in after["shares"]}["flat2"] == 300

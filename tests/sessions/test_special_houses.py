"""Houses with more than a sun: a battery, a community (LEG), a tariff that changes by the quarter hour."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.sessions.importing import SeriesError, read_leg, read_prices
from gateway.site import Meter, Split, Tariff

DYNAMIC = Tariff(id="dyn", default="ST", windows=(), dynamic=True, vat_included=False)


def share(body: dict[str, Any], participant: str) -> dict[str, Any]:
    return next(one for one in body["shares"] if one["participant"] == participant)


def version(bodies: list[dict[str, Any]], start: str) -> dict[str, Any]:
    """The newest version of the interval that begins at this time."""
    return [one for one in bodies if one["start"][11:16] == start][-1]


async def test_a_battery_gives_back_what_it_was_charged_with(house: Any) -> None:
    """Charged by sun and grid in one quarter hour, discharged at night: solar by the tanks, all flows close."""
    meter = Meter(id="bat", model="abb_b23", bus="b", unit=8, role="battery")
    house.site = replace(house.site, meters=(*house.site.meters, meter))
    house.meters.registers["bat"] = (1_000, 2_000)
    async with house.running():
        await house.boundary("09:15:00")
        # 800 Wh sun, 200 Wh from the grid: 1000 Wh into the battery; the house itself takes 500 Wh of the sun.
        await house.boundary("09:30:00", grid=(100_200, 0), pv=(0, 51_300), flat=(20_500, None), bat=(2_000, 2_000))
        # Night: 900 Wh leave the battery, 100 Wh come from the grid; the box takes 600, the flat 400.
        await house.boundary("09:45:00", grid=(100_300, 0), flat=(20_900, None), m1=(7_600, None), bat=(2_000, 2_900))
        # The rest leaks away and something is charged again: tanks are never negative.
        await house.boundary("10:00:00", grid=(100_300, 0), pv=(0, 51_350), bat=(2_050, 2_900))
    charged, night, last = (await house.bodies("interval.v1"))[1:]
    assert (charged["battery_charge_wh"], charged["battery_discharge_wh"]) == (1_000, 0)
    assert (charged["consumption_wh"], charged["solar_wh"]) == (500, 500)
    assert night["consumption_wh"] == 1_000
    assert night["solar_wh"] == 720  # four fifths of what the battery gave were sun
    assert (share(night, "box1")["solar_wh"], share(night, "flat")["solar_wh"]) == (432, 288)
    for one in (charged, night, last):
        flows = one["import_wh"] + one["production_wh"] + one["battery_discharge_wh"]
        assert flows - one["export_wh"] - one["battery_charge_wh"] == one["consumption_wh"]
    assert dict(await house.rows("SELECT origin, wh FROM tank")) == {"solar": 80 + 50, "grid": 20}


async def test_a_correction_hands_the_battery_on_as_well(house: Any) -> None:
    """The grid meter was silent: the origin of what the battery took comes later, and moves the tanks."""
    meter = Meter(id="bat", model="abb_b23", bus="b", unit=8, role="battery")
    house.site = replace(house.site, meters=(*house.site.meters, meter))
    house.meters.registers["bat"] = (0, 0)
    async with house.running():
        await house.boundary("09:15:00")
        house.meters.silent = {"grid"}
        await house.boundary("09:30:00", pv=(0, 50_500), bat=(500, 0))
        house.meters.silent = set()
        assert dict(await house.rows("SELECT origin, wh FROM tank")) == {"solar": 0, "grid": 0}
        house.at("09:31:00")
        await house.boundary("09:45:00", pv=(0, 50_500), bat=(500, 0))
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
    assert dict(await house.rows("SELECT origin, wh FROM tank")) == {"solar": 500, "grid": 0}


async def test_the_community_is_the_second_stage_and_provisional_until_its_series_comes(house: Any) -> None:
    """Own sun first; what the community gave by what each still took from the grid; then the split is final."""
    house.site = replace(house.site, split=Split(community=True))
    async with house.running():
        await house.boundary("09:15:00")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        await house.boundary("09:30:00", grid=(100_900, 0), pv=(0, 50_300), flat=(20_600, None), m1=(7_600, None))
        house.at("09:40:00")
        await house.stop(1)
        await house.until("SELECT state FROM session", "ended")
        await house.boundary("09:45:00")
        first = version(await house.bodies("interval.v1"), "09:15")
        assert (first["state"], first["leg_wh"], first["solar_wh"]) == ("provisional", None, 300)
        assert "waits: what the community gave" in first["missing"]
        values = [{"start": f"2026-04-15T09:{minute}:00Z", "wh": wh} for minute, wh in ((15, 301), (30, 9))]
        args = {"series": "leg", "values": values, "source": "E66 of April"}
        assert await house.acts.import_series(args, "dso") == {"values": 2, "changed": 2}
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
        assert await house.acts.import_series(args, "dso") == {"values": 2, "changed": 0}
    body = version(await house.bodies("interval.v1"), "09:15")
    assert (body["state"], body["leg_wh"], body["leg_unallocated_wh"]) == ("corrected", 301, 0)
    assert {one["participant"]: (one["solar_wh"], one["leg_wh"]) for one in body["shares"]} == {
        "flat": (150, 150), "box1": (150, 151), "common": (0, 0),
    }  # fmt: skip
    [part] = body["sessions"]
    assert (part["grid_wh"], part["leg_wh"]) == (450, 151)
    assert version(await house.bodies("interval.v1"), "09:30")["leg_unallocated_wh"] == 9
    first_split, split = await house.bodies("split.v1")
    assert (first_split["state"], first_split["leg_by_class_wh"]) == ("provisional", {})
    assert (split["state"], split["leg_by_class_wh"], split["classes_wh"]) == ("final", {"HT": 151}, {"HT": 450})


async def test_the_rest_of_the_communitys_stage_is_carried_by_itself(house: Any) -> None:
    """A tie of one watt-hour goes to the other one next time; the house's own carry knows nothing of it."""
    house.site = replace(house.site, split=Split(community=True))
    values = [{"start": f"2026-04-15T09:{minute}:00Z", "wh": 1} for minute in (15, 30)]
    async with house.running():
        await house.acts.import_series({"series": "leg", "values": values}, "dso")
        await house.boundary("09:15:00")
        await house.boundary("09:30:00", grid=(100_200, 0), flat=(20_100, None), m1=(7_100, None))
        await house.boundary("09:45:00", grid=(100_400, 0), flat=(20_200, None), m1=(7_200, None))
    bodies = (await house.bodies("interval.v1"))[1:]
    assert [share(one, "box1")["leg_wh"] for one in bodies] == [1, 0]
    assert [share(one, "flat")["leg_wh"] for one in bodies] == [0, 1]
    assert [share(one, "box1")["leg_carry_after_nano_wh"] for one in bodies] == [-500_000_000, 0]
    assert {one["carry_after_nano_wh"] for body in bodies for one in body["shares"]} == {0}


async def test_a_dynamic_tariff_takes_its_class_from_the_series_and_falls_back_to_the_calendar(house: Any) -> None:
    """Two prices, one quarter hour without: it stands in the standard class until its price comes."""
    house.site = replace(house.site, tariff=DYNAMIC)
    prices = [{"start": "2026-04-15T09:15:00Z", "price": "0.2180"}, {"start": "2026-04-15T09:30:00Z", "price": "0.30"}]
    args = {"series": "price", "values": prices, "unit": "CHF/kWh", "vat_included": False}
    async with house.running():
        await house.acts.import_series(args, "cloud")
        await house.boundary("09:15:00")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        await house.boundary("09:30:00", grid=(100_300, 0), m1=(7_300, None))
        await house.boundary("09:45:00", grid=(100_500, 0), m1=(7_500, None))
        house.at("09:59:00")
        house.meters.registers["m1"] = (7_600, None)
        await house.stop(1)
        await house.until("SELECT state FROM session", "ended")
        await house.boundary("10:00:00", grid=(100_600, 0))
        await house.until("SELECT count(*) FROM outbox WHERE schema = 'split.v1'", 1)
        fallback = version(await house.bodies("interval.v1"), "09:45")
        assert (fallback["tariff_class"], fallback["state"]) == ("ST", "final")
        assert "price: not known, the calendar's class counts" in fallback["missing"]
        late = {**args, "values": [{"start": "2026-04-15T09:45:00Z", "price": "0.2180"}]}
        await house.acts.import_series(late, "cloud")
        await house.until("SELECT count(*) FROM outbox WHERE schema = 'split.v1'", 2)
    before, after = await house.bodies("split.v1")
    assert before["classes_wh"] == {"0.218 CHF/kWh": 300, "0.3 CHF/kWh": 200, "ST": 100}
    assert after["classes_wh"] == {"0.218 CHF/kWh": 400, "0.3 CHF/kWh": 200}
    assert after["delta_classes_wh"] == {"0.218 CHF/kWh": 100, "0.3 CHF/kWh": 0, "ST": -100}


@pytest.mark.parametrize(
    ("tariff", "args", "words"),
    [
        (DYNAMIC, {"vat_included": True}, "vat_included = false"),
        (DYNAMIC, {}, "vat_included = false"),
        (replace(DYNAMIC, dynamic=False), {"vat_included": False}, "is not dynamic"),
    ],
)
async def test_prices_of_another_kind_are_refused(house: Any, tariff: Tariff, args: Any, words: str) -> None:
    """A price without VAT among prices with it was noticed only on the bill (evcc #26083)."""
    house.site = replace(house.site, tariff=tariff)
    prices = [{"start": "2026-04-15T09:15:00Z", "price": "0.2"}]
    async with house.running():
        with pytest.raises(SeriesError, match=words):
            await house.acts.import_series({"series": "price", "values": prices, "unit": "CHF/kWh", **args}, "cloud")
        with pytest.raises(SeriesError, match="takes part in no community"):
            await house.acts.import_series({"series": "leg", "values": prices}, "cloud")
        with pytest.raises(SeriesError, match="series: must be one of leg, price"):
            await house.acts.import_series({"series": "sun", "values": prices}, "cloud")
    assert await house.rows("SELECT count(*) FROM imported") == [(0,)]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"start": "2026-04-15T09:15:00", "wh": 1}, "value 1: start must be a time with its offset"),
        ({"start": "2026-04-15T09:16:00Z", "wh": 1}, "value 1: start must lie on a quarter hour"),
        ({"start": "2026-04-15T09:15:00.5Z", "wh": 1}, "value 1: start must lie on a quarter hour"),
        ({"start": "2026-04-15T09:30:00Z", "wh": 1.5}, "value 1: wh must be whole watt-hours"),
        ({"start": "2026-04-15T09:30:00Z", "wh": -1}, "value 1: wh must be whole watt-hours"),
        ({"start": "2026-04-15T11:15:00+02:00", "wh": 8}, "value 1: a second, other value"),
        (7, "value 1: must be an object"),
    ],
)
def test_a_series_with_one_fault_is_refused_with_its_place(value: Any, words: str) -> None:
    with pytest.raises(SeriesError, match=words):
        read_leg([{"start": "2026-04-15T09:15:00Z", "wh": 1}, value])


def test_prices_are_decimal_texts_and_keep_their_value() -> None:
    """0.1 is no binary number; equal prices are one class however they are spelled."""
    found = read_prices([{"start": "2026-04-15T09:15:00Z", "price": "0.10"},
                         {"start": "2026-04-15T09:30:00Z", "price": "-0.1"},
                         {"start": "2026-04-15T09:45:00Z", "price": "1E+1"}], "CHF/kWh")  # fmt: skip
    assert list(found.values()) == ["0.1 CHF/kWh", "-0.1 CHF/kWh", "10 CHF/kWh"]
    for price in (0.1, "cheap", "NaN", "1e9", None):
        with pytest.raises(SeriesError, match="value 0: price must be a decimal text"):
            read_prices([{"start": "2026-04-15T09:15:00Z", "price": price}], "CHF/kWh")
    with pytest.raises(SeriesError, match="holds no values"):
        read_prices([], "CHF/kWh")

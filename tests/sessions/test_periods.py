"""A closed period changes only by an explicit act: who, when and why stand in its record."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest

from gateway.energy.tariff import TariffError, bounds_of
from gateway.sessions import acts
from gateway.sessions.period_sum import runs
from gateway.site import Occupancy, Tariff

CLOSE = {"act": "close", "period": "2026-04", "reason": "billed", "accept_provisional": True}


@pytest.fixture
def april(house: Any) -> Any:
    """The last half hour of April, local time."""
    house.at("2026-04-30T21:40:00Z")
    return house


async def month_end(house: Any, *, silent: str | None = None) -> None:
    """Two quarter hours to midnight and one after it; `silent` misses the boundary at 23:45."""
    await house.boundary("2026-04-30T21:45:00Z", flat=(20_100, None))
    house.meters.silent = {silent} if silent else set()
    await house.boundary("2026-04-30T22:00:00Z", grid=(100_301, 0), pv=(0, 50_200), flat=(20_250, None))
    house.meters.silent = set()
    house.at("2026-04-30T22:01:00Z")
    await house.boundary("2026-04-30T22:15:00Z", grid=(100_702, 0), pv=(0, 50_300), flat=(20_500, None))


async def refusal(house: Any, **args: Any) -> str:
    with pytest.raises(ValueError) as caught:
        await house.acts.period(args, "petra")
    return str(caught.value)


async def test_a_period_is_closed_with_its_sums_and_registers(april: Any) -> None:
    """The record says who and why; its shares sum to what the intervals say, its registers are the kept ones."""
    async with april.running():
        await month_end(april)
        result = await april.acts.period(CLOSE, "petra@haus")
    [body] = await april.bodies("period.v1")
    assert body == result
    assert (body["state"], body["version"], body["actor"], body["reason"]) == ("closed", 1, "petra@haus", "billed")
    assert (body["begin"], body["end"]) == ("2026-03-31T22:00:00.000Z", "2026-04-30T22:00:00.000Z")
    assert (body["intervals"], body["provisional"], body["unknown"]) == (2, 0, 0)
    inside = [one for one in await april.bodies("interval.v1") if one["end"] <= body["end"]]
    totals: dict[str, int] = defaultdict(int)
    for one in inside:
        for share in one["shares"]:
            totals[share["participant"]] += share["wh"]
    assert body["consumption_wh"] == sum(one["consumption_wh"] for one in inside)
    assert {one["participant"]: one["wh"] for one in body["shares"]} == totals
    [flat] = [one for one in body["shares"] if one["participant"] == "flat"]
    [register] = flat["registers"]
    assert register["end_wh"] - register["begin_wh"] == flat["wh"] == 150
    assert flat["solar_wh"] + sum(flat["classes_wh"].values()) == flat["wh"]
    states = await april.rows("SELECT state, count(*) FROM interval WHERE version > 0 GROUP BY state ORDER BY state")
    assert states == [("closed", 2), ("final", 1)]


async def test_a_normal_first_period_closes_without_a_flag(april: Any) -> None:
    """The gateway came up at 23:40: the bill begins with the first registers, at the time they were read."""
    async with april.running():
        april.meters.poll()
        await month_end(april)
        body = await april.acts.period({"act": "close", "period": "2026-04", "reason": "first bill"}, "petra")
    assert (body["intervals"], body["provisional"], body["unknown"]) == (2, 0, 0)
    [flat] = [one for one in body["shares"] if one["participant"] == "flat"]
    assert flat["begin"] == "2026-04-30T21:40:00.000Z"
    [register] = flat["registers"]
    assert (register["begin_wh"], register["end_wh"], flat["wh"]) == (20_000, 20_250, 250)


async def test_what_cannot_be_closed_says_why(april: Any) -> None:
    async with april.running():
        assert "is no billing period" in await refusal(april, act="close", period="April", reason="x")
        assert "bills by the month" in await refusal(april, act="close", period="2026-Q2", reason="x")
        assert "reason: is missing" in await refusal(april, act="close", period="2026-04", reason=" ")
        assert "is not over before 2026-04-30T22:00" in await refusal(april, act="close", period="2026-04", reason="x")
        await april.boundary("2026-04-30T21:45:00Z")
        april.meters.silent = {"grid"}
        april.at("2026-04-30T22:00:00Z")
        assert "not settled yet" in await refusal(april, act="close", period="2026-04", reason="x")
        assert "nothing of 2026-03" in await refusal(april, act="close", period="2026-03", reason="x")
        await april.boundary("2026-04-30T22:00:00Z")
        assert "1 quarter hours of 2026-04 are provisional" in await refusal(
            april, act="close", period="2026-04", reason="x"
        )
        assert "is not closed" in await refusal(april, act="reopen", period="2026-04", reason="x")
        await april.acts.period(CLOSE, "petra")
        assert "is closed already" in await refusal(april, **CLOSE)
        assert "act: must be" in await refusal(april, act="burn", period="2026-04", reason="x")
    assert len(await april.bodies("period.v1")) == 1


async def test_a_meter_that_was_exchanged_while_nobody_looked_keeps_no_period_open(april: Any) -> None:
    """No data will come: the record counts the quarter hours without a balance and says which they are."""
    async with april.running():
        await april.boundary("2026-04-30T21:45:00Z")
    april.meters.serials["m1"] = "SN-new"
    april.meters.registers |= {"grid": (100_400, 0), "m1": (0, None)}
    april.at("2026-04-30T22:05:00Z")
    async with april.running():
        april.meters.poll()
        await april.boundary("2026-04-30T22:15:00Z", grid=(100_500, 0), m1=(20, None))
        await april.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
        body = await april.acts.period({**CLOSE, "accept_provisional": False}, "petra")
    k = april.clock.now_ms // 900_000
    assert (body["provisional"], body["unknown"], body["unknown_runs"]) == (0, 1, [[k - 2, k - 2]])


async def test_what_changes_while_it_is_summed_up_closes_nothing(april: Any, monkeypatch: Any) -> None:
    """A correction between the sums and the act: the person tries again."""
    once = acts._results

    def and_corrected(db: Any, span: Any) -> Any:
        db.execute("UPDATE interval SET version = version + 1 WHERE version > 0")
        return once(db, span)

    async with april.running():
        await month_end(april)
        monkeypatch.setattr(acts, "_results", and_corrected)
        assert "changed while it was summed up" in await refusal(april, **CLOSE)
    assert await april.bodies("period.v1") == []


async def test_late_data_is_named_and_applied_only_when_the_period_is_reopened(april: Any) -> None:
    """The gap of the grid meter closes after the period was: an event with the difference, no new version."""
    async with april.running():
        await april.boundary("2026-04-30T21:45:00Z", flat=(20_100, None))
        april.meters.silent = {"grid"}
        await april.boundary("2026-04-30T22:00:00Z", pv=(0, 50_200), flat=(20_250, None))
        await april.acts.period(CLOSE, "petra")
        before = len(await april.bodies("interval.v1"))
        april.meters.silent = set()
        april.at("2026-04-30T22:01:00Z")
        await april.boundary("2026-04-30T22:15:00Z", grid=(100_702, 0), pv=(0, 50_400), flat=(20_500, None))
        await april.until("SELECT count(*) FROM interval WHERE late = 2", 1)
        [named] = [event for event in april.events if event.kind == "late_for_closed_period"]
        assert named.keep
        assert named.data["delta_solar_wh"] == 200
        assert named.data["period"] == "2026-04"
        assert [one["late"] for one in (await april.acts.period({"act": "list"}, ""))["periods"]] == [1]
        inside = [one for one in (await april.bodies("interval.v1"))[before:] if one["end"] <= "2026-04-30T22:00"]
        assert inside == []
        reopened = await april.acts.period({"act": "reopen", "period": "2026-04", "reason": "grid meter"}, "petra")
        assert (reopened["version"], reopened["state"], len(reopened["late_runs"])) == (2, "reopened", 1)
        await april.until("SELECT count(*) FROM interval WHERE dirty = 1 OR late > 0", 0)
        await april.acts.period(CLOSE, "petra")
    corrected = [one for one in await april.bodies("interval.v1") if one["version"] > 1 and one["end"][:10] < "2026-05"]
    assert corrected[0]["solar_wh"] == 200
    first, _, last = await april.bodies("period.v1")
    assert (first["solar_wh"], last["solar_wh"], last["version"]) == (0, 200, 3)
    assert (await april.rows("SELECT count(*) FROM interval WHERE late <> 0"))[0][0] == 0


async def test_what_comes_late_and_changes_nothing_is_not_told(april: Any) -> None:
    async with april.running():
        await month_end(april)
        await april.acts.period(CLOSE, "petra")
        await april.rows("UPDATE interval SET late = 1 WHERE state = 'closed'")
        april.settlement.notify()
        await april.until("SELECT count(*) FROM interval WHERE late = 0", 4)
    assert [event for event in april.events if event.kind == "late_for_closed_period"] == []


async def test_another_tariff_never_touches_a_closed_period_and_an_open_one_only_when_asked(april: Any) -> None:
    """A wrong price calendar is put right by reopening with the current rules; nothing else does it."""
    async with april.running():
        await month_end(april)
        await april.acts.period(CLOSE, "petra")
    april.site = replace(april.site, tariff=Tariff(id="flat-rate", default="ET", windows=()))
    async with april.running():
        await april.acts.period({"act": "reopen", "period": "2026-04", "reason": "look"}, "petra")
        await april.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
        [split] = await april.rows("SELECT json_extract(result, '$.tariff') FROM interval WHERE k = ?", K_LAST)
        assert split == ("egbb",)
        await april.acts.period(CLOSE, "petra")
        again = {"act": "reopen", "period": "2026-04", "reason": "wrong calendar", "rules": "current"}
        await april.acts.period(again, "petra")
        await april.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
    rows = await april.rows("SELECT DISTINCT json_extract(result, '$.tariff_class') FROM interval WHERE k <= ?", K_LAST)
    assert rows == [("ET",)]
    assert [one["rules"] for one in await april.bodies("period.v1") if one["state"] == "reopened"] == [
        "kept", "current",
    ]  # fmt: skip


K_LAST = bounds_of("Europe/Zurich", "2026-04")[1] - 1


async def test_a_move_cuts_the_bill_at_local_midnight_on_a_kept_register(house: Any) -> None:
    """Anna leaves on the first of a day, Beat comes: two bills of one flat, one register between them."""
    moved = 1_777_413_600_000  # 2026-04-29 00:00 in Zurich
    house.site = replace(
        house.site,
        occupancies=(
            Occupancy(participant="flat", tenant="anna", from_ms=0, to_ms=moved),
            Occupancy(participant="flat", tenant="beat", from_ms=moved),
        ),
    )
    house.at("2026-04-28T21:40:00Z")
    async with house.running():
        await house.boundary("2026-04-28T21:45:00Z")
        await house.boundary("2026-04-28T22:00:00Z", grid=(100_100, 0), flat=(20_060, None))
        await house.boundary("2026-04-28T22:15:00Z", grid=(100_300, 0), flat=(20_200, None))
    house.at("2026-04-30T21:50:00Z")  # two days of dead gateway
    async with house.running():
        await house.boundary("2026-04-30T22:00:00Z", grid=(100_900, 0), flat=(20_700, None))
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
        body = await house.acts.period(CLOSE, "petra")
    anna, beat = [one for one in body["shares"] if one["participant"] == "flat"]
    assert (anna["tenant"], beat["tenant"]) == ("anna", "beat")
    assert anna["end"] == beat["begin"] == "2026-04-28T22:00:00.000Z"
    assert anna["registers"][0]["end_wh"] == beat["registers"][0]["begin_wh"] == 20_060
    assert anna["registers"][0]["end_serial"] == beat["registers"][0]["begin_serial"] == "SN-flat"
    assert (anna["wh"], beat["wh"]) == (60, 640)
    for one in (anna, beat):
        assert one["solar_wh"] + sum(one["classes_wh"].values()) == one["wh"]


def test_bounds_of_periods_are_local_midnights_whatever_the_season() -> None:
    """2976 quarter hours in a plain month, four less in March, four more in October."""
    lengths = {name: (bounds := bounds_of("Europe/Zurich", name))[1] - bounds[0] for name in (
        "2026-01", "2026-03", "2026-10", "2026-Q4", "2026", "2028-02",
    )}  # fmt: skip
    assert lengths == {
        "2026-01": 2976, "2026-03": 2972, "2026-10": 2980, "2026-Q4": 8836, "2026": 35_040, "2028-02": 2784,
    }  # fmt: skip
    assert bounds_of("Europe/Zurich", "2026-Q4")[1] == bounds_of("Europe/Zurich", "2027")[0]
    for name in ("2026-13", "2026-Q5", "26-01", "", "2026-6"):
        with pytest.raises(TariffError, match="is no billing period"):
            bounds_of("Europe/Zurich", name)


def test_runs_of_intervals() -> None:
    assert runs([1, 2, 3, 7, 9, 10]) == [(1, 3), (7, 7), (9, 10)]
    assert runs([]) == []

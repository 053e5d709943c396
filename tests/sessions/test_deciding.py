"""What a person decides about a session without a bill: who, when and why are kept, and the energy is split after."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.sessions.deciding import Choice, DecisionError, propose
from gateway.sessions.session import Session, State


async def unstopped(house: Any) -> str:
    """A car took 900 Wh and no stop was ever seen; another one came and took 100 Wh."""
    await house.boundary("09:15:00")
    await house.start(1)
    await house.until("SELECT count(*) FROM session", 1)
    await house.boundary("09:30:00", grid=(100_600, 0), pv=(0, 50_300), m1=(7_900, None))
    await house.start(2)
    await house.until("SELECT count(*) FROM session WHERE state = 'ended'", 1)
    house.at("09:40:00")
    house.meters.registers["m1"] = (8_000, None)
    await house.stop(2)
    await house.until("SELECT count(*) FROM session WHERE state = 'ended'", 2)
    await house.boundary("09:45:00", grid=(100_700, 0))
    await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
    [[name]] = await house.rows("SELECT id FROM session WHERE billable = 0")
    return str(name)


async def refusal(house: Any, **args: Any) -> str:
    with pytest.raises(ValueError) as caught:
        await house.acts.decide({"decision": "bill", "reason": "seen", **args}, "petra")
    return str(caught.value)


async def test_a_person_bills_a_session_by_the_meter_and_its_energy_is_split(house: Any) -> None:
    """The end register of the next session's begin: 900 Wh move from free charging to the session, as a new version."""
    async with house.running():
        name = await unstopped(house)
        args = {"session": name, "decision": "bill", "end_wh": 7_900, "reason": "stood there until the next car"}
        body = await house.acts.decide(args, "petra@haus")
        await house.until("SELECT count(*) FROM outbox WHERE schema = 'split.v1'", 2)
        assert (await house.tracker.status())["unbillable"] == 0
    assert (body["begin_wh"], body["end_wh"], body["energy_wh"], body["basis"]) == (7_000, 7_900, 900, "meter")
    assert (body["actor"], body["at"]) == ("petra@haus", "2026-04-15T09:45:00.000Z")
    assert [body] == await house.bodies("session.decision.v1")
    [split] = [one for one in await house.bodies("split.v1") if one["session"] == name]
    assert split["energy_wh"] == 900 == split["solar_wh"] + sum(split["classes_wh"].values())
    assert split["solar_wh"] == 300
    newest = [one for one in await house.bodies("interval.v1") if one["start"] == "2026-04-15T09:15:00.000Z"][-1]
    assert [(one["session"], one["wh"]) for one in newest["sessions"]] == [(name, 900)]
    assert newest["outside"] == []
    end = next(one for one in await house.bodies("session.end.v1") if one["session"] == name)
    assert (end["billable"], end["ocmf_end"], end["energy_wh"]) == (False, None, None)


async def test_a_decision_is_followed_by_another_and_never_changed(house: Any) -> None:
    """Billed, then waived: two versions, and the split is taken back."""
    async with house.running():
        name = await unstopped(house)
        await house.acts.decide({"session": name, "decision": "bill", "end_wh": 7_900, "reason": "a"}, "petra")
        await house.until("SELECT count(*) FROM outbox WHERE schema = 'split.v1'", 2)
        body = await house.acts.decide({"session": name, "decision": "waive", "reason": "goodwill"}, "kim")
        await house.until("SELECT count(*) FROM outbox WHERE schema = 'split.v1'", 3)
    assert (body["version"], body["bill"], body["energy_wh"]) == (2, False, None)
    assert [one["actor"] for one in await house.bodies("session.decision.v1")] == ["petra", "kim"]
    splits = [one for one in await house.bodies("split.v1") if one["session"] == name]
    assert [(one["version"], one["energy_wh"]) for one in splits] == [(1, 900), (2, 0)]
    assert splits[1]["delta_solar_wh"] == -splits[0]["solar_wh"]
    newest = [one for one in await house.bodies("interval.v1") if one["start"] == "2026-04-15T09:15:00.000Z"][-1]
    assert [(one["name"], one["wh"]) for one in newest["outside"]] == [("free_charging", 900)]


async def test_a_session_is_named_by_the_begin_of_its_id(house: Any) -> None:
    """As every list shows it; one that is not unique is refused."""
    async with house.running():
        name = await unstopped(house)
        body = await house.acts.decide({"session": name[:8], "decision": "waive", "reason": "x"}, "petra")
        await house.rows("UPDATE session SET id = 'same-' || transaction_id")
        with pytest.raises(LookupError, match="more than one session begins with same: give more"):
            await house.acts.decide({"session": "same", "decision": "waive", "reason": "x"}, "petra")
    assert body["session"] == name


async def test_a_refused_card_waits_for_nobody(house: Any) -> None:
    async with house.running():
        await house.start(1, status="Blocked")
        await house.until("SELECT count(*) FROM session WHERE state = 'ended'", 1)
        assert (await house.tracker.status())["unbillable"] == 0


async def test_registers_that_cannot_be_are_refused(house: Any) -> None:
    """A register of the meter is not replaced, nobody's energy is billed twice, and the meter must have gone there."""
    async with house.running():
        name = await unstopped(house)
        [[other]] = await house.rows("SELECT id FROM session WHERE billable = 1")
        assert "has no end register" in await refusal(house, session=name)
        assert "that register cannot be replaced" in await refusal(house, session=name, begin_wh=6_000, end_wh=7_900)
        assert "below the begin register" in await refusal(house, session=name, end_wh=6_999)
        assert "is not in it" in await refusal(house, session=name, end_wh=9_999)
        assert "is not in it" in await refusal(house, session=name, end_wh=7_901)
        await house.rows("DELETE FROM kept_reading")  # without that proof the other session's own registers still stand
        await house.rows("UPDATE interval SET boundary = '{}'")
        assert f"session {other} has taken part" in await refusal(house, session=name, end_wh=7_901)
        assert "billable by its registers" in await refusal(house, session=other, end_wh=7_950)
        assert "leave them out" in await refusal(house, session=name, decision="waive", end_wh=7_900)
        assert "must be whole watt-hours" in await refusal(house, session=name, end_wh=7_900.5)
        assert "reason: is missing" in await refusal(house, session=name, end_wh=7_900, reason="")
        with pytest.raises(LookupError, match="there is no session"):
            await house.acts.decide({"session": "x", "decision": "waive", "reason": "y"}, "petra")
    assert await house.bodies("session.decision.v1") == []


async def test_a_box_without_a_meter_is_billed_by_the_chargers_registers_undivided(house: Any) -> None:
    """No meter of ours saw the energy: the decision says so, and no split pretends to know its sun."""
    async with house.running():
        await house.start(1, charger="bare", read=None)
        await house.stop(1, charger="bare")
        await house.until("SELECT count(*) FROM session WHERE state = 'ended'", 1)
        [[name]] = await house.rows("SELECT id FROM session")
        assert "has no meter of its own" in await refusal(house, session=name)
        args = {"session": name, "decision": "bill", "basis": "charger", "reason": "the box counted it"}
        body = await house.acts.decide(args, "petra")
    assert (body["basis"], body["begin_wh"], body["end_wh"], body["energy_wh"]) == ("charger", 5_000, 9_000, 4_000)
    assert await house.bodies("split.v1") == []


async def test_a_session_across_a_rollover_waits_for_a_person_and_the_quarter_hours_count_on(house: Any) -> None:
    """Decision 9: its 700 Wh are known and named, no signed pair can prove them, a person bills the charger's."""
    house.meters.ranges["m1"] = 1_000_000
    house.meters.registers["m1"] = (999_600, None)
    async with house.running():
        await house.boundary("09:15:00")
        await house.start(1, meter_start=50)
        await house.until("SELECT count(*) FROM session", 1)
        await house.boundary("09:30:00", grid=(100_500, 0), m1=(999_900, None))
        house.at("09:40:00")
        house.meters.registers["m1"] = (300, None)
        await house.stop(1, meter_stop=745)
        await house.until("SELECT state FROM session", "ended")
        await house.boundary("09:45:00", grid=(101_000, 0), m1=(310, None))
        await house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)
        [[name, reason]] = await house.rows("SELECT id, unbillable_reason FROM session")
        assert reason == "register_went_back"
        [told] = [event for event in house.events if event.kind == "session_unbillable"]
        assert "basis charger" in told.next_step
        assert "below the begin register" in await refusal(house, session=name, end_wh=300)
        body = await house.acts.decide(
            {"session": name, "decision": "bill", "basis": "charger", "reason": "its register began again"}, "petra"
        )
    assert (body["energy_wh"], body["basis"]) == (695, "charger")
    newest = {one["start"]: one for one in await house.bodies("interval.v1")}
    beside = [piece for one in newest.values() for piece in one["outside"] if piece["meter"] == "m1"]
    assert sum(piece["wh"] for piece in beside) == 710
    assert {one["state"] for one in newest.values()} <= {"final", "corrected"}


async def test_a_session_in_a_closed_period_is_decided_only_after_reopening(house: Any) -> None:
    """Its energy stands in a bill already; waiving changes none."""
    async with house.running():
        name = await unstopped(house)
        await house.rows("UPDATE interval SET state = 'closed' WHERE version > 0")
        assert "is closed: reopen it first" in await refusal(house, session=name, end_wh=7_900)
        await house.acts.decide({"session": name, "decision": "waive", "reason": "too late"}, "petra")
    assert len(await house.bodies("session.decision.v1")) == 1


def test_a_session_that_goes_on_cannot_be_decided() -> None:
    session = Session(
        id="s", charger="b", connector=1, transaction_id=1, state=State.OPEN, id_tag="A", tenant=None,
        participant=None, authorised_by="csms", begin_ms=1, begin_q="ntp", begin_wh=5, begin_provenance="meter",
        meter="m",
    )  # fmt: skip
    choice = Choice(bill=False, actor="petra", reason="why")
    with pytest.raises(DecisionError, match="has not ended"):
        propose(session, choice)
    assert propose(replace(session, state=State.ENDED), choice) == (None, None)
    with pytest.raises(DecisionError, match="who decides"):
        propose(replace(session, state=State.ENDED), replace(choice, actor=""))


async def test_a_name_that_is_only_claimed_says_which_way_it_came(house: Any) -> None:
    """The command line says who sits there; the cloud's own actor cannot be another one."""
    async with house.running():
        name = await unstopped(house)
        args = {"session": name, "decision": "waive", "reason": "gift", "actor": "petra"}
        assert (await house.acts.decide(args, "local"))["actor"] == "petra via local"
        assert (await house.acts.decide({**args, "actor": "local"}, "local"))["actor"] == "local"

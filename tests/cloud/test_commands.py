"""Commands of the cloud on real wires: stored before they are confirmed, carried out once, answered each time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from gateway.clock import iso
from gateway.cloud import commands as module
from simulators.broker import BrokerProcess
from tests.cloud.conftest import GW, wait_until

Make = Callable[..., Any]


class Site:
    """What is asked of the site."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], str]] = []
        self.may_finish = asyncio.Event()
        self.may_finish.set()

    async def execute(self, op: str, args: dict[str, Any], actor: str) -> dict[str, Any]:
        self.asked.append((op, args, actor))
        await self.may_finish.wait()
        if op == "break":
            raise RuntimeError("the relay is stuck")
        if op == "unknown":
            raise LookupError("unknown operation 'unknown'")
        if op == "long":
            return {"text": "x" * 200_000}
        return {"seen": args}


@pytest.fixture
async def site() -> Site:
    return Site()


def command(b: Any, cid: str, op: str = "limit", *, ahead_s: int = 100_000, **args: Any) -> dict[str, Any]:
    now = b.gateway.world.clock.utc_ms()
    return {
        "cid": cid, "op": op, "args": args, "issued": iso(now), "deadline": iso(now + ahead_s * 1000), "actor": "anna",
    }  # fmt: skip


def replies(b: Any, cid: str) -> list[dict[str, Any]]:
    return [json.loads(payload) for (found, payload) in b.cloud.rows("reply", "cid, payload") if found == cid]


def states(b: Any, cid: str) -> list[str]:
    return [reply["state"] for reply in replies(b, cid)]


async def connected(b: Any) -> None:
    await b.gateway.add(1)
    await b.drained()


async def test_a_command_is_accepted_runs_and_is_done(bench: Make, embedded: BrokerProcess, site: Site) -> None:
    """The three answers in order; the operation gets what was asked and by whom."""
    async with bench(embedded, execute=site.execute) as b:
        await connected(b)
        b.cloud.ingestor.command(GW, command(b, "c1", box="box1"))
        await wait_until(lambda: "done" in states(b, "c1"), "done")
        assert states(b, "c1") == ["accepted", "running", "done"]
        assert replies(b, "c1")[-1]["result"] == {"seen": {"box": "box1"}}
        assert site.asked == [("limit", {"box": "box1"}, "anna")]


async def test_the_same_cid_is_answered_again_and_not_carried_out(
    bench: Make, embedded: BrokerProcess, site: Site
) -> None:
    """The reply was lost, the cloud asks again: the same answer, once carried out, also after a restart."""
    async with bench(embedded, execute=site.execute) as b:
        await connected(b)
        asked = command(b, "c1")
        b.cloud.ingestor.command(GW, asked)
        await wait_until(lambda: "done" in states(b, "c1"), "done")
        first = replies(b, "c1")[-1]
        await b.gateway.stop()
        await b.gateway.start()
        await connected(b)
        b.cloud.ingestor.command(GW, asked)
        await wait_until(lambda: states(b, "c1").count("done") == 2, "answered again")
        assert replies(b, "c1")[-1] == first
        assert len(site.asked) == 1


@pytest.mark.parametrize(
    ("op", "error"),
    [("unknown", "unknown operation"), ("break", "the relay is stuck"), ("long", "larger than the largest message")],
)
async def test_a_command_that_fails_says_why(
    bench: Make, embedded: BrokerProcess, site: Site, op: str, error: str
) -> None:
    """Failed with a sentence; the link lives on."""
    async with bench(embedded, execute=site.execute) as b:
        await connected(b)
        b.cloud.ingestor.command(GW, command(b, "c1", op))
        await wait_until(lambda: "failed" in states(b, "c1"), "failed")
        assert error in replies(b, "c1")[-1]["error"]
        await connected(b)


async def test_a_command_after_its_deadline_is_refused(bench: Make, embedded: BrokerProcess, site: Site) -> None:
    """It waited at the broker for too long: refused, told, never carried out."""
    async with bench(embedded, execute=site.execute) as b:
        await connected(b)
        b.cloud.ingestor.command(GW, command(b, "late", ahead_s=-1))
        await wait_until(lambda: states(b, "late") == ["failed"], "refused")
        assert "deadline" in replies(b, "late")[-1]["error"]
        assert "command_refused" in b.gateway.kinds()
        assert site.asked == []


async def test_a_command_that_is_none_is_told_and_confirmed(bench: Make, embedded: BrokerProcess, site: Site) -> None:
    """What cannot be read is not delivered for ever; the event names the field."""
    async with bench(embedded, execute=site.execute) as b:
        await connected(b)
        b.cloud.ingestor.command(GW, {"cid": "x", "op": "limit", "issued": "yesterday", "actor": "anna"})
        await wait_until(lambda: "command_refused" in b.gateway.kinds(), "told")
        assert "issued" in b.gateway.events[-1].cause
        b.cloud.ingestor.command(GW, command(b, "c2"))
        await wait_until(lambda: "done" in states(b, "c2"), "the next is carried out")


async def test_a_command_that_a_restart_interrupted_has_failed(
    bench: Make, embedded: BrokerProcess, site: Site
) -> None:
    """Whether it took effect is unknown: it is not done twice, and the cloud is told after the next connect."""
    async with bench(embedded, execute=site.execute) as b:
        await connected(b)
        site.may_finish.clear()
        b.cloud.ingestor.command(GW, command(b, "c1"))
        await wait_until(lambda: "running" in states(b, "c1"), "running")
        await b.gateway.stop()
        await b.gateway.start()
        await wait_until(lambda: "failed" in states(b, "c1"), "failed")
        assert "restarted" in replies(b, "c1")[-1]["error"]
        assert len(site.asked) == 1


async def test_what_finishes_while_the_link_is_away_is_told_later(
    bench: Make, embedded: BrokerProcess, site: Site
) -> None:
    """The reply waits in the database until the broker has taken it over."""
    async with bench(embedded, execute=site.execute) as b:
        await connected(b)
        site.may_finish.clear()
        b.cloud.ingestor.command(GW, command(b, "c1"))
        await wait_until(lambda: "running" in states(b, "c1"), "running")
        await b.uplink.cut()
        await wait_until(lambda: "cloud_away" in b.gateway.kinds(), "away")
        site.may_finish.set()
        await b.uplink.restore()
        await wait_until(lambda: "done" in states(b, "c1"), "done")


async def test_too_many_open_commands_are_refused(
    bench: Make, embedded: BrokerProcess, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue has an end, and the sender is told."""
    monkeypatch.setattr(module, "MAX_OPEN", 2)
    async with bench(embedded, execute=site.execute) as b:
        await connected(b)
        site.may_finish.clear()
        for number in range(3):
            b.cloud.ingestor.command(GW, command(b, f"c{number}"))
        await wait_until(lambda: "failed" in states(b, "c2"), "the third is refused")
        site.may_finish.set()
        await wait_until(lambda: "done" in states(b, "c0") and "done" in states(b, "c1"), "the others are done")

"""What happens in a garage, as playbooks: a story of one box, and what stands in the books afterwards.

Each line of a story is (time, what, ...): `start`/`stop` TX [options], `meter` WH (a reading arrives), `flow` WH (the
register moves unseen), `silent`, `back`, `swap` SERIAL WH, `quarter` (a boundary passes), `kill` (nothing in memory
survives). Times are UTC. Each session is expected as (begin, end, reason), reason None where it is billable, end None
where it goes on or has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.model import ConnectorRef
from gateway.site import Charger, Connector, Meter, Participant, Token
from gateway.site_file import SiteProblems, load_site

Line = tuple[Any, ...]
Expected = tuple[int | None, int | None, str | None]


@dataclass(frozen=True)
class Play:
    """A story and its end. `outside` is what flowed beside billable sessions; only asked where a quarter passed."""

    name: str
    story: Sequence[Line]
    sessions: Sequence[Expected]
    day: str = "2026-04-15"
    outside: int | None = None
    classes: dict[str, int] | None = None
    facts: dict[str, Any] = field(default_factory=dict)


LATE = {"payload": {"timestamp": "2026-04-15T09:16:05Z"}}

PLAYS = [
    Play("plug, authorise, charge, pause, charge, unplug",
         [("09:15:00", "quarter"), ("09:16:00", "start", 1), ("09:20:00", "meter", 7_900), ("09:29:00", "meter", 7_900),
          ("09:30:00", "quarter"), ("09:40:00", "flow", 8_400), ("09:41:00", "stop", 1, {"reason": "EVDisconnected"}),
          ("09:45:00", "quarter")],
         [(7_000, 8_400, None)], outside=0, classes={"HT": 1_400}),
    *[Play(f"stopped for {reason}", [("09:16:00", "start", 1), ("09:20:00", "flow", 7_100),
                                     ("09:21:00", "stop", 1, {"reason": reason})],
           [(7_000, 7_100, None)], facts={"stop_reason": reason})
      for reason in ("DeAuthorized", "EmergencyStop", "EVDisconnected", "HardReset", "Local", "Other", "PowerLoss",
                     "Reboot", "Remote", "SoftReset", "UnlockCommand")],
    Play("stopped without a reason is stopped locally (OCPP 1.6, StopTransaction)",
         [("09:16:00", "start", 1), ("09:21:00", "stop", 1)], [(7_000, 7_000, None)], facts={"stop_reason": None}),
    Play("the gateway is killed in the middle and the session goes on",
         [("09:16:00", "start", 1), ("09:18:00", "flow", 7_500), ("09:19:00", "kill"), ("09:40:00", "flow", 9_000),
          ("09:41:00", "stop", 1)], [(7_000, 9_000, None)]),
    Play("the gateway is killed between the stop and its reading",
         [("09:16:00", "start", 1), ("09:20:00", "silent"), ("09:21:00", "stop", 1), ("09:22:00", "kill"),
          ("09:23:00", "back"), ("09:24:00", "meter", 7_600)], [(7_000, 7_600, None)]),
    Play("the charger is lost for days and the car charges on",
         [("09:16:00", "start", 1), ("2026-04-18T09:16:00", "flow", 52_000), ("2026-04-18T09:17:00", "stop", 1)],
         [(7_000, 52_000, None)]),
    Play("the charger kept the stop; the register is flat around it",
         [("09:15:30", "start", 1), ("09:16:00", "meter", 7_600), ("09:16:10", "meter", 7_600),
          ("09:20:00", "stop", 1, LATE)], [(7_000, 7_600, None)]),
    Play("the charger kept the stop and a quarter hour passed: its kept boundary is flat, too",
         [("09:14:00", "start", 1), ("09:15:00", "meter", 7_600), ("09:15:01", "quarter"), ("09:30:00", "quarter"),
          ("09:50:00", "stop", 1, {"payload": {"timestamp": "2026-04-15T09:25:00Z"}})], [(7_000, 7_600, None)]),
    Play("the charger kept the stop under load: no substitute value",
         [("09:15:30", "start", 1), ("09:16:00", "meter", 7_600), ("09:16:10", "meter", 7_630),
          ("09:18:00", "stop", 1, LATE)], [(7_000, None, "end_register_only_from_charger")]),
    Play("a transaction without a stop ends with the next start",
         [("09:16:00", "start", 1), ("09:20:00", "flow", 7_400), ("09:21:00", "start", 2)],
         [(7_000, None, "start_without_stop"), (7_400, None, None)]),
    Play("a stop without a start", [("09:16:00", "stop", 9)], [(None, None, "stop_without_start")]),
    Play("a stop seen twice", [("09:16:00", "start", 1), ("09:20:00", "flow", 7_400), ("09:21:00", "stop", 1),
                               ("09:25:00", "flow", 7_500), ("09:26:00", "stop", 1)], [(7_000, 7_400, None)]),
    Play("a stop after the next start", [("09:16:00", "start", 1), ("09:20:00", "start", 2), ("09:21:00", "stop", 1)],
         [(7_000, None, "start_without_stop"), (7_000, None, None)]),
    Play("two users in one quarter hour",
         [("09:15:00", "quarter"), ("09:16:00", "start", 1), ("09:20:00", "flow", 7_178), ("09:21:00", "stop", 1),
          ("09:23:00", "start", 2), ("09:28:00", "flow", 7_733), ("09:29:00", "stop", 2), ("09:30:00", "quarter")],
         [(7_000, 7_178, None), (7_178, 7_733, None)], outside=0),
    Play("energy before the first reading is outside every session",
         [("09:15:00", "quarter"), ("09:16:00", "flow", 7_040), ("09:17:00", "start", 1), ("09:20:00", "flow", 7_500),
          ("09:21:00", "stop", 1), ("09:30:00", "quarter")], [(7_040, 7_500, None)], outside=40),
    Play("no reading at the start", [("09:16:00", "silent"), ("09:17:00", "start", 1), ("09:18:00", "back"),
                                     ("09:20:00", "flow", 7_500), ("09:21:00", "stop", 1)],
         [(None, 7_500, "no_begin_register")]),
    Play("no reading between the stop and the next start",
         [("09:16:00", "start", 1), ("09:18:00", "silent"), ("09:20:00", "stop", 1), ("09:21:00", "start", 2)],
         [(7_000, None, "no_end_register"), (None, None, None)]),
    Play("the meter is swapped in the middle",
         [("09:16:00", "start", 1), ("09:20:00", "meter", 7_300), ("09:22:00", "swap", "NEW", 17),
          ("09:25:00", "flow", 90), ("09:26:00", "stop", 1)], [(7_000, 90, "meter_swapped")]),
    Play("the meter is swapped between two sessions",
         [("09:16:00", "start", 1), ("09:20:00", "flow", 7_300), ("09:21:00", "stop", 1),
          ("09:25:00", "swap", "NEW", 17), ("09:26:00", "start", 2), ("09:28:00", "flow", 90), ("09:29:00", "stop", 2)],
         [(7_000, 7_300, None), (17, 90, None)]),
    Play("a register that went back is no bill",
         [("09:16:00", "start", 1), ("09:20:00", "flow", 6_000), ("09:21:00", "stop", 1)],
         [(7_000, 6_000, "register_went_back")]),
    Play("nothing flowed", [("09:16:00", "start", 1), ("09:21:00", "stop", 1)], [(7_000, 7_000, None)]),
    Play("refused by the backend", [("09:16:00", "start", 1, {"status": "Blocked"})],
         [(None, None, "start_refused")]),
    Play("over the hour that is left out in spring (2026-03-29, 02:00 -> 03:00)", day="2026-03-29",
         story=[("00:45:00", "quarter"), ("00:46:00", "start", 1), ("01:00:00", "flow", 7_200), ("01:00:00", "quarter"),
                ("01:15:00", "flow", 7_500), ("01:15:00", "quarter"), ("01:16:00", "stop", 1), ("01:30:00", "quarter")],
         sessions=[(7_000, 7_500, None)], classes={"NT": 500}, outside=0),
    Play("over the hour that comes twice in autumn (2026-10-25, 03:00 -> 02:00)", day="2026-10-25",
         story=[("00:45:00", "quarter"), ("00:46:00", "start", 1), ("01:00:00", "flow", 7_200), ("01:00:00", "quarter"),
                ("01:15:00", "flow", 7_500), ("01:15:00", "quarter"), ("01:16:00", "stop", 1), ("01:30:00", "quarter")],
         sessions=[(7_000, 7_500, None)], classes={"NT": 500}, outside=0),
    Play("over local midnight of a Saturday", day="2026-04-17",
         story=[("21:45:00", "quarter"), ("21:46:00", "start", 1), ("22:00:00", "flow", 7_300), ("22:00:00", "quarter"),
                ("22:10:00", "flow", 7_400), ("22:11:00", "stop", 1), ("22:15:00", "quarter")],
         sessions=[(7_000, 7_400, None)], classes={"NT": 400}, outside=0),
    Play("over the turn of the year, from one billing period into the next", day="2026-12-31",
         story=[("22:45:00", "quarter"), ("22:46:00", "start", 1), ("23:00:00", "flow", 7_301), ("23:00:00", "quarter"),
                ("23:10:00", "flow", 7_404), ("23:11:00", "stop", 1), ("23:15:00", "quarter")],
         sessions=[(7_000, 7_404, None)], classes={"NT": 404}, outside=0),
    Play("from the high into the low tariff", day="2026-04-15",
         story=[("17:45:00", "quarter"), ("17:46:00", "start", 1), ("18:00:00", "flow", 7_300), ("18:00:00", "quarter"),
                ("18:10:00", "flow", 7_400), ("18:11:00", "stop", 1), ("18:15:00", "quarter")],
         sessions=[(7_000, 7_400, None)], classes={"HT": 300, "NT": 100}, outside=0),
]  # fmt: skip


class Stage:
    """Plays one story on the small house; the box draws everything from the grid, so the house always closes."""

    def __init__(self, house: Any, day: str) -> None:
        self.house, self.day, self.entries = house, day, 0
        self.grid_wh = 100_000
        self.stack = AsyncExitStack()

    async def play(self, story: Sequence[Line]) -> None:
        self._move("00:00:00" if not story else story[0][0], before_s=60)
        await self.stack.enter_async_context(self.house.running())
        try:
            for time, what, *rest in story:
                self._move(time)
                await getattr(self, what)(*rest)
            await self._settled()
        finally:
            await self.stack.aclose()

    def _move(self, time: str, before_s: int = 0) -> None:
        self.house.at(f"{time}Z" if "T" in time else f"{self.day}T{time}Z")
        self.house.clock.now_ms -= before_s * 1000

    async def start(self, transaction: int, more: dict[str, Any] | None = None) -> None:
        self.entries = await self.house.start(transaction, **(more or {}))
        await self._taken()

    async def stop(self, transaction: int, more: dict[str, Any] | None = None) -> None:
        more = dict(more or {})
        if "reason" in more:
            more["payload"] = {"reason": more.pop("reason")}
        self.entries = await self.house.stop(transaction, **more)
        await self._taken()
        if not self.house.meters.silent:
            await self.house.until("SELECT count(*) FROM session WHERE state = 'stopped'", 0)

    async def flow(self, wh: int) -> None:
        self.grid_wh += max(0, wh - self.house.meters.registers["m1"][0])
        self.house.meters.registers |= {"m1": (wh, None), "grid": (self.grid_wh, 0)}

    async def meter(self, wh: int) -> None:
        await self.flow(wh)
        self.house.meters.poll("m1")
        self.house.tracker.notify()

    async def swap(self, serial: str, wh: int) -> None:
        self.house.meters.serials["m1"] = serial
        self.house.meters.registers["m1"] = (wh, None)
        self.house.meters.poll("m1")

    async def silent(self) -> None:
        self.house.meters.silent = {"m1"}

    async def back(self) -> None:
        self.house.meters.silent = set()

    async def quarter(self) -> None:
        time_ms = self.house.clock.now_ms - self.house.clock.now_ms % 900_000
        await self.house.boundary(_iso(time_ms))

    async def kill(self) -> None:
        await self.stack.aclose()
        self.stack = AsyncExitStack()
        await self.stack.enter_async_context(self.house.running())

    async def _taken(self) -> None:
        await self.house.until("SELECT ifnull(max(entry), 0) FROM cursor", self.entries)

    async def _settled(self) -> None:
        """Whoever waits for a reading has had one asked for."""
        self.house.tracker.notify()
        if not self.house.meters.silent:
            await self.house.until("SELECT count(*) FROM session WHERE state = 'stopped'", 0)
        self.house.settlement.notify()
        await self.house.until("SELECT count(*) FROM interval WHERE dirty = 1", 0)


def _iso(utc_ms: int) -> str:
    from gateway.clock import iso

    return iso(utc_ms)


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.name)
async def test_playbook(house: Any, play: Play) -> None:
    await Stage(house, play.day).play(play.story)
    rows = await house.rows("SELECT begin_wh, end_wh, unbillable_reason, billable, state FROM session "
                            "ORDER BY transaction_id, begin_ms")  # fmt: skip
    assert [row[:3] for row in rows] == list(play.sessions)
    for begin, end, reason, billable, state in rows:
        assert bool(billable) == (reason is None and state == "ended")
        assert not billable or end >= begin
    if play.facts:
        [facts] = await house.rows(f"SELECT {', '.join(play.facts)} FROM session")
        assert dict(zip(play.facts, facts, strict=True)) == play.facts
    await books_are_right(house)
    if play.outside is not None:
        bodies = await house.bodies("interval.v1")
        newest = {one["k"]: one for one in bodies}
        known = [one for one in newest.values() if one["shares"]]
        assert sum(piece["wh"] for one in known for piece in one["outside"]) == play.outside
    if play.classes is not None:
        split = (await house.bodies("split.v1"))[-1]
        assert split["classes_wh"] == play.classes
        assert split["solar_wh"] + sum(split["classes_wh"].values()) == split["energy_wh"]


async def books_are_right(house: Any) -> None:
    """I5: one begin and one end row each; signed records only where billed; whoever is not billed says why."""
    ends = await house.bodies("session.end.v1")
    assert len({end["session"] for end in ends}) == len(ends)
    for end in ends:
        assert end["billable"] == (end["ocmf_end"] is not None) == (end["energy_wh"] is not None)
        assert end["billable"] != bool(end["unbillable_reason"])
    begins = [begin["session"] for begin in await house.bodies("session.begin.v1")]
    assert len(set(begins)) == len(begins)


async def test_residents_visitors_and_company_cars_on_one_charger(house: Any) -> None:
    """Three kinds of payers in three quarter hours: each a session of its own, all of them make up the meter."""
    tokens = (Token(id="CARD-A", tenant="anna"), Token(id="04AABBCCDD", tenant="acme-fleet", kind="rfid"))
    house.site = replace(house.site, tokens=tokens)
    stage = Stage(house, "2026-04-15")
    await stage.play(
        [("09:15:00", "quarter"), ("09:16:00", "start", 1, {"card": "CARD-A"}), ("09:20:00", "flow", 7_300),
         ("09:21:00", "stop", 1), ("09:22:00", "start", 2, {"card": "VISITOR-1"}), ("09:28:00", "flow", 7_800),
         ("09:29:00", "stop", 2), ("09:30:00", "quarter"), ("09:31:00", "start", 3, {"card": "04aabbccdd"}),
         ("09:40:00", "flow", 9_000), ("09:41:00", "stop", 3), ("09:45:00", "quarter")]
    )  # fmt: skip
    ends = await house.bodies("session.end.v1")
    assert [(end["tenant"], end["energy_wh"]) for end in ends] == [("anna", 300), (None, 500), ("acme-fleet", 1_200)]
    splits = {split["session"]: split for split in await house.bodies("split.v1")}
    assert all(splits[end["session"]]["energy_wh"] == end["energy_wh"] for end in ends)
    assert sum(end["energy_wh"] for end in ends) == 9_000 - 7_000


async def test_a_double_box_has_a_meter_for_each_connector(house: Any) -> None:
    """Two cars at one box: two sessions, each with the registers of its own meter."""
    connectors = tuple(
        Connector(ref=ConnectorRef("twin", number), circuit="house", max_ma=16000, fallback_ma=6000,
                  meter=f"t{number}", participant="twin")
        for number in (1, 2)
    )  # fmt: skip
    house.site = replace(
        house.site,
        chargers=(*house.site.chargers, Charger(id="twin", connectors=connectors)),
        participants=(*house.site.participants, Participant(id="twin", name="Twin", kind="charger")),
        meters=(*house.site.meters, *(Meter(id=f"t{n}", model="iem3155", bus="b", unit=10 + n, role="charger")
                                      for n in (1, 2))),
    )  # fmt: skip
    house.meters.registers |= {"t1": (1_000, None), "t2": (2_000, None)}
    async with house.running():
        await house.boundary("09:15:00")
        for number in (1, 2):
            answer = {"idTagInfo": {"status": "Accepted"}, "transactionId": number}
            payload = {"connectorId": number, "idTag": "CARD-A", "meterStart": 0}
            await house.journal(
                "StartTransaction", payload, charger="twin", tx=number, answer=answer, read=f"t{number}",
                connector=number,
            )  # fmt: skip
        await house.until("SELECT count(*) FROM session WHERE state = 'open'", 2)
        house.at("09:20:00")
        house.meters.registers |= {"t1": (1_400, None), "t2": (2_700, None)}
        await house.stop(2, charger="twin", connector=2)
        await house.stop(1, charger="twin", connector=1)
        await house.until("SELECT count(*) FROM session WHERE state = 'ended'", 2)
        await house.boundary("09:30:00", grid=(101_100, 0))
    ends = {end["connector"]: end for end in await house.bodies("session.end.v1")}
    assert [(ends[n]["meter"], ends[n]["energy_wh"]) for n in (1, 2)] == [("t1", 400), ("t2", 700)]
    body = (await house.bodies("interval.v1"))[-1]
    assert sorted(one["wh"] for one in body["sessions"]) == [400, 700]
    [share] = [one for one in body["shares"] if one["participant"] == "twin"]
    assert share["wh"] == 1_100


def test_a_meter_for_two_connectors_is_refused_before_it_can_bill_anybody(tmp_path: Path) -> None:
    """It would tell neither session's energy; `check` names both places."""
    text = (Path(__file__).parents[2] / "config" / "site.example.toml").read_text(encoding="utf-8")
    path = tmp_path / "site.toml"
    path.write_text(text.replace('meter = "m2"', 'meter = "m1"'), encoding="utf-8")
    with pytest.raises(SiteProblems) as caught:
        load_site(path)
    assert any('"m1" already measures' in str(problem) for problem in caught.value.problems)

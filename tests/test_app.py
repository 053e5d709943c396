"""The whole daemon below signals, on virtual time: parts that fail start again, what cannot start says why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway import app
from gateway.clock import iso
from gateway.cloud.link import CloudLink
from gateway.model import StoreError, StoreProblem, World
from gateway.sessions import set_back
from gateway.site import Circuit, Site, Tariff
from gateway.store import meta
from tests.site.clock import SimClock
from tests.site.disk import Disk
from tests.site.loop import SimLoop
from tests.site.net import Network

EPOCH_MS = 1_781_341_200_000


def site(name: str = "house", *, simulation: bool = True) -> Site:
    root = Circuit(id="house", parent=None, fuse_a=40, fuse="gG", limit_ma=40_000, house_worst_ma=20_000, safe_ma=0)
    return Site(
        id=name, name="House", timezone="Europe/Zurich", simulation=simulation, circuits=(root,),
        tariff=Tariff(id="flat", default="NT", windows=()),
    )  # fmt: skip


class Machine:
    """One simulated machine: its disk stays from one start to the next."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.image: dict[str, bytes] = {}
        self.notified: list[str] = []
        self.epoch_ms, self.booted_s = EPOCH_MS, 0.0

    def off_for(self, seconds: float, *, power: bool) -> None:
        """No gateway runs for a while; `power`: the machine is off, and has only just started then."""
        self.epoch_ms += round(seconds * 1000)
        self.booted_s = 0.0 if power else self.booted_s - seconds

    def run(
        self, house: Site, seconds: float, *, full: Sequence[tuple[float, float]] = (), wrong_by_ms: int = 0,
        acts: Sequence[tuple[float, Callable[[SimClock, Disk], None]]] = (), killed: bool = False,
    ) -> None:  # fmt: skip
        """Start, live for a while, end cleanly or be killed. `full`: from when to when the disk takes nothing, seconds.

        The clock is wrong at first; `acts` come at seconds of that life.
        """
        disk = Disk(self.image)
        epoch_ms = self.epoch_ms

        async def live() -> None:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, SimLoop)
            network = Network(loop, 1)
            clock = SimClock(loop, epoch_ms, wrong_by_ms, self.booted_s)
            for at_s, act in acts:
                loop.call_later(at_s, act, clock, disk)
            world = World(
                clock=clock, random=Random(1), store=None, net=None,  # type: ignore[arg-type]
                connect_database=disk.connect, open_socket=_no_socket(network), notify=self.notified.append,
            )  # fmt: skip
            for at_s, takes_nothing in [(at_s, n == 0) for span in full for n, at_s in enumerate(span)]:
                loop.call_later(at_s, setattr, disk, "full", takes_nothing)
            task = asyncio.create_task(app.run(app.Config(house, self.state, None), world))
            await asyncio.wait([task], timeout=seconds)
            if killed:
                self.image = disk.stop()
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                return

        with asyncio.Runner(loop_factory=SimLoop) as runner:
            runner.run(live())
        self.image = self.image if killed else disk.stop()
        disk.close()
        self.off_for(seconds, power=False)

    def told(self, sql: str) -> list[Any]:
        """What is on the disk."""
        disk = Disk(self.image)
        rows = disk.connect(self.state / "billing.db").execute(sql).fetchall()
        disk.close()
        return rows


def _no_socket(network: Network) -> Any:
    return lambda host, port, tls: network.connect_socket(host, port)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_it_says_ready_feeds_the_watchdog_and_says_that_it_stops(machine: Machine) -> None:
    """The service manager hears the three words in this order."""
    machine.run(site(), 100)
    words = [line.split("\n")[0] for line in machine.notified]
    assert words[0] == "READY=1"
    assert words[-1] == "STOPPING=1"
    assert words.count("WATCHDOG=1") == 4


def test_a_part_that_fails_starts_again_and_the_others_go_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Design rule 3: a mistake in one part is told with its place, and costs the others nothing."""
    starts: list[float] = []

    async def broken(self: CloudLink) -> None:
        starts.append(asyncio.get_running_loop().time())
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(CloudLink, "run", broken)
    machine.run(site(), 80)
    waits = [round(after - before) for before, after in pairwise(starts)]
    assert waits == [5, 10, 20, 40]
    assert [line.split("\n")[0] for line in machine.notified].count("WATCHDOG=1") >= 2
    assert "a mistake of ours" in capsys.readouterr().out


def test_a_full_disk_is_asked_again_soon_and_told_once_for_each_part_with_what_to_do(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part that the disk fails again and again is one event, and its next step is not the maker. Seed 20119: the
    gateway lost its power 67 s after the disk had room again, and a quarter hour's registers still waited in memory."""
    starts: list[float] = []

    async def full(self: CloudLink) -> None:
        starts.append(asyncio.get_running_loop().time())
        raise StoreError(StoreProblem.FULL, "disk full")

    monkeypatch.setattr(CloudLink, "run", full)
    machine.run(site(), 80)
    assert [round(after - before) for before, after in pairwise(starts)] == [5, 10, 20, 20, 20]
    told = [line for line in capsys.readouterr().out.splitlines() if "store_refuses" in line]
    assert len(told) == 1
    assert "disk full" in told[0]
    assert "make room on the disk" in told[0]


@pytest.mark.parametrize(
    ("full", "times"),
    [(((100, 130), (200, 260)), 2), (((100, 900),), 1)],
    ids=["full twice", "full for long"],
)
def test_a_disk_that_is_full_again_is_told_again(
    full: Sequence[tuple[float, float]],
    times: int,
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Seed 60196: the second time, 109 s after the first, was told to nobody. Here a part writes once in 40 s."""

    async def seldom(self: CloudLink) -> None:
        number = 0
        while True:
            await asyncio.sleep(40)
            number += 1
            await self._db.run(lambda db, number=number: meta.put(db, "number", str(number)))  # type: ignore[misc]

    monkeypatch.setattr(CloudLink, "run", seldom)
    machine.run(site(), 1000, full=full)
    told = [line for line in capsys.readouterr().out.splitlines() if "store_refuses" in line and "=cloud" in line]
    assert len(told) == times


def test_the_state_of_another_site_is_refused(machine: Machine) -> None:
    """Two houses never share a database: the chain names the gateway."""
    machine.run(site("first"), 10)
    with pytest.raises(app.StartError, match="belongs to site 'first'"):
        machine.run(site("second"), 10)


def test_time_never_starts_before_what_is_on_disk(machine: Machine) -> None:
    """The newest time is written every five minutes: the floor of the clock after a power cut."""
    machine.run(site(), 1000)
    disk = Disk(machine.image)
    newest = disk.connect(machine.state / "billing.db").execute("SELECT value FROM meta WHERE key = 'newest_ms'")
    row = newest.fetchone()
    disk.close()
    assert row is not None
    assert int(row[0]) >= EPOCH_MS + 900_000


@pytest.mark.parametrize("wrong_by_ms", [-3_600_000, 3_600_000])
def test_a_wrong_time_is_put_right_between_two_lives_of_the_parts_in_both_directions(
    machine: Machine, capsys: pytest.CaptureFixture[str], wrong_by_ms: int
) -> None:
    """What is on disk, what is in memory and the clock: all of it in one instant, and no part runs just then."""
    seen: list[int] = []

    def note(clock: SimClock, _: Disk) -> None:
        seen.append(clock.utc_ms() - clock.true_ms())

    acts = [
        (29.0, note), (30.0, lambda clock, _: clock.set_right(wrong_by_ms)), (30.0, note),
        (61.0, note),
    ]  # fmt: skip
    machine.run(site(), 100, wrong_by_ms=wrong_by_ms, acts=acts)
    assert seen == [wrong_by_ms, wrong_by_ms, 0]
    words = [line.split("\n")[0] for line in machine.notified if "WATCHDOG" not in line]
    assert words == ["READY=1", "STOPPING=1", "READY=1", "STOPPING=1"]
    told = [line for line in capsys.readouterr().out.splitlines() if "clock_s" in line]
    assert len(told) == 1
    assert f"delta_ms={-wrong_by_ms}" in told[0]


def test_a_full_disk_keeps_the_guess_until_it_takes_the_right_time(machine: Machine) -> None:
    """Rows that cannot be moved would bear another time than the parts: these live on meanwhile, once started anew."""
    seen: list[int] = []

    def fill(_: SimClock, disk: Disk) -> None:
        disk.full = True

    def empty(clock: SimClock, disk: Disk) -> None:
        seen.append(clock.utc_ms() - clock.true_ms())
        disk.full = False

    acts = [
        (20.0, fill), (30.0, lambda clock, _: clock.set_right(-3_600_000)), (600.0, empty),
        (700.0, lambda clock, _: seen.append(clock.utc_ms() - clock.true_ms())),
    ]  # fmt: skip
    machine.run(site(), 800, wrong_by_ms=-3_600_000, acts=acts)
    assert seen == [-3_600_000, 0]
    assert sum(line.startswith("READY=1") for line in machine.notified) <= 4


WRONG_MS = pytest.mark.parametrize("wrong_by_ms", [-200 * 86_400_000 - 123_456, -2_345_678, 3_456_789, 21 * 86_400_000])


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "ended"])
@pytest.mark.parametrize("off_s", [900, 3 * 86_400])
def test_that_a_time_server_has_answered_is_on_disk_before_the_next_beat(
    machine: Machine, capsys: pytest.CaptureFixture[str], off_s: float, killed: bool
) -> None:
    """The power failed two minutes later: the next start took all of it for a guess, and after days moved it."""
    answers = (20.0, lambda clock, _: clock.set_right(2_000))
    machine.run(site(), 140, wrong_by_ms=2_000, acts=[answers], killed=killed)
    assert machine.told("SELECT value FROM meta WHERE key = 'guess'") == [("",)]
    machine.off_for(off_s, power=True)
    capsys.readouterr()
    machine.run(site(), 100)
    assert [line for line in capsys.readouterr().out.splitlines() if "clock_" in line] == []


@pytest.mark.parametrize("row", ["x", "5", "[]", '[1,"zzz","",0,null,false]', "{}"])
def test_what_another_version_noted_of_its_time_stops_no_start(
    machine: Machine, capsys: pytest.CaptureFixture[str], row: str
) -> None:
    """It is told once, with what to compare."""
    machine.run(site(), 30)
    disk = Disk(machine.image)
    with closing(disk.connect(machine.state / "billing.db")) as db:
        db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('guess', ?)", (row,))
    machine.image = disk.stop()
    disk.close()
    for told in (1, 0):
        capsys.readouterr()
        machine.run(site(), 30)
        assert capsys.readouterr().out.count("cannot be read") == told


@WRONG_MS
@pytest.mark.parametrize("killed", [True, False], ids=["killed", "ended"])
def test_what_an_earlier_life_stamped_by_a_guess_is_put_right_before_the_parts_begin(
    machine: Machine, capsys: pytest.CaptureFixture[str], wrong_by_ms: int, killed: bool
) -> None:
    """A time server answered while no gateway was there: 200 days behind were settled as an absence of 200 days."""
    machine.run(site(), 1000, wrong_by_ms=wrong_by_ms, killed=killed)
    machine.off_for(100, power=False)
    machine.notified.clear()
    capsys.readouterr()
    seen: list[int] = []
    act = (0.5, lambda clock, _: seen.append(clock.utc_ms() - clock.true_ms()))
    machine.run(site(), 100, acts=[act])
    words = [line.split("\n")[0] for line in machine.notified if "WATCHDOG" not in line]
    assert (seen, words) == ([0], ["READY=1", "STOPPING=1"]), "the wallboxes connect once"
    [told] = [line for line in capsys.readouterr().out.splitlines() if "clock_" in line]
    assert f"delta_ms={-wrong_by_ms}" in told
    assert f"since={iso(EPOCH_MS + wrong_by_ms)}" in told
    assert "estimated" not in told
    ks = [k for (k,) in machine.told("SELECT k FROM interval WHERE result IS NULL OR json_extract(result, '$.shares')")]
    assert len(ks) < 10
    assert machine.told("SELECT value FROM meta WHERE key = 'guess'") == [("",)]
    told_ms = machine.told("SELECT value FROM meta WHERE key = 'newest_ms'")[0][0]
    assert int(told_ms) == EPOCH_MS + 1_100_000


@WRONG_MS
@pytest.mark.parametrize("power", [False, True])
def test_a_guess_that_the_next_life_shares_is_put_right_with_it_as_a_whole(
    machine: Machine, capsys: pytest.CaptureFixture[str], wrong_by_ms: int, power: bool
) -> None:
    machine.run(site(), 1000, wrong_by_ms=wrong_by_ms, killed=True)
    machine.off_for(100, power=power)
    capsys.readouterr()
    machine.run(site(), 100, wrong_by_ms=wrong_by_ms, acts=[(20.0, lambda clock, _: clock.set_right(wrong_by_ms))])
    [told] = [line for line in capsys.readouterr().out.splitlines() if "clock_" in line]
    assert f"delta_ms={-wrong_by_ms}" in told
    assert f"since={iso(EPOCH_MS + wrong_by_ms)}" in told


@pytest.mark.parametrize(("off_ms", "whole"), [(25_000, False), (27_000, True)])
def test_what_a_good_clock_without_a_time_server_has_drifted_by_moves_no_earlier_life(
    machine: Machine, capsys: pytest.CaptureFixture[str], off_ms: int, whole: bool
) -> None:
    """Three days, and 26 s: every boundary of them would have become an estimate."""
    machine.run(site(), 1000, wrong_by_ms=off_ms, killed=True)
    machine.off_for(3 * 86_400 - 1000, power=False)
    capsys.readouterr()
    machine.run(site(), 100)
    [told] = [line for line in capsys.readouterr().out.splitlines() if "clock_" in line]
    assert f"delta_ms={-off_ms}" in told
    assert (f"since={iso(EPOCH_MS + off_ms)}" in told) == whole


def test_a_full_disk_at_a_start_that_knows_the_time_keeps_the_guess_of_before_until_it_takes_it(
    machine: Machine,
) -> None:
    machine.run(site(), 1000, wrong_by_ms=-3_600_000, killed=True)
    machine.off_for(100, power=False)
    seen: list[int] = []

    def note(clock: SimClock, _: Disk) -> None:
        seen.append(clock.utc_ms() - clock.true_ms())

    def refuse(*_: object, **__: object) -> None:
        raise StoreError(StoreProblem.FULL, "disk full")

    with pytest.MonkeyPatch.context() as broken:
        whole = set_back.put_right
        broken.setattr(set_back, "put_right", refuse)
        mend = lambda *_: broken.setattr(set_back, "put_right", whole)  # noqa: E731
        machine.run(site(), 300, acts=[(1.0, note), (20.0, mend), (200.0, note)])
    assert seen == [-3_600_000, 0]


def test_hours_before_a_power_cut_may_be_an_absence_and_are_told(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody can say whether the first start was behind by them: nothing is moved, and somebody is told."""
    machine.run(site(), 1000, wrong_by_ms=-2_345_678, killed=True)
    machine.off_for(100, power=True)
    capsys.readouterr()
    machine.run(site(), 100)
    [told] = [line for line in capsys.readouterr().out.splitlines() if "clock_" in line]
    assert "clock_unconfirmed" in told
    assert f"since={iso(EPOCH_MS - 2_345_678)}" in told
    machine.run(site(), 100)
    assert "clock_" not in capsys.readouterr().out, "once"

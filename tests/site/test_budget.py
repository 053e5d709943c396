"""What a machine holds is counted by what its tasks reach, without the simulators and the code."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from pathlib import Path

from simulators.judge.evidence import Evidence

from .boxes import SeededCharger
from .budget import DISK_BYTES_A_QUARTER_AHEAD, ahead_bytes, growth, held_bytes


def test_what_a_task_reaches_is_counted_once() -> None:
    """Through frames, closures, deques and objects; shared objects count once."""

    class Part:
        def __init__(self) -> None:
            self.kept = deque([bytes(50_000)])

    async def live() -> tuple[int, int]:
        part = Part()

        async def work() -> None:
            shared = (part.kept, part.kept)
            await asyncio.sleep(3600)
            del shared

        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        before = held_bytes([task])
        part.kept.append(bytes(200_000))
        after = held_bytes([task])
        task.cancel()
        return before, after

    before, after = asyncio.run(live())
    assert 50_000 < before < 60_000
    assert 200_000 < after - before < 201_000


def test_simulators_are_not_the_gateways() -> None:
    """Their memory is not on the machine."""
    charger = object.__new__(SeededCharger)
    charger.last_sent = "x" * 100_000
    assert held_bytes([[charger]]) < 200


def test_memory_that_grows_over_a_day_is_seen_and_restarts_are_not_growth() -> None:
    """A look every quarter hour: 40 kB an hour are found, a saw tooth of restarts is flat."""
    ages = [look % 9 for look in range(144)]
    leaks = [(age, 3_000_000 + 10_000 * look) for look, age in enumerate(ages)]
    saw_tooth = [(age, 3_000_000 + 100_000 * age) for age in ages]
    assert growth(leaks) > 1.2
    assert 0.99 < growth(saw_tooth) < 1.01


def test_fewer_kills_in_the_second_half_are_no_growth() -> None:
    """Seed 10001, the day: "1.26 times from one half to the other", since half an hour of readings fills half of it."""
    ages = [look % 2 for look in range(72)] + [look % 9 for look in range(72)]
    assert 0.99 < growth([(age, 2_500_000 + 500_000 * min(age, 3)) for age in ages]) < 1.01
    leaking = [(age, 2_500_000 + 500_000 * min(age, 3) + 10_000 * look) for look, age in enumerate(ages)]
    assert growth(leaking) > 1.2


def test_a_clock_that_is_days_ahead_may_write_its_quarter_hours_and_one_that_is_behind_none(tmp_path: Path) -> None:
    """Seed 139: three days ahead are 288 of them. Weeks are not believed."""
    assert [_ahead_bytes(tmp_path, off_ms) for off_ms in (-60_000, 899_000)] == [0, 0]
    assert _ahead_bytes(tmp_path, 3 * 86_400_000) == 288 * DISK_BYTES_A_QUARTER_AHEAD
    assert _ahead_bytes(tmp_path, 90 * 86_400_000) == 7 * 96 * DISK_BYTES_A_QUARTER_AHEAD


def _ahead_bytes(folder: Path, off_ms: int) -> int:
    (folder / "evidence").mkdir(exist_ok=True)
    line = json.dumps({"t": 0, "what": "clock_reads", "off_ms": off_ms})
    (folder / "evidence" / "events.jsonl").write_text(line + "\n", encoding="utf-8")
    return ahead_bytes(Evidence(folder))

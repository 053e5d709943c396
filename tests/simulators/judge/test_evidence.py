"""What the judge reads from the story: spells that overlap, ways that are slow."""

from __future__ import annotations

from pathlib import Path

from simulators.judge.evidence import Evidence
from tests.simulators.judge.builder import START
from tests.simulators.judge.good_run import good_run


def told(folder: Path, *lines: tuple[int, str, dict[str, object]]) -> Evidence:
    run = good_run()
    run.story += [{"t": START + at_ms, "what": what, **keys} for at_ms, what, keys in lines]
    return Evidence(run.write(folder / "run"))


def test_a_span_lasts_until_the_last_of_those_that_overlap_is_over(tmp_path: Path) -> None:
    """Two slow spells of the uplink overlapped, and the judge believed the first one's end."""
    one, other = {"link": "csms"}, {"link": "broker"}
    evidence = told(
        tmp_path,
        (1000, "uplink_slow", one), (2000, "uplink_slow", one), (2500, "uplink_slow", other),
        (3000, "uplink_fast", one), (5000, "uplink_fast", one), (6000, "uplink_fast", one),
        (7000, "uplink_slow", one),
    )  # fmt: skip
    assert [(who, since - START, until - START) for who, since, until in evidence.spans(
        "uplink_slow", "uplink_fast", "link"
    )] == [
        ("csms", 1000, 5000), ("csms", 7000, evidence.end_ms - START), ("broker", 2500, evidence.end_ms - START),
    ]  # fmt: skip


def test_a_frame_meets_every_delay_that_was_in_force_on_its_way(tmp_path: Path) -> None:
    slow = {"charger": "box2", "ms": 2500}
    evidence = told(
        tmp_path,
        (10_000, "charger_slow", slow), (15_000, "charger_slow", slow),
        (30_000, "charger_fast", slow), (60_000, "charger_fast", slow),
    )  # fmt: skip
    delays = {at_s: evidence.delay_ms("box2", START + at_s * 1000) for at_s in (9, 12, 20, 34, 36, 64, 66)}
    assert delays == {9: 0, 12: 2500, 20: 5000, 34: 5000, 36: 2500, 64: 2500, 66: 0}
    assert evidence.delay_ms("box1", START + 20_000) == 0


def test_what_a_start_that_was_ahead_stamped_may_lie_later_by_as_long_as_the_machine_was_off(tmp_path: Path) -> None:
    """Seed 103: the next start knew the right time at once, and not how long the power had been off. Only then."""
    ahead = 21 * 86_400_000
    evidence = told(
        tmp_path,
        (1000, "clock_wrong", {"off_ms": ahead}), (1000, "clock_reads", {"off_ms": ahead}),
        (50_000, "gateway_killed", {}), (90_000, "clock_right", {}),
        (160_000, "clock_reads", {"off_ms": ahead - 110_000}), (160_000, "clock_reads", {"off_ms": 0}),
    )  # fmt: skip
    assert evidence.shown_ms(START + 30_000) == [0, ahead, ahead - 110_000, 0, 110_000]
    assert evidence.shown_ms(START + 300_000) == [0]
    lived_on = told(
        tmp_path / "other",
        (1000, "clock_wrong", {"off_ms": ahead}), (1000, "clock_reads", {"off_ms": ahead}),
        (2000, "clock_reads", {"off_ms": ahead - 110_000}), (90_000, "clock_right", {}),
    )  # fmt: skip
    assert lived_on.shown_ms(START + 30_000) == [0, ahead, ahead - 110_000]

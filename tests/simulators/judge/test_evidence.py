"""What the judge reads from the story: spells that overlap, ways that are slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulators.judge.evidence import Evidence
from tests.simulators.judge.builder import START
from tests.simulators.judge.good_run import good_run

DAY = 86_400_000


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


@pytest.mark.parametrize("off_ms", [21 * DAY, -200 * DAY])
def test_what_a_start_with_a_wrong_clock_stamped_may_lie_later_by_as_long_as_the_machine_was_off(
    tmp_path: Path, off_ms: int
) -> None:
    """Seed 103: the next start knew the right time at once, and not how long the power had been off. Only then."""
    later = off_ms - 110_000
    lines: list[tuple[int, str, dict[str, object]]] = [
        (1000, "clock_wrong", {"off_ms": off_ms}), (1000, "clock_reads", {"off_ms": off_ms}),
        (50_000, "gateway_killed", {"power": True}), (90_000, "clock_right", {}),
        (160_000, "clock_reads", {"off_ms": later}), (160_000, "clock_reads", {"off_ms": 0}),
    ]  # fmt: skip
    evidence = told(tmp_path, *lines)
    assert evidence.shown_ms(START + 30_000) == [0, off_ms, later, 0, 110_000]
    assert evidence.shown_ms(START + 300_000) == [0]
    assert evidence.began_later_ms == 0, "the house had begun before"
    first = told(tmp_path / "other", *((at_ms - 11_000, what, keys) for at_ms, what, keys in lines))
    assert (first.lives[0][0], first.began_later_ms) == (START - 10_000, 110_000)


@pytest.mark.parametrize(
    ("killed", "later_ms"),
    [(None, 110_000), ({"power": False}, 110_000), ({"power": True}, 600_000)],
    ids=["it lived on", "the machine ran on", "it was not off for so long"],
)
def test_else_what_was_stamped_lies_where_it_was(
    tmp_path: Path, killed: dict[str, object] | None, later_ms: int
) -> None:
    ahead = 21 * DAY
    evidence = told(
        tmp_path,
        (1000, "clock_wrong", {"off_ms": ahead}), (1000, "clock_reads", {"off_ms": ahead}),
        *([(50_000, "gateway_killed", killed)] if killed else []),
        (160_000, "clock_reads", {"off_ms": ahead - later_ms}), (190_000, "clock_right", {}),
    )  # fmt: skip
    assert evidence.shown_ms(START + 30_000) == [0, ahead, ahead - later_ms]


@pytest.mark.parametrize(
    ("off_ms", "power", "unknowable"),
    [(-DAY // 2, True, True), (-DAY // 2, False, False), (-2 * DAY, True, False), (DAY // 2, True, False)],
    ids=["behind by hours", "the machine ran on", "behind by days", "ahead"],
)
def test_hours_behind_before_a_power_cut_cannot_be_told_from_an_absence(
    tmp_path: Path, off_ms: int, power: bool, unknowable: bool
) -> None:
    """A first start whose clock nobody had compared; the next one knew the time."""
    evidence = told(
        tmp_path,
        (1000, "clock_wrong", {"off_ms": off_ms}), (1000, "clock_reads", {"off_ms": off_ms}),
        (50_000, "gateway_killed", {"power": power}), (90_000, "clock_right", {}),
        (160_000, "clock_reads", {"off_ms": 0}),
    )  # fmt: skip
    began_ms = evidence.lives[0][0]
    assert evidence.unknowable == ((began_ms + off_ms, START + 160_000) if unknowable else (began_ms, began_ms))

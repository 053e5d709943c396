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

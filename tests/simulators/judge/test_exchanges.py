"""What an exchange of meters leaves unmetered, by what the others saw."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from simulators.judge import exchanges, judge
from simulators.judge.times import QUARTER_MS
from tests.simulators.judge.bounds import tell
from tests.simulators.judge.builder import at, iso
from tests.simulators.judge.good_run import good_run, true_wh

AT_MS = QUARTER_MS + 600_000
LIVES = [(0, QUARTER_MS + 422_000), (QUARTER_MS + 543_000, 3 * QUARTER_MS)]


@pytest.mark.parametrize(
    ("silent_ms", "begins_ms"),
    [
        (None, AT_MS - 10_000),
        (QUARTER_MS + 570_000, QUARTER_MS + 560_000),
        (QUARTER_MS + 537_000, QUARTER_MS),
        (QUARTER_MS + 300_000, QUARTER_MS + 290_000),
    ],
    ids=["no silence", "a silence", "a silence that began while no gateway was there", "one that began before"],
)
def test_unmetered_begins_with_the_last_register_that_somebody_read_and_kept(
    silent_ms: int | None, begins_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 20086: dead for 121 s, the meter silent from 6 s before the start on and exchanged 56 s after it."""
    monkeypatch.setattr(exchanges, "sessions", lambda _: [])
    evidence = SimpleNamespace(
        lives=LIVES,
        told=lambda _: [SimpleNamespace(at_ms=AT_MS, data={"meter": "m3"})],
        spans=lambda *_: [] if silent_ms is None else [("m3", silent_ms, AT_MS + 30_000)],
    )
    unmetered_ms = exchanges.unmetered_ms(evidence, "m3", 0, AT_MS)  # type: ignore[arg-type]
    assert AT_MS - unmetered_ms == begins_ms


@pytest.mark.parametrize(("named", "ends_ms"), [(True, 25_000), (False, 85_000)])
def test_a_meter_without_a_name_is_known_a_minute_later(
    named: bool, ends_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 21033: its new level was believed 65 s after the exchange."""
    monkeypatch.setattr(exchanges, "sessions", lambda _: [])
    told = [SimpleNamespace(at_ms=AT_MS, data={"meter": "m3", "named": named})]
    evidence = SimpleNamespace(lives=LIVES, told=lambda _: told, spans=lambda *_: [])
    assert exchanges.unmetered_ms(evidence, "m3", AT_MS, 3 * QUARTER_MS) == ends_ms  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before_ms", "named", "jump_wh", "said"),
    [
        (59_000, False, 400, ""),
        (61_000, False, 400, "no register of m1 at_end, for no reason"),
        (30_000, True, 400, "no register of m1 at_end, for no reason"),
        (30_000, False, 5, "no register of m1 at_end, for no reason"),
    ],
    ids=["within a minute", "later", "a meter that tells its name", "an exchange that nobody can see"],
)
def test_a_meter_without_a_name_has_no_boundary_within_a_minute_after_its_exchange(
    before_ms: int, named: bool, jump_wh: int, said: str, tmp_path: Path
) -> None:
    """Seeds 22022 and 22029: exchanged 36 and 44 s before the quarter hour; its level is believed after a minute."""
    run = good_run()
    at_ms = at("13:00") - before_ms
    for start, side in (("12:45", "at_end"), ("13:00", "at_start")):
        body = run.body("interval.v1", start=iso(at(start)))
        body[side]["m1"] = None
        for share in body["shares"]:
            share["estimated"] = True
    low_wh = int(true_wh("m1", at_ms)[0])
    run.served += [("m1", at_ms - 2000, low_wh, None), ("m1", at_ms + 3000, low_wh + jump_wh, None)]
    tell(run, at("11:29:50"), "meter_counts", meter="m1", step_wh=1.0, range_wh=None, named=named)
    tell(run, at_ms, "meter_exchanged", meter="m1", jump_wh=0.0)
    (finding,) = (one for one in judge(run.write(tmp_path)).findings if one.invariant == "I7")
    assert finding.holds == (not said)
    assert said in finding.first_violation


@pytest.mark.parametrize(
    ("lived_ms", "jump_wh", "told", "said"),
    [(59_000, 1100, "", False), (61_000, 1100, "", True), (59_000, 9000, "", True), (59_000, 1100, "m1", True),
     (59_000, 1100, "m2", False)],
    ids=["it died before", "it believed it", "no fuse lets so much pass meanwhile", "it saw it all the same",
         "it saw another's"],
)  # fmt: skip
def test_a_gateway_that_dies_within_the_minute_has_seen_no_exchange_that_a_fuse_explains(
    lived_ms: int, jump_wh: int, told: str, said: bool, tmp_path: Path
) -> None:
    """Seed 60082: it had seen the new level for 24 ms. The next run compared with what was kept, and saw a rollover.

    Seed 1 of 0.6 hours: what was kept was so new that no fuse explained it after all, and that was told.
    """
    run = good_run()
    at_ms = at("13:05:20")
    tell(run, at("11:29:50"), "meter_counts", meter="m1", step_wh=1.0, range_wh=None, named=False)
    tell(run, at_ms, "meter_exchanged", meter="m1", jump_wh=0.0)
    tell(run, at_ms + lived_ms, "gateway_killed")
    tell(run, at_ms + lived_ms + 20_000, "gateway_ready")
    if told:
        notice = {"kind": "meter_rebased", "subject": f"meter {told}", "at": iso(at_ms + lived_ms + 22_000)}
        run.bodies.append(("event", "notice.v1", {**notice, "severity": "error", "cause": "c", "next_step": "n"}))
    low_wh = int(true_wh("m1", at_ms)[0])
    for beside_ms, wh in ((-2000, 0), (3000, jump_wh), (lived_ms + 22_000, jump_wh + 1)):
        run.served.append(("m1", at_ms + beside_ms, low_wh + wh, None))
    finding = next(one for one in judge(run.write(tmp_path)).findings if one.invariant == "I7")
    assert ("not metered" in finding.first_violation) is said

"""What an exchange of meters leaves unmetered, by what the others saw."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from simulators.judge import exchanges
from simulators.judge.times import QUARTER_MS

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

"""What a person reads: reasons in words, quarter hours by their local time, no register of `None Wh`."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.export.words import LANGUAGES, why_not
from gateway.sessions.quarter_news import name_of
from gateway.sessions.reasons import PHRASES, phrase
from gateway.sessions.session import Reason


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words_in_every_language_and_its_code(reason: Reason) -> None:
    assert phrase(reason.value) == f"{PHRASES[reason]} ({reason.value})"
    texts = [why_not(reason.value, language) for language in LANGUAGES]
    assert all(text.endswith(f" ({reason.value})") for text in texts)
    assert len({text.split(":")[1] for text in texts}) == len(LANGUAGES)


def test_a_reason_of_a_later_version_is_shown_as_it_is() -> None:
    assert phrase("fell_into_the_lake") == "fell_into_the_lake"
    assert phrase(None) == "no reason was kept"
    assert why_not("fell_into_the_lake", "en").endswith(": fell_into_the_lake")
    assert why_not(None, "en") == "Not billable until a person decides"


def test_a_quarter_hour_is_named_by_its_local_time_also_in_the_repeated_hour() -> None:
    """2026-10-25: 02:15 comes twice."""
    k = 1_792_887_300 // 900
    assert name_of(k, "Europe/Zurich") == "quarter hour 2026-10-25 02:15+02:00"
    assert name_of(k + 4, "Europe/Zurich") == "quarter hour 2026-10-25 02:15+01:00"


async def test_events_of_a_session_without_a_register_are_in_words(house: Any) -> None:
    """`register None Wh` and `no_begin_register` told nobody anything."""
    async with house.running():
        house.meters.silent = {"m1"}
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        house.meters.silent = set()
        house.meters.poll()
        await house.stop(1)
        await house.until("SELECT state FROM session", "ended")
    causes = {event.kind: event.cause for event in house.events}
    assert causes["session_began"] == "its meter could not be read"
    assert causes["session_unbillable"] == "the meter could not be read when it began (no_begin_register)"


async def test_an_incomplete_quarter_hour_is_told_by_its_local_time(house: Any) -> None:
    async with house.running():
        await house.boundary("09:15:00")
        house.meters.silent = {"grid"}
        await house.boundary("09:30:00")
    [event] = [event for event in house.events if event.kind == "interval_provisional"]
    assert event.subject == "quarter hour 2026-04-15 11:15+02:00"
    assert event.data["k"] * 900 == 1_776_244_500

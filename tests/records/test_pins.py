"""Which key counts: the first is pinned, another is told and never takes its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.records.pins import Pin, State, Step, decide, in_force

ANY = Pin("", "aa", State.PINNED)
OWN = Pin("M1", "aa", State.PINNED)
REFUSED = Pin("M1", "bb", State.REFUSED)
OLD = Pin("M1", "00", State.REPLACED)


@pytest.mark.parametrize(
    ("pins", "serial", "key", "step"),
    [
        ([], "M1", "aa", Step.PIN),
        ([], "", "aa", Step.PIN),
        ([OWN], "M1", "aa", Step.NOTHING),
        ([OWN], "M1", "bb", Step.ALARM),
        ([OWN, REFUSED], "M1", "bb", Step.SILENT),
        ([OWN, REFUSED], "M1", "cc", Step.ALARM),
        ([ANY], "M1", "aa", Step.NOTHING),
        ([ANY], "M1", "bb", Step.ALARM),
        ([OWN], "M2", "bb", Step.PIN_NEW_SERIAL),
        ([OWN], "M2", "aa", Step.PIN),
        ([OWN], "", "aa", Step.PIN),
        ([OWN], "", "bb", Step.ALARM),
        ([OLD], "M1", "aa", Step.PIN),
    ],
)
def test_every_case(pins: list[Pin], serial: str, key: str, step: Step) -> None:
    assert decide(pins, serial, key) is step


KEYS = st.sampled_from(["aa", "bb", "cc"])
SERIALS = st.sampled_from(["", "M1", "M2"])


@given(st.lists(st.tuples(SERIALS, KEYS), max_size=20))
def test_whatever_is_shown_the_key_in_force_of_a_meter_never_changes(shown: list[tuple[str, str]]) -> None:
    """Only a person replaces it."""
    pins: list[Pin] = []
    for serial, key in shown:
        before = {name: in_force(pins, name) for name in ("", "M1", "M2")}
        step = decide(pins, serial, key)
        if step in (Step.PIN, Step.PIN_NEW_SERIAL):
            pins.append(Pin(serial, key, State.PINNED))
        elif step is Step.ALARM:
            pins.append(Pin(serial, key, State.REFUSED))
        for name, pin in before.items():
            after = in_force(pins, name)
            assert pin is None or (after is not None and after.spki_hex == pin.spki_hex)

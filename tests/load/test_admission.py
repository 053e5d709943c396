"""Who is admitted: minima beside one another, the careful room of those that begin, turns and pauses."""

from __future__ import annotations

from gateway.load.admission import Claim, Place, admit
from gateway.model import ConnectorRef

A, B = (ConnectorRef(name, 1) for name in "ab")


def test_the_careful_room_is_kept_free_once_however_many_begin() -> None:
    waits = [Claim(ref, (0,), 6000, 6000, since_s=0.0) for ref in (A, B)]
    assert admit(waits, (18_000,), (12_000,), (), 100.0).admitted == {A, B}


def test_cars_that_charge_are_held_to_the_imbalance_limit_too() -> None:
    on = [Claim(ref, (0,), 6000, 6000, on=True, since_s=50.0, one_sided=True) for ref in (A, B)]
    assert admit(on, (40_000,) * 3, (40_000,) * 3, (((0, 1, 2), 8000),), 100.0).admitted == {A}


def test_who_pauses_and_would_not_fit_the_careful_room_is_not_promised_its_end() -> None:
    on = Claim(A, (0,), 6000, 6000, on=True, since_s=9_900.0)
    rests = Claim(B, (0,), 6000, 6000, since_s=9_900.0, ready=False)
    assert admit([on, rests], (12_000,), (6000,), (), 10_000.0).queue == {B: Place(1, 800.0)}

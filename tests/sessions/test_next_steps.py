"""I11: whoever is told that a session cannot be billed is told what to do."""

from __future__ import annotations

import pytest

from gateway.sessions.session import Reason
from gateway.sessions.writing import NEXT_STEPS


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.REFUSED])
def test_every_reason_that_waits_for_a_person_has_a_next_step(reason: Reason) -> None:
    assert NEXT_STEPS.get(reason)

"""Where a CSMS is, as whom, and how often it is tried."""

from __future__ import annotations

import random
from itertools import islice, pairwise

import pytest

from gateway.ocpp import upstreams
from gateway.site import Upstream
from tests.ocpp.wires import make_charger


def test_delays_begin_at_random_double_and_stay_at_the_cap() -> None:
    """Rule R27: for ever, in site seconds."""
    first = [next(upstreams.delays(random.Random(seed).uniform)) for seed in range(20)]
    assert len(set(first)) == 20
    some = list(islice(upstreams.delays(random.Random(1).uniform), 12))
    assert all(later == min(2 * before, upstreams.MAX_DELAY_S) for before, later in pairwise(some))
    assert some[-1] == upstreams.MAX_DELAY_S


@pytest.mark.parametrize(
    ("pattern", "identity", "url"),
    [
        ("wss://csms/ocpp/{id}", None, "wss://csms/ocpp/box%201"),
        ("wss://csms/ocpp/", None, "wss://csms/ocpp/box%201"),
        ("wss://csms/{id}/x", "CH-{id}", "wss://csms/CH-box%201/x"),
    ],
)
def test_the_address_carries_the_identity(pattern: str, identity: str | None, url: str) -> None:
    """Percent-encoded, mapped where the configuration says so (rule R14)."""
    upstream = Upstream(id="csms", url=pattern, identity=identity)
    assert upstreams.url(make_charger("box 1"), upstream) == url


def test_basic_auth_carries_raw_bytes() -> None:
    """The vector of rule R15: AL1000 and twenty raw bytes."""
    password = bytes(range(8)) + b"\xff" * 12
    assert upstreams.authorization("AL1000", password) == "Basic QUwxMDAwOgABAgMEBQYH////////////////"
    assert all(upstreams.why_refused(status) for status in (401, 403, 404, 500))

"""The reference cloud: each record once, checked, chained; its acknowledgement says exactly what it has."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulators.cloud.database import GENESIS, CloudDatabase, Lane, envelope_sha256

KEY = ("g", "e", "billing")


def chain(count: int, epoch: str = "e") -> list[dict[str, Any]]:
    """`count` valid envelopes."""
    envelopes: list[dict[str, Any]] = []
    for seq in range(1, count + 1):
        envelope = {
            "v": 1, "gw": "g", "epoch": epoch, "boot": 1, "lane": "billing", "seq": seq, "rid": f"r{seq}", "ts": "T",
            "ts_q": "ntp", "schema": "s", "prev": envelopes[-1]["sha256"] if envelopes else GENESIS, "body": f"b{seq}",
        }  # fmt: skip
        envelopes.append(envelope | {"sha256": envelope_sha256(envelope)})
    return envelopes


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[CloudDatabase]:
    database = CloudDatabase(tmp_path / "cloud.db", durable=True)
    yield database
    database.close()


def stored(path: Path) -> list[int]:
    connection = sqlite3.connect(path / "cloud.db")
    try:
        return [seq for (seq,) in connection.execute("SELECT seq FROM record ORDER BY seq")]
    finally:
        connection.close()


def test_gaps_are_named_and_close() -> None:
    """`upto` never passes a gap; what came beyond counts at once when the gap closes."""
    lane = Lane()
    for seq in (1, 2, 5, 9, 10):
        lane.add(seq)
    assert (lane.upto, lane.missing()) == (2, [(3, 4), (6, 8)])
    for seq in (3, 4, 6, 7, 8, 2):
        lane.add(seq)
    assert (lane.upto, lane.missing(), lane.beyond) == (10, [], set())


def test_in_any_order_each_is_stored_once(cloud: CloudDatabase, tmp_path: Path) -> None:
    """Out of order, twice, and after a restart: one row each, repeats noted as the same."""
    envelopes = chain(4)
    for index in (2, 0, 3, 1, 1, 0):
        cloud.store(envelopes[index], 0)
    assert stored(tmp_path) == [1, 2, 3, 4]
    assert cloud.lane(KEY).upto == 4
    again = CloudDatabase(tmp_path / "cloud.db", durable=True)
    assert again.lane(KEY).upto == 4
    again.store(envelopes[2], 0)
    again.close()
    connection = sqlite3.connect(tmp_path / "cloud.db")
    assert connection.execute("SELECT seq, same FROM duplicate").fetchall() == [(2, 1), (1, 1), (3, 1)]
    connection.close()


def test_another_record_under_a_known_number_is_noted_and_not_stored(cloud: CloudDatabase, tmp_path: Path) -> None:
    """The first one stays; the second is evidence of a copied card."""
    cloud.store(chain(1)[0], 0)
    other = chain(1)[0] | {"body": "other"}
    cloud.store(other | {"sha256": envelope_sha256(other)}, 0)
    connection = sqlite3.connect(tmp_path / "cloud.db")
    assert connection.execute("SELECT same FROM duplicate").fetchall() == [(0,)]
    assert connection.execute("SELECT body FROM record").fetchall() == [("b1",)]
    connection.close()


@pytest.mark.parametrize(
    ("index", "change", "code"),
    [
        (1, {"body": "changed"}, "sha256"),
        (1, {"ts": "later"}, "sha256"),
        (1, {"body": None}, "too_large"),
        (0, {"prev": "f" * 64}, "prev"),
        (1, {"prev": "f" * 64}, "prev"),
    ],
)
def test_what_is_wrong_is_refused_by_number(
    cloud: CloudDatabase, index: int, change: dict[str, Any], code: str
) -> None:
    """A wrong hash, a broken chain, a withheld body: listed, told, and the lane goes on behind it."""
    envelopes = chain(3)
    wrong = envelopes[index] | change
    if code == "prev":
        wrong["sha256"] = envelope_sha256(wrong)
        if index == 0:
            envelopes = [wrong]
    for envelope in [*envelopes[:index], wrong]:
        cloud.store(envelope, 0)
    assert [rejected["code"] for rejected in cloud.rejections(KEY)] == [code]
    assert cloud.lane(KEY).upto == index + 1


def test_a_record_that_breaks_the_chain_of_a_later_one_is_refused(cloud: CloudDatabase) -> None:
    """It comes after its successor, which names another hash."""
    envelopes = chain(2)
    cloud.store(envelopes[1], 0)
    other = envelopes[0] | {"body": "other"}
    cloud.store(other | {"sha256": envelope_sha256(other)}, 0)
    assert [rejected["code"] for rejected in cloud.rejections(KEY)] == ["prev"]


def test_the_newest_epoch_is_the_one_that_began_last(cloud: CloudDatabase) -> None:
    """The answer to a hello speaks of it: a copy of an old card must notice."""
    assert cloud.newest_epoch("g", "billing") is None
    for envelope in [*chain(2, "one"), *chain(1, "two"), chain(3, "one")[2]]:
        cloud.store(envelope, 0)
    assert cloud.newest_epoch("g", "billing") == "two"

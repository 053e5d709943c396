"""What a restored copy lacks is checked by a person: who, when and why stand in the chain, and it is said once."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from gateway.cloud import restored
from gateway.cloud.envelope import HelloAck, LaneState
from gateway.cloud.standing import settle
from gateway.model import Connection, Event, Stamp, TimeQuality
from gateway.store import meta, outbox
from gateway.store.database import migrate
from gateway.store.outbox import Identity
from gateway.store.sqlite import connect

NOW = Stamp(1_776_244_200_000, TimeQuality.NTP)
LATER = Stamp(NOW.utc_ms + 3_600_000, TimeQuality.NTP)


@pytest.fixture
def copy(tmp_path: Path) -> tuple[Connection, Identity]:
    """A database that the cloud has found to be an old copy."""
    db = connect(tmp_path / "billing.db")
    migrate(db)
    who = meta.begin_boot(db, "gw-1", simulation=False, random=random.Random(1)).who
    ahead = {lane: LaneState(epoch=who.epoch, upto=9, sha256="a" * 64) for lane in outbox.DURABLE_LANES}
    found = settle(db, who, HelloAck(hid="h", lanes=ahead), "f" * 32, "rid-1", NOW, lambda *_: None)
    assert found.new_epoch
    assert "zev-gateway epoch confirm" in found.events[0].next_step
    return db, who


def confirm(db: Connection, who: Identity, reason: str = "compared") -> tuple[restored.Checked, Event]:
    return restored.confirm(db, who, f"rid-{reason}", LATER, "petra via local", reason)


def test_the_act_is_chained_and_ends_the_red_light(copy: tuple[Connection, Identity]) -> None:
    """The record follows the notice of the new epoch, in the same lane; it survives a restart with the database."""
    db, who = copy
    since = restored.waiting_since(db)
    assert since == "2026-04-15T09:10:00.000Z"
    done, event = confirm(db, who, "two sessions taken from the backend")
    assert (restored.waiting_since(db), restored.newest_check(db)) == (None, event.data)
    assert (done.restored, done.epoch, done.at) == (since, "f" * 32, "2026-04-15T10:10:00.000Z")
    rows = db.execute("SELECT prev, sha256, body FROM outbox WHERE lane = 'event' ORDER BY rowid").fetchall()
    assert rows[-1][0] == rows[-2][1]
    told: dict[str, Any] = json.loads(str(rows[-1][2]))
    assert (told["kind"], told["at"], told["data"]["actor"]) == ("restored_checked", done.at, "petra via local")
    assert told["data"]["reason"] in told["cause"]


def test_it_is_said_once_and_only_where_it_waits(copy: tuple[Connection, Identity]) -> None:
    """Again, or on a database that never was a copy: refused, and nothing is written."""
    db, who = copy
    confirm(db, who)
    count = db.execute("SELECT count(*) FROM outbox").fetchone()
    with pytest.raises(ValueError, match="nothing to confirm"):
        confirm(db, who, "again")
    assert db.execute("SELECT count(*) FROM outbox").fetchone() == count


def test_the_next_copy_waits_again(copy: tuple[Connection, Identity]) -> None:
    """What a person said of one copy says nothing of the next."""
    db, who = copy
    confirm(db, who)
    ahead = {lane: LaneState(epoch="f" * 32, upto=99, sha256="b" * 64) for lane in outbox.DURABLE_LANES}
    settle(db, who, HelloAck(hid="h", lanes=ahead), "e" * 32, "rid-2", LATER, lambda *_: None)
    assert restored.waiting_since(db) == "2026-04-15T10:10:00.000Z"
    assert confirm(db, who, "once more")[0].epoch == "e" * 32


def test_it_takes_away_no_mark(copy: tuple[Connection, Identity]) -> None:
    """Whether the cloud has answered since this start is the cloud's word, not a person's."""
    db, who = copy
    confirm(db, who)
    assert not outbox.is_confirmed(db, who)

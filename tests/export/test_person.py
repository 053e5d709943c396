"""What is kept about a person: handed out whole, forgotten as far as proofs allow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.export.audit import audit
from gateway.export.person import (
    ForgetError,
    Forgotten,
    forget,
    forget_operation,
    forget_owner,
    person_export,
    pseudonym_of,
)
from gateway.model import Connection
from gateway.store import outbox
from gateway.store.sqlite import connect, connect_read_only

PROOFS = ("record", "outbox", "journal", "transaction_map", "kept_reading", "pagination")


@pytest.fixture
async def owned(day: Any) -> Any:
    """The day, with anna as the owner of the box's energy outside sessions."""
    writer = connect(day.path / "billing.db")
    writer.execute('UPDATE interval SET result = replace(result, \'"owner":"box1"\', \'"owner":"anna"\')')
    writer.close()
    return day


def read(house: Any) -> Connection:
    """The database beside the one that writes."""
    return connect_read_only(house.path / "billing.db")


def proofs(house: Any) -> str:
    """A fingerprint of everything that must never change."""
    db = read(house)
    rows = [db.execute(f"SELECT * FROM {table} WHERE rowid <= ? ORDER BY rowid", (10_000,)).fetchall()
            for table in PROOFS]  # fmt: skip
    db.close()
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def everything_but(house: Any, *tables: str) -> Iterator[str]:
    """The text of every row of all other tables."""
    db = read(house)
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()]
    for name in names:
        if name not in tables:
            yield from (repr(row) for row in db.execute(f"SELECT * FROM {name}").fetchall())
    db.close()


async def forgotten(house: Any, tenant: str = "anna") -> Forgotten:
    """Forget through the database's one writer."""
    return await forget(house.db, house.who, house.world, tenant, "local")


def test_a_person_gets_all_of_it(owned: Any) -> None:
    """Cards, sessions with their signed texts and quarter hours, energy outside sessions."""
    db = read(owned)
    document = person_export(db, "anna")
    db.close()
    assert json.loads(json.dumps(document)) == document
    assert document["cards"] == ["CARD-A"]
    [one] = document["sessions"]
    assert (one["energy_wh"], len(one["signed_texts"])) == (1100, 2)
    assert sum(quarter["wh"] for quarter in one["quarter_hours"]) == 1100
    assert sum(piece["wh"] for piece in document["outside_sessions"]) == 2
    assert "04A2B3C4" not in json.dumps(document)  # four digits may stand in a signature by chance


def test_nobody_is_known_by_a_wrong_name(owned: Any) -> None:
    """One sentence with the remedy."""
    db = read(owned)
    with pytest.raises(LookupError, match="nothing is kept about otto"):
        person_export(db, "otto")
    db.close()


async def test_a_forgotten_person_is_a_pseudonym_and_every_proof_stands(owned: Any) -> None:
    """The id is nowhere but in what is chained; signed bytes and chains are untouched; the audit still agrees."""
    before = proofs(owned)
    done = await forgotten(owned)
    assert (done.sessions, done.quarter_hours) == (1, 1)
    db = read(owned)
    rows = db.execute("SELECT lane, seq, body FROM outbox WHERE lane = 'event'").fetchall()
    writer = connect(owned.path / "billing.db")
    writer.execute("DELETE FROM outbox WHERE lane = 'event'")  # what was added is looked at alone
    writer.close()
    assert proofs(owned) == before
    assert not [text for text in everything_but(owned, *PROOFS) if "anna" in text]
    assert audit(db).differences == []
    [tenant] = db.execute("SELECT tenant FROM session WHERE transaction_id = 1").fetchone() or [None]
    db.close()
    assert tenant == done.pseudonym
    assert done.pseudonym.startswith("forgotten-")
    [(_, _, body)] = rows
    notice = json.loads(body)
    assert (notice["kind"], notice["subject"], notice["data"]["sessions"]) == ("person_forgotten", done.pseudonym, 1)
    assert "anna" not in body


async def test_the_act_stands_in_the_chain_of_events(owned: Any) -> None:
    """The row is numbered and chained like any other, in the transaction of the act."""
    await forgotten(owned)
    db = read(owned)
    heads = outbox.heads(db, owned.who.epoch)
    [row] = db.execute("SELECT seq, prev, sha256 FROM outbox WHERE lane = 'event'").fetchall()
    db.close()
    assert (row[0], row[1]) == (1, "0" * 64)
    assert heads["event"] == (1, row[2])


async def test_who_is_charging_is_not_forgotten_yet(owned: Any) -> None:
    """Also nobody who is not there, and no pseudonym twice."""
    writer = connect(owned.path / "billing.db")
    writer.execute("UPDATE session SET state = 'open' WHERE transaction_id = 1")
    with pytest.raises(ForgetError, match="charging now"):
        await forgotten(owned)
    writer.execute("UPDATE session SET state = 'ended' WHERE transaction_id = 1")
    writer.close()
    with pytest.raises(ForgetError, match="no session names otto"):
        await forgotten(owned, "otto")
    done = await forgotten(owned)
    with pytest.raises(ForgetError, match="pseudonym already"):
        await forgotten(owned, done.pseudonym)


async def test_a_power_cut_in_between_ends_in_the_same_pseudonym(owned: Any) -> None:
    """The first steps were done, then the power went: the same act goes on and finishes."""
    writer = connect(owned.path / "billing.db")
    writer.execute("BEGIN IMMEDIATE")
    pseudonym = pseudonym_of(writer, "anna")
    assert forget_owner(writer, "anna", pseudonym, -1) == (1, None)
    writer.execute("COMMIT")
    writer.close()
    done = await forgotten(owned)
    assert (done.pseudonym, done.sessions, done.quarter_hours) == (pseudonym, 1, 0)


async def test_many_quarter_hours_go_in_steps(owned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No step takes more than its share of the writer; together they take all."""
    monkeypatch.setattr("gateway.export.person.STEP", 1)
    writer = connect(owned.path / "billing.db")
    writer.execute(
        'UPDATE interval SET result = json_set(result, \'$.outside\', json(\'[{"meter":"m1","participant":"box1",'
        '"wh":1,"name":"standby","owner":"anna","solar_wh":0}]\')) WHERE result IS NOT NULL'
    )
    [named] = writer.execute("SELECT count(*) FROM interval WHERE result LIKE '%anna%'").fetchone() or [0]
    writer.close()
    assert named > 2
    assert (await forgotten(owned)).quarter_hours == named


async def test_the_daemon_offers_it_as_an_operation(owned: Any) -> None:
    """Asked through the control socket or the cloud: done once, refused with a sentence where nothing is said."""
    grew: list[int] = []
    operation = forget_operation(owned.db, owned.who, owned.world, lambda: grew.append(1))
    with pytest.raises(ValueError, match="needs the tenant"):
        await operation({}, "local")
    answer = await operation({"tenant": "anna"}, "local")
    assert (answer["v"], answer["sessions"], grew) == (1, 1, [1])
    with pytest.raises(ValueError, match="nothing to forget"):
        await operation({"tenant": "anna"}, "local")

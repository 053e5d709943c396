"""What was in force, by the quarter hour: kept so that a correction is computed as the first version was."""

from __future__ import annotations

import hashlib

from gateway.model import Connection


def put(db: Connection, body: str, since_ms: int) -> int:
    """The number of these rules; the same text always has the same number."""
    sha256 = hashlib.sha256(body.encode()).hexdigest()
    db.execute(
        "INSERT INTO rules (sha256, since_ms, body) VALUES (?, ?, ?) ON CONFLICT (sha256) DO NOTHING",
        (sha256, since_ms, body),
    )
    row = db.execute("SELECT id FROM rules WHERE sha256 = ?", (sha256,)).fetchone()
    assert row is not None
    return int(row[0])


def get(db: Connection, number: int) -> str:
    """The rules of this number. LookupError where there are none."""
    row = db.execute("SELECT body FROM rules WHERE id = ?", (number,)).fetchone()
    if row is None:
        raise LookupError(f"there are no rules {number}")
    return str(row[0])


def newest(db: Connection) -> int | None:
    """The rules of the newest quarter hour that has some."""
    row = db.execute("SELECT rules FROM interval WHERE rules IS NOT NULL ORDER BY k DESC LIMIT 1").fetchone()
    return int(row[0]) if row else None

"""What people decided about sessions that are not billable by themselves: appended, never changed."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.model import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """One decision. `basis` says whose registers they are: "meter", "charger", "none"."""

    session: str
    version: int
    at_ms: int
    bill: bool
    begin_wh: int | None
    end_wh: int | None
    basis: str
    body: str

    @property
    def energy_wh(self) -> int | None:
        """What is billed by this decision; None where nothing is."""
        if not self.bill or self.begin_wh is None or self.end_wh is None:
            return None
        return self.end_wh - self.begin_wh


def append(db: Connection, row: DecisionRow) -> None:
    """Keep one decision."""
    db.execute(
        "INSERT INTO decision (session, version, at_ms, bill, begin_wh, end_wh, basis, body) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (row.session, row.version, row.at_ms, int(row.bill), row.begin_wh, row.end_wh, row.basis, row.body),
    )


def newest(db: Connection, session: str) -> DecisionRow | None:
    """The decision in force about a session, None where there is none."""
    row = db.execute(
        "SELECT session, version, at_ms, bill, begin_wh, end_wh, basis, body FROM decision WHERE session = ? "
        "ORDER BY version DESC LIMIT 1",
        (session,),
    ).fetchone()
    if row is None:
        return None
    name, version, at_ms, bill, begin_wh, end_wh, basis, body = row
    return DecisionRow(
        session=name, version=version, at_ms=at_ms, bill=bool(bill), begin_wh=begin_wh, end_wh=end_wh, basis=basis,
        body=body,
    )  # fmt: skip

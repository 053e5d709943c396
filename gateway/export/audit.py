"""The whole audit of a database: the walk over every quarter hour, the checks beside it, and the plain script.

Nothing of `gateway.energy` is used: who checks does not ask the one who is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.export import audit_script
from gateway.export.audit_checks import Difference, check_quarters, check_sessions, start_of
from gateway.export.audit_walk import walk
from gateway.model import Connection


@dataclass
class Audit:
    """What was recomputed, and what differs.

    `unknown`: quarter hours that the gateway too states as not known. `late`: differences in closed quarter hours that
    the gateway itself names as changed by late data, which nobody has applied (`period reopen` does).
    """

    quarters: int = 0
    sessions: int = 0
    unknown: int = 0
    late: list[Difference] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)


def audit(
    db: Connection, first: int = 0, end: int = 1 << 31, progress: Callable[[int, int], None] | None = None
) -> Audit:
    """Recompute the quarter hours [first, end) (k = floor(unix / 900)) and the sessions that lie in them whole.

    `progress` is called with how many quarter hours of how many are done.
    """
    row = db.execute("SELECT max(k) FROM interval").fetchone()
    last = min(end - 1, row[0] if row and row[0] is not None else 0)
    span = (first, last)
    rows = db.execute("SELECT k FROM interval WHERE version > 0 AND k BETWEEN ? AND ?", span).fetchall()
    late = {row[0] for row in db.execute("SELECT k FROM interval WHERE late = 2 AND k BETWEEN ? AND ?", span)}
    outcome = Audit(quarters=len(rows))
    for k, what, stated, right in walk(db, first, last):
        if stated is None and right is None:
            outcome.unknown += 1
        else:
            (outcome.late if k in late else outcome.differences).append(Difference(start_of(k), what, stated, right))
    if not outcome.differences:  # the sceptic's own script has the last word
        for k, what, stated, right in audit_script.differences(db, first, last):
            if what and k not in late:
                outcome.differences.append(Difference(start_of(k), what, stated, right))
    for done, found in enumerate(check_quarters(db, first, last), 1):
        outcome.differences += found
        if progress:
            progress(done, len(rows))
    outcome.sessions, wrong = check_sessions(db, first, last)
    outcome.differences += wrong
    return outcome

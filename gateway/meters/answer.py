"""Pure: what becomes of one request to one meter."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """What became of a request."""

    GOOD = "good"
    REFUSED = "refused"
    SILENT = "silent"
    WRONG = "wrong"
    DOWN = "down"


class Answer(NamedTuple):
    """The registers of one request, or why there are none.

    `requested_ms`/`replied_ms` are the site's UTC, `from_s`/`to_s` the same instants on its monotonic clock. `code` is
    the exception code of a refusal, `why` a word for the log.
    """

    outcome: Outcome
    requested_ms: int
    replied_ms: int
    from_s: float
    to_s: float
    words: tuple[int, ...] = ()
    code: int = 0
    why: str = ""

"""The words that cross a border between two parts, and the ports through which the parts meet.

Units stand in the names: `_ma` milliampere per phase, `_w` watt, `_wh` watt-hour, `_ms` UTC milliseconds since 1970
(site time), `_s` seconds. Site time moves with a scaled or virtual clock; link time is real on real wires
(docs/decisions/0002-two-kinds-of-time.md).
"""

from __future__ import annotations

import random
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

# Time

INTERVAL_S = 900
INTERVAL_MS = INTERVAL_S * 1000


class TimeQuality(StrEnum):
    """How far the wall clock can be trusted; carried by everything that is written."""

    NTP = "ntp"
    HOLDOVER = "holdover"
    RTC = "rtc"
    GUESSED = "guessed"
    SIMULATED = "simulated"


class Stamp(NamedTuple):
    """A wall-clock instant and its quality. A tuple: every look at the clock makes one, some fifty a second."""

    utc_ms: int
    quality: TimeQuality


class Guess(NamedTuple):
    """How a life of the gateway went whose clock nobody had compared with the world: on disk until the time is known.

    Site time and wall clock are `offset_ms` and `doubted_ms` ahead of the machine's monotonic clock, which counts from
    the machine's start `machine_boot` ("": not known). `doubted_ms` is None where the wall clock is followed.
    """

    since: Stamp
    machine_boot: str
    offset_ms: int
    doubted_ms: int | None = None
    estimated: bool = False
    """The life that it began with ended with the machine, and nobody knows for how long that was off."""

    never: bool = False
    """The house is young, and has never known the time."""


class Clock(Protocol):
    """Site time. Link time is the event loop's own time and needs no object."""

    def now(self) -> Stamp:
        """The wall clock of the site; it never goes backwards."""
        ...

    def utc_ms(self) -> int:
        """`now().utc_ms`."""
        ...

    def monotonic(self) -> float:
        """Site seconds since an arbitrary origin; clock steps do not touch it. For dwell, ages, back-off."""
        ...

    def link_s(self, site_s: float) -> float:
        """How long `site_s` site seconds last on the event loop's clock."""
        ...

    def start_no_earlier_than(self, utc_ms: int, guess: Guess | None = None) -> None:
        """The newest time that the database holds; a clock that is behind it goes on from there, marked guessed.

        `guess`: how the life before this one went that never knew the time. It goes on, until it is put right.
        """
        ...

    def guess(self) -> Guess | None:
        """What the next start has to know of this life; None: this one is sure of the time."""
        ...

    def off_ms(self) -> int:
        """By how much site time is ahead of the right time (negative: behind), where that is known, and too far off
        to be put right under running parts."""
        ...

    def right(self) -> Stamp:
        """What `now()` would be after `put_right()`."""
        ...

    def put_right(self) -> None:
        """Jump to the right time. Nothing may run that reads the clock."""
        ...

    async def sleep(self, site_s: float) -> None:
        """Sleep for site seconds."""
        ...


# Current on three phases

PhaseMa = tuple[int, int, int]
"""Milliampere on the building's L1, L2, L3."""


# Chargers


class ConnectorRef(NamedTuple):
    """One connector of one charger; written `box1/1`. A tuple, since it is the key of nearly every table."""

    charger: str
    connector: int

    def __str__(self) -> str:
        return f"{self.charger}/{self.connector}"


class ConnectorState(NamedTuple):
    """What the OCPP side knows of a connector now; the same object while nothing of it has changed.

    `csms_limit_ma` is the composite of the CSMS's own charging profiles, None where it set none.
    """

    ref: ConnectorRef
    connected: bool
    status: str
    transaction_id: int | None = None
    csms_limit_ma: int | None = None
    fallback_proven: bool = False


class LimitOutcome(StrEnum):
    """What became of a limit that was sent to a charger."""

    CONFIRMED = "confirmed"
    REFUSED = "refused"
    SILENT = "silent"
    ABSENT = "absent"


class ChargerPort(Protocol):
    """What the load manager needs of the OCPP side."""

    def connectors(self) -> Sequence[ConnectorState]:
        """Every configured connector, connected or not."""
        ...

    async def set_limit(self, ref: ConnectorRef, limit_ma: int, *, duration_s: int, raising: bool) -> LimitOutcome:
        """Put a limit in force for the running transaction; it ends by itself after `duration_s` site seconds.

        Returns when the charger has answered, was silent for its CALL timeout (link time), or is not there.
        """
        ...


# Meters


@dataclass(frozen=True, slots=True)
class Reading:
    """One meter at one instant: exact registers, and what they were decoded from.

    `requested_ms`/`replied_ms` bracket the instant in site time. `raw` is the hex of the registers that hold the
    energy, as received. Energy is floored to Wh once, from the raw pattern (design rule 4). A value that the meter
    does not have is None. `range_wh` is where a register that is small enough to overflow begins again at 0.
    `new_level`: its registers do not go on from the reading before, whatever they say: another meter, or a reset.
    """

    meter: str
    requested_ms: int
    replied_ms: int
    quality: TimeQuality
    import_wh: int | None
    export_wh: int | None = None
    power_w: int | None = None
    current_ma: PhaseMa | None = None
    serial: str | None = None
    model: str = ""
    map_version: str = ""
    raw: str = ""
    range_wh: int | None = None
    new_level: bool = False


class MeterPort(Protocol):
    """What the rest of the site needs of the meters."""

    def latest(self, meter: str) -> Reading | None:
        """The newest good reading, however old."""
        ...

    def series(self, meter: str, from_ms: int, to_ms: int) -> Sequence[Reading]:
        """Good readings with from_ms <= requested_ms <= to_ms, oldest first; the last 15 minutes are kept."""
        ...

    async def read_now(self, meter: str) -> Reading | None:
        """Read the energy register ahead of the poll plan. None after at most one Modbus timeout (link time)."""
        ...

    def subscribe(self, listener: Callable[[Reading], None]) -> None:
        """Call `listener` with every good reading, in order of arrival."""
        ...


# Authorisation


class AuthStatus(StrEnum):
    """OCPP 1.6 AuthorizationStatus."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    EXPIRED = "Expired"
    INVALID = "Invalid"
    CONCURRENT_TX = "ConcurrentTx"


# Events: what the operator can see (I11)


class Severity(StrEnum):
    """How loud an event is: a light turns red, yellow, or nothing turns."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """A refused input, a lost part, a degraded mode: with its cause and what to do next.

    `kind` is snake_case and stable; `subject` names the part ("box1", "meter grid"). `keep` puts it into the event
    lane to the cloud as well as into the log.
    """

    kind: str
    subject: str
    cause: str
    next_step: str = ""
    severity: Severity = Severity.INFO
    data: Mapping[str, Any] = field(default_factory=dict)
    keep: bool = False


Tell = Callable[[Event], None]


# Database (the connection factory is handed in by the world)


class StoreProblem(StrEnum):
    """Why the database refused."""

    FULL = "full"
    READ_ONLY = "read_only"
    LOCKED = "locked"
    CORRUPT = "corrupt"
    CONSTRAINT = "constraint"
    OTHER = "other"


class StoreError(Exception):
    """The one error class of the database, mapped where the connection is made."""

    def __init__(self, problem: StoreProblem, message: str) -> None:
        super().__init__(message)
        self.problem = problem


Value = int | str | None
Row = tuple[Any, ...]


class Rows(Protocol):
    """The result of one statement, rows by position."""

    def fetchone(self) -> Row | None: ...
    def fetchall(self) -> list[Row]: ...
    def __iter__(self) -> Iterator[Row]: ...


class Connection(Protocol):
    """A SQLite connection in autocommit mode: integer and text columns, one thread, StoreError on failure.

    Transactions are SQL: BEGIN IMMEDIATE, SAVEPOINT, COMMIT, ROLLBACK. What inserted gets is asked with RETURNING.
    """

    def execute(self, sql: str, parameters: Sequence[Value] = (), /) -> Rows: ...
    def executemany(self, sql: str, rows: Iterable[Sequence[Value]], /) -> None: ...
    def close(self) -> None: ...


# The world: everything that the daemon touches and does not own


@dataclass(frozen=True)
class World:
    """What is handed in at the edges; the simulated building hands in its own.

    `random` draws ids and jitter. `store` runs SQLite and nothing else (one worker); `net` name look-ups, connects and
    TLS handshakes (at most 4). `connect_database` opens a connection, `open_socket(host, port, tls)` a connected
    non-blocking socket for MQTT. `notify` speaks to the service manager (sd_notify lines).
    """

    clock: Clock
    random: random.Random
    store: Executor
    net: Executor
    connect_database: Callable[[Path], Connection]
    open_socket: Callable[[str, int, ssl.SSLContext | None], Awaitable[socket.socket]]
    notify: Callable[[str], None]


Lane = Literal["billing", "event", "telemetry"]


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One record of a lane as it goes to the cloud (contract 5.4), as `store/outbox` numbered and chained it.

    `supersedes` is "epoch seq sha256" of the row of an older epoch that this one repeats.
    """

    lane: str
    epoch: str
    seq: int
    boot: int
    rid: str
    ts: str
    ts_q: str
    schema: str
    prev: str
    sha256: str
    body: str
    supersedes: str | None = None

"""Pure: what the relay must know of a message, whatever the OCPP version. `v16` says it of 1.6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from gateway.ocpp.frames import Frame, Span
from gateway.records.doctor import Setting


class Kind(Enum):
    """What a CALL of a charger is to us."""

    BOOT = auto()
    HEARTBEAT = auto()
    AUTHORIZE = auto()
    STATUS = auto()
    START = auto()
    METER_VALUES = auto()
    STOP = auto()
    OTHER = auto()


TRANSACTION_KINDS = frozenset({Kind.START, Kind.METER_VALUES, Kind.STOP})


class Order(Enum):
    """What a CALL of a CSMS is to us."""

    REMOTE_START = auto()
    REMOTE_STOP = auto()
    SET_PROFILE = auto()
    CLEAR_PROFILES = auto()
    COMPOSITE = auto()
    CLEAR_CACHE = auto()
    SEND_LIST = auto()
    UNHOOK = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Tag:
    """What somebody says of a card. `status` is an OCPP AuthorizationStatus."""

    status: str
    expiry_ms: int | None = None
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A CALL of a charger. `always_keep`: signed, or the first or last of its transaction: never thinned.

    `register_wh`: the charger's own register, where a start or meter values say it. `said_ms`: the time that it bears.
    """

    kind: Kind
    frame: Frame
    connector: int | None = None
    transaction_id: int | None = None
    transaction_span: Span | None = None
    id_tag: str | None = None
    status: str | None = None
    content_key: str | None = None
    signed: bool = False
    always_keep: bool = False
    register_wh: int | None = None
    said_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A CALL of a CSMS. `profile_span` covers a charging profile inside a remote start, with its comma."""

    order: Order
    frame: Frame
    transaction_id: int | None = None
    transaction_span: Span | None = None
    profile_span: Span | None = None


@dataclass(frozen=True, slots=True)
class StartAnswer:
    """A CSMS's answer to a start: the text around the transaction id, so that the id alone can be replaced."""

    before: str
    after: str
    csms_id: int | None
    tag: Tag | None


@dataclass(frozen=True, slots=True)
class ListUpdate:
    """SendLocalList: entries without a tag are removals."""

    version: int
    full: bool
    entries: Sequence[tuple[str, Tag | None]]


class Version(Protocol):
    """One OCPP version: what its messages mean, and how ours are spelled. Payloads are JSON texts."""

    @property
    def subprotocol(self) -> str: ...

    def read(self, frame: Frame) -> Message:
        """What a charger's CALL means. Never fails: what it does not know is OTHER."""
        ...

    def read_command(self, frame: Frame) -> Command:
        """What a CSMS's CALL means."""
        ...

    def boot_answer(self, status: str, utc_ms: int, interval_s: int) -> str: ...
    def read_boot_answer(self, frame: Frame) -> tuple[str, int]:
        """Status and interval in seconds of a CSMS's answer to a boot; ("", 0) where it says nothing usable."""
        ...

    def heartbeat_answer(self, utc_ms: int) -> str: ...
    def authorize_answer(self, tag: Tag) -> str: ...
    def read_tag(self, frame: Frame) -> Tag | None:
        """What an answer says of the card."""
        ...

    def with_tag(self, frame: Frame, tag: Tag) -> str:
        """The payload of an answer with another verdict on the card."""
        ...

    def start_answer(self, tag: Tag) -> StartAnswer:
        """Our own answer to a start; the id is put in when it is drawn."""
        ...

    def read_start_answer(self, frame: Frame, tag: Tag | None) -> StartAnswer:
        """The CSMS's answer to a start; with `tag` another verdict is put in."""
        ...

    def stop_answer(self) -> str: ...
    def offline_answer(self, message: Message) -> str | None:
        """The answer to anything else while nobody else answers; None is NotImplemented."""
        ...

    def read_list(self, frame: Frame) -> ListUpdate | None: ...
    def accepted(self, frame: Frame) -> bool:
        """Whether the answer to a command says Accepted."""
        ...

    def status_text(self, frame: Frame) -> str:
        """The status that an answer gives, or what else it says."""
        ...

    def remote_stop(self, transaction_id: int) -> tuple[str, str]:
        """Action and payload of a command of ours."""
        ...

    def trigger_boot(self) -> tuple[str, str]: ...
    def trigger_status(self, connector: int) -> tuple[str, str]: ...
    def configure(self, key: str, value: str) -> tuple[str, str]: ...
    def get_configuration(self, keys: Sequence[str]) -> tuple[str, str]: ...
    def read_configuration(self, frame: Frame) -> Mapping[str, Setting]:
        """The keys that the charger reports; those that it does not know, or a refusal, are none."""
        ...

    def heartbeat(self) -> tuple[str, str]: ...
    def boot(self, payload: str) -> tuple[str, str]: ...
    def status_notification(self, payload: str) -> tuple[str, str]: ...
    def set_profile(self, connector: int, profile: str) -> tuple[str, str]: ...

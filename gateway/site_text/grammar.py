"""Pure: the tables and keys of a site file, as pydantic models. Each model is one table; nothing here looks at another.

Amperes are kept as milliampere, dates as dates; what is left out is None here and gets its default in `build`,
where the neighbours that decide it are known.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.site_text.values import (
    Address,
    Broker,
    ChargerId,
    CsmsUrl,
    Day,
    Id,
    Listen,
    Ma,
    Percent,
    Phases,
    Seconds,
    SecretName,
    Text,
    TokenId,
    host_and_port,
)

BAUDS = (300, 600, 1200, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 57600, 76800, 115200, 230400, 250000, 460800,
         500000, 576000, 921600, 1000000)  # fmt: skip
"""Speeds that meters and adapters have; any other is a slip of the pen."""

MIN_CHARGE_MA = 6000
"""No car charges below 6 A (IEC 61851-1, table A.8)."""

T = TypeVar("T")


class Table(BaseModel):
    """Base of all tables: an unknown key is an error, and no type is bent into another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SiteTable(Table):
    """[site]"""

    id: Id
    name: Text
    timezone: Text = "Europe/Zurich"
    simulation: bool = False
    signer: Literal["file", "tpm", "secure-element"] = "file"


class OcppTable(Table):
    """[ocpp]"""

    listen: Address = Listen("0.0.0.0", 9000)
    call_timeout_s: Annotated[Seconds, Field(ge=1, le=120)] = 15.0
    ping_s: Annotated[Seconds, Field(ge=0, le=3600)] = 30.0
    heartbeat_s: Annotated[int, Field(ge=10, le=86400)] = 300
    meter_values_s: Annotated[int, Field(ge=1, le=900)] = 60
    limit_duration_s: Annotated[int, Field(ge=60, le=600)] = 120


class UpstreamTable(Table):
    """[[upstream]]"""

    id: Id
    url: CsmsUrl
    identity: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    secret: SecretName | None = None
    rights: Literal["decide"] = "decide"
    heartbeat_s: Annotated[int, Field(ge=10, le=86400)] = 300
    boot_on_connect: bool = False


class CircuitTable(Table):
    """[[circuit]]"""

    id: Id
    parent: Id | None = None
    phases: Phases = (0, 1, 2)
    fuse_a: Annotated[int, Field(ge=6, le=2500)]
    fuse: Literal["gG", "MCB", "SLS"]
    limit_a: Ma | None = None
    house_worst_a: Ma | None = None
    safe_a: Ma | None = None
    imbalance_a: Ma | None = None
    meter: Id | None = None

    @model_validator(mode="after")
    def _limits_fit(self) -> Self:
        if self.limit_a is not None and not 0 < self.limit_a <= self.fuse_a * 1000:
            raise ValueError(f"limit_a: must be above 0 and at most the fuse, {self.fuse_a} A")
        if self.parent is None and self.house_worst_a is None:
            raise ValueError(
                "house_worst_a: is missing; say the largest current of the rest of the house on one phase, "
                "for 'who may still charge when the gateway is gone' is computed from it"
            )
        return self


class BusTable(Table):
    """[[bus]]"""

    id: Id
    device: Annotated[str, Field(pattern=r"^/")] | None = None
    host: Annotated[str, Field(min_length=1)] | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    baud: int | None = None
    parity: Literal["N", "E", "O"] | None = None
    stop_bits: Literal[1, 2] | None = None
    rtu_over_tcp: bool = False
    timeout_s: Annotated[Seconds, Field(gt=0, le=10)] | None = None
    pause_s: Annotated[Seconds, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _one_kind_of_line(self) -> Self:
        if (self.device is None) == (self.host is None):
            raise ValueError(
                "device: a bus needs either device (a serial line) or host (a network address), one of the two"
            )
        foreign = {"port": self.port, "rtu_over_tcp": self.rtu_over_tcp or None} if self.device else {
            "baud": self.baud, "parity": self.parity, "stop_bits": self.stop_bits,
        }  # fmt: skip
        for key, value in foreign.items():
            if value is not None:
                raise ValueError(f"{key}: has no meaning on a bus with {'device' if self.device else 'host'}")
        if self.baud is not None and self.baud not in BAUDS:
            raise ValueError("baud: must be a usual speed such as 9600, 19200 or 38400, the one that the meters have")
        return self


class MeterTable(Table):
    """[[meter]]"""

    id: Id
    model: Text
    bus: Id
    unit: Annotated[int, Field(ge=1, le=247)]  # 0 is broadcast, 248-255 are reserved (Modbus over serial line 2.2)
    role: Literal["grid", "production", "battery", "charger", "participant"]
    serial: Text | None = None
    period_s: Annotated[Seconds, Field(ge=0.2, le=60)] = 5.0


class ConnectorKeys(Table):
    """The keys of a connector; in a single box they stand in [[charger]]."""

    circuit: Id
    rotation: Phases | None = None
    phases: Literal[1, 2, 3] | None = None
    min_a: Ma = MIN_CHARGE_MA
    max_a: Ma
    fallback_a: Ma
    meter: Id | None = None
    participant: Id

    @model_validator(mode="after")
    def _currents_and_phases_fit(self) -> Self:
        if not MIN_CHARGE_MA <= self.min_a <= self.max_a <= 80_000:
            raise ValueError(
                "max_a: must be at least min_a and at most 80, and min_a at least 6 (no car charges below 6 A)"
            )
        if self.fallback_a != 0 and not self.min_a <= self.fallback_a <= self.max_a:
            raise ValueError("fallback_a: must be 0 (nobody charges without the gateway) or between min_a and max_a")
        if self.rotation is not None and self.phases is not None and len(self.rotation) < self.phases:
            raise ValueError(f"rotation: names {len(self.rotation)} phases, but phases = {self.phases}")
        return self


class ConnectorTable(ConnectorKeys):
    """[[charger.connector]]"""

    id: Annotated[int, Field(ge=1, le=99)]


class ChargerTable(Table):
    """[[charger]] but for its connectors."""

    id: ChargerId
    dialect: Text = "default"
    upstreams: Annotated[list[Id], Field(max_length=1)] = []
    secret: SecretName | None = None
    offline: Literal["autonomous", "spec-close"] = "autonomous"
    authority: Literal["csms", "site", "both"] | None = None
    offline_unknown: Literal["refuse", "accept"] = "refuse"
    offline_max_wh: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _authority_fits(self) -> Self:
        if self.authority in ("csms", "both") and not self.upstreams:
            raise ValueError(f'authority: "{self.authority}" needs upstreams, there is no CSMS to ask')
        return self


class SingleBoxTable(ChargerTable, ConnectorKeys):
    """[[charger]] with one connector, whose keys stand beside its own."""


class MultiBoxTable(ChargerTable):
    """[[charger]] with [[charger.connector]] tables."""

    connector: Annotated[list[ConnectorTable], Field(min_length=1)]


class ParticipantTable(Table):
    """[[participant]]"""

    id: Id
    name: Text
    kind: Literal["flat", "charger", "common"]
    meter: Id | None = None

    @model_validator(mode="after")
    def _meter_fits(self) -> Self:
        if self.kind == "charger" and self.meter is not None:
            raise ValueError("meter: a charger's meter is named at its connector, not at its participant")
        if self.kind == "flat" and self.meter is None:
            raise ValueError(
                "meter: is missing; a flat without a meter of ours belongs to the common rest, leave it out"
            )
        return self


class OccupancyTable(Table):
    """[[occupancy]]"""

    participant: Id
    tenant: Id
    from_: Annotated[Day, Field(alias="from")]
    to: Day | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        return _later(self, self.from_, self.to)


class TokenTable(Table):
    """[[token]]"""

    id: TokenId
    kind: Text = "rfid"
    tenant: Id
    from_: Annotated[Day | None, Field(alias="from")] = None
    to: Day | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        return _later(self, self.from_, self.to)


def _later(table: T, first: date | None, end: date | None) -> T:
    if first is not None and end is not None and not first < end:
        raise ValueError("to: must be after from; it is the first day that no longer counts")
    return table


class SplitTable(Table):
    """[split]"""

    balance: Literal["meter", "virtual"] = "meter"
    key: Literal["dynamic", "static", "equal"] = "dynamic"
    keys: dict[str, Percent] = {}
    common_ceiling_w: Annotated[int, Field(gt=0)] | None = None
    period: Literal["month", "quarter", "year"] = "month"
    community: bool = False
    battery_capacity_wh: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        if (self.key == "static") != bool(self.keys):
            raise ValueError('keys: the percent of each participant stand there with key = "static", and only with it')
        if any(share < 0 or (share * 10_000) % 1 for share in self.keys.values()):
            raise ValueError("keys: must be percent, not negative, with at most four decimals")
        if self.keys and sum(self.keys.values()) != 100:
            raise ValueError(f"keys: must sum to 100 percent, they sum to {sum(self.keys.values())}")
        return self


class WindowTable(Table):
    """One of `windows` of a tariff."""

    class_: Annotated[Text, Field(alias="class")]
    days: Text = "Mon-Sun"
    from_: Annotated[Text, Field(alias="from")] = "00:00"
    to: Text = "24:00"
    season: Text | None = None


class TariffFileTable(Table):
    """[tariff] that names a file: a path beside the site file, or the name of a tariff that comes with the gateway.

    `then` are files that follow it, each from its own `valid_from` on.
    """

    file: Text
    then: list[Text] = []


class CalendarTable(Table):
    """A tariff: the classes of grid energy by season, weekday and local time.

    With `dynamic` the prices come quarter hour by quarter hour, and the calendar counts where one is not known.
    """

    id: Id | None = None
    name: Text | None = None
    source: Text | None = None
    valid_from: Day | None = None
    default: Text
    windows: list[WindowTable]
    holidays: list[Day] = []
    dynamic: bool = False
    vat_included: bool | None = None

    @model_validator(mode="after")
    def _prices_say_their_vat(self) -> Self:
        if self.dynamic != (self.vat_included is not None):
            raise ValueError("vat_included: true or false stands with dynamic = true, and only with it")
        return self


class CloudTable(Table):
    """[cloud]"""

    broker: Broker
    mqtt: Literal["5", "3.1.1"] = "5"
    username: Text | None = None
    secret: SecretName | None = None

    @model_validator(mode="after")
    def _password_has_a_name(self) -> Self:
        if self.secret is not None and self.username is None:
            raise ValueError("username: is missing; a broker asks for the password of somebody")
        return self

    def address(self) -> Listen:
        """Host and port; the port of IANA where none is given."""
        scheme, _, rest = self.broker.partition("://")
        tail = rest.rpartition("]")[2]
        default = 8883 if scheme == "mqtts" else 1883
        return host_and_port(rest if ":" in tail else f"{rest}:{default}", default)

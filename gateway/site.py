"""The site: what the configuration file says, typed. Parsing and checking live in `gateway/site_file.py`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gateway.model import ConnectorRef

Authority = Literal["csms", "site", "both"]
MeterRole = Literal["grid", "production", "battery", "charger", "participant"]
ParticipantKind = Literal["flat", "charger", "common"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """A CSMS. `url` is a pattern with {id}; `secret` is the name of the password, not the password."""

    id: str
    url: str
    identity: str | None = None
    secret: str | None = None
    heartbeat_s: int = 300
    boot_on_connect: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """A node of the fuse tree. Phases are 0, 1, 2; limits are per phase.

    `limit_ma` is what we keep to (at most the fuse, 0.95 of it for an SLS by default); `house_worst_ma` the largest
    current of everything on this circuit that is not one of our chargers; `safe_ma` what our chargers may draw in sum
    when the meter has been silent for long.
    """

    id: str
    parent: str | None
    phases: tuple[int, ...] = (0, 1, 2)
    fuse_a: int
    fuse: Literal["gG", "MCB", "SLS"]
    limit_ma: int
    house_worst_ma: int
    safe_ma: int
    imbalance_ma: int | None = None
    meter: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bus:
    """A Modbus line: `device` for RTU (then baud and parity count), `host` and `port` for TCP.

    `pause_s` is the silence between two requests and `timeout_s` the wait for an answer, both link time.
    """

    id: str
    device: str | None = None
    host: str | None = None
    port: int = 502
    baud: int = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: int = 1
    rtu_over_tcp: bool = False
    timeout_s: float = 0.5
    pause_s: float = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """A meter on a bus. `period_s` is how often its power and current are read, site time."""

    id: str
    model: str
    bus: str
    unit: int
    role: MeterRole
    serial: str | None = None
    period_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """One connector. `rotation[i]` is the building phase (0..2) of the connector's i-th phase.

    `meter` is its MID meter, `participant` who consumes in the split.
    """

    ref: ConnectorRef
    circuit: str
    rotation: tuple[int, int, int] = (0, 1, 2)
    phases: int = 3
    min_ma: int = 6000
    max_ma: int
    fallback_ma: int
    meter: str | None = None
    participant: str

    def building_phases(self) -> tuple[int, ...]:
        """The building phases that a car on all phases of this connector loads."""
        return self.rotation[: self.phases]


@dataclass(frozen=True, slots=True, kw_only=True)
class Charger:
    """A wallbox. `secret` names its Basic-auth password; None lets it in without one (security profile 0).

    `offline_max_wh`: what a card that nobody knows gets (`offline_unknown` "accept") until the CSMS has accepted it.
    """

    id: str
    connectors: tuple[Connector, ...]
    dialect: str = "default"
    upstream: str | None = None
    secret: str | None = None
    offline: Literal["autonomous", "spec-close"] = "autonomous"
    authority: Authority = "site"
    offline_unknown: Literal["refuse", "accept"] = "refuse"
    offline_max_wh: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """Who takes part in the split. A charger's participant has no meter of its own: its connectors have."""

    id: str
    name: str
    kind: ParticipantKind
    meter: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """Who lives in a flat, or owns a charger, from when to when (UTC ms, local midnight, half-open)."""

    participant: str
    tenant: str
    from_ms: int
    to_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A card that the site knows: `id` is the idTag, `tenant` whose it is."""

    id: str
    tenant: str
    kind: str = "rfid"
    from_ms: int | None = None
    to_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How the sun is shared. `keys` are the shares of a static key in millionths by participant.

    `community`: the house takes part in a local electricity community (LEG) that has sun of its own to share.
    `battery_capacity_wh`: what the battery can hold; what its tanks hold beyond that has been lost.
    """

    balance: Literal["meter", "virtual"] = "meter"
    key: Literal["dynamic", "static", "equal"] = "dynamic"
    keys: dict[str, int] = field(default_factory=dict)
    common_ceiling_w: int | None = None
    period: Literal["month", "quarter", "year"] = "month"
    community: bool = False
    battery_capacity_wh: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffWindow:
    """Class `name` on `weekdays` (0 = Monday) from `start_quarter` to `end_quarter` of the local day (0..96).

    `season` is the first and the last local day that count, as month * 100 + day: (1001, 331) is winter.
    """

    name: str
    weekdays: frozenset[int]
    start_quarter: int
    end_quarter: int
    season: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """A calendar of grid classes; `default` where no window fits. `holidays` count as Sundays where they are listed.

    `dynamic`: the class of an interval is that of an imported price series, the calendar only where it has none;
    `vat_included` says what its prices are. `successors` take over at their `valid_from`, a local day such as
    "2027-01-01".
    """

    id: str
    default: str
    windows: tuple[TariffWindow, ...]
    holidays: frozenset[str] = frozenset()
    dynamic: bool = False
    vat_included: bool | None = None
    valid_from: str | None = None
    successors: tuple[Tariff, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """The MQTT broker of the cloud backend; `username` and the secret named `secret` where it asks for them."""

    host: str
    port: int
    mqtt: Literal["5", "3.1.1"] = "5"
    tls: bool = True
    username: str | None = None
    secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ocpp:
    """Where the wallboxes connect, and what they are told.

    `call_timeout_s` and `ping_s` are link time; `heartbeat_s`, `meter_values_s`, `limit_duration_s` site time.
    """

    host: str = "0.0.0.0"
    port: int = 9000
    call_timeout_s: float = 15.0
    ping_s: float | None = 30.0
    heartbeat_s: int = 300
    meter_values_s: int = 60
    limit_duration_s: int = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Everything the configuration says. Nothing later asks whether it is valid."""

    id: str
    name: str
    timezone: str
    simulation: bool = False
    signer: str = "file"
    ocpp: Ocpp = Ocpp()
    upstreams: tuple[Upstream, ...] = ()
    circuits: tuple[Circuit, ...]
    buses: tuple[Bus, ...] = ()
    meters: tuple[Meter, ...] = ()
    chargers: tuple[Charger, ...] = ()
    participants: tuple[Participant, ...] = ()
    occupancies: tuple[Occupancy, ...] = ()
    tokens: tuple[Token, ...] = ()
    split: Split = Split()
    tariff: Tariff
    cloud: Cloud | None = None
    source: Path | None = None

    def connectors(self) -> Iterator[Connector]:
        """Every connector of every charger, in the order of the file."""
        for charger in self.chargers:
            yield from charger.connectors

    def connector(self, ref: ConnectorRef) -> Connector | None:
        """The connector `ref`, None where there is none."""
        return next((connector for connector in self.connectors() if connector.ref == ref), None)

    def grid_meter(self) -> Meter | None:
        """The meter of the connection to the grid."""
        return next((meter for meter in self.meters if meter.role == "grid"), None)


VOLTS = 253
"""230 V + 10 %: the most that may stand at a phase."""

OVERLOAD = 1.6
"""Up to this multiple a fuse may carry for an hour (gG, EN 60269); beyond it, it opens soon."""

DIRECT_METER_A = 125
"""The largest meter without current transformers; for a meter of which no fuse is known."""


def possible_w(site: Site, meter: Meter) -> int:
    """The most that can flow through a meter for an hour: what its fuse lets pass."""
    circuits = {circuit.id: circuit for circuit in site.circuits}
    behind = [circuit for circuit in site.circuits if circuit.meter == meter.id]
    behind += [circuits[one.circuit] for one in site.connectors() if one.meter == meter.id and one.circuit in circuits]
    amperes = max((circuit.fuse_a for circuit in behind), default=DIRECT_METER_A)
    return round(3 * VOLTS * amperes * OVERLOAD)

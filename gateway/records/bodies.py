"""The bodies of the records that go to the cloud (contract 5.4). Their JSON Schemas are generated into docs/cloud/.

Energy is integer Wh, times are UTC with a Z, `..._ms` are UTC milliseconds. Within a version fields are only added.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Body(BaseModel):
    """Base of all bodies: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RegisterValue(Body):
    """One boundary register: the exact Wh, and when it was asked and answered."""

    import_wh: int | None
    export_wh: int | None = None
    requested_ms: int
    replied_ms: int
    serial: str | None = None
    model: str = ""
    map_version: str = ""
    raw: str = Field("", description="the registers as received, hex")


class SessionBegin(Body):
    """A session has begun: committed before the start was answered or forwarded."""

    session: str
    charger: str
    connector: int
    transaction_id: int
    id_tag: str
    tenant: str | None
    participant: str | None
    begin: str
    begin_quality: str
    begin_wh: int | None = Field(description="register that the payer sees; None where there was none")
    begin_provenance: Literal["meter", "charger", "none"]
    charger_begin_wh: int | None
    meter: str | None
    ocmf_begin: str | None = Field(None, description="the signed record of the begin register")


class SessionEnd(Body):
    """A session has ended. `energy_wh` only where it is billable (I5, I6)."""

    session: str
    charger: str
    connector: int
    transaction_id: int
    id_tag: str
    tenant: str | None
    participant: str | None
    begin: str
    end: str
    stop: str
    begin_quality: str
    end_quality: str
    begin_wh: int | None
    end_wh: int | None
    begin_provenance: Literal["meter", "charger", "none"]
    end_provenance: Literal["meter", "charger", "none"]
    charger_begin_wh: int | None
    charger_end_wh: int | None
    energy_wh: int | None
    stop_reason: str | None
    billable: bool
    unbillable_reason: str | None
    meter: str | None
    meter_serial: str | None
    signed_by: Literal["gateway", "charger", "meter", "none"]
    ocmf_begin: str | None
    ocmf_end: str | None
    charger_records: list[str] = Field(default_factory=list, description="texts that the charger signed, as they came")
    charger_verdicts: list[str] = Field(
        default_factory=list,
        description="of each: valid, invalid, key_unknown, valid_not_strict_der, unsupported",
    )
    charger_records_left_out: int = Field(
        0, description="signed readings in between that the message has no room for; the gateway keeps them"
    )
    charger_signed_begin: str | None = Field(
        None,
        description="begin register that the charger signed, digit by digit, with its unit; only where it verifies",
    )
    charger_signed_end: str | None = Field(None, description="the end register likewise")


class ParticipantShare(Body):
    """One participant in one interval. `carry_*` is the rounding rest in nano-Wh before and after."""

    participant: str
    wh: int
    solar_wh: int
    grid_wh: int
    carry_before_nano_wh: int
    carry_after_nano_wh: int
    adjustment_nano_wh: int = Field(0, description="part of the carry before that corrections of earlier ones added")
    estimated: bool = False
    leg_wh: int = Field(0, description="of grid_wh: what the community (LEG) gave")
    leg_carry_before_nano_wh: int = 0
    leg_carry_after_nano_wh: int = 0


class SessionPart(Body):
    """What one session took in one interval."""

    session: str
    participant: str
    wh: int
    solar_wh: int
    grid_wh: int
    leg_wh: int = Field(0, description="of grid_wh: what the community (LEG) gave")


class OutsideSession(Body):
    """Energy of a charger meter outside sessions in one interval, named and owned (I6b)."""

    meter: str
    participant: str
    wh: int
    name: Literal["standby", "free_charging", "gap"]
    owner: str
    solar_wh: int = 0


class Interval(Body):
    """One quarter hour [start, end), version by version. The shares close: solar + grid = consumption (I7)."""

    k: int
    start: str
    end: str
    version: int
    state: Literal["provisional", "final", "corrected", "closed"]
    balance: Literal["meter", "virtual"]
    key: Literal["dynamic", "static", "equal"]
    tariff: str
    tariff_class: str
    quality: str
    at_start: dict[str, RegisterValue | None] = Field(description="boundary registers by meter; null = missing")
    at_end: dict[str, RegisterValue | None]
    begins: dict[str, RegisterValue] = Field(
        default_factory=dict, description="meters read for the first time here: their energy counts from this register"
    )
    import_wh: int | None
    export_wh: int | None
    production_wh: int | None
    battery_charge_wh: int = 0
    battery_discharge_wh: int = 0
    battery_loss_wh: int = Field(default=0, description="taken from the tanks, which held more than the battery can")
    consumption_wh: int | None
    solar_wh: int | None = Field(description="own solar that the house used")
    unallocated_wh: int = 0
    imbalance_wh: int = 0
    leg_wh: int | None = Field(None, description="energy of the community (LEG) in this interval, as imported")
    leg_unallocated_wh: int = 0
    shares: list[ParticipantShare]
    sessions: list[SessionPart]
    outside: list[OutsideSession]
    missing: list[str] = Field(default_factory=list, description="what is not known, in words")


class Split(Body):
    """The split of one ended session, version by version; `delta` against the version before."""

    session: str
    version: int
    state: Literal["provisional", "final"]
    energy_wh: int
    solar_wh: int
    classes_wh: dict[str, int] = Field(description="grid energy by tariff class")
    solar_by_class_wh: dict[str, int] = Field(description="solar by the class of the standard tariff (80 % rule)")
    delta_solar_wh: int = 0
    delta_classes_wh: dict[str, int] = Field(default_factory=dict)
    leg_by_class_wh: dict[str, int] = Field(
        default_factory=dict, description="of classes_wh: what the community (LEG) gave"
    )
    intervals: list[int]
    reason: str = ""


class SessionDecision(Body):
    """What a person decided about a session that is not billable by itself (I5): who, when and why.

    `basis`: whose registers `begin_wh` and `end_wh` are. With "meter" the energy is split, and split.v1 follows; with
    "charger" it was measured by no meter of ours and stands undivided. A later decision has the next version.
    """

    session: str
    version: int
    bill: bool
    basis: Literal["meter", "charger", "none"]
    begin_wh: int | None
    end_wh: int | None
    energy_wh: int | None
    unbillable_reason: str | None
    actor: str
    reason: str
    at: str


class PeriodRegister(Body):
    """The registers of one meter where a bill begins and ends; null where the boundary was missing."""

    meter: str
    begin_wh: int | None
    begin_serial: str | None
    end_wh: int | None
    end_serial: str | None


class PeriodShare(Body):
    """One participant and who lived there in [begin, end): a move cuts the bill at local midnight."""

    participant: str
    tenant: str
    begin: str
    end: str
    wh: int
    solar_wh: int
    classes_wh: dict[str, int] = Field(description="grid energy by tariff class")
    solar_by_class_wh: dict[str, int] = Field(description="solar by the class of the standard tariff (80 % rule)")
    leg_by_class_wh: dict[str, int] = Field(default_factory=dict)
    registers: list[PeriodRegister] = Field(default_factory=list)


class Period(Body):
    """A billing period that a person closed or reopened. Nothing inside changes while it is closed.

    Each act is a version. `late_runs` are the intervals that later data would have changed; they are named here when
    the period is reopened, and applied then. `rules`: whether they are settled again by what was in force then ("kept")
    or by what the configuration says now ("current").
    """

    period: str
    version: int
    state: Literal["closed", "reopened"]
    begin: str
    end: str
    intervals: int
    provisional: int = Field(default=0, description="how many intervals were closed provisional")
    provisional_runs: list[tuple[int, int]] = Field(
        default_factory=list, description="which: runs of intervals [first, last], the first 1000 of them"
    )
    unknown: int = Field(
        default=0, description="intervals without a balance: they are in no sum, the registers at both ends count them"
    )
    unknown_runs: list[tuple[int, int]] = Field(
        default_factory=list, description="which: runs of intervals [first, last], the first 1000 of them"
    )
    import_wh: int = 0
    export_wh: int = 0
    production_wh: int = 0
    consumption_wh: int = 0
    solar_wh: int = 0
    unallocated_wh: int = 0
    imbalance_wh: int = 0
    shares: list[PeriodShare] = Field(default_factory=list)
    undecided: list[str] = Field(default_factory=list, description="sessions that nobody has decided about")
    late_runs: list[tuple[int, int]] = Field(default_factory=list)
    rules: Literal["kept", "current"] = "kept"
    actor: str
    reason: str
    at: str


class Thinned(Body):
    """MeterValues that came while the CSMS was away: how many, and how many were kept."""

    charger: str
    transaction_id: int
    quarter: int
    received: int
    kept: int


class Notice(Body):
    """An event for the operator (I11)."""

    kind: str
    subject: str
    cause: str
    next_step: str
    severity: Literal["info", "warning", "error"]
    at: str
    data: dict[str, str | int | bool | list[str] | None] = Field(default_factory=dict)


SCHEMAS: dict[str, type[Body]] = {
    "session.begin.v1": SessionBegin,
    "session.end.v1": SessionEnd,
    "interval.v1": Interval,
    "split.v1": Split,
    "session.decision.v1": SessionDecision,
    "period.v1": Period,
    "thinned.v1": Thinned,
    "notice.v1": Notice,
}

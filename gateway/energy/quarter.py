"""Pure: one quarter hour of the whole house settled: who consumed what, what of it was solar, whose it was.

The participants' consumption comes from their own meters, the rest of the house is the common participant's. What
cannot be true (the participants consumed more than the house) is a named imbalance and billed to nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from gateway.energy.battery import Tanks, origin_of
from gateway.energy.community import CommunityStage, second_stage
from gateway.energy.intervals import Cut, Measured, within
from gateway.energy.split import Flows, Key, Share, allocate, share_within, virtual_flows
from gateway.model import Reading

COMMON = "common"
"""The common participant's name where the site does not name one."""

STANDBY_MAX_WH = 25
"""More than this in a quarter hour (100 W) at an idle connector is not standby: somebody charges without a session."""


BEGIN_SPREAD_MS = 60_000
"""The first readings of grid, sun and battery come at most so long after that of any other meter, or no balance is
drawn up: what the others counted meanwhile could come from anywhere. A start reads all meters within seconds."""


@dataclass(frozen=True, slots=True)
class House:
    """Which meter plays which part. `metered` lists the meters of each participant, `charger_meters` those of boxes."""

    grid: str | None
    production: tuple[str, ...] = ()
    battery: tuple[str, ...] = ()
    metered: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    charger_meters: frozenset[str] = frozenset()
    common: str = COMMON
    balance: Literal["meter", "virtual"] = "meter"
    key: Key = field(default_factory=Key)
    common_ceiling_wh: int | None = None
    battery_capacity_wh: int | None = None

    def sources(self) -> list[str]:
        """The meters through which energy comes into the house and leaves it."""
        grid = [self.grid] if self.grid and self.balance == "meter" else []
        return [*grid, *self.production, *self.battery]

    def meters(self) -> list[str]:
        """Every meter that the split needs."""
        return [*self.sources(), *(meter for meters in self.metered.values() for meter in meters)]


@dataclass(frozen=True, slots=True)
class SessionCut:
    """A session's place on a meter. One that is not billable is energy outside sessions."""

    cut: Cut
    billable: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """What one session took in the interval, Wh."""

    session: str
    participant: str
    wh: int
    solar_wh: int
    leg_wh: int = 0


@dataclass(frozen=True, slots=True)
class Outside:
    """Energy of a charger meter outside sessions, Wh, by its name."""

    meter: str
    participant: str
    wh: int
    solar_wh: int
    name: Literal["standby", "free_charging", "gap"]


@dataclass(frozen=True, slots=True)
class Quarter:
    """One settled interval, Wh. `missing` says in words what is not known.

    Where the balance could not be drawn up `flows` is None: then nobody is given solar energy and `shares` is empty;
    what sessions took stands as grid energy until it is corrected, or for ever where it is `lasting`: no later data can
    change it, nobody measured what it lacks. `begins` are the first readings ever of meters: the
    interval is partial, their energy counts from there.
    """

    flows: Flows | None
    consumption_wh: int | None
    solar_wh: int | None
    unallocated_wh: int
    imbalance_wh: int
    shares: Mapping[str, Share]
    estimated: frozenset[str]
    parts: tuple[Part, ...]
    outside: tuple[Outside, ...]
    tanks: Tanks
    missing: tuple[str, ...] = ()
    community: CommunityStage | None = None
    battery_loss_wh: int = 0
    begins: Mapping[str, Reading] = field(default_factory=dict)
    lasting: bool = False


def with_community(quarter: Quarter, given_wh: int, carry: Mapping[str, int]) -> Quarter:
    """The second stage: `given_wh` of the community over what each still took from the grid. Carry in nano-Wh."""
    if quarter.flows is None:
        return quarter
    stage = second_stage(given_wh, {who: share.grid_wh for who, share in quarter.shares.items()}, carry)
    parts: list[Part] = []
    for who in quarter.shares:
        own = [part for part in quarter.parts if part.participant == who]
        grid = {f"{number}": part.wh - part.solar_wh for number, part in enumerate(own)}
        # The pieces beside the sessions are one piece here: nobody asks them for their community energy.
        rest_wh = quarter.shares[who].grid_wh - sum(grid.values())
        leg = share_within(stage.shares[who].wh, {**grid, "rest": rest_wh})
        parts += [replace(part, leg_wh=leg[f"{number}"]) for number, part in enumerate(own)]
    return replace(quarter, parts=tuple(parts), community=stage)


def settle(
    house: House,
    meters: Mapping[str, Measured],
    sessions: Mapping[str, Sequence[SessionCut]],
    carry: Mapping[str, int],
    tanks: Tanks,
    missing: Sequence[str] = (),
) -> Quarter:
    """Settle one interval.

    `meters` holds what is known of each meter, `sessions` the session cuts by meter, `missing` says in words what else
    is not known. Carry in nano-Wh by participant.
    """
    needed = house.meters()
    absent = [f"meter {meter}: not read" for meter in needed if meter not in meters]
    problems = [problem for meter in needed if meter in meters for problem in meters[meter].problems]
    read = [meters[meter] for meter in needed if meter in meters and not meters[meter].unread]
    lasting = [problem for one in read for problem in one.lasting]
    unread, late = _beginnings(house, meters)
    problems, lasting = problems + unread, lasting + late
    notes = [note for meter in needed if meter in meters for note in meters[meter].notes]
    begins = {meter: first for meter in needed if meter in meters and (first := meters[meter].begins) is not None}
    if needed and not absent and all(meters[meter].unread for meter in needed):
        notes.append("partial: nothing was metered, no meter had been read yet")
    elif begins:
        notes.insert(0, "partial: starts at the first readings")
    if absent or problems or lasting:
        swapped = [
            note for meter in needed if meter in meters and not meters[meter].begins for note in meters[meter].notes
        ]
        incomplete = _incomplete(house, meters, sessions, tanks, (*absent, *problems, *lasting, *missing, *swapped))
        return replace(incomplete, lasting=not absent and not problems)
    own = {who: sum(meters[meter].import_wh for meter in names) for who, names in house.metered.items()}
    flows = _flows(house, meters, sum(own.values()))
    consumption_wh = flows.consumption_wh
    consumption, imbalance_wh = _with_common(house, own, consumption_wh)
    origin = origin_of(flows, tanks)
    left, loss_wh = origin.tanks.fitting(house.battery_capacity_wh)
    allocation = allocate(origin.solar_wh, origin.pool_wh, consumption, carry, house.key)
    parts, outside = _pieces(house, meters, sessions, allocation.shares)
    everything = any(meters[meter].estimated for meter in needed)
    return Quarter(
        flows=flows,
        consumption_wh=consumption_wh,
        solar_wh=origin.solar_wh,
        unallocated_wh=allocation.unallocated_wh,
        imbalance_wh=imbalance_wh,
        shares=allocation.shares,
        estimated=frozenset(consumption) if everything else frozenset(),
        parts=parts,
        outside=outside,
        tanks=left,
        missing=(*notes, *missing),
        battery_loss_wh=loss_wh,
        begins=begins,
    )


def _beginnings(house: House, meters: Mapping[str, Measured]) -> tuple[list[str], list[str]]:
    """Why the balance cannot be drawn up where meters are read for the first time; nothing before the very first.

    First what a person must look at, a meter that has never answered; then what is so for good: one that came late.
    """
    here = {meter: meters[meter] for meter in house.meters() if meter in meters}
    unread = [meter for meter, one in here.items() if one.unread]
    if len(unread) == len(here):
        return [], []
    found = [problem for meter in unread for problem in here[meter].lasting]
    never = [f"meter {meter}: not read yet" for meter in unread if not here[meter].lasting]
    first_ms = min(one.begins.requested_ms if one.begins else 0 for one in here.values() if not one.unread)
    for meter in house.sources():
        begins = here[meter].begins if meter in here else None
        if begins is not None and begins.requested_ms - first_ms > BEGIN_SPREAD_MS:
            found.append(f"meter {meter}: read for the first time after others, no balance before that")
    return never, found


def _flows(house: House, meters: Mapping[str, Measured], participants_wh: int) -> Flows:
    # A production meter counts what it gives as export where it has such a register; what it takes is consumption.
    production_wh = sum(
        given if (given := meters[meter].export_wh) is not None else meters[meter].import_wh
        for meter in house.production
    )
    if house.balance == "virtual" or house.grid is None:
        return virtual_flows(participants_wh, production_wh)
    grid = meters[house.grid]
    return Flows(
        import_wh=grid.import_wh,
        export_wh=grid.export_wh or 0,
        production_wh=production_wh,
        charge_wh=sum(meters[meter].import_wh for meter in house.battery),
        discharge_wh=sum(meters[meter].export_wh or 0 for meter in house.battery),
    )


def _with_common(house: House, own: Mapping[str, int], consumption_wh: int) -> tuple[dict[str, int], int]:
    """Everybody's consumption with the common rest; and the imbalance: sum of all = consumption - imbalance."""
    rest_wh = consumption_wh - sum(own.values())
    common_wh = 0
    if house.balance == "meter" and house.common not in own:
        common_wh = max(0, rest_wh)
        if house.common_ceiling_wh is not None:
            common_wh = min(common_wh, house.common_ceiling_wh)
    consumption = dict(own)
    consumption[house.common] = own.get(house.common, 0) + common_wh
    return consumption, rest_wh - common_wh


def _pieces(
    house: House,
    meters: Mapping[str, Measured],
    sessions: Mapping[str, Sequence[SessionCut]],
    shares: Mapping[str, Share],
) -> tuple[tuple[Part, ...], tuple[Outside, ...]]:
    """Share what each participant got among their sessions and what flowed outside of them, in proportion."""
    parts: list[Part] = []
    outside: list[Outside] = []
    for who, names in house.metered.items():
        weights: dict[str, int] = {}
        took: list[Part] = []
        rest: list[Outside] = []
        for meter in names:
            if meter not in house.charger_meters:
                weights[f"meter {meter}"] = meters[meter].import_wh
                continue
            here, beside = _of_meter(meter, who, meters[meter], sessions.get(meter, ()))
            took += here
            rest += beside
        weights |= {f"session {part.session}": part.wh for part in took}
        weights |= {f"outside {piece.meter} {piece.name}": piece.wh for piece in rest}
        solar = share_within(shares[who].solar_wh, weights)
        parts += [replace(part, solar_wh=solar[f"session {part.session}"]) for part in took]
        outside += [replace(piece, solar_wh=solar[f"outside {piece.meter} {piece.name}"]) for piece in rest]
    return tuple(parts), tuple(outside)


def _of_meter(
    meter: str, who: str, energy: Measured, sessions: Sequence[SessionCut]
) -> tuple[list[Part], list[Outside]]:
    """The sessions on one charger meter, and what it counted beside them; together its energy."""
    parts = [
        Part(session.cut.session, who, wh, 0)
        for session in sessions
        if session.billable and (wh := within(session.cut, energy.segments))
    ]
    refused_wh = sum(within(session.cut, energy.segments) for session in sessions if not session.billable)
    rest_wh = max(0, energy.import_wh - sum(part.wh for part in parts))
    free_wh = min(refused_wh, rest_wh)
    outside = [Outside(meter, who, free_wh, 0, "free_charging")] if free_wh else []
    if beside_wh := rest_wh - free_wh:
        if energy.estimated:
            outside.append(Outside(meter, who, beside_wh, 0, "gap"))
        elif beside_wh <= STANDBY_MAX_WH:
            outside.append(Outside(meter, who, beside_wh, 0, "standby"))
        else:
            outside = [Outside(meter, who, rest_wh, 0, "free_charging")]
    return parts, outside


def _incomplete(
    house: House,
    meters: Mapping[str, Measured],
    sessions: Mapping[str, Sequence[SessionCut]],
    tanks: Tanks,
    missing: Sequence[str],
) -> Quarter:
    """Without a balance nothing is credited: what sessions took is known by their registers and stands as grid."""
    parts: list[Part] = []
    outside: list[Outside] = []
    for who, names in house.metered.items():
        for meter in names:
            if meter in house.charger_meters and meter in meters:
                here, beside = _of_meter(meter, who, meters[meter], sessions.get(meter, ()))
                parts += here
                outside += beside
    return Quarter(
        flows=None,
        consumption_wh=None,
        solar_wh=None,
        unallocated_wh=0,
        imbalance_wh=0,
        shares={},
        estimated=frozenset(),
        parts=tuple(parts),
        outside=tuple(outside),
        tanks=tanks,
        missing=tuple(missing),
    )

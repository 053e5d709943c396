"""The building as the configuration names it: only what the judge needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Box:
    """A charger; currents in mA per phase."""

    id: str
    circuits: frozenset[str]
    fallback_ma: int
    max_ma: int
    meters: dict[int, str]
    participants: dict[int, str]


@dataclass(frozen=True, slots=True)
class Place:
    """Who and what is in the building. `meters_of` are the meters whose sum is a participant's consumption; `buses`
    names the line on which a meter hangs.

    `call_timeout_s` is how long the gateway waits for an answer, in link time; `parents` and `circuit_meters` are by
    circuit, None where it has none.
    """

    timezone: ZoneInfo
    period: str
    call_timeout_s: float
    boxes: dict[str, Box]
    circuits: tuple[str, ...]
    parents: dict[str, str | None]
    circuit_meters: dict[str, str | None]
    fuses_a: dict[str, float]
    grid: str
    producers: tuple[str, ...]
    batteries: tuple[str, ...]
    participants: tuple[str, ...]
    common: str | None
    common_ceiling_w: int | None
    meters_of: dict[str, tuple[str, ...]]
    buses: dict[str, str]
    tenants: dict[str, str]

    def boxes_on(self, circuit: str) -> frozenset[str]:
        """The chargers on a circuit and on those below it; one whose circuit is not said is on each."""
        return frozenset(box.id for box in self.boxes.values() if not box.circuits or self._above(box) & {circuit})

    def beside(self, meter: str) -> int:
        """How many meters hang on the line of this one, itself among them."""
        return sum(bus == self.buses.get(meter) for bus in self.buses.values())

    def meters_on(self, circuit: str) -> frozenset[str]:
        """A circuit's own meter; where it has none, those of its chargers."""
        own = self.circuit_meters.get(circuit)
        if own is not None:
            return frozenset({own})
        return frozenset(meter for box in self.boxes_on(circuit) for meter in self.boxes[box].meters.values())

    def _above(self, box: Box) -> set[str]:
        found: set[str] = set()
        for circuit in box.circuits:
            here: str | None = circuit
            while here is not None and here not in found:
                found.add(here)
                here = self.parents.get(here)
        return found


def place(site: dict[str, Any]) -> Place:
    """Read the site file (design 5.2). A KeyError names what it lacks."""
    meters = site.get("meter", [])
    roles: dict[str, list[str]] = {}
    for meter in meters:
        roles.setdefault(meter.get("role", "participant"), []).append(meter["id"])
    boxes = {charger["id"]: _box(charger, _defaults(site)) for charger in site.get("charger", [])}
    participants = site.get("participant", [])
    names = [participant["id"] for participant in participants]
    split = site.get("split", {})
    return Place(
        timezone=ZoneInfo(site["site"]["timezone"]),
        period=split.get("period", "month"),
        call_timeout_s=float(site.get("ocpp", {}).get("call_timeout_s", 15)),
        boxes=boxes,
        circuits=tuple(circuit["id"] for circuit in site.get("circuit", [])),
        parents={circuit["id"]: circuit.get("parent") for circuit in site.get("circuit", [])},
        circuit_meters={circuit["id"]: circuit.get("meter") for circuit in site.get("circuit", [])},
        fuses_a={one["id"]: float(one["fuse_a"]) for one in site.get("circuit", []) if "fuse_a" in one},
        grid=roles["grid"][0],
        producers=tuple(roles.get("production", ())),
        batteries=tuple(roles.get("battery", ())),
        participants=tuple(names),
        common=next((entry["id"] for entry in participants if entry.get("kind") == "common"), None),
        common_ceiling_w=split.get("common_ceiling_w"),
        meters_of={name: _meters_of(name, participants, boxes) for name in names},
        buses={meter["id"]: str(meter.get("bus", "")) for meter in meters},
        tenants={token["id"].upper(): token["tenant"] for token in site.get("token", [])},
    )


def _defaults(site: dict[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = site.get("ocpp", {}).get("defaults", {})
    return defaults


def _box(charger: dict[str, Any], defaults: dict[str, Any]) -> Box:
    connectors = charger.get("connector") or [charger]
    numbered = [(int(entry.get("id", 1)) if entry is not charger else 1, entry) for entry in connectors]

    def milliampere(key: str) -> int:
        return max(round(float({**defaults, **charger, **entry}[key]) * 1000) for _, entry in numbered)

    return Box(
        id=charger["id"],
        circuits=frozenset(
            str(circuit) for _, entry in numbered if (circuit := entry.get("circuit", charger.get("circuit")))
        ),
        fallback_ma=milliampere("fallback_a"),
        max_ma=milliampere("max_a"),
        meters={number: entry["meter"] for number, entry in numbered if entry.get("meter")},
        participants={number: entry["participant"] for number, entry in numbered if entry.get("participant")},
    )


def _meters_of(name: str, participants: list[dict[str, Any]], boxes: dict[str, Box]) -> tuple[str, ...]:
    own = [entry["meter"] for entry in participants if entry["id"] == name and entry.get("meter")]
    at_boxes = [
        meter
        for box in boxes.values()
        for connector, meter in box.meters.items()
        if box.participants.get(connector) == name
    ]
    return tuple(own + at_boxes)

"""Pure: the site file of the demonstration, as an installer would write it."""

from __future__ import annotations

from dataclasses import dataclass

from simulators.demo.plan import BOXES, CIRCUITS, GARAGE_LIGHT_A, HOUSE_WORST_A, SITE_ID, ZONE, BoxPlan


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts of this run are found."""

    ocpp: int
    csms: int
    grid_meter: int
    meter_line: str
    broker: int
    mqtt: str = "3.1.1"


def site_text(addresses: Addresses) -> str:
    """The whole file."""
    house, garage = CIRCUITS
    parts = [
        f"""\
[site]
id = "{SITE_ID}"
name = "Demonstration house"
timezone = "{ZONE}"
simulation = true

[ocpp]
listen = "127.0.0.1:{addresses.ocpp}"
call_timeout_s = 5

[[upstream]]
id = "operator"
url = "ws://127.0.0.1:{addresses.csms}/{{id}}"
secret = "operator"

[[circuit]]
id = "{house.name}"
fuse_a = {house.fuse_ma // 1000}
fuse = "{house.fuse}"
house_worst_a = {HOUSE_WORST_A}
meter = "grid"

[[circuit]]
id = "{garage.name}"
parent = "{house.name}"
fuse_a = {garage.fuse_ma // 1000}
fuse = "{garage.fuse}"
house_worst_a = {GARAGE_LIGHT_A}

[[bus]]
id = "rs485"
device = "{addresses.meter_line}"
baud = 576000
timeout_s = 0.15
pause_s = 0.001

[[bus]]
id = "lan"
host = "127.0.0.1"
port = {addresses.grid_meter}
timeout_s = 0.15
pause_s = 0.001

[[meter]]
id = "grid"
model = "abb_b23"
bus = "lan"
unit = 1
role = "grid"
period_s = 2

[[meter]]
id = "pv"
model = "iem3155"
bus = "rs485"
unit = 2
role = "production"
""",
        *(_meter(box) for box in BOXES),
        *(_charger(box) for box in BOXES),
        *(_participant(box) for box in BOXES),
        f"""
[[participant]]
id = "rest"
name = "Flats and common parts"
kind = "common"

[split]
balance = "meter"
key = "dynamic"
period = "quarter"

[tariff]
id = "EGBB"
default = "NT"
windows = [
    {{ class = "HT", days = "Mon-Fri", from = "07:00", to = "20:00" }},
    {{ class = "HT", days = "Sat", from = "07:00", to = "13:00" }},
]

[cloud]
broker = "mqtt://127.0.0.1:{addresses.broker}"
mqtt = "{addresses.mqtt}"
""",
    ]
    return "".join(parts)


def secrets() -> dict[str, str]:
    """The passwords that the site file names."""
    return {"operator": OPERATOR_PASSWORD, **{box.name: f"{box.name}-password" for box in BOXES}}


OPERATOR_PASSWORD = "operator-password"


def _meter(box: BoxPlan) -> str:
    return f"""
[[meter]]
id = "{box.meter}"
model = "{box.model}"
bus = "rs485"
unit = {box.unit}
role = "charger"
"""


def _charger(box: BoxPlan) -> str:
    rotation = "".join(f"L{phase + 1}" for phase in box.rotation[: box.phases])
    return f"""
[[charger]]
id = "{box.name}"
upstreams = ["operator"]
secret = "{box.name}"
circuit = "{box.circuit}"
rotation = "{rotation}"
phases = {box.phases}
max_a = {box.max_a}
fallback_a = {box.fallback_a}
meter = "{box.meter}"
participant = "p-{box.name}"
"""


def _participant(box: BoxPlan) -> str:
    return f"""
[[participant]]
id = "p-{box.name}"
name = "Parking space {box.name[3:]}"
kind = "charger"

[[occupancy]]
participant = "p-{box.name}"
tenant = "{box.tenant}"
from = 2026-01-01

[[token]]
id = "{box.card}"
tenant = "{box.tenant}"
"""

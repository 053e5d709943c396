"""Pure: the site file of a seeded house, as an installer would write it."""

from __future__ import annotations

from .plan import Plan


def site_text(plan: Plan) -> str:
    """The site file of this house."""
    parts = [
        f"""\
[site]
id = "sim-{plan.seed}"
name = "Seeded house {plan.seed}"
timezone = "Europe/Zurich"
simulation = true

[ocpp]
listen = "0.0.0.0:9000"

[[upstream]]
id = "operator"
url = "ws://csms:80/{{id}}"

[[circuit]]
id = "house"
fuse_a = {plan.house_fuse_a}
fuse = "{plan.house_fuse}"
house_worst_a = {plan.house_worst_a}
meter = "grid"

[[circuit]]
id = "garage"
parent = "house"
fuse_a = {plan.garage_fuse_a}
fuse = "MCB"
house_worst_a = 0

[[bus]]
id = "lan"
host = "lan"
port = 502
timeout_s = 0.5
pause_s = 0.01

[[meter]]
id = "grid"
model = "abb_b23"
bus = "lan"
unit = 1
role = "grid"
period_s = 1

[[meter]]
id = "pv"
model = "iem3155"
bus = "lan"
unit = 2
role = "production"

[[participant]]
id = "rest"
name = "Flats"
kind = "common"

[tariff]
id = "EGBB"
default = "NT"
windows = [
    {{ class = "HT", days = "Mon-Fri", from = "07:00", to = "20:00" }},
    {{ class = "HT", days = "Sat", from = "07:00", to = "13:00" }},
]

[cloud]
broker = "mqtt://broker:1883"
mqtt = "3.1.1"
"""
    ]
    for line in sorted({box.line for box in plan.boxes}):
        parts.append(f'\n[[bus]]\nid = "line{line}"\nhost = "line{line}"\nport = 4001\nrtu_over_tcp = true\n'
                     "timeout_s = 0.5\npause_s = 0.02\n")  # fmt: skip
    for box in plan.boxes:
        rotation = "".join(f"L{phase + 1}" for phase in box.rotation[: box.phases])
        parts.append(f"""
[[meter]]
id = "{box.meter}"
model = "{box.model}"
bus = "line{box.line}"
unit = {box.unit}
role = "charger"
{f'serial = "{box.serial}"' if box.named else ""}

[[charger]]
id = "{box.name}"
upstreams = ["operator"]
circuit = "garage"
rotation = "{rotation}"
phases = {box.phases}
max_a = 16
fallback_a = {box.fallback_a}
meter = "{box.meter}"
participant = "p-{box.name}"

[[participant]]
id = "p-{box.name}"
name = "Parking space {box.number}"
kind = "charger"

[[token]]
id = "{box.card}"
tenant = "T-{box.number}"
""")
    return "".join(parts)

"""A small building whose evidence is made up: two boxes, six and a half quarter hours, an outage and a kill.

Everything is kept in lists that a test may spoil before `write`. Nothing of `gateway` and nothing of the judge is used.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY = ec.derive_private_key(4711, ec.SECP256R1())
SPKI = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex()
QUARTER = 900_000
SKEW = 2_000
GW, EPOCH = "test-house", "0" * 31 + "1"
LOCAL_ID = 2**31 - 1
Body = dict[str, Any]

SITE = """
[site]
id = "test-house"
timezone = "Europe/Zurich"
[[circuit]]
id = "house"
[[meter]]
id = "grid"
role = "grid"
[[meter]]
id = "pv"
role = "production"
[[meter]]
id = "m1"
role = "charger"
[[meter]]
id = "m2"
role = "charger"
[[charger]]
id = "box1"
max_a = 16
fallback_a = 6
meter = "m1"
participant = "p1"
[[charger]]
id = "box2"
max_a = 16
fallback_a = 6
meter = "m2"
participant = "p2"
[[participant]]
id = "p1"
kind = "charger"
[[participant]]
id = "p2"
kind = "charger"
[[participant]]
id = "rest"
kind = "common"
[[token]]
id = "CARD-A"
tenant = "T-1"
[[token]]
id = "CARD-B"
tenant = "T-2"
"""


def at(clock: str) -> int:
    """UTC ms of a local (summer) time on Saturday 2026-06-13."""
    parts = [int(part) for part in f"{clock}:00".split(":")[:3]]
    return round(datetime(2026, 6, 13, parts[0] - 2, parts[1], parts[2], tzinfo=UTC).timestamp() * 1000)


def iso(ms: int) -> str:
    """With milliseconds and Z."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


START, END = at("11:30"), at("13:15")
POWER = {
    "flats": ((START - QUARTER, 617.0),),
    "pv": ((START - QUARTER, 3001.0), (at("12:30"), 1501.0)),
    "m1": ((START - QUARTER, 0.0), (at("11:31"), 4001.0), (at("13:05"), 0.0)),
    "m2": ((START - QUARTER, 0.0), (at("11:55"), 1003.0), (at("12:40"), 0.0)),
}
BASE = {"grid": 5_000_000, "pv": 2_000_000, "m1": 123_456, "m2": 98_765}


def power_w(name: str, ms: int) -> float:
    """Grid: positive is import."""
    if name == "grid":
        return power_w("flats", ms) + power_w("m1", ms) + power_w("m2", ms) - power_w("pv", ms)
    return next((watt for since, watt in reversed(POWER[name]) if since <= ms), 0.0)


def true_wh(meter: str, ms: int) -> tuple[float, float]:
    """(import, export) registers at a time."""
    changes = sorted({since for steps in POWER.values() for since, _ in steps if since < ms} | {ms})
    taken, given = float(BASE[meter]), 0.0
    for since, until in pairwise(changes):
        energy = power_w(meter, since) * (until - since) / 3_600_000
        given += max(0.0, -energy if meter != "pv" else energy)
        taken += max(0.0, energy if meter != "pv" else 0.0)
    return taken, given


def ocmf(page: int, kind: str, card: str, box: str, wh: int, ms: int, letter: str = "U") -> str:
    """One reading of the gateway's own signature; RV with three decimals."""
    stamp = datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f",{ms % 1000:03d}+0000 {letter}"
    reading = {"TM": stamp, "TX": kind, "RV": "@", "RI": "1-0:1.8.0", "RU": "kWh", "RT": "AC", "EF": "", "ST": "G"}
    payload = {"FV": "1.3", "GS": "G1", "PG": f"T{page}", "MS": f"SN-{box}", "IS": True, "ID": card, "CI": box}
    text = json.dumps({**payload, "RD": [reading]}, separators=(",", ":")).replace(
        '"@"', f"{wh // 1000}.{wh % 1000:03d}"
    )
    signature = KEY.sign(text.encode(), ec.ECDSA(SHA256()))
    return f'OCMF|{text}|{{"SA":"ECDSA-secp256r1-SHA256","SD":"{signature.hex()}"}}'


@dataclass
class Run:
    """The evidence of one run; `spoil_records` and `spoil_state` see the sealed rows just before they are written."""

    site: str = SITE
    story: list[Body] = field(default_factory=list)
    charger_wire: list[Body] = field(default_factory=list)
    csms_wire: list[Body] = field(default_factory=list)
    messages: list[tuple[str, str, str, str, int]] = field(default_factory=list)
    tx: list[tuple[str, int]] = field(default_factory=list)
    bodies: list[tuple[str, str, Body]] = field(default_factory=list)
    served: list[tuple[str, int, int | None, int | None]] = field(default_factory=list)
    boundary: list[tuple[str, int, float, float]] = field(default_factory=list)
    fuse: list[tuple[str, int, int, str, float, float]] = field(default_factory=list)
    power: list[tuple[str, int, float]] = field(default_factory=list)
    draw: list[tuple[str, int, int, int]] = field(default_factory=list)
    rejected: list[tuple[str, str, str, int]] = field(default_factory=list)
    duplicate: list[tuple[str, str, str, int, int]] = field(default_factory=list)
    stall_ms: float = 10.0
    speed: float = 60.0
    watch: Body = field(default_factory=dict)
    """What `scale.json` says of a seeded watch."""
    keys: list[Body] = field(default_factory=lambda: [{"key_id": "k1", "spki_hex": SPKI}])
    state_ms: int = END
    spoil_records: Callable[[list[Body]], None] = lambda _rows: None
    spoil_state: Callable[[Body], None] = lambda _state: None

    def body(self, schema: str, **wanted: Any) -> Body:
        """The first body of a schema with these values."""
        return next(
            body
            for _, name, body in self.bodies
            if name == schema and all(body.get(key) == value for key, value in wanted.items())
        )

    def write(self, folder: Path) -> Path:
        """Make the files."""
        evidence = folder / "evidence"
        evidence.mkdir(parents=True)
        scale = {"epoch": "2026-06-13T09:30:00Z", "monotonic": 0, "speed": self.speed, "seed": 1, **self.watch}
        (folder / "scale.json").write_text(json.dumps(scale))
        (folder / "site.toml").write_text(self.site)
        (evidence / "beat.json").write_text(json.dumps({"longest_stall_ms": self.stall_ms}))
        (evidence / "public_keys.json").write_text(json.dumps({"v": 1, "keys": self.keys}))
        for name, lines in (
            ("events", self.story), ("charger_wire", self.charger_wire), ("csms_wire", self.csms_wire),
        ):  # fmt: skip
            ordered = sorted(lines, key=lambda line: line["t"])
            (evidence / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in ordered))
        self._databases(evidence)
        return folder

    def _databases(self, evidence: Path) -> None:
        rows, state = self._sealed()
        tables: dict[str, dict[str, tuple[str, list[Any]]]] = {
            "csms.db": {
                "message": (
                    "charger, message_id, action, payload, received_ms",
                    sorted(self.messages, key=lambda m: m[4]),
                ),
                "tx": ("charger, id", self.tx),
            },
            "cloud.db": {
                "record": (", ".join(rows[0]) if rows else "seq", [tuple(row.values()) for row in rows]),
                "state": ("gw, payload, received_ms", [(GW, json.dumps(state), self.state_ms)]),
                "rejected": ("gw, epoch, lane, seq", self.rejected),
                "duplicate": ("gw, epoch, lane, seq, same", self.duplicate),
            },
            "truth.db": {
                "boundary": ("meter, at_ms, import_wh, export_wh", self.boundary),
                "served": ("meter, at_ms, import_wh, export_wh", self.served),
                "fuse": ("circuit, phase, at_ms, kind, seconds, ratio", self.fuse),
                "power": ("meter, k, max_w", self.power),
                "draw": ("charger, at_ms, current_ma, limit_ma", self.draw),
            },
        }
        for name, wanted in tables.items():
            connection = sqlite3.connect(evidence / name)
            for table, (columns, content) in wanted.items():
                numbered = "n INTEGER PRIMARY KEY, " if table == "message" else ""
                connection.execute(f"CREATE TABLE {table} ({numbered}{columns})")
                marks = ", ".join("?" * len(columns.split(",")))
                connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", content)
            connection.commit()
            connection.close()

    def _sealed(self) -> tuple[list[Body], Body]:
        rows: list[Body] = []
        heads: dict[str, tuple[int, str]] = {}
        for number, (lane, schema, body) in enumerate(self.bodies):
            seq, prev = heads.get(lane, (0, "0" * 64))
            row = {
                "gw": GW, "epoch": EPOCH, "lane": lane, "seq": seq + 1, "rid": f"rid-{number}", "boot": 1,
                "ts": iso(END), "ts_q": "simulated", "schema": schema,
                "prev": prev, "sha256": "", "body": json.dumps(body),
            }  # fmt: skip
            seal(row)
            heads[lane] = (seq + 1, row["sha256"])
            rows.append(row)
        self.spoil_records(rows)
        state = {"v": 1, "gw": GW, "boot": 1, "online": False, "ts": iso(self.state_ms), "epoch": EPOCH, "heads": heads}
        self.spoil_state(state)
        return rows, state


def seal(row: Body) -> None:
    """The envelope's hash, spelled out."""
    head = f"1\n{row['gw']}\n{row['epoch']}\n{row['boot']}\n{row['lane']}\n{row['seq']}\n{row['rid']}\n{row['ts']}\n"
    text = head + f"{row['ts_q']}\n{row['schema']}\n{row['prev']}\n{row['body']}"
    row["sha256"] = hashlib.sha256(text.encode()).hexdigest()

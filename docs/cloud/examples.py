"""One worked example per record kind and message: one afternoon of one house, the numbers close.

A car takes 5320 Wh at box1 on Saturday 2026-06-13; 12:45-13:00 local time is the first quarter hour of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from uuid import UUID

from pydantic import BaseModel

from gateway.cloud.envelope import Ack, Command, Hello, HelloAck, LaneState, Rejected, Reply, State, encode
from gateway.model import OutboxRow
from gateway.records.bodies import (
    Interval,
    Notice,
    OutsideSession,
    ParticipantShare,
    Period,
    PeriodRegister,
    PeriodShare,
    RegisterValue,
    SessionBegin,
    SessionDecision,
    SessionEnd,
    SessionPart,
    Split,
    Thinned,
)
from gateway.store.outbox import GENESIS, envelope_sha256

GW = "zev-musterweg-3"
EPOCH = "5f1d7a84c0de4b2f9a6c3e8b71d204aa"
SESSION = "0b8f4f0e-5a3c-4c58-9d0e-6f2a1c9b7e11"
BEGIN, END = "2026-06-13T10:45:12.000Z", "2026-06-13T12:15:40.000Z"
K = 1_979_275  # 2026-06-13T10:45Z / 900 s


def _ocmf(kind: str, tx: str, wh: int, at: str) -> str:
    reading = {"TM": f"{at} S", "TX": tx, "RV": f"{wh / 1000:.3f}", "RI": "01-00:01.08.00*FF", "RU": "kWh", "ST": "G"}
    head = {
        "FV": "1.0",
        "GI": "ZEV gateway",
        "GS": "musterweg-3-k1",
        "PG": kind,
        "IS": True,
        "ID": "CARD-B",
        "RD": [reading],
    }
    return f'OCMF|{json.dumps(head, separators=(",", ":"))}|{{"SA":"ECDSA-secp256r1-SHA256","SD":"3045..."}}'


def _register(import_wh: int, at_ms: int, export_wh: int | None = None) -> RegisterValue:
    return RegisterValue(
        import_wh=import_wh, export_wh=export_wh, requested_ms=at_ms + 40, replied_ms=at_ms + 95, serial="A0123456",
        model="iem3155", map_version="1", raw=f"{import_wh:016x}",
    )  # fmt: skip


START_MS, END_MS = K * 900_000, (K + 1) * 900_000

BODIES: dict[str, BaseModel] = {
    "session.begin.v1": SessionBegin(
        session=SESSION, charger="box1", connector=1, transaction_id=2147483641, id_tag="CARD-B", tenant="T-huber",
        participant="flat-2", begin=BEGIN, begin_quality="ntp", begin_wh=412_340, begin_provenance="meter",
        charger_begin_wh=77_120, meter="m1", ocmf_begin=_ocmf("T17", "B", 412_340, BEGIN),
    ),
    "session.end.v1": SessionEnd(
        session=SESSION, charger="box1", connector=1, transaction_id=2147483641, id_tag="CARD-B", tenant="T-huber",
        participant="flat-2", begin=BEGIN, end=END, stop=END, begin_quality="ntp", end_quality="ntp", begin_wh=412_340,
        end_wh=417_660, begin_provenance="meter", end_provenance="meter", charger_begin_wh=77_120,
        charger_end_wh=82_431, energy_wh=5320, stop_reason="EVDisconnected", billable=True, unbillable_reason=None,
        meter="m1", meter_serial="A0123456", signed_by="gateway", ocmf_begin=_ocmf("T17", "B", 412_340, BEGIN),
        ocmf_end=_ocmf("T18", "E", 417_660, END),
    ),
    "interval.v1": Interval(
        k=K, start="2026-06-13T10:45:00.000Z", end="2026-06-13T11:00:00.000Z", version=1, state="final",
        balance="meter", key="dynamic", tariff="egbb-2026", tariff_class="HT", quality="ntp",
        at_start={"grid": _register(9_120_400, START_MS, 3_310_200), "pv": _register(0, START_MS, 21_004_000),
                  "m1": _register(412_340, START_MS)},
        at_end={"grid": _register(9_120_500, END_MS, 3_310_200), "pv": _register(0, END_MS, 21_005_100),
                "m1": _register(413_240, END_MS)},
        import_wh=100, export_wh=0, production_wh=1100, consumption_wh=1200, solar_wh=1100,
        shares=[
            ParticipantShare(participant="flat-2", wh=900, solar_wh=825, grid_wh=75, carry_before_nano_wh=0,
                             carry_after_nano_wh=0),
            ParticipantShare(participant="common", wh=300, solar_wh=275, grid_wh=25, carry_before_nano_wh=0,
                             carry_after_nano_wh=0),
        ],
        sessions=[SessionPart(session=SESSION, participant="flat-2", wh=896, solar_wh=821, grid_wh=75)],
        outside=[OutsideSession(meter="m1", participant="flat-2", wh=4, name="standby", owner="flat-2", solar_wh=4)],
    ),
    "split.v1": Split(
        session=SESSION, version=1, state="final", energy_wh=5320, solar_wh=4120, classes_wh={"HT": 75, "NT": 1125},
        solar_by_class_wh={"HT": 821, "NT": 3299}, intervals=[K, K + 1, K + 2, K + 3, K + 4, K + 5, K + 6],
    ),
    "session.decision.v1": SessionDecision(
        session="7d0c7a52-1f6b-4e0b-8a55-3f1f6f3f2c90", version=1, bill=True, basis="meter", begin_wh=398_120,
        end_wh=401_220, energy_wh=3100, unbillable_reason="start_without_stop", actor="petra@haus",
        reason="the car stood there until the next one came; agreed with T-huber", at=END,
    ),
    "period.v1": Period(
        period="2026-06", version=1, state="closed", begin="2026-05-31T22:00:00.000Z", end="2026-06-30T22:00:00.000Z",
        intervals=2880, import_wh=412_000, export_wh=98_000, production_wh=655_000, consumption_wh=969_000,
        solar_wh=557_000, shares=[
            PeriodShare(
                participant="flat-2", tenant="T-huber", begin="2026-05-31T22:00:00.000Z",
                end="2026-06-30T22:00:00.000Z", wh=211_000, solar_wh=120_500, classes_wh={"HT": 61_200, "NT": 29_300},
                solar_by_class_wh={"HT": 98_100, "NT": 22_400},
                registers=[PeriodRegister(meter="f2", begin_wh=8_812_000, begin_serial="A0123456", end_wh=9_023_000,
                                          end_serial="A0123456")],
            ),
            PeriodShare(
                participant="common", tenant="common", begin="2026-05-31T22:00:00.000Z",
                end="2026-06-30T22:00:00.000Z", wh=758_000, solar_wh=436_500,
                classes_wh={"HT": 201_000, "NT": 120_500}, solar_by_class_wh={"HT": 377_000, "NT": 59_500},
            ),
        ],
        actor="petra@haus", reason="bill of June", at="2026-07-02T08:12:44.000Z",
    ),
    "thinned.v1": Thinned(charger="box1", transaction_id=2147483641, quarter=K + 4, received=15, kept=1),
    "notice.v1": Notice(
        kind="meter_silent", subject="meter m3", cause="no answer for 30 s (timeout)",
        next_step="check the bus wiring and the unit address; `zev-gateway scan` shows who answers",
        severity="warning", at="2026-06-13T10:52:31.000Z", data={"bus": "rtu1", "unit": 13},
    ),
}  # fmt: skip


def _chain() -> dict[str, OutboxRow]:
    """The bodies as the lanes carry them, numbered and chained."""
    rows: dict[str, OutboxRow] = {}
    heads: dict[str, tuple[int, str]] = {}
    random = Random(7)  # the same examples at each run
    for name, body in BODIES.items():
        lane = "event" if name in ("thinned.v1", "notice.v1") else "billing"
        seq, prev = heads.get(lane, (0, GENESIS))
        fields = {
            "epoch": EPOCH, "boot": 3, "lane": lane, "seq": seq + 1, "schema": name, "prev": prev,
            "rid": str(UUID(int=random.getrandbits(128), version=4)), "ts": END, "ts_q": "ntp",
            "body": body.model_dump_json(),
        }  # fmt: skip
        sha256 = envelope_sha256(v=1, gw=GW, **fields)  # type: ignore[arg-type]
        rows[name] = OutboxRow(sha256=sha256, **fields)  # type: ignore[arg-type]
        heads[lane] = (seq + 1, sha256)
    return rows


ROWS = _chain()
HEADS = {row.lane: (row.seq, row.sha256) for row in ROWS.values()}

MESSAGES: Mapping[str, BaseModel] = {
    "hello": Hello(gw=GW, hid="9c0f2d4e61b7a385", boot=3, epoch=EPOCH, heads=HEADS),
    "state": State(gw=GW, boot=3, online=True, ts=END, ts_q="ntp", epoch=EPOCH, heads=HEADS),
    "reply": Reply(gw=GW, cid="cmd-4711", state="done", ts=END, result={"connector": "box1/1", "limit_a": 10}),
}

ACKS: Mapping[str, BaseModel] = {
    "hello_ack": HelloAck(
        hid="9c0f2d4e61b7a385",
        lanes={
            "billing": LaneState(epoch=EPOCH, upto=1, sha256=ROWS["session.begin.v1"].sha256),
            "event": LaneState(epoch=EPOCH, upto=0),
        },
    ),
    "ack": Ack(
        lane="billing", epoch=EPOCH, upto=2, missing=[(3, 3)], rejected=[Rejected(seq=2, code="sha256")], credit=50
    ),
    "command": Command.model_validate(
        {"cid": "cmd-4711", "op": "limit", "args": {"connector": "box1/1", "limit_a": 10}, "issued": BEGIN,
         "deadline": END, "actor": "support@cloud.example"}
    ),
}  # fmt: skip


def envelopes() -> dict[str, bytes]:
    """Each record kind as it goes over the wire."""
    return {name: encode(GW, row) for name, row in ROWS.items()}

"""Each sabotage changes what it says in the gateway's own functions; the registry knows nothing of the gateway."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.energy import quarter
from gateway.energy.split import Key
from gateway.model import Reading, Stamp, TimeQuality
from gateway.ocpp import limits
from gateway.ocpp.core import Core
from gateway.records.bodies import SessionEnd, Thinned
from gateway.sessions import writing
from gateway.store import journal
from gateway.store.database import migrate
from gateway.store.journal import NewEntry
from gateway.store.outbox import Identity
from gateway.store.sqlite import connect
from simulators.judge.verdict import TITLES
from simulators.sabotage import FOLDER, NAMES

ROOT = Path(__file__).parents[3]
FRAME = '[2,"m1","MeterValues",{"connectorId":1,"transactionId":2147483647,"meterValue":[]}]'


def apply(name: str) -> None:
    import_module(NAMES[name].module).apply()


def test_every_sabotage_has_its_file_and_breaks_a_known_invariant() -> None:
    assert {sabotage.script for sabotage in NAMES.values()} == set(FOLDER.glob("[!_]*.py"))
    assert all(sabotage.breaks and set(sabotage.breaks) <= set(TITLES) for sabotage in NAMES.values())
    assert {"answer-before-commit", "forget-id-map", "drop-carry"} <= set(NAMES)


def test_the_registry_and_the_judge_import_nothing_of_the_gateway() -> None:
    code = (
        "import sys, simulators.sabotage, simulators.judge.__main__; "
        "print([name for name in sys.modules if name.split('.')[0] == 'gateway'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [["drop-carry", "run"], ["skip-fallback", "run", "--config", "/nowhere.toml"]])
def test_the_gateway_s_own_command_line_runs_behind_it(arguments: list[str]) -> None:
    """The exit code and the sentence are the gateway's."""
    done = subprocess.run(
        [sys.executable, "-m", "simulators.sabotage", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("zev-gateway: ")


def test_an_unknown_name_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "simulators.sabotage", "gremlins"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "answer-before-commit" in done.stderr


def entry(number: int, at_ms: int, action: str = "MeterValues") -> NewEntry:
    return NewEntry(
        charger="box1", at_ms=at_ms, ts_q="simulated", boot=1, action=action, connector=1, transaction_id=7,
        message_id=f"m{number}", frame=f'[2,"m{number}","{action}",{{}}]',
    )  # fmt: skip


def test_answer_before_commit_keeps_meter_values_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "append", journal.append)
    apply("answer-before-commit")
    db = connect(tmp_path / "billing.db")
    migrate(db)

    def on_disk() -> list[str]:
        return [row[0] for row in db.execute("SELECT message_id FROM journal ORDER BY entry")]

    journal.append(db, entry(1, 0))
    journal.append(db, entry(2, 60_000))
    assert on_disk() == []
    journal.append(db, entry(3, 61_000, "StopTransaction"))
    assert on_disk() == ["m3"]
    journal.append(db, entry(4, 250_000))
    assert on_disk() == ["m3", "m1"]
    db.close()


def message(text: str = FRAME) -> Any:
    at = text.index("2147483647")
    return SimpleNamespace(frame=SimpleNamespace(text=text), transaction_span=(at, at + 10), transaction_id=2147483647)


NO_CORE: Any = SimpleNamespace()
"""Which text leaves depends on the message and the id alone."""


def test_forget_id_map_lets_the_local_id_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Core, "for_csms", Core.for_csms)
    assert '"transactionId":1001' in Core.for_csms(NO_CORE, message(), 1001)[0]
    apply("forget-id-map")
    assert Core.for_csms(NO_CORE, message(), 1001)[0] == FRAME


def test_rewrite_frame_says_the_same_in_other_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Core, "for_csms", Core.for_csms)
    right = Core.for_csms(NO_CORE, message(), 1001)[0]
    apply("rewrite-frame")
    rewritten = Core.for_csms(NO_CORE, message(), 1001)[0]
    assert rewritten != right
    assert json.loads(rewritten) == json.loads(right)


def test_drop_carry_starts_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarter, "allocate", quarter.allocate)
    arguments = (100, 100, {"a": 50, "b": 70}, {"a": 400_000_000, "b": -400_000_000}, Key())
    assert quarter.allocate(*arguments).shares["a"].carry_before == 400_000_000
    apply("drop-carry")
    assert quarter.allocate(*arguments).shares["a"].carry_before == 0


def test_double_record_writes_the_end_twice_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "append", writing.append)
    apply("double-record")
    db = connect(tmp_path / "billing.db")
    migrate(db)
    body = Thinned(charger="box1", transaction_id=1, quarter=1, received=1, kept=1)
    stamp, ids = Stamp(0, TimeQuality.SIMULATED), random.Random(1)
    for schema in ("session.begin.v1", "session.end.v1"):
        writing.append(db, Identity("gw", "e", 1), ids, stamp, schema, body)
    rows = db.execute("SELECT schema, count(DISTINCT rid) FROM outbox GROUP BY schema").fetchall()
    assert dict(rows) == {"session.begin.v1": 1, "session.end.v1": 2}
    db.close()


def test_shift_register_signs_and_tells_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The begin and the kept reading stay true: only what is signed and told of the end is shifted."""
    signed: list[tuple[str, int | None]] = []
    told: list[tuple[int | None, int | None]] = []

    def sign(_self: Any, _db: Any, _session: Any, kind: str, _letter: Any, reading: Reading, _begin: Any) -> str:
        signed.append((kind, reading.import_wh))
        return ""

    def append(_db: Any, _who: Any, _random: Any, _stamp: Any, _schema: str, body: Any) -> None:
        told.append((body.end_wh, body.energy_wh))

    monkeypatch.setattr(writing.Writer, "_sign", sign)
    monkeypatch.setattr(writing, "append", append)
    apply("shift-register")
    nobody: Any = None
    reading = Reading("m1", 0, 0, TimeQuality.SIMULATED, import_wh=100)
    for kind in ("begin", "end"):
        writing.Writer._sign(nobody, nobody, nobody, kind, "E", reading)
    assert signed == [("begin", 100), ("end", 101)]
    body = SessionEnd.model_construct(end_wh=100, energy_wh=60)
    writing.append(nobody, nobody, nobody, nobody, "session.end.v1", body)
    assert told == [(101, 61)]


def test_skip_fallback_believes_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.Limits, "_write_fallbacks", limits.Limits._write_fallbacks)
    apply("skip-fallback")
    done: list[Any] = []
    box: Any = SimpleNamespace(
        _fallbacks={1: "profile of connector"}, _confirmed={}, _rewrite={1}, _core=SimpleNamespace(do=done.append),
    )  # fmt: skip
    limits.Limits._write_fallbacks(box)
    assert box._confirmed == {1: "profile of connector"}
    assert [type(action).__name__ for action in done] == ["SaveFallbacks"]

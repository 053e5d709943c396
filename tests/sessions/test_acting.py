"""The commands of a person say the daemon exactly what was typed, and say back in one sentence what became of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.command import acting

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was asked of a daemon that answers everything."""
    questions: list[dict[str, Any]] = []

    def act(_state: Any, _run: Any, _config: Any, op: str, **args: Any) -> dict[str, Any]:
        questions.append({"op": op, **args})
        return {"restored": "2026-06-13T09:45:00.000Z", "actor": "petra", "reason": "compared",
                "bill": args.get("decision") == "bill", "energy_wh": 900, "version": 1, "consumption_wh": 10,
                "solar_wh": 4, "values": 2, "changed": 1, "outbox": 3, "journal": 5,
                "periods": [{"period": "2026-04", "state": "closed", "at": "2026-05-02", "actor": "petra",
                             "reason": "bill", "late": 2}]}  # fmt: skip

    monkeypatch.setattr(acting, "act", act)
    monkeypatch.setattr(acting.getpass, "getuser", lambda: "petra")
    return questions


@pytest.mark.parametrize(
    ("words", "question", "said"),
    [
        (["session", "decide", "S1", "bill", "--end-wh", "7900", "--reason", "seen"],
         {"op": "session.decide", "session": "S1", "decision": "bill", "end_wh": 7900, "reason": "seen",
          "actor": "petra", "basis": "meter"}, "900 Wh are billed"),
        (["session", "decide", "S1", "waive", "--reason", "gift", "--actor", "kim"],
         {"op": "session.decide", "session": "S1", "decision": "waive", "reason": "gift", "actor": "kim",
          "basis": "meter"}, "it is waived"),
        (["period", "close", "2026-04", "--reason", "bill", "--accept-provisional"],
         {"op": "period", "act": "close", "period": "2026-04", "reason": "bill", "actor": "petra",
          "accept_provisional": True}, "2026-04 is closed: 10 Wh, 4 Wh of them solar"),
        (["period", "reopen", "2026-04", "--reason", "meter", "--rules", "current"],
         {"op": "period", "act": "reopen", "period": "2026-04", "reason": "meter", "actor": "petra",
          "rules": "current"}, "2026-04 is open again"),
        (["period", "list"], {"op": "period", "act": "list"}, "petra: bill  (2 quarter hours would change)"),
        (["epoch", "confirm", "--reason", "compared"],
         {"op": "epoch.confirm", "reason": "compared", "actor": "petra"}, "is checked: petra: compared"),
        (["purge", "--before", "2020-01-01"], {"op": "purge", "before": "2020-01-01"}, "3 messages and 5 journal"),
    ],
)  # fmt: skip
def test_words_become_an_operation(
    asked: list[dict[str, Any]], capsys: Capture, words: list[str], question: dict[str, Any], said: str
) -> None:
    assert main(words) == 0
    assert asked == [question]
    assert said in capsys.readouterr().out


def test_a_closed_period_says_what_is_in_no_bill(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Quarter hours without a balance, and sessions that nobody has decided about: also where it closes at once."""
    body = {"consumption_wh": 10, "solar_wh": 4, "unknown": 3, "undecided": ["s1", "s2"]}
    monkeypatch.setattr(acting, "act", lambda *_, **__: body)
    assert main(["period", "close", "2026-04", "--reason", "bill"]) == 0
    told = capsys.readouterr().out
    assert "3 quarter hours have no balance and are in no sum" in told
    assert "2 sessions in it wait for a decision: zev-gateway sessions --undecided" in told


def test_a_series_is_read_from_a_csv(asked: list[dict[str, Any]], capsys: Capture, tmp_path: Path) -> None:
    file = tmp_path / "leg.csv"
    file.write_text("\ufeffstart,wh\n2026-04-15T09:15:00Z,301\n", encoding="utf-8")
    assert main(["import", "leg", str(file), "--json"]) == 0
    [question] = asked
    assert question["values"] == [{"start": "2026-04-15T09:15:00Z", "wh": 301}]
    assert json.loads(capsys.readouterr().out)["v"] == 1
    file.write_text("start,price\n2026-04-15T09:15:00Z,0.20\n", encoding="utf-8")
    assert main(["import", "price", str(file), "--unit", "CHF/kWh", "--without-vat"]) == 0
    assert asked[1] | {"op": "import"} == {
        "op": "import", "series": "price", "values": [{"start": "2026-04-15T09:15:00Z", "price": "0.20"}],
        "source": "leg.csv", "unit": "CHF/kWh", "vat_included": False,
    }  # fmt: skip


def test_a_long_series_goes_in_parts(asked: list[dict[str, Any]], capsys: Capture, tmp_path: Path) -> None:
    """A year does not fit into one question; each part does, and the counts are summed."""
    file = tmp_path / "year.csv"
    rows = "".join(f"2026-04-15T09:15:00.{n:06d}Z,{n}\n" for n in range(1_200))
    file.write_text(f"start,wh\n{rows}", encoding="utf-8")
    assert main(["import", "leg", str(file)]) == 0
    assert [len(question["values"]) for question in asked] == [500, 500, 200]
    assert all(len(json.dumps(question)) < 64 * 1024 for question in asked)
    assert "6 quarter hours, 3 of them" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"start,wh\n2026-04-15T09:15:00Z,1.5\n", "line 2: wh must be whole"), (b"\xff\xfe", "is no CSV in UTF-8")],
)
def test_a_series_that_cannot_be_is_one_sentence(
    asked: list[dict[str, Any]], capsys: Capture, tmp_path: Path, content: bytes, told: str
) -> None:
    file = tmp_path / "leg.csv"
    file.write_bytes(content)
    assert main(["import", "leg", str(file)]) == 2
    assert asked == []
    captured = capsys.readouterr()
    assert told in captured.err
    assert len(captured.err.splitlines()) == 1
    assert main(["import", "leg", str(tmp_path / "none.csv")]) == 2

"""A signed value is journaled and never thinned, also where the box does not say that it is one."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.store import journal
from tests.ocpp.bench import Bench, meter, start, started
from tests.records.test_wrappers import KNOWN

OCMF = 'OCMF|{"FV":"1.0"}|{"SD":"00"}'
ALFEN = "AP;0;3;ABC;DEF;GHI;"
WRAPPED = '{"signedMeterData":"T0NNRg==","encodingMethod":"OCMF"}'
LOCAL = 2**31 - 1


def _with_value(message_id: str, transaction: int, value: Any, **sample: Any) -> list[Any]:
    frame = meter(message_id, transaction, 20, **sample)
    frame[3]["meterValue"][0]["sampledValue"][0]["value"] = value
    return frame


@pytest.mark.parametrize("value", [OCMF, ALFEN, WRAPPED, *(one[0] for one in KNOWN)])
def test_an_unmarked_signed_value_is_on_disk_before_the_csms_sees_it(value: str) -> None:
    """Design rule 1: not relayed as a periodic one; and the bytes are those that came."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.say("csms", started("s1", 5))
    bench.take("csms")
    bench.disk_full = True
    bench.say("charger", _with_value("m1", 5, value))
    assert bench.take("csms") == []
    bench.disk_full = False
    bench.say("charger", _with_value("m2", 5, value))
    assert bench.take("csms") == [_with_value("m2", 5, value)]
    assert [row[0] for row in bench.journal()] == ["StartTransaction", "MeterValues"]
    bench.say("csms", [3, "m2", {}])
    bench.db.execute("INSERT INTO cursor (name, entry) VALUES ('sessions', 99)")
    assert journal.prune(bench.db, 0, 100) == 0, "and it stays (rule R34)"
    bench.db.execute("UPDATE journal SET signed = 0")
    assert journal.prune(bench.db, 0, 100) == 1, "the mark alone keeps it"


def test_unmarked_signed_values_are_never_thinned() -> None:
    """After hours without the CSMS one plain value of a quarter hour stays, and every signed one."""
    bench = Bench().accepted()
    bench.close("csms")
    bench.say("charger", start())
    bench.later(3 * 3600)
    for number in range(5):
        bench.say("charger", meter(f"p{number}", LOCAL, number))
        bench.say("charger", _with_value(f"m{number}", LOCAL, OCMF + str(number)))
    assert [row[0] for row in bench.journal()].count("MeterValues") == 5 + 1


def test_a_single_signed_sample_without_its_list_is_seen() -> None:
    """Some boxes write the only sampledValue without its list."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.say("csms", started("s1", 5))
    frame = meter("m1", 5, 20)
    frame[3]["meterValue"][0]["sampledValue"] = {"value": OCMF}
    bench.say("charger", frame)
    assert [row[0] for row in bench.journal()] == ["StartTransaction", "MeterValues"]


@pytest.mark.parametrize("value", ["20", 20, None, "OCMF", "AP", '{"meter":1}', ["OCMF|"]])
def test_what_is_no_signed_text_is_relayed_without_a_commit(value: Any) -> None:
    """Design rule 10: few bytes written."""
    bench = Bench().accepted()
    bench.say("charger", start())
    bench.say("csms", started("s1", 5))
    bench.take("csms")
    bench.say("charger", _with_value("m1", 5, value))
    assert bench.take("csms") == [_with_value("m1", 5, value)]
    assert [row[0] for row in bench.journal()] == ["StartTransaction"]

"""The gateway against records that it did not write: public ones, with verdicts that others gave."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.model import Connection
from gateway.records.completeness import Stand, follow, stream_of
from gateway.records.containers import Held, read_container
from gateway.records.facts import Register, facts_of
from gateway.records.judge import UNREADABLE, judge
from gateway.records.public_keys import read_key
from gateway.records.verify import GENESIS, chain_hash
from gateway.store import records
from gateway.store.database import Database
from gateway.store.records import RecordRow
from gateway.store.sqlite import connect

Vector = Callable[[str], str]

VERDICTS = {
    "OCMF_Test_Data_00.xml": ("OCMF", ["valid", "valid"]),
    "Ocmf_Example_OBIS_98.8.0_2.8.0.xml": ("OCMF", ["valid"]),
    "brainpoolP256r1.xml": ("OCMF", ["valid", "valid"]),
    "chargepoint_3.xml": ("OCMF", ["valid"]),
    "ocmf_tariff_1.xml": ("OCMF", ["valid"]),
    "second_key_fail_ocmf.xml": ("OCMF", ["valid", "invalid"]),
    "test_ocmf_keba_kcp30.xml": ("OCMF", ["valid"]),
    "test_ocmf_keba_kcp30_fail.xml": ("OCMF", ["invalid"]),
    "test_ocmf_transaction_two_values.xml": ("OCMF", ["valid", "valid"]),
    "edl-40-01.xml": ("EDL_40_P", ["valid"]),
    "ACU_korrekt.metra.xml": ("EDL_40_MENNEKES", ["valid"]),
    "ACU_falsch.metra.xml": ("EDL_40_MENNEKES", ["invalid"]),
    "isa-edl-40p-ok.xml": ("ISA_EDL_40_P", ["valid"]),
    "valid.pcdf": ("PCDF", ["unsupported"]),
}
"""File -> its format, and value by value what Transparenzsoftware 1.4.1 and independent implementations say."""

NAMES = list(VERDICTS)


def verdicts(held: list[Held]) -> Iterator[tuple[str, str]]:
    for one in held:
        facts = facts_of(one.text)
        key = (read_key(one.key) or UNREADABLE) if one.key else facts.key
        judgement = judge(one.text, key, facts)
        yield judgement.facts.format.value, judgement.verdict.value


@pytest.mark.parametrize("name", NAMES)
def test_the_known_format_and_verdict(vector: Vector, name: str) -> None:
    format_, expected = VERDICTS[name]
    held = read_container(vector(name))
    assert list(verdicts(held)) == [(format_, verdict) for verdict in expected]


REGISTERS = {
    "edl-40-01.xml": ("0c cb", "0c cc"),
    "isa-edl-40p-ok.xml": ("0F544B92", "0F544B93"),
    "ACU_korrekt.metra.xml": ("Value>248495<", "Value>248496<"),
}
"""Where the register stands in those that are no OCMF."""


@pytest.mark.parametrize("name", NAMES[:-1])
def test_a_changed_register_is_found(vector: Vector, name: str) -> None:
    """In every record that is valid the register is moved by one digit: none stays so."""
    for one in read_container(vector(name)):
        key = read_key(one.key or "") or facts_of(one.text).key
        if judge(one.text, key).verdict.value != "valid":
            continue
        before, after = REGISTERS.get(name, (r'("RV" ?: ?"? *)([0-9])', ""))
        if after:
            changed = one.text.replace(before, after)
        else:
            changed = re.sub(before, lambda found: found[1] + str((int(found[2]) + 1) % 10), one.text, count=1)
        assert changed != one.text
        assert judge(changed, key).verdict.value == "invalid"


async def test_every_text_comes_back_byte_for_byte_after_a_restart(vector: Vector, tmp_path: Path) -> None:
    """Valid, invalid and odd ones: their SHA-256 is the same when another process opens the store."""
    texts = [one.text for name in NAMES for one in read_container(vector(name))]
    texts += ["", "\ufeff ü \r\n\t\x00\u2028 \U0001f600", 'OCMF|{"RV" : 1.10}|{"SD":""}\r\n']
    before = [hashlib.sha256(text.encode()).hexdigest() for text in texts]

    def keep(db: Connection) -> None:
        prev = GENESIS
        for text in texts:
            row = RecordRow(
                session="s", kind="passed_through", signed_by="charger", key_id="", charge_point="box1/1",
                pagination=None, text=text, reading=None, prev=prev, sha256=chain_hash(prev, text),
            )  # fmt: skip
            records.append(db, row)
            prev = row.sha256

    with ThreadPoolExecutor(1) as executor:
        database = await Database.open(tmp_path / "b.db", connect, executor)
        await database.run(keep)
        await database.close()
        again = await Database.open(tmp_path / "b.db", connect, executor)
        rows = await again.run(lambda db: list(records.everything(db)))
        await again.close()
    assert [hashlib.sha256(row.text.encode()).hexdigest() for row in rows] == before


def test_what_the_texts_state(vector: Vector) -> None:
    """Serials, pages and registers digit by digit: 2935.600 would stay 2935.600."""
    (keba,) = read_container(vector("test_ocmf_keba_kcp30.xml"))
    facts = facts_of(keba.text)
    assert (facts.signer, facts.meter, facts.letter, facts.page) == ("17619300", "", "T", 32)
    assert [(one.kind, one.value, one.unit, one.clock) for one in facts.registers] == [
        ("B", "0.2596", "kWh", "I"), ("E", "0.2597", "kWh", "R"),
    ]  # fmt: skip
    (edl,) = read_container(vector("edl-40-01.xml"))
    facts = facts_of(edl.text)
    assert (facts.meter, facts.page) == ("09014553591103956940", 33)
    assert facts.registers == (Register("", "327.5", "Wh", "1-0:1.17.0", "", ""),)
    (mennekes,) = read_container(vector("ACU_korrekt.metra.xml"))
    assert [one.value for one in facts_of(mennekes.text).registers] == ["24849.0", "24849.5"]


@pytest.mark.parametrize("name", ["OCMF_Test_Data_00.xml", "brainpoolP256r1.xml"])
def test_complete_pairs_raise_no_alarm(vector: Vector, name: str) -> None:
    stand: Stand | None = None
    for one in read_container(vector(name)):
        facts = facts_of(one.text)
        assert stream_of(facts)[2] == "T"
        stand, problems = follow(stand, facts)
        assert problems == []

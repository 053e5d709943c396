"""Sessions, quarter hours and reports as tables: golden rows, dialects, sums that agree whatever the cut."""

from __future__ import annotations

import csv
import io
import random
from dataclasses import replace
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.export.company_car import HEADER as CAR_HEADER
from gateway.export.company_car import car_month
from gateway.export.dialects import DIALECTS, kwh, local_text, write_table
from gateway.export.explain import explain_text, quarters_of
from gateway.export.facts import ended_sessions, rules_of, session
from gateway.export.interval_table import HEADER as INTERVAL_HEADER
from gateway.export.interval_table import interval_rows
from gateway.export.report import report, report_json, report_table, total
from gateway.export.session_facts import SessionFacts, mask
from gateway.export.session_table import class_columns, session_table
from gateway.model import Connection
from gateway.store.sqlite import connect, connect_read_only
from tests.sessions.conftest import ms
from tests.sessions.test_random_days import random_day

ZURICH = ZoneInfo("Europe/Zurich")
DAY = (ms("2026-04-14T22:00:00Z"), ms("2026-04-15T22:00:00Z"))


def rows_of(data: bytes, delimiter: str = ",") -> list[dict[str, str]]:
    """A file as another program reads it."""
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=delimiter))


def test_the_columns_of_the_session_file_are_the_agreed_ones(db: Connection) -> None:
    """The header to the letter (billing reference 3.5)."""
    header, _ = session_table("gw", ZURICH, ended_sessions(db))
    assert header == [
        "record_id",
        "site",
        "charger",
        "connector",
        "meter_serial",
        "user_id",
        "tag_masked",
        "start_utc",
        "start_local",
        "end_utc",
        "end_local",
        "register_start_wh",
        "register_stop_wh",
        "energy_wh",
        "solar_wh",
        "ht_wh",
        "nt_wh",
        "battery_grid_wh",
        "quality",
        "split_version",
        "ocmf_sha256",
        "prev_hash",
        "hash",
    ]


def test_a_session_row_holds_what_the_registers_said(db: Connection) -> None:
    """Golden values of the plain day: registers, both times, energy = sun + classes."""
    header, rows = session_table("gw", ZURICH, ended_sessions(db))
    first, second = rows_of(write_table(header, rows, DIALECTS["rfc4180"]))
    assert first["start_local"] == "2026-04-15T11:16:00+02:00"
    assert (first["start_utc"], first["end_utc"]) == ("2026-04-15T09:16:00Z", "2026-04-15T09:40:00Z")
    assert (first["register_start_wh"], first["register_stop_wh"], first["energy_wh"]) == ("7000", "8100", "1100")
    assert int(first["solar_wh"]) + int(first["ht_wh"]) + int(first["nt_wh"]) == 1100
    assert (first["user_id"], first["tag_masked"], first["quality"]) == ("anna", "****D-A", "measured + time ntp")
    assert (second["user_id"], second["tag_masked"], second["energy_wh"]) == ("", "****E6F7", "703")
    assert len(first["ocmf_sha256"]) == len(first["hash"]) == len(first["prev_hash"]) == 64


def test_a_session_without_an_end_register_is_exported_with_its_reason(db: Connection, spoil: Any) -> None:
    """No energy is invented: the cells stay empty, the quality says why."""
    spoil(
        "UPDATE session SET billable = 0, unbillable_reason = 'no_end_register', end_wh = NULL, split = NULL "
        "WHERE transaction_id = 1"
    )
    header, rows = session_table("gw", ZURICH, ended_sessions(db))
    first = rows_of(write_table(header, rows, DIALECTS["rfc4180"]))[0]
    assert (first["energy_wh"], first["solar_wh"], first["ht_wh"]) == ("", "", "")
    assert first["quality"] == "unbillable: no_end_register + time ntp"


def test_what_a_person_decided_has_the_energy_of_the_decision(db: Connection, spoil: Any) -> None:
    """A decision by the charger's registers gives energy, named as decided, without a split."""
    spoil("UPDATE session SET billable = 0, end_wh = NULL, split = NULL WHERE transaction_id = 1")
    spoil(
        "INSERT INTO decision (session, version, at_ms, bill, begin_wh, end_wh, basis, body) "
        "SELECT id, 1, 0, 1, 5000, 6234, 'charger', '{}' FROM session WHERE transaction_id = 1"
    )
    one = next(iter(ended_sessions(db)))
    assert (one.energy_wh, one.solar_wh, one.billable) == (1234, None, True)
    assert one.quality.startswith("decided, charger + split outstanding")


def test_a_session_counts_where_it_ended(db: Connection) -> None:
    """At the very instant of a cut it belongs to the later period, and to no other."""
    [first, second] = ended_sessions(db)
    assert [one.id for one in ended_sessions(db, 0, first.end_ms)] == []
    assert [one.id for one in ended_sessions(db, first.end_ms, first.end_ms + 1)] == [first.id]
    assert [one.id for one in ended_sessions(db, first.end_ms + 1, second.end_ms + 1)] == [second.id]


@pytest.mark.parametrize(
    ("name", "delimiter", "number", "mark"),
    [("excel-de", ";", "1,100", True), ("excel-ch", ";", "1.100", True), ("rfc4180", ",", "1.100", False)],
)
def test_dialects(name: str, delimiter: str, number: str, mark: bool) -> None:
    """Delimiter, decimal sign, byte order mark, CRLF; read back, every cell is what it was."""
    dialect = DIALECTS[name]
    cells = ["a", 5, None, 'say "x";,\r\ny', kwh(1100, dialect)]
    data = write_table(["c1", "c2", "c3", "c4", "c5"], [cells], dialect)
    assert data.startswith(b"\xef\xbb\xbf") is mark
    assert data.endswith(b"\r\n")
    assert not data.decode("utf-8-sig").startswith("sep=")
    [row] = rows_of(data, delimiter)
    assert list(row.values()) == ["a", "5", "", 'say "x";,\r\ny', number]


@given(st.text(max_size=20), st.sampled_from(sorted(DIALECTS)))
def test_no_cell_is_a_formula_and_none_breaks_the_table(text: str, name: str) -> None:
    """Whatever a card is called: no spreadsheet computes it, and a reader finds the cells again."""
    dialect = DIALECTS[name]
    data = write_table(["a", "b"], [[text, "end"]], dialect)
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=dialect.delimiter)
    [_, row] = list(reader)
    assert row[1] == "end"
    assert not row[0].startswith(("=", "+", "@", "\t", "\r"))
    assert not row[0].startswith("-") or row[0][1:].replace(dialect.decimal, "", 1).isdecimal()
    assert row[0].removeprefix("'") == text.removeprefix("'")


def test_the_repeated_hour_has_two_spellings() -> None:
    """2026-10-25 02:30 comes twice; the offset tells them apart."""
    first, second = ms("2026-10-25T00:30:00Z"), ms("2026-10-25T01:30:00Z")
    assert local_text(first, ZURICH) == "2026-10-25T02:30:00+02:00"
    assert local_text(second, ZURICH) == "2026-10-25T02:30:00+01:00"


def test_classes_have_columns_of_their_own() -> None:
    """HT and NT where there is nothing else; any other class by its name."""
    assert class_columns([]) == {"HT": "ht_wh", "NT": "nt_wh"}
    assert class_columns(["NT"]) == {"HT": "ht_wh", "NT": "nt_wh"}
    assert class_columns(["summer", "HT"]) == {"HT": "ht_wh", "summer": "class_summer_wh"}


def test_a_card_is_masked() -> None:
    """Never more than half of it, never more than four characters."""
    assert [mask(card) for card in ("04A2B3C4D5E6F7", "CARD-A", "AB", "A", "")] == [
        "****E6F7", "****D-A", "****B", "****", "****",
    ]  # fmt: skip


def test_the_quarter_hours_close(db: Connection) -> None:
    """Every meter's line is its register difference; sun and grid of the participants sum to the house."""
    rows = [
        dict(zip(INTERVAL_HEADER, row, strict=True))
        for row in interval_rows(db, ZURICH, *DAY, rules_of(db)["house"]["metered"])
    ]
    of_box = [row for row in rows if row["meter"] == "m1" and row["wh"] is not None]
    assert [(row["register_wh"], row["wh"], row["quality"]) for row in of_box] == [
        (7000, 700, "measured"), (7700, 900, "measured"), (8600, 205, "measured"),
    ]  # fmt: skip
    assert {row["meter"] for row in rows} == {"flat", "grid", "m1", "pv", "participant:common"}
    last = [row for row in rows if row["interval_start_utc"] == "2026-04-15T09:45:00Z"]
    house = [row for row in last if row["solar_wh"] is not None]
    assert sum(int(str(row["solar_wh"])) for row in house) == 200
    assert sum(int(str(row["grid_wh"])) for row in house) == 601
    assert all(int(str(row["solar_wh"])) + int(str(row["grid_wh"])) == row["wh"] for row in house)


async def test_a_gap_sums_to_its_registers(house: Any) -> None:
    """Random silent meters: the lines of a meter, estimated ones included, sum to last minus first."""
    await random_day(house, 2, lives=2, quarters=6)
    db = connect_read_only(house.path / "billing.db")
    rows = list(interval_rows(db, ZURICH, *DAY, rules_of(db)["house"]["metered"]))
    registers = db.execute("SELECT json_extract(boundary, '$.m1.import_wh') FROM interval ORDER BY k").fetchall()
    db.close()
    known = [row[0] for row in registers if row[0] is not None]
    mine = [row for row in rows if row[2] == "m1" and row[3] == "1-1:1.29.0" and row[4] is not None]
    assert {str(row[6]) for row in mine} == {"measured", "estimated"}
    assert sum(int(str(row[4])) for row in mine) == known[-1] - known[0]


def made_up(number: int, draw: random.Random) -> SessionFacts:
    """A session for the sums."""
    energy = draw.choice((None, 0, 1, draw.randint(0, 60_000)))
    split = energy is not None and draw.random() < 0.9
    solar = draw.randint(0, energy) if split and energy is not None else None
    rest = energy - solar if energy is not None and solar is not None else 0
    ht = draw.randint(0, rest)
    return SessionFacts(
        id=f"s{number}", charger=f"box{draw.randint(1, 3)}", connector=1, tenant=draw.choice((None, "anna", "bob")),
        participant="p", id_tag="CARD", begin_ms=0, end_ms=draw.randint(0, 1000), begin_wh=0, end_wh=energy,
        energy_wh=energy, solar_wh=solar, classes_wh={"HT": ht, "NT": rest - ht} if split else {}, battery_grid_wh=0,
        billable=energy is not None, unbillable_reason=None, quality="measured", signed_by="gateway", meter="m",
        meter_serial="1", stop_reason=None, split_version=1, split_state="final",
    )  # fmt: skip


@given(st.integers(0, 10_000), st.lists(st.integers(0, 1000), max_size=4), st.sampled_from(["user", "station"]))
def test_adjacent_reports_add_up(seed: int, cuts: list[int], by: Any) -> None:
    """Any cut into periods, per user or per station, in any order: the sums are the same to the watt-hour."""
    draw = random.Random(seed)
    sessions = [made_up(number, draw) for number in range(draw.randint(0, 12))]
    whole = report_json([total(report(sessions, by))])[0]
    edges = [-1, *sorted(cuts), 1001]
    parts = [total(report([one for one in sessions if low <= one.end_ms < high], by)) for low, high in pairwise(edges)]
    assert report_json([total(parts)])[0] == whole
    draw.shuffle(sessions)
    assert report_json([total(report(sessions, by))])[0] == whole
    other = report_json([total(report(sessions, "station" if by == "user" else "user"))])[0]
    assert other == whole
    assert whole["energy_wh"] == whole["solar_wh"] + sum(whole["classes_wh"].values()) + whole["split_outstanding_wh"]


def test_a_report_of_the_day(db: Connection) -> None:
    """By user and by station, as tables."""
    header, rows = report_table(report(ended_sessions(db), "user"), "user")
    assert header[:3] == ["user", "sessions", "energy_wh"]
    assert [(row[0], row[1], row[2]) for row in rows] == [("", 1, 703), ("anna", 1, 1100)]
    _, rows = report_table(report(ended_sessions(db), "station"), "station")
    assert [(row[0], row[1], row[2]) for row in rows] == [("box1/1", 2, 1803)]


def test_the_company_car_of_two_on_one_charger(db: Connection) -> None:
    """The readings of one card less what others took in between are its kWh; the card is compared without case."""
    found = car_month(ended_sessions(db), "card-a", ZURICH, DIALECTS["excel-de"])
    other = car_month(ended_sessions(db), "04a2b3c4d5e6f7", ZURICH, DIALECTS["excel-de"])
    assert (found.sessions, found.energy_wh, other.energy_wh) == (1, 1100, 703)
    row = dict(zip(CAR_HEADER, found.rows[0], strict=True))
    assert (row["register_start_kwh"], row["register_stop_kwh"], row["energy_kwh"]) == ("7,000", "8,100", "1,100")
    assert (row["rfid"], row["meter_serial"]) == ("CARD-A", "SN-m1")
    assert str(row["method"]).startswith("2: register of the meter read by software")
    both = list(ended_sessions(db))
    assert found.energy_wh == (both[-1].end_wh or 0) - (both[0].begin_wh or 0) - other.energy_wh
    assert not any("eur" in name.lower() or "chf" in name.lower() or "price" in name.lower() for name in CAR_HEADER)


def test_an_unmeasured_charge_is_no_reimbursement(db: Connection) -> None:
    """It is named beside the file, never estimated into it."""
    [first, _] = ended_sessions(db)
    lost = replace(first, energy_wh=None, unbillable_reason="no_end_register")
    found = car_month([lost], "CARD-A", ZURICH, DIALECTS["excel-de"])
    assert (found.rows, found.energy_wh, found.unmeasured) == ([], 0, [(first.id, "no_end_register")])


def test_an_explanation_can_be_recomputed_by_hand(db: Connection) -> None:
    """Per quarter hour: sun x point / house + carry = share + carry; and the columns sum to the session."""
    one = session(db, next(iter(ended_sessions(db))).id[:8])
    quarters = quarters_of(db, one)
    for quarter in quarters:
        assert None not in (quarter.house_wh, quarter.sun_wh, quarter.point_wh, quarter.point_sun_wh)
        exact = (quarter.sun_wh or 0) * (quarter.point_wh or 0) * 10**9 // (quarter.house_wh or 1)
        carried = (quarter.carry_before or 0) - (quarter.carry_after or 0)
        assert exact + carried == (quarter.point_sun_wh or 0) * 10**9
        assert quarter.session_sun_wh + quarter.session_grid_wh == quarter.session_wh
    assert sum(quarter.session_wh for quarter in quarters) == one.energy_wh
    assert sum(quarter.session_sun_wh for quarter in quarters) == one.solar_wh
    for language, word in (("de", "Viertelstunde"), ("fr", "Quart d'heure"), ("it", "Quarto d'ora"), ("en", "Quarter")):
        text = explain_text(quarters, ZURICH, language)
        assert word in text
        assert "2026-04-15 11:15-11:30" in text
        assert "? " not in text


def test_a_quarter_hour_that_nobody_measured_is_explained_in_words(db: Connection) -> None:
    """No balance, and none will come: the table says why there is a question mark."""
    known = quarters_of(db, session(db, next(iter(ended_sessions(db))).id[:8]))
    unknown = [replace(known[0], house_wh=None, sun_wh=None, point_wh=None, point_sun_wh=None)]
    for language, words in (("de", "? Was das Haus"), ("fr", "? Personne"), ("it", "? Nessuno"), ("en", "? Nobody")):
        assert explain_text(unknown, ZURICH, language).splitlines()[-1].startswith(words)
    assert "* " in explain_text([replace(unknown[0], state="provisional")], ZURICH, "en").splitlines()[-1]


def test_an_unknown_session_is_one_sentence(db: Connection, day: Any) -> None:
    """Not found, not unique, not ended: each is told."""
    with pytest.raises(LookupError, match="there is no session xyz"):
        session(db, "xyz")
    writer = connect(day.path / "billing.db")
    writer.execute("UPDATE session SET id = 'same-' || transaction_id")
    writer.execute("UPDATE session SET state = 'stopped' WHERE transaction_id = 1")
    writer.close()
    with pytest.raises(LookupError, match="more than one"):
        session(db, "same")
    with pytest.raises(LookupError, match="has not ended"):
        session(db, "same-1")

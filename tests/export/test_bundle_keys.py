"""The bundle of a site whose wallboxes sign: whoever holds it alone can check their texts."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from gateway.command.verification import read_keys, verify_file
from gateway.export.bundle import Scope, write_bundle
from gateway.store import pins
from gateway.store.sqlite import connect
from tests.sessions.conftest import ms
from tests.sessions.test_passed_through import OTHER, charge, ended, note, signed, spki

APRIL = Scope("gw-test", False, ZoneInfo("Europe/Zurich"), ms("2026-04-01T00:00:00Z"), ms("2026-05-01T00:00:00Z"))


async def test_what_chargers_signed_is_checked_with_the_keys_of_the_bundle(house: Any, tmp_path: Path) -> None:
    """As docs/exports.md says it: verify records/ocmf.txt --key keys/keys.json. A refused key does not stand there."""
    begin, end = signed(7, ("B", "2935.600")), signed(8, ("E", "2943.1170"))
    async with house.running():
        await charge(house, 1, note(begin), stop=(note(end),))
        await ended(house)
    writer = connect(house.path / "billing.db")
    refused = replace(pins.everything(writer)[0], spki_hex=spki(OTHER), state="refused")
    pins.add(writer, refused)
    own = {"key_id": house.signer.key_id, "spki_hex": house.signer.public_spki().hex()}
    target = io.BytesIO()
    write_bundle(writer, target, APRIL, [own])
    writer.close()
    folder = tmp_path / "bundle"
    with zipfile.ZipFile(target) as archive:
        archive.extractall(folder)
    listed = json.loads((folder / "keys" / "keys.json").read_text())["keys"]
    assert [one.get("meter_serial") for one in listed] == [None, "EMH1"]
    assert spki(OTHER) not in [one["spki_hex"] for one in listed]
    assert begin in (folder / "records" / "ocmf.txt").read_text().splitlines()
    found = verify_file(folder / "records" / "ocmf.txt", read_keys(folder / "keys" / "keys.json"))
    assert (found.records, found.problems) == (4, [])
    without = verify_file(folder / "records" / "ocmf.txt", [house.signer.public_spki()])
    assert len(without.problems) == 2, "without the charger's key its texts are not known to be right"

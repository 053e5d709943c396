"""Dialects are data: every file loads, and a wrong one says what is wrong."""

from __future__ import annotations

import pytest

from gateway.ocpp.dialect import Dialect, DialectError, from_table
from gateway.ocpp.dialect_files import known_dialects, load_dialect


def test_every_dialect_file_loads_and_the_default_says_what_the_code_says() -> None:
    """The default file is the documentation of the defaults."""
    loaded = {name: load_dialect(name) for name in known_dialects()}
    assert {"default", "grizzl-e", "abb-terra-ac", "garo", "wallbox-pulsar"} <= set(loaded)
    plain = Dialect(name="default", configuration={"MeterValueSampleInterval": "{meter_values_s}"})
    assert loaded["default"] == plain
    assert loaded["abb-terra-ac"].configuration == {}
    assert not loaded["abb-terra-ac"].ask_signing, "quirk 22: it reboots when it is asked for its configuration"
    assert loaded["grizzl-e"].missing_subprotocol == "ocpp1.6"


@pytest.mark.parametrize(
    ("table", "words"),
    [({"pings": True}, "pings"), ({"ping": "yes"}, "ping must be bool"), ({"name": "x"}, "name")],
)
def test_a_wrong_dialect_names_file_and_key(table: dict[str, object], words: str) -> None:
    """One sentence."""
    with pytest.raises(DialectError, match=words):
        from_table("odd", table)


def test_an_unknown_dialect_names_those_that_there_are() -> None:
    """So that a typing error is found."""
    with pytest.raises(DialectError, match="known are abb-terra-ac, default"):
        load_dialect("defualt")

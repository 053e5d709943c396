"""Databases as the real sessions and settlement leave them: a plain day by hand, and days at random."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.model import Connection
from gateway.store.sqlite import connect, connect_read_only
from tests.sessions.conftest import build, small_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Any]:
    """The small house of the session tests: a grid meter, sun, one flat, one box with a meter."""
    built = await build(tmp_path, small_house())
    yield built
    await built.db.close()
    built.world.store.shutdown()


@pytest.fixture
async def day(house: Any) -> Any:
    """Two sessions over three quarter hours; the second one ends in the last, with one refused start in between."""
    async with house.running():
        await house.boundary("09:15:00")
        house.at("09:16:00")
        await house.start(1)
        await house.until("SELECT count(*) FROM session", 1)
        await house.boundary("09:30:00", grid=(100_300, 0), pv=(0, 50_900), flat=(20_400, None), m1=(7_700, None))
        house.at("09:40:00")
        house.meters.registers["m1"] = (8_100, None)
        house.meters.poll("m1")
        await house.stop(1)
        await house.until("SELECT count(*) FROM session WHERE state = 'ended'", 1)
        await house.start(2, card="04A2B3C4D5E6F7")
        await house.until("SELECT count(*) FROM session", 2)
        await house.boundary("09:45:00", grid=(100_300, 200), pv=(0, 52_500), flat=(20_900, None), m1=(8_600, None))
        house.at("09:50:00")
        house.meters.registers["m1"] = (8_803, None)
        house.meters.poll("m1")
        await house.stop(2)
        await house.until("SELECT count(*) FROM session WHERE state = 'ended'", 2)
        await house.boundary("10:00:00", grid=(100_901, 200), pv=(0, 52_700), flat=(21_300, None), m1=(8_805, None))
        await house.until("SELECT count(*) FROM session WHERE split IS NOT NULL", 2)
    return house


@pytest.fixture
def db(day: Any) -> Iterator[Connection]:
    """The database of `day`, read as an export reads it: beside the one that writes."""
    connection = connect_read_only(day.path / "billing.db")
    yield connection
    connection.close()


@pytest.fixture
def spoil(day: Any) -> Any:
    """Change the database behind the gateway's back."""

    def change(sql: str, *parameters: Any) -> None:
        connection = connect(day.path / "billing.db")
        connection.execute(sql, parameters)
        connection.close()

    return change

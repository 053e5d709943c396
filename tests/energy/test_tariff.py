"""The calendar of classes on the local clock."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.energy.tariff import TariffError, check, class_of, interval_of, local_start, period_of
from gateway.site import Tariff, TariffWindow

ZURICH = "Europe/Zurich"
FILES = sorted((Path(__file__).parents[2] / "config" / "tariffs").glob("*.toml"))
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

EGBB = Tariff(
    id="egbb",
    default="NT",
    windows=(
        TariffWindow(name="HT", weekdays=frozenset(range(5)), start_quarter=28, end_quarter=80),
        TariffWindow(name="HT", weekdays=frozenset({5}), start_quarter=28, end_quarter=52),
    ),
)


def at(local: str, tariff: Tariff = EGBB, fold: int = 0) -> str:
    moment = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(ZURICH), fold=fold)
    return class_of(tariff, ZURICH, interval_of(round(moment.timestamp() * 1000)))


def day(of: str) -> list[int]:
    """The intervals of a local day."""
    begin = datetime.fromisoformat(of).replace(tzinfo=ZoneInfo(ZURICH))
    k = interval_of(round(begin.timestamp() * 1000))
    return [n for n in range(k, k + 110) if local_start(ZURICH, n).date() == date.fromisoformat(of)]


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        ("2026-06-12T06:45", "NT"), ("2026-06-12T07:00", "HT"), ("2026-06-12T19:45", "HT"), ("2026-06-12T20:00", "NT"),
        ("2026-06-13T12:45", "HT"), ("2026-06-13T13:00", "NT"), ("2026-06-14T12:00", "NT"),
    ],
)  # fmt: skip
def test_egbb(local: str, expected: str) -> None:
    """HT Monday to Friday 07-20, Saturday 07-13; the start of the interval decides."""
    assert at(local) == expected


@pytest.mark.parametrize(
    ("of", "length"), [("2026-03-29", 92), ("2026-10-25", 100), ("2027-03-28", 92), ("2026-06-13", 96)]
)
def test_days_of_92_96_and_100_quarter_hours(of: str, length: int) -> None:
    assert len(day(of)) == length


def test_both_copies_of_the_repeated_hour_have_one_class() -> None:
    night = Tariff(
        id="t", default="day",
        windows=(TariffWindow(name="night", weekdays=frozenset({6}), start_quarter=8, end_quarter=12),),
    )  # fmt: skip
    classes = Counter(class_of(night, ZURICH, k) for k in day("2026-10-25"))
    assert classes["night"] == 8
    assert at("2026-10-25T02:30", night, fold=0) == at("2026-10-25T02:30", night, fold=1) == "night"
    assert Counter(class_of(night, ZURICH, k) for k in day("2026-03-29"))["night"] == 0


def test_holidays_count_as_sundays_only_where_they_are_listed() -> None:
    friday = "2027-01-01T10:00"
    assert at(friday) == "HT"
    assert at(friday, Tariff(id="h", default="NT", windows=EGBB.windows, holidays=frozenset({"2027-01-01"}))) == "NT"


def test_periods_begin_at_local_midnight() -> None:
    last = interval_of(round(datetime(2026, 6, 30, 23, 45, tzinfo=ZoneInfo(ZURICH)).timestamp() * 1000))
    assert [period_of(ZURICH, k, "month") for k in (last, last + 1)] == ["2026-06", "2026-07"]
    assert [period_of(ZURICH, k, "quarter") for k in (last, last + 1)] == ["2026-Q2", "2026-Q3"]
    assert period_of(ZURICH, last, "year") == "2026"


@pytest.mark.parametrize("windows", [((40, 40),), ((90, 97),), ((-1, 4),), ((10, 20), (15, 30))])
def test_a_calendar_that_cannot_be_is_refused(windows: tuple[tuple[int, int], ...]) -> None:
    built = tuple(
        TariffWindow(name=f"c{n}", weekdays=frozenset({0}), start_quarter=start, end_quarter=end)
        for n, (start, end) in enumerate(windows)
    )
    with pytest.raises(TariffError):
        check(Tariff(id="t", default="d", windows=built))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_tariff_files_lie_on_quarter_hours(path: Path) -> None:
    """Each shipped file: known days, times on the quarter hour, a default for the rest."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    assert table["default"]
    for window in table["windows"]:
        first, last = window.get("from", "00:00"), window.get("to", "24:00")
        assert all(re.fullmatch(r"(0\d|1\d|2[0-4]):(00|15|30|45)", end) for end in (first, last))
        assert first < last
        assert all(name in DAYS for part in window.get("days", "Mon").split(",") for name in part.split("-"))


def test_there_are_tariff_files() -> None:
    assert {"egbb", "mon-sat-6-22", "single"} <= {path.stem for path in FILES}

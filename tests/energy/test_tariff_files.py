"""Tariffs as dated data: real price lists, seasons, years that follow one another; what cannot be is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway.energy.tariff import TariffError, bounds_of, check, class_of, in_force, in_season
from gateway.site import Site, Tariff, TariffWindow
from gateway.site_file import SiteProblems, load_site

ROOT = Path(__file__).parents[2]
ZURICH = "Europe/Zurich"
EXAMPLE = (ROOT / "config" / "site.example.toml").read_text(encoding="utf-8")
HEAD, TAIL = EXAMPLE[: EXAMPLE.index("[tariff]")], EXAMPLE[EXAMPLE.index("# 11. The cloud") :]

Load = Callable[[str], Tariff]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """The tariff of the example site with this [tariff] table."""

    def of(table: str) -> Tariff:
        path = tmp_path / "site.toml"
        path.write_text(f"{HEAD}{table}\n{TAIL}", encoding="utf-8")
        site: Site = load_site(path)
        check(site.tariff)
        return site.tariff

    return of


def at(tariff: Tariff, local: str) -> str:
    moment = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(ZURICH))
    return class_of(tariff, ZURICH, int(moment.astimezone(UTC).timestamp()) // 900)


def counted(tariff: Tariff, period: str) -> Counter[str]:
    """How many quarter hours of a period are of which class."""
    return Counter(class_of(tariff, ZURICH, k) for k in range(*bounds_of(ZURICH, period)))


def test_ekz_2026_has_one_price_in_each_quarter_of_the_year(load: Load) -> None:
    """The hours of each quarter, daylight saving included; it changes at local midnight."""
    tariff = load('[tariff]\nfile = "ekz-2026"')
    assert counted(tariff, "2026") == {"Q1": 90 * 96 - 4, "Q2": 91 * 96, "Q3": 92 * 96, "Q4": 92 * 96 + 4}
    assert (at(tariff, "2026-03-31T23:45"), at(tariff, "2026-04-01T00:00")) == ("Q1", "Q2")
    assert (at(tariff, "2026-12-31T23:45"), at(tariff, "2027-01-01T00:00")) == ("Q4", "Q1")


def test_the_hours_of_egbb_in_a_month_are_those_of_its_price_list(load: Load) -> None:
    """June 2026: 22 weekdays of 13 hours, 4 Saturdays of 6 hours."""
    assert counted(load('[tariff]\nfile = "egbb"'), "2026-06")["HT"] == (22 * 13 + 4 * 6) * 4


def test_monday_to_saturday_from_6_to_22(load: Load) -> None:
    """October 2026, its 100-quarter day is a Sunday: 27 days of 16 hours."""
    found = counted(load('[tariff]\nfile = "mon-sat-6-22"'), "2026-10")
    assert found == {"HT": 27 * 64, "NT": 2980 - 27 * 64}


def test_a_season_may_go_over_the_turn_of_the_year(load: Load) -> None:
    tariff = load('[tariff]\nfile = "sachsenwald"')
    assert [at(tariff, f"{day}T20:30") for day in ("2026-09-30", "2026-10-01", "2027-03-31", "2027-04-01")] == [
        "NT", "HT", "HT", "NT",
    ]  # fmt: skip


def test_one_price_none_and_a_dynamic_one(load: Load) -> None:
    assert counted(load('[tariff]\nfile = "single"'), "2026-02") == {"ET": 28 * 96}
    assert counted(load('[tariff]\nfile = "none"'), "2026-02") == {"GRID": 28 * 96}
    dynamic = load('[tariff]\nfile = "dynamic"')
    assert (dynamic.dynamic, dynamic.vat_included, at(dynamic, "2026-06-01T12:00")) == (True, False, "ST")


def test_a_tariff_follows_another_on_its_day(load: Load, tmp_path: Path) -> None:
    """EGBB until the end of 2026, then another list, then a third; each from local midnight on."""
    for year, name in ((2027, "A"), (2028, "B")):
        text = f'id = "next-{year}"\nvalid_from = {year}-01-01\ndefault = "{name}"\nwindows = []\n'
        (tmp_path / f"{year}.toml").write_text(text, encoding="utf-8")
    tariff = load('[tariff]\nfile = "egbb"\nthen = ["2027.toml", "2028.toml"]')
    moments = ("2026-12-31T23:45", "2027-01-01T00:00", "2027-12-31T23:45", "2028-01-01T00:00")
    assert [at(tariff, moment) for moment in moments] == ["NT", "A", "A", "B"]
    first = bounds_of(ZURICH, "2027")[0]
    assert [in_force(tariff, ZURICH, k).id for k in (first - 1, first)] == ["EGBB", "next-2027"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('{class = "X", from = "07:05", to = "08:00"}', "full quarter of an hour"),
        ('{class = "X", season = "winter"}', "first and the last day"),
        ('{class = "X", season = "02-30..03-01"}', "first and the last day"),
        ('{class = "X", season = "10-01..03-31"}, {class = "Y", season = "03-31..04-01"}', "overlaps"),
        ('{class = "X", season = "06-01..06-30"}, {class = "Y", days = "Sun"}', "overlaps"),
    ],
)
def test_windows_that_cannot_be_are_refused(load: Load, table: str, words: str) -> None:
    with pytest.raises(SiteProblems, match=words):
        load(f'[tariff]\nid = "t"\ndefault = "N"\nwindows = [{table}]')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('default = "N"\nwindows = []\ndynamic = true', "vat_included"),
        ('default = "N"\nwindows = []\nvat_included = true', "vat_included"),
    ],
)
def test_dynamic_prices_must_say_whether_they_hold_vat(load: Load, text: str, words: str) -> None:
    with pytest.raises(SiteProblems, match=words):
        load(f"[tariff]\n{text}")


@pytest.mark.parametrize(
    ("then", "words"),
    [('["single"]', "needs valid_from"), ('["ekz-2026", "ekz-2026"]', "not later than"), ('["no"]', "no tariff")],
)
def test_what_follows_must_say_from_when(load: Load, then: str, words: str) -> None:
    with pytest.raises(SiteProblems, match=words):
        load(f'[tariff]\nfile = "egbb"\nthen = {then}')


def test_seasons_that_do_not_meet_may_have_the_same_hours() -> None:
    days = frozenset(range(7))
    summer = TariffWindow(name="S", weekdays=days, start_quarter=0, end_quarter=96, season=(401, 930))
    winter = TariffWindow(name="W", weekdays=days, start_quarter=0, end_quarter=96, season=(1001, 331))
    check(Tariff(id="t", default="N", windows=(summer, winter)))
    both = TariffWindow(name="B", weekdays=days, start_quarter=0, end_quarter=4)
    with pytest.raises(TariffError, match="overlap"):
        check(Tariff(id="t", default="N", windows=(winter, both)))
    with pytest.raises(TariffError, match="needs the day"):
        check(Tariff(id="t", default="N", windows=(), successors=(Tariff(id="u", default="N", windows=()),)))
    assert [in_season((1001, 331), day) for day in (930, 1001, 1231, 101, 331, 401)] == [
        False, True, True, True, True, False,
    ]  # fmt: skip

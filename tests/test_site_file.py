"""A site file becomes a typed Site, or all of its problems, each with its line and in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.model import ConnectorRef
from gateway.site import Site, TariffWindow
from gateway.site_file import Problem, SiteProblems, load_site, meter_models

ROOT = Path(__file__).parent.parent

GOOD = """\
[site]
id = "house-1"
name = "House 1"
timezone = "Europe/Zurich"

[ocpp]
listen = "0.0.0.0:9100"

[[upstream]]
id = "csms"
url = "ws://csms.example/ocpp/{id}"

[[circuit]]
id = "house"
fuse_a = 40
fuse = "gG"
house_worst_a = 20
meter = "grid"

[[circuit]]
id = "garage"
parent = "house"
fuse_a = 32
fuse = "SLS"

[[bus]]
id = "rtu"
device = "/dev/ttyUSB0"

[[meter]]
id = "grid"
model = "abb_b23"
bus = "rtu"
unit = 1
role = "grid"

[[meter]]
id = "m1"
model = "iem3155"
bus = "rtu"
unit = 2
role = "charger"

[[charger]]
id = "box1"
upstreams = ["csms"]
circuit = "garage"
rotation = "L2L3L1"
max_a = 16
fallback_a = 6
meter = "m1"
participant = "p1"

[[charger]]
id = "box2"

[[charger.connector]]
id = 1
circuit = "garage"
rotation = "L2"
max_a = 32
fallback_a = 0
participant = "p1"

[[charger.connector]]
id = 2
circuit = "garage"
rotation = "L3"
phases = 1
max_a = 32.5
fallback_a = 0
participant = "p1"

[[participant]]
id = "p1"
name = "Boxes"
kind = "charger"

[[participant]]
id = "rest"
name = "The house"
kind = "common"

[[occupancy]]
participant = "p1"
tenant = "t1"
from = 2026-07-01
to = 2026-12-01

[[token]]
id = "CARD-A"
tenant = "t1"

[split]
key = "static"
keys = { p1 = 33.3333, rest = 66.6667 }

[tariff]
id = "EGBB"
default = "NT"
holidays = [2026-12-25]
windows = [
    { class = "HT", days = "Mon-Fri", from = "07:00", to = "20:00" },
    { class = "HT", days = "Sat", from = "07:00", to = "24:00" },
]

[cloud]
broker = "mqtt://broker.example"
"""

Load = Callable[[str], Site]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write a text as a site file and load it."""

    def loader(text: str) -> Site:
        path = tmp_path / "site.toml"
        path.write_text(text, encoding="utf-8")
        return load_site(path)

    return loader


@pytest.fixture
def problems(load: Load) -> Callable[[str], list[Problem]]:
    """The problems of a text."""

    def finder(text: str) -> list[Problem]:
        with pytest.raises(SiteProblems) as caught:
            load(text)
        return list(caught.value.problems)

    return finder


Problems = Callable[[str], list[Problem]]


def line_of(text: str, part: str) -> int:
    """The line (from 1) in which `part` stands first."""
    return text[: text.index(part)].count("\n") + 1


# What a good file means


def test_every_table_arrives_in_the_site(load: Load) -> None:
    """Names, addresses, currents in mA, seconds and shares are what the file says."""
    site = load(GOOD)
    assert (site.id, site.timezone, site.simulation) == ("house-1", "Europe/Zurich", False)
    assert (site.ocpp.host, site.ocpp.port) == ("0.0.0.0", 9100)
    assert site.upstreams[0].url == "ws://csms.example/ocpp/{id}"
    assert [meter.id for meter in site.meters] == ["grid", "m1"]
    assert site.split.keys == {"p1": 333_333, "rest": 666_667}
    assert site.cloud is not None
    assert (site.cloud.host, site.cloud.port, site.cloud.tls) == ("broker.example", 1883, False)
    assert site.source is not None
    assert site.source.name == "site.toml"


def test_a_single_box_has_its_connector_s_keys_in_its_own_table(load: Load) -> None:
    """It becomes connector 1, with its rotation."""
    box = load(GOOD).chargers[0]
    assert [connector.ref for connector in box.connectors] == [ConnectorRef("box1", 1)]
    assert box.connectors[0].rotation == (1, 2, 0)
    assert box.connectors[0].building_phases() == (1, 2, 0)


def test_a_short_rotation_says_how_many_phases_a_connector_has(load: Load) -> None:
    """`L2` is one phase, on the building's L2; amperes may have decimals."""
    one, two = load(GOOD).chargers[1].connectors
    assert (one.phases, one.building_phases()) == (1, (1,))
    assert (two.phases, two.building_phases(), two.max_ma) == (1, (2,), 32_500)


def test_defaults_follow_from_the_neighbours(load: Load) -> None:
    """Limit = fuse, 0.95 of it for an SLS; safe = limit less the house; authority by whether there is a CSMS."""
    site = load(GOOD)
    house, garage = site.circuits
    assert (house.limit_ma, house.safe_ma) == (40_000, 20_000)
    assert (garage.limit_ma, garage.house_worst_ma, garage.safe_ma) == (30_400, 0, 30_400)
    assert [charger.authority for charger in site.chargers] == ["csms", "site"]


def test_days_begin_at_local_midnight(load: Load) -> None:
    """2026-07-01 in Zurich begins at 22:00 UTC of the day before, 2026-12-01 at 23:00."""
    occupancy = load(GOOD).occupancies[0]
    assert occupancy.from_ms == 1_782_856_800_000
    assert occupancy.to_ms == 1_796_079_600_000


def test_inline_windows_become_quarters(load: Load) -> None:
    """07:00 is quarter 28, the day ends at quarter 96."""
    tariff = load(GOOD).tariff
    assert tariff.windows == (
        TariffWindow(name="HT", weekdays=frozenset(range(5)), start_quarter=28, end_quarter=80),
        TariffWindow(name="HT", weekdays=frozenset({5}), start_quarter=28, end_quarter=96),
    )
    assert (tariff.id, tariff.default, tariff.holidays) == ("EGBB", "NT", frozenset({"2026-12-25"}))


def test_a_tariff_may_stand_in_a_file_beside_the_site_file(load: Load, tmp_path: Path) -> None:
    """The name of the file is the id where the file gives none."""
    (tmp_path / "my.toml").write_text(
        'default = "NT"\nwindows = [{ class = "HT", days = "Sun", from = "00:15", to = "00:30" }]\n'
    )
    head = GOOD[: GOOD.index("[tariff]")]
    tariff = load(head + '[tariff]\nfile = "my.toml"\n').tariff
    assert tariff.id == "my"
    assert tariff.windows[0].weekdays == frozenset({6})


@pytest.mark.parametrize("file", sorted((ROOT / "config" / "tariffs").glob("*.toml")), ids=lambda file: file.stem)
def test_a_tariff_that_comes_with_the_gateway_is_named(load: Load, file: Path) -> None:
    """By the name of its file; every one of them has no problem."""
    head = GOOD[: GOOD.index("[tariff]")]
    tariff = load(f'{head}[tariff]\nfile = "{file.stem}"\n').tariff
    assert tariff.default
    assert all(0 <= window.start_quarter < window.end_quarter <= 96 for window in tariff.windows)


def test_the_example_for_installers_has_no_problem() -> None:
    """config/site.example.toml: six boxes, all of them on the garage's fuse."""
    site = load_site(ROOT / "config" / "site.example.toml")
    assert len(site.chargers) == 6
    assert {connector.circuit for connector in site.connectors()} == {"garage"}


def test_the_packaged_meter_models_are_known() -> None:
    """One TOML file each."""
    assert {"abb_b23", "iem3155", "sdm630"} <= set(meter_models())


# What is wrong, and where

BAD = [
    ("unknown key", 'timezone = "Europe/Zurich"', 'timezon = "Europe/Zurich"', "timezon", 'did you mean "timezone"?'),
    ("unknown table", "[split]", "[splitt]", "[splitt]", 'did you mean "split"?'),
    ("wrong type", "fuse_a = 40", 'fuse_a = "40"', 'fuse_a = "40"', "must be a whole number"),
    ("no bool for a number", "max_a = 16", "max_a = true", "max_a = true", "must be a number of amperes"),
    ("missing key", 'name = "House 1"\n', "", "[site]", "name: is missing"),
    ("unknown choice", 'fuse = "gG"', 'fuse = "gg"', 'fuse = "gg"', 'did you mean "gG"?'),
    ("unknown meter model", 'model = "iem3155"', 'model = "iem315"', "iem315", 'did you mean "iem3155"?'),
    ("unknown dialect", 'id = "box2"', 'id = "box2"\ndialect = "acme"', 'dialect = "acme"', "no dialect"),
    ("unknown bus", 'bus = "rtu"\nunit = 2', 'bus = "rtv"\nunit = 2', 'bus = "rtv"', "no bus"),
    ("unknown circuit", 'circuit = "garage"', 'circuit = "garten"', "garten", "no circuit"),
    ("unknown upstream", '["csms"]', '["other"]', '["other"]', "no upstream"),
    ("unknown participant", 'participant = "p1"\ntenant', 'participant = "p9"\ntenant', '"p9"', "no participant"),
    ("unknown parent", 'parent = "house"', 'parent = "hous"', 'parent = "hous"', 'did you mean "house"?'),
    ("two chargers with one id", 'id = "box2"', 'id = "box1"', 'id = "box1"\n\n[[charger.', "two chargers"),
    ("two meters with one id", 'id = "m1"\nmodel', 'id = "grid"\nmodel', 'id = "grid"\nmodel = "iem', "two meters"),
    ("two connectors with one id", "id = 2", "id = 1", 'id = 1\ncircuit = "garage"\nrotation = "L3"',
     "two connectors"),
    ("cycle", 'house_worst_a = 20', 'house_worst_a = 20\nparent = "garage"', 'parent = "garage"', "in a circle"),
    ("fallback too small", "fallback_a = 6", "fallback_a = 5", "fallback_a = 5", "must be 0"),
    ("fallback above max", "fallback_a = 6", "fallback_a = 20", "fallback_a = 20", "must be 0"),
    ("min below 6", "max_a = 16", "max_a = 16\nmin_a = 5", "max_a = 16", "min_a at least 6"),
    ("rotation repeats", '"L2L3L1"', '"L2L2L1"', '"L2L2L1"', "each phase at most once"),
    ("rotation too short", 'rotation = "L3"\nphases = 1', 'rotation = "L3"\nphases = 2', 'rotation = "L3"', "names 1"),
    ("limit above the fuse", "fuse_a = 32", "fuse_a = 32\nlimit_a = 33", "limit_a = 33", "at most the fuse"),
    ("root without worst case", "house_worst_a = 20\n", "", '[[circuit]]\nid = "house"', "house_worst_a: is missing"),
    ("phases of the parent", "house_worst_a = 20", 'house_worst_a = 20\nphases = "L1L2"', '[[circuit]]\nid = "garage"',
     "its parent"),
    ("bus with two lines", 'device = "/dev/ttyUSB0"', 'device = "/dev/ttyUSB0"\nhost = "x"', "device =",
     "one of the two"),
    ("relative device", '"/dev/ttyUSB0"', '"ttyUSB0"', '"ttyUSB0"', "begins with /"),
    ("port on a serial line", 'device = "/dev/ttyUSB0"', 'device = "/dev/ttyUSB0"\nport = 502', "port = 502",
     "no meaning"),
    ("unit twice", "unit = 2", "unit = 1", 'unit = 1\nrole = "charger"', 'the unit of the meter "grid"'),
    ("wrong role", 'unit = 2\nrole = "charger"', 'unit = 2\nrole = "production"', 'meter = "m1"', 'needs "charger"'),
    ("meter of nobody", 'meter = "m1"\n', "", 'role = "charger"', "measures nobody"),
    ("two grid meters", 'unit = 2\nrole = "charger"', 'unit = 2\nrole = "grid"',
     'role = "grid"\n\n[[charger]]', "already a grid meter"),
    ("participant of another kind", 'fallback_a = 6\nmeter = "m1"\nparticipant = "p1"',
     'fallback_a = 6\nmeter = "m1"\nparticipant = "rest"', 'participant = "rest"', 'kind = "charger"'),
    ("a date in quotes", "from = 2026-07-01", 'from = "2026-07-01"', 'from = "2026', "a date without quotes"),
    ("to before from", "to = 2026-12-01", "to = 2026-06-01", "to = 2026-06-01", "must be after from"),
    ("shares do not sum", "p1 = 33.3333", "p1 = 33", "keys = ", "must sum to 100"),
    ("no time zone", '"Europe/Zurich"', '"Mars/Base"', '"Mars/Base"', "no time zone"),
    ("off the quarter hour", 'from = "07:00", to = "20:00"', 'from = "07:10", to = "20:00"', '"07:10"',
     "quarter of an hour"),
    ("no time", 'from = "07:00", to = "20:00"', 'from = "07:00", to = "24:15"', '"24:15"', "must be a local time"),
    ("over midnight", 'from = "07:00", to = "20:00"', 'from = "22:00", to = "06:00"', '"22:00"', "two windows"),
    ("no days", '"Mon-Fri"', '"Mo-Fr"', '"Mo-Fr"', "must be days"),
    ("windows beside a file", '[tariff]\nid = "EGBB"', '[tariff]\nfile = "nowhere"', "windows = ",
     "belongs into the file"),
    ("no tariff file", '[tariff]\nid = "EGBB"', '[tariff]\nfile = "nowhere"', 'file = "nowhere"',
     'no tariff "nowhere"'),
    ("authority without CSMS", 'id = "box2"', 'id = "box2"\nauthority = "both"', 'authority = "both"', "no CSMS"),
    ("url without id", "ocpp/{id}", "ocpp/", "url =", "hold {id}"),
    ("broker without scheme", '"mqtt://broker.example"', '"broker.example"', "broker =", "mqtts://"),
    ("secret without user", '"mqtt://broker.example"', '"mqtt://broker.example"\nsecret = "x"', "[cloud]", "username"),
    ("password for a name", 'id = "box2"', 'id = "box2"\nsecret = "a secret/word"', "secret =",
     "never the secret itself"),
    ("no finite current", "fuse_a = 32", "fuse_a = 32\nlimit_a = inf", "limit_a = inf", "number of amperes"),
    ("no current at all", "max_a = 16", "max_a = nan", "max_a = nan", "number of amperes"),
    ("sun without a grid meter", 'unit = 1\nrole = "grid"', 'unit = 1\nrole = "production"',
     'role = "production"', 'no meter has role = "grid"'),
    ("a speed of no meter", 'device = "/dev/ttyUSB0"', 'device = "/dev/ttyUSB0"\nbaud = 19201', "baud = 19201",
     "usual speed"),
    ("one bracket", '[[bus]]\nid = "rtu"', '[bus]\nid = "rtu"', "[bus]", "two brackets"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "place", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_fault_is_named_with_its_line(problems: Problems, old: str, new: str, place: str, words: str) -> None:
    """One fault in a good file: a problem at its line, in a sentence of one line."""
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    found = problems(text)
    line = line_of(text, place)
    assert any(one.line == line and words in str(one) for one in found), [str(one) for one in found]
    assert all("\n" not in str(one) for one in found)


def test_all_problems_are_told_at_once(problems: Problems) -> None:
    """A fault in one table hides none in another, and they come in the order of the lines."""
    text = GOOD.replace('fuse = "gG"', 'fuse = "x"').replace('circuit = "garage"', 'circuit = "y"', 1)
    text = text.replace("fallback_a = 6", "fallback_a = 1\ncolour = 1").replace('"mqtt://broker.example"', '"z"')
    found = problems(text)
    assert [one.line for one in found] == sorted(one.line for one in found)
    told = "\n".join(str(one) for one in found)
    for words in (
        'not "x"',
        'no circuit with the id "y"',
        "fallback_a: must be 0",
        "colour: is not a known key",
        'not "z"',
    ):
        assert words in told


def test_a_wrong_box_is_the_only_problem(problems: Problems) -> None:
    """Its meter is not blamed for measuring nobody."""
    (found,) = problems(GOOD.replace('rotation = "L2L3L1"', 'rotation = "L2L2L1"'))
    assert "each phase at most once" in found.sentence


def test_broken_toml_is_one_sentence_with_its_line(problems: Problems) -> None:
    """The parser's complaint, its line and column, and no more."""
    (found,) = problems(GOOD.replace('id = "house-1"', "id = house-1"))
    assert found.line == 2
    assert "no valid TOML" in found.sentence


def test_a_text_that_never_ends_is_told_with_a_line(problems: Problems) -> None:
    """The parser says 'end of document' there: it becomes the last line."""
    (found,) = problems('[site]\nid = """x\n\n')
    assert found.line == 4


def test_a_file_of_brackets_is_one_sentence(problems: Problems) -> None:
    """The parser gives up: so do we, in words."""
    (found,) = problems("a = " + "[" * 5000 + "]" * 5000)
    assert "nested too deeply" in found.sentence


def test_a_missing_file_and_a_folder_are_one_sentence(tmp_path: Path) -> None:
    """They have no line."""
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(SiteProblems, match="the file: cannot be read"):
            load_site(path)


def test_a_file_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    """The line of the first byte that is not UTF-8."""
    path = tmp_path / "site.toml"
    path.write_bytes(b"[site]\nname = '\xff'\n")
    with pytest.raises(SiteProblems, match="line 2: the file: is not UTF-8"):
        load_site(path)


def test_an_empty_file_says_what_it_lacks(problems: Problems) -> None:
    """The three tables without which nothing works."""
    told = "\n".join(str(one) for one in problems("# nothing\n"))
    for name in ("[site]", "[[circuit]]", "[tariff]"):
        assert f"has no {name}" in told


def test_a_fault_in_the_tariff_s_own_file_names_that_file(problems: Problems, tmp_path: Path) -> None:
    """The problem stands at [tariff].file and gives the line in the other file."""
    (tmp_path / "my.toml").write_text(
        'default = "NT"\nwindows = [\n{ class = "HT", days = "Sun", from = "1", to = "2" }]\n'
    )
    head = GOOD[: GOOD.index("[tariff]")]
    found = problems(head + '[tariff]\nfile = "my.toml"\n')
    assert all("my.toml, line 3" in one.sentence for one in found)
    assert len(found) == 2

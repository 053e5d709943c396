"""A meter model is a file: every shipped one loads and decodes what its meter sends; a bad one is refused in one
sentence."""

import struct
from fractions import Fraction

import pytest

from gateway.meters.meter_model import MeterModel
from gateway.meters.model_map import MODELS, ModelError, known_models, load_model, parse_model
from gateway.meters.registers import Decoded, decode, decode_serial, in_range


def f32(*values: float) -> list[int]:
    return list(struct.unpack(f">{2 * len(values)}H", struct.pack(f">{len(values)}f", *values)))


def s64(*values: int) -> list[int]:
    return list(struct.unpack(f">{4 * len(values)}H", struct.pack(f">{len(values)}q", *values)))


def s32(*values: int) -> list[int]:
    return list(struct.unpack(f">{2 * len(values)}H", struct.pack(f">{len(values)}i", *values)))


def swapped(*values: int) -> list[int]:
    """32-bit numbers with the low word first, as Carlo Gavazzi sends them."""
    words = s32(*values)
    return [words[i ^ 1] for i in range(len(words))]


def text(value: str, words: int) -> list[int]:
    return list(struct.unpack(f">{words}H", value.encode().ljust(2 * words, b"\0")))


SDM_FAST = {6: f32(10.5, 2.25, 0.5), 12: f32(2400.4, -500.6, 100), 52: f32(1999.8)}
SDM_WORDS = {70: f32(49.98), 72: f32(1551.3740234375, 2.5), **SDM_FAST}
CG_FAST = {12: swapped(10500, 2250, 500), 18: swapped(24004, -5006, 1000), 40: swapped(19998)}
FAST = {"power_w": 2000, "current_ma": (10500, -2250, 500)}
SERIAL = {64512: s32(21047715)}

FRAMES: dict[str, tuple[dict[int, list[int]], Decoded, str | None]] = {
    "sdm630": ({**SDM_WORDS, **SERIAL}, Decoded(1_551_374, 2500, **FAST), "21047715"),
    "sdm72dm2": ({**SDM_WORDS, **SERIAL}, Decoded(1_551_374, 2500, **FAST), "21047715"),
    "sdm120": (
        {6: f32(10.5), 12: f32(-2400.4), 70: f32(50.01), 72: f32(0.5, 1234.0), **SERIAL},
        Decoded(500, 1_234_000, -2400, (10500, 0, 0)),
        "21047715",
    ),
    "abb_b23": (
        {
            20480: s64(123_456, 789),
            23308: s32(1050, 225, 50),
            23316: s32(199_980, 240_040, -50_060, 10_000),
            35072: s32(10_443_210),
            35168: text("B23 ", 2),
        },
        Decoded(1_234_560, 7890, **FAST),
        "10443210",
    ),
    "iem3155": (
        {
            129: s32(17_223_344),
            2999: f32(10.5, 2.25, 0.5),
            3053: f32(2.4004, -0.5006, 0.1, 1.9998),
            3109: f32(50.0),
            3203: s64(9_876_543_210, 12),
        },
        Decoded(9_876_543_210, 12, **FAST),
        "17223344",
    ),
    "em340": (
        {11: [341], 52: swapped(12345), 78: swapped(7), 20480: text("ZY0123456789A", 7), **CG_FAST},
        Decoded(1_234_500, 700, **FAST),
        "ZY0123456789A",
    ),
    "em24": (
        {11: [71], 62: swapped(12345), 66: swapped(99), 92: swapped(7), 4864: text("BN2940012001X", 7), **CG_FAST},
        Decoded(1_234_500, 700, **FAST),
        "BN2940012001X",
    ),
    "pro380": (
        {
            16384: [0x1506, 0x0001],
            20488: f32(50.0),
            20492: f32(10.5, 2.25, 0.5, 1.9998, 2.4004, -0.5006, 0.1),
            24588: f32(77.25),
            24600: f32(0.125),
        },
        Decoded(77_250, 125, **FAST),
        "15060001",
    ),
    "dvh4013": (
        {0: s32(0, 19_998), 10: s32(10500, 2250, 500), 18: s32(49_990), 16384: s32(1234), 16640: s32(99)},
        Decoded(1234, 99, -2000, (10500, 2250, 500)),
        None,
    ),
    "sma": (
        {30053: s32(9304), 30057: s32(1_900_123_456), 30513: s64(55_000_001), 30775: s32(4321)},
        Decoded(55_000_001, None, -4321),
        "1900123456",
    ),
    "huawei": (
        {30015: text("HV2050118467", 10), 30073: s32(10_000), 32080: s32(4321), 32106: s32(1234)},
        Decoded(12_340, None, -4321),
        "HV2050118467",
    ),
}


def image(frames: dict[int, list[int]]) -> dict[int, int]:
    return {start + i: word for start, words in frames.items() for i, word in enumerate(words)}


@pytest.mark.parametrize("name", known_models())
def test_a_shipped_map_reads_its_meters_frame(name: str) -> None:
    frames, expected, serial = FRAMES[name]
    model, registers = load_model(name), image(frames)
    words = {key: [registers[a] for a in range(one.span.address, one.span.end)] for key, one in model.registers.items()}
    decoded = decode(model, words)
    assert (decoded.import_wh, decoded.export_wh, decoded.power_w, decoded.current_ma, decoded.invalid) == (
        expected.import_wh,
        expected.export_wh,
        expected.power_w,
        expected.current_ma,
        (),
    )
    probe = model.probe.register.span
    assert in_range(
        model.probe.register,
        [registers[a] for a in range(probe.address, probe.end)],
        model.probe.low,
        model.probe.high,
    )
    if model.serial is not None:
        span = model.serial.span
        assert decode_serial(model.serial, [registers[a] for a in range(span.address, span.end)]) == serial
    else:
        assert serial is None


def test_every_shipped_map_cites_its_sources() -> None:
    for path in MODELS.glob("*.toml"):
        assert "# Source" in path.read_text(), path.name


def test_the_version_names_the_very_bytes_of_the_map() -> None:
    data = (MODELS / "em24.toml").read_bytes()
    assert parse_model("em24", data).version != parse_model("em24", data + b"\n").version
    assert load_model("em24").version.startswith("em24@")


def altered(model: str, *changes: tuple[str, str]) -> bytes:
    content = (MODELS / f"{model}.toml").read_text()
    for old, new in changes:
        assert old in content
        content = content.replace(old, new)
    return content.encode()


def test_the_partial_counter_of_the_em24_is_refused_as_an_energy_source() -> None:
    """EM24 0x42 can be reset; other products billed from it (evcc PR #17173)."""
    data = altered("em24", ("{ address = 62, type", "{ address = 0x42, resettable = true, type"))
    with pytest.raises(ModelError, match=r"register 66 \(0x0042\) can be reset, so it must not be an energy source"):
        parse_model("em24", data)


def test_no_shipped_map_bills_from_a_register_that_can_be_reset_or_is_a_sum() -> None:
    never = {
        "em24": {66},
        "em340": {60},
        "sdm630": {342, 384, 388, 390},
        "sdm72dm2": {342, 384, 388, 390},
        "sdm120": {342},
        "iem3155": {3255},
        "pro380": {24576},
    }
    for name, addresses in never.items():
        model: MeterModel = load_model(name)
        assert not {one.span.address for one in model.registers.values()} & addresses


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ([("max_block = 11", "max_block = 300")], "meter model em24: max_block: Input should be less than"),
        ([("wh_per_count = 100", "wh_per_count = 10")], "wh_per_count does not agree with scale 100"),
        ([('scale = "1/10"', "scale = 0.1")], "registers.power_w.scale"),
        ([('scale = "1/10"', 'scale = "ten"')], "'ten' is no number"),
        ([('scale = "1/10"', 'scale = "1/0"')], "'1/0' is no number"),
        ([('scale = "1/10"', 'scale = "-1/10"')], "scale must be positive"),
        ([("power_w =", "power_kw =")], "registers.power_kw: unknown value; known are energy_import_wh"),
        ([("address = 92", "address = 900")], "address 900 lies outside of `readable`"),
        ([("max_block = 11", "max_blocks = 11")], "max_block"),
        ([('"7FFFFFFF"', '"seven"')], "invalid.s32"),
        ([("name =", "name")], "not a TOML file"),
    ],
)
def test_a_bad_map_is_refused_in_one_sentence(changes: list[tuple[str, str]], sentence: str) -> None:
    with pytest.raises(ModelError) as refusal:
        parse_model("em24", altered("em24", *changes))
    message = str(refusal.value)
    assert sentence in message
    assert message.startswith("meter model em24: ")
    assert "\n" not in message


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"meter model 'sdm999' is unknown; known are abb_b23, .*, sma"):
        load_model("sdm999")


def test_ten_watt_hour_counts_are_told_apart_from_single_ones() -> None:
    assert load_model("abb_b23").wh_per_count == Fraction(10)
    assert load_model("iem3155").wh_per_count == Fraction(1)
    assert load_model("sdm630").wh_per_count is None

"""Blocks: everything is asked for, within the meter's limits, and no two replies of a meter look alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.meters.blocks import gap_limit, plan_blocks
from gateway.meters.model_map import known_models, load_model
from gateway.site import Bus


@pytest.mark.parametrize("name", known_models())
@given(gap=st.integers(0, 125))
def test_blocks_cover_the_values_within_the_limits_and_differ_in_length(name: str, gap: int) -> None:
    model = load_model(name)
    blocks = plan_blocks(model, gap=gap)
    for register in model.registers.values():
        assert any(block.covers(register.span) for block in blocks.cycle)
    assert blocks.probe.covers(model.probe.register.span)
    everything = [*blocks.cycle, blocks.probe, *([blocks.serial] if blocks.serial else [])]
    for block in everything:
        assert block.count <= model.max_block
        assert block.count % model.step == 0
        assert block.address % model.step == 0
        assert not model.readable or any(area.covers(block) for area in model.readable)
    for table in ("holding", "input"):
        lengths = [block.count for block in everything if block.table == table]
        assert len(set(lengths)) == len(lengths), lengths


@pytest.mark.parametrize("name", known_models())
@pytest.mark.parametrize("limit", [4, 6, 10, 20])
def test_a_learnt_limit_is_kept_to(name: str, limit: int) -> None:
    model = load_model(name)
    for block in plan_blocks(model, gap=40, max_block=limit).cycle:
        assert block.count <= limit


def test_energy_is_asked_for_alone_so_that_the_burst_is_short() -> None:
    blocks = plan_blocks(load_model("sdm630"), gap=125)
    assert [(one.address, one.count) for one in blocks.energy] == [(72, 4)]


def test_an_absent_value_is_not_asked_for() -> None:
    blocks = plan_blocks(load_model("em24"), gap=20, absent=frozenset({"energy_export_wh", "serial"}))
    assert [one.address for one in blocks.energy] == [62]
    assert blocks.serial is None


def test_useless_registers_are_read_only_where_they_are_cheaper_than_a_request() -> None:
    """9600 baud: 40 ms of turnaround and 30 ms of pause are worth 43 registers; TCP reads anything."""
    assert gap_limit(Bus(id="slow", device="/dev/x", baud=9600)) == 43
    assert gap_limit(Bus(id="slower", device="/dev/x", baud=2400)) < 25
    assert gap_limit(Bus(id="tcp", host="meter")) == 125

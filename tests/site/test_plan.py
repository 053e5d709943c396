"""What a seed draws: fuses of all types, meters that step and roll over, and faults that leave the older ones alone."""

from __future__ import annotations

from collections import Counter

from simulators.meter_image import step_wh

from .plan import BEGINNINGS, FAMILIES, FAULT_KINDS, LEAD_S, ROLLS_AT_WH, Plan, make_plan, wrong_by_ms

SEEDS = range(60)


def _plans() -> list[Plan]:
    return [make_plan(seed, 1, 8) for seed in SEEDS]


def test_the_house_hangs_on_every_type_of_fuse_and_an_sls_is_not_used_to_its_last_ampere() -> None:
    houses = [plan.circuits[0] for plan in _plans()]
    assert min(Counter(house.fuse for house in houses)[fuse] for fuse in ("gG", "MCB", "SLS")) >= 10
    assert {house.limit_ma / house.fuse_ma for house in houses if house.fuse == "SLS"} == {0.95}
    assert {house.limit_ma / house.fuse_ma for house in houses if house.fuse != "SLS"} == {1.0}


def test_the_fallbacks_fit_beside_the_worst_case_of_the_house() -> None:
    for plan in _plans():
        for phase in range(3):
            alone_a = sum(box.fallback_a for box in plan.boxes if phase in box.rotation[: box.phases])
            assert (alone_a + plan.house_worst_a) * 1000 <= plan.house_limit_ma


def test_some_meters_step_by_2_wh_and_more_and_some_are_about_to_roll_over() -> None:
    boxes = [box for plan in _plans() for box in plan.boxes]
    floats = [step_wh(box.model, box.level_wh or 0.0) for box in boxes if box.model == "sdm630"]
    assert {1.953125, 3.90625, 7.8125} <= set(floats)
    rolling = [box for box in boxes if box.model == "dvh4013"]
    assert len(rolling) >= 15
    assert all(0 < ROLLS_AT_WH - (box.level_wh or 0.0) <= 3000 for box in rolling)
    assert not any(box.named for box in rolling), "this model has no serial number to tell"


def test_one_watch_in_five_has_a_wrong_clock_also_at_the_first_start_and_where_the_clocks_go_back() -> None:
    plans = [make_plan(seed, 1, 8) for seed in range(600)]
    wrong = [[fault for fault in plan.faults if fault.kind == "clock_wrong"] for plan in plans]
    assert 0.15 <= sum(bool(found) for found in wrong) / len(plans) <= 0.25
    assert sum(any(not fault.at_s for fault in found) for found in wrong) >= 15
    begins = {plan.epoch_ms for plan, found in zip(plans, wrong, strict=True) if found}
    assert begins == {begin_ms - LEAD_S * 1000 for begin_ms in BEGINNINGS.values()}
    assert {wrong_by_ms(fault.size) > 0 for found in wrong for fault in found} == {True, False}
    assert not any(fault.kind == "clock_wrong" for fault in make_plan(1, 24, 8, 0.0).faults)


def test_a_family_of_faults_comes_after_the_others_and_leaves_them_alone() -> None:
    """Numbers on `--only` stay valid when a kind is added to a family."""
    for plan in _plans():
        kinds = [fault.kind for fault in plan.faults]
        older = [kind in FAULT_KINDS for kind in kinds]
        assert older == sorted(older, reverse=True)
    assert FAULT_KINDS.keys().isdisjoint(kind for _, family in FAMILIES.values() for kind in family)

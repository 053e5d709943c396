"""What a bus asks next: deadlines, the burst, the dead, the refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.meters.answer import Answer, Outcome
from gateway.meters.model_map import load_model
from gateway.meters.poll_plan import BusPlan, Kind, Task

SLOT_S = 0.1


def answer(task: Task, at_s: float) -> Answer:
    return Answer(Outcome.GOOD, 0, 0, at_s, at_s + SLOT_S, (1,) * task.span.count)


def plan_of(*periods: float, model: str = "sdm630", rest_s: float = 0.0) -> BusPlan:
    plan = BusPlan()
    for i, period_s in enumerate(periods):
        plan.add(f"m{i}", i + 1, load_model(model), period_s=period_s, rest_s=rest_s, gap=20)
    return plan


class Bus:
    """Serves a plan in slots of 0.1 s; units in `dead` cost half a second and give nothing."""

    def __init__(self, plan: BusPlan, *dead: str) -> None:
        self.plan, self.dead, self.now_s = plan, set(dead), 0.0
        self.log: list[tuple[float, str, Kind]] = []

    def run(self, until_s: float) -> None:
        while self.now_s < until_s:
            task = self.plan.next(self.now_s)
            if task is None:
                self.now_s = min(max(self.plan.due_s(), self.now_s + 0.001), until_s)
                continue
            name, started_s = task.entry.id, self.now_s
            if name in self.dead:
                self.now_s += 0.5
                self.plan.silent(task, self.now_s)
                self.log.append((started_s, f"{name} silent", task.kind))
            else:
                self.now_s += SLOT_S
                self.plan.answered(task, answer(task, started_s), self.now_s)
                if task.complete:
                    self.log.append((started_s, name, task.kind))

    def cycles(self, name: str) -> list[float]:
        return [at_s for at_s, who, kind in self.log if who == name and kind is Kind.CYCLE]


def test_a_meter_is_identified_before_it_is_read() -> None:
    bus = Bus(plan_of(5))
    bus.run(1)
    assert [kind for _, _, kind in bus.log] == [Kind.IDENTIFY, Kind.CYCLE]


def test_the_fast_meter_keeps_its_second_among_ten_slow_ones() -> None:
    bus = Bus(plan_of(1, *[15] * 10))
    bus.run(300)
    at = bus.cycles("m0")
    gaps = [after - before for before, after in itertools.pairwise(at[5:])]
    assert max(gaps) < 1.6
    assert len(at) > 270
    assert all(len(bus.cycles(f"m{i}")) >= 18 for i in range(1, 11))


def test_on_an_overloaded_bus_everyone_still_gets_a_turn() -> None:
    bus = Bus(plan_of(*[1] * 12))
    bus.run(120)
    counts = [len(bus.cycles(f"m{i}")) for i in range(12)]
    assert min(counts) > 25
    assert max(counts) - min(counts) <= 2


def test_the_dead_cost_little_and_are_tried_ever_less_often() -> None:
    bus = Bus(plan_of(1, *[10] * 10), "m3", "m7")
    bus.run(1000)
    tries = [at_s for at_s, who, _ in bus.log if who == "m3 silent"]
    assert len(tries) < 40
    gaps = [after - before for before, after in itertools.pairwise(tries)]
    assert all(2 * n <= gap for n, gap in enumerate(gaps))
    assert gaps[-1] > 50
    assert len(bus.cycles("m0")) > 0.93 * 1000


def test_a_dead_meter_is_probed_at_least_every_five_minutes_and_comes_back() -> None:
    bus = Bus(plan_of(5), "m0")
    bus.run(60_000)
    tries = [at_s for at_s, _, _ in bus.log]
    assert 299 < tries[-1] - tries[-2] < 302
    assert bus.plan.entries["m0"].lost
    bus.dead.clear()
    bus.run(bus.now_s + 310)
    assert not bus.plan.entries["m0"].lost
    assert len(bus.cycles("m0")) >= 1


def test_one_lost_answer_is_no_lost_meter() -> None:
    bus = Bus(plan_of(5))
    bus.run(1)
    bus.dead.add("m0")
    bus.run(5.6)
    assert bus.plan.entries["m0"].misses == 1
    assert not bus.plan.entries["m0"].lost


def test_energy_that_someone_waits_for_comes_first() -> None:
    plan = plan_of(1, 5, 5)
    bus = Bus(plan)
    bus.run(10)
    plan.boundary(10)
    assert plan.demand("m2", 10)
    task = plan.next(10)
    assert task is not None
    assert (task.entry.id, task.kind, task.boundary) == ("m2", Kind.ENERGY, False)
    assert [(one.address, one.count) for one in task.spans] == [(72, 4)]


def test_two_who_wait_share_one_request() -> None:
    plan = plan_of(5)
    Bus(plan).run(2)
    assert plan.demand("m0", 2)
    assert plan.demand("m0", 2)
    task = plan.next(2)
    assert task is not None
    plan.answered(task, answer(task, 2), 2.1)
    assert plan.next(2.1) is None


def test_nobody_waits_for_a_meter_that_is_lost_or_unknown_yet() -> None:
    plan = plan_of(5)
    assert not plan.demand("m0", 0)
    Bus(plan, "m0").run(20)
    assert not plan.demand("m0", 20)


def test_the_burst_reads_the_energy_of_all_before_anything_else_and_the_dead_last() -> None:
    plan = plan_of(1, 5, 5, 5)
    bus = Bus(plan)
    bus.run(20)
    bus.dead.add("m1")
    bus.run(40)
    assert plan.entries["m1"].lost
    plan.entries["m1"].identified = True
    bus.log.clear()
    plan.boundary(bus.now_s)
    bus.run(bus.now_s + 1.2)
    assert [who for _, who, kind in bus.log if kind is Kind.ENERGY] == ["m0", "m2", "m3", "m1 silent"]
    assert [kind for _, _, kind in bus.log][:3] == [Kind.ENERGY] * 3


def test_before_a_boundary_no_time_is_lost_on_those_that_do_not_answer() -> None:
    plan = plan_of(5)
    bus = Bus(plan, "m0")
    bus.run(30)
    due_s = plan.due_s()
    assert plan.next(due_s, boundary_near=True) is None
    assert plan.due_s(boundary_near=True) == float("inf")
    assert plan.next(due_s) is not None


def test_blocks_shrink_until_a_meter_that_gives_ten_registers_answers() -> None:
    """openWB's SDM72: fewer than five requests until it fits, whether it refuses or stays silent."""
    for refuses in (True, False):
        plan = plan_of(5, model="sdm72dm2")
        tried, got, now_s = [], 0, 0.0
        while got < 4:
            now_s += SLOT_S
            task = plan.next(now_s)
            if task is None:
                now_s = plan.due_s()
                continue
            if task.span.count <= 10:
                plan.answered(task, answer(task, now_s), now_s)
                got += task.complete
                continue
            tried.append(task.span.count)
            learnt = plan.refused(task, 2, now_s) if refuses else plan.silent(task, now_s)
            assert learnt is not None
        assert len(tried) < 5, tried
        assert plan.entries["m0"].misses == 0


def test_a_value_that_the_meter_does_not_have_is_learnt_once() -> None:
    """evcc #31143: an EM24 without export register answers exception 2 in each cycle."""
    plan, refusals, now_s, cycles = plan_of(5, model="em24"), 0, 0.0, 0
    while cycles < 5:
        now_s += SLOT_S
        task = plan.next(now_s)
        if task is None:
            now_s = plan.due_s()
        elif task.span.address <= 92 < task.span.end:
            refusals += 1
            plan.refused(task, 2, now_s)
        else:
            plan.answered(task, answer(task, now_s), now_s)
            cycles += task.complete and task.kind is Kind.CYCLE
    assert plan.entries["m0"].absent == {"energy_export_wh"}
    assert plan.entries["m0"].max_block is None
    assert refusals <= 2


def test_a_meter_without_a_serial_number_is_read_all_the_same() -> None:
    plan = plan_of(5)
    task = plan.next(0)
    assert task is not None
    plan.answered(task, answer(task, 0), 0.1)
    learnt = plan.refused(task, 2, 0.2)
    assert learnt is not None
    assert learnt.absent == "serial"
    task = plan.next(0.3)
    assert task is not None
    assert task.kind is Kind.CYCLE


def nameless(plan: BusPlan, silences: int) -> tuple[list[str | None], list[float]]:
    """The meter gives all but its serial number, where it is silent: what was learnt each time, and when."""
    learnt: list[str | None] = []
    at: list[float] = []
    now_s = 0.0
    while len(at) < silences:
        now_s = max(now_s + SLOT_S, plan.due_s())
        task = plan.next(now_s)
        if task is not None and task.kind is Kind.IDENTIFY and task.done == 1:
            found = plan.silent(task, now_s)
            learnt.append(found and found.absent)
            at.append(now_s)
        elif task is not None:
            plan.answered(task, answer(task, now_s), now_s)
    return learnt, at


def test_a_meter_that_is_silent_about_its_serial_number_is_asked_three_times_before_it_is_read() -> None:
    """Seed 10031: one lost answer after a start, and a session was signed without the number of its meter."""
    plan = plan_of(5)
    learnt, at = nameless(plan, 3)
    assert learnt == [None, None, "serial"]
    assert at[-1] < 6
    task = plan.next(at[-1] + 1)
    assert task is not None
    assert task.kind is Kind.CYCLE
    assert not plan.entries["m0"].lost


def test_a_meter_that_stays_silent_about_its_serial_number_is_asked_ever_more_rarely_and_told_once() -> None:
    learnt, at = nameless(plan_of(5), 50)
    assert [name for name in learnt if name] == ["serial"]
    pauses = [after - before for before, after in itertools.pairwise(at)]
    assert 29 < pauses[2] < 40
    assert 299 < pauses[-1] < 310


def test_a_meter_that_was_silent_about_its_serial_number_is_asked_again_and_known_then() -> None:
    plan = plan_of(5)
    _, at = nameless(plan, 3)
    bus = Bus(plan)
    bus.now_s = at[-1]
    bus.run(at[-1] + 40)
    assert plan.entries["m0"].named
    assert plan.entries["m0"].blocks.serial is not None


def test_who_waits_for_a_register_has_the_name_of_its_meter_asked_for_soon_after_a_disturbance() -> None:
    """Seed 50052: a session waited 25 s longer than its meter was disturbed. One that has no name is left alone."""
    for silences, soon in ((3, True), (7, False)):
        plan = plan_of(5)
        _, at = nameless(plan, silences)
        bus = Bus(plan)
        bus.now_s = at[-1]
        assert plan.demand("m0", bus.now_s)
        bus.run(at[-1] + 12)
        assert plan.entries["m0"].named is soon


def test_a_meter_that_is_busy_is_tried_again_not_shrunk() -> None:
    plan = plan_of(5)
    Bus(plan).run(4)
    task = plan.next(6)
    assert task is not None
    assert plan.refused(task, 6, 6.1) is None
    assert plan.entries["m0"].max_block is None
    assert plan.entries["m0"].misses == 1


def test_a_meter_rests_between_two_requests_while_others_are_served() -> None:
    plan = BusPlan()
    plan.add("tender", 1, load_model("sdm72dm2"), period_s=1, rest_s=0.5, gap=20)
    plan.add("other", 2, load_model("sdm630"), period_s=1, rest_s=0, gap=20)
    asked: list[float] = []
    now_s = 0.0
    while now_s < 10:
        task = plan.next(now_s)
        if task is None:
            now_s = max(plan.due_s(), now_s + 0.001)
            continue
        if task.entry.id == "tender":
            assert not asked or now_s - asked[-1] >= 0.5
        now_s += SLOT_S
        plan.answered(task, answer(task, now_s), now_s)
        if task.entry.id == "tender":
            asked.append(now_s)
    assert len(asked) > 12


def test_after_a_reconnect_everyone_is_identified_again() -> None:
    plan = plan_of(5, 5)
    Bus(plan).run(3)
    plan.restart(3)
    assert not any(entry.identified for entry in plan.entries.values())
    task = plan.next(3)
    assert task is not None
    assert task.kind is Kind.IDENTIFY


@given(st.lists(st.sampled_from(["good", "silent", "refused", "busy", "rejected", "boundary", "demand"]), max_size=80))
def test_whatever_happens_the_plan_goes_on(happenings: list[str]) -> None:
    """No sequence of answers leaves a meter unasked for more than the longest back-off."""
    plan, now_s = plan_of(1, 5, model="em24"), 0.0
    for what in happenings:
        now_s += SLOT_S
        if what == "boundary":
            plan.boundary(now_s)
        elif what == "demand":
            plan.demand("m0", now_s)
        task = plan.next(now_s)
        if task is None:
            now_s = max(now_s, plan.due_s())
            continue
        if what == "silent":
            plan.silent(task, now_s)
        elif what == "refused":
            plan.refused(task, 2, now_s)
        elif what == "busy":
            plan.refused(task, 6, now_s)
        elif what == "rejected":
            plan.rejected(task, now_s)
        else:
            plan.answered(task, answer(task, now_s), now_s)
    assert plan.due_s() <= now_s + 300
    assert plan.next(max(now_s, plan.due_s())) is not None


def test_a_meter_that_was_silent_is_left_alone_until_its_late_reply_cannot_come_any_more() -> None:
    plan = BusPlan()
    plan.add("m0", 1, load_model("sdm630"), period_s=1, gap=20, calm_s=4)
    Bus(plan).run(2)
    task = plan.next(3)
    assert task is not None
    plan.silent(task, 3.5)
    plan.boundary(3.6)
    assert plan.next(7.4) is None
    assert plan.next(7.5) is not None


def test_a_meter_in_doubt_is_identified_at_once_but_not_again_and_again() -> None:
    """Seed 159: a new meter is known by its serial number, and that was read every 5 min only."""
    bus = Bus(plan_of(5, model="iem3155"))
    bus.run(100)
    for _ in range(12):
        bus.plan.identify("m0", bus.now_s)
        bus.run(bus.now_s + 5)
    at = [at_s for at_s, _, kind in bus.log if kind is Kind.IDENTIFY and at_s > 1]
    assert at[0] < 100.5
    assert 5 <= len(at) <= 7


def test_for_its_first_level_a_meter_is_identified_at_once_and_then_as_rarely_as_others() -> None:
    bus = Bus(plan_of(5, model="iem3155"))
    bus.run(0.5)
    for _ in range(20):
        bus.plan.identify("m0", bus.now_s, first=True)
        bus.run(bus.now_s + 1)
    at = [at_s for at_s, _, kind in bus.log if kind is Kind.IDENTIFY]
    assert at[0] < 0.2
    assert [round(at_s) for at_s in at[1:]] == pytest.approx([0.5, 11], abs=1)


def test_a_serial_number_that_was_once_given_is_asked_for_again_after_a_disturbance() -> None:
    """Seed 159: a meter that was late once was never again known by its serial number."""
    bus = Bus(plan_of(5, model="iem3155"))
    bus.run(10)
    bus.plan.identify("m0", 20.0)
    task = bus.plan.next(20.0)
    assert task is not None
    assert task.kind is Kind.IDENTIFY
    bus.plan.answered(task, answer(task, 20.0), 20.1)
    learnt = bus.plan.silent(task, 20.6)
    assert learnt is not None
    assert learnt.absent == "serial"
    bus.plan.identify("m0", 40.0)
    again = bus.plan.next(40.0)
    assert again is not None
    assert len(again.spans) == 2


def test_a_lost_meter_is_tried_at_the_quarter_hour_whatever_its_back_off() -> None:
    """Seed 242: it was back 6 s before the quarter hour, and asked 11 s after it: its boundary was missing."""
    bus = Bus(plan_of(5), "m0")
    bus.run(200)
    bus.dead.clear()
    assert bus.plan.due_s() > 204
    bus.plan.boundary(200.0)
    bus.run(203)
    assert bus.cycles("m0")
    assert bus.cycles("m0")[0] < 202

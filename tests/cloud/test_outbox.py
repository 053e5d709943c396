"""What to send next and when: tables of situations, and a model in which every message can be lost, doubled or late."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.cloud import standing
from gateway.cloud.envelope import Ack, HelloAck, LaneState, encode
from gateway.cloud.outbox import (
    HELLO_MAX_S,
    HOLD_MAX_S,
    INITIAL_CREDIT,
    MAX_CREDIT,
    NEVER,
    RECONNECT_FIRST_S,
    RECONNECT_MAX_S,
    RESEND_MAX_S,
    TRICKLE_S,
    Backoff,
    Handshake,
    LaneWindow,
    Standing,
    compare,
)
from gateway.model import Stamp, TimeQuality
from gateway.store import outbox
from gateway.store.database import migrate
from gateway.store.outbox import Identity
from gateway.store.sqlite import connect
from simulators.cloud.database import CloudDatabase

ROOM = 1000


def make_ack(**fields: Any) -> Ack:
    return Ack(**{"lane": "billing", "epoch": "e", "upto": 0, "credit": 10} | fields)


def make_window(**ack: Any) -> LaneWindow:
    window = LaneWindow(Random(1))
    if ack:
        window.acknowledged(make_ack(**ack), now=0)
    return window


def send(window: LaneWindow, waiting: list[int], now: float, room: int = ROOM) -> tuple[int, ...]:
    """Plan, and send what the plan says."""
    plan = window.plan(waiting, now, room)
    for seq in plan.send:
        window.sent(seq, now)
    return plan.send


def test_the_oldest_go_first_up_to_the_credit() -> None:
    """Before the cloud has named its credit a modest number is in flight; nothing goes twice at once."""
    window = make_window()
    waiting = list(range(1, 100))
    assert send(window, waiting, 0) == tuple(range(1, INITIAL_CREDIT + 1))
    assert send(window, waiting, 1) == ()
    assert send(window, waiting[5:], 2) == tuple(range(INITIAL_CREDIT + 1, INITIAL_CREDIT + 6))


def test_the_connection_limits_too() -> None:
    """What the broker has not confirmed fills the wire: the rest waits for room."""
    window = make_window()
    assert send(window, [1, 2, 3], 0, room=2) == (1, 2)
    assert send(window, [1, 2, 3], 0, room=0) == ()
    assert send(window, [1, 2, 3], 0, room=1) == (3,)


def test_without_acknowledgement_a_record_goes_again_later_and_later() -> None:
    """60 s, then twice as long each time, at most 15 minutes, each with 20 % of jitter."""
    window, now, pauses = make_window(), 0.0, []
    assert send(window, [1], now) == (1,)
    for _ in range(7):
        again_at = window.plan([1], now, ROOM).again_at
        pauses.append(again_at - now)
        assert send(window, [1], again_at - 0.001) == ()
        assert send(window, [1], again_at) == (1,)
        now = again_at
    assert 48 <= pauses[0] <= 72
    assert 96 <= pauses[1] <= 144
    assert max(pauses) <= RESEND_MAX_S * 1.2


def test_credit_zero_lets_one_record_a_minute_through() -> None:
    """A cloud that took all credit back is asked again with the oldest record."""
    window = make_window(credit=0)
    assert send(window, [1, 2, 3], 100) == (1,)
    plan = window.plan([1, 2, 3], 130, ROOM)
    assert (plan.send, plan.again_at) == ((), 100 + TRICKLE_S)
    assert send(window, [2, 3], 100 + TRICKLE_S) == (2,)


def test_hold_stops_the_lane_for_a_bounded_time() -> None:
    """Nothing goes until it ends, and no cloud can hold a site for more than an hour at once."""
    window = make_window(hold_s=1e9)
    assert window.plan([1], 10, ROOM).again_at == HOLD_MAX_S
    assert send(window, [1], HOLD_MAX_S) == (1,)
    window.acknowledged(make_ack(hold_s=30), 5000)
    assert send(window, [1, 2], 5001) == ()
    window.acknowledged(make_ack(), 5002)
    assert send(window, [2], 5003) == (2,), "an acknowledgement without a hold ends it"


def test_what_the_cloud_misses_goes_at_once_unless_it_is_on_its_way() -> None:
    """A gap report crosses with what was sent a moment ago."""
    window = make_window(credit=10)
    send(window, [1, 2, 3], 0)
    window.acknowledged(make_ack(missing=[(1, 2)]), 1)
    assert send(window, [1, 2, 3], 1) == ()
    window.acknowledged(make_ack(missing=[(1, 2)]), 10)
    assert send(window, [1, 2, 3], 10) == (1, 2)


def test_a_new_connection_forgets_what_was_in_flight() -> None:
    """After the hello's answer everything that the cloud lacks goes again at once."""
    window = make_window()
    send(window, [1, 2], 0)
    window.new_connection()
    assert send(window, [1, 2], 1) == (1, 2)


def test_credit_is_bounded_and_the_look_ahead_with_it() -> None:
    """Whatever a cloud offers, memory stays small; the window always sees past what is in flight."""
    window = make_window(credit=10**9)
    assert window.credit == MAX_CREDIT
    send(window, list(range(1, 300)), 0)
    assert window.look_ahead == 2 * MAX_CREDIT + 1


def test_nothing_waiting_needs_no_alarm() -> None:
    """An empty lane sleeps until it is woken."""
    assert make_window().plan([], 0, ROOM).again_at == NEVER


def test_hello_is_repeated_with_backoff_until_answered() -> None:
    """10, 20, 40 ... at most 300 s apart; none after the answer."""
    handshake, now, gaps = Handshake("h"), 0.0, []
    for _ in range(8):
        plan = handshake.plan(now)
        assert plan.send
        assert not handshake.plan(plan.again_at - 0.001).send
        gaps.append(plan.again_at - now)
        now = plan.again_at
    assert gaps[:3] == [10, 20, 40]
    assert gaps[-1] == HELLO_MAX_S
    handshake.answered = True
    assert handshake.plan(now + 1000) == handshake.plan(now + 2000)
    assert not handshake.plan(now).send


def test_reconnects_spread_out_and_begin_small_again() -> None:
    """A fleet that lost its broker together does not return together; a good connection resets the pause."""
    backoff = Backoff(Random(7))
    pauses = [backoff.next_s() for _ in range(200)]
    assert all(RECONNECT_FIRST_S <= pause <= RECONNECT_MAX_S for pause in pauses)
    assert pauses[0] <= 3 * RECONNECT_FIRST_S
    assert len({round(pause) for pause in pauses}) > 50
    backoff.reset()
    assert backoff.next_s() <= 3 * RECONNECT_FIRST_S


A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("acked", "ours", "theirs", "standing"),
    [
        (0, None, None, Standing.SAME),
        (0, None, LaneState(epoch="e", upto=0), Standing.SAME),
        (0, A, LaneState(epoch="e", upto=5, sha256=A), Standing.SAME),
        (5, A, LaneState(epoch="e", upto=5, sha256=A), Standing.SAME),
        (5, A, LaneState(epoch="e", upto=5), Standing.SAME),
        (5, B, LaneState(epoch="e", upto=5, sha256=A), Standing.OTHER),
        (5, None, LaneState(epoch="e", upto=9, sha256=A), Standing.OTHER),
        (9, A, LaneState(epoch="e", upto=5, sha256=A), Standing.BEHIND),
        (9, None, LaneState(epoch="e", upto=0), Standing.BEHIND),
        (9, None, None, Standing.BEHIND),
        (0, None, LaneState(epoch="old", upto=9, sha256=A), Standing.SAME),
        (3, A, LaneState(epoch="newer", upto=9, sha256=A), Standing.OTHER),
    ],
)
def test_heads_are_compared(acked: int, ours: str | None, theirs: LaneState | None, standing: Standing) -> None:
    """Ahead of us or different at our row: an old copy. Behind its own word: the cloud was restored."""
    assert compare("e", acked, ours, theirs) is standing


class Losses(RuleBasedStateMachine):
    """A lane, a cloud that commits before it acknowledges, and two wires on which anything can happen."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.random = Random(seed)
        self.db = connect(Path(":memory:"))
        migrate(self.db)
        self.who = Identity(gw="g", epoch="e1", boot=1)
        self.cloud = CloudDatabase(Path(":memory:"), durable=False)
        self.window = LaneWindow(self.random)
        self.handshake = Handshake("h0")
        self.now = 0.0
        self.up: list[bytes] = []
        self.down: list[bytes] = []
        self.credit = 5
        self.refused: set[int] = set()
        self.connects = 0
        self.exchange()

    # what the gateway does

    @rule(count=st.integers(1, 8))
    def append(self, count: int) -> None:
        for _ in range(count):
            stamp = Stamp(1_781_343_000_000 + int(self.now * 1000), TimeQuality.SIMULATED)
            rid = f"{self.random.getrandbits(128):032x}"
            outbox.append(self.db, self.who, lane="billing", schema="s", body=f"body {rid}", stamp=stamp, rid=rid)

    @rule(seconds=st.sampled_from([0.1, 3.0, 61.0, 1000.0]), room=st.sampled_from([0, 1, 20]))
    def step(self, seconds: float, room: int) -> None:
        self.now += seconds
        if not self.handshake.answered:
            if self.handshake.plan(self.now).send:
                self.up.append(json.dumps({"hid": self.handshake.hid}).encode())
            return
        waiting = outbox.waiting_seqs(self.db, "billing", "e1", self.window.look_ahead)
        plan = self.window.plan(waiting, self.now, room)
        assert len(plan.send) <= max(1, min(room, self.window.credit))
        for row in outbox.get_rows(self.db, "billing", "e1", plan.send) if plan.send else []:
            self.up.append(encode("g", row))
            self.window.sent(row.seq, self.now)

    @rule(often=st.integers(0, 3))
    def reconnect(self, often: int) -> None:
        if often:
            return
        self.up.clear()
        self.down.clear()
        self.connects += 1
        self.window.new_connection()
        self.handshake = Handshake(f"h{self.connects}")

    # what the wires do

    @precondition(lambda self: self.up)
    @rule(data=st.data())
    def lose_or_double_upward(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.up) - 1))
        if data.draw(st.booleans()):
            self.up.pop(index)
        else:
            self.up.append(self.up[index])

    @precondition(lambda self: self.down)
    @rule(data=st.data())
    def lose_or_double_downward(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.down) - 1))
        if data.draw(st.booleans()):
            self.down.pop(index)
        else:
            self.down.append(self.down[index])

    # what the cloud does

    @rule(credit=st.sampled_from([0, 1, 5, 50]))
    def change_credit(self, credit: int) -> None:
        self.credit = credit

    @rule(seq=st.integers(1, 40))
    def will_refuse(self, seq: int) -> None:
        self.refused.add(seq)

    @precondition(lambda self: self.up)
    @rule()
    def deliver_up(self) -> None:
        batch, self.up = self.up, []
        for payload in batch:
            envelope = json.loads(payload)
            if "hid" in envelope:
                self._answer_hello(envelope["hid"])
            elif (
                envelope["seq"] in self.refused
                and self.cloud.sha256_of(("g", "e1", "billing"), envelope["seq"]) is None
            ):
                self.cloud.reject(envelope, "no", "", 0)
            else:
                self.cloud.store(envelope, 0)
        lane, key = self.cloud.lane(("g", "e1", "billing")), ("g", "e1", "billing")
        self.down.append(
            json.dumps(
                {"lane": "billing", "epoch": "e1", "upto": lane.upto, "missing": lane.missing(), "credit": self.credit,
                 "rejected": self.cloud.rejections(key)}
            ).encode()
        )  # fmt: skip

    def _answer_hello(self, hid: str) -> None:
        upto = self.cloud.lane(("g", "e1", "billing")).upto
        sha256 = self.cloud.sha256_of(("g", "e1", "billing"), upto) if upto else None
        lanes = {"billing": {"epoch": "e1", "upto": upto, "sha256": sha256}}
        self.down.append(json.dumps({"hid": hid, "lanes": lanes}).encode())

    @precondition(lambda self: self.down)
    @rule()
    def deliver_down(self) -> None:
        batch, self.down = self.down, []
        for payload in batch:
            document = json.loads(payload)
            if "hid" in document:
                if document["hid"] == self.handshake.hid and not self.handshake.answered:
                    now = Stamp(0, TimeQuality.SIMULATED)
                    ack = HelloAck.model_validate(document)
                    assert not standing.settle(self.db, self.who, ack, "e2", "rid", now, lambda *_: None).new_epoch
                    self.handshake.answered = True
            else:
                ack = Ack.model_validate(document)
                assert not standing.take_ack(self.db, self.who, ack).ahead
                self.window.acknowledged(ack, self.now)

    @rule()
    def exchange(self) -> None:
        """A moment in which everything comes through."""
        self.step(61.0, 20)
        if self.up:
            self.deliver_up()
        if self.down:
            self.deliver_down()

    # what must hold

    @invariant()
    def nothing_is_believed_that_the_cloud_does_not_have(self) -> None:
        if not hasattr(self, "db"):
            return
        for seq, sha256 in self.db.execute("SELECT seq, sha256 FROM outbox WHERE state IN ('acked', 'dead')"):
            assert self.cloud.sha256_of(("g", "e1", "billing"), seq) == sha256

    def teardown(self) -> None:
        """What was on the wires is lost, nothing more: then all is answered, and both sides agree to the byte."""
        if not hasattr(self, "db"):
            return
        self.up.clear()
        self.down.clear()
        self.credit = 5
        for _ in range(500):
            if not outbox.waiting_seqs(self.db, "billing", "e1", 1):
                break
            self.now += 1000
            self.exchange()
        assert not outbox.waiting_seqs(self.db, "billing", "e1", 1)
        columns = "seq, rid, prev, sha256, body"
        ours = self.db.execute(f"SELECT {columns} FROM outbox WHERE state = 'acked' ORDER BY seq").fetchall()
        theirs = self.cloud._db.execute(f"SELECT {columns} FROM record ORDER BY seq").fetchall()
        assert ours == theirs
        dead = self.db.execute("SELECT seq FROM outbox WHERE state = 'dead' ORDER BY seq").fetchall()
        assert dead == self.cloud._db.execute("SELECT seq FROM rejected ORDER BY seq").fetchall()
        self.db.close()
        self.cloud.close()


TestLosses = Losses.TestCase
TestLosses.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

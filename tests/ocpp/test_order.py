"""Random weeks of one charger: the CSMS comes and goes, answers get lost, the gateway is killed; order and ids hold."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.store import journal
from tests.ocpp.bench import Bench, meter, start, stop


class Week(RuleBasedStateMachine):
    """The box speaks properly: one transaction at a time, a repetition until it is answered."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.connected = False
        self.serial = 0
        self.transaction: int | None = None
        self.unanswered: list[Any] | None = None
        self.confirmed: list[str] = []
        """Contents that the box was told are safe: meter registers, which are unique."""

        self.processed: list[tuple[str, int, Any]] = []
        """What the CSMS processed: action, register, transaction id in the message or in its answer."""

        self.issued: set[int] = set()

    @initialize()
    def commission(self) -> None:
        self.bench.accepted()
        self.connected = True

    # The box

    def _say(self, frame: list[Any]) -> None:
        self.unanswered = frame
        self.bench.say("charger", frame)
        self._listen()

    def _listen(self) -> None:
        for frame in self.bench.take("charger"):
            if frame[0] == 2:
                self.bench.say("charger", [3, frame[1], {"status": "Accepted"}])
            elif self.unanswered is not None and frame[1] == self.unanswered[1] and frame[0] == 3:
                self._answered(self.unanswered, frame[2])

    def _answered(self, asked: list[Any], answer: dict[str, Any]) -> None:
        self.unanswered = None
        self.confirmed.append(asked[1])
        if asked[2] == "StartTransaction":
            self.transaction = answer["transactionId"]
            assert self.transaction not in self.issued, "an id toward the charger was used twice"
            self.issued.add(self.transaction)
        elif asked[2] == "StopTransaction":
            self.transaction = None

    @precondition(lambda self: self.unanswered is None)
    @rule()
    def box_goes_on(self) -> None:
        self.serial += 1
        if self.transaction is None:
            self._say(start(f"{self.serial}", wh=self.serial))
        elif self.serial % 3:
            self._say(meter(f"{self.serial}", self.transaction, self.serial))
        else:
            self._say(stop(f"{self.serial}", self.transaction, self.serial))

    @precondition(lambda self: self.unanswered is not None)
    @rule()
    def box_repeats(self) -> None:
        assert self.unanswered is not None
        self._say(self.unanswered)

    @rule()
    def box_redials(self) -> None:
        self.bench.close("charger")
        self.bench.open("charger")
        self._listen()

    # The CSMS

    @precondition(lambda self: self.connected)
    @rule(answer=st.sampled_from(["yes", "yes", "yes", "silent"]), reuse=st.sampled_from([True, True, False]))
    def csms_works(self, answer: str, reuse: bool) -> None:
        for frame in self.bench.take("csms"):
            if frame[0] == 2 and answer == "yes":
                self.bench.say("csms", [3, frame[1], self._process(frame, reuse)])
        self._listen()

    def _process(self, frame: list[Any], reuse: bool) -> dict[str, Any]:
        _, message_id, action, payload = frame
        if action == "StartTransaction":
            transaction = 1 if reuse else 1000 + len(self.processed)
            self.processed.append((action, int(message_id), transaction))
            return {"idTagInfo": {"status": "Accepted"}, "transactionId": transaction}
        if action in ("MeterValues", "StopTransaction"):
            self.processed.append((action, int(message_id), payload["transactionId"]))
        return {}

    @precondition(lambda self: self.connected)
    @rule()
    def csms_processes_and_the_answer_is_lost(self) -> None:
        for frame in self.bench.take("csms"):
            if frame[0] == 2:
                self._process(frame, reuse=False)
        self.csms_goes()

    @precondition(lambda self: self.connected)
    @rule()
    def csms_goes(self) -> None:
        self.connected = False
        self.bench.close("csms")
        self._listen()

    @precondition(lambda self: not self.connected)
    @rule()
    def csms_comes(self) -> None:
        self.connected = True
        self.bench.open("csms")

    # The world

    @rule(seconds=st.sampled_from([1, 20, 70]))
    def time_passes(self, seconds: int) -> None:
        self.bench.later(seconds)
        if self.bench.closed:
            self.bench.closed.clear()
            self.connected = False
            self.bench.close("csms")
        self._listen()

    @rule(full=st.booleans())
    def disk_fills_up_or_has_room(self, full: bool) -> None:
        self.bench.disk_full = full

    @rule()
    def gateway_is_killed(self) -> None:
        self.connected = False
        self.bench.restart()
        self.bench.open("charger")
        self._listen()

    # What holds

    @invariant()
    def what_was_confirmed_is_journaled_or_was_the_csmss(self) -> None:
        """I3: every confirmed start and stop stands in the journal; meter values there or at the CSMS."""
        rows = self.bench.db.execute("SELECT message_id FROM journal ORDER BY entry").fetchall()
        kept = [row[0] for row in rows]
        told = {str(register) for _, register, _ in self.processed}
        assert [one for one in self.confirmed if one not in kept and one not in told] == []
        assert len(kept) == len(set(kept)), "one message has two entries"

    @invariant()
    def the_csms_got_everything_in_order_with_ids_it_knows(self) -> None:
        """I4: in the charger's order (repetitions of one message aside), with the id of the start before it."""
        registers = [register for _, register, _ in self.processed]
        firsts = list(dict.fromkeys(registers))
        assert firsts == sorted(firsts)
        current: set[int] = set()
        for position, (action, register, transaction) in enumerate(self.processed):
            if action == "StartTransaction":
                again = position and self.processed[position - 1][1] == register
                current = (current if again else set()) | {transaction}
            else:
                assert transaction in current

    def teardown(self) -> None:
        """In the end the CSMS is back for good: everything that was confirmed reaches it."""
        self.bench.disk_full = False
        if not self.connected:
            self.csms_comes()
        for _ in range(3 * self.serial + 10):
            self.csms_works("yes", reuse=False)
            self.time_passes(70)
            if not self.connected:
                self.csms_comes()
        registers = {register for _, register, _ in self.processed}
        assert {int(one) for one in self.confirmed} <= registers
        assert journal.queue_state(self.bench.db, "box1").queue == 0


TestWeek = Week.TestCase
TestWeek.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

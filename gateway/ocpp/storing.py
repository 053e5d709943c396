"""What each store action of a relay does to the database: one function, one transaction, no await."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from functools import singledispatchmethod

from gateway.model import Connection, Reading, Stamp
from gateway.ocpp import actions as act
from gateway.ocpp import frames
from gateway.ocpp.core import MAX_TRANSACTIONS
from gateway.ocpp.meaning import Tag, Version
from gateway.ocpp.registration import Known, Status
from gateway.ocpp.relay import Snapshot
from gateway.records.bodies import Thinned
from gateway.sessions.keys import take_configuration
from gateway.store import chargers, journal, outbox, thinned, tokens, transactions

MAX_ATTEMPTS = 3
"""Sends of one entry that the CSMS may fail to process (OCPP 1.6 TransactionMessageAttempts)."""

QUARTER_MS = 900_000


@dataclass(frozen=True, slots=True)
class Storing:
    """The database's side of one charger; `stamp` and `rid` are drawn when the action is handed over."""

    charger: str
    who: outbox.Identity
    new_id: Callable[[], str]

    def perform(self, db: Connection, action: act.StoreAction, stamp: Stamp) -> object:
        """Perform one action; what it returns stands in the action's docstring."""
        return self._perform(action, db, stamp)

    @singledispatchmethod
    def _perform(self, action: object, db: Connection, stamp: Stamp) -> object:
        raise TypeError(f"no store action: {action!r}")

    # Journal

    @_perform.register
    def _append(self, action: act.Append, db: Connection, stamp: Stamp) -> act.Appended:
        same = journal.find_same(db, self.charger, action.message_id, action.frame, action.content_key)
        if same is not None and not self._is_over(db, same):
            return act.Appended(same.entry, True, same.answer)
        self._tell_thinned(db, action, stamp)
        if action.thin and action.transaction_id is not None:
            quarter = action.at_ms // QUARTER_MS
            kept = thinned.count(
                db, self.charger, action.transaction_id, quarter, frame=action.frame, always_keep=action.always_keep
            )  # fmt: skip
            if not kept:
                return act.Appended(None)
        entry = journal.append(db, self._new_entry(action, stamp))
        if action.stops is not None:
            transactions.stop(db, self.charger, action.stops, entry)
        return act.Appended(entry)

    def _is_over(self, db: Connection, same: journal.JournalRow) -> bool:
        """A start whose transaction has its stop is not repeated: the clock of that charger stands still."""
        begun = transactions.by_start(db, self.charger, same.entry)
        return begun is not None and begun.stop_entry is not None

    def _new_entry(self, action: act.Append, stamp: Stamp) -> journal.NewEntry:
        state: journal.State = "local" if not action.for_csms else "sent" if action.sent else "pending"
        return journal.NewEntry(
            charger=self.charger,
            at_ms=action.at_ms,
            ts_q=stamp.quality.value,
            boot=self.who.boot,
            action=action.action,
            connector=action.connector,
            transaction_id=action.transaction_id,
            message_id=action.message_id,
            frame=action.frame,
            content_key=action.content_key,
            reading=reading_text(action.reading),
            answer=action.answer,
            answered_by="gateway" if action.answer is not None else None,
            state=state,
            signed=action.signed,
        )

    def _tell_thinned(self, db: Connection, action: act.Append, stamp: Stamp) -> None:
        """Closed quarter hours go to the event lane, those of all chargers in one go: their rows lie side by side.

        A start or stop closes the running one of its charger too.
        """
        closed = thinned.take_closed(db, action.at_ms // QUARTER_MS)
        if action.close_quarters:
            closed += thinned.take_of(db, self.charger)
        for row in closed:
            body = Thinned(
                charger=row.charger,
                transaction_id=row.transaction_id,
                quarter=row.quarter,
                received=row.received,
                kept=row.kept,
            )
            outbox.append(
                db,
                self.who,
                lane="event",
                schema="thinned.v1",
                body=body.model_dump_json(),
                stamp=stamp,
                rid=self.new_id(),
            )

    @_perform.register
    def _answer_start(self, action: act.AnswerStart, db: Connection, _stamp: Stamp) -> act.Transaction:
        row = journal.get(db, action.entry)
        assert row is not None
        begun = transactions.begin(
            db,
            self.charger,
            csms_id=action.csms_id if action.by_csms else None,
            connector=action.connector,
            id_tag=action.id_tag,
            start_entry=action.entry,
            start_ms=row.at_ms,
            accepted=action.accepted,
            most_wh=action.most_wh,
        )
        if begun.accepted and action.ends:
            transactions.refuse(db, self.charger, begun.local_id)
            begun = replace(begun, to_stop=True)
        answer = f"{action.before}{begun.local_id}{action.after}"
        by: journal.AnsweredBy = "csms" if action.by_csms else "gateway"
        journal.answered(db, action.entry, answer, by, transaction_id=begun.local_id)
        if action.by_csms:
            journal.done(db, action.entry)
        return _transaction(begun, row.answer or answer)

    @_perform.register
    def _answer_entry(self, action: act.AnswerEntry, db: Connection, _stamp: Stamp) -> None:
        journal.answered(db, action.entry, action.answer, "csms" if action.by_csms else "gateway")
        if action.done:
            journal.done(db, action.entry)

    @_perform.register
    def _fail(self, action: act.Fail, db: Connection, _stamp: Stamp) -> bool:
        parked = journal.failed(db, action.entry, action.error, 1 if action.park else MAX_ATTEMPTS)
        if parked and action.is_start:
            transactions.give_up(db, self.charger, action.entry)
        return parked

    @_perform.register
    def _take_next(self, _action: act.TakeNext, db: Connection, _stamp: Stamp) -> act.Entry | None:
        rows = journal.pending(db, self.charger, 1)
        if not rows:
            return None
        row = rows[0]
        journal.mark_sent(db, row.entry)
        csms_id = None
        if row.transaction_id is not None:
            csms_id = transactions.csms_id(db, self.charger, row.transaction_id)
        return _entry(row, csms_id)

    # Charger

    @_perform.register
    def _save_boot(self, action: act.SaveBoot, db: Connection, _stamp: Stamp) -> None:
        chargers.save_boot(db, self.charger, action.payload, action.at_ms, told=action.told)

    @_perform.register
    def _save_boot_told(self, _action: act.SaveBootTold, db: Connection, _stamp: Stamp) -> None:
        chargers.save_boot_told(db, self.charger)

    @_perform.register
    def _save_accepted(self, action: act.SaveAccepted, db: Connection, _stamp: Stamp) -> None:
        chargers.save_accepted(db, self.charger, action.by, action.at_ms, action.heartbeat_s)

    @_perform.register
    def _save_status(self, action: act.SaveStatus, db: Connection, _stamp: Stamp) -> None:
        row = chargers.StatusRow(action.connector, action.payload, action.at_ms, action.told)
        chargers.save_status(db, self.charger, row)

    @_perform.register
    def _save_fallbacks(self, action: act.SaveFallbacks, db: Connection, _stamp: Stamp) -> None:
        chargers.save_fallbacks(db, self.charger, action.fallbacks)

    @_perform.register
    def _save_configuration(self, action: act.SaveConfiguration, db: Connection, _stamp: Stamp) -> None:
        chargers.save_configuration(db, self.charger, action.configuration)

    @_perform.register
    def _save_profile(self, action: act.SaveProfile, db: Connection, _stamp: Stamp) -> None:
        new = action.profile
        row = chargers.ProfileRow(
            new.connector, new.profile_id, new.purpose, new.stack_level, new.text, new.received_ms
        )
        chargers.save_profile(db, self.charger, row, action.replaced)

    @_perform.register
    def _remove_profiles(self, action: act.RemoveProfiles, db: Connection, _stamp: Stamp) -> None:
        chargers.remove_profiles(db, self.charger, action.ids)

    @_perform.register
    def _take_configuration(self, action: act.TakeConfiguration, db: Connection, _stamp: Stamp) -> act.Examined:
        found, events = take_configuration(db, self.charger, action.connectors, action.settings, action.at_ms)
        return act.Examined(found.to_set, events)

    # Cards

    @_perform.register
    def _learn_tag(self, action: act.LearnTag, db: Connection, _stamp: Stamp) -> None:
        tokens.learn(db, self.charger, _tag_row("cache", action.id_tag, action.tag), action.at_ms)

    @_perform.register
    def _forget_cache(self, _action: act.ForgetCache, db: Connection, _stamp: Stamp) -> None:
        tokens.clear(db, self.charger, "cache")

    @_perform.register
    def _save_list(self, action: act.SaveList, db: Connection, _stamp: Stamp) -> None:
        update = action.update
        tokens.update_list(
            db,
            self.charger,
            version=update.version,
            full=update.full,
            entries=[_tag_row("list", id_tag, tag) for id_tag, tag in update.entries if tag is not None],
            removed=[id_tag for id_tag, tag in update.entries if tag is None],
            learned_ms=action.at_ms,
        )


def load(db: Connection, charger: str, *, has_upstream: bool) -> Snapshot:
    """What a relay must know when it starts (rule R48)."""
    known = chargers.get(db, charger)
    queue = journal.queue_state(db, charger)
    return Snapshot(
        known=Known(known.boot_payload, known.boot_told, known.accepted_by, known.heartbeat_s),
        statuses=[_status(row) for row in chargers.statuses(db, charger)],
        transactions=[_transaction(row) for row in transactions.recent(db, charger, MAX_TRANSACTIONS)],
        profiles=[
            act.StoredProfile(row.connector, row.profile_id, row.purpose, row.stack_level, row.profile, row.received_ms)
            for row in chargers.profiles(db, charger)
        ],
        cards=[
            (row.source, row.id_tag, Tag(row.status, row.expiry_ms, row.parent)) for row in tokens.known(db, charger)
        ],
        list_version=tokens.list_version(db, charger),
        fallbacks=known.fallbacks,
        configuration=known.configuration,
        unanswered=[_entry(row, None) for row in journal.unanswered_starts(db, charger)],
        waiting=has_upstream and queue.queue > 0,
        oldest_ms=queue.oldest_ms,
    )


def refuse_orphans(
    db: Connection, storing: Callable[[str], Storing], known: Collection[str], version: Version, stamp: Stamp
) -> None:
    """Answer the starts that a kill left open and whose chargers are no longer in the site file.

    Nobody hears it, but the sessions of all chargers wait behind a start without an answer.
    """
    for row in journal.orphaned_starts(db, known):
        message = version.read(frames.parse(row.frame))
        refusal = version.start_answer(Tag("Invalid"))
        action = act.AnswerStart(
            row.entry, row.connector or 0, message.id_tag or "", refusal.before, refusal.after, None,
            accepted=False, by_csms=False,
        )  # fmt: skip
        storing(row.charger).perform(db, action, stamp)


def reading_text(reading: Reading | None) -> str | None:
    """A reading as JSON; its fields are those of `model.Reading`."""
    return None if reading is None else json.dumps(asdict(reading), separators=(",", ":"))


def _status(row: chargers.StatusRow) -> Status:
    status = json.loads(row.payload).get("status")
    return Status(row.connector, status if isinstance(status, str) else "", row.payload, row.told, row.at_ms)


def _transaction(row: transactions.TransactionRow, answer: str = "") -> act.Transaction:
    return act.Transaction(
        row.local_id, row.csms_id, row.connector, row.id_tag, row.start_entry, row.start_ms,
        row.stop_entry is not None, row.accepted, row.most_wh, row.to_stop, answer,
    )  # fmt: skip


def _entry(row: journal.JournalRow, csms_id: int | None) -> act.Entry:
    sent = row.state == "sent"
    return act.Entry(row.entry, row.action, row.connector, csms_id, row.message_id, row.frame, row.attempts, sent)


def _tag_row(source: str, id_tag: str, tag: Tag) -> tokens.TagRow:
    return tokens.TagRow(source, id_tag, tag.status, tag.expiry_ms, tag.parent)

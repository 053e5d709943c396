"""What the others saw, read from the folder of a run (simulators/README.md). Nothing here asks the gateway."""

from __future__ import annotations

import json
import sqlite3
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from simulators.judge.hidden import is_hidden, moved_on_wh
from simulators.judge.place import Place, place
from simulators.judge.wire import Frame, Traffic, frame

Row = tuple[Any, ...]


DAY_MS = 86_400_000
UNWRITTEN_MS = 360_000
"""The newest time is written at least every five minutes."""

CLOCK_FOLLOWS_MS = 60_000
"""So long after a time server has answered every part of the gateway goes by it: it looks twice a minute."""


Span = tuple[str, int, int]
"""A subject, from when, to when."""


class NoEvidenceError(Exception):
    """A file or a fact that a check needs is not there: the check fails, it never passes."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One line of the story."""

    at_ms: int
    what: str
    data: dict[str, Any]


class Evidence:
    """The folder of a run. Every file is read when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._readers: dict[str, sqlite3.Connection] = {}
        self._told: dict[tuple[str, ...], list[Occurrence]] = {}
        self._spans: dict[tuple[str, str, str, str], list[Span]] = {}

    def close(self) -> None:
        """Close the databases."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def rows(self, database: str, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Ask one of the evidence databases, read-only."""
        reader = self._readers.get(database)
        if reader is None:
            path = self._path(f"evidence/{database}")
            reader = self._readers[database] = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        return reader.execute(sql, parameters).fetchall()

    @cached_property
    def scale(self) -> dict[str, Any]:
        """Epoch, origin and speed of the site time."""
        return self._json("scale.json")

    @cached_property
    def speed(self) -> float:
        """Site seconds per real second."""
        return float(self.scale["speed"])

    @cached_property
    def stall_ms(self) -> float:
        """The longest stall of the demo's own beat, real milliseconds."""
        return float(self._json("evidence/beat.json")["longest_stall_ms"])

    @cached_property
    def widen_ms(self) -> int:
        """By how much a time bound is widened, site milliseconds."""
        return round(self.speed * self.stall_ms)

    @cached_property
    def slack_ms(self) -> int:
        """How far two logs of one event may lie apart, both written outside the gateway: 5 real ms beside the stall."""
        return round(self.speed * 5) + self.widen_ms

    @cached_property
    def stated_ms(self) -> int:
        """How far a time that the gateway states may lie beside a log: what its clock was stepped by comes on top."""
        return self.slack_ms + int(self.scale.get("clock_off_ms", 0))

    def stepped_ms(self, at_ms: int) -> int:
        """By how much the gateway's clock may be off just then because somebody set it by seconds."""
        steps = [told for told in self.told("fault") if told.data["kind"] == "clock_step"]
        open_ = any(told.at_ms <= at_ms <= told.at_ms + float(told.data["lasts_s"]) * 1000 for told in steps)
        return int(self.scale.get("clock_off_ms", 0)) if open_ else 0

    @cached_property
    def must_show(self) -> bool:
        """A told story must show every rule at work; a seeded watch (`"watch": true`) may have had no occasion."""
        return not self.scale.get("watch", False)

    @property
    def way_ms(self) -> int:
        """How long a frame of a seeded watch is on its way from the CSMS to a charger at the least."""
        return int(self.scale.get("way_ms", 0))

    @cached_property
    def public_keys(self) -> dict[str, str]:
        """SPKI in hex by key id."""
        return {key["key_id"]: key["spki_hex"] for key in self._json("evidence/public_keys.json")["keys"]}

    @cached_property
    def place(self) -> Place:
        """The building as its configuration names it."""
        return place(tomllib.loads(self._path("site.toml").read_text(encoding="utf-8")))

    @cached_property
    def story(self) -> list[Occurrence]:
        """What the demo did, in order of time."""
        lines = self._lines("evidence/events.jsonl")
        told = [Occurrence(round(line["t"]), str(line["what"]), line) for line in lines]
        return sorted(told, key=lambda occurrence: occurrence.at_ms)

    def told(self, *what: str) -> Sequence[Occurrence]:
        """The occurrences of these kinds. A week has many, and is asked for the same ones again and again."""
        if what not in self._told:
            self._told[what] = [occurrence for occurrence in self.story if occurrence.what in what]
        return self._told[what]

    @cached_property
    def end_ms(self) -> int:
        """The end of the story; what comes later is not judged."""
        ends = self.told("story_end") or self.story[-1:]
        if not ends:
            raise NoEvidenceError("evidence/events.jsonl tells nothing")
        return ends[-1].at_ms

    @cached_property
    def lives(self) -> list[tuple[int, int]]:
        """From when to when the gateway was there."""
        lives: list[tuple[int, int]] = []
        since: int | None = None
        for occurrence in self.told("gateway_ready", "gateway_killed", "gateway_stopped"):
            if occurrence.what == "gateway_ready":
                since = occurrence.at_ms if since is None else since
            elif since is not None:
                lives.append((since, occurrence.at_ms))
                since = None
        if since is not None:
            lives.append((since, max(since, self.end_ms)))
        if not lives:
            raise NoEvidenceError("the gateway never became ready")
        return lives

    def spans(self, begins: str, ends: str, key: str, only: str = "") -> Sequence[Span]:
        """(subject, from, to) between two kinds of occurrence, for example `meter_silent` and `meter_back`.

        Where two of a subject overlap, each ends by itself, and the span lasts until both have. With `only` those
        count that say this key of themselves, at their begin and at their end.
        """
        asked = (begins, ends, key, only)
        if asked not in self._spans:
            self._spans[asked] = self._between(*asked)
        return self._spans[asked]

    def _between(self, begins: str, ends: str, key: str, only: str) -> list[Span]:
        spans: list[Span] = []
        open_since: dict[str, list[int]] = {}
        for occurrence in self.told(begins, ends):
            if only and not occurrence.data.get(only):
                continue
            subject = str(occurrence.data.get(key, ""))
            since = open_since.setdefault(subject, [])
            if occurrence.what == begins:
                since.append(occurrence.at_ms)
            elif len(since) == 1:
                spans.append((subject, since.pop(), occurrence.at_ms))
            elif since:
                since.pop()
        return spans + [(subject, since[0], self.end_ms) for subject, since in open_since.items() if since]

    @cached_property
    def wrong_times(self) -> list[tuple[int, int]]:
        """From when to when the gateway's machine had a wrong time, and until all of it went by the right one."""
        dead = [death.at_ms for death in self.told("gateway_killed")]
        began_ms, known_ms = self.unknowable
        return [
            (
                max((at_ms for at_ms in dead if at_ms <= since), default=began_ms if began_ms < known_ms else since),
                until + CLOCK_FOLLOWS_MS,
            )
            for _, since, until in self.spans("clock_wrong", "clock_right", "")
        ]

    def had_wrong_time(self, since_ms: int, until_ms: int) -> bool:
        """Whether the gateway's time was wrong at some instant between."""
        return any(since <= until_ms and since_ms <= until for since, until in self.wrong_times)

    def off_ms(self, stated_ms: int, true_ms: int) -> int:
        """How far a stated time lies beside the true one, or beside what the gateway's clock showed then."""
        return min((stated_ms - true_ms - off for off in self.shown_ms(true_ms)), key=abs)

    def shown_ms(self, true_ms: int) -> list[int]:
        """By how much the gateway's clock may have been off at an instant."""
        if not self.had_wrong_time(true_ms, true_ms):
            return [0]
        lost = [later_ms for _, later_ms in self._lost_ms]
        return [0, *(int(told.data["off_ms"]) for told in self.told("clock_reads")), *lost]

    @cached_property
    def _lost_ms(self) -> list[tuple[int, int]]:
        """What a start with a right clock cannot know: since when, and for how long the machine was off before it.

        What the life before had stamped, ahead or long ago, is put before the new start: later than it was by as much
        (docs/decisions/0008). Where the machine ran on, and only the gateway was killed, its clock knows.
        """
        lost: list[tuple[int, int]] = []
        before_ms = 0
        died_ms: int | None = None
        for occurrence in self.told("clock_reads", "gateway_killed"):
            if occurrence.what == "gateway_killed":
                if died_ms is None and occurrence.data.get("power", False):
                    died_ms = occurrence.at_ms
                continue
            off_ms = int(occurrence.data["off_ms"])
            one_side = off_ms > 0 if before_ms > 0 else off_ms < 0
            later_ms = before_ms - off_ms
            if died_ms is not None and one_side and 0 < later_ms <= occurrence.at_ms - died_ms + UNWRITTEN_MS:
                lost.append((died_ms, later_ms))
            before_ms, died_ms = off_ms, None
        return lost

    @property
    def began_later_ms(self) -> int:
        """How much later than it did the house may have begun as far as its gateway can know."""
        began_ms = self.lives[0][0]
        wrong = [until for since, until in self.wrong_times if since <= began_ms <= until]
        return sum(later_ms for died_ms, later_ms in self._lost_ms if wrong and died_ms <= max(wrong))

    @cached_property
    def unknowable(self) -> tuple[int, int]:
        """From when the house began as far as its gateway can know, to when that knew the time.

        Where the clock of the first start was behind by less than a day, and its power failed, the next one, which
        knows the time, finds on its disk what an absence after a first start with a right clock leaves there: both
        houses are the same to it, and what that start has stamped stays where it is. Elsewhere the span is empty.
        """
        began_ms = self.lives[0][0]
        behind_ms, power = 0, False
        for occurrence in self.told("clock_reads", "gateway_killed"):
            if occurrence.what == "gateway_killed":
                power = power or bool(occurrence.data.get("power", False))
                continue
            off_ms = int(occurrence.data["off_ms"])
            if abs(off_ms) <= self.stated_ms:
                absence = power and -DAY_MS < behind_ms < 0
                return (began_ms + behind_ms, occurrence.at_ms) if absence else (began_ms, began_ms)
            behind_ms, power = off_ms, False
        return began_ms, began_ms

    def silent_at(self, meter: str, at_ms: int) -> bool:
        """The meter gave nothing that could be believed just then."""
        spans = self.spans("meter_silent", "meter_back", "meter")
        return any(which == meter and since <= at_ms <= back for which, since, back in spans)

    def back_ms(self, meter: str, at_ms: int) -> int:
        """For how long the meter has been back after its last silence; since ever where there was none."""
        spans = self.spans("meter_silent", "meter_back", "meter")
        return at_ms - max((back for which, _, back in spans if which == meter and back <= at_ms), default=0)

    def jump_wh(self, meter: str, since_ms: int, until_ms: int) -> float | None:
        """By how much the true register changed because another meter was put in; None where none was seen to be."""
        jumps = [
            float(told.data["jump_wh"])
            for told in self._exchanges(meter, since_ms, until_ms)
            if told not in self._hidden_exchanges
        ]
        return sum(jumps) if jumps else None

    def unseen_ranges_wh(self, meter: str, since_ms: int, until_ms: int) -> float:
        """By how many whole ranges the true register changed in exchanges that nobody can see (hidden.py)."""
        hidden = [told for told in self._exchanges(meter, since_ms, until_ms) if told in self._hidden_exchanges]
        return sum(float(told.data["jump_wh"]) - moved_on_wh(self, told) for told in hidden)

    def _exchanges(self, meter: str, since_ms: int, until_ms: int) -> list[Occurrence]:
        told = self.told("meter_exchanged")
        return [one for one in told if one.data["meter"] == meter and since_ms <= one.at_ms < until_ms]

    @cached_property
    def _hidden_exchanges(self) -> list[Occurrence]:
        return [told for told in self.told("meter_exchanged") if is_hidden(self, told)]

    def delay_ms(self, charger: str, at_ms: int) -> int:
        """How much longer than usual a frame that reaches a box at a time may have been on its way."""
        return self._slowed_ms("charger_slow", "charger_fast", "charger", charger, at_ms)

    def latency_ms(self, at_ms: int) -> int:
        """How much longer than usual a frame on the uplink that arrives at a time may have been on its way."""
        return self._slowed_ms("uplink_slow", "uplink_fast", "link", "csms", at_ms)

    def _slowed_ms(self, begins: str, ends: str, key: str, subject: str, at_ms: int) -> int:
        steps = [(0, 0)]  # since when, how much: several at once add up
        for told in self.told(begins, ends):
            if told.data[key] == subject:
                change = int(told.data["ms"])
                steps.append((told.at_ms, steps[-1][1] + (change if told.what == begins else -change)))
        longest = max(delay for _, delay in steps)
        until = [since for since, _ in steps[1:]] + [max(at_ms, self.end_ms) + 1]
        return max(
            delay
            for (since, delay), end in zip(steps, until, strict=True)
            if since <= at_ms and at_ms - longest < end
        )  # fmt: skip

    def lied_ms(self, meter: str, at_ms: int) -> int:
        """For how long the register that a meter gave had stood still at a moment, while power flowed."""
        spans = self.spans("meter_lies", "meter_honest", "meter")
        return max(
            (at_ms - since for which, since, end in spans if which == meter and since <= at_ms <= end), default=0
        )

    @cached_property
    def traffic(self) -> Traffic:
        """Both wires."""
        return Traffic(self._wire("evidence/charger_wire.jsonl", "out"), self._wire("evidence/csms_wire.jsonl", "in"))

    def _wire(self, name: str, from_charger: str) -> list[Frame]:
        lines = self._lines(name)
        if not lines:
            raise NoEvidenceError(f"{name} is empty")
        return [frame(round(line["t"]), line["charger"], line["dir"] == from_charger, line["frame"]) for line in lines]

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise NoEvidenceError(f"{name} is missing")
        return path

    def _json(self, name: str) -> dict[str, Any]:
        read: dict[str, Any] = json.loads(self._path(name).read_text(encoding="utf-8"))
        return read

    def _lines(self, name: str) -> list[dict[str, Any]]:
        text = self._path(name).read_text(encoding="utf-8")
        return [json.loads(line) for line in text.split("\n") if line.strip()]

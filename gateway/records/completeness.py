"""Pure: is a stream of signed texts complete? The reference tool does not look: it shows "Verified" for T1 and T9.

Pages count per signer, meter and letter (OCMF-en.md, "pagination": +1 per signed record, T and F apart). The first text
that is seen may have any page. A page that comes late and fills a gap is no fault; one that was there before is, unless
it is the same text again, which the caller passes over. The register of a charger that counts each transaction from
zero may begin at zero; any other step back is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from gateway.records.facts import Facts, Register

MAX_GAPS = 32
"""Gaps that are remembered per stream; older ones are not filled any more (I12)."""

_CLOCK_RANK = {"S": 2, "I": 1, "U": 0}
"""R says that a duration counts, not a time: it is no better and no worse than another letter."""


class Fault(StrEnum):
    """What can be wrong between texts."""

    GAP = "pagination_gap"
    REPEAT = "pagination_repeat"
    SERIAL = "serial_changed"
    NO_END = "begin_without_end"
    NO_BEGIN = "end_without_begin"
    CLOCK = "clock_downgrade"
    BACK = "register_went_back"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in words."""

    fault: Fault
    sentence: str


@dataclass(frozen=True, slots=True)
class Stand:
    """How far a stream has come. `first` and `page` are the lowest and the highest page that came.

    `gaps` are ranges of pages between them that never came (low, high).

    `register_wh` is the exact decimal text of the newest total register, empty where there was none.
    """

    first: int
    page: int
    gaps: tuple[tuple[int, int], ...] = ()
    clock: str = ""
    register_wh: str = ""


def stream_of(facts: Facts) -> tuple[str, str, str]:
    """What pages count by: signer, meter, letter."""
    return facts.signer, facts.meter, facts.letter


def follow(stand: Stand | None, facts: Facts) -> tuple[Stand | None, list[Problem]]:
    """The stand after a text, and what is wrong about it coming here. A text without a page moves nothing."""
    if facts.page is None:
        return stand, []
    problems = _within(facts)
    first, last = _energies(facts)
    clock = _worst_clock(facts.registers)
    if stand is None:
        return Stand(facts.page, facts.page, (), clock, str(last) if last is not None else ""), problems
    after, fault = _page(stand, facts)
    problems += fault
    if facts.page <= stand.page:  # late or repeated: what it states is not newer than the stand
        return after, problems
    if clock and stand.clock and _CLOCK_RANK[clock] < _CLOCK_RANK[stand.clock]:
        problems.append(Problem(Fault.CLOCK, f"the time letter went from {stand.clock} to {clock}"))
    before = Decimal(stand.register_wh) if stand.register_wh else None
    if first is not None and before is not None and 0 < first < before:
        problems.append(Problem(Fault.BACK, f"the register went back from {before} Wh to {first} Wh"))
    return (
        replace(
            after,
            clock=clock or stand.clock,
            register_wh=str(last) if last is not None else stand.register_wh,
        ),
        problems,
    )


def _page(stand: Stand, facts: Facts) -> tuple[Stand, list[Problem]]:
    page = facts.page or 0
    name = f"{facts.letter}{page}"
    if page == stand.page + 1:
        return replace(stand, page=page), []
    if page > stand.page:
        missing = (stand.page + 1, page - 1)
        gap = f"{missing[0]}" if missing[0] == missing[1] else f"{missing[0]} to {missing[1]}"
        after = replace(stand, page=page, gaps=(*stand.gaps, missing)[-MAX_GAPS:])
        return after, [Problem(Fault.GAP, f"pages {gap} are missing before {name}")]
    if page < stand.first:  # nobody saw what came before the first one
        before = ((page + 1, stand.first - 1),) if page + 1 < stand.first else ()
        return replace(stand, first=page, gaps=(*before, *stand.gaps)[-MAX_GAPS:]), []
    for place, (low, high) in enumerate(stand.gaps):
        if low <= page <= high:
            rest = [(low, page - 1), (page + 1, high)]
            filled = tuple(one for one in rest if one[0] <= one[1])
            return replace(stand, gaps=(*stand.gaps[:place], *filled, *stand.gaps[place + 1 :])), []
    return stand, [Problem(Fault.REPEAT, f"page {name} comes a second time, after {facts.letter}{stand.page}")]


def _within(facts: Facts) -> list[Problem]:
    """Registers inside one text that go back."""
    newest: dict[str, Decimal] = {}
    for register in facts.registers:
        energy = register.wh()
        if energy is None:
            continue
        before = newest.get(register.obis)
        if before is not None and energy < before:
            return [Problem(Fault.BACK, f"{register.obis} goes back from {before} Wh to {energy} Wh inside one text")]
        newest[register.obis] = energy
    return []


def _energies(facts: Facts) -> tuple[Decimal | None, Decimal | None]:
    """First and last energy of the first register that the text has (a later one counts something else)."""
    known = [(one.obis, energy) for one in facts.registers if (energy := one.wh()) is not None]
    same = [energy for obis, energy in known if obis == known[0][0]]
    return (same[0], same[-1]) if same else (None, None)


def _worst_clock(registers: Iterable[Register]) -> str:
    letters = [one.clock for one in registers if one.clock in _CLOCK_RANK]
    return min(letters, key=lambda letter: _CLOCK_RANK[letter], default="")


def check_session(texts: Sequence[Facts]) -> list[Problem]:
    """What is wrong among all texts of one session, once it has ended."""
    readable = [facts for facts in texts if facts.registers]
    problems: list[Problem] = []
    for what, serials in (
        ("meter", {facts.meter for facts in readable if facts.meter}),
        ("signer", {facts.signer for facts in readable if facts.signer}),
    ):
        if len(serials) > 1:
            problems.append(Problem(Fault.SERIAL, f"the {what}'s serial changed inside the session: {_list(serials)}"))
    registers = [register for facts in readable for register in facts.registers]
    begins, ends = any(one.begins for one in registers), any(one.ends for one in registers)
    if begins and not ends:
        problems.append(Problem(Fault.NO_END, "there is a signed begin and no signed end"))
    if ends and not begins:
        problems.append(Problem(Fault.NO_BEGIN, "there is a signed end and no signed begin"))
    first, last = begin_and_end(texts)
    if first is not None and last is not None and first.obis == last.obis:
        begin, end = first.wh(), last.wh()
        if begin is not None and end is not None and end < begin:
            problems.append(Problem(Fault.BACK, f"the register went back from {begin} Wh to {end} Wh in the session"))
    return problems


def begin_and_end(texts: Iterable[Facts]) -> tuple[Register | None, Register | None]:
    """The signed begin and end registers of a session, where its texts have them."""
    registers = [register for facts in texts for register in facts.registers]
    begin = next((one for one in registers if one.begins), None)
    end = next((one for one in registers if one.ends and (begin is None or one.obis == begin.obis)), None)
    return begin, end


def _list(serials: Iterable[str]) -> str:
    return ", ".join(sorted(serials))

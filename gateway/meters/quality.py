"""Pure: whether a reading may be believed. Garbage is never booked; it is quarantined with its reason.

A reading is held against the last good one. What breaks it for a moment (a frame of zeros, a value of another register)
is over with the next reading that fits. A lasting change of level - a reset, another meter - is believed only when
readings have agreed with one another for `CONFIRM_S`, and never at zero with the same serial number: a meter that
answers zeros does so for a while, too. A meter that tells its serial number must have told it again since the level
changed: else the first Wh of a new meter would be booked as the old one's. The first reading after a start counts when
a second one agrees with it, and the serial number has been told in between.

A register that reaches its range and goes on from 0 by no more than the power explains waits for nothing: a session
that begins or a quarter hour that ends just then needs its register. Only the exact zero is not believed at once.

A jump that the fuse allows may still be another meter's register. Where it is more than the shown power explains (or,
where no power is shown, than the connector delivers) the reading waits until the serial number has been asked again,
which happens at once. What stays below that, at most `SUSPECT_WH` and two steps of the register, is noticed when the
serial number is read anyway, within 5 min; so much of a new meter's level may then stand as the old one's.

A level that came by more than the fuse lets pass stays a changed one where no serial number tells: that so much could
have flowed a while later explains nothing. The first level after a start is held against what stood before it
(`another_level`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

CONFIRM_S = 60.0
"""Site seconds for which a changed level must hold before it becomes the new truth."""

UNNAMED_S = 400.0
"""A changed level waits so long for the serial number, which is asked for at once, and every 5 min anyway."""

ZERO_S = 300.0
"""After a start a meter that answers zeros is believed to be new only when it has done so for this long."""

SUSPECT_WH = 20
"""So much more than the power explains may have flowed between two looks: a kettle, a ramp, a slow register."""

SUSPECT_SHARE = 1.25
"""A meter's power may be so much lower than what its register counts."""

ROLLOVER_FROM = 99
"""A register may begin again at 0 only from this percentage of its range on."""

FRESH_S = 120.0
"""A reading goes on from a doubted one that is at most so old (site seconds); later it may as well follow the good."""

SPARE_WH = 200
"""Two steps of the coarsest register, and then some."""

NEVER_YET = float("-inf")
"""A serial number that stands in the site file, or that the run before has read, and that this run has not."""

SUSPECT_S = 20.0
"""A reading waits at most so long for the serial number (site seconds); then the level is believed."""

FROZEN_STEPS = 5
FROZEN_WH = 20
FROZEN_MIN_W = 100
"""A register that stood still while at least FROZEN_MIN_W flowed for FROZEN_STEPS steps and FROZEN_WH is frozen.

Below FROZEN_MIN_W a meter may show power that it does not count (its starting current)."""


class Reason(StrEnum):
    """Why a reading was set aside."""

    FALL = "energy falls"
    JUMP = "energy jumps further than the fuse allows"
    EQUAL = "all registers are equal"
    INVALID = "a register holds no value"
    FROZEN = "energy stands still while power flows"
    SERIAL = "the serial number is not the configured one"
    UNNAMED = "energy jumps further than the power explains: the serial number is asked first"
    UNCONFIRMED = "the first reading waits for a second one that agrees"


class Sample(NamedTuple):
    """A decoded reading. A tuple, like all here that is made anew for each one.

    `from_s`/`to_s` are the site-monotonic times of request and reply. `named_s` is when `serial` was last
    read, None where the meter gives none, `NEVER_YET` where it must have one.
    """

    from_s: float
    to_s: float
    import_wh: int | None
    export_wh: int | None
    power_w: int | None
    serial: str | None
    named_s: float | None = None


class Limits(NamedTuple):
    """`possible_w` is the most that can flow in either direction; `step_wh` the register's resolution.

    `usual_w` is what flows at most as long as everything behind the meter keeps to its rating, `range_wh` where the
    import register begins again at 0 (None: never), `unnamed_s` for how long a first level waits for the serial number.
    """

    possible_w: int
    step_wh: float
    usual_w: int | None = None
    range_wh: int | None = None
    unnamed_s: float = SUSPECT_S


class Trust(NamedTuple):
    """What is known of one meter: the last good reading, and a level that would like to replace it.

    `unmoved_wh` is what power says has flowed since the energy last moved, up to `seen_s`; `unseen_wh` what may have
    flowed before this run, while the register stood where it stands still. `jumped`: the rival lay
    higher than any fuse let pass when it came; `rolled`: it may be a register that began again at 0.
    """

    good: Sample | None = None
    rival: Sample | None = None
    rival_since_s: float = 0.0
    seen_s: float = 0.0
    unmoved_wh: float = 0.0
    unseen_wh: float = 0.0
    jumped: bool = False
    rolled: bool = False

    def unnamed(self, named_s: float | None) -> bool:
        """Whether a level waits that came after the serial number was last read (at `named_s`)."""
        return self.rival is not None and named_s is not None and named_s < self.rival_since_s


class Verdict(NamedTuple):
    """`reason` None: good. `rebased` is the old register where a new level was accepted; it may have `rolled` over."""

    reason: Reason | None
    rebased: Sample | None = None
    rolled: bool = False


GOOD = Verdict(None)


def all_equal(words: tuple[int, ...]) -> bool:
    """A block of at least four registers that all hold the same number, not 0 (mbmd #332: 236 everywhere)."""
    return len(words) >= 4 and words[0] == words[1] != 0 and len(set(words)) == 1


def judge(trust: Trust, sample: Sample, limits: Limits) -> tuple[Trust, Verdict]:
    """Believe `sample` or not; returns what is known afterwards."""
    if sample.import_wh is None and sample.export_wh is None:
        return trust, GOOD
    if trust.good is None:
        return _first(trust, sample, limits)
    if trust.rival is None and _same_registers(trust.good, sample):
        return _follows(trust, sample, limits)  # nothing flows, as behind most meters: there is nothing to doubt
    if _rolls_over(trust.good, sample, limits):
        return _follows(trust, sample, limits)
    # Where power flows and the register stands, as it did before this run, it may have stood all the time in between.
    stood_wh = trust.unseen_wh if trust.unmoved_wh else 0.0
    reason = _contradiction(trust.good, sample, limits, stood_wh)
    if reason is None and _goes_on_from_jump(trust, sample, limits):
        reason = Reason.JUMP
    if reason is None and _waits_for_name(trust, sample, limits):
        since_s = sample.from_s if trust.rival is None else trust.rival_since_s
        return trust._replace(rival=sample, rival_since_s=since_s, jumped=False), Verdict(Reason.UNNAMED)
    if reason is None:
        return _follows(trust, sample, limits)
    return _rivals(trust, sample, limits, reason)


def _same_registers(before: Sample, sample: Sample) -> bool:
    return sample.import_wh == before.import_wh and sample.export_wh == before.export_wh


def _contradiction(before: Sample, sample: Sample, limits: Limits, more_wh: float = 0.0) -> Reason | None:
    """Why `sample` cannot follow `before`, where `more_wh` may have flowed earlier."""
    hours = max(sample.to_s - before.from_s, 0.0) / 3600
    allowed_wh = limits.possible_w * hours * 1.1 + 2 * limits.step_wh + 1 + more_wh
    for old, new in ((before.import_wh, sample.import_wh), (before.export_wh, sample.export_wh)):
        if old is None or new is None:
            continue
        if new < old:
            return Reason.FALL
        if new - old > allowed_wh:
            return Reason.JUMP
    return None


def _goes_on_from_jump(trust: Trust, sample: Sample, limits: Limits) -> bool:
    """Whether a level goes on that no fuse let pass: time has gone by since, but nothing like it has flowed.

    Not of one that fell: two requests that cross let a register fall by a Wh, and the next reading is above both. Nor
    of a meter that tells its name: it is asked, and where it is the same its register has stood still before.
    """
    before, rival = trust.good, trust.rival
    if before is None or rival is None or not trust.jumped or sample.from_s - rival.from_s > FRESH_S:
        return False
    if sample.named_s is not None:
        return False
    shown = before.power_w is not None and sample.power_w is not None
    explained = shown and not _unexplained(before, sample, limits)
    return _contradiction(rival, sample, limits) is None and not explained


def _waits_for_name(trust: Trust, sample: Sample, limits: Limits) -> bool:
    """Whether a plausible reading says more than can be explained, and its meter has not told its name since."""
    before = trust.good
    assert before is not None
    if sample.named_s is None or sample.named_s > before.to_s or sample.serial != before.serial:
        return False
    if trust.rival is not None and sample.from_s - trust.rival_since_s >= SUSPECT_S:
        return False
    return _unexplained(before, sample, limits)


def _unexplained(before: Sample, sample: Sample, limits: Limits) -> bool:
    explained_wh = _explained_wh(before, sample, limits)
    pairs = ((before.import_wh, sample.import_wh), (before.export_wh, sample.export_wh))
    return any(old is not None and new is not None and new - old > explained_wh for old, new in pairs)


def _explained_wh(before: Sample, sample: Sample, limits: Limits) -> float:
    """How much the power that is shown explains, or where none is shown the connector's rating."""
    usual_w = limits.usual_w if limits.usual_w is not None else limits.possible_w
    shown_w = max(abs(before.power_w or 0), abs(sample.power_w or 0))
    # What a box draws beyond its rating is shown, and explains what is counted.
    usual_w = max(usual_w, shown_w) if sample.power_w is None or before.power_w is None else shown_w
    hours = max(sample.to_s - before.from_s, 0.0) / 3600
    return usual_w * SUSPECT_SHARE * hours + 2 * limits.step_wh + SUSPECT_WH


def _rolls_over(before: Sample, sample: Sample, limits: Limits) -> bool:
    """Whether the import register has reached its range since and goes on from 0, by what can be explained.

    Not at the exact zero: a meter that answers zeros is no meter that rolls over, and the next Wh tells.
    """
    unrolled = _unrolled(before, sample, limits)
    return unrolled is not None and bool(sample.import_wh) and not _unexplained(before, unrolled, limits)


def _unrolled(before: Sample, sample: Sample, limits: Limits) -> Sample | None:
    """`sample` as if its register had no end, where the fuse lets pass what has flowed then."""
    low_wh, high_wh, range_wh = before.import_wh, sample.import_wh, limits.range_wh
    if not low_wh or high_wh is None or range_wh is None or high_wh >= low_wh or sample.serial != before.serial:
        return None
    if (sample.export_wh or 0) < (before.export_wh or 0) or not range_wh * ROLLOVER_FROM < low_wh * 100:
        return None
    unrolled = sample._replace(import_wh=high_wh + range_wh)
    return unrolled if _contradiction(before, unrolled, limits) is None else None


def another_level(before: Sample, sample: Sample, limits: Limits, away_s: float | None) -> bool:
    """Whether the registers of `sample` cannot go on from those of `before`, which another run has read.

    `away_s` is how long ago that was; None where no clock tells, or where the serial number says that it is the same
    meter, whose register may have stood still. Then only a register that fell says something.
    """
    may_wh = None if away_s is None else limits.possible_w * away_s / 3600 + SPARE_WH
    pairs = ((before.import_wh, sample.import_wh), (before.export_wh, sample.export_wh))
    moved = [new - old for old, new in pairs if old is not None and new is not None]
    low_wh, range_wh = before.import_wh or 0, limits.range_wh or 0
    if moved and moved[0] < 0 and range_wh and low_wh * 100 > range_wh * ROLLOVER_FROM:
        moved[0] += range_wh
    return any(wh < 0 or (may_wh is not None and wh > may_wh) for wh in moved)


def unseen(trust: Trust, before: Sample, limits: Limits, away_s: float) -> Trust:
    """After a start: the register stands where the run before has read it, `away_s` ago; else nothing follows."""
    good = trust.good
    if good is None or (good.import_wh, good.export_wh) != (before.import_wh, before.export_wh):
        return trust
    return trust._replace(unseen_wh=limits.possible_w * away_s / 3600)


def _first(trust: Trust, sample: Sample, limits: Limits) -> tuple[Trust, Verdict]:
    """After a start. Zeros are believed only when they have held: a meter that answers zeros does so for a while."""
    agrees = trust.rival is not None and _contradiction(trust.rival, sample, limits) is None
    zero = not sample.import_wh and not sample.export_wh
    if agrees and zero and sample.from_s - trust.rival_since_s < ZERO_S:
        return trust._replace(rival=sample), Verdict(Reason.UNCONFIRMED)
    if agrees and trust.unnamed(sample.named_s) and sample.from_s - trust.rival_since_s < limits.unnamed_s:
        return trust._replace(rival=sample), Verdict(Reason.UNCONFIRMED)
    if agrees:
        return Trust(good=sample, seen_s=sample.to_s), GOOD
    return trust._replace(rival=sample, rival_since_s=sample.from_s), Verdict(Reason.UNCONFIRMED)


def _follows(trust: Trust, sample: Sample, limits: Limits) -> tuple[Trust, Verdict]:
    before = trust.good
    assert before is not None
    moved = not _same_registers(before, sample)
    power_w = abs(sample.power_w or 0)
    flowed_wh = power_w * max(sample.to_s - trust.seen_s, 0.0) / 3600 if power_w >= FROZEN_MIN_W else 0.0
    unmoved_wh = 0.0 if moved else trust.unmoved_wh + flowed_wh
    if unmoved_wh > max(FROZEN_STEPS * limits.step_wh, FROZEN_WH):
        # `good` stays, so that the energy that was counted meanwhile is no jump when the meter thaws.
        return trust._replace(seen_s=sample.to_s, unmoved_wh=unmoved_wh, rival=None), Verdict(Reason.FROZEN)
    unseen_wh = 0.0 if moved else trust.unseen_wh
    return Trust(good=sample, seen_s=sample.to_s, unmoved_wh=unmoved_wh, unseen_wh=unseen_wh), GOOD


def _rivals(trust: Trust, sample: Sample, limits: Limits, reason: Reason) -> tuple[Trust, Verdict]:
    """`sample` contradicts what we know: does a new level hold?"""
    before, rival = trust.good, trust.rival
    assert before is not None
    swapped = sample.serial is not None and before.serial is not None and sample.serial != before.serial
    # A first reading of the new level was taken before anybody had asked who answers there: it bears the old name.
    known = rival is not None and rival.serial in (sample.serial, before.serial)
    if rival is None or _contradiction(rival, sample, limits) is not None or not known:
        rolled = _unrolled(before, sample, limits) is not None
        jumped = reason is Reason.JUMP
        return trust._replace(rival=sample, rival_since_s=sample.from_s, jumped=jumped, rolled=rolled), Verdict(reason)
    held_s = sample.from_s - trust.rival_since_s
    dead_zero = not swapped and not sample.import_wh and not sample.export_wh
    unnamed = trust.unnamed(sample.named_s) and held_s < UNNAMED_S
    if dead_zero or (not swapped and (held_s < CONFIRM_S or unnamed)):
        return trust._replace(rival=sample), Verdict(reason)
    return Trust(good=sample, seen_s=sample.to_s), Verdict(None, rebased=before, rolled=trust.rolled)

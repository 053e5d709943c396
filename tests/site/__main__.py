"""`python -m tests.site --seed N --hours H --chargers C`: one seeded building, judged from outside. Exit 0 or 1."""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from .past import PastFigures
from .plan import Fault
from .run import Options, Outcome, simulate
from .verdict import report


def main() -> int:
    """Run, print the verdict, keep what is needed to look into a failure."""
    arguments = _arguments()
    options = Options(
        arguments.seed, arguments.hours, arguments.chargers, arguments.faults, arguments.until,
        _numbers(arguments.only), arguments.trace, arguments.mutant, arguments.crowded,
        tuple(map(_fault, arguments.add)), arguments.away,
    )  # fmt: skip
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix=f"zev-site-{options.seed}-"))
    outcome = simulate(options, folder)
    text = "\n".join(_lines(options, outcome, folder))
    (folder / "verdict.txt").write_text(text + "\n", encoding="utf-8")
    if arguments.json:
        print(json.dumps(_document(options, outcome)))  # noqa: T201
    else:
        print(text)  # noqa: T201
    if arguments.keep is None and outcome.holds:
        shutil.rmtree(folder)
    if arguments.shrink and not outcome.holds:
        from .shrink import shrink

        shrink(options, outcome.broken)
    return 0 if outcome.holds else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.site", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--chargers", type=int, default=8)
    parser.add_argument("--faults", type=float, default=Options.faults_per_hour, help="faults an hour")
    parser.add_argument("--only", help="only these faults of the plan, by number: 3,7,12 or none")
    parser.add_argument("--add", action="append", default=[], help="one more fault: AT_S,KIND,LASTS_S,SIZE")
    parser.add_argument("--until", type=float, help="stop at this second; nothing is judged but the seconds so far")
    parser.add_argument("--trace", action="store_true", help="print what happens on standard error")
    parser.add_argument("--shrink", action="store_true", help="after a failure: which faults does it take?")
    parser.add_argument("--mutant", help="break the gateway on purpose (tests/site/mutants.py)")
    parser.add_argument("--crowded", action="store_true", help="room for two, and everybody stays: cars take turns")
    parser.add_argument("--away", type=float, default=0.0, metavar="DAYS", help="without CSMS and broker before it")
    parser.add_argument("--keep", type=Path, help="keep evidence and logs in this folder")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the verdict")
    return parser.parse_args()


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    return [] if text == "none" else [int(number) for number in text.split(",")]


def _fault(text: str) -> Fault:
    at_s, kind, lasts_s, size = text.split(",")
    return Fault(float(at_s), kind, float(lasts_s), "", float(size))


def _lines(options: Options, outcome: Outcome, folder: Path) -> list[str]:
    lived_s = outcome.real_s - outcome.past.took_s
    speed = outcome.site_s / lived_s
    lines = [
        f"digest {outcome.digest}",
        f"{outcome.site_s:.0f} s in {lived_s:.1f} s: {speed:.0f} times real time; "
        f"judged in {outcome.judge_s:.1f} s; {len(options.plan().faults)} faults",
        *_past(options, outcome.past),
        *report(outcome.findings),
    ]
    if outcome.crash:
        lines.append(f"BROKEN crash  {outcome.crash}")
    if options.until_s is not None:
        lines += [f"BROKEN {violation}" for violation in outcome.violations]
    if not outcome.holds:
        lines += [f"seed {options.seed} fails: {', '.join(outcome.broken)}", f"again: {options.command()} --trace",
                  f"the logs and the evidence are in {folder}"]  # fmt: skip
    return lines


def _past(options: Options, past: PastFigures) -> list[str]:
    if not options.away_days:
        return []
    return [
        f"{options.away_days:g} days before it in {past.took_s:.1f} s: {past.on_disk / 1e6:.1f} MB on disk, "
        f"{past.written / 1e6 / options.away_days:.1f} MB written a day, {past.held / 1e6:.1f} MB held in memory"
    ]


def _document(options: Options, outcome: Outcome) -> dict[str, object]:
    first = {finding.invariant: finding.first_violation for finding in outcome.findings if not finding.holds}
    return {
        "seed": options.seed,
        "hours": options.hours,
        "chargers": options.chargers,
        "digest": outcome.digest,
        "site_s": outcome.site_s,
        "real_s": round(outcome.real_s, 2),
        "judge_s": round(outcome.judge_s, 2),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "faults": len(options.plan().faults),
        "away_days": options.away_days,
        "past": asdict(outcome.past),
        "holds": outcome.holds,
        "broken": outcome.broken,
        "first": {**first, **({"crash": outcome.crash} if outcome.crash else {})},
        "figures": {finding.invariant: finding.figures for finding in outcome.findings},
    }


if __name__ == "__main__":
    sys.exit(main())

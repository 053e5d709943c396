"""One watch from its seed to its verdict, in this process: the libraries' time and randomness are not given back."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import structlog

from simulators.judge.verdict import Finding

from .clock import put_on_rails
from .house import House
from .loop import NODE, SimLoop, spare_the_collector
from .past import PastFigures, drain_faults
from .plan import DAY_S, Fault, Plan, make_plan
from .verdict import judge_watch
from .watch import Violation

LEFTOVERS = ("evidence", "state", "scale.json", "site.toml", "gateway.log", "story.log", "verdict.txt")


@dataclass(frozen=True)
class Options:
    """What to live through. `only` leaves out every other fault (numbers in the plan's list)."""

    seed: int = 1
    hours: float = 1.0
    chargers: int = 8
    faults_per_hour: float = 40.0
    until_s: float | None = None
    only: list[int] | None = None
    trace: bool = False
    mutant: str | None = None
    crowded: bool = False
    added: tuple[Fault, ...] = ()
    away_days: float = 0.0

    def plan(self) -> Plan:
        """The plan of this watch."""
        plan = make_plan(self.seed, self.hours, self.chargers, self.faults_per_hour, crowded=self.crowded)
        plan = replace(plan, away_s=round(self.away_days * DAY_S))
        if plan.away_s and self.faults_per_hour:
            plan = plan.with_added(drain_faults(plan))
        return (plan if self.only is None else plan.with_faults(self.only)).with_added(self.added)

    def command(self) -> str:
        """How to run it again."""
        parts = [f"python -m tests.site --seed {self.seed} --hours {self.hours:g} --chargers {self.chargers}"]
        if self.faults_per_hour != Options.faults_per_hour:
            parts.append(f"--faults {self.faults_per_hour:g}")
        if self.crowded:
            parts.append("--crowded")
        if self.away_days:
            parts.append(f"--away {self.away_days:g}")
        if self.only is not None:
            parts.append(f"--only {','.join(map(str, self.only)) or 'none'}")
        parts += [f"--add {one.at_s:g},{one.kind},{one.lasts_s:g},{one.size:g}" for one in self.added]
        return " ".join(parts)


@dataclass
class Outcome:
    """What came of it."""

    digest: str
    site_s: float
    """Site seconds of the watch; the days before it do not count."""
    real_s: float
    judge_s: float
    findings: list[Finding] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    crash: str = ""
    past: PastFigures = field(default_factory=PastFigures)

    @property
    def holds(self) -> bool:
        """Every invariant holds."""
        return not self.crash and all(finding.holds for finding in self.findings)

    @property
    def broken(self) -> list[str]:
        """The names of the invariants that do not hold."""
        return [*(["crash"] if self.crash else []), *(f.invariant for f in self.findings if not f.holds)]


def simulate(options: Options, folder: Path) -> Outcome:
    """Live through it and judge it. `folder` is emptied first, and holds the evidence and two logs afterwards."""
    _fresh(folder)
    started = time.process_time()
    plan = options.plan()
    loop = SimLoop()
    put_on_rails(loop, plan.start_ms, plan.seed)
    if options.mutant is not None:
        from .mutants import break_gateway

        break_gateway(options.mutant)
    spare_the_collector()
    with (folder / "gateway.log").open("w") as gateway_log, (folder / "story.log").open("w") as story_log:
        _log_to(gateway_log, loop, plan.start_ms, also=sys.stderr if options.trace else None)
        house = House(plan, folder, loop, _tracer(story_log, also=sys.stderr if options.trace else None))
        asyncio.set_event_loop(loop)
        crash = ""
        try:
            loop.run_until_complete(house.run(options.until_s))
        except Exception as error:
            crash = f"{loop.time() - plan.away_s:.1f} s  {type(error).__name__}: {error}"
            if options.trace:
                raise
    lived_s = time.process_time() - started
    findings = (
        judge_watch(folder, house.watch, house.budget, house.turns, house.drain)
        if options.until_s is None and not crash
        else []
    )
    judged_s = time.process_time() - started - lived_s
    return Outcome(
        house.digest.hexdigest(),
        loop.time() - plan.away_s,
        lived_s,
        judged_s,
        findings,
        list(house.watch.violations),
        crash,
        house.past,
    )


def _fresh(folder: Path) -> None:
    """An older run's evidence is taken away, nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in LEFTOVERS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _log_to(file: IO[str], loop: SimLoop, epoch_ms: int, also: IO[str] | None) -> None:
    """The gateway's own events, as JSON lines with true time and machine; nothing of it on standard output.

    What a dead machine's `finally` blocks say while it is buried is nobody's word.
    """

    def write(_: Any, level: str, event: dict[str, Any]) -> str:
        if NODE.get() in loop.dead:
            raise structlog.DropEvent
        event |= {"level": level, "node": NODE.get(), "t": epoch_ms + round(loop.time() * 1000)}
        line = str(structlog.processors.JSONRenderer(ensure_ascii=False)(None, "", event))
        if also is not None:
            also.write(line + "\n")
        return line

    structlog.configure(processors=[write], logger_factory=structlog.PrintLoggerFactory(file))


def _tracer(file: IO[str], also: IO[str] | None) -> Callable[[str], None]:
    def trace(line: str) -> None:
        file.write(line + "\n")
        if also is not None:
            also.write(line + "\n")

    return trace

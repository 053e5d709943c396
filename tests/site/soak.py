"""`make soak`: many watches and one whole day on every core, resumable, with progress and a result file.

    python -m tests.site.soak                       150 watches, a day with 20 wallboxes, 14 days without the internet
    python -m tests.site.soak --long                1000 watches, ten days and a week with 20 wallboxes, 30 days without
    python -m tests.site.soak --watches 20 --no-day
    python -m tests.site.soak --long --watches 4 --lengths 0.02       all of it, short: does it work?

What has been run is kept in `run/soak/COMMIT.jsonl`: a soak that was broken off goes on where it was. The result goes
to `docs/evidence/soak-COMMIT.txt`; the exit code is 0 only if nothing broke.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
FIRST_SEED = 10_000
DAY_FAULTS = 20.0
CROWDED_EVERY = 10
"""So many watches to one in which everybody stays and two minima fit: there cars take turns (I9)."""


@dataclass(frozen=True, slots=True)
class Run:
    """One watch of a soak."""

    seed: int
    hours: float
    chargers: int
    faults: float
    crowded: bool = False
    away_days: float = 0.0

    @property
    def key(self) -> str:
        key = f"{self.seed}/{self.hours:g}/{self.chargers}/{self.faults:g}" + "/crowded" * self.crowded
        return f"{key}/away {self.away_days:g}" if self.away_days else key


def main() -> int:
    arguments = _arguments()
    runs = list(_plan(arguments))
    state = ROOT / "run" / "soak" / f"{_commit()}.jsonl"
    state.parent.mkdir(parents=True, exist_ok=True)
    done = {line["key"]: line for line in _lines(state)}
    left = [run for run in runs if run.key not in done]
    print(f"{len(runs)} runs, {len(runs) - len(left)} of them done before; {arguments.cores} at a time")  # noqa: T201
    started = time.monotonic()
    with ThreadPoolExecutor(arguments.cores) as pool, state.open("a", encoding="utf-8") as file:
        for number, future in enumerate(as_completed([pool.submit(_run, run) for run in left]), 1):
            line = future.result()
            done[line["key"]] = line
            file.write(json.dumps(line) + "\n")
            file.flush()
            _progress(line, number, len(left), started)
    text = _report([done[run.key] for run in runs], time.monotonic() - started)
    target = arguments.to or ROOT / "docs" / "evidence" / f"soak-{_commit()}.txt"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    print(f"\n{text}\n{target}")  # noqa: T201
    return 0 if all(done[run.key]["holds"] for run in runs) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.site.soak", description=__doc__.split("\n\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--watches", type=int, help="150, with --long 1000")
    parser.add_argument("--lengths", type=float, default=1.0, help="the long ones last so many times as long")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--no-day", action="store_true")
    parser.add_argument("--long", action="store_true", help="1000 watches, ten days, a week, 30 days away")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--to", type=Path, help="the result file")
    return parser.parse_args()


def _plan(arguments: argparse.Namespace) -> Iterator[Run]:
    """The long ones first, so that no core waits for them at the end."""
    seed, times = arguments.first_seed, arguments.lengths
    if arguments.long:
        yield Run(seed, _at_least(168.0 * times), 20, DAY_FAULTS)
    if not arguments.no_day:
        for number in range(10 if arguments.long else 1):
            yield Run(seed + number, _at_least(24.0 * times), 20, DAY_FAULTS)
        if arguments.long:
            yield Run(seed, 2.0, 20, 40.0, away_days=30.0 * times)
        yield Run(seed, 1.0, 12, 40.0, away_days=14.0 * times)
    watches = arguments.watches if arguments.watches is not None else 1000 if arguments.long else 150
    for number in range(watches):
        yield Run(seed + number, 1.0, 8, 40.0, crowded=number % CROWDED_EVERY == CROWDED_EVERY - 1)


def _at_least(hours: float) -> float:
    """A watch needs some minutes to begin and to drain."""
    return max(0.3, hours)


def _run(run: Run) -> dict[str, Any]:
    command = [
        sys.executable, "-m", "tests.site", "--json", "--seed", str(run.seed), "--hours", str(run.hours),
        "--chargers", str(run.chargers), "--faults", str(run.faults), *(["--crowded"] if run.crowded else []),
        *(["--away", str(run.away_days)] if run.away_days else []),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        outcome: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        outcome = {"holds": False, "broken": ["crash"], "first": {"crash": done.stderr[-2000:]}, **asdict(run)}
    return {"key": run.key, "command": " ".join(command[1:]).replace("--json ", ""), **outcome}


def _progress(line: dict[str, Any], number: int, of: int, started: float) -> None:
    took_s = time.monotonic() - started
    left_s = took_s / number * (of - number)
    word = "holds" if line["holds"] else f"BROKEN {', '.join(line['broken'])}"
    print(f"{number:5d}/{of}  {line['key']:20} {word:30} {left_s / 60:5.1f} min left", flush=True)  # noqa: T201


def _report(lines: list[dict[str, Any]], took_s: float) -> str:
    broken = [line for line in lines if not line["holds"]]
    site_h = sum(line.get("site_s", 0) for line in lines) / 3600
    cpu_s = sum(line.get("real_s", 0) + line.get("judge_s", 0) for line in lines)
    figures: Counter[str] = Counter()
    for line in lines:
        figures["cars"] += int(line.get("figures", {}).get("story", {}).get("cars", 0))
        figures["sessions to bill"] += int(line.get("figures", {}).get("story", {}).get("to bill", 0))
        figures["messages confirmed by the gateway alone"] += int(
            line.get("figures", {}).get("I3", {}).get("confirmed by the gateway", 0)
        )
        figures["faults"] += int(line.get("faults", 0) or 0)
        figures["waits for a turn"] += int(line.get("figures", {}).get("I9", {}).get("waits", 0))
    memory = max((line.get("rss_mb", 0) for line in lines), default=0)
    speed = site_h * 3600 / max(cpu_s, 1)
    parts = [
        f"soak of {_commit()}: {len(lines)} runs, {len(broken)} broken",
        f"python {platform.python_version()}, {os.cpu_count()} cores; {took_s / 60:.1f} min in this call",
        f"{site_h:.0f} simulated hours in {cpu_s / 60:.0f} min of one core: {speed:.0f} times real time",
        *(f"{name}: {count}" for name, count in sorted(figures.items())),
        f"largest memory of a run: {memory} MB",
        *map(_away, (line for line in lines if line.get("away_days"))),
        "",
    ]
    for line in broken:
        parts += [line["command"], *(f"    {name}: {text}" for name, text in line["first"].items())]
    return "\n".join(parts) + "\n"


def _away(line: dict[str, Any]) -> str:
    """The days before a watch without central system and cloud, and what became of what had waited."""
    past, drain = line.get("past", {}), line.get("figures", {}).get("drain", {})
    figures = ", ".join(f"{name} {value}" for name, value in drain.items())
    return (
        f"{line['away_days']:g} days without CSMS and broker, {line['chargers']} wallboxes: lived in "
        f"{past.get('took_s', 0):.0f} s, {past.get('on_disk', 0) / 1e6:.0f} MB on disk, "
        f"{past.get('written', 0) / 1e6 / line['away_days']:.0f} MB written a day, "
        f"{past.get('held', 0) / 1e6:.1f} MB held in memory; {figures}"
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


def _commit() -> str:
    """The commit, or where there is none or it is not what lies here, a mark of the code itself."""
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    changed = subprocess.run(
        ["git", "status", "--porcelain", "gateway", "simulators", "tests/site"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if git.returncode == 0 and not changed.stdout.strip():
        return git.stdout.strip()
    digest = hashlib.sha256()
    for folder in ("gateway", "simulators", "tests/site"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return f"{git.stdout.strip() or 'unknown'}-{digest.hexdigest()[:6]}"


if __name__ == "__main__":
    sys.exit(main())

"""Which faults does a failure take? Leave them out, half of them first, then one by one; each try is a process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

from .run import Options

Fails = Callable[[list[int]], bool]


def shrink(options: Options, broken: list[str]) -> list[int]:
    """Print and return the smallest list of faults found with which one of `broken` still fails."""
    plan = replace(options, only=None).plan()
    numbers = options.only if options.only is not None else list(range(len(plan.faults)))

    def fails(kept: list[int]) -> bool:
        found = _broken(replace(options, only=kept))
        print(f"  {len(kept):3d} faults: {', '.join(found) or 'holds'}", file=sys.stderr)  # noqa: T201
        return bool(set(found) & set(broken))

    smallest = smallest_failing(numbers, fails)
    print(f"{len(smallest)} of {len(plan.faults)} faults are enough:")  # noqa: T201
    for number in smallest:
        print(f"  {number:3d}  {plan.faults[number]}")  # noqa: T201
    print(f"again: {replace(options, only=smallest).command()} --trace")  # noqa: T201
    return smallest


def smallest_failing(numbers: list[int], fails: Fails) -> list[int]:
    """Delta debugging: drop ever smaller pieces as long as it still fails."""
    kept, piece = list(numbers), max(1, len(numbers) // 2)
    while kept:
        dropped = False
        at = 0
        while at < len(kept):
            rest = kept[:at] + kept[at + piece :]
            if fails(rest):
                kept, dropped = rest, True
            else:
                at += piece
        if piece == 1 and not dropped:
            return kept
        piece = max(1, piece // 2)
    return kept


def _broken(options: Options) -> list[str]:
    command = [
        sys.executable, "-m", "tests.site", "--json",
        "--seed", str(options.seed), "--hours", str(options.hours), "--chargers", str(options.chargers),
        "--faults", str(options.faults_per_hour), "--only", ",".join(map(str, options.only or [])) or "none",
        *(["--crowded"] if options.crowded else []),
        *(["--mutant", options.mutant] if options.mutant else []),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        broken: list[str] = json.loads(done.stdout)["broken"]
    except (ValueError, KeyError):
        return ["crash"]
    return broken

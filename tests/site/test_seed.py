"""One seed is one history: the same events at the same times, whatever the process hashes strings with."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .plan import ALL_KINDS, make_plan
from .shrink import smallest_failing

ROOT = Path(__file__).parent.parent.parent


def _digest(seed: int, hash_seed: str) -> str:
    command = [sys.executable, "-m", "tests.site", "--seed", str(seed), "--hours", "0.4", "--chargers", "4",
               "--faults", "150"]  # fmt: skip
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("digest ")]
    assert len(lines) == 1, done.stdout + done.stderr
    logged = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert logged == [], "the gateway's log is not for standard output"
    return lines[0]


def test_the_same_seed_gives_the_same_digest_under_two_hash_seeds() -> None:
    """24 minutes with a fault every 24 s, three times."""
    with ThreadPoolExecutor(2) as pool:
        first, second, other = pool.map(_digest, (7, 7, 8), ("0", "1", "0"))
    assert first == second != other


def test_a_seed_decides_everything_and_every_kind_of_fault_comes_up() -> None:
    assert make_plan(3, 1, 8) == make_plan(3, 1, 8) != make_plan(4, 1, 8)
    kinds = {fault.kind for seed in range(40) for fault in make_plan(seed, 1, 8).faults}
    assert kinds == set(ALL_KINDS)


def test_a_failure_is_shrunk_to_the_faults_that_it_takes() -> None:
    """It fails whenever 3 and 17 are both there."""
    tries: list[list[int]] = []

    def fails(kept: list[int]) -> bool:
        tries.append(kept)
        return {3, 17} <= set(kept)

    assert smallest_failing(list(range(30)), fails) == [3, 17]
    assert len(tries) < 60

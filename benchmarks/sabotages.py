"""The demonstration with each way to break the gateway on purpose: the judge must say no to all, and yes without."""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from simulators.sabotage import NAMES

HONEST = "none"


def run(name: str) -> tuple[str, int, list[str]]:
    """One demonstration: its name, its exit code, and the lines of the invariants that it breaks."""
    command = [sys.executable, "-m", "simulators", "demo", "--plain"]
    if name != HONEST:
        command += ["--sabotage", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return name, done.returncode, [line for line in done.stdout.splitlines() if "BROKEN" in line or "too slow" in line]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="how many demonstrations at once")
    arguments = parser.parse_args()
    right = True
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for name, code, lines in pool.map(run, [HONEST, *NAMES]):
            expected = 0 if name == HONEST else 1
            right &= code == expected
            print(
                f"{name:22} exit code {code}, expected {expected}{'' if code == expected else '   WRONG'}", flush=True
            )
            for line in lines:
                print(f"    {line[:150]}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())

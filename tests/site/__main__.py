"""`python -m tests.site --seed N --hours H --chargers C`: one seeded building, judged from outside."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.site", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--chargers", type=int, default=8)
    parser.add_argument("--faults", type=float, default=30.0, help="faults an hour")
    parser.add_argument("--trace", action="store_true", help="print what happens")
    parser.add_argument("--keep", type=Path, help="keep the evidence in this folder")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="zev-site-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return simulate(arguments, folder)
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder)


def simulate(arguments: argparse.Namespace, folder: Path) -> int:
    from .clock import put_on_rails
    from .house import EPOCH_MS, House
    from .loop import SimLoop
    from .plan import make_plan

    started = time.perf_counter()
    plan = make_plan(arguments.seed, arguments.hours, arguments.chargers, arguments.faults)
    loop = SimLoop()
    put_on_rails(loop, EPOCH_MS, arguments.seed)
    house = House(plan, folder, loop, _trace if arguments.trace else _quiet)
    asyncio.set_event_loop(loop)
    loop.run_until_complete(house.run())
    took_s = time.perf_counter() - started
    print(f"digest {house.digest.hexdigest()}")  # noqa: T201
    print(f"{loop.time():.0f} s in {took_s:.1f} s: {loop.time() / took_s:.0f} times real time")  # noqa: T201
    from simulators.judge import judge

    verdict = judge(folder)
    print(verdict)  # noqa: T201
    return 0


def _trace(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201


def _quiet(line: str) -> None:
    """Nobody asked."""


if __name__ == "__main__":
    sys.exit(main())

"""Everything that takes long, in one go; what it printed is kept in docs/evidence/ with commit and command."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROOFS: dict[str, list[str]] = {
    "slow-tests": ["-m", "pytest", "-m", "slow", "-q"],
    "footprint": ["-m", "benchmarks.footprint"],
    "card": ["-m", "benchmarks.card"],
    "allocation": ["-m", "benchmarks.allocation"],
    "simulation": ["-m", "benchmarks.simulation"],
    "records": ["-m", "benchmarks.records"],
    "sabotages": ["-m", "benchmarks.sabotages"],
}
"""Name of the evidence file -> the command, after the interpreter."""


def commit() -> str:
    """The short commit, with a mark where the work tree differs from it."""
    return (_git("rev-parse", "--short", "HEAD") or "no commit") + ("+" if _git("status", "--porcelain") else "")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def prove(name: str, arguments: list[str], folder: Path) -> int:
    """Run one proof and keep what it printed; its exit code."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    head = (
        f"commit   {commit()}\n"
        f"command  python {' '.join(arguments)}\n"
        f"date     {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n"
        f"took     {time.monotonic() - began:.0f} s, exit code {done.returncode}\n\n"
    )
    (folder / f"{name}.txt").write_text(head + done.stdout + done.stderr, encoding="utf-8")
    print(f"{name}: exit code {done.returncode}, {time.monotonic() - began:.0f} s")
    return done.returncode


def main(names: list[str]) -> int:
    """Run the named proofs, all where none is named; 1 where one failed."""
    unknown = [name for name in names if name not in PROOFS]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; known: {', '.join(PROOFS)}", file=sys.stderr)
        return 2
    folder = ROOT / "docs" / "evidence"
    folder.mkdir(parents=True, exist_ok=True)
    codes = [prove(name, PROOFS[name], folder) for name in names or PROOFS]
    return 1 if any(codes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`python -m simulators.judge DIR`: judge a kept folder again."""

from __future__ import annotations

import sys
from pathlib import Path

from simulators.judge import judge, print_verdict


def main(arguments: list[str]) -> int:
    """0 all hold, 1 something does not, 2 bad call, 3 the machine was too slow."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m simulators.judge DIR", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    if not folder.is_dir():
        print(f"{folder} is no folder", file=sys.stderr)
        return 2
    verdict = judge(folder)
    print_verdict(verdict)
    return verdict.exit_code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

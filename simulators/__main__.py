"""`python -m simulators demo`: the whole story; see --help. Exit code 0: all holds, 1: the judge found something,
2: bad arguments, 3: the machine was too slow to judge."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from simulators.judge import judge, print_verdict
from simulators.sabotage import NAMES

RUNS = Path("run")


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; the exit code."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    try:
        if options.list_sabotage:
            return _list_sabotage(console)
        if options.judge is not None:
            return _judge(options.judge, console)
        return _play(options, console)
    except ValueError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


def _play(options: argparse.Namespace, console: Console) -> int:
    from simulators.demo.gateway_process import GatewayError
    from simulators.demo.runner import Options, Run
    from simulators.demo.watch import watcher

    if not options.speed > 0:
        raise ValueError("--speed: must be positive")
    module = _module(options.sabotage)
    folder = _folder(options.dir)
    plain = options.plain or not console.is_terminal
    console.print(f"evidence is kept in {folder}", soft_wrap=True)

    async def play() -> None:
        playing = asyncio.current_task()
        assert playing is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel)
        run = Run(Options(folder, options.seed, options.broker, options.speed, options.stay, module))
        await run.play(watcher(console, plain=plain))

    failed = ""
    try:
        asyncio.run(play())
    except* GatewayError as group:
        failed = str(group.exceptions[0])
    if failed:
        print(f"demo: {failed} (see {folder}/gateway.log)", file=sys.stderr)
        return 1
    return _judge(folder, console)


def _judge(folder: Path, console: Console) -> int:
    if not folder.is_dir():
        raise ValueError(f"--judge: {folder} is no folder")
    verdict = judge(folder)
    print_verdict(verdict, console)
    again = f'make demo ARGS="--judge {folder}"'
    console.print(f"evidence is kept in {folder}; judge it again: {again}", soft_wrap=True)
    return verdict.exit_code


def _module(sabotage: str | None) -> tuple[str, ...]:
    """What runs as the gateway: itself, or itself with a fault that is patched in from outside."""
    if sabotage is None:
        return ("gateway",)
    if sabotage not in NAMES:
        raise ValueError(f"--sabotage: {sabotage!r} is unknown; there are {', '.join(NAMES)}")
    return ("simulators.sabotage", sabotage)


def _list_sabotage(console: Console) -> int:
    for name, sabotage in NAMES.items():
        console.print(f"{name:<22} {sabotage.description} (breaks {', '.join(sabotage.breaks)})", soft_wrap=True)
    return 0


def _folder(wanted: Path | None) -> Path:
    """A new folder for this run, or the empty one that was asked for. ValueError."""
    if wanted is None:
        number = 1
        while (RUNS / f"demo-{number}").exists():
            number += 1
        wanted = RUNS / f"demo-{number}"
    if wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
        raise ValueError(f"--dir: {wanted} is not empty; each run needs a folder of its own")
    try:
        wanted.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--dir: {wanted} cannot be made: {error.strerror}") from error
    return wanted.absolute()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulators", description="The simulated building.")
    demo = parser.add_subparsers(dest="command", required=True).add_parser(
        "demo", help="a Saturday noon in three minutes, with the real gateway, and a judge at the end"
    )
    demo.add_argument("--seed", type=int, default=1, help="repeats weather, drivers and ids (default 1)")
    demo.add_argument("--broker", default="embedded", help="embedded (default), mosquitto, or HOST:PORT")
    demo.add_argument("--dir", type=Path, help="where the evidence goes (default run/demo-N)")
    demo.add_argument("--speed", type=float, default=60.0, help="site seconds per real second (default 60)")
    demo.add_argument("--stay", action="store_true", help="go on after the story until Ctrl+C")
    demo.add_argument("--plain", action="store_true", help="one line per event, no live picture")
    demo.add_argument("--sabotage", metavar="NAME", help="break the gateway from outside; the judge must find it")
    demo.add_argument("--list-sabotage", action="store_true", help="say what can be sabotaged")
    demo.add_argument("--judge", type=Path, metavar="DIR", help="judge a kept folder again")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

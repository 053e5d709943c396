"""The command line `zev-gateway`. No traceback reaches a person: one sentence on standard error, and an exit code.

`run` and `health` are taken here, so that the daemon never loads the tables and typer; all other commands stand in
`command/commands.py`. Exit codes: 0 done, 1 found something wrong, 2 bad input or configuration.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from gateway import __version__
from gateway.command.directories import UserError, make_run_dir, run_dir, state_dir


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(words)
    except UserError as error:
        _say(str(error))
        return error.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `zev-gateway sessions | head`: nobody reads on, and the interpreter must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the border to a person
        _say(f"failed, which is a mistake of this program ({type(error).__name__}: {error}); {_keep_traceback()}")
        return 1


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["run"] and not {"-h", "--help"} & set(words):
        options = _run_options(words[1:])
        return run(options.config, options.state, options.run, options.clock)
    if words[:1] == ["health"] and not {"-h", "--help"} & set(words):
        return health(_directories("health").parse_args(words[1:]).run)
    if words[:1] == ["--version"]:
        print(f"zev-gateway {__version__}")  # noqa: T201 - it speaks to a person
        return 0
    from gateway.command.commands import execute

    return execute(words)


def run(config: Path, state: Path | None, runtime: Path | None, clock_text: str | None) -> int:
    """The daemon, until SIGTERM."""
    from gateway.clock import RealClock, ScaledClock, parse_scale
    from gateway.command.checkup import check_up

    try:
        scale = parse_scale(clock_text) if clock_text else None
    except ValueError as error:
        raise UserError(str(error)) from error
    found = check_up(config)
    if found.site is None or found.problems:
        raise UserError(f"{config}: {found.sentence()}")
    if scale is not None and not found.site.simulation:
        raise UserError("--clock: is for demonstrations; it needs simulation = true in [site] of the site file")
    folder = run_dir(runtime)
    make_run_dir(folder)
    from gateway import app

    return app.main(found.site, state_dir(state), folder, ScaledClock(scale) if scale else RealClock())


def health(runtime: Path | None) -> int:
    """What the watchdog asks: 0 where the daemon is well, 1 and the reasons where it is not."""
    from gateway.command.control_client import ask

    answer = ask(run_dir(runtime), "health")
    if answer["well"]:
        return 0
    raise UserError("; ".join(answer["problems"]), 1)


class _OneSentence(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}: see {self.prog} --help")


def _directories(command: str) -> argparse.ArgumentParser:
    parser = _OneSentence(prog=f"zev-gateway {command}", add_help=False, allow_abbrev=False)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--run", type=Path)
    return parser


def _run_options(words: list[str]) -> argparse.Namespace:
    parser = _directories("run")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--clock")
    return parser.parse_args(words)


def _say(sentence: str) -> None:
    print(f"zev-gateway: {sentence}", file=sys.stderr)  # noqa: T201 - it speaks to a person


def _keep_traceback() -> str:
    """Write what the maker needs into a file; a sentence that says where."""
    try:
        with tempfile.NamedTemporaryFile("w", prefix="zev-gateway-", suffix=".log", delete=False) as file:
            traceback.print_exc(file=file)
    except OSError as error:
        return f"the details could not be kept: {error.strerror}"
    return f"send {file.name} to the maker"

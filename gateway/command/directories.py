"""Where the state and the control socket are (contract 5.2), and the error that a person is told in one sentence."""

from __future__ import annotations

import os
from pathlib import Path

STATE = Path("/var/lib/zev-gateway")
RUNTIME = Path("/run/zev-gateway")
MAX_SOCKET_PATH = 107
"""sun_path of unix(7) has 108 bytes, the last one is zero."""


class UserError(Exception):
    """One sentence for a person, with its remedy; `code` is the exit code (1 found something wrong, 2 bad input)."""

    def __init__(self, sentence: str, code: int = 2) -> None:
        super().__init__(sentence)
        self.code = code


def state_dir(given: Path | None) -> Path:
    """`--state`, else $STATE_DIRECTORY (systemd may name several, separated by colons), else the usual place."""
    return (given or _of_service("STATE_DIRECTORY") or STATE).absolute()


def run_dir(given: Path | None) -> Path:
    """`--run`, else $RUNTIME_DIRECTORY, else the usual place. UserError where its socket's path would be too long."""
    folder = (given or _of_service("RUNTIME_DIRECTORY") or RUNTIME).absolute()
    length = len(os.fsencode(folder / "control.sock"))
    if length > MAX_SOCKET_PATH:
        raise UserError(
            f"the path of control.sock in {folder} has {length} bytes, a socket's may have {MAX_SOCKET_PATH}: "
            "give a shorter directory with --run"
        )
    return folder


def look_into(path: Path, missing: str) -> None:
    """UserError with `missing` where `path` does not exist, with the remedy where this user may not look."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{missing}: say with --state where the gateway keeps its state") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): use sudo") from error


def make_run_dir(folder: Path) -> None:
    """Create it where we may. UserError."""
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the runtime directory {folder} cannot be made ({error.strerror}): give another one with --run"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"the runtime directory {folder} cannot be written by this user: give another one with --run")


def _of_service(name: str) -> Path | None:
    value = os.environ.get(name, "").split(":")[0]
    return Path(value) if value else None

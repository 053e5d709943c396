"""The lock of a state directory: whoever changes it, daemon or command, holds it alone."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class StateTakenError(Exception):
    """Another process holds the state directory."""


@contextmanager
def hold(state: Path) -> Iterator[None]:
    """Hold `STATE/lock` while the block runs. StateTakenError where it is taken, OSError where it cannot be written."""
    with (state / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StateTakenError(f"another process uses the state directory {state}") from error
        yield

"""The lock of a state directory: who changes it without a daemon holds it, so that there is one writer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.command.directories import UserError, look_into
from gateway.store.lock import StateTakenError, hold


@contextmanager
def state_lock(state: Path) -> Iterator[None]:
    """Hold it for a while. UserError where there is no state, or a daemon (or another command) holds it."""
    look_into(state / "billing.db", f"there is no database in {state}")
    try:
        with hold(state):
            yield
    except StateTakenError as error:
        raise UserError(
            f"a gateway uses the state directory {state}, but its control socket was not found: give it with --run", 1
        ) from error
    except PermissionError as error:
        raise UserError(f"the state directory {state} cannot be written ({error.strerror}): use sudo") from error

"""Writes a file whole or not at all, and gives it a name that says what it is."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path


def file_name(site: str, kind: str, period: str, extension: str, version: int = 1) -> str:
    """`zev-demo-house_sessions_2026-06-01_2026-07-01_v1.csv`: site, kind, period, version of the columns."""
    safe = (re.sub(r"[^A-Za-z0-9.-]+", "-", part).strip("-") or "x" for part in (site, kind))
    return f"zev-{'_'.join(safe)}_{period}_v{version}.{extension}"


def write_whole(path: Path, data: bytes) -> None:
    """A new file beside the target, synced, then renamed: a reader never sees half of it. OSError."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o640)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

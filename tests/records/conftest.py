"""The public vectors: SAFE-eV/transparenzsoftware (Apache-2.0), handed to the tests from outside the repository."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("ZEV_VECTORS", Path(__file__).parents[3] / "shared" / "vectors")) / "ocmf"


@pytest.fixture(scope="session")
def vector() -> Callable[[str], str]:
    """The text of a file by its name; the test is skipped where the vectors are not on this machine."""

    def read(name: str) -> str:
        path = FOLDER / name
        if not path.exists():
            pytest.skip(f"no public vectors at {FOLDER}; set ZEV_VECTORS")
        return path.read_text(encoding="utf-8-sig")

    return read

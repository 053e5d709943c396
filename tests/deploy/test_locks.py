"""The locks: every package with its hash, no address, and the same versions in a building as in the tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALL = ROOT / "requirements.lock"
RUN = ROOT / "deploy" / "requirements.lock"


def pins(path: Path) -> dict[str, str]:
    """Version by package."""
    return dict(re.findall(r"(?m)^([a-z0-9][a-z0-9._-]*)==(\S+)", path.read_text()))


@pytest.mark.parametrize("path", [ALL, RUN], ids=["development", "building"])
def test_every_package_has_hashes_and_no_address_stands_there(path: Path) -> None:
    """`pip install --require-hashes` must work from any index, with any processor."""
    text = path.read_text()
    blocks = re.split(r"(?m)^(?=[a-z0-9][a-z0-9._-]*==)", text)[1:]
    assert len(blocks) > 20
    assert all("--hash=sha256:" in block for block in blocks)
    assert not re.search(r"https?:|--index|--extra-index|--find-links|--trusted-host", text)
    assert "setuptools" in pins(path), "the build of the package itself needs it: --no-build-isolation"


def test_a_building_runs_what_was_tested_and_no_tools() -> None:
    """The same versions; pytest and mypy have no business on a Raspberry Pi."""
    tested, runs = pins(ALL), pins(RUN)
    assert {name: version for name, version in tested.items() if name in runs} == runs
    assert not {"pytest", "mypy", "ruff", "hypothesis", "apsw", "iotcore"} & runs.keys()


def test_every_dependency_of_the_project_is_locked() -> None:
    """A name that is added to pyproject.toml needs `make lock`."""
    text = (ROOT / "pyproject.toml").read_text()
    block = text[text.index("dependencies = [") : text.index("]", text.index("dependencies = ["))]
    names = re.findall(r'"([A-Za-z0-9_-]+)', block)
    assert names
    assert {name.lower().replace("_", "-") for name in names} <= pins(RUN).keys()

"""The checks find what they are for: for each invariant a gateway that is broken on purpose."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .mutants import MUTANTS
from .verdict import INVARIANTS

ROOT = Path(__file__).parent.parent.parent
FEW = (
    "below-the-minimum",
    "double-record",
    "rewrite-frame",
    "a-row-is-never-sent",
    "a-lost-cloud-is-not-told",
    "no-place-is-told",
)
"""The quick ones run with every `make test`, all of them with `make prove`."""


def _broken(name: str) -> dict[str, str]:
    mutant = MUTANTS[name]
    command = [
        sys.executable, "-m", "tests.site", "--json", "--mutant", name, "--seed", str(mutant.seed),
        "--hours", str(mutant.hours), "--faults", str(mutant.faults_per_hour),
        *(["--crowded", "--chargers", "4"] if mutant.crowded else []),
        *(["--away", str(mutant.away_days), "--chargers", "4"] if mutant.away_days else []),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    try:
        first: dict[str, str] = json.loads(done.stdout)["first"]
    except ValueError:
        return {"crash": done.stderr[-2000:]}
    return first


@pytest.fixture(scope="module")
def watches(request: pytest.FixtureRequest) -> Any:
    names = [item.callspec.params["name"] for item in request.session.items if item.fspath == request.node.fspath
             and hasattr(item, "callspec")]  # fmt: skip
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(_broken, name) for name in names}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FEW else [pytest.mark.slow]) for name in MUTANTS]
)
def test_a_broken_gateway_is_found(name: str, watches: dict[str, Future[dict[str, str]]]) -> None:
    first = watches[name].result()
    assert MUTANTS[name].breaks in first, json.dumps(first, indent=1)


def test_every_invariant_that_is_checked_has_a_mutant() -> None:
    assert {mutant.breaks for mutant in MUTANTS.values()} == INVARIANTS

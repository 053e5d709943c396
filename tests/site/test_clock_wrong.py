"""A whole house whose clock is wrong until a time server answers: years behind, weeks ahead, at first and later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("0,clock_wrong,200,0.99", id="a first start 21 days ahead"),
        pytest.param("0,clock_wrong,200,0.01", id="a first start 20 years behind"),
        pytest.param("900,clock_wrong,200,0.8", id="3 days ahead after a power cut"),
        pytest.param("900,clock_wrong,200,0.01", id="20 years behind after a power cut"),
    ],
)
def test_a_house_with_a_wrong_clock_bills_everything_once_at_the_right_time(fault: str, tmp_path: Path) -> None:
    """Sessions, registers, quarter hours and the cloud's records, judged by the time of the world."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.site", "--seed", "1", "--chargers", "4", "--only", "none", "--add", fault,
         "--keep", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert '"clock_s' in (tmp_path / "gateway.log").read_text(encoding="utf-8"), "the correction was told"

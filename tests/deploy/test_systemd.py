"""The unit of the service: valid, hardened, and bound to the watchdog."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "zev-gateway.service"
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """systemd-analyze with these arguments."""
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)


@needs_systemd
def test_the_unit_is_valid(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say, once the program stands where it does on this machine."""
    unit = tmp_path / UNIT.name
    text, count = re.subn(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", UNIT.read_text())
    assert count == 1
    unit.write_text(text)
    done = analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
def test_the_exposure_is_at_most_2() -> None:
    """`systemd-analyze security --offline=true`: at most 2.0 of 10."""
    done = analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(UNIT))
    assert done.returncode == 0, done.stdout
    match = re.search(r"exposure level[^:]*: (\d+\.\d)", done.stdout)
    assert match is not None
    assert float(match[1]) <= 2.0


def test_the_unit_says_what_the_daemon_relies_on() -> None:
    """READY and WATCHDOG are spoken, it is started again for ever, and its folders have the names of the contract."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    service = parser["Service"]
    assert (service["Type"], service["WatchdogSec"], service["Restart"]) == ("notify", "60", "always")
    assert parser["Unit"]["StartLimitIntervalSec"] == "0"
    assert service["ExecStart"].endswith("zev-gateway run --config /etc/zev-gateway/site.toml")
    assert (service["StateDirectory"], service["RuntimeDirectory"]) == ("zev-gateway", "zev-gateway")
    assert service["StateDirectoryMode"] == "0700"
    assert "ZEV_MACHINE_BOOT=%b" in service["Environment"] or "ProcSubset" not in service, (
        "who hides /proc/sys hands it in"
    )

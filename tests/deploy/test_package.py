"""What is installed in a building is what the tests have seen: no file is left behind in the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_wheel_holds_every_file_that_the_daemon_reads(tmp_path: Path) -> None:
    """Sources, meter models, dialects, schemas, and the tariffs that a site file may name."""
    checkout, wheels = tmp_path / "checkout", tmp_path / "wheels"
    shutil.copytree(ROOT / "gateway", checkout / "gateway", symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "config", checkout / "config")
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, checkout)
    words = ["wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([sys.executable, "-m", "pip", *words, "-w", str(wheels), str(checkout)], check=True, timeout=120)
    (wheel,) = wheels.glob("zev_gateway-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    wanted = {
        str(path.relative_to(checkout))
        for pattern in ("*.py", "*.toml", "*.sql")
        for path in (checkout / "gateway").rglob(pattern)
    }
    tariffs = {f"gateway/site_text/tariffs/{path.name}" for path in (ROOT / "config" / "tariffs").glob("*.toml")}
    assert tariffs
    assert (wanted | tariffs) - names == set()

"""The container: the files say the same as the program, and its health is the watchdog's."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import gateway

ROOT = Path(__file__).parents[2]
BALENA = ROOT / "deploy" / "balena"
HEALTH = ["CMD", "zev-gateway", "health"]


def test_the_health_check_is_the_watchdog_s_question() -> None:
    """In both files, and it is a command that exists."""
    compose = (BALENA / "docker-compose.yml").read_text()
    dockerfile = (BALENA / "Dockerfile.template").read_text()
    match = re.search(r"test: (\[.*\])", compose)
    assert match is not None
    assert json.loads(match[1]) == HEALTH
    match = re.search(r"HEALTHCHECK .* CMD (\[.*\])", dockerfile)
    assert match is not None
    assert json.loads(match[1]) == HEALTH[1:]


def test_every_file_that_is_copied_exists() -> None:
    """COPY of something that is not there fails on the builder, far away."""
    sources = re.findall(r"(?m)^COPY (.+) \S+$", (BALENA / "Dockerfile.template").read_text())
    assert len(sources) >= 4
    for words in sources:
        for source in words.split():
            assert (ROOT / source).exists(), source


def test_the_version_is_the_program_s() -> None:
    """balena.yml, pyproject.toml and the package."""
    assert f"version: {gateway.__version__}" in (BALENA / "balena.yml").read_text()
    assert f'version = "{gateway.__version__}"' in (ROOT / "pyproject.toml").read_text()


def test_the_start_script_is_a_shell_script_that_parses() -> None:
    """And it becomes the gateway: signals must reach it."""
    script = BALENA / "start.sh"
    assert script.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", str(script)], check=True, timeout=10)
    assert script.read_text().rstrip().splitlines()[-1].startswith("exec zev-gateway run ")

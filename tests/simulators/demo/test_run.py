"""The demonstration as a process: it tidies up when it is ended, and the whole story holds."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import pytest


def hear_the_keyboard() -> None:
    """Who runs the tests in the background has them ignore Ctrl-C, and what they start as well."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


async def demo(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulators", "demo", "--plain", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        preexec_fn=hear_the_keyboard,
    )  # fmt: skip


async def text_until(process: asyncio.subprocess.Process, words: str) -> str:
    assert process.stdout is not None
    seen = ""
    async with asyncio.timeout(30):
        while words not in seen:
            line = await process.stdout.readline()
            assert line, f"it ended without {words!r}: {seen}"
            seen += line.decode()
    return seen


def processes_of(folder: Path) -> list[str]:
    """Command lines of this machine that name the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if str(folder) in line and f"--dir {folder}" not in line]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_run_that_is_ended_early_leaves_no_gateway_behind(tmp_path: Path, number: signal.Signals):
    folder = tmp_path / "run"
    process = await demo("--dir", str(folder))
    await text_until(process, "gateway_ready")
    assert processes_of(folder)
    process.send_signal(number)
    async with asyncio.timeout(60):
        await process.communicate()
    assert process.returncode == 128 + number
    assert processes_of(folder) == []
    assert (folder / "evidence" / "beat.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_the_whole_story_holds(tmp_path: Path, seed: int):
    folder = tmp_path / "run"
    process = await demo("--dir", str(folder), "--seed", str(seed))
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()

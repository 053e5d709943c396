"""The real gateway as a process of its own: started, asked through its control socket, killed, started again."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

from simulators.clock import SiteClock

ANSWER_S = 0.5
STOP_S = 15.0


class GatewayError(Exception):
    """The gateway did not start, or ended by itself; the text says what it said."""


class GatewayProcess:
    """`python -m gateway run` on the run folder. What it writes goes to `gateway.log` there."""

    def __init__(self, folder: Path, clock: SiteClock, module: tuple[str, ...] = ("gateway",)) -> None:
        """`module` is what stands after `python -m`: the gateway, or a saboteur that starts it."""
        self._folder, self._clock, self._module = folder, clock, module
        # The path of a socket is at most 107 bytes, and a checkout may lie deep.
        self._run_dir = Path(tempfile.mkdtemp(prefix="zev-demo-"))
        self._wanted = False
        self._started = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._log: IO[bytes] | None = None

    @property
    def alive(self) -> bool:
        """The process runs."""
        return self._process is not None and self._process.returncode is None

    @property
    def ended_by_itself(self) -> bool:
        """It runs no more, and nobody has ended it."""
        return self._wanted and not self.alive

    async def end_by_itself(self) -> None:
        """Wait until it runs no more although nobody has ended it."""
        while True:
            await self._started.wait()
            assert self._process is not None
            await self._process.wait()
            if self._wanted:
                return

    async def start(self) -> None:
        """Start it; `ready` says when it listens."""
        if self._log is None:
            self._log = (self._folder / "gateway.log").open("ab")
        arguments = [
            "run",
            *("--config", str(self._folder / "site.toml")),
            *("--state", str(self._folder / "state")),
            *("--run", str(self._run_dir)),
            *("--clock", self._clock.option()),
        ]
        self._wanted = True
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *self._module, *arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True,
        )  # fmt: skip
        self._started.set()

    async def ready(self, within_s: float = 30.0) -> None:
        """Wait until it answers; GatewayError where it does not, with the end of its log."""
        try:
            async with asyncio.timeout(within_s):
                while await self.status() is None:
                    if not self.alive:
                        raise GatewayError(f"the gateway ended at its start: {self._last_words()}")
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise GatewayError(f"the gateway did not listen within {within_s:.0f} s: {self._last_words()}") from error

    async def kill(self) -> None:
        """SIGKILL: it gets no chance to finish anything."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM, and SIGKILL where that does not end it; its exit code."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        process = self._process
        self._wanted = False
        self._started.clear()
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_S):
                return await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            return -signal.SIGKILL

    async def status(self) -> dict[str, Any] | None:
        """What `zev-gateway status --json` says, None where it does not answer."""
        if not self.alive:
            return None
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(self._run_dir / "control.sock", limit=1 << 22)
                try:
                    writer.write(b'{"op":"status"}\n')
                    await writer.drain()
                    answer = json.loads(await reader.readline())
                finally:
                    writer.close()
        except (OSError, ValueError, TimeoutError):
            return None
        return answer["result"] if answer.get("ok") else None

    async def public_keys(self) -> str:
        """What `zev-gateway keys --json` prints; GatewayError where it fails."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "keys", "--json", "--state", str(self._folder / "state"),
            "--run", str(self._run_dir), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        if process.returncode != 0:
            raise GatewayError(f"keys --json failed: {err.decode(errors='replace').strip()[-300:]}")
        return out.decode()

    def close(self) -> None:
        """Leave nothing behind: no process, no socket."""
        if self._process is not None and self._process.returncode is None:
            os.kill(self._process.pid, signal.SIGKILL)
        if self._log is not None:
            self._log.close()
        shutil.rmtree(self._run_dir, ignore_errors=True)

    def _last_words(self) -> str:
        text = (self._folder / "gateway.log").read_text(encoding="utf-8", errors="replace").strip()
        return text.splitlines()[-1] if text else "it said nothing"

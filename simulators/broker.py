"""MQTT brokers for demonstrations and tests: an embedded one that needs nothing installed, and mosquitto where it is.

Both run in a child process that can be killed, on a port of 127.0.0.1 that stays the same over a restart.
`python -m simulators.broker PORT` is the child of the embedded one.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

MAX_MESSAGE_BYTES = 160 * 1024
"""More than the largest message of the cloud protocol (128 KiB); the broker's own default of 20 KiB is too small."""

START_S = 15.0
"""How long a broker may take until it listens, on a busy machine."""


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find_mosquitto() -> str | None:
    """The path of mosquitto, None where it is not installed."""
    return shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class BrokerProcess:
    """A broker in a child process. Start and stop block for a moment; call them in a thread from a busy loop."""

    def __init__(self, command: list[str], port: int) -> None:
        self._command = command
        self.port = port
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it listens. RuntimeError where it does not come up."""
        self._child = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._child.poll() is not None:
                raise RuntimeError(f"the broker ended at once (code {self._child.returncode}): {self._command}")
            with socket.socket() as probe:
                probe.settimeout(0.2)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"the broker does not listen on {self.port} after {START_S:.0f} s")

    def stop(self) -> None:
        """SIGTERM, and wait: mosquitto writes its sessions to disk."""
        self._end(kill=False)

    def kill(self) -> None:
        """SIGKILL: what the broker had not written is gone."""
        self._end(kill=True)

    def _end(self, *, kill: bool) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.poll() is None:
            child.kill() if kill else child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(5)
        if child.stdin is not None:
            child.stdin.close()


def embedded(port: int | None = None) -> BrokerProcess:
    """rumqttd of the package `iotcore`, MQTT 3.1.1, no passwords; sessions live in memory."""
    port = port or free_port()
    return BrokerProcess([sys.executable, "-m", "simulators.broker", str(port)], port)


def mosquitto(
    folder: Path, port: int | None = None, *, users: dict[str, str] | None = None, acl: str | None = None,
    certificate: tuple[Path, Path] | None = None,
) -> BrokerProcess:  # fmt: skip
    """mosquitto, MQTT 3.1.1 and 5, sessions kept in `folder`; with `users` only they may connect.

    `certificate` (chain and key, PEM) turns the listener to TLS. FileNotFoundError where it is not installed.
    """
    program = find_mosquitto()
    if program is None:
        raise FileNotFoundError("mosquitto is not installed")
    port = port or free_port()
    lines = [
        f"listener {port} 127.0.0.1",
        "user root",  # only where root starts it: mosquitto would change to a user that cannot read the folder
        "persistence true",
        f"persistence_location {folder}/",
        "autosave_on_changes true",
        "autosave_interval 1",
        "max_queued_messages 10000",
        f"allow_anonymous {'false' if users else 'true'}",
    ]
    if users:
        lines.append(f"password_file {_password_file(folder, users)}")
    if acl:
        (folder / "acl").write_text(acl)
        lines.append(f"acl_file {folder / 'acl'}")
    if certificate:
        lines += [f"certfile {certificate[0]}", f"keyfile {certificate[1]}"]
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n")
    return BrokerProcess([program, "-c", str(config)], port)


def _password_file(folder: Path, users: dict[str, str]) -> Path:
    path = folder / "passwords"
    path.write_text("".join(f"{name}:{password}\n" for name, password in users.items()))
    path.chmod(0o600)
    hasher = shutil.which("mosquitto_passwd") or "mosquitto_passwd"
    subprocess.run([hasher, "-U", str(path)], check=True, capture_output=True)  # hashes the plain file in place
    return path


def _child(port: int) -> None:
    from iotcore import Broker

    threading.Thread(target=_end_with_parent, daemon=True).start()
    Broker(port=port, listen="127.0.0.1", max_payload_size=MAX_MESSAGE_BYTES, max_inflight_count=200).run_forever()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()  # returns when the parent's end of the pipe closes
    os._exit(0)


if __name__ == "__main__":
    _child(int(sys.argv[1]))

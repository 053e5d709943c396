"""`zev-gateway run` as a process: every reason not to start is one sentence and exit code 2, and nothing is lost."""

from __future__ import annotations

import importlib.util
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store.database import migrate
from gateway.store.sqlite import connect

ROOT = Path(__file__).parent.parent
START_S = 60
"""Real seconds: two slow cores that other tests keep busy, too."""

SITE = """\
[site]
id = "house-1"
name = "House 1"

[ocpp]
listen = "127.0.0.1:{port}"

[[circuit]]
id = "house"
fuse_a = 40
fuse = "gG"
house_worst_a = 20

[[charger]]
id = "box1"
circuit = "house"
max_a = 16
fallback_a = 6
participant = "p1"

[[participant]]
id = "p1"
name = "Box 1"
kind = "charger"

[tariff]
default = "NT"
windows = []
"""


@pytest.fixture
def port() -> Iterator[int]:
    """A port that something else listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.fixture
def site(tmp_path: Path, port: int) -> Path:
    """A site file whose port is taken: a start that comes as far as listening ends there."""
    path = tmp_path / "site.toml"
    path.write_text(SITE.format(port=port))
    return path


def run(site: Path, state: Path) -> subprocess.CompletedProcess[str]:
    """The daemon, until it ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", "run", "--config", str(site), "--state", str(state),
         "--run", str(site.parent / "run")],
        capture_output=True, text=True, cwd=ROOT, timeout=START_S, check=False,
    )  # fmt: skip


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence for the person; structured log lines (JSON) may stand before it."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    sentences = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(sentences) == 1, done.stderr
    assert sentences[0].startswith("zev-gateway: ")
    return sentences[0]


def test_a_port_in_use_is_named(site: Path, tmp_path: Path, port: int) -> None:
    """The port, and what to do."""
    told = refused(run(site, tmp_path / "state"))
    assert str(port) in told
    assert "in use" in told


def test_a_signing_key_that_others_can_read_is_refused(site: Path, tmp_path: Path) -> None:
    """The remedy is a command; the key stays what it was."""
    state = tmp_path / "state"
    run(site, state)
    key = state / "keys" / "gateway.pem"
    before = key.read_bytes()
    key.chmod(0o644)
    assert f"chmod 600 {key}" in refused(run(site, state))
    assert key.read_bytes() == before


@pytest.mark.parametrize(("signer", "words"), [("tpm", "a TPM"), ("secure-element", "a secure element")])
def test_a_signer_that_is_not_installed_or_has_no_pin_is_said(
    site: Path, tmp_path: Path, signer: str, words: str
) -> None:
    """The site file asks for hardware: never a file in its place, and the sentence says what is missing."""
    site.write_text(site.read_text().replace("[site]", f'[site]\nsigner = "{signer}"'))
    told = refused(run(site, tmp_path / "state"))
    installed = importlib.util.find_spec("pkcs11") is not None
    assert (f"signing with {words} needs the PIN" if installed else f"signing with {words} is not installed") in told
    assert not (tmp_path / "state" / "keys" / "gateway.pem").exists()


def test_an_unknown_signer_is_a_mistake_of_the_site_file(site: Path, tmp_path: Path) -> None:
    site.write_text(site.read_text().replace("[site]", '[site]\nsigner = "paper"'))
    assert "signer" in refused(run(site, tmp_path / "state"))


def test_a_state_directory_that_cannot_be_written_is_named(site: Path, tmp_path: Path) -> None:
    """A file stands in its place: that binds root, too."""
    state = tmp_path / "state"
    state.write_text("in the way")
    told = refused(run(site, state))
    assert str(state) in told
    assert "--state" in told
    assert state.read_text() == "in the way"


def test_a_database_of_a_newer_version_is_left_alone(site: Path, tmp_path: Path) -> None:
    """Nothing in it is touched; the sentence says both versions."""
    state = tmp_path / "state"
    state.mkdir()
    db = connect(state / "billing.db")
    migrate(db)
    db.execute("PRAGMA user_version=999")
    db.close()
    told = refused(run(site, state))
    assert "999" in told
    db = connect(state / "billing.db")
    try:
        assert db.execute("PRAGMA user_version").fetchone() == (999,)
    finally:
        db.close()


def test_the_database_of_another_program_is_refused_and_left_alone(site: Path, tmp_path: Path) -> None:
    """It was adopted silently: our tables were added to it. Not a byte changes now."""
    state = tmp_path / "state"
    state.mkdir()
    db = sqlite3.connect(state / "billing.db")
    db.execute("CREATE TABLE photos (id INTEGER)")
    db.commit()
    db.close()
    before = (state / "billing.db").read_bytes()
    told = refused(run(site, state))
    assert "another program's database" in told
    assert "--state" in told
    assert (state / "billing.db").read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(site: Path, tmp_path: Path) -> None:
    """It is never replaced by an empty one: what was in it may be saved."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "billing.db").write_bytes(b"no database at all" * 300)
    told = refused(run(site, state))
    assert "billing.db" in told
    assert (state / "billing.db").read_bytes() == b"no database at all" * 300


def test_it_is_ready_tells_its_state_and_ends_on_sigterm(site: Path, tmp_path: Path) -> None:
    """READY and WATCHDOG arrive, `health` and `status` answer, a second daemon is refused, SIGTERM ends it with 0."""
    site.write_text(SITE.format(port=_free_port()))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(START_S)
        words = ["--state", str(tmp_path / "state"), "--run", str(tmp_path / "run")]
        daemon = subprocess.Popen(
            [sys.executable, "-m", "gateway", "run", "--config", str(site), *words],
            cwd=ROOT, env={"PATH": "/usr/bin", "NOTIFY_SOCKET": str(tmp_path / "notify")},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while b"READY=1" not in manager.recv(4096):
                assert daemon.poll() is None
            while b"WATCHDOG=1" not in manager.recv(4096):
                assert daemon.poll() is None
            _ask("health", tmp_path)
            assert "house-1" in _ask("status", tmp_path)
            assert "another gateway" in refused(run(site, tmp_path / "state"))
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(START_S) == 0
        finally:
            daemon.kill()
            daemon.wait()


def _ask(command: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", command, "--run", str(folder / "run")],
        capture_output=True, text=True, cwd=ROOT, timeout=START_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])

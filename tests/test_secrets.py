"""Secrets come by name from the service manager or from a file of the owner alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.secrets import SecretError, Secrets, secret_problems
from gateway.site import Cloud, Site, Tariff, Upstream


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`secrets/` beside a site file."""
    (tmp_path / "secrets").mkdir()
    return tmp_path / "secrets"


def put(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a secret file."""
    path.write_bytes(content)
    path.chmod(mode)


@pytest.mark.parametrize("content", [b"s3cret", b"s3cret\n", b"s3cret\r\n"])
def test_a_trailing_line_end_is_no_part_of_a_secret(folder: Path, content: bytes) -> None:
    """Editors add it; a blank inside stays."""
    put(folder / "csms", content)
    assert Secrets(None, folder).get("csms") == b"s3cret"


def test_the_credential_of_the_service_manager_goes_first(folder: Path, tmp_path: Path) -> None:
    """$CREDENTIALS_DIRECTORY is guarded by systemd; its modes are not ours to judge."""
    put(folder / "csms", b"file")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    put(credentials / "csms", b"credential", 0o644)
    assert Secrets(credentials, folder).get("csms") == b"credential"


def test_beside_reads_the_environment(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With $CREDENTIALS_DIRECTORY and without."""
    put(folder / "csms", b"file")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert Secrets.beside(tmp_path / "site.toml").get("csms") == b"file"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    assert Secrets.beside(None).get("csms") == b"file"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_use_is_refused(folder: Path, mode: int) -> None:
    """One sentence with the remedy."""
    put(folder / "csms", b"x", mode)
    with pytest.raises(SecretError, match="chmod 600"):
        Secrets(None, folder).get("csms")


def test_an_empty_secret_is_refused_and_a_missing_one_is_none(folder: Path) -> None:
    """An empty password is a mistake, not a password."""
    put(folder / "csms", b"\n")
    with pytest.raises(SecretError, match="is empty"):
        Secrets(None, folder).get("csms")
    assert Secrets(None, folder).get("other") is None
    assert Secrets(None, None).get("other") is None


def test_check_names_every_secret_that_is_missing_or_loose(folder: Path) -> None:
    """For whom, and where it must be written."""
    site = Site(
        id="s",
        name="s",
        timezone="Europe/Zurich",
        circuits=(),
        tariff=Tariff(id="t", default="NT", windows=()),
        upstreams=(Upstream(id="csms", url="ws://x/{id}", secret="csms"),),
        cloud=Cloud(host="b", port=1883, username="u", secret="broker"),
    )
    put(folder / "csms", b"x", 0o644)
    found = secret_problems(site, Secrets(None, folder))
    assert len(found) == 2
    assert "upstream csms" in found[0]
    assert "chmod 600" in found[0]
    assert str(folder / "broker") in found[1]
    put(folder / "broker", b"x")
    assert len(secret_problems(replace(site, upstreams=()), Secrets(None, folder))) == 0

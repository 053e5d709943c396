"""Secrets by name: a systemd credential, or a file that only its owner can read. Never in the site file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from gateway.site import Site

MAX_BYTES = 64 * 1024


class SecretError(ValueError):
    """A secret that must not or cannot be used; the text is one sentence with its remedy."""


class Secrets:
    """Looks in the service manager's credential directory first, then in `folder`."""

    def __init__(self, credentials: Path | None, folder: Path | None) -> None:
        self._credentials = credentials
        self._folder = folder

    @classmethod
    def beside(cls, site_file: Path | None) -> Secrets:
        """`$CREDENTIALS_DIRECTORY/NAME`, else `secrets/NAME` beside the site file."""
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        return cls(Path(credentials) if credentials else None, site_file.parent / "secrets" if site_file else None)

    def get(self, name: str) -> bytes | None:
        """The secret without a trailing line end; None where there is none. SecretError."""
        if self._credentials is not None and _mode(self._credentials / name) is not None:
            return _read(self._credentials / name)  # the service manager guards that directory itself
        path = self._folder / name if self._folder is not None else None
        mode = _mode(path) if path is not None else None
        if path is None or mode is None:
            return None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SecretError(f"the secret file {path} can be used by others than its owner: chmod 600 {path}")
        return _read(path)

    def where(self, name: str) -> str:
        """Where the secret is expected, for a person."""
        return str(self._folder / name) if self._folder is not None else f"$CREDENTIALS_DIRECTORY/{name}"


def _mode(path: Path) -> int | None:
    """Its permissions; None where there is no such file. SecretError where one may not even look."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SecretError(
            f"the secret file {path} cannot be read ({error.strerror}): use the service's account"
        ) from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SecretError(
            f"the secret file {path} cannot be read ({error.strerror}): use the service's account"
        ) from error
    if len(content) > MAX_BYTES:
        raise SecretError(f"the secret file {path} is larger than 64 KiB, this cannot be a secret")
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    if not content:
        raise SecretError(f"the secret file {path} is empty")
    return content


def secrets_of(site: Site) -> Iterator[tuple[str, str]]:
    """(name of a secret, who needs it) for everything that the site file names."""
    for upstream in site.upstreams:
        if upstream.secret is not None:
            yield upstream.secret, f"upstream {upstream.id}"
    for charger in site.chargers:
        if charger.secret is not None:
            yield charger.secret, f"charger {charger.id}"
    if site.cloud is not None and site.cloud.secret is not None:
        yield site.cloud.secret, "cloud"


def secret_problems(site: Site, secrets: Secrets) -> list[str]:
    """One sentence for each secret that is missing or must not be used."""
    problems = []
    for name, user in secrets_of(site):
        try:
            if secrets.get(name) is None:
                problems.append(f"{user}: there is no secret {name!r}: write it to {secrets.where(name)}, mode 0600")
        except SecretError as error:
            problems.append(f"{user}: {error}")
    return problems

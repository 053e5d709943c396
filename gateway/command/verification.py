"""`verify` and `keys`: all records of the store, or the signed texts of a file, against the keys of this gateway."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization

from gateway.command.directories import UserError, look_into
from gateway.model import Connection
from gateway.records.signing import KeyFileError, list_keys
from gateway.records.verify import Finding, Link, Verdict, check_sequence, verify_ocmf

MAX_FILE_BYTES = 64 * 1024 * 1024


@dataclass
class Verification:
    """What was looked at, and what is wrong: (which record, why)."""

    records: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)


def keys_of(state: Path) -> list[dict[str, Any]]:
    """Every key that ever signed here. UserError where there is none."""
    folder = state / "keys"
    look_into(folder, f"there are no keys in {folder}")
    try:
        return list_keys(folder)
    except (KeyFileError, OSError) as error:
        raise UserError(str(error)) from error


def verify_store(db: Connection, state: Path) -> Verification:
    """Signatures, hash chain and pagination of every record that the store holds."""
    keys = {str(key["key_id"]): bytes.fromhex(key["spki_hex"]) for key in keys_of(state)}
    rows = db.execute(
        "SELECT id, key_id, charge_point, pagination, text, prev, sha256, signed_by FROM record ORDER BY id"
    )
    links = [Link(*row) for row in rows]
    problems = [(f"record {number}", why) for number, why in check_sequence(links, keys)]
    return Verification(len(links), problems)


def verify_file(path: Path, keys: list[bytes]) -> Verification:
    """Every OCMF text of a file, one a line; one that any of `keys` (SPKI) signed is valid. UserError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text of signed records: it is not UTF-8") from error
    if len(content) > MAX_FILE_BYTES:
        raise UserError(f"{path} is larger than 64 MiB: verify it in parts")
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not any(line.lstrip().startswith("OCMF|") for _, line in lines):
        raise UserError(f"{path} holds no signed record: one OCMF text a line is expected")
    found = Verification(len(lines))
    for number, line in lines:
        finding = _best(line, keys)
        if finding.verdict is not Verdict.VALID:
            found.problems.append((f"line {number}", f"{finding.verdict.value}: {finding.reason}".rstrip(": ")))
    return found


def read_key(path: Path) -> list[bytes]:
    """Public keys of a file: PEM, or the JSON that `zev-gateway keys --json` prints. UserError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    try:
        if content.lstrip().startswith(b"{"):
            return [bytes.fromhex(key["spki_hex"]) for key in json.loads(content)["keys"]]
        key = serialization.load_pem_public_key(content)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no public key: PEM, or what zev-gateway keys --json prints") from error
    return [key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)]


def _best(text: str, keys: list[bytes]) -> Finding:
    """The verdict of the key that fits, else that of the last one tried."""
    finding = verify_ocmf(text, None)
    for key in keys:
        finding = verify_ocmf(text, key)
        if finding.verdict in (Verdict.VALID, Verdict.VALID_NOT_STRICT_DER):
            return finding
    return finding

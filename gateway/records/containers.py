"""Pure: files of signed texts: XML of Transparenzsoftware, Mennekes' billing XML, JSON, one text a line, one text."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.records.recognise import Format, local_name, read_xml, recognise
from gateway.records.wrappers import unwrap

MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class Held:
    """One signed text of a file. `place` names it for a person; `key` is the public key that stands beside it.

    `transaction` is what the file calls the session that it belongs to, empty where it says nothing.
    """

    place: str
    text: str
    key: str | None = None
    transaction: str = ""


def read_container(content: str) -> list[Held]:
    """Every signed text of a file, in order; empty where there is none. Never raises."""
    text = content.removeprefix("\ufeff").strip()
    if text.startswith("<"):
        root = read_xml(text)
        return list(_of_xml(root, text)) if root is not None else []
    if text.startswith(("{", "[")):
        return _of_json(text)
    return _of_lines(text)


def _of_xml(root: ET.Element, text: str) -> Iterator[Held]:
    if local_name(root) == "signedMeterValue":
        yield Held("the text", text)
        return
    processes = [one for one in root.iter() if local_name(one) == "ChargingProcess"]
    for number, process in enumerate(processes, 1):
        yield Held(f"charging process {number}", ET.tostring(process, encoding="unicode"))
    values = [one for one in root.iter() if local_name(one) == "value"]
    for number, value in enumerate(values, 1):
        parts = {local_name(one): one for one in value}
        data = parts.get("signedData")
        if data is None:
            data = parts.get("encodedData")
        if data is None:
            continue
        key = parts.get("publicKey")
        inside = data.text or ""
        if local_name(data) == "encodedData":
            inside = ET.tostring(value, encoding="unicode")
        yield Held(
            f"value {number}",
            inside.strip(),
            (key.text or "").strip() or None if key is not None else None,
            value.get("transactionId", ""),
        )


def _of_json(text: str) -> list[Held]:
    if recognise(text) is not Format.UNKNOWN:
        return [Held("the text", text)]
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return _of_lines(text)
    return list(_walk(document, "", None, 0))


def _walk(value: Any, place: str, key: str | None, depth: int) -> Iterator[Held]:
    """Every string of a JSON document that is a signed text, or wraps one; a `publicKey` beside it is its key."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, dict):
        own = value.get("publicKey")
        key = own if isinstance(own, str) and own else key
        for name, inner in value.items():
            if name != "publicKey":
                yield from _walk(inner, f"{place}.{name}" if place else name, key, depth + 1)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _walk(inner, f"{place}[{number}]", key, depth + 1)
    elif isinstance(value, str):
        found = unwrap(value)
        if found.format is not Format.UNKNOWN:
            yield Held(place or "the text", found.text, found.key or key)


def _of_lines(text: str) -> list[Held]:
    """One text a line; a text that spans lines (hex of an SML file) is one where the whole is known."""
    whole = unwrap(text)
    if "\n" in text and whole.format in (Format.EDL40, Format.ISA_EDL40):
        return [Held("the text", whole.text, whole.key)]
    lines = [(number, line) for number, line in enumerate(re.split(r"\r?\n", text), 1) if line.strip()]
    held = [(number, unwrap(line.strip())) for number, line in lines]
    if all(found.format is Format.UNKNOWN for _, found in held):
        return []
    return [Held(f"line {number}", found.text, found.key) for number, found in held]

"""Pure: signed texts out of OCPP messages, however a charger wraps them; the text itself stays byte for byte.

In OCPP 1.6 they stand in `SampledValue.value` with `format` = SignedData, in MeterValues and in
StopTransaction.transactionData; the value is (a) the text itself, (b) hex of it, (c) a JSON object in a string with
`signedMeterData` (Open Charge Alliance, "Signed Meter Values in OCPP", 2025), (d) the same with `signedMeterValue`
(be.ENERGISED), or (e) a text of another format. In OCPP 2.x there is `sampledValue.signedMeterValue`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from gateway.records.recognise import Format, binary_of, json_object, recognise

MAX_DEPTH = 3
"""Wrappers inside wrappers that are opened."""

MIN_TEXT = 25
"""Characters of a value that may be a signed text; a register is shorter, and every message is full of them."""

_BEGINNINGS = ("OCMF|", "AP;")

MAX_SAMPLES = 2000
"""Signed values taken from one message; a transaction's end has two, an hour of 15 s readings 240."""


class Wrapper(StrEnum):
    """How a text came. Several are joined by `>`, outermost first."""

    PLAIN = "plain"
    HEX = "hex"
    BASE64 = "base64"
    JSON_DATA = "signedMeterData"
    JSON_VALUE = "signedMeterValue"
    OCPP2 = "ocpp2"
    ESCAPED = "escaped"
    """The text holds half of a UTF-16 pair, which no encoding can keep: it is kept with JSON's escapes."""


@dataclass(frozen=True, slots=True)
class SignedText:
    """One signed text and what came with it. `key` is the public key as the charger wrote it."""

    text: str
    wrapper: str
    key: str | None = None
    method: str = ""
    encoding: str = ""
    context: str = ""

    @property
    def format(self) -> Format:
        """What the text is."""
        return recognise(self.text)


def signed_texts(payload: Mapping[str, Any]) -> list[SignedText]:
    """The signed texts of the payload of a MeterValues, StopTransaction or TransactionEvent, in order. Never raises."""
    return [text for sample in _samples(payload) for text in _of_sample(sample)][:MAX_SAMPLES]


def _samples(payload: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("meterValue", "transactionData"):
        values = payload.get(name)
        for value in values if isinstance(values, list) else ():
            samples = value.get("sampledValue") if isinstance(value, dict) else None
            if isinstance(samples, dict):  # some write the only one without its list
                samples = [samples]
            for sample in samples if isinstance(samples, list) else ():
                if isinstance(sample, dict):
                    yield sample


def _of_sample(sample: Mapping[str, Any]) -> Iterator[SignedText]:
    context = _text(sample.get("context"))
    inner = sample.get("signedMeterValue")
    if isinstance(inner, dict):
        found = _of_fields(inner, Wrapper.OCPP2, 0)
        if found is not None:
            yield _storable(replace(found, context=context))
    value = sample.get("value")
    if isinstance(value, str) and (_is_marked(sample) or _is_signed(value)):
        yield _storable(replace(unwrap(value), context=context))


def is_signed(sample: Mapping[str, Any]) -> bool:
    """Whether a SampledValue carries a signed text, in any wrapper, marked or not: it is kept and never thinned."""
    if _is_marked(sample) or isinstance(sample.get("signedMeterValue"), dict):
        return True
    value = sample.get("value")
    return isinstance(value, str) and _is_signed(value)


def _is_marked(sample: Mapping[str, Any]) -> bool:
    return sample.get("format") == "SignedData"


def _is_signed(value: str) -> bool:
    """A value that nobody marked: it begins as a signed text, is one in a wrapper, or says in JSON that it is one."""
    if value.startswith(_BEGINNINGS):
        return True  # also where it is damaged
    if len(value) < MIN_TEXT:
        return False
    found = unwrap(value)
    return (
        found.format is not Format.UNKNOWN or Wrapper.JSON_DATA in found.wrapper or Wrapper.JSON_VALUE in found.wrapper
    )


def unwrap(value: str, depth: int = 0) -> SignedText:
    """The signed text inside a value. What is not known as a wrapper is taken as the text itself."""
    plain = SignedText(value, Wrapper.PLAIN)
    if depth >= MAX_DEPTH:
        return plain
    found = recognise(value)
    if found is not Format.UNKNOWN:
        return plain
    if value.lstrip().startswith("{"):
        return _of_json(value, depth) or plain
    data = binary_of(value)
    text = _text_of(data) if data is not None else None
    if text is None:
        return plain
    wrapper = Wrapper.HEX if data == _from_hex(value) else Wrapper.BASE64
    inner = unwrap(text, depth + 1)
    if inner.format is Format.UNKNOWN:
        return plain
    return replace(inner, wrapper=_inside(wrapper, inner))


def _of_json(value: str, depth: int) -> SignedText | None:
    fields = json_object(value)
    if fields is None:
        return None
    inner = fields.get("signedMeterValue")
    if isinstance(inner, dict):
        return _of_fields(inner, Wrapper.JSON_VALUE, depth)
    return _of_fields(fields, Wrapper.JSON_DATA if "signedMeterData" in fields else Wrapper.JSON_VALUE, depth)


def _of_fields(fields: Mapping[str, Any], wrapper: Wrapper, depth: int) -> SignedText | None:
    data = fields.get("signedMeterData", fields.get("signedMeterValue"))
    if not isinstance(data, str):
        return None
    inner = unwrap(data, depth + 1)
    if inner.format is Format.UNKNOWN:
        decoded = binary_of(data)
        text = _text_of(decoded) if decoded is not None else None
        # The note wants base64 here: what it decodes to is the text, also where its format is not known.
        inner = SignedText(text, Wrapper.BASE64) if text is not None else inner
    own = fields.get("publicKey")
    return SignedText(
        inner.text,
        _inside(wrapper, inner),
        key=own if isinstance(own, str) else inner.key,
        method=_text(fields.get("signingMethod")),
        encoding=_text(fields.get("encodingMethod")),
    )


def _inside(wrapper: Wrapper, inner: SignedText) -> str:
    return wrapper.value if inner.wrapper == Wrapper.PLAIN else f"{wrapper.value}>{inner.wrapper}"


def _storable(found: SignedText) -> SignedText:
    try:
        found.text.encode()
    except UnicodeEncodeError:
        escaped = found.text.encode("ascii", "backslashreplace").decode()
        return replace(found, text=escaped, wrapper=f"{found.wrapper}>{Wrapper.ESCAPED.value}")
    return found


def _from_hex(value: str) -> bytes | None:
    try:
        return bytes.fromhex(value)
    except ValueError:
        return None


def _text_of(data: bytes) -> str | None:
    """The characters that bytes spell, where they do."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() or all(one.isprintable() or one in "\r\n\t" for one in text) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

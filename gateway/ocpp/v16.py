"""Pure: OCPP 1.6 edition 2 - what its messages mean to the relay, and how ours are spelled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from gateway.ocpp.frames import Frame, Span, compact, replace
from gateway.ocpp.meaning import Command, Kind, ListUpdate, Message, Order, StartAnswer, Tag
from gateway.ocpp.times import parse_utc, utc_text
from gateway.records.doctor import Setting
from gateway.records.wrappers import is_signed

_KINDS = {
    "BootNotification": Kind.BOOT,
    "Heartbeat": Kind.HEARTBEAT,
    "Authorize": Kind.AUTHORIZE,
    "StatusNotification": Kind.STATUS,
    "StartTransaction": Kind.START,
    "MeterValues": Kind.METER_VALUES,
    "StopTransaction": Kind.STOP,
}
_ORDERS = {
    "RemoteStartTransaction": Order.REMOTE_START,
    "RemoteStopTransaction": Order.REMOTE_STOP,
    "SetChargingProfile": Order.SET_PROFILE,
    "ClearChargingProfile": Order.CLEAR_PROFILES,
    "GetCompositeSchedule": Order.COMPOSITE,
    "ClearCache": Order.CLEAR_CACHE,
    "SendLocalList": Order.SEND_LIST,
}
UNHOOKING_KEYS = frozenset({"authorizationkey", "securityprofile", "centralsystemurl", "csurl"})
"""Configuration keys by which a CSMS would take the charger away from the gateway (rule R17)."""

_OFFLINE_ANSWERS = {
    "StatusNotification": "{}",
    "MeterValues": "{}",
    "DiagnosticsStatusNotification": "{}",
    "FirmwareStatusNotification": "{}",
    "LogStatusNotification": "{}",
    "SignedFirmwareStatusNotification": "{}",
    "SecurityEventNotification": "{}",
    "DataTransfer": '{"status":"Rejected"}',
    "SignCertificate": '{"status":"Rejected"}',
}


class V16:
    """See `meaning.Version`."""

    subprotocol = "ocpp1.6"

    # What a charger says

    def read(self, frame: Frame) -> Message:
        kind = _KINDS.get(frame.action, Kind.OTHER)
        signed, boundary, register_wh = _samples(frame) if kind is Kind.METER_VALUES else (False, False, None)
        if kind is Kind.START:
            register_wh = _wh(frame.member("meterStart"), "Wh")
        return Message(
            kind=kind,
            frame=frame,
            connector=_integer(frame.member("connectorId")),
            transaction_id=_integer(frame.member("transactionId")),
            transaction_span=frame.spans.get("transactionId"),
            id_tag=_text(frame.member("idTag")),
            status=_text(frame.member("status")),
            content_key=_content_key(kind, frame),
            signed=signed,
            always_keep=signed or boundary,
            register_wh=register_wh,
            said_ms=_said_ms(kind, frame),
        )

    def offline_answer(self, message: Message) -> str | None:
        return _OFFLINE_ANSWERS.get(message.frame.action)

    # What a CSMS says

    def read_command(self, frame: Frame) -> Command:
        order = _ORDERS.get(frame.action, Order.OTHER)
        key = frame.member("key")
        if frame.action == "ChangeConfiguration" and isinstance(key, str) and key.lower() in UNHOOKING_KEYS:
            order = Order.UNHOOK
        profile = frame.spans.get("chargingProfile") if order is Order.REMOTE_START else None
        return Command(
            order=order,
            frame=frame,
            transaction_id=_integer(frame.member("transactionId")),
            transaction_span=frame.spans.get("transactionId"),
            profile_span=_with_comma(frame.text, profile) if profile else None,
        )

    def read_boot_answer(self, frame: Frame) -> tuple[str, int]:
        status, interval = frame.member("status"), _integer(frame.member("interval"))
        return (status if isinstance(status, str) else ""), max(0, interval or 0)

    def read_tag(self, frame: Frame) -> Tag | None:
        return _tag(frame.member("idTagInfo"))

    def with_tag(self, frame: Frame, tag: Tag) -> str:
        span = frame.spans.get("idTagInfo")
        if span is None:
            return self.authorize_answer(tag)
        start = frame.payload_span[0]
        return replace(frame.payload_text(), [((span[0] - start, span[1] - start), _tag_text(tag))])

    def read_start_answer(self, frame: Frame, tag: Tag | None) -> StartAnswer:
        said, csms_id, span = self.read_tag(frame), _integer(frame.member("transactionId")), None
        payload = frame.payload_text() if tag is None or tag == said else self.with_tag(frame, tag)
        if said is not None and csms_id is not None:
            span = frame.spans.get("transactionId")
        if span is None:
            own = self.start_answer(tag or said or Tag("Accepted"))
            return StartAnswer(own.before, own.after, csms_id, said)
        start = span[0] - frame.payload_span[0]
        other = frame.spans["idTagInfo"]
        if other[0] < span[0]:
            start += len(payload) - len(frame.payload_text())
        return StartAnswer(payload[:start], payload[start + span[1] - span[0] :], csms_id, said)

    def read_list(self, frame: Frame) -> ListUpdate | None:
        version = _integer(frame.member("listVersion"))
        items = frame.member("localAuthorizationList") or []
        if version is None or not isinstance(items, list):
            return None
        entries = [
            (item["idTag"], _tag(item.get("idTagInfo")))
            for item in items
            if isinstance(item, dict) and _text(item.get("idTag"))
        ]
        return ListUpdate(version, frame.member("updateType") == "Full", entries)

    def accepted(self, frame: Frame) -> bool:
        return bool(frame.member("status") == "Accepted")

    def status_text(self, frame: Frame) -> str:
        status = frame.member("status")
        return frame.error or (status if isinstance(status, str) else "no status")

    def read_configuration(self, frame: Frame) -> Mapping[str, Setting]:
        items = frame.member("configurationKey")
        return {
            name: Setting(_value_text(item.get("value")), item.get("readonly") is True)
            for item in (items if isinstance(items, list) else ())
            if isinstance(item, dict) and (name := _text(item.get("key")))
        }

    # What we say

    def boot_answer(self, status: str, utc_ms: int, interval_s: int) -> str:
        return compact({"status": status, "currentTime": utc_text(utc_ms), "interval": interval_s})

    def heartbeat_answer(self, utc_ms: int) -> str:
        return compact({"currentTime": utc_text(utc_ms)})

    def authorize_answer(self, tag: Tag) -> str:
        return '{"idTagInfo":' + _tag_text(tag) + "}"

    def start_answer(self, tag: Tag) -> StartAnswer:
        return StartAnswer('{"idTagInfo":' + _tag_text(tag) + ',"transactionId":', "}", None, tag)

    def stop_answer(self) -> str:
        return "{}"

    def remote_stop(self, transaction_id: int) -> tuple[str, str]:
        return "RemoteStopTransaction", compact({"transactionId": transaction_id})

    def trigger_boot(self) -> tuple[str, str]:
        return "TriggerMessage", compact({"requestedMessage": "BootNotification"})

    def trigger_status(self, connector: int) -> tuple[str, str]:
        return "TriggerMessage", compact({"requestedMessage": "StatusNotification", "connectorId": connector})

    def get_configuration(self, keys: Sequence[str]) -> tuple[str, str]:
        return "GetConfiguration", compact({"key": list(keys)})

    def configure(self, key: str, value: str) -> tuple[str, str]:
        return "ChangeConfiguration", compact({"key": key, "value": value})

    def heartbeat(self) -> tuple[str, str]:
        return "Heartbeat", "{}"

    def boot(self, payload: str) -> tuple[str, str]:
        return "BootNotification", payload

    def status_notification(self, payload: str) -> tuple[str, str]:
        return "StatusNotification", payload

    def set_profile(self, connector: int, profile: str) -> tuple[str, str]:
        return "SetChargingProfile", f'{{"connectorId":{connector},"csChargingProfiles":{profile}}}'


def _said_ms(kind: Kind, frame: Frame) -> int | None:
    """The time that a message bears; of meter values that of the newest."""
    if kind is not Kind.METER_VALUES:
        return parse_utc(frame.member("timestamp"))
    values = frame.member("meterValue")
    newest = values[-1] if isinstance(values, list) and values else None
    return parse_utc(newest.get("timestamp")) if isinstance(newest, dict) else None


def _integer(value: Any) -> int | None:
    """An integer that the database can hold; what a sloppy peer sends instead (1.0, "1", true) is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63 else None


def _text(value: Any) -> str | None:
    """A text that can be stored: lone surrogates, which UTF-8 has no bytes for, become question marks."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _value_text(value: Any) -> str:
    """A configuration value; some boxes send numbers and booleans where a text belongs (quirk 41)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else _text(value if isinstance(value, str) else str(value)) or ""


def _tag(value: Any) -> Tag | None:
    if not isinstance(value, dict) or not isinstance(value.get("status"), str):
        return None
    return Tag(_text(value["status"]) or "", parse_utc(value.get("expiryDate")), _text(value.get("parentIdTag")))


def _tag_text(tag: Tag) -> str:
    said: dict[str, Any] = {"status": tag.status}
    if tag.expiry_ms is not None:
        said["expiryDate"] = utc_text(tag.expiry_ms)
    if tag.parent is not None:
        said["parentIdTag"] = tag.parent
    return compact(said)


_REGISTER = "Energy.Active.Import.Register"
_CONTENT = {
    Kind.START: ("connectorId", "timestamp", "meterStart", "idTag"),
    Kind.STOP: ("transactionId", "timestamp", "meterStop"),
}


def _content_key(kind: Kind, frame: Frame) -> str | None:
    names = _CONTENT.get(kind)
    if names is None:
        return None
    return f"{kind.name} " + "|".join(frame.text[slice(*frame.spans.get(name, (0, 0)))] for name in names)


def _samples(frame: Frame) -> tuple[bool, bool, int | None]:
    """Whether any sample is signed, whether one is the first or the last of its transaction, the newest register."""
    signed = boundary = False
    register_wh: int | None = None
    for sample in _sampled(frame.member("meterValue")):
        signed = signed or is_signed(sample)
        boundary = boundary or sample.get("context") in ("Transaction.Begin", "Transaction.End")
        if sample.get("measurand", _REGISTER) == _REGISTER and "phase" not in sample:
            wh = _wh(sample.get("value"), sample.get("unit", "Wh"))
            register_wh = register_wh if wh is None else wh
    return signed, boundary, register_wh


def _sampled(values: Any) -> Iterator[dict[str, Any]]:
    for value in values if isinstance(values, list) else ():
        samples = value.get("sampledValue") if isinstance(value, dict) else None
        if isinstance(samples, dict):  # some write the only one without its list
            samples = [samples]
        for sample in samples if isinstance(samples, list) else ():
            if isinstance(sample, dict):
                yield sample


def _wh(value: Any, unit: Any) -> int | None:
    """A register in Wh; None where it is no number that a register can show (signed texts are none)."""
    if unit not in ("Wh", "kWh") or not isinstance(value, str | int | float) or len(str(value)) > 24:
        return None
    try:
        number = Decimal(str(value)) * (1000 if unit == "kWh" else 1)
        return int(number) if abs(number) < 10**15 else None
    except ArithmeticError:
        return None


def _with_comma(text: str, value: Span) -> Span:
    """The range of a whole member, name and one neighbouring comma included, so that it can be cut out."""
    start = text.rindex(":", 0, value[0])
    start = text.rindex('"', 0, text.rindex('"', 0, start))
    before = len(text[:start].rstrip())
    if text[before - 1] == ",":
        return before - 1, value[1]
    end = value[1]
    rest = text[end:].lstrip()
    return (start, len(text) - len(rest) + 1) if rest.startswith(",") else (start, end)

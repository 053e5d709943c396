"""How a wallbox answers what its central system asks (OCPP 1.6 sections 5.2 to 5.19)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from simulators import profiles
from simulators.clock import iso
from simulators.ocpp_link import CallError, Payload

if TYPE_CHECKING:
    from simulators.charger import Charger

TRIGGERS = ("BootNotification", "Heartbeat", "MeterValues", "StatusNotification")
LONGEST_SCHEDULE_S = 3600

READ_ONLY = frozenset(
    {
        "GetConfigurationMaxKeys",
        "NumberOfConnectors",
        "SupportedFeatureProfiles",
        "ChargeProfileMaxStackLevel",
        "ChargingScheduleAllowedChargingRateUnit",
        "ChargingScheduleMaxPeriods",
        "MaxChargingProfilesInstalled",
    }
)


def default_keys() -> dict[str, str]:
    """The configuration keys of a box (section 9); those in `READ_ONLY` cannot be changed."""
    return {
        "AuthorizeRemoteTxRequests": "false",
        "ClockAlignedDataInterval": "0",
        "ConnectionTimeOut": "60",
        "GetConfigurationMaxKeys": "50",
        "HeartbeatInterval": "300",
        "MeterValueSampleInterval": "60",
        "MeterValuesSampledData": "Energy.Active.Import.Register,Power.Active.Import,Current.Import",
        "NumberOfConnectors": "1",
        "StopTransactionOnEVSideDisconnect": "true",
        "StopTransactionOnInvalidId": "true",
        "TransactionMessageAttempts": "3",
        "TransactionMessageRetryInterval": "60",
        "SupportedFeatureProfiles": "Core,SmartCharging,RemoteTrigger",
        "ChargeProfileMaxStackLevel": "10",
        "ChargingScheduleAllowedChargingRateUnit": "Current",
        "ChargingScheduleMaxPeriods": "24",
        "MaxChargingProfilesInstalled": "10",
    }


def answer(box: Charger, action: str, payload: Payload) -> Payload:
    """The payload of the answer; CallError where the box does not know the action."""
    found = ANSWERS.get(action)
    if found is None:
        raise CallError("NotImplemented", f"{action} is unknown to this box")
    return found(box, payload)


def _set_profile(box: Charger, payload: Payload) -> Payload:
    why = box.install(payload["connectorId"], payload["csChargingProfiles"])
    return {"status": "Accepted" if why is None else "Rejected"}


def _clear_profile(box: Charger, payload: Payload) -> Payload:
    return {"status": "Accepted" if profiles.clear(box.profiles, payload) else "Unknown"}


def _composite(box: Charger, payload: Payload) -> Payload:
    """What its profiles leave from now on, second by second, equal seconds joined."""
    start_ms = box.now_ms()
    duration_s = min(int(payload["duration"]), LONGEST_SCHEDULE_S)
    periods: list[Payload] = []
    for second in range(duration_s):
        limit = box.limit_ma(start_ms + second * 1000) / 1000
        if not periods or periods[-1]["limit"] != limit:
            periods.append({"startPeriod": second, "limit": limit})
    return {
        "status": "Accepted",
        "connectorId": payload["connectorId"],
        "scheduleStart": iso(start_ms),
        "chargingSchedule": {"duration": duration_s, "chargingRateUnit": "A", "chargingSchedulePeriod": periods},
    }


def _remote_start(box: Charger, payload: Payload) -> Payload:
    if box.transaction is not None or box.outlet.car is None:
        return {"status": "Rejected"}
    box.remote_start(payload["idTag"], payload.get("chargingProfile"))
    return {"status": "Accepted"}


def _remote_stop(box: Charger, payload: Payload) -> Payload:
    if box.transaction is None or box.transaction.id != payload["transactionId"]:
        return {"status": "Rejected"}
    box.remote_stop()
    return {"status": "Accepted"}


def _get_configuration(box: Charger, payload: Payload) -> Payload:
    wanted = payload.get("key") or list(box.keys)
    known = [key for key in wanted if key in box.keys]
    return {
        "configurationKey": [{"key": key, "readonly": key in READ_ONLY, "value": box.keys[key]} for key in known],
        "unknownKey": [key for key in wanted if key not in box.keys],
    }


def _change_configuration(box: Charger, payload: Payload) -> Payload:
    key, value = payload["key"], payload["value"]
    if key not in box.keys:
        return {"status": "NotSupported"}
    if key in READ_ONLY or (box.keys[key].isdigit() and not value.isdigit()):
        return {"status": "Rejected"}
    box.keys[key] = value
    return {"status": "Accepted"}


def _trigger(box: Charger, payload: Payload) -> Payload:
    what = payload["requestedMessage"]
    if what not in TRIGGERS:
        return {"status": "NotImplemented"}
    box.trigger(what)
    return {"status": "Accepted"}


def _reset(box: Charger, _payload: Payload) -> Payload:
    box.reset()
    return {"status": "Accepted"}


def _always(payload: Payload) -> Callable[[Charger, Payload], Payload]:
    return lambda _box, _payload: dict(payload)


ANSWERS: dict[str, Callable[[Charger, Payload], Payload]] = {
    "SetChargingProfile": _set_profile,
    "ClearChargingProfile": _clear_profile,
    "GetCompositeSchedule": _composite,
    "RemoteStartTransaction": _remote_start,
    "RemoteStopTransaction": _remote_stop,
    "GetConfiguration": _get_configuration,
    "ChangeConfiguration": _change_configuration,
    "TriggerMessage": _trigger,
    "Reset": _reset,
    "ChangeAvailability": _always({"status": "Accepted"}),
    "ClearCache": _always({"status": "Accepted"}),
    "UnlockConnector": _always({"status": "Unlocked"}),
    "GetLocalListVersion": _always({"listVersion": -1}),
    "SendLocalList": _always({"status": "NotSupported"}),
    "DataTransfer": _always({"status": "UnknownVendorId"}),
}

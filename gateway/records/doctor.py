"""Pure: does a charger sign what it can sign, and does it send it? From the configuration keys that it reports.

OCPP 1.6 has no standard for signing; the keys are those of the Open Charge Alliance's note "Signed Meter Values in
OCPP" (2025) and of S.A.F.E.'s OCMF ("best practice"). A charger without a signing meter reports none of them: then
there is nothing to set and nothing to complain about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.records.public_keys import PublicKey, read_key

TRANSACTION = "Transaction.Begin,Transaction.End"

WANTED: Mapping[str, str] = {
    "SampledDataSignReadings": "true",
    "SampledDataSignStartedReadings": "true",
    "PublicKeyWithSignedMeterValue": "OncePerTransaction",
    "StopTransactionSignatureFormat": "MR",
    "StopTransactionSignatureContexts": TRANSACTION,
}
"""Key -> the value it should have, where the charger has the key. MR: one record with begin and end."""

ENOUGH: Mapping[str, frozenset[str]] = {
    "PublicKeyWithSignedMeterValue": frozenset({"oncepertransaction", "everymetervalue"}),
    "StopTransactionSignatureFormat": frozenset({"mr", "sr"}),
}
"""Values that are as good as the wanted one, in lower case."""

SAMPLED = "StopTxnSampledData"
ALIGNED = "StopTxnAlignedData"
MEASURAND = "Energy.Active.Import.Register"

_SIGNING = re.compile(r"MeterPublicKey|Sign(ed|ature|Readings|Started|Updated)|PublicKey", re.IGNORECASE)
_METER_KEY = re.compile(r"MeterPublicKey\[?([0-9]*)\]?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Setting:
    """One configuration key as the charger reports it."""

    value: str
    readonly: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about a charger; `wrong` where a person should act."""

    sentence: str
    wrong: bool = True


@dataclass(frozen=True, slots=True)
class Examination:
    """What to write into the charger, what to say, and the keys it reports by connector (0: it names none)."""

    signs: bool
    to_set: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    keys: Mapping[int, tuple[str, PublicKey]] = field(default_factory=dict)


def examine(settings: Mapping[str, Setting], connectors: int) -> Examination:
    """Judge the answer of a GetConfiguration; `connectors` is how many the site knows of this charger."""
    if not any(_SIGNING.search(name) for name in settings):
        return Examination(signs=False)
    to_set: dict[str, str] = {}
    findings: list[Finding] = []
    for name, wanted in WANTED.items():
        _want(settings, name, wanted, to_set, findings)
    _stop_data(settings, to_set, findings)
    keys = _keys(settings, connectors, findings)
    return Examination(signs=True, to_set=to_set, findings=tuple(findings), keys=keys)


def _want(
    settings: Mapping[str, Setting], name: str, wanted: str, to_set: dict[str, str], findings: list[Finding]
) -> None:
    known = _find(settings, name)
    if known is None:
        if name == "SampledDataSignReadings":
            findings.append(Finding(f"the charger does not know {name}: whether it signs shows in its first session"))
        return
    spelled, setting = known
    value = setting.value.strip().lower()
    if value == wanted.lower() or value in ENOUGH.get(name, frozenset()):
        return
    if setting.readonly:
        findings.append(Finding(f'{spelled} is "{setting.value}" and cannot be changed: "{wanted}" is needed'))
        return
    to_set[spelled] = wanted
    findings.append(Finding(f'{spelled} is "{setting.value}": it is set to "{wanted}"', wrong=False))


def _stop_data(settings: Mapping[str, Setting], to_set: dict[str, str], findings: list[Finding]) -> None:
    """Chargers that leave out transactionData when both lists are empty lose the signed values with it.

    EVerest/libocpp issue 472.
    """
    known = [found for name in (SAMPLED, ALIGNED) if (found := _find(settings, name)) is not None]
    if any(setting.value.strip() for _, setting in known):
        return
    sampled = _find(settings, SAMPLED)
    if sampled is None:
        findings.append(Finding(f"the charger does not report {SAMPLED}: its stops may come without signed values"))
    elif sampled[1].readonly:
        findings.append(
            Finding(f"{SAMPLED} is empty and cannot be changed: stops of this charger may come without signed values")
        )
    else:
        to_set[sampled[0]] = MEASURAND
        findings.append(
            Finding(
                f'{SAMPLED} is empty, so that stops may lose their signed values: it is set to "{MEASURAND}"', False
            )
        )


def _keys(
    settings: Mapping[str, Setting], connectors: int, findings: list[Finding]
) -> dict[int, tuple[str, PublicKey]]:
    keys: dict[int, tuple[str, PublicKey]] = {}
    for name, setting in settings.items():
        match = _METER_KEY.fullmatch(name)
        if match is None or not setting.value.strip():
            continue
        key = read_key(setting.value)
        number = int(match[1] or (1 if connectors == 1 else 0))
        if key is None:
            findings.append(Finding(f"{name} holds no public key in a form that is known"))
        else:
            keys[number] = (setting.value, key)
    missing = [str(number) for number in range(1, connectors + 1) if number not in keys and 0 not in keys]
    if missing:
        findings.append(
            Finding(
                f"no MeterPublicKey for connector {', '.join(missing)}: the key comes with the first signed value, or "
                "enter the one that is printed on the meter with `keys pin`"
            )
        )
    return keys


def _find(settings: Mapping[str, Setting], name: str) -> tuple[str, Setting] | None:
    """A key by its name without regard to case (OCPP 1.6: configuration keys are case-insensitive)."""
    lower = name.lower()
    return next(((spelled, one) for spelled, one in settings.items() if spelled.lower() == lower), None)


def examine_session(signs: bool, texts: int, transaction_data: bool | None, charger: str) -> Finding | None:
    """After a session of a charger that should sign: did its signed values come?

    `transaction_data` says whether its stop had any; None where there was no stop.
    """
    if not signs or texts > 0:
        return None
    if transaction_data is False:
        return Finding(
            f"{charger} signs, and its stop came without transactionData: set {SAMPLED} to {MEASURAND} "
            "(a charger with both lists empty leaves the signed values out)"
        )
    return Finding(f"{charger} signs, and no signed value came in its session: check SampledDataSignReadings")

"""Pure: the values of a site file: currents in milliampere, seconds, phases, days, names, addresses."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field

_PHASES = {"L1": 0, "L2": 1, "L3": 2}


class Listen(NamedTuple):
    """An address to listen at or to connect to."""

    host: str
    port: int


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError("must be a number")
    if not Decimal(value).is_finite():
        raise ValueError("must be a number")
    return Decimal(value)


def _milliampere(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
        raise ValueError("must be a number of amperes")
    milli = Decimal(value) * 1000
    if milli != milli.to_integral_value() or milli < 0:
        raise ValueError("must be amperes, not negative, with at most three decimals")
    return int(milli)


def _seconds(value: object) -> object:
    number = _number(value)
    assert isinstance(number, Decimal)
    return float(number)


def _phases(value: object) -> object:
    """`L1L2L3` -> (0, 1, 2)."""
    if not isinstance(value, str):
        raise ValueError('must be a text such as "L1L2L3" or "L2"')
    names = [value[start : start + 2] for start in range(0, len(value), 2)]
    if not names or any(name not in _PHASES for name in names) or len(set(names)) != len(names):
        raise ValueError('must name each phase at most once, such as "L1L2L3", "L2L3L1" or "L2"')
    return tuple(_PHASES[name] for name in names)


def _day(value: object) -> object:
    if isinstance(value, datetime) or not isinstance(value, date):
        raise ValueError("must be a date without quotes, such as 2026-07-01; it begins at local midnight")
    return value


def host_and_port(text: str, default_port: int | None) -> Listen:
    """`0.0.0.0:9000`, `[::]:9000`; ValueError where it is none."""
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, "" if default_port is None else str(default_port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError('must be an address and a port, such as "0.0.0.0:9000"')
    return Listen(host, int(port))


def _listen(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError('must be a text such as "0.0.0.0:9000"')
    return host_and_port(value, None)


Ma = Annotated[int, BeforeValidator(_milliampere)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Percent = Annotated[Decimal, BeforeValidator(_number)]
Phases = Annotated[tuple[int, ...], BeforeValidator(_phases)]
Day = Annotated[date, BeforeValidator(_day)]
Address = Annotated[Listen, BeforeValidator(_listen)]


def _matches(pattern: str, sentence: str) -> AfterValidator:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(sentence)
        return value

    return AfterValidator(check)


Id = Annotated[
    str,
    _matches(
        r"[A-Za-z0-9][A-Za-z0-9_.-]{0,35}",
        "must be 1 to 36 letters, digits or _ . - (it begins with one of the first two)",
    ),
]
ChargerId = Annotated[
    str,
    _matches(
        r"[A-Za-z0-9*_=:+|@.-]{1,48}",
        "must be 1 to 48 letters, digits or * - _ = : + | @ . (the charger's own name, as the end of its URL)",
    ),
]
SecretName = Annotated[
    str,
    _matches(
        r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}",
        "must be the name of a secret (letters, digits, _ . -), never the secret itself",
    ),
]
CsmsUrl = Annotated[
    str,
    _matches(
        r"wss?://[^\s{}]+\{id\}[^\s{}]*", "must begin with ws:// or wss:// and hold {id}, where the charger's name goes"
    ),
]
Text = Annotated[str, Field(min_length=1, max_length=200)]
TokenId = Annotated[str, Field(min_length=1, max_length=20)]  # CiString20Type of OCPP 1.6
Broker = Annotated[
    str,
    _matches(
        r"mqtts?://([^\s/:]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?",
        'must be such as "mqtts://broker.example:8883" (mqtt:// goes without encryption)',
    ),
]

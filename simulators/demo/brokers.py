"""The MQTT broker of a run: the embedded one, mosquitto, or somebody else's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from simulators import broker
from simulators.broker import BrokerProcess


@dataclass(frozen=True, slots=True)
class Broker:
    """Where it listens and what it speaks; `process` is None where it is not ours."""

    host: str
    port: int
    mqtt: str
    process: BrokerProcess | None = None

    def start(self) -> None:
        """Start it where it is ours; blocks until it listens. RuntimeError."""
        if self.process is not None:
            self.process.start()

    def stop(self) -> None:
        """End it where it is ours."""
        if self.process is not None:
            self.process.stop()


def choose(text: str, folder: Path) -> Broker:
    """`embedded`, `mosquitto` or `HOST:PORT`; ValueError says in one sentence what is wrong."""
    if text == "embedded":
        ours = broker.embedded()
        return Broker("127.0.0.1", ours.port, "3.1.1", ours)
    if text == "mosquitto":
        home = folder / "mosquitto"
        home.mkdir()
        try:
            ours = broker.mosquitto(home)
        except FileNotFoundError as error:
            raise ValueError(f"--broker mosquitto: {error}; leave --broker out for the embedded one") from error
        return Broker("127.0.0.1", ours.port, "5", ours)
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"--broker: expected mosquitto, embedded or HOST:PORT, not {text!r}")
    return Broker(host, int(port), "5")

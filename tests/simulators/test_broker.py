"""Brokers in child processes: they come up, die and come back on the same port."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from simulators import broker
from simulators.broker import BrokerProcess

CONNECT = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test"
CONNECT_AS = b"\x10\x16\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01t\x00\x03ann\x00\x02pw"


def connack(port: int, connect: bytes) -> int:
    """The return code of a CONNECT."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(connect)
        return client.recv(4)[3]


def test_the_embedded_broker_survives_being_killed() -> None:
    """SIGKILL, then a new start on the same port."""
    process = broker.embedded()
    try:
        process.start()
        assert connack(process.port, CONNECT) == 0
        process.kill()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", process.port), timeout=1)
        process.start()
        assert connack(process.port, CONNECT) == 0
    finally:
        process.kill()


def test_mosquitto_asks_for_the_password_where_it_has_users(tmp_path: Path) -> None:
    """Only who is in the file may connect; the file does not hold the password in clear."""
    if broker.find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    process = broker.mosquitto(tmp_path, users={"ann": "pw"})
    process.start()
    try:
        assert connack(process.port, CONNECT) == 5
        assert connack(process.port, CONNECT_AS) == 0
        assert ":pw" not in (tmp_path / "passwords").read_text()
    finally:
        process.stop()


def test_a_broker_that_cannot_start_is_an_error() -> None:
    """Not an endless wait."""
    with pytest.raises(RuntimeError, match="ended at once"):
        BrokerProcess(["/bin/false"], broker.free_port()).start()

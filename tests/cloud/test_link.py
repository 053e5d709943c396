"""The link on real wires: whatever breaks, the cloud ends with each record once, byte for byte."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gateway.cloud import mqtt
from gateway.model import Severity
from simulators import broker
from simulators.broker import BrokerProcess
from tests.cloud.conftest import GW, wait_until

Make = Callable[..., Any]


async def test_records_arrive_once_over_the_embedded_broker(bench: Make, embedded: BrokerProcess) -> None:
    """The plain way: both lanes, chained, acknowledged after the cloud's commit."""
    async with bench(embedded) as b:
        await b.gateway.add(30)
        await b.gateway.add(5, lane="event")
        await b.drained()
        b.agree()
        status = await b.gateway.link.status()
        assert (status["connected"], status["why"]) == (True, "")
        assert status["backlog"] == {"billing": 0, "event": 0}
        assert status["last_ack_s"] >= 0


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_records_arrive_once_over_mosquitto(bench: Make, mosquitto: BrokerProcess, version: str) -> None:
    """A peer that is not ours, in both versions of MQTT."""
    async with bench(mosquitto, mqtt=version) as b:
        await b.gateway.add(60)
        await b.drained()
        b.agree()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_killed_broker_loses_nothing(bench: Make, mosquitto: BrokerProcess, version: str) -> None:
    """SIGKILL between PUBACK and delivery: the PUBACK was no receipt, the records go again."""
    async with bench(mosquitto, mqtt=version) as b:
        await b.gateway.add(5)
        await b.drained()
        b.cloud.ingestor.faults.lose_acks = 1
        await b.gateway.add(20)
        mosquitto.kill()
        await b.gateway.add(20)
        await wait_until(lambda: "cloud_away" in b.gateway.kinds(), "the loss is told")
        assert b.gateway.rows("seq", "state = 'waiting'")
        mosquitto.start()
        await b.drained()
        b.agree()


async def test_what_grew_while_the_uplink_was_cut_arrives_afterwards(bench: Make, embedded: BrokerProcess) -> None:
    """Cut in the stream, cut for long, back: nothing lost, nothing twice; the interruption is one event each way."""
    async with bench(embedded) as b:
        await b.gateway.add(10)
        await b.uplink.cut()
        await b.gateway.add(10)
        await wait_until(lambda: "cloud_away" in b.gateway.kinds(), "the loss is told")
        assert not (await b.gateway.link.status())["connected"]
        await b.uplink.restore()
        await b.gateway.add(10)
        await b.drained()
        b.agree()
        away = [event for event in b.gateway.events if event.kind == "cloud_away"]
        assert all(event.cause and event.next_step for event in away)
        assert len({event.cause for event in away}) == len(away), "each cause is told once"


async def test_a_half_open_link_is_noticed_and_left(
    bench: Make, embedded: BrokerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes vanish and nobody closes: the keepalive ends the connection, the records go on the next."""
    monkeypatch.setattr(mqtt, "KEEPALIVE_S", 1)
    monkeypatch.setattr(mqtt, "ANSWER_S", 0.5)
    async with bench(embedded) as b:
        await b.gateway.add(3)
        await b.drained()
        b.uplink.half_open()
        await b.gateway.add(3)
        await wait_until(lambda: "cloud_away" in b.gateway.kinds(), "the silence is noticed")
        await b.uplink.restore()
        await b.drained()
        b.agree()


async def test_lost_doubled_and_late_acknowledgements_heal(bench: Make, embedded: BrokerProcess) -> None:
    """A lost acknowledgement costs a resend that the cloud notes as a duplicate; a doubled one nothing."""
    async with bench(embedded) as b:
        b.cloud.ingestor.faults.lose_acks = 3
        await b.gateway.add(8)
        await b.drained()
        assert b.cloud.rows("duplicate", "same"), "the resend was seen"
        assert {same for (same,) in b.cloud.rows("duplicate", "same")} == {1}
        b.cloud.ingestor.faults.duplicate_acks = 5
        b.cloud.ingestor.faults.delay_acks_s = 0.1
        await b.gateway.add(8)
        await b.drained()
        b.agree()


async def test_a_refused_record_stands_in_both_lists_and_blocks_nothing(bench: Make, embedded: BrokerProcess) -> None:
    """The cloud refuses one record for good: the others pass, the dead letter is told once with its reason."""
    async with bench(embedded) as b:
        b.cloud.ingestor.faults.reject = lambda envelope: "unknown_tenant" if envelope["seq"] == 3 else None
        await b.gateway.add(6)
        await b.drained()
        await b.gateway.add(2)
        await b.drained()
        b.agree()
        assert b.gateway.rows("seq, reason", "state = 'dead'") == [(3, "unknown_tenant: refused for the test")]
        (told,) = [event for event in b.gateway.events if event.kind == "dead_letter"]
        assert told.keep
        assert told.data["seq"] == 3


async def test_a_refused_event_is_not_told_in_the_event_lane(bench: Make, embedded: BrokerProcess) -> None:
    """Else a cloud that refuses every event would make a new one with each refusal, for ever."""
    async with bench(embedded) as b:
        b.cloud.ingestor.faults.reject = lambda envelope: "no" if envelope["lane"] == "event" else None
        await b.gateway.add(1, lane="event")
        await wait_until(lambda: "dead_letter" in b.gateway.kinds(), "it is told")
        (told,) = [event for event in b.gateway.events if event.kind == "dead_letter"]
        assert not told.keep


async def test_a_record_beyond_the_largest_message_is_a_dead_letter(bench: Make, embedded: BrokerProcess) -> None:
    """128 KiB is the contract: its envelope goes without the body, the cloud refuses it by number, the rest passes."""
    async with bench(embedded) as b:
        await b.gateway.add(1)
        await b.gateway.add(1, body="x" * (128 * 1024))
        await b.gateway.add(1, body="y" * (127 * 1024))
        await b.drained()
        b.agree()
        ((seq, reason),) = b.gateway.rows("seq, reason", "state = 'dead'")
        assert seq == 2
        assert reason.startswith("too_large")


async def test_a_restart_goes_on_where_the_database_is(bench: Make, embedded: BrokerProcess) -> None:
    """The same database in a new process: a new boot, the same epoch, one unbroken chain."""
    async with bench(embedded) as b:
        b.cloud.ingestor.faults.lose_acks = 1000
        await b.gateway.add(7)
        await wait_until(lambda: len(b.cloud.records()) == 7, "the cloud has them, unacknowledged")
        await b.gateway.stop()
        b.cloud.ingestor.faults.lose_acks = 0
        await b.gateway.start()
        await b.gateway.add(3)
        await b.drained()
        b.agree()
        assert {boot for (boot,) in b.cloud.rows("record", "boot")} == {1, 2}
        assert len({epoch for (epoch,) in b.cloud.rows("record", "epoch")}) == 1


async def test_a_broker_that_refuses_the_password_is_told_once(tmp_path: Path, bench: Make) -> None:
    """One event with cause and next step, however often it is tried; the right password ends it."""
    if broker.find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    process = broker.mosquitto(tmp_path, users={"house": "right", "cloud": "c"})
    process.start()
    password = [b"wrong"]
    try:
        async with bench(
            process, mqtt="5", username="house", secret="mqtt", secrets=lambda name: password[0],
            ingestor={"username": "cloud", "password": "c"},
        ) as b:  # fmt: skip
            await b.gateway.add(2)
            await wait_until(lambda: b.uplink.connects["broker"] >= 3, "it is tried again")
            (told,) = b.gateway.events
            assert told.kind == "cloud_away"
            assert "Not authorized" in told.cause
            assert "secret" in told.next_step
            assert (await b.gateway.link.status())["why"] == told.cause
            password[0] = b"right"
            await b.drained()
            b.agree()
    finally:
        process.kill()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(certificate.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return chain, private


async def test_records_arrive_over_tls_and_only_from_a_known_broker(
    tmp_path: Path, bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS is the default: an unknown certificate is refused and told, a known one carries everything."""
    if broker.find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    certificate = make_certificate(tmp_path)
    plain_port = broker.free_port()
    process = broker.mosquitto(tmp_path, certificate=certificate)
    config = tmp_path / "mosquitto.conf"
    config.write_text(config.read_text() + f"listener {plain_port} 127.0.0.1\n")
    process.start()
    try:
        async with bench(process, mqtt="5", tls=True, ingestor={"port": plain_port}) as b:
            await b.gateway.add(30)
            await wait_until(lambda: "cloud_away" in b.gateway.kinds(), "the certificate is refused")
            assert "certificate" in b.gateway.events[0].cause
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
            b.gateway.link._tls = None  # as after a restart with the certificate installed
            await b.drained()
            await b.gateway.add(30)
            await b.drained()
            b.agree()
    finally:
        process.kill()


async def test_a_missing_secret_is_told_and_nothing_is_sent(bench: Make, embedded: BrokerProcess) -> None:
    """The link never connects without the password that the site file names."""
    async with bench(embedded, username="house", secret="mqtt") as b:
        await wait_until(lambda: "cloud_away" in b.gateway.kinds(), "it is told")
        assert "'mqtt'" in b.gateway.events[0].cause
        assert b.uplink.connects["broker"] == 0


async def test_a_broker_without_mqtt_5_names_the_other_version(bench: Make, embedded: BrokerProcess) -> None:
    """The embedded broker speaks only 3.1.1: the event says what to write into the site file."""
    async with bench(embedded, mqtt="5") as b:
        await wait_until(lambda: "cloud_away" in b.gateway.kinds(), "the refusal is told")
        assert 'mqtt = "3.1.1"' in b.gateway.events[0].next_step


async def test_a_restored_card_begins_a_new_epoch(bench: Make, embedded: BrokerProcess, tmp_path: Path) -> None:
    """An old copy of the database comes back: its unacknowledged records go again as new ones that name the old."""
    copy = tmp_path / "copy.db"
    async with bench(embedded) as b:
        await b.gateway.add(4)
        await b.drained()
        await b.gateway.stop()
        shutil.copy(b.gateway.path, copy)
        await b.gateway.start()
        await b.gateway.add(3)
        await b.drained()
        old = b.cloud.records()
        await b.gateway.stop()
        shutil.copy(copy, b.gateway.path)  # a clean end leaves no write-ahead log
        await b.gateway.start()
        await b.gateway.add(2, body='{"after":"restore"}')
        await wait_until(lambda: "restored" in b.gateway.kinds(), "the old copy is noticed")
        await b.gateway.add(1)
        await b.drained()
        new = [row for row in b.cloud.rows("record", "lane, epoch, seq, rid, body, supersedes") if row[1] != old[0][1]]
        assert len({row[1] for row in new}) == 1
        events = [row for row in new if row[0] == "event"]
        assert json.loads(events[0][4])["data"]["old_epoch"] == old[0][1], "the first record names the old epoch"
        billing = [row for row in new if row[0] == "billing"]
        assert [row[2] for row in billing] == [1, 2, 3]
        superseded = b.gateway.rows("rid, epoch || ' ' || seq || ' ' || sha256", "state = 'superseded'")
        assert superseded == [(row[3], row[5]) for row in billing if row[5]]
        assert superseded
        assert [row for row in b.cloud.records() if row[1] == old[0][1]] == old, "nothing old was overwritten"


def payload(text: str) -> dict[str, Any]:
    return dict(json.loads(text.split("|")[1]))


async def test_a_restored_card_signs_with_a_new_key(bench: Make, embedded: BrokerProcess, tmp_path: Path) -> None:
    """No page of a key is used twice: only what was signed before the cloud's answer may be, and says so."""
    image = tmp_path / "image"
    async with bench(embedded) as b:
        await b.gateway.add(1)
        await b.drained()
        first = b.gateway.signer.key_id
        texts = [await b.gateway.begin_session("s1")]
        await b.drained()
        await b.gateway.stop()
        shutil.copytree(b.gateway.path.parent, image)
        await b.gateway.start()
        await b.gateway.add(1)
        await b.drained()
        texts.append(await b.gateway.begin_session("s2"))
        await b.drained()
        await b.gateway.stop()
        shutil.rmtree(b.gateway.path.parent)  # the whole card is set back, keys and all
        shutil.copytree(image, b.gateway.path.parent)
        b.cloud.ingestor.faults.ignore_hellos = 1
        await b.gateway.start()
        before = await b.gateway.begin_session("s3")
        await wait_until(lambda: "restored" in b.gateway.kinds(), "the old copy is noticed")
        await wait_until(lambda: b.gateway.link._conversation and b.gateway.link._conversation.answered, "confirmed")
        texts.append(await b.gateway.begin_session("s4"))
        await b.drained()
        assert (await b.gateway.link.status())["restored"].endswith("Z")
        said = [payload(text) for text in texts]
        assert len({(one["GS"], one["CI"], one["PG"]) for one in said}) == 3
        assert [one["PG"] for one in said] == ["T1", "T2", "T1"]
        assert not any("ZU" in one for one in said)
        assert (payload(before)["GS"], payload(before)["PG"]) == (f"ZGW-{first}", "T2"), "what nobody could prevent"
        assert payload(before)["ZU"] == "unconfirmed_epoch"
        (event,) = [one for one in b.gateway.events if one.kind == "restored"]
        assert event.severity is Severity.ERROR
        assert said[2]["GS"] == f"ZGW-{event.data['key_id']}" != f"ZGW-{first}"
        assert b.gateway.kinds().count("signing_key_changed") == 1
        ((notice,),) = [
            row[-1:] for row in b.cloud.rows("record", "lane, seq, epoch, body") if row[:2] == ("event", 1) and
            row[2] == event.data["epoch"]
        ]  # fmt: skip
        assert json.loads(notice)["data"]["key_id"] == event.data["key_id"]


async def test_an_epoch_never_begins_with_the_old_key(bench: Make, embedded: BrokerProcess, tmp_path: Path) -> None:
    """Where no new key can be made nothing changes and nothing is sent; it is told with what to do."""
    copy = tmp_path / "copy.db"
    async with bench(embedded) as b:
        await b.gateway.add(2)
        await b.drained()
        await b.gateway.stop()
        shutil.copy(b.gateway.path, copy)
        await b.gateway.start()
        await b.gateway.add(2)
        await b.drained()
        await b.gateway.stop()
        shutil.copy(copy, b.gateway.path)
        keys = b.gateway.path.parent / "keys"
        await b.gateway.start()
        (epoch,) = {row[1] for row in b.gateway.rows()}
        old = b.gateway.signer.key_id
        shutil.rmtree(keys)
        keys.write_text("in the way")
        await wait_until(lambda: "cloud_away" in b.gateway.kinds(), "it is told")
        (event,) = [one for one in b.gateway.events if one.kind == "cloud_away"]
        assert "old copy" in event.cause
        assert "keys folder" in event.next_step
        assert {row[1] for row in b.gateway.rows()} == {epoch}
        assert "restored" not in b.gateway.kinds()
        assert b.gateway.signer.key_id == old
        keys.unlink()
        await wait_until(lambda: "restored" in b.gateway.kinds(), "it goes on by itself")
        assert b.gateway.signer.key_id != old


async def test_what_the_cloud_has_of_the_old_epoch_is_not_sent_again(
    bench: Make, embedded: BrokerProcess, tmp_path: Path
) -> None:
    """The billing lane was gone on with elsewhere, the event lane was not: its acknowledgement was only lost."""
    copy = tmp_path / "copy.db"
    async with bench(embedded) as b:
        await b.gateway.add(2)
        await b.drained()
        b.cloud.ingestor.faults.lose_acks = 1
        await b.gateway.add(1, lane="event")
        await wait_until(lambda: any(row[0] == "event" for row in b.cloud.records()), "it is there")
        await b.gateway.stop()
        shutil.copy(b.gateway.path, copy)
        await b.gateway.start()
        await b.gateway.add(2)
        await b.drained()
        await b.gateway.stop()
        shutil.copy(copy, b.gateway.path)
        await b.gateway.start()
        await wait_until(lambda: "restored" in b.gateway.kinds(), "the old copy is noticed")
        await b.drained()
        assert [row[0] for row in b.gateway.rows("state", "lane = 'event' AND supersedes IS NOT NULL")] == []
        assert b.gateway.rows("count(*)", "state = 'superseded'") == [(0,)]


async def test_a_cloud_that_lost_its_database_gets_everything_again(bench: Make, embedded: BrokerProcess) -> None:
    """Rows that it had acknowledged are kept here, so its loss can be made good."""
    async with bench(embedded) as b:
        await b.gateway.add(5)
        await b.drained()
        await b.gateway.stop()
        await b.cloud.stop()
        connection = sqlite3.connect(b.cloud.path)
        connection.executescript("DELETE FROM record WHERE seq > 2")
        connection.close()
        b.cloud.start()
        await b.gateway.start()
        await wait_until(lambda: "cloud_behind" in b.gateway.kinds(), "the gap is told")
        await b.drained()
        b.agree()


async def test_the_state_carries_the_heads_and_the_last_word(bench: Make, embedded: BrokerProcess) -> None:
    """State at the connect, again at the clean end with the last heads; no will after a goodbye."""
    async with bench(embedded) as b:
        await b.gateway.add(3)
        await b.drained()
        await b.gateway.stop()

        def states() -> list[dict[str, Any]]:
            return [json.loads(payload) for (payload,) in b.cloud.rows("state", "payload")]

        await wait_until(lambda: any(not state["online"] for state in states()), "the last word")
        ((seq, sha256),) = b.gateway.rows("seq, sha256", "seq = 3")
        assert states()[0]["online"]
        assert states()[-1]["heads"] == {"billing": [seq, sha256]}
        assert states()[-1]["gw"] == GW


async def test_a_gateway_that_dies_leaves_its_will(bench: Make, mosquitto: BrokerProcess) -> None:
    """No goodbye: the broker says offline in our place."""
    async with bench(mosquitto) as b:
        await b.gateway.add(1)
        await b.drained()
        await b.uplink.cut()

        def offline() -> list[Any]:
            return [p for (p,) in b.cloud.rows("state", "payload") if not json.loads(p)["online"]]

        await wait_until(offline, "the will is published")


async def test_hello_comes_first_and_is_repeated_until_answered(bench: Make, embedded: BrokerProcess) -> None:
    """While the cloud does not answer the hello no record leaves, and a person is told that nobody answers."""
    async with bench(embedded) as b:
        b.cloud.ingestor.faults.ignore_hellos = 5
        await b.uplink.cut()
        await b.uplink.restore()
        await b.gateway.add(2)
        await b.drained()
        b.agree()
        assert len(b.cloud.rows("hello", "payload")) >= 6
        assert "cloud_silent" in b.gateway.kinds()


async def test_nonsense_from_the_cloud_is_told_and_survived(bench: Make, embedded: BrokerProcess) -> None:
    """Messages that are no acknowledgement, of another lane or epoch, or on an unknown topic change nothing."""
    async with bench(embedded) as b:
        await b.gateway.add(1)
        await b.drained()
        for payload in (b"\xff\x00", b"[]", b'{"lane":"billing"}', b'{"hid":"x","lanes":{}}'):
            b.cloud.ingestor.send(GW, "ack", payload)
        b.cloud.ingestor.send(GW, "cfg", b"{}")
        await wait_until(lambda: b.gateway.kinds().count("cloud_message_refused") == 4, "each is told")
        causes = [event.cause for event in b.gateway.events if event.kind == "cloud_message_refused"]
        assert any(cause.startswith("epoch: ") for cause in causes), causes  # the field, not "2 validation errors"
        await b.gateway.add(1)
        await b.drained()
        b.agree()


async def test_an_acknowledgement_beyond_our_head_makes_us_ask_again(bench: Make, embedded: BrokerProcess) -> None:
    """The cloud speaks of records that this database never had: say hello again before anything is believed."""
    async with bench(embedded) as b:
        await b.gateway.add(2)
        await b.drained()
        hellos = len(b.cloud.rows("hello", "gw"))
        ack = {"lane": "billing", "epoch": b.gateway.who.epoch, "upto": 99, "credit": 10}
        b.cloud.ingestor.send(GW, "ack", json.dumps(ack).encode())
        await wait_until(lambda: len(b.cloud.rows("hello", "gw")) > hellos, "a new hello")
        await b.gateway.add(1)
        await b.drained()
        b.agree()


async def test_credit_zero_still_lets_one_record_a_minute_through(bench: Make, embedded: BrokerProcess) -> None:
    """Sixty site seconds are a tenth of a second here: four records take at least three of them."""
    async with bench(embedded, ingestor={"credit": 0}) as b:
        await b.gateway.add(1)
        await b.drained()
        clock = b.gateway.world.clock
        began = clock.monotonic()
        await b.gateway.add(4)
        await b.drained()
        assert clock.monotonic() - began >= 180
        b.agree()


async def test_an_unconfigured_cloud_is_stated(bench: Make, embedded: BrokerProcess) -> None:
    """Without [cloud] the records stay, and the status says so."""
    async with bench(embedded) as b:
        b.gateway.link._site = replace(b.gateway.site, cloud=None)
        assert not (await b.gateway.link.status())["configured"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(b.gateway.link.run(), 0.05)

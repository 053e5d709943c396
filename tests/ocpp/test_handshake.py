"""Who is let in: identities, passwords, subprotocols; who is not is told, with the address that the box must use."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from websockets.exceptions import InvalidStatus

from gateway.ocpp.charger_server import MAX_REFUSED, credentials_of, identity_of, same_password
from gateway.site import Upstream
from tests.ocpp.wires import Csms, Run, make_charger, make_site, until


def basic(user: str, password: bytes) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(user.encode() + b":" + password).decode()}


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("/box1", "box1"), ("//any///path/box1/", "box1"), ("/ocpp/box%201?x=/y", "box 1"), ("/", ""),
        ("///charger", "charger"),
    ],
)  # fmt: skip
def test_the_identity_is_the_last_segment_that_is_not_empty(path: str, identity: str) -> None:
    """Rule R14; quirks 5 to 8."""
    assert identity_of(path) == identity


def test_passwords_are_raw_bytes_or_their_hex_text() -> None:
    """Quirk 17; the vector of rule R15."""
    header = "Basic QUwxMDAwOgABAgMEBQYH////////////////"
    key = bytes(range(8)) + b"\xff" * 12
    assert credentials_of(header) == (b"AL1000", key)
    assert same_password(key, key)
    assert same_password(key.hex().encode(), key)
    assert same_password(key, key.hex().encode())
    assert not same_password(b"other", key)
    assert credentials_of("Bearer x") is None
    assert credentials_of("Basic %%%") is None


async def test_an_unknown_identity_is_refused_with_the_remedy(run_gateway: Run) -> None:
    """404, told once however often it redials, kept for status."""
    async with run_gateway(make_site(make_charger())) as gateway:
        for _ in range(3):
            with pytest.raises(InvalidStatus, match="404"):
                async with gateway.box("boxx"):
                    pass
        refused = gateway.side.status()["refused"]
        assert [(one["identity"], one["why"]) for one in refused] == [("boxx", "no charger has this identity")]
        assert refused[0]["url"] == f"ws://127.0.0.1:{gateway.side.port}/boxx"
        assert "box1" in refused[0]["next_step"]
        assert gateway.kinds().count("charger_refused") == 1


async def test_a_stranger_with_ever_new_long_names_costs_little_and_hides_nobody(run_gateway: Run) -> None:
    """I12: 60 names of 6000 characters are 50 short events and one that stands for the rest; ours is told as ever."""
    site = make_site(make_charger(secret="box1-key"))
    async with run_gateway(site, {"box1-key": b"secret"}) as gateway:
        with pytest.raises(InvalidStatus, match="401"):
            async with gateway.box():
                pass
        for number in range(MAX_REFUSED + 10):
            with pytest.raises(InvalidStatus, match="404"):
                async with gateway.box(f"S{number}-{'x' * 6000}"):
                    pass
        assert gateway.kinds().count("charger_refused") == 1 + MAX_REFUSED
        assert gateway.kinds().count("many_refused") == 1
        refused = gateway.side.status()["refused"]
        assert len(refused) == MAX_REFUSED
        assert max(len(str(one)) for one in refused) < 600
        assert any(one["identity"] == "box1" for one in refused)


async def test_a_wrong_password_is_refused_and_the_right_one_is_not(run_gateway: Run) -> None:
    """401; the refusal disappears from status when the box gets in."""
    site = make_site(make_charger(secret="box1-key"))
    async with run_gateway(site, {"box1-key": b"\x00secret\xff"}) as gateway:
        for headers in ({}, basic("box1", b"wrong"), basic("box2", b"\x00secret\xff")):
            with pytest.raises(InvalidStatus, match="401"):
                async with gateway.box(additional_headers=headers):
                    pass
        assert gateway.side.status()["refused"][0]["why"] == "wrong password"
        async with gateway.box(additional_headers=basic("box1", b"\x00secret\xff")) as box:
            assert (await box.boot())["status"] == "Accepted"
        assert gateway.side.status()["refused"] == []


@pytest.mark.parametrize("offered", [["ocpp2.0.1"], None])
async def test_no_common_subprotocol_completes_the_handshake_and_closes(
    run_gateway: Run, offered: list[str] | None
) -> None:
    """Rule R13: without the header, then 1002, and it is told."""
    async with run_gateway(make_site(make_charger())) as gateway, gateway.box(subprotocols=offered) as box:
        await box.connection.wait_closed()
        assert box.connection.close_code == 1002
        assert "subprotocol" in gateway.side.status()["refused"][0]["why"]


async def test_a_box_without_the_header_is_let_in_where_its_dialect_says_so(run_gateway: Run) -> None:
    """Quirk 1; a spelling in capitals is understood everywhere."""
    async with run_gateway(make_site(make_charger(dialect="grizzl-e"), make_charger("box2"))) as gateway:
        async with gateway.box(subprotocols=None) as box:
            assert (await box.boot())["status"] == "Accepted"
        async with gateway.box("box2", subprotocols=["OCPP1.6"]) as box:
            assert box.connection.subprotocol == "OCPP1.6"


async def test_the_csms_gets_the_charger_s_own_credentials(run_gateway: Run) -> None:
    """With the identity that the upstream maps."""
    csms = Csms()
    async with csms.open():
        site = make_site(make_charger(upstream="csms", authority="csms"))
        url = f"ws://127.0.0.1:{csms.port}/ocpp/"
        upstream = Upstream(id="csms", url=url, identity="CH-{id}", secret="csms-key")
        async with run_gateway(replace(site, upstreams=(upstream,)), {"csms-key": b"pass"}) as gateway:
            async with gateway.box() as box:
                await box.boot()
            assert csms.authorization == [basic("CH-box1", b"pass")["Authorization"]]
            assert csms.connections[0].request is not None
            assert csms.connections[0].request.path == "/ocpp/CH-box1"


async def test_a_csms_that_cannot_be_reached_is_told_once(run_gateway: Run) -> None:
    """However often it is dialled; without its secret it is not dialled at all."""
    csms = Csms()
    async with csms.open():
        pass
    site = make_site(make_charger(upstream="csms", authority="csms"), csms_port=csms.port)
    async with run_gateway(site) as gateway, gateway.box():
        await until(lambda: "csms_away" in gateway.kinds(), "it is told")
        before = gateway.side._links["box1"]._parts.clock.monotonic()
        await until(lambda: gateway.side._links["box1"]._parts.clock.monotonic() > before + 120, "more attempts")
        assert gateway.kinds().count("csms_away") == 1


async def test_spec_close_refuses_the_box_until_the_csms_can_be_dialled(
    run_gateway: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, so that it comes again soon (quirk 4); then it is let in."""
    monkeypatch.setattr("gateway.ocpp.link.ADMIT_S", 0.1)
    csms = Csms()
    async with csms.open():
        pass
    charger = make_charger(upstream="csms", authority="csms", offline="spec-close")
    site = make_site(charger, csms_port=csms.port)
    async with run_gateway(site) as gateway:
        with pytest.raises(InvalidStatus, match="503"):
            async with gateway.box():
                pass
        monkeypatch.setattr("gateway.ocpp.link.ADMIT_S", 5.0)
        async with csms.open(), gateway.box() as box:
            assert (await box.boot())["status"] == "Accepted"

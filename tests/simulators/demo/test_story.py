"""The story is in order, tells what the issue asks for, and its site file is what the gateway takes."""

from __future__ import annotations

import asyncio
import random
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from simulators.demo import plan
from simulators.demo.runner import LAST_INTERVAL, drained
from simulators.demo.site_text import Addresses, secrets, site_text

ADDRESSES = Addresses(ocpp=9000, csms=9001, grid_meter=9002, meter_line="/dev/pts/9", broker=9003)


def scenes(*kinds: str) -> list[plan.Scene]:
    return [scene for scene in plan.STORY if scene.do in kinds]


def test_the_scenes_are_in_order_and_inside_the_three_hours():
    times = [scene.at_ms for scene in plan.STORY]
    assert times == sorted(times)
    assert times[0] == plan.EPOCH_MS == 1_781_343_000_000
    assert times[-1] < plan.END_MS == plan.EPOCH_MS + 3 * 3_600_000


def test_every_car_that_comes_leaves_with_its_own_card():
    came = Counter((scene.box, scene.card) for scene in scenes("arrive"))
    left = Counter((scene.box, scene.card) for scene in scenes("leave"))
    assert came == left
    assert sum(came.values()) == 6


def test_the_gateway_dies_inside_the_outage_long_enough_for_the_fallback_to_show():
    (kill,), (restart,), (cut,), (mend,) = (scenes(kind) for kind in ("kill", "restart", "cut", "mend"))
    assert cut.at_ms < kill.at_ms < restart.at_ms < plan.at("12:45") < plan.at("13:00") < mend.at_ms
    assert restart.at_ms - kill.at_ms == 240_000


def test_the_card_that_starts_a_car_offline_has_been_seen_at_its_box_before():
    (offline,) = [scene for scene in scenes("arrive") if plan.at("12:10") < scene.at_ms < plan.at("12:36")]
    assert (offline.box, offline.card) in {(scene.box, scene.card) for scene in scenes("show")}
    assert plan.STRANGER not in plan.CARDS


def test_the_fallbacks_fit_beside_the_worst_of_the_house_on_every_phase():
    for phase in range(3):
        fallbacks = sum(box.fallback_a for box in plan.BOXES if phase in box.rotation[: box.phases])
        assert plan.HOUSE_WORST_A + fallbacks <= plan.CIRCUITS[0].limit_ma / 1000
        assert plan.GARAGE_LIGHT_A + fallbacks <= plan.CIRCUITS[1].limit_ma / 1000


def test_there_are_one_two_and_three_phase_cars_on_rotated_boxes():
    cars = {box.name: plan.car(box.name, random.Random(1)) for box in plan.BOXES}
    assert Counter(car.phases for car in cars.values()) == {1: 2, 2: 1, 3: 3}
    assert all(car.phases <= box.phases for box in plan.BOXES for car in [cars[box.name]])
    assert len({box.rotation for box in plan.BOXES}) == 3


def test_the_site_file_names_every_part_and_every_secret():
    site = tomllib.loads(site_text(ADDRESSES))
    assert site["site"]["simulation"] is True
    assert [charger["id"] for charger in site["charger"]] == [box.name for box in plan.BOXES]
    assert {meter["id"] for meter in site["meter"]} == {"grid", "pv", *(box.meter for box in plan.BOXES)}
    named = {charger["secret"] for charger in site["charger"]} | {site["upstream"][0]["secret"]}
    assert named == set(secrets())


async def test_the_gateways_own_check_finds_no_problem_in_the_site_file(tmp_path: Path):
    """The command line of the gateway, as a separate process: the simulators import nothing of it."""
    (tmp_path / "site.toml").write_text(site_text(ADDRESSES))
    (tmp_path / "secrets").mkdir()
    for name, secret in secrets().items():
        (tmp_path / "secrets" / name).touch(mode=0o600)
        (tmp_path / "secrets" / name).write_text(secret)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "check", "--config", str(tmp_path / "site.toml"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()


def status(**changes: object) -> dict[str, object]:
    return {
        "split": {"last_interval": LAST_INTERVAL + ":00.000Z", "provisional": 0},
        "cloud": {"backlog": {"billing": 0, "event": 0}},
        "upstreams": [{"queue": 0, "parked": 0}],
        **changes,
    }


def test_a_gateway_with_nothing_left_to_tell_is_drained():
    assert drained(status())


@pytest.mark.parametrize(
    "changes",
    [
        {"cloud": {"backlog": {"billing": 1, "event": 0}}},
        {"upstreams": [{"queue": 0}, {"queue": 2}]},
        {"split": {"last_interval": "2026-06-13T12:00:00.000Z", "provisional": 0}},
        {"split": {"last_interval": None}},
    ],
)
def test_anything_that_waits_keeps_it_from_being_drained(changes: dict[str, object]):
    assert not drained(status(**changes))

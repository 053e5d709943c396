"""What the cloud's developers read is what the gateway does: generated files are current, examples are valid."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gateway.records.bodies import SCHEMAS
from simulators.cloud.database import GENESIS, CloudDatabase

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "cloud"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_cloud_generate", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_generated_file_is_current(generator: ModuleType) -> None:
    """`python docs/cloud/generate.py` writes them; a forgotten or a stale file fails here."""
    files = generator.files()
    for path, text in files.items():
        assert path.exists(), f"missing: {path.name}"
        assert path.read_text(encoding="utf-8") == text, f"stale: {path.name}"
    on_disk = set(FOLDER.glob("schemas/*")) | set(FOLDER.glob("examples/*.json"))
    assert on_disk == {path for path in files if path.parent != FOLDER}


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_each_record_kind_has_an_example_that_its_schema_accepts(name: str) -> None:
    """One worked example per kind, judged by a validator that is not ours."""
    validators = pytest.importorskip("jsonschema_rs")
    schema = load(FOLDER / "schemas" / f"{name}.schema.json")
    validators.validator_for(schema).validate(load(FOLDER / "examples" / f"{name}.json"))


@pytest.mark.parametrize("name", ["hello", "hello_ack", "ack", "state", "command", "reply"])
def test_each_message_has_an_example_that_its_schema_accepts(name: str) -> None:
    """The messages around the records."""
    validators = pytest.importorskip("jsonschema_rs")
    schema = load(FOLDER / "schemas" / f"{name}.schema.json")
    validators.validator_for(schema).validate(load(FOLDER / "examples" / f"{name}.json"))


def test_the_example_envelopes_are_valid_and_chained() -> None:
    """The reference cloud, which shares no code with the gateway, takes every one of them."""
    validators = pytest.importorskip("jsonschema_rs")
    validator = validators.validator_for(load(FOLDER / "schemas" / "envelope.schema.json"))
    cloud = CloudDatabase(Path(":memory:"), durable=False)
    envelopes = [load(path) for path in FOLDER.glob("examples/envelope-*.json")]
    for envelope in sorted(envelopes, key=lambda each: (each["lane"], each["seq"])):
        validator.validate(envelope)
        cloud.store(envelope, 0)
        assert load(FOLDER / "examples" / f"{envelope['schema']}.json") == json.loads(envelope["body"])
    assert len(envelopes) == len(SCHEMAS)
    assert all(not cloud.rejections(key) for key in cloud.lanes)
    assert {envelope["prev"] for envelope in envelopes if envelope["seq"] == 1} == {GENESIS}
    cloud.close()


def test_the_numbers_of_the_examples_close() -> None:
    """An example that does not add up teaches the wrong thing (I6, I7)."""
    end, interval, split = (
        load(FOLDER / "examples" / f"{n}.json") for n in ("session.end.v1", "interval.v1", "split.v1")
    )
    assert end["energy_wh"] == end["end_wh"] - end["begin_wh"] == split["energy_wh"]
    assert split["energy_wh"] == split["solar_wh"] + sum(split["classes_wh"].values())
    assert split["solar_wh"] == sum(split["solar_by_class_wh"].values())
    assert interval["consumption_wh"] == interval["import_wh"] + interval["production_wh"] - interval["export_wh"]
    assert sum(share["wh"] for share in interval["shares"]) == interval["consumption_wh"]
    assert sum(share["solar_wh"] for share in interval["shares"]) == interval["solar_wh"]
    assert all(share["wh"] == share["solar_wh"] + share["grid_wh"] for share in interval["shares"])


def test_the_asyncapi_names_every_message() -> None:
    """Every channel's message exists, every payload's schema file too."""
    document = load(FOLDER / "asyncapi.json")
    used = {name for channel in document["channels"].values() for name in channel["messages"]}
    assert used == set(document["components"]["messages"])
    for message in document["components"]["messages"].values():
        assert (FOLDER / message["payload"]["$ref"]).exists()

"""Writes what the cloud's developers build from, out of the gateway's own models: `python docs/cloud/generate.py`.

JSON Schemas of every body and message, an AsyncAPI description, and one worked example per record kind and message.
`tests/cloud/test_docs.py` fails where a file is not current.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples import ACKS, BODIES, MESSAGES, envelopes

from gateway.cloud.envelope import MAX_MESSAGE_BYTES, Ack, Command, Envelope, Hello, HelloAck, Reply, State
from gateway.records.bodies import SCHEMAS

FOLDER = Path(__file__).resolve().parent
DRAFT = "https://json-schema.org/draft/2020-12/schema"

MODELS: dict[str, type[BaseModel]] = {
    "envelope": Envelope,
    "hello": Hello,
    "hello_ack": HelloAck,
    "ack": Ack,
    "state": State,
    "command": Command,
    "reply": Reply,
}

CHANNELS: list[tuple[str, str, str, str, str]] = [
    ("hello", "up/hello", "send", "hello", "First at every connect, repeated until `down/ack` names its `hid`."),
    ("billing", "up/billing", "send", "envelope", "What ends in a bill: sessions, intervals, splits. Never dropped."),
    ("event", "up/event", "send", "envelope", "What a person should know: faults, thinned values, dead letters."),
    ("reply", "up/reply", "send", "reply", "What became of a command."),
    ("state", "state", "send", "state", "Retained; at each connect, every 5 minutes, at a clean end; the last will."),
    ("ack", "down/ack", "receive", "ack", "After the cloud's commit, cumulative. The only receipt that counts."),
    ("hello_ack", "down/ack", "receive", "hello_ack", "The answer to a hello."),
    ("command", "down/cmd", "receive", "command", "An operation, idempotent by `cid`."),
]  # fmt: skip


def json_text(document: Any) -> str:
    """As all files here are written."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def schema(model: type[BaseModel], name: str) -> dict[str, Any]:
    """The JSON Schema of one model."""
    return {"$schema": DRAFT, "$id": f"{name}.schema.json", **model.model_json_schema(by_alias=True)}


def asyncapi() -> dict[str, Any]:
    """The protocol as AsyncAPI 3.0."""
    channels, operations = {}, {}
    for name, topic, action, message, text in CHANNELS:
        channels[name] = {
            "address": f"zgw/v1/{{gw}}/{topic}",
            "description": text,
            "parameters": {"gw": {"description": "id of the site; a simulation speaks on zgw/sim instead of zgw/v1"}},
            "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        }
        operations[name] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": text,
            "bindings": {"mqtt": {"qos": 1, "retain": name == "state"}},
        }
    messages = {
        name: {"contentType": "application/json", "payload": {"$ref": f"schemas/{name}.schema.json"}} for name in MODELS
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "ZEV gateway, cloud protocol",
            "version": "1",
            "description": "MQTT 5 or 3.1.1, seen from the gateway. Everything that matters is in the payload. "
            f"The largest message is {MAX_MESSAGE_BYTES} bytes. `envelope.body` is a JSON string that holds one of "
            "the bodies named by `envelope.schema`.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def files() -> dict[Path, str]:
    """Every generated file and its text."""
    found = {FOLDER / "asyncapi.json": json_text(asyncapi())}
    for name, model in {**MODELS, **SCHEMAS}.items():
        found[FOLDER / "schemas" / f"{name}.schema.json"] = json_text(schema(model, name))
    for name, body in BODIES.items():
        found[FOLDER / "examples" / f"{name}.json"] = json_text(json.loads(body.model_dump_json()))
    for name, message in {**MESSAGES, **ACKS}.items():
        found[FOLDER / "examples" / f"{name}.json"] = json_text(json.loads(message.model_dump_json()))
    for name, payload in envelopes().items():
        found[FOLDER / "examples" / f"envelope-{name}.json"] = json_text(json.loads(payload))
    return found


def main() -> None:
    """Write what differs."""
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

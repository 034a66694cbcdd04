from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from gateway.domain.answers import Answer
from gateway.domain.events import AnyEvent
from gateway.mqtt.asyncapi import PUBLISHED, document, document_yaml
from gateway.mqtt.messages import VERB_DATA, VERB_EXAMPLES, DeviceState, GatewayState, Response
from gateway.mqtt.topics import Topics
from tests.gateway.mqtt.broker import BrokerProcess, client, next_message
from tests.gateway.mqtt.contract import ContractBroken, validate
from tests.gateway.mqtt.fakes import BASE, printed, running

AT = "2026-06-01T00:00:00.000Z"
ROOT = Path(__file__).parents[3]


def refs(value: Any) -> set[str]:
    if isinstance(value, list):
        return {found for item in value for found in refs(item)}
    if not isinstance(value, dict):
        return set()
    own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
    return own | {found for item in value.values() for found in refs(item)}


def test_the_committed_document_is_what_the_types_say() -> None:
    assert (ROOT / "docs" / "asyncapi.yaml").read_text() == document_yaml(), "run `make asyncapi` and commit the file"


def test_the_yaml_says_the_same_as_the_document() -> None:
    assert YAML(typ="safe").load(document_yaml()) == document()


def test_every_reference_leads_somewhere_and_every_schema_is_one() -> None:
    whole = document()
    for ref in refs(whole):
        found: Any = whole
        for step in ref.removeprefix("#/").split("/"):
            found = found[step]
    for schema in whole["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_topic_has_its_channel_and_every_parameter_its_description() -> None:
    topics = Topics("hall")
    for kind, (pattern, *_) in PUBLISHED.items():
        topic = re.sub(r"\{.*?\}", "hall", pattern)
        parsed = topics.parse(topic)
        assert parsed is not None
        assert parsed.kind == kind
    for channel in document()["channels"].values():
        assert set(re.findall(r"\{(\w+)\}", channel["address"])) == set(channel["parameters"])


@pytest.mark.parametrize("verb", VERB_DATA)
def test_the_example_of_each_verb_is_right(verb: str) -> None:
    topic = Topics("hall").request("bar", "printer", verb)
    validate(topic, b'{"id": "r1", "data": %s}' % VERB_EXAMPLES[verb].encode())


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("gateway/state", b'{"state": "happy"}'),
        ("gateway/state", b'{"state": "online", "whi": []}'),
        ("gateway/state", b"online"),
        ("gateway/nonsense", b"{}"),
        ("events", b"[]"),
        ("events", b'[{"seq": 1, "id": "x", "at": "now", "kind": "no.such"}]'),
        ("events", b'[{"id": "x", "at": "now", "kind": "gateway.stopped"}]'),
        ("clients/bar/responses", b'{"id": "r1", "status": "done"}'),
        ("clients/bar/responses", b'{"id": "r1", "status": "denied", "reason": "mood", "at": "%s"}' % AT.encode()),
        ("clients/bar/requests/printer/dance", b'{"id": "r1"}'),
        ("clients/bar/requests/drawer/open", b'{"id": "r1", "data": {}}'),
        ("clients/bar/requests/drawer/open", b'{"id": "r1"}'),
    ],
)
def test_the_validator_refuses_what_is_wrong(topic: str, payload: bytes) -> None:
    with pytest.raises(ContractBroken):
        validate(f"{BASE}/{topic}", payload)


def test_every_kind_of_event_is_in_the_feeds_schema() -> None:
    schemas = document()["components"]["schemas"]
    listed = {item["$ref"].rsplit("/", 1)[1] for item in schemas["FeedMessage"]["items"]["anyOf"]}
    assert listed == {kind.__name__ for kind in AnyEvent.__args__}
    for name in listed:
        assert schemas[name]["properties"]["kind"]["enum"]


async def test_what_the_gateway_sends_is_as_the_document_says(broker: BrokerProcess) -> None:
    async with client(broker, f"{BASE}/#") as other, running(broker) as run:
        run.face.announcer.gateway_state(GatewayState(state="degraded", why=("storage: full",), at=AT))
        run.face.announcer.device_state("bar-printer", DeviceState(state="online", at=AT, status={"paper_low": True}))
        run.commit(run.journal.append(printed(1)))
        await other.publish(f"{BASE}/clients/bar/requests/printer/status", b'{"id": "r1"}', qos=1)
        await other.publish(f"{BASE}/clients/bar/requests/printer/print", b'{"id": "r2", "data": 3}', qos=1)
        seen: set[str] = set()
        while len(seen) < 6:
            message = await next_message(other)
            assert isinstance(message.payload, bytes)
            seen.add(message.topic.value + str(len(message.payload)))
            if not message.topic.value.endswith("/print"):
                validate(message.topic.value, message.payload)


def test_a_response_encodes_as_its_schema_says() -> None:
    answer = Answer("done", data={"job": "j"})
    response = Response(id="r", status=answer.status, at=AT, data=answer.data)
    validate(f"{BASE}/clients/bar/responses", msgspec.json.encode(response))
    validate(f"{BASE}/clients/bar/replies/7", msgspec.json.encode(response))
    assert json.loads(msgspec.json.encode(response)) == {"id": "r", "status": "done", "at": AT, "data": {"job": "j"}}

"""Every message that is seen must be as the contract says: checks against the schemas of the AsyncAPI document."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from gateway.mqtt.answer_data import ANSWER_DATA
from gateway.mqtt.asyncapi import PUBLISHED, document, request_schema_name
from gateway.mqtt.messages import VERB_DATA
from gateway.mqtt.topics import Parsed, Topics

ERRORS_SHOWN = 5


class ContractBroken(AssertionError):
    """A message is not as the contract says."""


def validate(topic: str, payload: bytes) -> None:
    """Check one message, from either side. Raises ContractBroken that says what is wrong.

    The contract lets the gateway add fields; here a field that the document does not know is an error, because it is
    most likely a misspelt one.
    """
    levels = topic.split("/")
    topics = Topics(levels[1] if len(levels) > 1 else "")
    parsed = topics.parse(topic)
    if parsed is None and len(levels) > 4 and topics.may_respond_to(levels[3], topic):
        parsed = Parsed("response", client=levels[3])  # A response topic that the client chose.
    if parsed is None:
        raise ContractBroken(f"{topic}: no such topic in the contract")
    if not payload and parsed.kind in ("device_state", "request"):
        return  # A retained message is being cleared.
    if parsed.kind == "request" and parsed.verb not in VERB_DATA:
        raise ContractBroken(f"{topic}: no such verb in the contract")
    name = request_schema_name(parsed.verb) if parsed.kind == "request" else PUBLISHED[parsed.kind][1]
    try:
        message = json.loads(payload)
    except ValueError as error:
        raise ContractBroken(f"{topic}: {error}") from None
    errors = [f"{error.json_path}: {error.message}" for error in _validator(name).iter_errors(message)]
    if parsed.kind == "response" and not errors:
        errors = _data_errors(message)
    if errors:
        raise ContractBroken(f"{topic}: {'; '.join(errors[:ERRORS_SHOWN])}\n{payload[:1000]!r}")


def _data_errors(answer: dict[str, Any]) -> list[str]:
    kind = ANSWER_DATA.get(answer.get("verb", ""), {}).get(answer["status"])
    found = [] if kind is None else _validator(kind.__name__).iter_errors(answer.get("data", {}))
    return [f"data of {answer['verb']}, {error.json_path}: {error.message}" for error in found]


@lru_cache
def _validator(name: str) -> Draft202012Validator:
    schema = {"$ref": f"urn:contract#/components/schemas/{name}"}
    return Draft202012Validator(schema, registry=_registry())


@lru_cache
def _registry() -> Registry[Any]:
    contract = _closed(document())
    resource = Resource.from_contents(contract, default_specification=DRAFT202012)
    return Registry().with_resource("urn:contract", resource)


def _closed(value: Any) -> Any:
    if isinstance(value, list):
        return [_closed(item) for item in value]
    if not isinstance(value, dict):
        return value
    closed = {key: _closed(item) for key, item in value.items()}
    if "properties" in closed and closed.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed

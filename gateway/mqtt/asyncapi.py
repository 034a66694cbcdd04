"""The MQTT contract as an AsyncAPI 3.0 document, made from the message types and the topics: it cannot be out of date.

Specification: https://www.asyncapi.com/docs/reference/specification/v3.0.0, MQTT binding 0.2.0.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from gateway.config.schema import NAME_PATTERN, VERBS
from gateway.documents import as_yaml
from gateway.domain import events
from gateway.mqtt import messages as m
from gateway.mqtt.answer_data import ANSWER_DATA
from gateway.mqtt.topics import Topics

CONTRACT_VERSION = "1.0.0"
"""Raised in its first place when a client that follows the document would break."""

Json = dict[str, Any]
_REF = "#/components/schemas/{name}"
_topics = Topics("{venue}")

PUBLISHED: Mapping[str, tuple[str, str, int, bool]] = {
    # kind: (topic, schema of its payload, QoS, retained)
    "gateway_state": (_topics.gateway_state, "GatewayState", 1, True),
    "gateway_info": (_topics.gateway_info, "GatewayInfo", 1, True),
    "gateway_devices": (_topics.gateway_devices, "GatewayDevices", 1, True),
    "gateway_health": (_topics.gateway_health, "GatewayHealth", 1, True),
    "gateway_zones": (_topics.gateway_zones, "GatewayZones", 1, True),
    "device_state": (_topics.device_state("{device}"), "DeviceState", 1, True),
    "device_events": (_topics.device_events("{device}"), "DeviceEvent", 0, False),
    "events": (_topics.events, "FeedMessage", 1, False),
    "response": (_topics.responses("{client}"), "Response", 1, False),
}
"""What the gateway sends, by the kinds that `Topics.parse` knows."""

_PUBLISHED_TYPES = (
    m.GatewayState,
    m.GatewayInfo,
    m.GatewayDevices,
    m.GatewayHealth,
    m.GatewayZones,
    m.DeviceState,
    m.DeviceEvent,
    m.Response,
)


def request_schema_name(verb: str) -> str:
    """Return the name of the schema of a whole request of `verb`."""
    return "Request" + "".join(part.capitalize() for part in verb.split("_"))


def document() -> Json:
    """Return the whole contract as plain JSON values."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Venue Gateway",
            "version": CONTRACT_VERSION,
            "description": "Readers, gates, printers and drawers of one venue over local MQTT 5. See docs/mqtt.md.",
            "license": {"name": "Apache-2.0"},
        },
        "servers": {"venue": {"host": "gateway.local:1883", "protocol": "mqtt", "protocolVersion": "5"}},
        "defaultContentType": "application/json",
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def document_yaml() -> str:
    """Return `document()` as YAML, with texts of several lines as blocks."""
    return as_yaml(document(), "Generated from the message types by `make asyncapi`; do not edit.")


def _channels() -> Json:
    channels = {kind: _channel(topic, kind) for kind, (topic, *_) in PUBLISHED.items()}
    for verb in m.VERB_DATA:
        topic = _topics.request("{client}", "{target}", verb)
        channels[f"request_{verb}"] = _channel(topic, f"request_{verb}")
    return channels


def _channel(address: str, message: str) -> Json:
    parameters = {name: {"description": text} for name, text in _PARAMETERS.items() if f"{{{name}}}" in address}
    return {
        "address": address,
        "parameters": parameters,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
    }


_PARAMETERS = {
    "venue": "venue.id of the configuration.",
    "device": f"Name of a device or gate: {NAME_PATTERN}",
    "client": f"The client's own name, which is its user at the broker: {NAME_PATTERN}",
    "target": "Name of a printer, drawer or gate, or `gateway`, `wallet` or `entitlements`.",
}


def _operations() -> Json:
    operations: Json = {}
    for kind, (_, _, qos, retain) in PUBLISHED.items():
        operations[f"send_{kind}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{kind}"},
            "bindings": {"mqtt": {"qos": qos, "retain": retain, "bindingVersion": "0.2.0"}},
        }
    for verb in m.VERB_DATA:
        operations[f"receive_{verb}"] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/request_{verb}"},
            "summary": f"Targets: {', '.join(kind for kind, verbs in VERBS.items() if verb in verbs)}.",
            "bindings": {"mqtt": {"qos": 1, "retain": False, "bindingVersion": "0.2.0"}},
            "reply": {"channel": {"$ref": "#/channels/response"}},
            **_answers(verb),
        }
    return operations


def _answers(verb: str) -> Json:
    """The `data` of the answers to a verb, by status. AsyncAPI has no place for it, so it is an extension."""
    told = ANSWER_DATA.get(verb, {})
    by_status = {status: {"$ref": _REF.format(name=kind.__name__)} for status, kind in told.items()}
    return {"x-answer-data": by_status} if by_status else {}


def _messages() -> Json:
    messages: Json = {}
    for kind, (_, schema, _, _) in PUBLISHED.items():
        messages[kind] = {"name": kind, "payload": {"$ref": _REF.format(name=schema)}}
    for verb in m.VERB_DATA:
        example = {"id": "0197c5a0-1", "expires_at": "2026-07-01T19:30:05Z", "data": json.loads(m.VERB_EXAMPLES[verb])}
        messages[f"request_{verb}"] = {
            "name": f"request_{verb}",
            "payload": {"$ref": _REF.format(name=request_schema_name(verb))},
            "examples": [{"payload": example}],
        }
    return messages


def _schemas() -> Json:
    data_types = tuple(dict.fromkeys(m.VERB_DATA.values()))
    event_types = get_args(events.AnyEvent)
    answer_types = dict.fromkeys(kind for told in ANSWER_DATA.values() for kind in told.values())
    types = (*_PUBLISHED_TYPES, m.Envelope, *data_types, *event_types, *answer_types)
    _, made = msgspec.json.schema_components(types, ref_template=_REF)
    schemas: Json = _tidied(made)
    envelope = schemas.pop("Envelope")
    for verb, data_type in m.VERB_DATA.items():
        name = request_schema_name(verb)
        schemas[name] = _request_schema(name, envelope, schemas[data_type.__name__])
    for event in event_types:
        schemas[event.__name__] = _entry_schema(schemas[event.__name__])
    entries = [{"$ref": _REF.format(name=event.__name__)} for event in event_types]
    schemas["FeedMessage"] = {
        "title": "FeedMessage",
        "description": "Journal entries of one commit or more, in order and without gaps.",
        "type": "array",
        "minItems": 1,
        "maxItems": 200,
        "items": {"anyOf": entries, "discriminator": "kind"},
    }
    return dict(sorted(schemas.items()))


def _request_schema(title: str, envelope: Json, data: Json) -> Json:
    properties = {**envelope["properties"], "data": {"$ref": _REF.format(name=data["title"])}}
    required = [*envelope["required"], *(["data"] if data.get("required") else [])]
    return {**envelope, "title": title, "properties": properties, "required": required}


def _entry_schema(event: Json) -> Json:
    """An event as the feed shows it: the journal's own fields in front."""
    journal = {
        "seq": {"description": "Counts from 1 without gaps.", "type": "integer", "minimum": 1},
        "id": {"description": "UUIDv7.", "type": "string"},
        "at": {"description": "When it was recorded: RFC 3339, UTC, milliseconds.", "type": "string"},
    }
    properties = {**journal, **event["properties"]}
    return {**event, "properties": properties, "required": [*journal, *event.get("required", [])]}


def _tidied(value: Any) -> Any:  # noqa: ANN401
    """Make msgspec's schemas fit AsyncAPI, where a discriminator is a property's name, and unindent docstrings."""
    if isinstance(value, list | tuple):
        return [_tidied(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _tidied_field(key, item) for key, item in value.items()}


def _tidied_field(key: str, item: Any) -> Any:  # noqa: ANN401
    if key == "discriminator" and isinstance(item, dict):
        return item["propertyName"]
    if key == "description" and isinstance(item, str):
        return inspect.cleandoc(item)
    return _tidied(item)

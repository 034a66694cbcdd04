"""What goes over MQTT and JetStream as an AsyncAPI 3.0 document, made from the types and names that are really used.

Specification: https://www.asyncapi.com/docs/reference/specification/v3.0.0; MQTT binding 0.2.0.
"""

from __future__ import annotations

from gateway.config.upstream import ChangeStream, SinkEntry
from gateway.documents import as_yaml
from gateway.upstream import contract as c
from gateway.upstream.cloudevents import BATCH_MEDIA_TYPE, MEDIA_TYPE
from gateway.upstream.jetstream import AFTER, GAP, SOURCE, THROUGH
from gateway.upstream.openapi import CONTRACT_VERSION, MADE_BY, SEAL_DESCRIPTION, Json, schemas_of
from gateway.upstream.packing import PACK_ROWS_MAX
from gateway.upstream.seal import HEADER
from gateway.upstream.stream import DIGEST

_REF = "#/components/schemas/{name}"


def document() -> Json:
    """Return the whole document as plain JSON values."""
    mqtt, bus, changes = SinkEntry(url="mqtts://h"), SinkEntry(url="tls://h"), ChangeStream(url="tls://h")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Upstream of Venue Gateway, by MQTT 5 and JetStream",
            "version": CONTRACT_VERSION,
            "description": "Where events go besides HTTPS, and how the directory changes. See docs/upstream.md.",
            "license": {"name": "Apache-2.0"},
        },
        "servers": {
            "mqtt": {"host": "broker.example:8883", "protocol": "secure-mqtt", "protocolVersion": "5"},
            "nats": {"host": "nats.example:4222", "protocol": "nats", "description": "With JetStream."},
        },
        "channels": {
            "mqtt_events": _channel(mqtt.topic, "mqtt", "event"),
            "stream_events": _channel(bus.subject, "nats", "batch"),
            "stream_directory": _channel(changes.subject, "nats", "directory_changes"),
        },
        "operations": {
            "send_event": _operation("send", "mqtt_events", "An event a message, in order, QoS 1.")
            | {"bindings": {"mqtt": {"qos": 1, "retain": False, "bindingVersion": "0.2.0"}}},
            "send_batch": _operation("send", "stream_events", "Each follows the one before it on its subject."),
            "receive_directory_changes": _operation(
                "receive", "stream_directory", f"By a durable consumer, `{changes.durable}`, one at a time."
            ),
        },
        "components": {"messages": _messages(), "schemas": schemas_of((c.CloudEvent, c.DirectoryChanges))},
    }


def document_yaml() -> str:
    """Return `document()` as YAML."""
    return as_yaml(document(), MADE_BY.format(target="upstream-asyncapi"))


def _channel(address: str, server: str, message: str) -> Json:
    return {
        "address": address,
        "servers": [{"$ref": f"#/servers/{server}"}],
        "parameters": {"venue": {"description": "venue.id of the configuration."}},
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
    }


def _operation(action: str, channel: str, summary: str) -> Json:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _messages() -> Json:
    event, changes = {"$ref": _REF.format(name="CloudEvent")}, {"$ref": _REF.format(name="DirectoryChanges")}
    number = {"type": "string", "pattern": "^[0-9]{1,16}$"}
    batch_headers = {
        "Content-Encoding": {"const": "gzip"},
        SOURCE: {"type": "string", "description": "Whose journal: the same as in each event."},
        AFTER: number | {"description": "The batch holds all that comes after this number …"},
        THROUGH: number | {"description": "… up to this one, but for what was set aside."},
        GAP: {"const": "true", "description": "What comes before is no longer at the venue."},
        "Nats-Msg-Id": {"type": "string", "description": "The id of the last event: all up to it are stored."},
        "Nats-Expected-Last-Subject-Sequence": number | {"description": "The message before, in the stream's count."},
    }
    digest = {"type": "string", "description": "SHA-256 of the body, as RFC 9530 has it: `sha-256=:…:`."}
    sealed = {"type": "string", "description": SEAL_DESCRIPTION}
    return {
        "event": {"name": "event", "contentType": f"{MEDIA_TYPE}", "payload": event},
        "batch": {
            "name": "batch",
            "contentType": BATCH_MEDIA_TYPE,
            "headers": {"type": "object", "required": [SOURCE, AFTER, THROUGH], "properties": batch_headers},
            "payload": {"type": "array", "maxItems": PACK_ROWS_MAX, "items": event},
        },
        "directory_changes": {
            "name": "directory_changes",
            "contentType": "application/json",
            "headers": {"type": "object", "required": [DIGEST], "properties": {DIGEST: digest, HEADER: sealed}},
            "payload": changes,
        },
    }

"""The contract with upstream as an OpenAPI 3.1 document, made from the types that are sent and read: never out of date.

Specification: https://spec.openapis.org/oas/v3.1.0.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.documents import as_yaml, unindented
from gateway.domain.orders import Order
from gateway.upstream import contract as c
from gateway.upstream.cloudevents import BATCH_MEDIA_TYPE

CONTRACT_VERSION = "1.0.0"
"""Raised in its first place when an upstream that follows the document would break."""

MADE_BY = "Generated from the types of the contract by `make {target}`; do not edit."
Json = dict[str, Any]
_REF = "#/components/schemas/{name}"
_NDJSON = "application/x-ndjson"
_JSON = "application/json"


def document() -> Json:
    """Return the whole contract as plain JSON values."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Upstream of Venue Gateway",
            "version": CONTRACT_VERSION,
            "description": "What a venue asks of the system above it. See docs/upstream.md.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "https://upstream.example", "description": "`upstream.url` of the venue's YAML."}],
        "security": [{"token": []}, {"certificate": []}],
        "paths": {
            c.ROOT + c.EVENTS: {"post": _events()},
            c.ROOT + c.SNAPSHOT: {"get": _snapshot()},
            c.ROOT + c.CHANGES: {"get": _changes()},
            c.ROOT + c.ALLOWANCES: {"post": _allowances()},
            c.ROOT + c.FINDINGS: {"get": _findings()},
            c.ROOT + c.ENROLMENT: {"post": _enrolment()},
            c.ROOT + c.RENEWAL: {"post": _renewal()},
            c.ROOT + c.ORDERS: {"get": _orders()},
            c.ROOT + c.DIAGNOSTICS: {"put": _diagnostics()},
        },
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "certificate": {"type": "mutualTLS", "description": "What enrolment gave the gateway."},
            },
            "schemas": schemas_of(),
        },
    }


def document_yaml() -> str:
    """Return `document()` as YAML."""
    return as_yaml(document(), MADE_BY.format(target="openapi"))


def _events() -> Json:
    seq = {"type": "integer", "minimum": 0}
    batch = {"type": "array", "maxItems": 500, "items": {"$ref": _REF.format(name="CloudEvent")}}
    return {
        "operationId": "takeEvents",
        "summary": "Events of one journal, in order. The body is compressed with gzip.",
        "parameters": [
            _VENUE,
            _query("source", {"type": "string"}, "Which journal: the same as in each event."),
            _query("after", seq, "The batch holds all that comes after this number …"),
            _query("through", seq, "… up to this one, but for what was set aside."),
            _query("gap", {"const": "true"}, "What comes before is no longer at the venue.", required=False),
        ],
        "requestBody": {"required": True, "content": {BATCH_MEDIA_TYPE: {"schema": batch}}},
        "responses": {
            "200": _answer("EventsTaken", "All of it is stored for good, now or before."),
            "409": _answer("EventsMissing", "Events before it are missing; nothing was stored."),
            "422": _answer("EventsRefused", "It will never be taken; nothing was stored."),
            **_TROUBLES,
        },
    }


def _snapshot() -> Json:
    headers = {
        "Upstream-Signature": _SEAL,
        "ETag": _header("Tells this snapshot from any other; a strong one."),
        "Directory-Cursor": _header("How many changes are in it: a whole number from 1."),
        "Repr-Digest": _header("SHA-256 of the whole snapshot, as RFC 9530 has it."),
    }
    content = {_NDJSON: {"schema": {"type": "string", "description": "One row a line: `DirectoryRow`."}}}
    range_, if_range = _asked("Range", "bytes=N-: the rest."), _asked("If-Range", "The ETag of what is there.")
    return {
        "operationId": "giveSnapshot",
        "summary": "The whole directory.",
        "parameters": [_VENUE, range_, if_range],
        "responses": {
            "200": {"description": "All of it.", "headers": headers, "content": content},
            "206": {"description": "The rest of the same snapshot.", "headers": headers, "content": content},
            **_TROUBLES,
        },
    }


def _changes() -> Json:
    given = _answer("DirectoryChanges", "What has changed.")
    digest = _header("SHA-256 of the body, as RFC 9530 has it.")
    given["headers"] = {"Upstream-Signature": _SEAL, "Content-Digest": digest}
    return {
        "operationId": "giveChanges",
        "summary": "What changed after a cursor, as soon as there is something.",
        "parameters": [
            _VENUE,
            _query("after", {"type": "integer", "minimum": 1}, "The cursor that is in force at the venue."),
            _query("wait_s", _WAIT, "How long to wait for something.", required=False),
        ],
        "responses": {
            "200": given,
            "204": {"description": "Nothing has, in all that time."},
            "410": {"description": "Nobody knows any more; the venue asks for a snapshot."},
            **_TROUBLES,
        },
    }


def _allowances() -> Json:
    body = {_JSON: {"schema": {"$ref": _REF.format(name="AllowanceMessages")}}}
    return {
        "operationId": "takeStatements",
        "summary": "What a venue holds of wallets, and wants. Without statements it asks whether there is news.",
        "parameters": [_VENUE],
        "requestBody": {"required": True, "content": body},
        "responses": {"200": _answer("AllowanceAnswers", "How the allowances stand."), **_TROUBLES},
    }


def _findings() -> Json:
    return {
        "operationId": "giveFindings",
        "summary": "What does not go together with what other venues did. Optional: answer 404 where nobody compares.",
        "parameters": [
            _VENUE,
            _query("after", {"type": "integer", "minimum": 0}, "How many the venue has been told of."),
            _query("wait_s", _WAIT, "How long to wait for one.", required=False),
        ],
        "responses": {
            "200": _answer("Findings", "What was found since."),
            "204": {"description": "Nothing was, in all that time."},
            **_TROUBLES,
        },
    }


def _enrolment() -> Json:
    return {
        "operationId": "enrol",
        "summary": "Makes a gateway known as this venue, for a code that is good once.",
        "security": [],
        "parameters": [_VENUE],
        "requestBody": _body("Enrolment"),
        "responses": {
            "200": _answer("Enrolled", "Who it is, and by which keys it knows upstream."),
            "422": _answer("Refusal", "The code is wrong or used, or the request is none."),
            **_TROUBLES,
        },
    }


def _renewal() -> Json:
    return {
        "operationId": "renew",
        "summary": "A new certificate for the same key, while the old one holds.",
        "parameters": [_VENUE],
        "requestBody": _body("Renewal"),
        "responses": {
            "200": _answer("Renewed", "The new one."),
            "422": _answer("Refusal", "The request is none."),
            **_TROUBLES,
        },
    }


def _orders() -> Json:
    return {
        "operationId": "giveOrders",
        "summary": "What this venue is to do. Each order is signed; what became of it comes up as an event.",
        "parameters": [
            _VENUE,
            _query("after", {"type": "integer", "minimum": 0}, "How many orders the venue has looked at."),
            _query("wait_s", _WAIT, "How long to wait for one.", required=False),
        ],
        "responses": {
            "200": _answer("Orders", "What was ordered since."),
            "204": {"description": "Nothing was, in all that time."},
            **_TROUBLES,
        },
    }


def _diagnostics() -> Json:
    order = {"name": "order", "in": "path", "required": True, "schema": {"type": "string"}, "description": "Its id."}
    content = {"application/gzip": {"schema": {"type": "string", "format": "binary", "maxLength": 32 << 20}}}
    return {
        "operationId": "takeBundle",
        "summary": "The bundle of diagnostics that an order wanted: a tar without secrets and guests.",
        "parameters": [_VENUE, order],
        "requestBody": {"required": True, "content": content},
        "responses": {"204": {"description": "It is stored."}, **_TROUBLES},
    }


def _body(schema: str) -> Json:
    return {"required": True, "content": {_JSON: {"schema": {"$ref": _REF.format(name=schema)}}}}


def _answer(schema: str, description: str) -> Json:
    return {"description": description, "content": {_JSON: {"schema": {"$ref": _REF.format(name=schema)}}}}


def _query(name: str, schema: Json, description: str, *, required: bool = True) -> Json:
    return {"name": name, "in": "query", "required": required, "schema": schema, "description": description}


def _asked(name: str, description: str) -> Json:
    return {"name": name, "in": "header", "schema": {"type": "string"}, "description": description}


def _header(description: str) -> Json:
    return {"description": description, "required": True, "schema": {"type": "string"}}


SEAL_DESCRIPTION = (
    "at=MS, KEY=:BASE64: with the time of the seal and Ed25519 over it; a must for venues that are enrolled. See "
    "docs/upstream.md."
)
_SEAL = {
    "description": SEAL_DESCRIPTION,
    "schema": {"type": "string"},
}
_WAIT = {"type": "number", "minimum": 0}
_VENUE = {"name": "venue", "in": "path", "required": True, "schema": {"type": "string"}, "description": "`venue.id`."}
_TROUBLES = {
    "400": {"description": "What came is not what this document says."},
    "401": {"description": "The token is wrong; it is read again from its file."},
    "403": {"description": "This gateway has not shown the certificate of this venue."},
    "429": {"description": "Too much; `Retry-After` in seconds is kept to, up to five minutes."},
    "5XX": {"description": "Try again later; `Retry-After` likewise."},
}


_TYPES = (
    c.CloudEvent,
    c.EventsTaken,
    c.EventsMissing,
    c.EventsRefused,
    c.DirectoryChanges,
    c.AllowanceMessages,
    c.AllowanceAnswers,
    c.Findings,
    c.Enrolment,
    c.Enrolled,
    c.Renewal,
    c.Renewed,
    c.Refusal,
    c.Orders,
    Order,
)


def schemas_of(types: tuple[type, ...] = _TYPES) -> Json:
    """Return the schemas of types of the contract, by name."""
    _, made = msgspec.json.schema_components(types, ref_template=_REF)
    schemas: Json = unindented(made)
    put = schemas["DirectoryPut"]["properties"]
    schemas["DirectoryRow"], put["row"] = put["row"], {"$ref": _REF.format(name="DirectoryRow")}
    return dict(sorted(schemas.items()))

"""The console's HTTP interface as an OpenAPI 3.1 document, made from the routes and types that are really served.

Specification: https://spec.openapis.org/oas/v3.1.0.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from gateway.documents import as_yaml, unindented
from gateway.web.contract import COOKIE, CSRF_HEADER, ROUTES, Problem, Route

CONTRACT_VERSION = "1.0.0"
"""Raised in its first place when a program that follows the document would break."""

Json = dict[str, Any]
_REF = "#/components/schemas/{name}"
_REFUSAL = "#/components/responses/{}"
_JSON = "application/json"
_ANY = (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.MISDIRECTED_REQUEST)
"""What any request may meet: another method, and a Host that is none of the console's names."""


def document() -> Json:
    """Return the whole interface as plain JSON values."""
    paths: Json = {}
    for route in ROUTES:
        if route.path.startswith("/api/"):
            paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Console of Venue Gateway",
            "version": CONTRACT_VERSION,
            "description": "What the console's page asks of the gateway, and other programs may. See docs/console.md.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "https://gateway.example:8443", "description": "`console.listen` of the venue's YAML."}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "Set by the login."},
                "csrf": {"type": "apiKey", "in": "header", "name": CSRF_HEADER, "description": "`csrf` of the login."},
            },
            "responses": _refusals(),
            "schemas": _schemas(),
        },
    }


def document_yaml() -> str:
    """Return `document()` as YAML."""
    return as_yaml(document(), "Generated from the routes of the console by `make console-openapi`; do not edit.")


def _operation(route: Route) -> Json:
    who = f" Takes the role {route.role}." if route.role else ""
    made: Json = {"operationId": route.name, "summary": route.summary, "description": f"{route.summary}{who}"}
    made["security"] = _security(route)
    if names := [part[1:-1] for part in route.path.split("/") if part.startswith("{")]:
        made["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if route.takes is not None:
        made["requestBody"] = {"required": True, "content": _content(route.takes)}
    refusals = {*route.refuses, *_ANY, *((401,) if route.role else ()), *((403,) if _may_be_forbidden(route) else ())}
    made["responses"] = {
        "200": {"description": "It is done.", "content": _content(route.gives)},
        **{str(int(status)): {"$ref": _REFUSAL.format(HTTPStatus(status).name)} for status in sorted(refusals)},
    }
    return made


def _security(route: Route) -> list[Json]:
    if route.role is None:
        return []
    return [{"session": [], "csrf": []} if route.method == "POST" else {"session": []}]


def _may_be_forbidden(route: Route) -> bool:
    return route.method == "POST" or route.role not in {None, "viewer"}


def _refusals() -> Json:
    """Return every refusal by its name: they all have one form."""
    met = {*_ANY, 401, 403, *(status for route in ROUTES for status in route.refuses)}
    made = {}
    for status in map(HTTPStatus, sorted(met)):
        made[status.name] = {"description": status.phrase, "content": _content(Problem)}
        if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            seconds = {"type": "string", "pattern": "^[0-9]+$"}
            made[status.name]["headers"] = {"Retry-After": {"description": "Where it is known.", "schema": seconds}}
    return made


def _content(what: type[msgspec.Struct] | str) -> Json:
    if isinstance(what, str):
        binary = {"type": "string", "format": "binary"}
        return {what: {"schema": binary if what.startswith("image/") else {"type": "string"}}}
    return {_JSON: {"schema": {"$ref": _REF.format(name=what.__name__)}}}


def _schemas() -> Json:
    types = [one for route in ROUTES for one in (route.takes, route.gives) if isinstance(one, type)]
    _, made = msgspec.json.schema_components([*types, Problem], ref_template=_REF)
    schemas: Json = _readable(unindented(made))
    return dict(sorted(schemas.items()))


def _readable(value: Any) -> Any:  # noqa: ANN401
    """Write the end of a pattern as ECMA-262 does, which is what JSON Schema means."""
    if isinstance(value, list):
        return [_readable(item) for item in value]
    if isinstance(value, dict):
        return {key: _readable(item) for key, item in value.items()}
    return value.removesuffix(r"\Z") + "$" if isinstance(value, str) and value.endswith(r"\Z") else value

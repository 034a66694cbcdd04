"""The JSON Schema of the whole file, for editors: completion, descriptions and red lines while the technician types.

It says what one entry can say by itself. What entries say of each other (a gate's reader exists, no zone holds itself)
only `venue-gateway check` can judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from gateway.config.boards import InputEntry, InterlockEntry, OutputEntry
from gateway.config.console import ConsoleSettings
from gateway.config.entries import ClientEntry, GateEntry
from gateway.config.feedback import Feedback
from gateway.config.operations import Metrics, Retention
from gateway.config.schema import (
    DEFAULT_STATE_DIR,
    NAME_PATTERN,
    RESERVED_NAMES,
    VERBS,
    Authenticity,
    Broker,
    Clock,
    DriverKind,
    Limits,
    Till,
    Venue,
    Zone,
)
from gateway.config.upstream import SINK_PATTERN, SINK_URL_PATTERN, SINKS_MAX, ChangeStream, SinkEntry, Upstream
from gateway.config.upstream import URL_PATTERN as UPSTREAM_URL_PATTERN
from gateway.config.wallet import Wallet

Schema: TypeAlias = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
URL_PATTERN = r"^(unix:///[^\s?#@]+|mqtts?://[^\s/?#@]+/?)$"
_REF = "#/$defs/{name}"


_OWN: list[type[msgspec.Struct]] = [
    Venue, Broker, Zone, GateEntry, ClientEntry, Limits, Wallet, Feedback, Authenticity, InterlockEntry, InputEntry,
    OutputEntry, Till, Clock, SinkEntry, ChangeStream, Upstream, Metrics, Retention, ConsoleSettings,
]  # fmt: skip


def json_schema(kinds: Mapping[str, DriverKind]) -> Schema:
    """Return the schema (draft 2020-12) of a configuration file that may use the drivers in `kinds`."""
    own, defs = _components(_OWN)
    devices = {name: _device(name, kind, defs) for name, kind in sorted(kinds.items())}
    defs |= {f"device-{name}": device for name, device in devices.items()}
    defs["Broker"]["properties"]["url"]["pattern"] = URL_PATTERN
    defs["Upstream"]["properties"]["url"]["pattern"] = UPSTREAM_URL_PATTERN
    for name in ("SinkEntry", "ChangeStream"):
        defs[name]["properties"]["url"]["pattern"] = SINK_URL_PATTERN
    defs["Upstream"]["properties"]["sinks"] |= {"maxProperties": SINKS_MAX, "propertyNames": {"pattern": SINK_PATTERN}}
    defs["GateEntry"]["anyOf"] = [{"required": ["from"]}, {"required": ["to"]}]
    defs["ClientEntry"]["properties"]["may"] = _may(defs["ClientEntry"]["properties"]["may"])
    return {
        "$schema": DIALECT,
        "title": "Venue Gateway",
        "description": "One venue: its broker, zones, devices, gates and clients. See docs/configuration.md.",
        "type": "object",
        "properties": _sections(own, _any_device(kinds)),
        "required": ["venue", "broker"],
        "additionalProperties": False,
        "$defs": defs,
    }


def _components(types: list[type[msgspec.Struct]]) -> tuple[dict[str, Schema], Schema]:
    """Return a reference to each type, by its name, and the definitions they point to, closed to unknown keys."""
    references, defs = msgspec.json.schema_components(types, ref_template=_REF)
    for definition in defs.values():
        if "properties" in definition:
            definition["additionalProperties"] = False
    return {kind.__name__: reference for kind, reference in zip(types, references, strict=True)}, dict(defs)


def _sections(own: dict[str, Schema], device: Schema) -> Schema:
    state_dir = {
        "type": "string",
        "minLength": 1,
        "pattern": "^[^~]",
        "default": DEFAULT_STATE_DIR,
        "description": "Folder for what the gateway remembers: journal and directory. Relative: beside this file.",
    }
    return {
        "venue": own["Venue"],
        "broker": {
            "description": "The MQTT broker: its URL, or a mapping with its login.",
            "anyOf": [{"type": "string", "pattern": URL_PATTERN}, own["Broker"]],
        },
        "state_dir": state_dir,
        "zones": _named("Parts of the venue that guests are in or not in, by name.", _or_nothing(own["Zone"]), ()),
        "devices": _named("Every device, by the name that topics, logs and receipts use.", device, RESERVED_NAMES),
        "gates": _named("Places where guests pass from zone to zone, by name.", own["GateEntry"], RESERVED_NAMES),
        "interlocks": _named("Gates of which only one may be open at a time.", own["InterlockEntry"], ()),
        "inputs": _named("Inputs that mean something: emergency, tamper, door held.", own["InputEntry"], ()),
        "outputs": _named("Lamps, sirens and buzzers at relays.", own["OutputEntry"], ()),
        "clients": _named(
            "Thin clients, by their user name at the broker.", _or_nothing(own["ClientEntry"]), ("gateway",)
        ),
        "limits": _or_nothing(own["Limits"]),
        "wallet": _or_nothing(own["Wallet"]),
        "authenticity": _or_nothing(own["Authenticity"]),
        "feedback": _or_nothing(own["Feedback"]),
        "console": own["ConsoleSettings"],
        "upstream": _or_nothing(own["Upstream"]),
        "metrics": _or_nothing(own["Metrics"]),
        "retention": _or_nothing(own["Retention"]),
        "tills": _named("Places where money is taken, by name.", _or_nothing(own["Till"]), RESERVED_NAMES),
        "clock": _or_nothing(own["Clock"]),
    }


def _or_nothing(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _named(description: str, entry: Schema, reserved: tuple[str, ...]) -> Schema:
    names: Schema = {"pattern": NAME_PATTERN}
    if reserved:
        names["not"] = {"enum": list(reserved)}
    return {
        "description": description,
        "type": ["object", "null"],
        "propertyNames": names,
        "additionalProperties": entry,
    }


def _any_device(kinds: Mapping[str, DriverKind]) -> Schema:
    """Choose by `driver`: if-then tells the editor which keys belong, where oneOf would complain about all of them."""
    summaries = "\n".join(f"{name}: {kind.summary}" for name, kind in sorted(kinds.items()))
    cases = [
        {
            "if": {"properties": {"driver": {"const": name}}, "required": ["driver"]},
            "then": {"$ref": _REF.format(name=f"device-{name}")},
        }
        for name in sorted(kinds)
    ]
    driver = {"enum": sorted(kinds), "description": f"What the device is.\n{summaries}"}
    schema: Schema = {"type": "object", "properties": {"driver": driver}, "required": ["driver"]}
    return schema | ({"allOf": cases} if cases else {})


def _device(name: str, kind: DriverKind, defs: Schema) -> Schema:
    """Return the schema of a device of this driver; structs inside its options go to `defs`."""
    references, found = _components([kind.options])
    own = references[kind.options.__name__]["$ref"].removeprefix(_REF.format(name=""))
    options = found.pop(own)
    defs |= {inner: definition for inner, definition in found.items() if inner not in defs}
    driver = {"const": name, "description": kind.summary}
    return {
        "title": name,
        "description": kind.summary,
        "type": "object",
        "properties": {"driver": driver, **_described(options["properties"], kind)},
        "required": ["driver", *options.get("required", [])],
        "additionalProperties": False,
    }


def _described(properties: Schema, kind: DriverKind) -> Schema:
    """Give every option some description: its own, that of its one kind of value, or else its driver's summary."""
    return {key: {**schema, "description": _description(schema, kind)} for key, schema in properties.items()}


def _description(schema: Schema, kind: DriverKind) -> str:
    written = [schema.get("description"), *(each.get("description") for each in schema.get("anyOf", []))]
    return str(next(filter(None, written), f"Option of: {kind.summary}"))


def _may(written: Schema) -> Schema:
    verbs = sorted({verb for known in VERBS.values() for verb in known})
    listed = "; ".join(f"{kind}: {', '.join(known)}" for kind, known in VERBS.items())
    return {
        "description": f"{written['description']} {listed}.",
        "type": ["object", "null"],
        "properties": {
            "gateway": {"type": "array", "items": {"enum": list(VERBS["gateway"])}},
            "wallet": {"type": "array", "items": {"enum": list(VERBS["wallet"])}},
            "entitlements": {"type": "array", "items": {"enum": list(VERBS["entitlements"])}},
        },
        "propertyNames": {"pattern": NAME_PATTERN},
        "additionalProperties": {"type": "array", "items": {"enum": verbs}},
        "default": None,
    }

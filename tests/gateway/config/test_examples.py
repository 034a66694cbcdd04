"""The example files and the schema that editors hold them against, with the real drivers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from gateway.config.json_schema import json_schema
from gateway.config.loading import ConfigurationError, load, loads
from gateway.devices.registry import kinds as real_kinds
from gateway.domain.wallet import Policy

FOLDER = Path(__file__).parents[3] / "config"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))
NAMES = [example.name for example in EXAMPLES]
CLUB = (FOLDER / "club.yaml").read_text(encoding="utf-8")


def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json_schema(real_kinds()))


def plain(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def test_there_are_examples():
    assert {"stadthalle.yaml", "club.yaml"} <= set(NAMES)


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_every_example_is_right_without_a_warning(example):
    assert load(example, real_kinds()).warnings == ()


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_every_example_tells_the_editor_its_schema(example):
    first = example.read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=./gateway.schema.json"


@pytest.mark.parametrize("example", EXAMPLES, ids=NAMES)
def test_the_schema_accepts_every_example(example):
    validator().validate(plain(example.read_text(encoding="utf-8")))


def test_the_schema_is_a_schema_of_its_draft():
    schema = json_schema(real_kinds())
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_committed_schema_is_that_of_the_drivers():
    committed = (FOLDER / "gateway.schema.json").read_text(encoding="utf-8")
    assert committed == json.dumps(json_schema(real_kinds()), indent=2, ensure_ascii=False) + "\n"


BOTH_REFUSE = {
    "unknown section": ("zones:", "zone:"),
    "no broker": ("broker: unix:///run/venue-gateway/mqtt.sock\n", ""),
    "broker": ("unix:///run/venue-gateway/mqtt.sock", "http://localhost"),
    "login in the URL": ("unix:///run/venue-gateway/mqtt.sock", "mqtt://a:b@localhost"),
    "venue name": ("id: club", "id: The Club"),
    "currency": ("EUR", "euro"),
    "unknown driver": ("rdm6300", "rdm6301"),
    "unknown option": ("driver: lcus, port", "driver: lcus, prot"),
    "option of another driver": ("{driver: lcus,", "{driver: lcus, pin: 2,"),
    "option out of range": ("{driver: lcus,", "{driver: lcus, channels: 9,"),
    "reserved name": ("bar-drawer: {", "wallet: {"),
    "device name": ("bar-drawer: {", "Bar Drawer: {"),
    "capacity": ("capacity: 250", "capacity: 0"),
    "gate to nowhere": ("{to: club, ", "{"),
    "lock": ("door-relay.1", "door-relay"),
    "unknown gate key": ("{to: club, ", "{to: club, pulse: 700, "),
    "pulse": ("{to: club, ", "{to: club, pulse_ms: 1, "),
    "verb": ("[print, status]", "[print, stauts]"),
    "client key": ("{may:", "{can:"),
    "limit": ("zones:", "limits: {print_queue_jobs: 0}\nzones:"),
    "till's language": ("zones:", "tills: {bar: {language: fr}}\nzones:"),
    "clock's policy": ("zones:", "clock: {untrusted: guess}\nzones:"),
    "wallet's authority": ("zones:", "wallet: {authority: bank}\nzones:"),
    "fraction of a cent": ("zones:", "wallet: {balance_max_minor: 10.5}\nzones:"),
    "unknown offline limit": ("zones:", "wallet: {authority: upstream, offline: {max: 5}}\nzones:"),
}


@pytest.mark.parametrize("case", BOTH_REFUSE)
def test_the_schema_refuses_what_check_refuses(case):
    before, after = BOTH_REFUSE[case]
    assert before in CLUB
    text = CLUB.replace(before, after, 1)
    with pytest.raises(ConfigurationError):
        loads(text.encode(), "club.yaml", real_kinds())
    assert not validator().is_valid(plain(text))


def test_everything_in_the_schema_has_a_description():
    schema = json_schema(real_kinds())
    nameless = [
        f"{name}.{key}"
        for name, definition in schema["$defs"].items()
        for key, value in definition.get("properties", {}).items()
        if not value.get("description")
    ]
    assert nameless == []
    for name, section in schema["properties"].items():
        reference = section.get("$ref", section.get("anyOf", [{}])[0].get("$ref", "#/$defs/?")).removeprefix("#/$defs/")
        assert section.get("description") or schema["$defs"][reference]["description"], name


def test_every_driver_has_its_options_and_no_others():
    definitions = json_schema(real_kinds())["$defs"]
    for name in real_kinds():
        device = definitions[f"device-{name}"]
        assert device["properties"]["driver"]["const"] == name
        assert device["additionalProperties"] is False
        assert "driver" in device["required"]


def test_the_manual_names_every_key_and_driver():
    manual = (FOLDER.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    schema = json_schema(real_kinds())
    keys = {key for definition in schema["$defs"].values() for key in definition.get("properties", {})}
    missing = [key for key in sorted(keys) if f"`{key}`" not in manual]
    missing += [name for name in real_kinds() if f"### {name}:" not in manual]
    missing += [name for name in schema["properties"] if f"\n## {name}" not in manual]
    assert missing == []


def test_the_shortest_whole_venue_is_right_and_keeps_wallets_of_its_own():
    text = """\
venue:   {id: stadthalle, timezone: Europe/Berlin, currency: EUR}
broker:  unix:///run/venue-gateway/mqtt.sock
zones:
  foyer: {}
  hall:  {within: foyer, capacity: 1800}
devices:
  north-reader: {driver: rdm6300, port: /dev/serial/by-id/usb-FTDI_A9X-if00}
  north-relay:  {driver: lcus, port: /dev/serial/by-id/usb-1a86_USB_Serial-if00}
  bar-printer:  {driver: escpos, connect: tcp://printer-bar.local:9100, profile: TM-T88III}
  bar-drawer:   {driver: drawer-kick, printer: bar-printer, pin: 2}
gates:
  north: {from: foyer, to: hall, readers: [north-reader], lock: north-relay.1, pulse_ms: 700, passage_timeout_s: 8}
clients:
  bar-tablet: {may: {bar-printer: [print], bar-drawer: [open], wallet: [charge, balance]}}
"""
    configuration = loads(text.encode(), "venue.yaml", real_kinds())
    assert configuration.warnings == ()
    assert configuration.wallet_policy == Policy(currency="EUR")
    validator().validate(plain(text))

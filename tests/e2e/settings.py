"""The venue of the tests as a technician would write it, and as the simulators play it."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ALL_PARTS = ("north", "south", "bar", "kiosk")
FURTHER_PARTS = ("access", "nfc")
"""Parts that only the tests about them play."""
OSDP_KEY = "0f0e0d0c0b0a09080706050403020100"
VENUE_ID = "e2e"
BASE = f"venue/{VENUE_ID}"


def simulators(parts: Collection[str], printer_port: int) -> dict[str, dict[str, Any]]:
    """What `SimulatedVenue` plays for each part of the venue."""
    played = {
        "north": {"north-reader": {"simulator": "rdm6300"}, "north-relay": {"simulator": "lcus"}},
        "south": {"south-scanner": {"simulator": "scanner"}, "south-board": {"simulator": "modbus_board"}},
        "nfc": {"nfc-reader": {"simulator": "pn532"}, "nfc-relay": {"simulator": "lcus"}},
        "access": {
            "access-bus": {"simulator": "osdp", "address": 3, "key": OSDP_KEY, "display_rows": 2},
            "access-twn4": {"simulator": "twn4"},
            "access-bridge": {"simulator": "wiegand"},
            "access-relay": {"simulator": "lcus"},
        },
        "bar": {"bar-printer": {"simulator": "escpos_printer", "tcp": f"127.0.0.1:{printer_port}"}},
        "kiosk": {"kiosk-printer": {"simulator": "escpos_printer"}},
        "shop": {
            "shop-labels": {"simulator": "label_printer", "language": "zpl"},
            "shop-tags": {"simulator": "label_printer", "language": "tspl"},
        },
    }
    return {name: dict(options) for part in parts for name, options in played[part].items()}


def configuration(directory: Path, parts: Collection[str], printer_port: int) -> dict[str, Any]:
    """A configuration as YAML has it. Times are as short as the schema allows, so that tests need not wait long."""
    dev = directory / "dev"
    devices: dict[str, dict[str, Any]] = {
        "north-reader": {"driver": "rdm6300", "port": str(dev / "north-reader")},
        "north-relay": {"driver": "lcus", "port": str(dev / "north-relay"), "channels": 2},
        "south-scanner": {"driver": "serial-scanner", "port": str(dev / "south-scanner"), "repeat_ms": 300},
        "south-board": {"driver": "modbus-relay", "port": str(dev / "south-board"), "poll_ms": 20},
        "nfc-reader": {"driver": "nfcpy", "connect": str(dev / "nfc-reader"), "poll_ms": 20, "gone_after_ms": 100},
        "nfc-relay": {"driver": "lcus", "port": str(dev / "nfc-relay"), "channels": 1},
        "access-bus": {"driver": "osdp-bus", "port": str(dev / "access-bus")},
        "access-reader": {"driver": "osdp", "bus": "access-bus", "address": 3, "key_file": str(directory / "osdp-key")},
        "access-twn4": {"driver": "twn4", "port": str(dev / "access-twn4")},
        "access-bridge": {"driver": "wiegand-serial", "port": str(dev / "access-bridge")},
        "access-relay": {"driver": "lcus", "port": str(dev / "access-relay"), "channels": 1},
        "bar-printer": {
            "driver": "escpos", "connect": f"tcp://127.0.0.1:{printer_port}", "profile": "TM-T88III",
            "status_timeout_ms": 500, "heartbeat_s": 0.5, "write_timeout_s": 2,
        },
        "bar-drawer": {"driver": "drawer-kick", "printer": "bar-printer", "open_is_high": True},
        "kiosk-printer": {
            "driver": "escpos", "connect": f"serial://{dev / 'kiosk-printer'}?baud=115200", "profile": "TM-T88III",
            "status_timeout_ms": 500, "heartbeat_s": 0.5, "write_timeout_s": 2,
        },
        "kiosk-drawer": {"driver": "drawer-kick", "printer": "kiosk-printer"},
    }  # fmt: skip
    gates: dict[str, dict[str, Any]] = {
        "north": {"to": "hall", "readers": ["north-reader"], "lock": "north-relay.1", "pulse_ms": 50},
        "south": {
            "to": "hall", "readers": ["south-scanner"], "lock": "south-board.1", "passage": "south-board.1",
            "pulse_ms": 200, "passage_timeout_s": 1, "held_open_s": 1,
        },
        "nfc": {"to": "hall", "readers": ["nfc-reader"], "lock": "nfc-relay.1", "pulse_ms": 50, "anti_passback": "off"},
        "access": {
            "to": "hall", "readers": ["access-reader", "access-twn4", "access-bridge"], "lock": "access-relay.1",
            "pulse_ms": 50, "anti_passback": "off",
        },
        "turnstile": {"to": "hall"},
        "vip": {"to": "hall", "anti_passback": "off"},
    }  # fmt: skip
    wanted = {name: one for name, one in devices.items() if name.split("-")[0] in parts}
    printing = ["print", "reprint", "cancel", "status"]
    clients = {
        "bar-tablet": {"bar-printer": [*printing, "print_raw"], "bar-drawer": ["open", "status"]},
        "kiosk-tablet": {"kiosk-printer": printing, "kiosk-drawer": ["open"]},
        "entrance": {gate: ["authenticate", "status"] for gate in gates},
        "exit-reader": {"turnstile": ["authenticate"]},
        "screens": {"gateway": ["replay", "status"]},
        "supervisor": {
            "gateway": ["lock_down", "emergency_release", "restore", "block", "unblock"],
            **{gate: ["override", "why"] for gate in gates},
        },
    }
    gates = {name: one for name, one in gates.items() if name not in (*ALL_PARTS, *FURTHER_PARTS) or name in parts}
    there = {*wanted, *gates, "gateway"}
    return {
        "venue": {"id": VENUE_ID, "timezone": "Europe/Berlin", "currency": "EUR"},
        "broker": f"unix://{directory / 'm.sock'}",
        "state_dir": str(directory / "state"),
        "zones": {"hall": {}},
        "devices": wanted,
        "gates": gates,
        "clients": {
            name: {"may": {target: verbs for target, verbs in may.items() if target in there}}
            for name, may in clients.items()
        },
        "limits": {"print_queue_jobs": 5},
    }


def as_yaml(settings: dict[str, Any]) -> str:
    """The text of a configuration file."""
    stream = io.StringIO()
    YAML(typ="safe", pure=True).dump(settings, stream)
    return stream.getvalue()

"""The venue of the simulation: its configuration, its cards and who may do what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from drivers.drawers.drawer_kick import DrawerKickOptions
from gateway.config.boards import Boards
from gateway.config.schema import (
    VERBS,
    Broker,
    Client,
    Configuration,
    Contact,
    Device,
    Gate,
    Limits,
    Venue,
    Zone,
)
from gateway.config.wallet import Wallet
from gateway.mqtt.messages import timestamp
from gateway.store.credentials import CredentialKey
from gateway.store.directory import Directory
from gateway.store.importing import import_directory
from tests.simulation.devices import TECHNOLOGY, SimOptions
from tests.simulation.observers import QUEUE_JOBS
from tests.simulation.timeline import START_MS

KEY = CredentialKey(b"a simulated key of 32 bytes, yes")
SINGLES = 24
STAFF = 6
TILL_READER = "reader-t"
READERS = {"reader-n": "north", "reader-s": "south", "reader-x": "exit", "reader-v": "vip"}
INTERLOCK = ("south", "net")
"""Two doors on two boards of which only one may be open."""
INTERLOCKED = {"south": ("net",), "net": ("south",)}
HOLD_S = 6.0
TIMED_MS = 1_800_000
"""Half an hour to each side, so that a clock an hour off says that they are not valid."""
EXPIRY_MAX_S = 30.0


def card(number: int) -> str:
    """A card's number. Every one holds the mark that the observers look for."""
    return f"SECRET-CARD-{number:04X}"


SINGLE_CARDS = [card(number) for number in range(SINGLES)]
COPIED_CARDS = [card(0x100 + number) for number in range(4)]
"""Copies of the first single tickets: other cards of the same holders."""
STAFF_CARDS = [card(0x200 + number) for number in range(STAFF)]
PROBE_CARDS = [card(0x300 + number) for number in range(8)]
"""Staff who come only at the end, when all must work again."""
TIMED_CARDS = [card(0x500 + number) for number in range(6)]
"""Valid for some hours around this evening, in two ways, and as often as one likes."""
BLOCKED_CARD, UNKNOWN_CARD, LATE_CARD = card(0x400), card(0x401), card(0x402)


def _around(span_ms: int) -> dict[str, str]:
    """A time of validity that this evening is in the middle of."""
    ends = {"valid_from": START_MS - span_ms, "valid_until": START_MS + span_ms}
    return {name: timestamp(at_ms) for name, at_ms in ends.items()}


def _rows() -> Iterator[dict[str, Any]]:
    """Yield the directory of this venue as rows of an import."""

    def credential(value: str, holder: str, **more: Any) -> dict[str, Any]:
        return {"type": "credential", "technology": TECHNOLOGY, "value": value, "holder": holder, **more}

    def entitlement(name: str, holder: str, **more: Any) -> dict[str, Any]:
        return {"type": "entitlement", "id": name, "holder": holder, "zones": ["hall"], **more}

    for number, value in enumerate(SINGLE_CARDS):
        yield credential(value, f"guest-{number}")
        yield entitlement(f"single-{number}", f"guest-{number}", uses=1)
    for number, value in enumerate(COPIED_CARDS):
        yield credential(value, f"guest-{number}")
    for number, value in enumerate([*STAFF_CARDS, *PROBE_CARDS]):
        yield credential(value, f"staff-{number}")
        yield entitlement(f"staff-{number}", f"staff-{number}", zones=["vip", "hall"], reentry=True)
    for number, value in enumerate(TIMED_CARDS):
        yield credential(value, f"timed-{number}")
        yield entitlement(f"timed-{number}", f"timed-{number}", reentry=True, **_around(TIMED_MS))
    yield credential(BLOCKED_CARD, "guest-b", state="blocked")
    yield entitlement("b", "guest-b")
    yield credential(LATE_CARD, "guest-l")
    yield entitlement("l", "guest-l", valid_until="2020-01-01T00:00:00Z")


@cache
def directory(folder: Path) -> Directory:
    """Import the directory into `folder`, once a process, and open it. Nothing ever writes it, so all runs share it."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "directory.ndjson"
    source.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in _rows()))
    import_directory(
        source,
        folder,
        KEY,
        known_zones=CONFIGURATION.zones,
        progress=lambda rows, done: None,
        timezone=CONFIGURATION.venue.zone_info,
    )
    return Directory.open(folder)


def _device(name: str, driver: str, revision: str = "") -> Device:
    return Device(name, driver, SimOptions(name), f"{name}{revision}")


def configuration(revision: str = "") -> Configuration:
    """The configuration; a `revision` is the same venue after a technician changed one printer and one gate."""
    devices = [_device(name, "sim-reader") for name in (*READERS, TILL_READER)]
    devices += [_device("board-a", "sim-board"), _device("board-b", "sim-board")]
    devices += [_device("printer-1", "sim-printer"), _device("printer-2", "sim-printer", revision)]
    drawer = Device("drawer-1", "drawer-kick", DrawerKickOptions(printer="printer-1", open_is_high=True), "drawer")
    wait_s = 2.5 if revision else 2.0
    in_hall = {"to_zone": "hall", "anti_passback": "off", "passage_timeout_s": 2.0, "held_open_s": 3.0}
    gates = [
        Gate(name="north", readers=("reader-n",), lock=Contact("board-a", 1), passage=Contact("board-a", 1), **in_hall),
        Gate(
            name="south",
            readers=("reader-s",),
            lock=Contact("board-a", 2),
            passage=Contact("board-a", 2),
            **{**in_hall, "passage_timeout_s": wait_s},
        ),
        Gate(name="exit", from_zone="hall", readers=("reader-x",), lock=Contact("board-b", 1)),
        Gate(name="net", lock=Contact("board-b", 2), passage=Contact("board-b", 2), **in_hall),
        Gate(name="vip", from_zone="hall", to_zone="vip", readers=("reader-v",), anti_passback="off"),
    ]
    return Configuration(
        venue=Venue("sim", "Europe/Vienna", "EUR"),
        broker=Broker("unix:///simulated"),
        state_dir=Path("/simulated"),
        zones={"hall": Zone(), "vip": Zone("hall", capacity=4)},
        devices={one.name: one for one in [*devices, drawer]},
        gates={one.name: one for one in gates},
        boards=Boards(interlocks={"trap": INTERLOCK}),
        clients={
            name: Client(name, {to: frozenset(verbs) for to, verbs in may.items()}) for name, may in GRANTS.items()
        },
        limits=Limits(print_queue_jobs=QUEUE_JOBS, print_hold_s=HOLD_S, request_expiry_max_s=EXPIRY_MAX_S),
        wallet=Wallet(arm_timeout_s=3.0, hold_timeout_s=4.0, balance_max_minor=9_000),
        digest=f"digest{revision}",
    )


PRINTING = ("print", "reprint", "cancel", "status")
GRANTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "turnstile": {"net": ("authenticate", "status"), "vip": ("authenticate",)},
    "bar-tablet": {"printer-1": PRINTING, "drawer-1": ("open", "status"), "wallet": VERBS["wallet"]},
    "till": {"printer-1": ("print",), "printer-2": PRINTING, "drawer-1": ("open",), "wallet": VERBS["wallet"]},
    "staff": {"gateway": ("lock_down", "emergency_release", "restore", "block", "unblock"), "net": ("override",)},
    "ops": {"gateway": ("replay", "status")},
}
GRANTED = {
    client: [(target, verb) for target, verbs in may.items() for verb in verbs] for client, may in GRANTS.items()
}
CONFIGURATION = configuration()
REVISED = configuration("-revised")

"""The venue of the simulation: its configuration, its cards and who may do what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import msgspec

from drivers.drawers.drawer_kick import DrawerKickOptions
from gateway.config.schema import Broker, Client, Configuration, Contact, Device, Gate, Limits, Venue, Zone
from gateway.domain.access import Credential, Entitlement
from gateway.domain.schedules import Schedule
from gateway.store.credentials import CredentialKey
from tests.simulation.devices import SimOptions
from tests.simulation.observers import QUEUE_JOBS

KEY = CredentialKey(b"a simulated key of 32 bytes, yes")
SINGLES = 24
STAFF = 6
READERS = {"reader-n": "north", "reader-s": "south", "reader-x": "exit", "reader-v": "vip"}
HOLD_S = 6.0
EXPIRY_MAX_S = 30.0


def card(number: int) -> str:
    """A card's number. Every one holds the mark that the observers look for."""
    return f"5EC2E7{number:04X}"


SINGLE_CARDS = [card(number) for number in range(SINGLES)]
COPIED_CARDS = [card(0x100 + number) for number in range(4)]
"""Copies of the first single tickets: other cards of the same holders."""
STAFF_CARDS = [card(0x200 + number) for number in range(STAFF)]
PROBE_CARDS = [card(0x300 + number) for number in range(8)]
"""Staff who come only at the end, when all must work again."""
BLOCKED_CARD, UNKNOWN_CARD, LATE_CARD = card(0x400), card(0x401), card(0x402)


class MemoryDirectory:
    """The directory of this venue. It is a cache that nothing here writes, so it needs no file."""

    def __init__(self) -> None:
        self.loaded = True
        self.version = "simulated"
        self.made_with = KEY.fingerprint
        self.schedules: Mapping[str, Schedule] = {}
        self.zones: Mapping[str, str | None] = {}
        self._credentials: dict[str, Credential] = {}
        self._entitlements: dict[str, tuple[Entitlement, ...]] = {}
        for number, value in enumerate(SINGLE_CARDS):
            self._add(value, f"guest-{number}", Entitlement(f"single-{number}", "", ("hall",), uses_total=1))
        for number, value in enumerate(COPIED_CARDS):
            self._add(value, f"guest-{number}")
        for number, value in enumerate([*STAFF_CARDS, *PROBE_CARDS]):
            self._add(value, f"staff-{number}", Entitlement(f"staff-{number}", "", ("vip", "hall"), reentry=True))
        self._add(BLOCKED_CARD, "guest-b", Entitlement("b", "", ("hall",)), state="blocked")
        self._add(LATE_CARD, "guest-l", Entitlement("l", "", ("hall",), valid_until_ms=1))
        self.counts = SimpleNamespace(credentials=len(self._credentials), entitlements=len(self._entitlements))

    def _add(self, value: str, holder: str, *entitlements: Entitlement, state: str = "active") -> None:
        ref = KEY.ref("em4100", value)
        self._credentials[ref] = Credential(ref, holder, state)
        if entitlements:
            self._entitlements[holder] = tuple(msgspec.structs.replace(one, holder=holder) for one in entitlements)

    def carried(self, ref: str) -> tuple[Credential, tuple[Entitlement, ...]] | None:
        credential = self._credentials.get(ref)
        return None if credential is None else (credential, self._entitlements.get(credential.holder, ()))

    def entitlements(self, holder: str) -> tuple[Entitlement, ...]:
        return self._entitlements.get(holder, ())

    def changed_on_disk(self) -> bool:
        return False

    def reload(self) -> None:
        pass


DIRECTORY = MemoryDirectory()


def _device(name: str, driver: str, revision: str = "") -> Device:
    return Device(name, driver, SimOptions(name), f"{name}{revision}")


def configuration(revision: str = "") -> Configuration:
    """The configuration; a `revision` is the same venue after a technician changed one printer and one gate."""
    devices = [_device(name, "sim-reader") for name in READERS]
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
        clients={
            name: Client(name, {to: frozenset(verbs) for to, verbs in may.items()}) for name, may in GRANTS.items()
        },
        limits=Limits(print_queue_jobs=QUEUE_JOBS, print_hold_s=HOLD_S, request_expiry_max_s=EXPIRY_MAX_S),
        digest=f"digest{revision}",
    )


PRINTING = ("print", "reprint", "cancel", "status")
GRANTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "turnstile": {"net": ("authenticate", "status"), "vip": ("authenticate",)},
    "bar-tablet": {"printer-1": PRINTING, "drawer-1": ("open", "status")},
    "till": {"printer-1": ("print",), "printer-2": PRINTING, "drawer-1": ("open",)},
    "ops": {"gateway": ("replay", "status")},
}
GRANTED = {
    client: [(target, verb) for target, verbs in may.items() for verb in verbs] for client, may in GRANTS.items()
}
CONFIGURATION = configuration()
REVISED = configuration("-revised")

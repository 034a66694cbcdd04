"""A state folder as a gateway leaves it, made by the gateway's own means, and the configuration to it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from gateway.config.loading import load
from gateway.config.schema import Configuration
from gateway.devices.registry import kinds
from gateway.domain import events as e
from gateway.domain.ids import RandomPool, Uuid7
from gateway.domain.state import VenueState
from gateway.flows.recorder import Recorder
from gateway.store.credentials import CredentialKey
from gateway.store.importing import import_directory
from gateway.store.journal import Journal

NOW_MS = 1_780_000_000_000
NOW_S = NOW_MS / 1000
CARD = "0A00FF1234"
HOLDER = "anna-mustermann"
YAML = """\
venue: {id: hall, timezone: Europe/Berlin, currency: EUR}
broker: unix:///nowhere/mqtt.sock
state_dir: state
zones: {hall: {}}
"""


def configuration(folder: Path, text: str = YAML) -> Configuration:
    file = folder / "venue.yaml"
    file.write_text(text)
    (folder / "state").mkdir(mode=0o750, exist_ok=True)
    return load(file, kinds())


def import_guests(config: Configuration, *holders: str) -> CredentialKey:
    """Import a directory with a card for each holder; the first one has `CARD`."""
    key = CredentialKey.load_or_create(config.state_dir)
    lines = []
    for number, holder in enumerate(holders):
        value = CARD if number == 0 else f"{number:010X}"
        lines.append({"type": "credential", "technology": "em4100", "value": value, "holder": holder})
        lines.append({"type": "entitlement", "id": f"ticket-{number}", "holder": holder, "zones": ["hall"]})
    file = config.state_dir.parent / "guests.ndjson"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    zone = config.venue.zone_info
    import_directory(file, config.state_dir, key, known_zones=config.zones, progress=lambda *_: None, timezone=zone)
    file.unlink()
    return key


def record(config: Configuration, *events: e.AnyEvent, at_ms: int = NOW_MS, fold: bool = False) -> VenueState:
    """Run a recorder over the state folder for these events; returns the state as it is rebuilt from disk."""
    return asyncio.run(_record(config, events, at_ms, fold))


async def _record(config: Configuration, events: tuple[e.AnyEvent, ...], at_ms: int, fold: bool) -> VenueState:
    journal = Journal.open(config.state_dir / "journal.db")
    ids = Uuid7(RandomPool(os.urandom).take)
    recorder = Recorder(VenueState(config.zone_map), journal, lambda: at_ms, ids)
    recorder.restore()
    for event in events:
        await recorder.record(event)
    if fold:
        await recorder.fold_everything()
    recorder.restore()
    journal.close()
    return recorder.state


def entered(holder: str, credential: str, entitlement: str = "ticket-0", **more: object) -> e.EntryGranted:
    fields = {
        "entry": f"e-{len(holder)}",
        "gate": "north",
        "zone": "hall",
        "uses": 1,
        "source": "reader",
        "actuates": False,
    }
    return e.EntryGranted(**{**fields, "credential": credential, "holder": holder, "entitlement": entitlement, **more})

"""`python -m benchmarks.decisions`: the processor time of one entry decision, without the journal.

A holder with 20 entitlements, of which only the last admits, at a venue of 5 nested zones: the card's reference, the
directory in SQLite, every rule, the event. Prints percentiles in microseconds of CPU.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.config.schema import Gate
from gateway.domain.access import ZoneMap
from gateway.domain.events import EntryGranted
from gateway.domain.ids import Uuid7
from gateway.domain.state import VenueState
from gateway.domain.tickets import HEADER, KEY_HEADER, base64url, pae
from gateway.flows.entry import EntryFlow
from gateway.flows.gate import GateFlow
from gateway.flows.recorder import Recorder
from gateway.store.credentials import CredentialKey
from gateway.store.directory import Directory
from gateway.store.importing import import_directory
from gateway.store.journal import Journal

BERLIN = ZoneInfo("Europe/Berlin")
NOW_MS = 1_783_105_200_000
"""A Friday evening, 2026-07-03 21:00 in Berlin."""
GUESTS, ENTITLEMENTS, ROUNDS = 10_000, 20, 20_000
WITHIN = {"grounds": None, "foyer": "grounds", "hall": "foyer", "vip": "hall", "backstage": "vip"}


async def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal.open(Path(folder) / "journal.db")
        flow, gate = _venue(Path(folder), journal)

        granted: list[bool] = []

        def listed(number: int) -> None:
            found = flow.lookup.find("em4100", f"{number % GUESTS:010X}", NOW_MS)
            granted.append(isinstance(flow.decide(gate, found, "reader", None, NOW_MS), EntryGranted))

        signed = _ticket()

        def ticket(_: int) -> None:
            flow.decide(gate, flow.lookup.find("barcode", signed, NOW_MS), "reader", None, NOW_MS)

        _print(f"{ENTITLEMENTS} entitlements, {len(WITHIN)} zones", _cpu_us(listed))
        _print("signed ticket", _cpu_us(ticket))
        journal.close()
        if not all(granted):
            raise RuntimeError("the last entitlement should have admitted everyone")


def _cpu_us(decide: Callable[[int], None]) -> list[float]:
    taken = []
    for number in range(ROUNDS):
        began_ns = time.thread_time_ns()
        decide(number)
        taken.append((time.thread_time_ns() - began_ns) / 1000)
    return sorted(taken)


def _print(what: str, taken_us: list[float]) -> None:
    p50, p99 = taken_us[len(taken_us) // 2], taken_us[len(taken_us) * 99 // 100]
    print(f"{what}: p50 {p50:.1f} µs, p99 {p99:.1f} µs of CPU for one decision")


def _venue(folder: Path, journal: Journal) -> tuple[EntryFlow, GateFlow]:
    key = CredentialKey.load_or_create(folder)
    source = folder / "rows.ndjson"
    source.write_text("\n".join(json.dumps(row) for row in _rows()), encoding="utf-8")
    import_directory(source, folder, key, known_zones=WITHIN, progress=lambda *_: None, timezone=BERLIN)
    capacity = dict.fromkeys(WITHIN, 50_000)
    recorder = Recorder(VenueState(ZoneMap(WITHIN, capacity)), journal, lambda: NOW_MS, Uuid7(bytes))
    gate = GateFlow(Gate(name="door", from_zone="foyer", to_zone="hall"), recorder, None)
    flow = EntryFlow(recorder, Directory.open(folder), key, lambda *_: None)
    flow.configure({"door": gate}, BERLIN, "club")
    return flow, gate


def _rows() -> list[dict[str, object]]:
    """Of each guest's entitlements one in four fails at each rule, and the last one admits."""
    evening = [{"days": ["fri", "sat"], "from": "18:00", "to": "02:00"}]
    noon = [{"days": ["mon", "fri"], "from": "11:00", "to": "14:00"}]
    rows: list[dict[str, object]] = [
        {"type": "schedule", "id": "evening", "weekly": evening},
        {"type": "schedule", "id": "noon", "weekly": noon},
        {"type": "issuer_key", "id": "a", "issuer": "shop", "public_key": _public()},
    ]
    failing: tuple[dict[str, object], ...] = (
        {"zones": ["grounds"]},
        {"zones": ["hall"], "valid_until": "2026-01-01T00:00:00Z"},
        {"zones": ["vip"], "schedule": "noon"},
        {"zones": ["backstage"], "valid_from": "2027-01-01T00:00:00Z"},
    )
    last: dict[str, object] = {"zones": ["hall"], "schedule": "evening", "uses": 500, "uses_per_day": 3}
    for guest in range(GUESTS):
        holder = f"guest-{guest}"
        rows.append({"type": "credential", "technology": "em4100", "value": f"{guest:010X}", "holder": holder})
        for number in range(ENTITLEMENTS):
            more = last if number == ENTITLEMENTS - 1 else failing[number % 4]
            rows.append({"type": "entitlement", "id": f"t-{guest}-{number}", "holder": holder, **more})
    return rows


def _key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\x07")


def _public() -> str:
    return KEY_HEADER + base64url(_key().public_key().public_bytes_raw())


def _ticket() -> str:
    message = b'{"jti":"t","exp":"2026-12-31T23:59:59Z","zones":["hall"],"schedule":"evening"}'
    footer = b'{"kid":"a"}'
    signature = _key().sign(pae(HEADER.encode(), message, footer, b""))
    return f"{HEADER}{base64url(message + signature)}.{base64url(footer)}"


if __name__ == "__main__":
    asyncio.run(main())

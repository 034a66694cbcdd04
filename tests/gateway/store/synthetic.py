"""A made-up directory of any size, the same for the same seed: for tests and benchmarks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

ZONES = ("foyer", "hall", "vip")
SCHEDULES = ("evening", "weekend")
_HEADER: tuple[dict[str, object], ...] = (
    {"type": "zone", "id": "foyer"},
    {"type": "zone", "id": "hall", "within": "foyer"},
    {"type": "zone", "id": "vip", "within": "hall"},
    {"type": "schedule", "id": "evening", "weekly": [{"days": ["fri", "sat"], "from": "18:00", "to": "02:00"}]},
    {"type": "schedule", "id": "weekend", "weekly": [{"days": ["sat", "sun"], "from": "00:00", "to": "24:00"}]},
)
_ODD = 2_654_435_761


def tag_number(guest: int) -> str:
    """Return the ten hex digits of a guest's EM4100 tag; no two guests share one."""
    return f"10{guest * _ODD % 2**32:08X}"


def directory_rows(count: int, seed: int = 0) -> Iterator[dict[str, object]]:
    """Yield the zones and schedules, then a credential and one or two entitlements for each of `count` guests."""
    yield from _HEADER
    luck = Random(seed)
    for guest in range(count):
        holder = f"guest-{guest}"
        credential: dict[str, object] = {"type": "credential", "technology": "em4100"}
        credential |= {"value": tag_number(guest), "holder": holder}
        if luck.random() < 0.02:
            credential["state"] = "blocked"
        yield credential
        for number in range(luck.choice((1, 1, 1, 2))):
            yield _entitlement(f"ticket-{guest}-{number}", holder, luck)


def _entitlement(entitlement_id: str, holder: str, luck: Random) -> dict[str, object]:
    row: dict[str, object] = {
        "type": "entitlement",
        "id": entitlement_id,
        "holder": holder,
        "zones": [luck.choice(ZONES)],
        "valid_from": "2026-01-01T00:00:00+01:00",
        "valid_until": "2027-01-01T00:00:00+01:00",
        "uses": luck.choice((1, 1, 3)),
    }
    if luck.random() < 0.2:
        row["schedule"] = luck.choice(SCHEDULES)
    return row


def write_directory(path: Path, count: int, seed: int = 0) -> int:
    """Write the NDJSON of `count` guests to `path` and return how many rows it has."""
    rows = 0
    with path.open("w", encoding="utf-8") as file:
        for row in directory_rows(count, seed):
            file.write(json.dumps(row) + "\n")
            rows += 1
    return rows

"""The directory imported by the command while guests go on tapping; a bad file changes nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon import command
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENUE = {"parts": ("north",)}
ROWS = 20_000
SLOWEST_S = 0.5


def crowd(prefix: str, count: int) -> Iterator[str]:
    for number in range(count // 2):
        holder = f"{prefix}-{number}"
        yield json.dumps({"type": "credential", "technology": "nfc", "value": f"{number:014X}", "holder": holder})
        yield json.dumps({"type": "entitlement", "id": f"t-{holder}", "holder": holder, "zones": ["hall"]})


def write(venue: Venue, *more: str) -> Path:
    file = venue.directory / "new.ndjson"
    file.write_text("\n".join([*venue.guests.rows(), *more]) + "\n")
    return file


@pytest.mark.timed
async def test_a_large_import_while_guests_tap(venue: Venue) -> None:
    newcomer = venue.guests.add("barcode", 1)
    file, mark = write(venue, *crowd("crowd", ROWS)), venue.observer.mark
    slowest_s, taps = 0.0, 0
    async with venue.client("entrance") as reader:
        before = await (await venue.authenticate(reader, "turnstile", newcomer)).final()
        assert before["reason"] == "unknown_credential"
        importing = asyncio.create_task(venue.command("directory", "import", file))
        while not importing.done():
            began = time.monotonic()
            answer = await (await venue.authenticate(reader, "vip", venue.guests.code(uses=None))).final()
            slowest_s, taps = max(slowest_s, time.monotonic() - began), taps + 1
            assert answer["status"] == "done"
            await asyncio.wait({importing}, timeout=0.02)
        finished = importing.result()
        assert finished.status == 0, finished.err
        loaded = await venue.observer.event("directory.loaded", since=mark)
        assert loaded["credentials"] > ROWS // 2
        assert (await (await venue.authenticate(reader, "turnstile", newcomer)).final())["status"] == "done"
    assert taps > 5
    assert slowest_s < SLOWEST_S
    info = await venue.observer.state("gateway/info", directory_version=loaded["version"])
    assert info["directory_version"]


async def test_uses_survive_a_new_directory(venue: Venue) -> None:
    guest, mark = venue.guests.code(), venue.observer.mark
    async with venue.client("entrance") as reader:
        assert (await (await venue.authenticate(reader, "turnstile", guest)).final())["status"] == "done"
        # The version is that of the content, so only another content is another directory.
        venue.guests.add("barcode", 1)
        assert (await venue.command("directory", "import", write(venue))).status == 0
        await venue.observer.event("directory.loaded", since=mark)
        again = await (await venue.authenticate(reader, "turnstile", guest)).final()
        assert again["reason"] in {"no_uses_left", "already_inside"}


BAD_ROWS = {
    "no JSON": "{broken",
    "unknown type": '{"type": "guest"}',
    "unknown zone": '{"type": "entitlement", "id": "x", "holder": "guest-1", "zones": ["cellar"]}',
    "missing field": '{"type": "credential", "technology": "barcode", "holder": "guest-1"}',
    "wrong type": '{"type": "entitlement", "id": "x", "holder": "guest-1", "zones": ["hall"], "uses": "one"}',
    "time without a zone": (
        '{"type": "entitlement", "id": "x", "holder": "g", "zones": ["hall"], "valid_until": "2026-12-31T23:59:59"}'
    ),
    "bad tag": '{"type": "credential", "technology": "em4100", "value": "XYZ", "holder": "guest-1"}',
}


@pytest.mark.parametrize("row", BAD_ROWS.values(), ids=BAD_ROWS)
async def test_a_bad_row_is_named_by_its_line_and_the_old_directory_stays(venue: Venue, row: str) -> None:
    guest, log = venue.guests.code(), venue.daemon.mark
    rows = list(venue.guests.rows())
    file = venue.directory / "bad.ndjson"
    file.write_text("\n".join([*rows[:6], row, *rows[6:50]]) + "\n")
    finished = await venue.command("directory", "import", file)
    assert finished.status == 1
    assert f"{file}:7:" in finished.err
    assert not venue.guests.found_in(finished.out + finished.err)
    async with venue.client("entrance") as reader:
        assert (await (await venue.authenticate(reader, "turnstile", guest)).final())["status"] == "done"
    assert not [line for line in venue.daemon.lines[log:] if line["event"] == "directory_loaded"]
    assert not list(venue.state_dir.glob("*.new*"))


async def test_a_missing_file_is_said(venue: Venue) -> None:
    finished = await command("directory", "import", venue.directory / "none.ndjson", "--config", venue.config)
    assert finished.status == 1
    assert "none.ndjson" in finished.err
    assert "Traceback" not in finished.err

"""256 MB are enough: for the import, and for a daemon under load with everyone of a large directory coming in."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulators.venue import environment
from tests.e2e.guests import Guest
from tests.e2e.tablet import Tablet
from tests.e2e.venue import Venue
from tests.length import length

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1800)]

LIMIT_BYTES = 256 << 20
CROWD = length(10_000, 1_000_000)
TAPS = length(1_000, 100_000)
IN_FLIGHT = 64


def crowd() -> Iterator[str]:
    for number in range(CROWD):
        one = member(number)
        yield json.dumps({"type": "credential", "holder": one.holder, **one.credential})
        yield json.dumps({"type": "entitlement", "id": f"t-{number}", "holder": one.holder, "zones": ["hall"]})


def member(number: int) -> Guest:
    return Guest(f"crowd-{number}", "nfc", f"{number * 7919:014X}")


async def import_within_the_limit(venue: Venue) -> None:
    file: Path = venue.directory / "crowd.ndjson"
    with file.open("w") as lines:
        for line in venue.guests.rows():
            lines.write(line + "\n")
        lines.writelines(f"{line}\n" for line in crowd())
    process = await asyncio.create_subprocess_exec(
        "prlimit", f"--data={LIMIT_BYTES}", sys.executable, "-m", "gateway",
        "directory", "import", str(file), "--config", str(venue.config),
        env=environment(), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, told = await process.communicate()
    assert process.returncode == 0, told.decode()


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had at once."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = (line.split() for line in lines if line.startswith("VmHWM"))
    return int(peak[1]) * 1024


async def everyone_comes_in(entrance: Tablet) -> None:
    numbers = iter(range(TAPS))

    async def reader() -> None:
        for number in numbers:
            data = {"credential": member(number * (CROWD // TAPS)).credential}
            asked = await entrance.ask("turnstile", "authenticate", data, expires_s=30)
            assert (await asked.final(30))["status"] == "done"
            del entrance.answers[asked.id]

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(reader())


async def test_i09_a_large_venue_fits_into_256_mb(start_venue: Any, record_property: Any) -> None:
    venue: Venue = await start_venue(("north", "bar"), start=("broker",))
    await import_within_the_limit(venue)
    await venue.start_daemon()
    pid = venue.daemon.pid
    resource.prlimit(pid, resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))
    async with venue.client("entrance") as entrance:
        await everyone_comes_in(entrance)
        answer = await (await venue.authenticate(entrance, "north", venue.guests.tag())).final()
        assert answer["status"] == "done"
    venue.observer.seen.clear()
    record_property("peak_mb", peak_bytes(pid) >> 20)
    assert peak_bytes(pid) < LIMIT_BYTES, f"{peak_bytes(pid) >> 20} MB"
    assert venue.daemon.pid == pid
    assert await venue.daemon.stop() == 0
    assert (venue.state_dir / "directory.db").stat().st_size > CROWD * 50

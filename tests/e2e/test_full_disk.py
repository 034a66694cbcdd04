"""A full disk: nothing is admitted, everyone hears why, and it goes on by itself when there is space again."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.paper import print_text, printed
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
DISK = "12m"
TRIES = 3000


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of twelve megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    folder = Path(tempfile.mkdtemp(prefix="vgd-", dir="/tmp"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0755", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
    folder.rmdir()


def fill(folder: Path) -> Path:
    """Leave not one free page."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"\0" * 4096)
        except OSError:
            return filler


async def until_refused(venue: Venue, entrance: Any) -> int:
    """Tap until the disk takes no more; returns how many were admitted, each of which is in the journal."""
    for admitted in range(TRIES):
        answer = await (await venue.authenticate(entrance, "vip", venue.guests.code(uses=None))).final()
        if answer["status"] != "done":
            assert (answer["status"], answer["reason"]) == ("failed", "storage_unavailable")
            return admitted
        # The supply of guests is small; at this gate the same one may come again.
        venue.guests._free["barcode", None].insert(0, next(iter(venue.guests._free["barcode", None])))
    raise AssertionError(f"the full disk took {TRIES} entries")


async def test_a_full_disk_admits_nobody_opens_nothing_and_recovers(start_venue: Any, small_disk: Path) -> None:
    venue: Venue = await start_venue(("north", "bar"), state_dir=small_disk / "state")
    async with venue.client("entrance") as entrance, venue.client("bar-tablet") as tablet:
        assert (await (await venue.authenticate(entrance, "north", venue.guests.tag())).final())["status"] == "done"
        for _ in range(2):
            filler = fill(small_disk)
            await until_refused(venue, entrance)
            assert "storage" in (await venue.observer.state("gateway/state", state="degraded"))["why"][0]
            pulses = await venue.pulses("north-relay")
            kicks = (await (await venue.device("bar-printer")).state())["kick_count"]
            stored = len(venue.journal())
            late, guest = venue.guests.tag(), venue.guests.tag()
            refused = [
                await (await venue.authenticate(entrance, "north", guest)).final(),
                await (await tablet.ask("bar-drawer", "open", {"reason": "sale"})).final(),
                await (await print_text(tablet, "bar-printer", "Auf voller Karte")).final(),
            ]
            assert {(answer["status"], answer["reason"]) for answer in refused} == {("failed", "storage_unavailable")}
            log = venue.daemon.mark
            await (await venue.device("north-reader")).do("tap", uid=late.value)
            await venue.daemon.logged("tap_refused", since=log)
            filler.unlink()
            await venue.daemon.logged("storage_recovered")
            await venue.observer.state("gateway/state", state="online")
            assert await venue.pulses("north-relay") == pulses
            assert (await (await venue.device("bar-printer")).state())["kick_count"] == kicks
            # The ticket that was refused is as good as before, and so is every device.
            assert (await (await venue.authenticate(entrance, "north", guest)).final())["status"] == "done"
            assert (await (await tablet.ask("bar-drawer", "open", {"reason": "sale"})).final())["status"] == "done"
            await (await venue.device("bar-printer")).do("drawer", open=False)
            done = await (await print_text(tablet, "bar-printer", "Wieder Platz")).final()
            assert done["status"] == "done"
            assert len(venue.journal()) > stored
            await venue.closed("north-relay", pulses + 1)
    assert "Auf voller Karte" not in await printed(venue, "bar-printer")
    assert await venue.daemon.stop() == 0
    assert (await venue.command("journal", "verify")).status == 0


async def test_i01_what_was_answered_before_the_disk_was_full_is_in_the_journal(
    start_venue: Any, small_disk: Path
) -> None:
    venue: Venue = await start_venue(("north",), state_dir=small_disk / "state")
    async with venue.client("entrance") as entrance:
        filler = fill(small_disk)
        asked = [
            await venue.authenticate(entrance, "vip", venue.guests.code(uses=None), request_id=f"r{number}")
            for number in range(100)
        ]
        answers = {one.id: await one.final() for one in asked}
        filler.unlink()
        await until_granted(venue, entrance)
    stored = [row["request"]["id"] for row in venue.journal() if row["kind"] == "entry.granted"]
    done = [request for request, answer in answers.items() if answer["status"] == "done"]
    assert sorted(one for one in stored if one.startswith("r")) == sorted(done)
    assert {answer.get("reason") for answer in answers.values()} <= {None, "storage_unavailable"}


async def until_granted(venue: Venue, entrance: Any) -> None:
    """Wait until the gateway admits guests again."""
    await venue.observer.state("gateway/state", state="online")
    assert (await (await venue.authenticate(entrance, "vip", venue.guests.tag())).final())["status"] == "done"


async def test_a_start_on_a_full_disk_says_so_and_ends(start_venue: Any, small_disk: Path) -> None:
    venue: Venue = await start_venue(("north",), state_dir=small_disk / "state", start=("broker",))
    fill(small_disk)
    await venue.daemon.start()
    assert await venue.daemon.ended() != 0
    told = "".join(venue.daemon.text)
    assert "Traceback" not in told
    assert "full" in told or "No space left" in told

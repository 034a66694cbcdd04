"""Each way in which upstream can fail: the venue goes on by the last good directory, and says what is wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from gateway.config.upstream import Endpoint
from gateway.store.directory_overlay import ChangeFile
from gateway.upstream import changes as directory_changes
from gateway.upstream.directory import Above, DirectorySync
from gateway.upstream.freshness import VenueTime
from gateway.upstream.http import Client
from simulators.authority import Fault
from simulators.upstream import Faults, Upstream
from tests.gateway.upstream.served import ready_folder
from tests.gateway.upstream.test_directory import FakeVenue, credential, rows
from tests.gateway.upstream.waiting import until

FAULTS: dict[str, tuple[Faults, str]] = {
    "slow": (Faults(slow_s=3.0), "127.0.0.1 does not answer in time"),
    "refusing": (Faults(refuse=True), "127.0.0.1 broke off or is not understood"),
    "500": (Faults(status=500), "upstream at 127.0.0.1 answers 500"),
    "not found": (Faults(status=404), "upstream at 127.0.0.1 answers 404; is the `url` right?"),
    "too much": (Faults(status=429, retry_after_s=1), "upstream at 127.0.0.1 answers 429"),
    "login refused": (Faults(status=401), "upstream at 127.0.0.1 refuses the login (401); look at `token_file`"),
    "redirected": (Faults(status=302), "upstream at 127.0.0.1 answers 302; is the `url` right?"),
    "cut mid-body": (Faults(cut_after_bytes=20), "127.0.0.1 broke off or is not understood"),
    "reordered": (Faults(reordered=True), "do not follow those up to 1: out of order"),
    "tampered": (Faults(tampered=True), "these changes are not what upstream meant: their digest does not fit"),
}
"""What is wrong with each answer about changes, and the sentence for whoever has to mend it."""
TLS: dict[Fault, str] = {
    "expired": "has expired; have it renewed there, and look whether the clock is right here",
    "not_yet": "does not count yet; look whether the clock is right here",
    "self_signed": "is signed by itself; if it is the right one, name its authority's file in `ca_file`",
    "wrong_host": "is for another host; write the name that stands in it into `url`, or have it made anew",
}


class Site:
    """A venue with a directory in force, and an upstream that is about to fail."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.above = Upstream(ready_folder(folder / "up"))
        self.above.directory.set(rows(20))
        self.here = FakeVenue(ready_folder(folder / "venue"))
        self.port = 0

    async def serve(self, fault: Fault = "") -> None:
        self.port = await self.above.start(self.port, self.above.fleet.authority.server(fault))

    def sync(self) -> DirectorySync:
        ca_file = str(self.above.fleet.authority.file)
        client = Client(Endpoint(url=f"https://127.0.0.1:{self.port}", ca_file=ca_file), "stadthalle")
        here, file = self.here, ChangeFile(self.folder / "venue")
        return DirectorySync(
            Above(client),
            here.directory,
            file,
            here.key,
            here,
            Random(1),
            VenueTime(lambda: 2_000_000_000_000),
            here.facts.append,
        )

    def change(self) -> None:
        self.above.directory.change([{"row": credential(3, state="blocked")}, {"row": credential(99)}])

    def untouched(self) -> bool:
        return (self.here.state(3), self.here.state(99), self.here.directory.cursor) == ("active", None, 1)

    def changed(self) -> bool:
        return (self.here.state(3), self.here.state(99), self.here.directory.cursor) == ("blocked", "active", 2)


async def stopped(task: asyncio.Task[None], site: Site) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    site.here.directory.close()
    await site.above.stop()


@pytest.mark.parametrize("name", FAULTS)
async def test_the_last_good_directory_stays_and_a_sentence_says_why(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    fault, sentence = FAULTS[name]
    monkeypatch.setattr(directory_changes, "ANSWER_S", 1.0)
    site = Site(tmp_path)
    fault.path = "/changes"
    site.above.faults = [fault]
    await site.serve()
    sync = site.sync()
    task = asyncio.get_running_loop().create_task(sync.run())
    await until(lambda: site.here.directory.cursor == 1)
    site.change()
    await until(lambda: sentence in sync.trouble())
    assert site.untouched()
    assert not task.done()
    site.above.faults = []
    sync.try_now()
    await until(site.changed)
    await until(lambda: sync.trouble() == "")
    await stopped(task, site)


async def test_changes_that_come_twice_are_in_force_once(tmp_path: Path):
    site = Site(tmp_path)
    await site.serve()
    sync = site.sync()
    task = asyncio.get_running_loop().create_task(sync.run())
    await until(lambda: site.here.directory.cursor == 1)
    site.change()
    await until(site.changed)
    site.above.faults = [Faults(path="/changes", times=3, twice=True)]
    site.above.directory.change([{"row": credential(4, state="blocked")}])
    await until(lambda: site.here.state(4) == "blocked")
    assert (site.here.directory.cursor, sync.refused) == (3, "")
    await stopped(task, site)


@pytest.mark.parametrize("fault", TLS)
async def test_a_certificate_that_turns_wrong_stops_nothing_and_is_said(tmp_path: Path, fault: Fault):
    site = Site(tmp_path)
    await site.serve()
    sync = site.sync()
    task = asyncio.get_running_loop().create_task(sync.run())
    await until(lambda: site.here.directory.cursor == 1)
    await site.above.stop()
    site.above = Upstream(tmp_path / "up")
    site.above.directory.set(rows(20))
    site.change()
    await site.serve(fault)
    sync.try_now()
    await until(lambda: f"the certificate of 127.0.0.1 {TLS[fault]}" in sync.trouble())
    assert site.untouched()
    await site.above.stop()
    site.above = Upstream(tmp_path / "up")
    site.above.directory.set(rows(20))
    site.change()
    await site.serve()
    sync.try_now()
    await until(site.changed)
    await stopped(task, site)

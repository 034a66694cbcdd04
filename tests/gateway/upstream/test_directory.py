import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.config.upstream import Endpoint
from gateway.store.credentials import CredentialKey
from gateway.store.directory import Directory
from gateway.store.directory_fold import fold_directory
from gateway.store.directory_overlay import Batch, ChangeFile
from gateway.store.importing import ImportRefused, import_directory
from gateway.upstream.changes import Changes
from gateway.upstream.directory import Above, DirectorySync
from gateway.upstream.download import DOWNLOAD_FILE
from gateway.upstream.freshness import VenueTime
from gateway.upstream.http import Client
from simulators.upstream import Faults, Upstream
from tests.gateway.upstream.served import ready_folder
from tests.gateway.upstream.waiting import until

ZONES = ("foyer", "hall")


def credential(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "credential", "technology": "em4100", "value": f"{number:010X}", "holder": f"g{number}", **more}


def entitlement(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "entitlement", "id": f"e{number}", "holder": f"g{number}", "zones": ["hall"], **more}


def rows(count: int) -> list[dict[str, Any]]:
    return [row for number in range(count) for row in (credential(number), entitlement(number))]


class FakeVenue:
    """Imports in this process."""

    zone_info = ZoneInfo("Europe/Berlin")
    known_zones = ZONES

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = CredentialKey.load_or_create(folder)
        self.directory = Directory.open(folder)
        self.facts: list[Any] = []
        self.batches: list[Batch] = []
        self.imports = 0
        self.sync: DirectorySync | None = None

    async def import_snapshot(self, cursor: int) -> str:
        self.imports += 1
        try:
            import_directory(
                self.folder / DOWNLOAD_FILE, self.folder, self.key,
                known_zones=ZONES, progress=lambda *_: None, timezone=self.zone_info, cursor=cursor,
            )  # fmt: skip
        except ImportRefused as refused:
            return str(refused.problems[0])
        return ""

    async def fold(self) -> str:
        fold_directory(self.folder)
        return ""

    def directory_file_changed(self) -> None:
        self.directory.reload()

    def directory_changed(self, batch: Batch) -> None:
        self.batches.append(batch)

    def state(self, number: int) -> str | None:
        found = self.directory.carried(self.key.ref("em4100", f"{number:010X}"))
        return found[0].state if found else None

    def entitlements(self, number: int) -> list[str]:
        return [one.id for one in self.directory.entitlements(f"g{number}")]


@asynccontextmanager
async def venue(folder: Path, port: int, changes: Changes | None = None) -> AsyncIterator[FakeVenue]:
    made = FakeVenue(ready_folder(folder))
    client = Client(Endpoint(url=f"http://127.0.0.1:{port}"), "stadthalle")
    made.sync = DirectorySync(
        Above(client, changes), made.directory, ChangeFile(folder), made.key, made, Random(1),
        VenueTime(lambda: 2_000_000_000_000),
        made.facts.append,
    )  # fmt: skip
    task = asyncio.get_running_loop().create_task(made.sync.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        made.directory.close()


@asynccontextmanager
async def upstream(folder: Path, count: int = 50) -> AsyncIterator[tuple[Upstream, int]]:
    made = Upstream(ready_folder(folder))
    made.directory.set(rows(count))
    port = await made.start(0)
    try:
        yield made, port
    finally:
        await made.stop()


async def test_a_snapshot_that_would_leave_the_journal_no_room_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    disk = os.statvfs(tmp_path)
    monkeypatch.setattr("gateway.upstream.download.DISK_KEPT_BYTES", disk.f_bavail * disk.f_frsize * 2)
    async with upstream(tmp_path / "up") as (_, port), venue(tmp_path / "venue", port) as here:
        await until(lambda: here.sync.refused)
        assert "are kept for the journal; make room there" in here.sync.trouble()
        assert not here.sync.download.path.exists()
        monkeypatch.setattr("gateway.upstream.download.DISK_KEPT_BYTES", 0)
        here.sync.try_now()
        await until(lambda: here.directory.cursor == 1 and not here.sync.refused)


async def test_a_snapshot_and_then_every_change(tmp_path: Path):
    async with upstream(tmp_path / "up") as (above, port), venue(tmp_path / "venue", port) as here:
        await until(lambda: here.directory.cursor == 1)
        assert here.directory.counts.credentials == 50
        above.directory.change(
            [
                {"row": credential(7, state="blocked")},
                {"op": "delete", "row": {"type": "credential", "technology": "em4100", "value": f"{8:010X}"}},
                {"row": credential(99)},
                {"row": entitlement(99)},
                {"row": {"type": "entitlement", "id": "more", "holder": "g9", "zones": ["vip"]}},
                {"row": {"type": "zone", "id": "vip", "within": "hall"}},
                {"op": "delete", "row": {"type": "entitlement", "holder": "g10", "id": "e10"}},
                {"row": {"type": "wallet", "holder": "g1", "balance_minor": 500, "currency": "EUR"}},
            ]
        )
        await until(lambda: here.directory.cursor == 2)
        assert (here.state(7), here.state(8), here.state(99), here.state(6)) == ("blocked", None, "active", "active")
        assert (here.entitlements(9), here.entitlements(10), here.entitlements(99)) == (["e9", "more"], [], ["e99"])
        assert here.directory.zones == {"vip": "hall"}
        assert here.directory.wallet("g1").balance_minor == 500
        assert here.directory.as_of_ms == 2_000_000_000_000
        assert here.directory.version.endswith("+2")
        # Nothing of it is forgotten by a restart, and nothing by building a new file.
        here.directory.reload()
        assert (here.state(7), here.state(8)) == ("blocked", None)
        assert fold_directory(here.folder) == 2
        here.directory.reload()
        assert here.directory.overlay.rows == 0
        assert (here.state(7), here.state(8), here.state(99), here.state(6)) == ("blocked", None, "active", "active")
        assert (here.entitlements(9), here.entitlements(10), here.entitlements(99)) == (["e9", "more"], [], ["e99"])
        assert here.directory.counts.credentials == 50
        assert here.directory.counts.entitlements == 51
        assert here.directory.wallet("g1").balance_minor == 500
        above.directory.change([{"row": credential(6, state="blocked")}])
        await until(lambda: here.state(6) == "blocked")


async def test_a_block_list_entry_acts_within_a_second_of_its_arrival(tmp_path: Path):
    async with upstream(tmp_path / "up") as (above, port), venue(tmp_path / "venue", port) as here:
        await until(lambda: here.directory.cursor == 1)
        for number in range(5):
            above.directory.change([{"row": credential(number, state="blocked")}])
            await until(lambda number=number: here.state(number) == "blocked", wait_s=1.0)


async def test_a_snapshot_that_is_cut_goes_on_where_it_broke_off(tmp_path: Path):
    async with upstream(tmp_path / "up", 3000) as (above, port):
        above.faults = [Faults(path="/snapshot", times=2, cut_after_bytes=100_000)]
        async with venue(tmp_path / "venue", port) as here:
            await until(lambda: here.directory.cursor == 1)
            assert here.directory.counts.credentials == 3000
            assert here.imports == 1
        assert len([one for one in above.requests if "snapshot" in one]) == 3


REFUSED = {
    "tampered": (Faults(path="/changes", tampered=True), "their digest does not fit"),
    "out of order": (Faults(path="/changes", reordered=True), "out of order"),
}


async def test_what_is_tampered_with_or_out_of_order_is_refused_whole_with_the_reason(tmp_path: Path):
    for name, (fault, why) in REFUSED.items():
        async with upstream(tmp_path / f"up {name}") as (above, port), venue(tmp_path / name, port) as here:
            await until(lambda here=here: here.directory.cursor == 1)
            above.faults = [fault]
            above.directory.change([{"row": credential(7, state="blocked")}])
            # A poll from before the fault may bring this one.
            await until(lambda here=here: here.sync.refused or here.directory.cursor == 2)
            above.directory.change([{"row": credential(8, state="blocked")}])
            await until(lambda here=here: here.sync.refused)
            assert why in here.sync.trouble()
            assert why in here.facts[-1].why
            assert here.state(8) == "active"
            above.faults = []
            here.sync.try_now()
            await until(lambda here=here: here.state(8) == "blocked")
            assert here.sync.trouble() == ""


async def test_changes_that_are_cut_or_come_twice_do_no_harm(tmp_path: Path):
    async with upstream(tmp_path / "up") as (above, port), venue(tmp_path / "venue", port) as here:
        await until(lambda: here.directory.cursor == 1)
        above.faults = [
            Faults(path="/changes", times=2, cut_after_bytes=20),
            Faults(path="/changes", times=3, twice=True),
        ]
        for number in range(6):
            above.directory.change([{"row": credential(number, state="blocked")}])
        here.sync.try_now()
        await until(lambda: here.directory.cursor == 7)
        assert [here.state(number) for number in range(7)] == ["blocked"] * 6 + ["active"]


async def test_a_batch_with_one_wrong_row_changes_nothing(tmp_path: Path):
    async with upstream(tmp_path / "up") as (above, port), venue(tmp_path / "venue", port) as here:
        await until(lambda: here.directory.cursor == 1)
        above.directory.change(
            [
                {"row": credential(7, state="blocked")},
                {"row": entitlement(7, zones=["hal"])},
            ]
        )
        await until(lambda: here.sync.refused)
        assert here.sync.refused == "change 2 of those up to 2: unknown zone 'hal'; did you mean 'hall'?"
        assert here.state(7) == "active"
        assert here.batches == []


async def test_a_snapshot_that_was_tampered_with_leaves_the_last_good_one_in_use(tmp_path: Path):
    async with upstream(tmp_path / "up") as (above, port), venue(tmp_path / "venue", port) as here:
        await until(lambda: here.directory.cursor == 1)
        await until(lambda: here.sync._snapshot_again_s)
        here.sync._snapshot_again_s = 0.0
        above.faults = [Faults(path="/snapshot", tampered=True)]
        above.directory.set(rows(10))
        await until(lambda: here.sync.refused)
        assert "its digest does not fit" in here.sync.trouble()
        assert here.directory.counts.credentials == 50
        above.faults = []
        here.sync.try_now()
        await until(lambda: here.directory.counts.credentials == 10)


async def test_a_mistake_of_ours_keeps_no_change_away(tmp_path: Path):
    async with upstream(tmp_path / "up") as (above, port), venue(tmp_path / "venue", port) as here:
        await until(lambda: here.directory.cursor == 1)
        lay = here.directory.change

        def once(batch: Batch) -> None:
            here.directory.change = lay
            raise KeyError("nobody thought of that")

        here.directory.change = once
        above.directory.change([{"op": "put", "row": credential(7, state="blocked")}])
        await until(lambda: here.state(7) == "blocked")
        await until(lambda: here.sync.trouble() == "")


async def test_a_crash_in_the_middle_of_a_batch_loses_that_batch_only(tmp_path: Path):
    async with upstream(tmp_path / "up") as (above, port):
        async with venue(tmp_path / "venue", port) as here:
            await until(lambda: here.directory.cursor == 1)
            above.directory.change([{"row": credential(1, state="blocked")}])
            await until(lambda: here.directory.cursor == 2)
            above.directory.change([{"row": credential(2, state="blocked")}])
            await until(lambda: here.directory.cursor == 3)
        file = ChangeFile(tmp_path / "venue")
        file.path.write_bytes(file.path.read_bytes()[:-3])
        directory = Directory.open(tmp_path / "venue")
        assert directory.cursor == 2
        directory.close()
        async with venue(tmp_path / "venue", port) as here:
            await until(lambda: here.state(2) == "blocked")
            here.directory.reload()
            assert (here.state(1), here.state(2)) == ("blocked", "blocked")


async def test_nothing_of_a_card_stands_in_what_is_kept_of_changes(tmp_path: Path):
    async with upstream(tmp_path / "up") as (above, port), venue(tmp_path / "venue", port) as here:
        await until(lambda: here.directory.cursor == 1)
        above.directory.change([{"row": credential(0xABCDEF0123)}])
        await until(lambda: here.directory.cursor == 2)
        assert b"ABCDEF0123" not in ChangeFile(here.folder).path.read_bytes().upper()
        assert not (here.folder / DOWNLOAD_FILE).exists()
        above.directory.change([{"row": {**credential(5), "value": "no-hex-value"}}])
        await until(lambda: here.sync.refused)
        assert "no-hex" not in here.sync.refused + json.dumps([str(fact) for fact in here.facts])


async def test_an_upstream_that_does_not_know_its_own_snapshot_is_not_asked_for_it_without_end(tmp_path: Path):
    async with upstream(tmp_path / "up") as (above, port), venue(tmp_path / "venue", port) as here:
        await until(lambda: here.directory.cursor == 1)
        above.faults = [Faults(path="/changes", status=410)]
        above.directory.change([{"row": credential(1)}])
        await until(lambda: "knows no changes" in here.sync.why)
        assert here.imports == 1

"""The directory from upstream: a first snapshot, then every change, applied whole or refused whole.

A snapshot goes through `venue-gateway directory import` in a process of its own, so that taps keep their time. Changes
come by long poll, or from a stream; each batch is on disk before it counts, and counts for the next tap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from random import Random
from typing import Protocol
from zoneinfo import ZoneInfo

import msgspec
import structlog

from gateway.domain.upstream_events import DirectoryChanged
from gateway.domain.upstream_events import DirectoryRefused as RefusedFact
from gateway.store.credentials import CredentialKey
from gateway.store.directory import Directory
from gateway.store.directory_batch import Ground
from gateway.store.directory_overlay import Batch, ChangeFile
from gateway.store.errors import StorageUnavailable
from gateway.upstream.backoff import Backoff
from gateway.upstream.changes import Arrived, Changed, Changes, Forgotten, HttpsChanges, NothingNew, read_changes
from gateway.upstream.download import DirectoryRefused, Download
from gateway.upstream.freshness import Untimely, VenueTime, ahead_trouble, as_of, check_timely
from gateway.upstream.http import Client
from gateway.upstream.sinks import FAILED, SinkUnavailable

log = structlog.get_logger(__name__)

AGAIN_S = 0.2
"""Even an upstream that answers at once is asked five times a second at most."""
SNAPSHOT_EVERY_S = 60.0
"""An upstream that does not know its own snapshot is not asked for it again and again."""
FOLD_ROWS = 20_000
"""So many changed rows are built into a new file; until then they cost some megabytes of memory."""
OVERLAY_ROWS_MAX = 200_000
"""No more is taken while folding fails (I9)."""
CONFIRM_EVERY_MS = 60_000


class Venue(Protocol):
    """What the synchronisation needs of the gateway."""

    @property
    def zone_info(self) -> ZoneInfo:
        """The venue's time zone."""
        ...

    @property
    def known_zones(self) -> Collection[str]:
        """The zones of the configuration."""
        ...

    def import_snapshot(self, cursor: int) -> Awaitable[str]:
        """Import the downloaded file in another process; returns why that was refused, or an empty text."""
        ...

    def fold(self) -> Awaitable[str]:
        """Build a new file of what is in force, in another process; returns why that failed, or an empty text."""
        ...

    def directory_file_changed(self) -> None:
        """Take another file into use."""
        ...

    def directory_changed(self, batch: Batch) -> None:
        """Follow changes that are in force."""
        ...


class Above(msgspec.Struct, frozen=True):
    """Who is asked: `client` for snapshots, and for changes too where these have no source of their own."""

    client: Client
    changes: Changes | None = None


class DirectorySync:
    """Keeps the directory as upstream has it. `run` is its task."""

    def __init__(
        self,
        above: Above,
        directory: Directory,
        file: ChangeFile,
        key: CredentialKey,
        venue: Venue,
        random: Random,
        time: VenueTime,
        record: Callable[[RefusedFact | DirectoryChanged], None],
    ) -> None:
        """Prepare; nothing is asked yet. With a seal on the client only what bears it is taken, and nothing older."""
        self._client = client = above.client
        self._changes: Changes = above.changes or HttpsChanges(client)
        self._directory = directory
        self._file = file
        self._key = key
        self._venue = venue
        self._backoff = Backoff(random)
        self._time = time
        self._record = record
        self._woken = asyncio.Event()
        self._snapshot_wanted = False
        self._snapshot_again_s = 0.0
        self._folding: asyncio.Task[str] | None = None
        self._confirmed_ms = 0
        self.download = Download(client, file.path.parent)
        self.why = ""
        """Why the last attempt failed; empty when it did not."""
        self.refused = ""
        """Why the last data was refused; empty when it was taken."""
        self.untimely = ""
        """Why nobody can say how old the directory is; empty when somebody can."""

    async def run(self) -> None:
        """Go on until cancelled."""
        try:
            await asyncio.to_thread(self._file.trim)
            while True:
                try:
                    await self._next()
                except (SinkUnavailable, StorageUnavailable, OSError) as error:
                    await self._failed(str(error), getattr(error, "retry_after_s", 0.0))
                except DirectoryRefused as refused:
                    self._refuse(str(refused))
                    await self._failed("")
                except Exception:
                    # Whatever one answer runs into, the next one shall be asked for.
                    log.exception("upstream_failed", part="directory")
                    await self._failed(FAILED)
        finally:
            if self._folding is not None:
                self._folding.cancel()
                await asyncio.gather(self._folding, return_exceptions=True)
            await self._changes.close()
            await self._client.close()

    def try_now(self) -> None:
        """The network has changed: whatever pause is on is over."""
        self._backoff.worked()
        self._woken.set()

    def trouble(self) -> str:
        """Return what is wrong, in words; empty while all is well."""
        if self.refused:
            return f"directory: refused what upstream sent, the last good one is in use: {self.refused}"
        if self.why:
            return f"directory: upstream cannot be asked: {self.why}"
        return f"directory: {self.untimely}" if self.untimely else ""

    async def _next(self) -> None:
        if self._directory.cursor == 0 or self._snapshot_wanted:
            await self._wait_for_turn()
            await self._take_snapshot()
        else:
            await self._poll()
        self._backoff.worked()
        if self.why:
            log.info("directory_upstream_connected")
            self.why = ""

    async def _wait_for_turn(self) -> None:
        """Whatever a stream brings, upstream is not asked for all of its directory again and again."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._snapshot_again_s):
                await self._woken.wait()

    async def _take_snapshot(self) -> None:
        meta = await self.download.fetch()
        if self._client.seal is not None and meta.cursor < self._directory.cursor:
            await asyncio.to_thread(self.download.forget)
            older = f"a snapshot with {meta.cursor} changes is older than the directory in force"
            raise DirectoryRefused(f"{older}, which has {self._directory.cursor}; give one that is newer")
        if refused := await self._venue.import_snapshot(meta.cursor):
            raise DirectoryRefused(refused)
        await asyncio.to_thread(self.download.forget)
        self._venue.directory_file_changed()
        if self._directory.cursor != meta.cursor:
            raise DirectoryRefused("the imported directory cannot be read; look at the log")
        await asyncio.to_thread(self._file.replace, ())
        self._snapshot_again_s = asyncio.get_running_loop().time() + SNAPSHOT_EVERY_S
        self._snapshot_wanted, self.refused = False, ""
        self._confirm(self.download.sealed_ms)

    async def _poll(self) -> None:
        found = await self._changes.after(self._directory.cursor)
        if isinstance(found, Arrived):
            await self._take_changes(found)
        elif isinstance(found, Forgotten):
            self._want_snapshot()
        else:
            await self._nothing_new(found)

    def _want_snapshot(self) -> None:
        if asyncio.get_running_loop().time() < self._snapshot_again_s:
            raise SinkUnavailable("upstream gave a snapshot and knows no changes that follow it")
        log.warning("directory_snapshot_needed", cursor=self._directory.cursor)
        self._ask_for_snapshot()

    def _ask_for_snapshot(self) -> None:
        """From here on `try_now` means the snapshot."""
        self._woken.clear()
        self._snapshot_wanted = True

    async def _nothing_new(self, found: NothingNew) -> None:
        if found.is_said:
            self._take_word(found)
        await self._fold_if_due()
        await asyncio.sleep(AGAIN_S)

    def _take_word(self, word: NothingNew) -> None:
        """Upstream says that this is all; under a seal it says so for the time of that seal."""
        if word.is_asked and word.sealed_ms is not None:
            try:
                check_timely(word.sealed_ms, self._directory.confirmed_ms, self._time)
            except Untimely as untimely:
                raise DirectoryRefused(str(untimely)) from untimely
        before_ms = self._directory.confirmed_ms
        self._confirm(word.sealed_ms)
        if word.sealed_ms is None or self._directory.confirmed_ms > before_ms:
            self.refused = ""

    async def _take_changes(self, arrived: Arrived) -> None:
        if self._directory.overlay.rows > OVERLAY_ROWS_MAX:
            await self._fold_if_due()
            raise SinkUnavailable("too many changes wait to be written into the directory's file; look at the disk")
        ground = Ground(self._directory.overlay.summary, self._key, self._venue.known_zones, self._venue.zone_info)
        try:
            read = await read_changes(arrived, self._directory.cursor, ground, self._client.seal)
        except DirectoryRefused as refused:
            await self._refuse_changes(refused)
            return
        if isinstance(read, Changed):
            await self._apply(read)
        await self._changes.settle(taken=True)
        if isinstance(read, NothingNew):
            await self._nothing_new(read)
        elif read is None:
            # The same again: it is in force already.
            await asyncio.sleep(AGAIN_S)

    async def _refuse_changes(self, refused: DirectoryRefused) -> None:
        """Over HTTPS the next poll asks for the same again; a stream goes on, so only a snapshot has what it lacks."""
        if not self._changes.goes_on:
            raise refused
        self._ask_for_snapshot()
        self._refuse(str(refused))
        await self._changes.settle(taken=False)

    async def _apply(self, changed: Changed) -> None:
        batch = changed.batch
        await asyncio.to_thread(self._file.append, batch)
        if self._directory.cursor < batch.cursor:
            self._directory.change(batch)
        self.refused = ""
        log.info("directory_changes_applied", cursor=batch.cursor, changes=batch.rows)
        self._record(DirectoryChanged(cursor=batch.cursor, changes=batch.rows))
        self._venue.directory_changed(batch)
        self._confirm(changed.sealed_ms)
        await self._fold_if_due()

    def _confirm(self, sealed_ms: int | None) -> None:
        """Upstream has said how things are: just now, or where it seals its word at the time of that."""
        at_ms, untimely = self._time.now_ms(), ""
        if sealed_ms is not None:
            untimely = ahead_trouble(sealed_ms, self._time)
            at_ms = as_of(sealed_ms, self._directory.confirmed_ms, self._time)
        if untimely and not self.untimely:
            log.warning("directory_age_unknown", why=untimely)
        self.untimely = untimely
        self._directory.confirmed(at_ms)
        if abs(at_ms - self._confirmed_ms) >= CONFIRM_EVERY_MS:
            with suppress(OSError):
                self._file.confirm(at_ms)
                self._confirmed_ms = at_ms

    async def _fold_if_due(self) -> None:
        """Fold beside the polls: a block list entry must not wait for it."""
        if self._folding is not None and self._folding.done():
            folding, self._folding = self._folding, None
            if failed := folding.result():
                log.warning("directory_not_folded", why=failed)
                return
            self._venue.directory_file_changed()
            await asyncio.to_thread(self._file.replace, tuple(self._directory.overlay.batches))
        if self._folding is None and self._directory.overlay.rows >= FOLD_ROWS:
            self._folding = asyncio.get_running_loop().create_task(_awaited(self._venue.fold()))

    def _refuse(self, why: str) -> None:
        if why != self.refused:
            log.error("directory_refused", why=why, cursor=self._directory.cursor)
            self._record(RefusedFact(why=why, cursor=self._directory.cursor))
        self.refused = why

    async def _failed(self, why: str, retry_after_s: float = 0.0) -> None:
        if why and why != self.why:
            log.warning("directory_upstream_unavailable", why=why)
        self.why = why
        self._woken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._backoff.pause_s(retry_after_s)):
                await self._woken.wait()


async def _awaited(work: Awaitable[str]) -> str:
    return await work

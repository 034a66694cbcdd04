"""The directory from upstream: a first snapshot, then every change, applied whole or refused whole.

A snapshot goes through `venue-gateway directory import` in a process of its own, so that taps keep their time. Changes
come by long poll; each batch is on disk before it counts, and counts for the next tap.
"""

from __future__ import annotations

import asyncio
import hashlib
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
from gateway.store.directory_batch import Ground, RawChange, read_batch
from gateway.store.directory_overlay import Batch, ChangeFile
from gateway.store.errors import StorageUnavailable
from gateway.store.importing import ImportRefused
from gateway.upstream.backoff import Backoff
from gateway.upstream.contract import CHANGES
from gateway.upstream.download import CURSOR_MAX, DirectoryRefused, Download, sha256_of
from gateway.upstream.http import Answer, Client, check_seal
from gateway.upstream.seal import Unsealed
from gateway.upstream.sinks import FAILED, SinkUnavailable

log = structlog.get_logger(__name__)

POLL_S = 50.0
"""How long upstream may let a poll wait: less than what proxies let through, usually a minute."""
ANSWER_S = POLL_S + 30.0
AGAIN_S = 0.2
"""Even an upstream that answers at once is asked five times a second at most."""
SNAPSHOT_EVERY_S = 60.0
"""An upstream that does not know its own snapshot is not asked for it again and again."""
CHANGES_MAX = 5_000
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


class _Changes(msgspec.Struct, frozen=True):
    after: int
    cursor: int
    changes: list[RawChange]


class DirectorySync:
    """Keeps the directory as upstream has it. `run` is its task."""

    def __init__(
        self,
        client: Client,
        directory: Directory,
        file: ChangeFile,
        key: CredentialKey,
        venue: Venue,
        random: Random,
        now_ms: Callable[[], int],
        record: Callable[[RefusedFact | DirectoryChanged], None],
    ) -> None:
        """Prepare; nothing is asked yet. With a seal on the client only what bears it is taken, and nothing older."""
        self._client = client
        self._directory = directory
        self._file = file
        self._key = key
        self._venue = venue
        self._backoff = Backoff(random)
        self._now_ms = now_ms
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
            await self._client.close()

    def try_now(self) -> None:
        """The network has changed: whatever pause is on is over."""
        self._backoff.worked()
        self._woken.set()

    def trouble(self) -> str:
        """Return what is wrong, in words; empty while all is well."""
        if self.refused:
            return f"directory: refused what upstream sent, the last good one is in use: {self.refused}"
        return f"directory: upstream cannot be asked: {self.why}" if self.why else ""

    async def _next(self) -> None:
        if self._directory.cursor == 0 or self._snapshot_wanted:
            await self._take_snapshot()
        else:
            await self._poll()
        self._backoff.worked()
        if self.why:
            log.info("directory_upstream_connected")
            self.why = ""

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
        self._confirm()

    async def _poll(self) -> None:
        after = self._directory.cursor
        query = {"after": str(after), "wait_s": f"{POLL_S:g}"}
        answer = await self._client.ask("GET", CHANGES, query=query, answer_s=ANSWER_S)
        if answer.status == 410:
            if asyncio.get_running_loop().time() < self._snapshot_again_s:
                raise SinkUnavailable("upstream gave a snapshot and knows no changes that follow it")
            log.warning("directory_snapshot_needed", cursor=after)
            self._snapshot_wanted = True
        elif answer.status == 204:
            self._check_seal(after, answer)
            self.refused = ""
            self._confirm()
            await self._fold_if_due()
            await asyncio.sleep(AGAIN_S)
        elif answer.status == 200:
            await self._take_changes(answer)
        else:
            raise SinkUnavailable(f"upstream answers {answer.status} for changes, which means nothing here")

    async def _take_changes(self, answer: Answer) -> None:
        if self._directory.overlay.rows > OVERLAY_ROWS_MAX:
            await self._fold_if_due()
            raise SinkUnavailable("too many changes wait to be written into the directory's file; look at the disk")
        self._check_seal(_cursor_of(answer), answer)
        ground = Ground(self._directory.overlay.summary, self._key, self._venue.known_zones, self._venue.zone_info)
        batch = await asyncio.to_thread(_read, answer, self._directory.cursor, ground)
        if batch is None:
            # The same again: it is in force already.
            await asyncio.sleep(AGAIN_S)
            return
        await asyncio.to_thread(self._file.append, batch)
        if self._directory.cursor < batch.cursor:
            self._directory.change(batch)
        self.refused = ""
        log.info("directory_changes_applied", cursor=batch.cursor, changes=batch.rows)
        self._record(DirectoryChanged(cursor=batch.cursor, changes=batch.rows))
        self._venue.directory_changed(batch)
        self._confirm()
        await self._fold_if_due()

    def _check_seal(self, cursor: int, answer: Answer) -> None:
        try:
            check_seal(self._client.seal, "directory.changes", cursor, answer)
        except Unsealed as error:
            raise DirectoryRefused(str(error)) from error

    def _confirm(self) -> None:
        """Upstream has just said how things are."""
        now_ms = self._now_ms()
        self._directory.confirmed(now_ms)
        if now_ms - self._confirmed_ms >= CONFIRM_EVERY_MS:
            self._confirmed_ms = now_ms
            with suppress(OSError):
                self._file.confirm()

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
            await asyncio.wait_for(self._woken.wait(), self._backoff.pause_s(retry_after_s))


async def _awaited(work: Awaitable[str]) -> str:
    return await work


class _Cursor(msgspec.Struct, frozen=True):
    cursor: int = 0


def _cursor_of(answer: Answer) -> int:
    """Return what the seal must be for; 0 where nobody can say, for which there is none."""
    try:
        return msgspec.json.decode(answer.body, type=_Cursor).cursor
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 0


def _read(answer: Answer, own: int, ground: Ground) -> Batch | None:
    """Return the batch of an answer; None when it came before. Raises DirectoryRefused for all that is not right."""
    if hashlib.sha256(answer.body).digest() != sha256_of(answer.headers.get("Content-Digest")):
        raise DirectoryRefused("these changes are not what upstream meant: their digest does not fit")
    try:
        sent = msgspec.json.decode(answer.body, type=_Changes)
    except (ValueError, RecursionError) as error:
        raise DirectoryRefused(f"these are no changes: {error}") from error
    if sent.cursor <= own and sent.after < own:
        return None
    if sent.after != own or not sent.after < sent.cursor <= CURSOR_MAX:
        message = f"changes after {sent.after} up to {sent.cursor} do not follow those up to {own}"
        raise DirectoryRefused(f"{message}: out of order")
    if len(sent.changes) > CHANGES_MAX:
        raise DirectoryRefused(f"{len(sent.changes)} changes in one answer are more than {CHANGES_MAX}")
    try:
        return read_batch(sent.changes, sent.after, sent.cursor, ground)
    except ImportRefused as refused:
        line, message = refused.problems[0]
        raise DirectoryRefused(f"change {line} of those up to {sent.cursor}: {message}") from refused

"""The disk: the journal's own committer on a real SQLite file, with commits that are late, fail, or are lost.

`SimWriter` stands where the writer's thread stands. What the disk would still have after a power cut is known from the
WAL itself: everything up to its end at the last commit that was synced. A crash image is a copy of the files, cut there
for a power cut and whole for a kill, and the next life opens the copy.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import gateway.domain.sieve as sieve_module
import gateway.store.committer as committer_module
from gateway.store.committer import Committer, Work
from gateway.store.errors import StorageUnavailable, from_sqlite
from gateway.store.writer import Outcome

if TYPE_CHECKING:
    from tests.simulation.observers import Observers
    from tests.simulation.timeline import Happening, Timeline

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
SYNCHRONOUS_FULL = 2
SIEVE_BITS = 1 << 14


def _sqlite_error(code: int, name: str, text: str) -> sqlite3.Error:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode, error.sqlite_errorname = code, name
    return error


class Disk:
    """What outlives the process, and what is wrong with it at present."""

    def __init__(self, folder: Path, timeline: Timeline, random: Random, observers: Observers) -> None:
        self.timeline = timeline
        self.random = random
        self.observers = observers
        self.faults = observers.faults
        self._folder = folder
        self.full = False
        self.failing = False
        self.fsync_fails = False
        self.slow_until_s = 0.0
        self.troubled_until_s = 0.0
        self.writer: SimWriter | None = None
        self.kill: Callable[..., None] | None = None
        self.doomed: Work | None = None
        self.kill_between = 0.0
        self._begin_life(0)

    def _begin_life(self, number: int) -> None:
        """Each life has a folder of its own."""
        self.path = self._folder / f"life-{number}" / "journal.db"
        self.path.parent.mkdir(parents=not number)
        self.wal_path = self.path.with_name("journal.db-wal")
        self._life = number

    @property
    def healthy(self) -> bool:
        return not (self.full or self.failing or self.fsync_fails or self.timeline.now_s < self.slow_until_s)

    def make_writer(self, committer: Committer) -> SimWriter:
        self.writer = SimWriter(self, committer)
        return self.writer

    def latency_s(self) -> float:
        if self.timeline.now_s < self.slow_until_s:
            self.faults.count("disk", "stalled")
            return self.random.uniform(0.5, 1.0) * (self.slow_until_s - self.timeline.now_s) + 0.001
        return self.random.choice((0.0003, 0.0008, 0.002, 0.006))

    def trouble(self) -> StorageUnavailable | None:
        if self.full:
            self.faults.count("disk", "full")
            return from_sqlite(_sqlite_error(sqlite3.SQLITE_FULL, "SQLITE_FULL", "full"), self.path)
        if self.failing:
            self.faults.count("disk", "I/O error")
            return from_sqlite(_sqlite_error(sqlite3.SQLITE_IOERR, "SQLITE_IOERR_WRITE", "i/o error"), self.path)
        if self.fsync_fails:
            self.faults.count("disk", "sync failed")
            error = _sqlite_error(sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC", "sync failed")
            return from_sqlite(error, self.path)
        return None

    def crash(self, *, power_cut: bool) -> None:
        """Leave a copy of what is on the disk for the next life."""
        old, old_wal, writer = self.path, self.wal_path, self.writer
        self._begin_life(self._life + 1)
        if writer is not None:
            _write(self.path, _read(old))
            _write(self.wal_path, self._left_of_wal(_read(old_wal), writer, power_cut=power_cut))
            writer.die()
        self.writer = None
        doomed, self.doomed = self.doomed, None
        if doomed is not None and not power_cut and self.random.random() < 0.5:
            self._keep_after_all(doomed)
        for file in (old, old_wal, old.with_name("journal.db-shm")):
            file.unlink(missing_ok=True)

    def _left_of_wal(self, data: bytes, writer: SimWriter, *, power_cut: bool) -> bytes:
        if not writer.alive:
            # Closed in order; what the last connection left is what there is.
            return data
        end, synced = writer.wal.end_bytes(), writer.synced_bytes()
        if power_cut and synced < end:
            # Some of what was written and never synced may have reached the disk, the last of it torn.
            end = self.random.choice((synced, self.random.randint(synced, end)))
            what = "lost what was not synced" if end == synced else "kept a part of what was not synced"
            self.faults.count("disk", what)
        return data[:end]

    def _keep_after_all(self, work: Work) -> None:
        """After a failed sync the kernel may show the next process what the last one was told is not there."""
        self.faults.count("disk", "kept what a failed sync lost")
        committer = Committer(self.path)
        committer.commit(work)
        committer.close()
        self.observers.written(work.rows, durable=False)

    def rows(self) -> list[tuple[int, bytes, int, bytes, bytes]]:
        """Read the journal past all of the gateway's code, and leave what a crash left to the next life."""
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        try:
            return connection.execute("SELECT seq, id, at_ms, body, hash FROM journal ORDER BY seq").fetchall()
        finally:
            connection.close()


class Wal:
    """Where the valid part of a WAL file ends."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self._salts = b""
        self._frames = 0
        self._frame_bytes = FRAME_HEADER_BYTES + 1024

    def place(self) -> tuple[bytes, int]:
        """Return the salts of the present WAL and how many of its frames are valid."""
        header = os.pread(self._file, HEADER_BYTES, 0)
        if len(header) < HEADER_BYTES or header[:2] != b"\x37\x7f":
            return b"", 0
        salts = header[16:24]
        if salts != self._salts:
            self._salts, self._frames = salts, 0
            (page_bytes,) = struct.unpack(">I", header[8:12])
            self._frame_bytes = FRAME_HEADER_BYTES + page_bytes
        while True:
            at = HEADER_BYTES + self._frames * self._frame_bytes
            frame = os.pread(self._file, FRAME_HEADER_BYTES, at)
            if len(frame) < FRAME_HEADER_BYTES or frame[8:16] != salts:
                return salts, self._frames
            self._frames += 1

    def bytes_at(self, frames: int) -> int:
        return HEADER_BYTES + frames * self._frame_bytes

    def end_bytes(self) -> int:
        salts, frames = self.place()
        return self.bytes_at(frames) if salts else 0

    def close(self) -> None:
        os.close(self._file)


class SimWriter:
    """Writes in virtual time: the commit happens at one moment, and the gateway hears of it at a later one."""

    def __init__(self, disk: Disk, committer: Committer) -> None:
        self._disk = disk
        self._committer = committer
        self.alive = True
        self._next: Happening | None = None
        self._work: Work | None = None
        self.alive = True
        self._on_done: Outcome | None = None
        self._error: StorageUnavailable | None = None
        self.wal = Wal(disk.path.with_name("journal.db-wal"))
        # Opening copies what was there into the database and syncs it.
        self._synced = self.wal.place()

    def synced_bytes(self) -> int:
        salts, _ = self.wal.place()
        return self.wal.bytes_at(self._synced[1]) if salts and salts == self._synced[0] else 0

    def submit(self, work: Work, on_done: Outcome) -> None:
        if not self.alive:
            return
        self._work, self._on_done = work, on_done
        self._next = self._disk.timeline.after(self._disk.latency_s(), self._commit)

    def wait(self) -> None:
        if self._next is None:
            raise AssertionError("the journal waits for nothing")
        self._next.cancel()
        if self._work is not None:
            self._commit()
            self._next.cancel()
        self._tell(self._error)

    def recover(self) -> None:
        if (error := self._disk.trouble()) is not None:
            raise error
        self._committer.recover()
        self._synced = self.wal.place()

    def ping(self, on_alive: Callable[[], None]) -> None:
        self._disk.timeline.after(self._disk.latency_s(), on_alive)

    def close(self) -> None:
        self.alive = False
        if self._next is not None:
            self._next.cancel()
        self._committer.close()
        self.wal.close()

    def die(self) -> None:
        if self.alive:
            self.alive = False
            if self._next is not None:
                self._next.cancel()
            self._committer._connection.close()
            self.wal.close()

    def _commit(self) -> None:
        work, self._work = self._work, None
        if not self.alive or work is None:
            return
        disk = self._disk
        self._error = disk.trouble()
        if self._error is not None and self._error.fatal:
            disk.doomed = work
        elif self._error is None:
            self._write(work)
            if work.rows and disk.random.random() < disk.kill_between:
                disk.kill(moment="killed between commit and news")
                return
        self._next = disk.timeline.after(disk.random.uniform(0.00002, 0.0004), self._tell, self._error)

    def _write(self, work: Work) -> None:
        disk = self._disk
        try:
            self._committer.commit(work)
        except StorageUnavailable as error:
            self._error = error
            return
        synced = work.must_last and self._is_full()
        if synced:
            self._synced = self.wal.place()
        disk.observers.written(work.rows, durable=synced)

    def _is_full(self) -> bool:
        ((level,),) = self._committer._connection.execute("PRAGMA synchronous").fetchall()
        return level >= SYNCHRONOUS_FULL

    def _tell(self, error: StorageUnavailable | None) -> None:
        on_done, self._on_done, self._next = self._on_done, None, None
        if not self.alive or on_done is None:
            return
        on_done(error)
        if self.alive and (self._committer.wants_checkpoint or self._disk.random.random() < 0.02):
            self._committer.checkpoint()
            self._synced = self.wal.place()


def _read(path: Path) -> bytes:
    """What a file holds; nothing where there is none."""
    with suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


def _write(path: Path, data: bytes) -> None:
    """Make a file that holds this; none for nothing."""
    if data:
        path.write_bytes(data)


def spare_memory() -> None:
    """A WAL that is made long in advance, and a large sieve, cost a simulated life more than much of what it does."""
    sieve_module.BITS = SIEVE_BITS
    sieve_module._MASK = SIEVE_BITS - 1
    committer_module.open_writer.__globals__["WAL_READY_BYTES"] = 4096

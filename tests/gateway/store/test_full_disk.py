"""Real failures of real files: a full disk, a disk that cannot sync, a disk that cannot be written."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.store import audit
from gateway.store.committer import Committer
from gateway.store.errors import from_sqlite
from gateway.store.journal import Journal, StorageUnavailable
from gateway.store.writer import ThreadWriter, Writer
from tests.gateway.store.journals import Told, Waiter, append, fold, row, rows

ROOT = Path(__file__).parents[3]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small disk; see the test with a small file")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run([mount, "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a small disk; see the test with a small file")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def _fill(journal: Journal) -> tuple[int, StorageUnavailable]:
    """Append until the disk is full; returns the last seq that was reported done, and the error."""
    seq, told = journal.last_seq, journal.last_seq
    while True:
        waiters = [Waiter() for _ in range(20)]
        for waiter in waiters:
            seq += 1
            try:
                journal.append([row(seq, "x" * 8000)], waiter)
            except StorageUnavailable:
                seq -= 1
        results = [waiter.future for waiter in waiters]
        for result in results:
            try:
                await result
                told += 1
            except StorageUnavailable as error:
                for other in results:
                    if other.done():
                        other.exception()
                return told, error


async def test_a_full_disk_refuses_everything_that_waits_and_recovers_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2 << 20))
    journal = Journal.open(small_disk / "journal.db")
    told, error = await _fill(journal)
    assert "the disk is full" in str(error)
    assert not error.fatal
    assert (journal.failed, journal.pending) == (error, 0)
    with pytest.raises(StorageUnavailable, match="the disk is full"):
        journal.append([row(told + 1)], Waiter())
    with pytest.raises(StorageUnavailable, match="the disk is full"):
        journal.fold([("k", "a", b"1")], None, Waiter())
    with pytest.raises(StorageUnavailable, match="the disk is full"):
        journal.recover()
    ballast.unlink()
    assert journal.recover() == told
    await append(journal, *rows(told + 1, 3))
    assert audit.verify(small_disk / "journal.db") == audit.Verdict(told + 3)
    journal.close()


async def test_a_file_at_its_bound_fails_all_behind_it_in_order_and_loses_nothing(path: Path) -> None:
    committers: list[Committer] = []

    def writer(committer: Committer) -> Writer:
        committers.append(committer)
        return ThreadWriter(committer, asyncio.get_running_loop())

    journal = Journal.open(path, writer=writer)
    await append(journal, *rows(1, 10))
    committers[0]._connection.execute("PRAGMA max_page_count = 60").fetchall()
    order: list[tuple[int, bool]] = []
    last = Waiter()
    for seq in range(11, 200):
        journal.append([row(seq, "x" * 900)], Told(seq, order))
    journal.fold([("k", "a", b"1")], 100, last)
    with pytest.raises(StorageUnavailable, match="full"):
        await last.wait()
    done = [seq for seq, well in order if well]
    assert [seq for seq, _ in order] == list(range(11, 200))
    assert done == list(range(11, 11 + len(done)))
    assert journal.recover() == 10 + len(done)
    assert journal.fold_seq == 0
    await append(journal, row(11 + len(done)))
    await fold(journal, [("k", "a", b"1")], 11 + len(done))
    journal.close()
    assert audit.verify(path).rows == 11 + len(done)


SYNC_FAILS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <unistd.h>
static int fails(void) { return access("SYNC_FAILS", F_OK) == 0; }
int fdatasync(int fd) {
    if (fails()) { errno = EIO; return -1; }
    return ((int (*)(int)) dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
int fsync(int fd) {
    if (fails()) { errno = EIO; return -1; }
    return ((int (*)(int)) dlsym(RTLD_NEXT, "fsync"))(fd);
}
"""

AFTER_A_FAILED_SYNC = """
import asyncio, pathlib
from gateway.store.journal import Journal, StorageUnavailable
from tests.gateway.store.journals import append, row

async def main():
    journal = Journal.open(pathlib.Path("journal.db"))
    await append(journal, row(1))
    flag = pathlib.Path("SYNC_FAILS")
    flag.touch()
    try:
        await append(journal, row(2))
    except StorageUnavailable as error:
        print("fatal" if error.fatal else "passing", error)
    flag.unlink()
    for attempt in (lambda: journal.append([row(2)], print), journal.recover):
        try:
            attempt()
        except StorageUnavailable as error:
            print("still fatal" if error.fatal else "passing")
    journal.close()

asyncio.run(main())
"""


def test_after_a_failed_sync_nothing_is_taken_until_a_new_process_has_read_the_disk(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler to make fdatasync fail")
    source, library = tmp_path / "fails.c", tmp_path / "fails.so"
    source.write_text(SYNC_FAILS)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", AFTER_A_FAILED_SYNC]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("fatal journal.db: the disk failed to keep what was written"), done.stderr
    assert lines[1:] == ["still fatal", "still fatal"]
    assert audit.verify(tmp_path / "journal.db").rows in (1, 2)


@pytest.mark.parametrize(
    ("code", "fatal", "words"),
    [
        (sqlite3.SQLITE_FULL, False, "the disk is full; free some space"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, False, "the disk is full"),
        (sqlite3.SQLITE_IOERR_WRITE, False, "the disk reports an error"),
        (sqlite3.SQLITE_READONLY_DBMOVED, False, "read-only"),
        (sqlite3.SQLITE_CANTOPEN, False, "cannot be opened"),
        (sqlite3.SQLITE_BUSY, False, "another program"),
        (sqlite3.SQLITE_IOERR_FSYNC, True, "failed to keep"),
        (sqlite3.SQLITE_IOERR_DIR_FSYNC, True, "failed to keep"),
        (sqlite3.SQLITE_CORRUPT, True, "damaged"),
        (sqlite3.SQLITE_NOTADB, True, "damaged"),
        (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, True, "refused"),
        (None, True, "refused"),
    ],
)
def test_failures_are_told_apart_by_their_code(code: int | None, fatal: bool, words: str) -> None:
    error = sqlite3.OperationalError("what SQLite says")
    if code is not None:
        error.sqlite_errorcode = code
    unavailable = from_sqlite(error, Path("journal.db"))
    assert unavailable.fatal is fatal
    assert words in str(unavailable)

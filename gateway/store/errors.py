"""What can go wrong with the disk, told apart by what to do about it."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path


class StorageUnavailable(Exception):
    """Nothing can be stored at present.

    `fatal` is True when what the process holds in memory can no longer be trusted: after a failed fsync the kernel may
    have dropped the data and still show it to us (Rebello et al., USENIX ATC 2020), so the daemon must exit and start
    again from the disk.
    """

    def __init__(self, message: str, *, fatal: bool = False) -> None:
        super().__init__(message)
        self.fatal = fatal


class JournalBusy(StorageUnavailable):
    """More rows wait for the disk than the bound allows (I9). Nothing was taken; try again in a moment."""


_SYNC_FAILED = frozenset({sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PASSING = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space there and it goes on by itself",
    sqlite3.SQLITE_READONLY: "the file or its disk is read-only; remount it writable or give the service the file",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; check that the folder exists and belongs to the service",
    sqlite3.SQLITE_PERM: "access is denied; check that the folder belongs to the service",
    sqlite3.SQLITE_IOERR: "the disk reports an error; check its cable or card, it is tried again",
    sqlite3.SQLITE_BUSY: "another program holds the file; close it",
    sqlite3.SQLITE_LOCKED: "another program holds the file; close it",
    sqlite3.SQLITE_NOMEM: "there is not enough memory; it is tried again",
}
_PRIMARY = 0xFF


def from_sqlite(error: sqlite3.Error, path: Path) -> StorageUnavailable:
    """Return what an error of SQLite means for the gateway, by its extended result code."""
    code = getattr(error, "sqlite_errorcode", None)
    if code in _SYNC_FAILED:
        return StorageUnavailable(f"{path}: the disk failed to keep what was written; replace it", fatal=True)
    # On a full disk it may be the WAL's index that finds no room first.
    primary = sqlite3.SQLITE_FULL if code == sqlite3.SQLITE_IOERR_SHMSIZE else (code or 0) & _PRIMARY
    if primary in _DAMAGED:
        message = f"{path}: the file is damaged; keep it for analysis and restore a copy, or move it away"
        return StorageUnavailable(message, fatal=True)
    if primary in _PASSING:
        return StorageUnavailable(f"{path}: {_PASSING[primary]} ({_name(error)})")
    # What is not known to pass is not trusted: a second writer, for one, shows as a broken constraint.
    return StorageUnavailable(f"{path}: the write was refused ({_name(error)}: {error}); starting again", fatal=True)


def from_os(error: OSError, path: Path) -> StorageUnavailable:
    """Return what an error of the operating system means for the gateway."""
    if error.errno == errno.ENOSPC:
        return StorageUnavailable(f"{path}: {_PASSING[sqlite3.SQLITE_FULL]}")
    return StorageUnavailable(f"{path}: {error.strerror}; check the disk and who owns the folder")


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", type(error).__name__)

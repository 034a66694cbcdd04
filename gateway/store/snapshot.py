"""A copy of a journal that somebody writes to, and putting a copy in a journal's place."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from gateway.store.database import copy_into, migrations, open_reader, sync_folder
from gateway.store.errors import StorageUnavailable, from_os, from_sqlite

_SUFFIXES = ("", "-wal", "-shm")


def known_schema() -> int:
    """Return the newest schema of the journal that this program can read."""
    return len(migrations())


def schema_of(path: Path) -> int:
    """Return the schema of a journal. Raises StorageUnavailable for what is none."""
    try:
        with closing(open_reader(path)) as connection:
            ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    except sqlite3.Error as error:
        raise from_sqlite(error, path) from error
    return int(version)


def copy_journal(source: Path, target: Path) -> None:
    """Copy a journal as it stands at one moment, beside a daemon that goes on writing to it.

    Raises StorageUnavailable.
    """
    if not source.exists():
        raise StorageUnavailable(f"{source} does not exist; the gateway makes it when it first runs")
    try:
        with closing(open_reader(source)) as connection:
            copy_into(connection, target)
    except sqlite3.Error as error:
        raise from_sqlite(error, target) from error


def replace_journal(path: Path, fresh: Path, kept_as: str) -> Path | None:
    """Put `fresh` in the place of the journal at `path`, which stays beside it under the name `kept_as`.

    Returns where the old one is, or None when there was none. Only while nobody has the journal open. A crash at any
    moment leaves the old one or the new one in place, never half of each. Raises StorageUnavailable.
    """
    try:
        kept = _keep(path, path.with_name(kept_as)) if path.exists() else None
        for suffix in ("-wal", "-shm"):
            # A log of the old journal would be played into the new one.
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        sync_folder(path.parent)
        fresh.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise from_os(error, path) from error
    return kept


def _keep(path: Path, kept: Path) -> Path:
    """Give the old journal a second name, with its log copied into it where that can be done."""
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for suffix in _SUFFIXES:
        found = path.with_name(path.name + suffix)
        if found.exists():
            os.link(found, kept.with_name(kept.name + suffix))
    return kept

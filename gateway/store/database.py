"""Opening `journal.db`: the settings its durability and its bytes per tap rest on, and its migrations."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from functools import lru_cache
from importlib import resources
from pathlib import Path

import structlog

from gateway.store.errors import StorageUnavailable, from_os, from_sqlite

log = structlog.get_logger(__name__)

PAGE_BYTES = 1024
"""A commit of one row writes one WAL frame of this size and its header: a third fewer bytes than with pages of 4 KB."""
FRAME_BYTES = PAGE_BYTES + 24
CACHE_KIB = 1024
WAL_READY_BYTES = 2 << 20
"""The WAL is this long from the start. A commit that lengthens a file must sync the file system's books too, and takes
half as long again; one that writes over what is there does not."""
ZEROS = bytes(4096)
KEPT_SUFFIX = ".before-schema-"
"""The journal as it was before a migration stays beside it under this name and the number of the newer schema."""
BUSY_S = 1.0
"""How long to wait for another program, such as one that only opens the file, to let go of it."""


def open_writer(path: Path) -> sqlite3.Connection:
    """Open or create the journal for writing, bring its schema up to date and recover what a crash left.

    Raises StorageUnavailable when it cannot be opened or written, or is of a newer version.
    """
    try:
        is_new = not path.exists()
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            _set_up(connection, path)
            if is_new:
                sync_folder(path.parent)
            _lengthen(path.with_name(f"{path.name}-wal"))
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise from_sqlite(error, path) from error
    except OSError as error:
        raise from_os(error, path) from error
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the journal for reading only. Every statement must be finished at once: an open one pins the WAL."""
    try:
        address = f"{path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(address, uri=True, timeout=BUSY_S, isolation_level=None)
        try:
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise from_sqlite(error, path) from error
    return connection


def sync_folder(folder: Path) -> None:
    """Make the names in a folder as durable as the files. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    for setting in (
        f"page_size = {PAGE_BYTES}",
        "journal_mode = WAL",
        "synchronous = FULL",
        # Checkpoints come when the writer chooses, never inside a tap's commit.
        "wal_autocheckpoint = 0",
        # Zeroing freed pages would write the content of every print job twice.
        "secure_delete = FAST",
        f"cache_size = -{CACHE_KIB}",
    ):
        connection.execute(f"PRAGMA {setting}").fetchall()
    _migrate(connection, path)
    # After a failed fsync and a restart the kernel may show WAL frames that are not on the disk. Copying them into the
    # file and syncing that makes true what is about to be believed.
    connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()


def _lengthen(wal: Path) -> None:
    """Add zeros to the WAL. SQLite takes what follows its newest frame for no frame, whatever it is."""
    with wal.open("ab", buffering=0) as file:
        # In small pieces: the kernel keeps the pieces as they came, and counts a small write to a large one as large.
        for _ in range(file.tell(), WAL_READY_BYTES, len(ZEROS)):
            file.write(ZEROS)
        os.fsync(file.fileno())


@lru_cache(maxsize=1)
def migrations() -> tuple[str, ...]:
    """Return the scripts that make a journal of each schema from the one before; as many as the newest schema says."""
    folder = resources.files("gateway.store") / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return tuple(file.read_text(encoding="utf-8") for file in files)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply every migration the file has not seen, all or none of them, and keep the journal as it was before."""
    scripts = migrations()
    known = len(scripts)
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    if version > known:
        message = f"{path} was written by a newer venue-gateway (schema {version}, this one knows {known})"
        raise StorageUnavailable(f"{message}; install that version again or restore a backup", fatal=True)
    if version == known:
        return
    kept = _keep(connection, path, known) if version else None
    connection.executescript(f"BEGIN; {' '.join(scripts[version:])} PRAGMA user_version = {known}; COMMIT;")
    if kept is not None:
        log.warning("journal_migrated", schema_before=version, schema=known, kept=kept.name)
        for older in set(path.parent.glob(f"{path.name}{KEPT_SUFFIX}*")) - {kept}:
            older.unlink(missing_ok=True)


def _keep(connection: sqlite3.Connection, path: Path, schema: int) -> Path:
    """Copy a journal of an older schema before it gets a newer one, however the newer program came here.

    The copy has its name only once it is whole and on the disk. Without room for it nothing is migrated.
    """
    kept = path.with_name(f"{path.name}{KEPT_SUFFIX}{schema}")
    draft = kept.with_name(f"{kept.name}.partial")
    try:
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        copy_into(connection, draft)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(kept)
        sync_folder(path.parent)
    except (sqlite3.Error, OSError) as error:
        told = from_sqlite(error, kept) if isinstance(error, sqlite3.Error) else from_os(error, kept)
        message = f"the copy that is kept before the journal is migrated cannot be made, so nothing was changed: {told}"
        raise StorageUnavailable(message, fatal=True) from error
    finally:
        draft.unlink(missing_ok=True)
    return kept


def copy_into(connection: sqlite3.Connection, target: Path) -> None:
    """Copy a whole database, as it stands at one moment, into one file. Raises sqlite3.Error.

    All of it in one step: SQLite begins anew whenever another process has written between two, which under load would
    never end. Readers and the writer of a WAL do not wait for each other.
    """
    with closing(sqlite3.connect(target)) as copy:
        connection.backup(copy, pages=-1)
        # A copy is one file: nothing of it may stand in a log beside it.
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        ((found,),) = copy.execute("PRAGMA quick_check(1)").fetchall()
    if found != "ok":
        raise StorageUnavailable(f"{target}: the copy is damaged ({found}); use another card", fatal=True)


def execute_rows(connection: sqlite3.Connection, head: str, columns: int, values: list[object], tail: str = "") -> None:
    """Run `head` over rows of `columns` values as ONE statement; `values` are all rows in a line, the first never None.

    `executemany` would give up the interpreter lock once a row, and taking it back from a busy event loop can cost
    5 ms each time; one statement gives it up once a batch. Row counts are padded to powers of two with NULL rows that
    the statement leaves out, so that a handful of prepared statements serve every batch.
    """
    rows = len(values) // columns
    padded = 1 << (rows - 1).bit_length()
    values.extend([None] * ((padded - rows) * columns))
    connection.execute(_statement(head, columns, padded, tail), values)


@lru_cache(maxsize=64)
def _statement(head: str, columns: int, rows: int, tail: str) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"{head} SELECT * FROM (VALUES {', '.join([row] * rows)}) WHERE column1 IS NOT NULL {tail}"  # noqa: S608

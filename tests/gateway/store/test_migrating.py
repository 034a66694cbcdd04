"""A journal of an older schema: copied before it is migrated, whichever way the newer program came."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store import audit, database
from gateway.store.journal import Journal, StorageUnavailable
from gateway.store.snapshot import schema_of
from tests.gateway.store.journals import append, rows

BEFORE = database.migrations()
NEWER = "CREATE TABLE newer (value TEXT) STRICT;"


async def written(path: Path) -> None:
    """Leave a journal with rows."""
    journal = Journal.open(path)
    await append(journal, *rows(1, 30))
    journal.close()


def know(patch: pytest.MonkeyPatch, *more: str) -> None:
    """Let the program know as many schemas more."""
    patch.setattr(database, "migrations", lambda: [*BEFORE, *more])


def kept_beside(path: Path) -> list[str]:
    return sorted(one.name for one in path.parent.glob("*.before-schema-*"))


async def test_what_was_before_is_kept_whole_and_for_the_service_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await written(path)
    know(monkeypatch, NEWER)
    journal = Journal.open(path)
    assert journal.last_seq == 30
    journal.close()
    assert schema_of(path) == len(BEFORE) + 1
    kept = path.with_name(f"{path.name}.before-schema-{len(BEFORE) + 1}")
    assert kept_beside(path) == [kept.name]
    assert kept.stat().st_mode & 0o777 == 0o600
    know(monkeypatch)
    verdict = audit.verify(kept)
    assert (verdict.rows, verdict.bad_seq, schema_of(kept)) == (30, None, len(BEFORE))


async def test_a_new_journal_and_one_of_this_schema_have_no_copy(path: Path) -> None:
    await written(path)
    await written(path.with_name("other.db"))
    Journal.open(path).close()
    assert not kept_beside(path)


async def test_only_the_newest_copy_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await written(path)
    know(monkeypatch, NEWER)
    Journal.open(path).close()
    know(monkeypatch, NEWER, "CREATE TABLE newest (value TEXT) STRICT;")
    Journal.open(path).close()
    assert kept_beside(path) == [f"{path.name}.before-schema-{len(BEFORE) + 2}"]


async def test_a_migration_that_fails_changes_nothing_and_the_copy_is_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await written(path)
    know(monkeypatch, NEWER, "CREATE TABLE newer (again TEXT) STRICT;")
    with pytest.raises(StorageUnavailable):
        Journal.open(path)
    know(monkeypatch)
    assert schema_of(path) == len(BEFORE)
    assert len(kept_beside(path)) == 1
    Journal.open(path).close()


async def test_without_room_for_the_copy_nothing_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await written(path)

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    know(monkeypatch, NEWER)
    monkeypatch.setattr(database, "copy_into", full)
    with pytest.raises(StorageUnavailable, match=r"nothing was changed.*the disk is full; free some space") as caught:
        Journal.open(path)
    assert caught.value.fatal
    assert schema_of(path) == len(BEFORE)
    assert not kept_beside(path)


async def test_a_copy_cut_short_is_made_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await written(path)
    partial = path.with_name(f"{path.name}.before-schema-{len(BEFORE) + 1}.partial")
    partial.write_bytes(b"half of it")
    know(monkeypatch, NEWER)
    Journal.open(path).close()
    assert kept_beside(path) == [partial.name.removesuffix(".partial")]
    with closing(sqlite3.connect(path.with_name(kept_beside(path)[0]))) as connection:
        assert connection.execute("SELECT count(*) FROM journal").fetchall() == [(30,)]

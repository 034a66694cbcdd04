"""A real journal on a real disk, and rows to put into it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from gateway.store.journal import Journal, Row, StorageUnavailable

NOTHING: Mapping[str, bytes] = {}
WAIT_S = 10


def row(seq: int, text: str = "") -> Row:
    return Row(seq, seq.to_bytes(16), 1_780_000_000_000 + seq, b'{"kind":"test","text":"%s"}' % text.encode())


def rows(first: int, count: int) -> list[Row]:
    return [row(seq) for seq in range(first, first + count)]


class Waiter:
    """A `done` callback that a test can await; it raises what the journal reports."""

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __call__(self, error: StorageUnavailable | None) -> None:
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)

    async def wait(self) -> None:
        await asyncio.wait_for(self.future, WAIT_S)


class Told:
    """A `done` callback that writes down its number and whether all went well."""

    def __init__(self, number: int, told: list[tuple[int, bool]]) -> None:
        self._number, self._told = number, told

    def __call__(self, error: StorageUnavailable | None) -> None:
        self._told.append((self._number, error is None))


async def append(journal: Journal, *new: Row, attachments: Mapping[str, bytes] = NOTHING) -> None:
    waiter = Waiter()
    journal.append(new, waiter, attachments=attachments)
    await waiter.wait()


async def fold(journal: Journal, new: list[tuple[str, str, bytes | None]], through_seq: int | None) -> None:
    waiter = Waiter()
    journal.fold(new, through_seq, waiter)
    await waiter.wait()


def alter(path: Path, *statements: str) -> None:
    """Do to a closed journal what nobody should."""
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def scribble(path: Path) -> None:
    path.write_bytes(b"This is a text and no database. " * 200)


def size_of(path: Path) -> int:
    return path.stat().st_size

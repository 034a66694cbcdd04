"""Builds a new directory file from the one in force and what has changed since, off the path of any tap."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from gateway.store.directory import DIRECTORY_FILE, Directory
from gateway.store.directory_file import DirectoryFile
from gateway.store.directory_overlay import Overlay
from gateway.store.directory_types import StoredEntitlement
from gateway.store.errors import StorageUnavailable, from_os, from_sqlite
from gateway.store.importing import alone

_decode = msgspec.msgpack.Decoder(tuple[StoredEntitlement, ...]).decode
_encode = msgspec.msgpack.Encoder().encode


def fold_directory(state_dir: Path) -> int:
    """Write everything that is in force into a new `directory.db`; returns the cursor up to which it is in there.

    Raises ImportRefused while an import runs, and StorageUnavailable when the disk fails; nothing has changed then.
    """
    path = state_dir / DIRECTORY_FILE
    try:
        with alone(state_dir):
            return _fold(state_dir, path)
    except sqlite3.Error as error:
        raise StorageUnavailable(str(from_sqlite(error, path))) from error
    except OSError as error:
        raise from_os(error, path) from error


def _fold(state_dir: Path, path: Path) -> int:
    directory = Directory.open(state_dir)
    overlay = directory.overlay
    old = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    file = DirectoryFile(state_dir)
    try:
        counted = _Counted(old, overlay)
        counts = msgspec.structs.replace(
            overlay.summary.counts,
            schedules=len(overlay.summary.schedules),
            zones=len(overlay.summary.zones),
            issuer_keys=len(overlay.summary.issuer_keys),
        )
        summary = msgspec.structs.replace(
            overlay.summary, version=f"{overlay.summary.origin}+{overlay.cursor}", counts=counts, cursor=overlay.cursor
        )
        file.write(counted.credentials(), counted.entitlements(), counted.wallets(), lambda: counted.whole(summary))
        file.publish()
    finally:
        file.close()
        old.close()
        directory.close()
    return overlay.cursor


class _Counted:
    """The merged tables in the order of their keys, counted as they pass."""

    def __init__(self, old: sqlite3.Connection, overlay: Overlay) -> None:
        self._old = old
        self._overlay = overlay
        self._passed = {"credentials": 0, "entitlements": 0, "wallets": 0}

    def whole(self, summary: Any) -> Any:  # noqa: ANN401
        return msgspec.structs.replace(summary, counts=msgspec.structs.replace(summary.counts, **self._passed))

    def credentials(self) -> Iterator[tuple[Any, ...]]:
        query = "SELECT ref, holder, state, valid_until_ms, kind FROM credentials ORDER BY ref"
        for row in _merged(self._old.execute(query), self._overlay.credentials):
            self._passed["credentials"] += 1
            yield row

    def wallets(self) -> Iterator[tuple[Any, ...]]:
        query = "SELECT holder, balance_minor, currency, counted_minor FROM wallets ORDER BY holder"
        for row in _merged(self._old.execute(query), self._overlay.wallets):
            self._passed["wallets"] += 1
            yield row

    def entitlements(self) -> Iterator[tuple[Any, ...]]:
        rows = self._old.execute("SELECT holder, body FROM entitlements ORDER BY holder")
        untouched: dict[str, tuple[Any, ...] | None] = dict.fromkeys(self._overlay.entitlements, ())
        for holder, body in _merged_with(rows, untouched, lambda holder: (holder, b"\x90")):
            changed = holder in self._overlay.entitlements
            held = tuple(self._overlay.held_by(holder, _decode(body))) if changed else _decode(body)
            self._passed["entitlements"] += len(held)
            if held:
                yield holder, _encode(held) if changed else body


def _merged(
    rows: Iterator[tuple[Any, ...]], changed: Mapping[Any, tuple[Any, ...] | None]
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows with what has changed in its place; None is left out."""
    for row in _merged_with(rows, changed, lambda key: (key,)):
        if row[0] not in changed:
            yield row
        elif (values := changed[row[0]]) is not None:
            yield (row[0], *values)


def _merged_with(
    rows: Iterator[tuple[Any, ...]],
    changed: Mapping[Any, tuple[Any, ...] | None],
    new: Callable[[Any], tuple[Any, ...]],
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows, and for each changed key that none of them has a new one, all in the order of the keys."""
    waiting = iter(sorted(changed))
    next_key = next(waiting, None)
    for row in rows:
        while next_key is not None and next_key < row[0]:
            yield new(next_key)
            next_key = next(waiting, None)
        if next_key == row[0]:
            next_key = next(waiting, None)
        yield row
    while next_key is not None:
        yield new(next_key)
        next_key = next(waiting, None)

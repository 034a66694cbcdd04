"""What changed since the directory's file was built: a small layer over it, in memory and in a file beside it.

The file of a directory is never changed in place. A batch of changes is appended to `directory.changes`, synced, and
laid over the file in memory, all of it between two taps. When there are many, `directory_fold` builds a new file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from gateway.domain.schedules import Schedule
from gateway.domain.tickets import IssuerKey
from gateway.store.database import sync_folder
from gateway.store.directory_types import StoredEntitlement, Summary
from gateway.store.owners import own_like_folder

CHANGES_FILE = "directory.changes"
CHECK_BYTES = 8
LENGTH_BYTES = 4
RECORD_BYTES_MAX = 64 << 20
FILE_MODE = 0o640
NS_PER_MS = 1_000_000

T = TypeVar("T")
CredentialValues = tuple[str, int, int | None, int]
"""holder, state, valid_until_ms, kind."""
WalletValues = tuple[int, str, int]
"""balance_minor, currency, counted_minor."""


class Named(msgspec.Struct, Generic[T], frozen=True, array_like=True):
    """A zone, schedule or issuer key as it is from now on; without `kept` it is gone."""

    id: str
    kept: bool
    value: T | None = None


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Changes that come into force together, after `after` and up to `cursor`. None stands for what is gone.

    They belong to the import `origin` alone: upstream may have begun to count anew.
    """

    after: int
    cursor: int
    origin: str
    credentials: tuple[tuple[bytes, CredentialValues | None], ...] = ()
    entitlements: tuple[tuple[str, str, StoredEntitlement | None], ...] = ()
    wallets: tuple[tuple[str, WalletValues | None], ...] = ()
    zones: tuple[Named[str], ...] = ()
    schedules: tuple[Named[Schedule], ...] = ()
    issuer_keys: tuple[Named[IssuerKey], ...] = ()

    @property
    def rows(self) -> int:
        """How many changes there are."""
        many: tuple[Sequence[object], ...] = (self.credentials, self.entitlements, self.wallets)
        few: tuple[Sequence[object], ...] = (self.zones, self.schedules, self.issuer_keys)
        return sum(map(len, (*many, *few)))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Batch).decode


class Overlay:
    """All changes since the file. Empty, it costs a look-up nothing."""

    def __init__(self, summary: Summary) -> None:
        """Begin with nothing over a file with this summary."""
        self.summary = summary
        self.batches: list[Batch] = []
        self.rows = 0
        self.credentials: dict[bytes, CredentialValues | None] = {}
        self.entitlements: dict[str, dict[str, StoredEntitlement | None]] = {}
        self.wallets: dict[str, WalletValues | None] = {}

    @property
    def cursor(self) -> int:
        """How far upstream's changes are in force; 0 for a directory that did not come from there."""
        return self.batches[-1].cursor if self.batches else self.summary.cursor

    def lay(self, batch: Batch) -> None:
        """Bring a batch into force, all of it at once. Raises ValueError for one that does not follow."""
        if batch.after != self.cursor or batch.cursor <= batch.after:
            raise ValueError(f"changes after {batch.after} do not follow those up to {self.cursor}")
        self.batches.append(batch)
        self.rows += batch.rows
        self.credentials.update(batch.credentials)
        self.wallets.update(batch.wallets)
        for holder, entitlement_id, stored in batch.entitlements:
            self.entitlements.setdefault(holder, {})[entitlement_id] = stored
        if batch.zones or batch.schedules or batch.issuer_keys:
            self.summary = with_names(self.summary, batch)

    def held_by(self, holder: str, stored: Iterable[StoredEntitlement]) -> Iterator[StoredEntitlement]:
        """Yield what a holder has, from what the file says of them."""
        changed = self.entitlements.get(holder)
        if changed is None:
            yield from stored
            return
        known = set()
        for one in stored:
            known.add(one.id)
            if (now := changed.get(one.id, one)) is not None:
                yield now
        yield from (one for key, one in changed.items() if one is not None and key not in known)


def with_names(summary: Summary, batch: Batch) -> Summary:
    """Return the summary with the batch's zones, schedules and issuer keys."""
    keys = _named({key.id: key for key in summary.issuer_keys}, batch.issuer_keys)
    zones = dict(summary.zones)
    for zone in batch.zones:
        zones.pop(zone.id, None)
        if zone.kept:
            zones[zone.id] = zone.value
    return msgspec.structs.replace(
        summary,
        zones=zones,
        schedules=_named(summary.schedules, batch.schedules),
        issuer_keys=tuple(keys.values()),
    )


def _named(now: dict[str, T], changes: Iterable[Named[T]]) -> dict[str, T]:
    changed = dict(now)
    for one in changes:
        changed.pop(one.id, None)
        if one.kept and one.value is not None:
            changed[one.id] = one.value
    return changed


class ChangeFile:
    """The batches on disk. Every method blocks, and raises OSError when the disk does not take it."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / CHANGES_FILE

    def load(self, summary: Summary) -> list[Batch]:
        """Return the batches that follow on a file with this summary; what a crash left half written is left out."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        followed, after = [], summary.cursor
        for batch in _records(content):
            if batch.after == after and batch.origin == summary.origin:
                followed.append(batch)
                after = batch.cursor
        return followed

    def trim(self) -> None:
        """Cut off what a crash left half written: it would hide all that comes after it."""
        if self.path.exists():
            content = self.path.read_bytes()
            whole = sum(len(_record(batch)) for batch in _records(content))
            if whole < len(content):
                confirmed_ms = self.confirmed_ms()
                os.truncate(self.path, whole)
                self.confirm(confirmed_ms)

    def append(self, batch: Batch) -> None:
        """Add a batch; when this returns it is on the disk."""
        is_new, confirmed_ms = not self.path.exists(), self.confirmed_ms()
        with self.path.open("ab") as file:
            end = file.tell()
            try:
                file.write(_record(batch))
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                # Half a record would hide all that come after it.
                os.truncate(self.path, end)
                raise
            own_like_folder(file.fileno(), self.path.parent)
        self.confirm(confirmed_ms)
        if is_new:
            self.path.chmod(FILE_MODE)
            sync_folder(self.path.parent)

    def replace(self, batches: Iterable[Batch]) -> None:
        """Keep these batches only, at once and for good."""
        draft, confirmed_ms = self.path.with_name(f"{CHANGES_FILE}.new"), self.confirmed_ms()
        with draft.open("wb") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            own_like_folder(file.fileno(), self.path.parent)
            for batch in batches:
                file.write(_record(batch))
            file.flush()
            os.fsync(file.fileno())
        _stamp(draft, confirmed_ms)
        draft.replace(self.path)
        sync_folder(self.path.parent)

    def confirm(self, at_ms: int) -> None:
        """Write down that upstream had nothing newer at this time, in UTC milliseconds.

        It is the time on the file, which nothing else sets: what is written here makes the directory no younger.
        """
        _stamp(self.path, at_ms)

    def confirmed_ms(self) -> int:
        """Return when upstream last said so, in UTC milliseconds; 0 when it never did."""
        try:
            return self.path.stat().st_mtime_ns // NS_PER_MS
        except FileNotFoundError:
            return 0


def _stamp(file: Path, at_ms: int) -> None:
    os.utime(file, ns=(at_ms * NS_PER_MS, at_ms * NS_PER_MS))


def _record(batch: Batch) -> bytes:
    body = _encode(batch)
    return len(body).to_bytes(LENGTH_BYTES) + blake2b(body, digest_size=CHECK_BYTES).digest() + body


def _records(content: bytes) -> Iterator[Batch]:
    place = 0
    while len(content) - place > LENGTH_BYTES + CHECK_BYTES:
        length = int.from_bytes(content[place : place + LENGTH_BYTES])
        start = place + LENGTH_BYTES + CHECK_BYTES
        body = content[start : start + length]
        check = content[place + LENGTH_BYTES : start]
        if len(body) != length or blake2b(body, digest_size=CHECK_BYTES).digest() != check:
            # A crash cut it short: upstream sends it again.
            return
        yield _decode(body)
        place = start + length

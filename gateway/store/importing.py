"""Imports a directory from NDJSON: all of it or nothing, while taps go on.

Every problem of the file is counted and the first ones are named by line; the directory in use stays untouched until
the new one is whole and on disk.
"""

from __future__ import annotations

import difflib
import fcntl
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from gateway.domain.schedules import Schedule
from gateway.domain.tickets import IssuerKey, public_key_bytes
from gateway.store.credentials import CredentialKey
from gateway.store.directory import CREDENTIAL_KINDS, CREDENTIAL_STATES, Counts, StoredEntitlement, Summary
from gateway.store.directory_file import DirectoryFile, StagedCredential, StagedEntitlement, StagedWallet
from gateway.store.directory_rows import (
    LINE_BYTES_MAX,
    CredentialRow,
    EntitlementRow,
    IssuerKeyRow,
    RowError,
    ScheduleRow,
    WalletRow,
    ZoneRow,
    is_em4100,
    parse,
    to_ms,
)
from gateway.store.errors import StorageUnavailable, from_os, from_sqlite
from gateway.store.owners import own_like_folder

PROBLEMS_LISTED = 20
CHUNK_ROWS = 1000
NAMES_MAX = 10_000
"""Zones and schedules are kept in memory, so their number is bounded."""
ISSUER_KEYS_MAX = 1_000
NO_LINE = 0
"""The line of a problem that is not about one line; they count from 1."""
PIECE_BYTES = LINE_BYTES_MAX + 2
"""Of an endless line only pieces are read, each too long to be taken for a row."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_EMPTY = "there is no credential in it, so nobody could come in; if that is what you want, add --empty"

T = TypeVar("T")
Progress = Callable[[int, int], None]
_encode = msgspec.msgpack.Encoder().encode
_STATES = {state: place for place, state in enumerate(CREDENTIAL_STATES)}
_KINDS = {kind: place for place, kind in enumerate(CREDENTIAL_KINDS)}


class ImportReport(msgspec.Struct, frozen=True):
    """What an import brought."""

    version: str
    rows: int
    credentials: int
    entitlements: int
    schedules: int
    zones: int
    issuer_keys: int = 0
    wallets: int = 0


class ImportRefused(Exception):
    """Nothing was imported. `problems` are the first ones as (line, message), `count` is how many there are."""

    def __init__(self, problems: list[tuple[int, str]], count: int) -> None:
        what = "1 row cannot be taken" if count == 1 else f"{count} rows cannot be taken"
        if all(line == NO_LINE for line, _ in problems):
            what = "nothing was imported"
        super().__init__(f"{what}; the directory in use stays as it is")
        self.problems = problems
        self.count = count


def import_directory(
    source: Path,
    state_dir: Path,
    key: CredentialKey,
    *,
    known_zones: Collection[str],
    progress: Progress,
    timezone: ZoneInfo,
    allow_empty: bool = False,
    cursor: int = 0,
) -> ImportReport:
    """Make `<state_dir>/directory.db` from the NDJSON file `source`.

    `known_zones` are those of the configuration, `timezone` is the venue's and only used to word a correction.
    `progress(rows, bytes)` is called now and then with what was read so far; `cursor` is how many of upstream's changes
    are in it, 0 for a file of another origin. Raises ImportRefused when any row is
    wrong, when no row is a credential (unless `allow_empty`), or when another import runs, and StorageUnavailable when
    the disk fails; in each case nothing has changed.
    """
    try:
        with alone(state_dir), source.open("rb") as lines:
            return Import(state_dir, key, known_zones, timezone, cursor).run(lines, progress, allow_empty=allow_empty)
    except sqlite3.Error as error:
        raise _storage_error(error, state_dir) from error
    except OSError as error:
        raise from_os(error, Path(error.filename) if error.filename else state_dir) from error


class Import:
    """One import: read and check, stage, build, publish."""

    def __init__(
        self, state_dir: Path, key: CredentialKey, known_zones: Collection[str], timezone: ZoneInfo, cursor: int
    ) -> None:
        self._cursor = cursor
        self._known_schedules: Collection[str] = ()
        self._state_dir, self._key, self._timezone = state_dir, key, timezone
        self._known_zones = frozenset(known_zones)
        self._credentials: list[StagedCredential] = []
        self._entitlements: list[StagedEntitlement] = []
        self._ids: list[str] = []
        self._wallets: list[StagedWallet] = []
        self._schedules: dict[str, Schedule] = {}
        self._zones: dict[str, str | None] = {}
        self._issuer_keys: dict[str, IssuerKey] = {}
        self._zones_asked: dict[str, int] = {}
        self._schedules_asked: dict[str, int] = {}
        self._problems: list[tuple[int, str]] = []
        self._problem_count = 0
        self._staged = [0, 0, 0]

    def run(self, lines: BinaryIO, progress: Progress, *, allow_empty: bool) -> ImportReport:
        """Do it, all or nothing. Raises ImportRefused, sqlite3.Error and OSError."""
        file = DirectoryFile(self._state_dir)
        try:
            rows, version = self._read(lines, file, progress)
            self._check_names()
            file.find_repeated_entitlements(self._problem)
            self._refuse_if_wrong()
            if not self._staged[0] and not allow_empty:
                raise ImportRefused([(NO_LINE, _EMPTY)], 1)
            summary = self._summary(version)
            file.build(summary, self._problem)
            self._refuse_if_wrong()
            file.publish()
        finally:
            file.close()
        counts = summary.counts
        return ImportReport(version, rows, *msgspec.structs.astuple(counts))

    def _read(self, lines: BinaryIO, file: DirectoryFile, progress: Progress) -> tuple[int, str]:
        digest, size_bytes, before, rows = blake2b(digest_size=8), 0, 0, 0
        while chunk := list(islice(iter(partial(lines.readline, PIECE_BYTES), b""), CHUNK_ROWS)):
            content = b"".join(chunk)
            digest.update(content)
            size_bytes += len(content)
            if not before:
                chunk[0] = chunk[0].removeprefix(BYTE_ORDER_MARK)
            for number, line in enumerate(chunk, start=before + 1):
                if line and not line.isspace():
                    rows += 1
                    self._take(number, line)
            before += len(chunk)
            self._stage(file, len(content))
            progress(rows, size_bytes)
        return rows, digest.hexdigest()

    def _take(self, number: int, line: bytes) -> None:
        try:
            row = parse(line)
            if isinstance(row, CredentialRow):
                self._take_credential(number, row)
            elif isinstance(row, EntitlementRow):
                self._take_entitlement(number, row)
            elif isinstance(row, ScheduleRow):
                _add_name(self._schedules, row.id, row.schedule(), "schedule")
            elif isinstance(row, IssuerKeyRow):
                self._take_issuer_key(row)
            elif isinstance(row, WalletRow):
                self._wallets.append((row.holder, row.balance_minor, row.currency, row.counted_minor, number))
            else:
                self._take_zone(number, row)
        except RowError as error:
            self._problem(number, str(error))

    def _take_credential(self, number: int, row: CredentialRow) -> None:
        if row.technology == "em4100" and not is_em4100(row.value):
            # The value itself is not shown: an error must not name a card.
            raise RowError("value: an em4100 number has ten hexadecimal digits, as its reader sends them")
        ref = self._key.ref_bytes(row.technology, row.value)
        valid_until_ms = to_ms(row.valid_until, "valid_until", self._timezone)
        state, kind = _STATES[row.state], _KINDS[row.kind or ""]
        self._credentials.append((ref, row.holder, state, valid_until_ms, kind, number))

    def _take_entitlement(self, number: int, row: EntitlementRow) -> None:
        valid_from_ms, valid_until_ms = self._validity(row)
        row.check()
        for zone in row.zones or ():
            if zone not in self._zones_asked:
                _ask_name(self._zones_asked, zone, number, "zones")
        if row.schedule is not None:
            _ask_name(self._schedules_asked, row.schedule, number, "schedules")
        stored = StoredEntitlement(
            row.id,
            tuple(row.zones or ()),
            valid_from_ms,
            valid_until_ms,
            row.schedule,
            row.uses,
            row.reentry,
            row.uses_per_day,
            row.item,
        )
        self._ids.append(row.id)
        self._entitlements.append((row.holder, _encode(stored), number))

    def _validity(self, row: EntitlementRow | IssuerKeyRow) -> tuple[int | None, int | None]:
        valid_from_ms = to_ms(row.valid_from, "valid_from", self._timezone)
        valid_until_ms = to_ms(row.valid_until, "valid_until", self._timezone)
        if valid_from_ms is not None and valid_until_ms is not None and valid_from_ms >= valid_until_ms:
            raise RowError("valid_until: must be later than valid_from")
        return valid_from_ms, valid_until_ms

    def _take_issuer_key(self, row: IssuerKeyRow) -> None:
        try:
            public_key_bytes(row.public_key)
        except ValueError as error:
            raise RowError(f"public_key: {error}") from None
        for other in self._issuer_keys.values():
            # Two ids for one key could say active and revoked of it; the ticket's own footer would choose.
            if other.public_key == row.public_key and other.id != row.id:
                raise RowError(f"public_key: {other.id!r} is the same key; a key has one id, one issuer and one state")
        key = IssuerKey(row.id, row.issuer, row.public_key, row.state, *self._validity(row))
        _add_name(self._issuer_keys, row.id, key, "issuer key", ISSUER_KEYS_MAX)

    def _take_zone(self, number: int, row: ZoneRow) -> None:
        if row.within is not None:
            _ask_name(self._zones_asked, row.within, number, "zones")
        _add_name(self._zones, row.id, row.within, "zone")

    def _stage(self, file: DirectoryFile, size_bytes: int) -> None:
        self._staged[0] += len(self._credentials)
        self._staged[1] += len(self._entitlements)
        self._staged[2] += len(self._wallets)
        # Once a row is wrong nothing will be built, but the rest is still read for its own problems.
        if not self._problem_count:
            file.stage_credentials(self._credentials, size_bytes)
            file.stage_entitlements(self._entitlements, self._ids, size_bytes)
            file.stage_wallets(self._wallets, size_bytes)
        self._credentials, self._entitlements, self._ids, self._wallets = [], [], [], []

    def _check_names(self) -> None:
        """Report each zone and schedule that nobody defines, at the first line that asks for it."""
        for name, line in self._zones_asked.items():
            if name not in self._known_zones and name not in self._zones:
                self._problem(line, f"unknown zone {name!r}{_nearest(name, self._known_zones | self._zones.keys())}")
        for name, line in self._schedules_asked.items():
            if name not in self._schedules and name not in self._known_schedules:
                self._problem(line, f"unknown schedule {name!r}{_nearest(name, self._schedules)}")

    def _summary(self, version: str) -> Summary:
        credentials, entitlements, wallets = self._staged
        keys = tuple(self._issuer_keys.values())
        counts = Counts(credentials, entitlements, len(self._schedules), len(self._zones), len(keys), wallets)
        return Summary(version, self._key.fingerprint, counts, self._zones, self._schedules, keys, self._cursor)

    def _problem(self, line: int, message: str) -> None:
        self._problem_count += 1
        if len(self._problems) < PROBLEMS_LISTED:
            self._problems.append((line, message))

    def _refuse_if_wrong(self) -> None:
        if self._problem_count:
            raise ImportRefused(sorted(self._problems), self._problem_count)


def _add_name(names: dict[str, T], name: str, value: T, what: str, at_most: int = NAMES_MAX) -> None:
    if name in names:
        raise RowError(f"{what} {name!r} is defined on an earlier line already")
    if len(names) >= at_most:
        raise RowError(f"there are more than {at_most} {what}s")
    names[name] = value


def _ask_name(asked: dict[str, int], name: str, line: int, what: str) -> None:
    if name not in asked:
        if len(asked) >= NAMES_MAX:
            raise RowError(f"there are more than {NAMES_MAX} different {what}")
        asked[name] = line


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return "; define it in the configuration or in a row of its own"


@contextmanager
def alone(state_dir: Path) -> Iterator[None]:
    """Keep a second import out. Raises ImportRefused."""
    with (state_dir / "directory.lock").open("w") as lock:
        own_like_folder(lock.fileno(), state_dir)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ImportRefused([(NO_LINE, "another import is running; wait for it to end")], 1) from None
        yield


def _storage_error(error: sqlite3.Error, state_dir: Path) -> StorageUnavailable:
    """A failed import harms nothing, so no failure of it is fatal."""
    return StorageUnavailable(str(from_sqlite(error, state_dir / "directory.db")))

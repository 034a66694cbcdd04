"""The directory: who carries which credential and what they may do. A cache that can be imported again at any time.

`<state_dir>/directory.db` is never changed in place; an import builds a new file and renames it over the old one, and
`reload()` takes the new one into use. What upstream changes meanwhile lies over it (`directory_overlay`). Look-ups go
through a page cache of a few megabytes, so a million guests cost no memory to speak of.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from gateway.domain.access import Credential, CredentialKind, CredentialState, Entitlement
from gateway.domain.schedules import Schedule
from gateway.domain.tickets import IssuerKey
from gateway.domain.wallet import Opening
from gateway.store.directory_overlay import Batch, ChangeFile, Overlay
from gateway.store.directory_types import Counts, StoredEntitlement, Summary
from gateway.store.errors import StorageUnavailable

__all__ = [
    "CREDENTIAL_KINDS", "CREDENTIAL_STATES", "DIRECTORY_FILE", "FORMAT", "Counts", "Directory", "StoredEntitlement",
    "Summary",
]  # fmt: skip

DIRECTORY_FILE = "directory.db"
FORMAT = "2"
CACHE_KIB = 4096
NS_PER_MS = 1_000_000


CREDENTIAL_STATES: tuple[CredentialState, ...] = ("active", "blocked", "replaced", "expired")
CREDENTIAL_KINDS: tuple[CredentialKind, ...] = ("", "card", "wristband", "qr_code", "staff_badge")
"""States and kinds lie in the file as their place here."""

_decode_entitlements = msgspec.msgpack.Decoder(tuple[StoredEntitlement, ...]).decode
Stamp = tuple[int, int, int]


class Directory:
    """Looks credentials and entitlements up by key, synchronously, in some microseconds."""

    def __init__(self, path: Path) -> None:
        """Prepare to read `path`; nothing is loaded until `reload()`."""
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._stamp: Stamp | None = None
        self._overlay = Overlay(Summary())
        self._file = ChangeFile(path.parent)
        self._confirmed_ms = 0

    @classmethod
    def open(cls, state_dir: Path) -> Directory:
        """Open the directory of a state folder. A missing one is empty and not `loaded`.

        Raises StorageUnavailable when the file is damaged or of another version.
        """
        directory = cls(state_dir / DIRECTORY_FILE)
        directory.reload()
        return directory

    @property
    def loaded(self) -> bool:
        """True when there is a directory at all."""
        return self._connection is not None

    @property
    def version(self) -> str:
        """A digest of the imported rows, and how many changes came since; empty when nothing is loaded."""
        summary, cursor = self._summary, self._overlay.cursor
        return f"{summary.origin}+{cursor}" if cursor != summary.cursor else summary.version

    @property
    def cursor(self) -> int:
        """How far upstream's changes are in force; 0 for a directory that did not come from upstream."""
        return self._overlay.cursor

    @property
    def overlay(self) -> Overlay:
        """What has changed since the file."""
        return self._overlay

    @property
    def confirmed_ms(self) -> int:
        """When upstream said last that this was all there is, in UTC milliseconds; 0 where it never did."""
        return self._confirmed_ms

    def confirmed(self, at_ms: int) -> None:
        """Upstream has said that at that time this was all there is."""
        self._confirmed_ms = at_ms

    def change(self, batch: Batch) -> None:
        """Bring changes into force that are on disk already. Raises ValueError for those that do not follow."""
        self._overlay.lay(batch)

    @property
    def _summary(self) -> Summary:
        return self._overlay.summary

    @property
    def as_of_ms(self) -> int:
        """When this was known to be so, in UTC milliseconds: when upstream last confirmed it, or the file was made.

        0 when nothing is loaded. A file that is built of what is in force here is no word of upstream.
        """
        if self._stamp is None:
            return 0
        return self._confirmed_ms or self._stamp[1] // NS_PER_MS

    @property
    def made_with(self) -> str:
        """The fingerprint of the credential key that it was made with; with another key no card is ever found."""
        return self._summary.made_with

    @property
    def counts(self) -> Counts:
        """How many credentials, entitlements, schedules and zones there are."""
        return self._summary.counts

    @property
    def zones(self) -> Mapping[str, str | None]:
        """The zones that came with the directory, each with the zone around it."""
        return self._summary.zones

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        """The weekly schedules by id."""
        return self._summary.schedules

    @property
    def issuer_keys(self) -> tuple[IssuerKey, ...]:
        """The keys that signed tickets are checked with; another tuple after every reload."""
        return self._summary.issuer_keys

    def carried(self, ref: str) -> tuple[Credential, tuple[Entitlement, ...]] | None:
        """Return the credential with this reference and all that its holder may do, in one look-up; None without one.

        Raises StorageUnavailable.
        """
        query = (
            "SELECT c.holder, c.state, c.valid_until_ms, c.kind, e.body FROM credentials c"
            " LEFT JOIN entitlements e ON e.holder = c.holder WHERE c.ref = ?"
        )
        if self._overlay.rows:
            changed = self.credential(ref)
            return (changed, self.entitlements(changed.holder)) if changed is not None else None
        found = self._find(query, bytes.fromhex(ref))
        if found is None:
            return None
        holder, state, valid_until_ms, kind, body = found
        credential = Credential(ref, holder, CREDENTIAL_STATES[state], valid_until_ms, CREDENTIAL_KINDS[kind])
        stored = _decode_entitlements(body) if body is not None else ()
        return credential, tuple(_entitlement(holder, one) for one in stored)

    def credential(self, ref: str) -> Credential | None:
        """Return the credential with this reference (32 hex digits), or None. Raises StorageUnavailable."""
        query = "SELECT holder, state, valid_until_ms, kind FROM credentials WHERE ref = ?"
        key = bytes.fromhex(ref)
        changed = self._overlay.credentials
        found = changed[key] if key in changed else self._find(query, key)
        if found is None:
            return None
        holder, state, valid_until_ms, kind = found
        return Credential(ref, holder, CREDENTIAL_STATES[state], valid_until_ms, CREDENTIAL_KINDS[kind])

    def entitlements(self, holder: str) -> tuple[Entitlement, ...]:
        """Return what `holder` may do, in the order of the import. Raises StorageUnavailable."""
        found = self._find("SELECT body FROM entitlements WHERE holder = ?", holder)
        held = _decode_entitlements(found[0]) if found is not None else ()
        return tuple(_entitlement(holder, stored) for stored in self._overlay.held_by(holder, held))

    def wallet(self, holder: str) -> Opening | None:
        """Return what upstream says is in the wallet of `holder`, or None. Raises StorageUnavailable."""
        query = "SELECT balance_minor, currency, counted_minor FROM wallets WHERE holder = ?"
        changed = self._overlay.wallets
        found = changed[holder] if holder in changed else self._find(query, holder)
        return Opening(*found) if found is not None else None

    def changed_on_disk(self) -> bool:
        """Return True when another file has taken the place of the one in use. Costs one stat."""
        return self._look() != self._stamp

    def reload(self) -> None:
        """Take the file on disk into use.

        Raises StorageUnavailable when it is damaged or of another version; the old one then stays in use, and
        `changed_on_disk()` is False until yet another file comes.
        """
        self._stamp = self._look()
        if self._stamp is None:
            self.close()
            return
        connection, summary = _open(self._path)
        try:
            overlay = self._changes_since(summary)
        except BaseException:
            connection.close()
            raise
        self.close()
        self._connection, self._overlay = connection, overlay

    def _changes_since(self, summary: Summary) -> Overlay:
        """Return what lies over a file with this summary; over one that was imported by hand, nothing does."""
        overlay = Overlay(summary)
        try:
            for batch in self._file.load(summary) if summary.cursor else ():
                overlay.lay(batch)
            self._confirmed_ms = self._file.confirmed_ms() if summary.cursor else 0
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise _unreadable(self._file.path, error) from error
        return overlay

    def close(self) -> None:
        """Let go of the file; the directory is then empty."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._overlay = None, Overlay(Summary())

    def _look(self) -> Stamp | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _find(self, query: str, key: object) -> tuple[Any, ...] | None:
        if self._connection is None:
            return None
        try:
            rows = self._connection.execute(query, (key,)).fetchall()
        except sqlite3.Error as error:
            raise _unreadable(self._path, error) from error
        return rows[0] if rows else None


def _open(path: Path) -> tuple[sqlite3.Connection, Summary]:
    """Open a directory file. Nothing ever writes to it, so it is `immutable`: that spares a lock per look-up."""
    try:
        address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        connection = sqlite3.connect(address, uri=True, isolation_level=None)
        try:
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
            return connection, _summary(meta, path)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, msgspec.MsgspecError) as error:
        raise _unreadable(path, error) from error


def _summary(meta: Mapping[str, str], path: Path) -> Summary:
    if meta.get("format") != FORMAT:
        raise StorageUnavailable(f"{path} was made by another version of venue-gateway; import the directory again")
    return msgspec.json.decode(meta["summary"], type=Summary)


def _unreadable(path: Path, error: Exception) -> StorageUnavailable:
    """Say what to do. It is a cache, so this is never fatal."""
    return StorageUnavailable(f"{path} cannot be read ({error}); import the directory again")


def _entitlement(holder: str, stored: StoredEntitlement) -> Entitlement:
    return Entitlement(
        stored.id,
        holder,
        stored.zones,
        stored.valid_from_ms,
        stored.valid_until_ms,
        stored.schedule,
        stored.uses_total,
        stored.reentry,
        stored.uses_per_day,
        stored.item,
    )

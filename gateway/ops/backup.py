"""`venue-gateway backup FILE` and `restore FILE`: the journal in one file, and its keys in another.

A backup is a tar with two members: `manifest.json`, which tells what the other must be, and `journal.db`. The directory
is a cache that comes again from where it came, and no key is in it: without `--keys` a stolen backup tells no card.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO

import msgspec

from gateway import __version__
from gateway.config.schema import Configuration
from gateway.domain.wording import counted
from gateway.store import audit
from gateway.store.credentials import KEY_FILE, CredentialKey, key_path
from gateway.store.database import sync_folder
from gateway.store.errors import StorageUnavailable, from_os
from gateway.store.locking import lock_state_dir
from gateway.store.owners import make_folder, own_like_folder
from gateway.store.snapshot import copy_journal, known_schema, replace_journal, schema_of

FORMAT = 1
MANIFEST, JOURNAL = "manifest.json", "journal.db"
MANIFEST_BYTES_MAX = 64 << 10
SECRET_BYTES_MAX = 64 << 10
NAMES_MAX = 100
SQLITE_HEADER = b"SQLite format 3\0"
CHUNK_BYTES = 1 << 20
PRIVATE = 0o600


class BackupRefused(Exception):
    """Nothing was done; the message says why and what to do."""


class Manifest(msgspec.Struct, frozen=True):
    """What a backup holds. `rows` and `hash` are the number and the chain's last link of its journal."""

    format: int
    version: str
    schema: int
    venue: str
    taken_at_ms: int
    rows: int
    hash: str
    size_bytes: int
    sha256: str


def backup(configuration: Configuration, file: Path, now_ms: int) -> Manifest:
    """Write the journal to `file`, checked row by row; the daemon may go on meanwhile.

    The file appears under its name only when it is whole and on the disk. Raises BackupRefused and StorageUnavailable.
    """
    source, copy = configuration.state_dir / JOURNAL, file.with_name(f".{file.name}.journal")
    with _removed_afterwards(copy, file):
        copy_journal(source, copy)
        rows, link = _checked(copy)
        size_bytes, sha256 = _measure(copy)
        venue, schema = configuration.venue.id, schema_of(copy)
        manifest = Manifest(FORMAT, __version__, schema, venue, now_ms, rows, link, size_bytes, sha256)
        _publish(file, lambda tar: _fill(tar, manifest, copy))
        # The proof of a backup is that it can be read back from where it lies.
        with _removed_afterwards(copy, file):
            _unpack(file, copy)
    return manifest


def _fill(tar: tarfile.TarFile, manifest: Manifest, journal: Path) -> None:
    _add(tar, MANIFEST, msgspec.json.encode(manifest))
    tar.add(journal, JOURNAL, filter=_plain)


def backup_keys(configuration: Configuration, file: Path) -> list[str]:
    """Write the credential key and the clients' passwords to a file of their own (mode 0600); returns their names."""
    state_dir = configuration.state_dir
    secrets = {KEY_FILE: CredentialKey.load(state_dir).secret}
    with _told(file):
        secrets |= {f"clients/{one.name}": one.read_bytes() for one in sorted(state_dir.glob("clients/*.password"))}
        _publish(file, lambda tar: _fill_keys(tar, secrets))
    return list(secrets)


def _fill_keys(tar: tarfile.TarFile, secrets: Mapping[str, bytes]) -> None:
    for name, secret in secrets.items():
        _add(tar, name, secret)


def restore(
    configuration: Configuration, file: Path, now_ms: int, *, replace: bool = False
) -> tuple[Manifest, Path | None]:
    """Put the journal of a backup in place; returns what it is and where the journal before it was kept.

    Refused while a daemon runs, for another venue, a newer schema, a file that is not whole, and without `replace`
    where a journal is there already. Raises BackupRefused and StorageUnavailable.
    """
    state_dir = configuration.state_dir
    fresh = state_dir / f"{JOURNAL}.restoring"
    with _alone(state_dir), _removed_afterwards(fresh, file):
        manifest = _unpack(file, fresh)
        if manifest.venue != configuration.venue.id:
            raise BackupRefused(f"{file} is of the venue {manifest.venue}, not of {configuration.venue.id}")
        if (state_dir / JOURNAL).exists() and not replace:
            raise BackupRefused(_would_be_lost(state_dir / JOURNAL, manifest))
        kept = replace_journal(state_dir / JOURNAL, fresh, f"{JOURNAL}.before-{now_ms}")
    return manifest, kept


def read_keys(file: Path) -> dict[str, bytes]:
    """Return the keys and passwords of their backup by name. Raises BackupRefused and StorageUnavailable."""
    with _told(file):
        found = dict(_secrets(file))
        if KEY_FILE not in found:
            what = "the backup of a journal" if MANIFEST in _names(file) else "no backup of keys"
            raise BackupRefused(f"{file} is {what}; after --keys comes the file that `backup --keys` wrote")
    return found


def restore_keys(configuration: Configuration, file: Path) -> list[str]:
    """Put keys and passwords back (mode 0600); returns their names. Refused while a daemon runs."""
    state_dir, found = configuration.state_dir, read_keys(file)
    with _alone(state_dir), _told(file):
        for name, secret in found.items():
            # The key goes where it counts; beside the data it would be a second one.
            place = key_path(state_dir) if name == KEY_FILE else state_dir / name
            _write_secret(place, secret)
        if key_path(state_dir) != state_dir / KEY_FILE:
            (state_dir / KEY_FILE).unlink(missing_ok=True)
    return list(found)


def _would_be_lost(path: Path, manifest: Manifest) -> str:
    try:
        newest = audit.newest(path, 1)
        there = counted(newest[-1].seq if newest else 0, "row")
    except StorageUnavailable:
        there = "a journal that cannot be read"
    return (
        f"{path} is there already, with {there}; the backup has {manifest.rows}. What is newer than the backup would "
        f"be missing here: uses, payments, who is inside. If that is meant, add --replace; the old file is kept"
    )


def _is_of_another_kind(file: Path) -> str:
    """Say what somebody has named instead of a backup, where that can be seen; else an empty text."""
    names = _names(file)
    if KEY_FILE in names and MANIFEST not in names:
        return f"{file} holds keys and no journal; name the file that `backup` wrote, and this one after --keys"
    with suppress(OSError), file.open("rb") as opened:
        if opened.read(len(SQLITE_HEADER)) == SQLITE_HEADER:
            return f"{file} is a database and no backup; name the file that `backup` wrote"
    return ""


def _names(file: Path) -> list[str]:
    """Return the names of what is in an archive, at most the first few; of anything else, none."""
    try:
        with tarfile.open(file, "r:") as tar:
            return [member.name for member in islice(tar, NAMES_MAX)]
    except (tarfile.TarError, EOFError, ValueError, OSError):
        return []


def _unpack(file: Path, target: Path) -> Manifest:
    """Take the journal out of a backup and check it in every way there is. Raises BackupRefused."""
    broken = f"{file} is no whole backup (a card pulled out early, a copy cut short); use an older one"
    try:
        with tarfile.open(file, "r:") as tar:
            manifest = msgspec.json.decode(_member(tar, MANIFEST).read(MANIFEST_BYTES_MAX), type=Manifest)
            _check_manifest(file, manifest)
            _copy_out(_member(tar, JOURNAL), target)
    except (tarfile.TarError, EOFError, KeyError, ValueError, RecursionError):
        raise BackupRefused(_is_of_another_kind(file) or broken) from None
    except OSError as error:
        raise BackupRefused(f"{error.filename or file}: {error.strerror or error}") from None
    if _measure(target) != (manifest.size_bytes, manifest.sha256):
        raise BackupRefused(broken)
    if _checked(target) != (manifest.rows, manifest.hash):
        raise BackupRefused(f"{file}: its journal is not the one that its manifest tells of")
    return manifest


def _check_manifest(file: Path, manifest: Manifest) -> None:
    if manifest.format > FORMAT or manifest.schema > known_schema():
        what = f"{file} was made by venue-gateway {manifest.version}, which is newer (schema {manifest.schema})"
        raise BackupRefused(f"{what}; this one knows schema {known_schema()}. Install that version first")


def _checked(journal: Path) -> tuple[int, str]:
    """Return number and last hash of a journal whose every row fits the chain. Raises BackupRefused."""
    verdict = audit.verify(journal)
    if verdict.bad_seq is not None:
        raise BackupRefused(f"{verdict.problem}; look with `venue-gateway journal verify` before anything else")
    newest = audit.newest(journal, 1)
    return verdict.rows, newest[-1].hash.hex() if newest else ""


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    """Return one member by its name; whatever else is in the file is never looked at."""
    found = tar.extractfile(tar.getmember(name))
    if found is None:
        raise KeyError(name)
    return found


def _copy_out(member: IO[bytes], target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, PRIVATE)
    with os.fdopen(descriptor, "wb") as out:
        while chunk := member.read(CHUNK_BYTES):
            out.write(chunk)
        out.flush()
        own_like_folder(out.fileno(), target.parent)
        os.fsync(out.fileno())


def _secrets(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the names and secrets of a backup of keys, and nothing that belongs anywhere else."""
    with tarfile.open(file, "r:") as tar:
        for member in tar:
            folder, _, name = member.name.rpartition("/")
            is_password = folder == "clients" and name.endswith(".password") and not name.startswith(".")
            content = tar.extractfile(member)
            if content is not None and (member.name == KEY_FILE or is_password):
                yield member.name, content.read(SECRET_BYTES_MAX)


def _write_secret(path: Path, secret: bytes) -> None:
    make_folder(path.parent, 0o700)
    draft = path.with_name(f".{path.name}.restoring")
    _copy_out(io.BytesIO(secret), draft)
    draft.replace(path)
    sync_folder(path.parent)


def _measure(file: Path) -> tuple[int, str]:
    with file.open("rb") as content:
        return file.stat().st_size, hashlib.file_digest(content, "sha256").hexdigest()


def _publish(file: Path, fill: Callable[[tarfile.TarFile], object]) -> None:
    """Write beside the place and rename: what has the name is whole, whenever the power goes."""
    draft = file.with_name(f".{file.name}.partial")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
        with os.fdopen(descriptor, "wb") as out:
            with tarfile.open(fileobj=out, mode="w:") as tar:
                fill(tar)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
        sync_folder(file.parent)
    finally:
        draft.unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), PRIVATE
    tar.addfile(member, io.BytesIO(content))


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.mode, member.uid, member.gid, member.uname, member.gname, member.mtime = PRIVATE, 0, 0, "", "", 0
    return member


@contextmanager
def _alone(state_dir: Path) -> Iterator[None]:
    try:
        lock = lock_state_dir(state_dir)
    except OSError as error:
        raise BackupRefused(f"{state_dir}: {error.strerror or error}") from None
    with lock:
        yield


@contextmanager
def _removed_afterwards(scratch: Path, file: Path) -> Iterator[None]:
    with _told(file):
        try:
            yield
        finally:
            for suffix in ("", "-wal", "-shm", "-journal"):
                scratch.with_name(scratch.name + suffix).unlink(missing_ok=True)


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Turn what the disk says into what to do."""
    try:
        yield
    except tarfile.TarError:
        raise BackupRefused(f"{file} is no whole backup; use an older one") from None
    except OSError as error:
        raise from_os(error, Path(error.filename or file)) from error

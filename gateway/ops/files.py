"""Doctor's checks of files: who may read what is secret, how long certificates hold, the journal, the directory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509

from gateway.config.schema import DEFAULT_STATE_DIR, Configuration
from gateway.config.tree import Listing, Mapping, Node, Scalar
from gateway.domain.wording import counted
from gateway.installing import BROKER_FOLDER
from gateway.mqtt.authority import HANDED_OVER
from gateway.ops.findings import Finding, bad, ok, warning
from gateway.ops.permissions import account
from gateway.store import audit
from gateway.store.credentials import CREDENTIALS_DIRECTORY, PACKAGED_KEYS, CredentialKey, key_path
from gateway.store.directory import Directory
from gateway.store.errors import StorageUnavailable
from gateway.upstream.identity import FOLDER

_OTHERS = 0o077
SECRET_FIELDS = ("key_file", "password_file", "token_file", "credentials_file")
CERTIFICATE_FIELDS = ("ca_file", "certificate_file")
SOON_DAYS = 30
OLD_DIRECTORY_H = 48.0
S_PER_H = 3600
S_PER_DAY = 86_400
RENEW_OWN = "run: venue-gateway broker apply (it is root's); see why the timer venue-gateway-certificates did not"
MAKE_OWN = "run: venue-gateway broker apply (it is root's), which makes it"
IMPORT_ONE = "import one: venue-gateway directory import FILE"


def named_files(part: object, endings: tuple[str, ...]) -> Iterator[Path]:
    """Yield every file that a configuration names in a key ending so, wherever it stands in there."""
    if isinstance(part, msgspec.Struct):
        for name in part.__struct_fields__:
            value = getattr(part, name)
            if name.endswith(endings) and isinstance(value, str | Path) and str(value):
                yield _place(str(value))
            else:
                yield from named_files(value, endings)
    elif isinstance(part, dict):
        yield from (file for value in part.values() for file in named_files(value, endings))
    elif isinstance(part, list | tuple):
        yield from (file for value in part for file in named_files(value, endings))


def _place(name: str) -> Path:
    """Return where a key lies: a plain name is one of systemd's credentials of the service."""
    return (
        Path(name) if name.startswith("/") else Path(os.environ.get(CREDENTIALS_DIRECTORY, "/run/credentials")) / name
    )


def secret_files(configuration: Configuration) -> list[Path]:
    """Return every file of this venue that holds a secret, whether or not it is there."""
    return _secret_files(configuration.state_dir, named_files(configuration, SECRET_FIELDS))


def secret_files_named(node: Node | None, folder: Path) -> list[Path]:
    """Return the same for a configuration that is wrong: what its text names, read as lying in `folder`.

    Without a text that can be read (None) it is what lies where a package keeps it.
    """
    named, state_dir = [], Path(DEFAULT_STATE_DIR)
    for key, text in _scalars(node):
        if key == "state_dir":
            state_dir = folder / text
        elif key.endswith("_file"):
            named += [folder / text, _place(text)]
    return _secret_files(state_dir, named)


def _secret_files(state_dir: Path, named: Iterable[Path]) -> list[Path]:
    made = (*state_dir.glob("clients/*.password"), *state_dir.glob(f"{FOLDER}/*.key"))
    return sorted({key_path(state_dir), *made, *named})


def _scalars(node: Node | None, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every value that is written in a file, with the key it stands under."""
    if isinstance(node, Mapping):
        for name, entry in node.entries.items():
            yield from _scalars(entry.node, name)
    elif isinstance(node, Listing):
        for item in node.items:
            yield from _scalars(item, key)
    elif isinstance(node, Scalar):
        yield key, node.text.strip("\"'")


def check_secrets(configuration: Configuration) -> Iterator[Finding]:
    """Judge the mode of each secret file, and whether the gateway itself can read it."""
    told, gateway = False, account(configuration.state_dir)
    for file in secret_files(configuration):
        try:
            mode = file.stat().st_mode
        except FileNotFoundError:
            told = True
            yield _missing(file, configuration)
            continue
        except OSError as error:
            told = True
            if file.parent == PACKAGED_KEYS:
                # systemd hands it to the service, whose user may not enter there.
                yield warning("keys", f"{file} is root's, as it should be", "run doctor as root to judge it too")
            else:
                yield bad("keys", f"{file}: {error.strerror}", "run doctor as root or as the gateway's user")
            continue
        if mode & _OTHERS:
            told = True
            yield bad("keys", f"{file} can be read by others (mode {mode & 0o777:o})", f"run: chmod 600 {file}")
        elif file != key_path(configuration.state_dir) and not gateway.may_read(file):
            told = True
            yield bad("keys", f"{file} may not be read by {gateway}", f"run: chown {gateway.name}: {file}")
    if not told:
        yield ok("keys", "every key and password can be read by its owner alone")


def _missing(file: Path, configuration: Configuration) -> Finding:
    if file == key_path(configuration.state_dir):
        return warning("keys", f"{file} is not there yet", "it is made at the first start; after a loss, restore it")
    if file.parent == configuration.state_dir / HANDED_OVER:
        return bad("keys", f"{file} is not there", MAKE_OWN)
    return bad("keys", f"{file} is not there", "put it there with mode 0600, or take its line out of the configuration")


def certificate_files(configuration: Configuration, broker_folder: Path = BROKER_FOLDER) -> list[Path]:
    """Return every certificate that this venue uses.

    The broker's and the authority's are judged where they lie by who may enter there, which is root; the gateway sees
    the copies that `broker apply` left it.
    """
    state_dir = configuration.state_dir
    made = [*state_dir.glob(f"{FOLDER}/*.crt"), *state_dir.glob(f"{HANDED_OVER}/*.crt")]
    if os.access(broker_folder, os.R_OK | os.X_OK):
        made += broker_folder.glob("*.crt")
    return sorted({*named_files(configuration, CERTIFICATE_FIELDS), *made})


def check_certificates(
    configuration: Configuration, now: datetime, broker_folder: Path = BROKER_FOLDER
) -> Iterator[Finding]:
    """Judge how long each certificate still holds."""
    files = certificate_files(configuration, broker_folder)
    own = (configuration.state_dir / HANDED_OVER, broker_folder)
    if not files:
        yield ok("certificates", "none are used")
    if (broker_folder / "ca.crt") in files and not (broker_folder / "ca.key").exists():
        what = f"{broker_folder / 'ca.key'} is gone, and nothing can be renewed without it"
        yield warning("certificates", what, "put it back from your copy; see installation.md")
    for file in files:
        try:
            certificates = x509.load_pem_x509_certificates(file.read_bytes())
        except OSError as error:
            do = MAKE_OWN if file.parent in own else "put the PEM file there, readable by the gateway"
            yield bad("certificates", f"{file}: {error.strerror}", do)
            continue
        except ValueError:
            yield bad("certificates", f"{file} is no PEM certificate", "copy it again; it begins with -----BEGIN")
            continue
        yield _judge(file, certificates, now, RENEW_OWN if file.parent in own else "")


def _judge(file: Path, certificates: list[x509.Certificate], now: datetime, renew: str) -> Finding:
    ends = min(one.not_valid_after_utc for one in certificates)
    begins = max(one.not_valid_before_utc for one in certificates)
    days = (ends - now).days
    if begins > now:
        return bad("certificates", f"{file} holds only from {begins:%Y-%m-%d}", "check the clock; else renew it")
    if ends <= now:
        do = renew or "renew it and reload the service"
        return bad("certificates", f"{file} ended on {ends:%Y-%m-%d}", do)
    if days < SOON_DAYS:
        return warning("certificates", f"{file} ends in {counted(days, 'day')}", renew or "renew it before")
    return ok("certificates", f"{file} holds for {counted(days, 'more day')}")


def days_left(configuration: Configuration, now_s: float) -> dict[str, float]:
    """Return for how many days each certificate that the gateway can read still holds, by its path; below 0: ended.

    A file with a chain ends with the first of it that ends.
    """
    found = {}
    for file in certificate_files(configuration):
        with suppress(OSError, ValueError):
            ends_s = _ends_s(file, file.stat().st_mtime_ns)
            found[str(file)] = (ends_s - now_s) / S_PER_DAY
    return found


@lru_cache(maxsize=64)
def _ends_s(file: Path, _mtime_ns: int) -> float:
    """Read a file once for each time that it was written."""
    certificates = x509.load_pem_x509_certificates(file.read_bytes())
    return min(one.not_valid_after_utc for one in certificates).timestamp()


def check_journal(configuration: Configuration) -> Finding:
    """Check every row against the chain."""
    path = configuration.state_dir / "journal.db"
    if not path.exists():
        return warning("journal", "there is none yet", "start the gateway once")
    try:
        verdict = audit.verify(path)
    except StorageUnavailable as error:
        return bad("journal", str(error), "restore a backup: venue-gateway restore FILE")
    if verdict.bad_seq is not None:
        do = "keep the file, compare it with what was relayed, and restore a backup: venue-gateway restore FILE"
        return bad("journal", verdict.problem, do)
    return ok("journal", f"{counted(verdict.rows, 'row')}, every one fits the chain")


def check_directory(configuration: Configuration, now_s: float) -> Finding:
    """Judge the directory's age, and whether it was made with the key that is here."""
    try:
        with closing(Directory.open(configuration.state_dir)) as directory:
            return _judged(directory, _fingerprint(configuration.state_dir), now_s)
    except StorageUnavailable as error:
        return bad("directory", str(error), IMPORT_ONE)


def _judged(directory: Directory, made_with: str, now_s: float) -> Finding:
    if not directory.loaded:
        return bad("directory", "there is none, so nobody can come in", IMPORT_ONE)
    if made_with and directory.made_with != made_with:
        return bad("directory", "made with another credential key, so every guest is unknown", IMPORT_ONE)
    age_h = max(0.0, now_s - directory.as_of_ms / 1000) / S_PER_H
    found = f"{counted(directory.counts.credentials, 'credential')}, {age_h:.1f} h old"
    if age_h > OLD_DIRECTORY_H:
        return warning("directory", found, "see that new ones come in, or import one; tickets sold since are unknown")
    return ok("directory", found)


def _fingerprint(state_dir: Path) -> str:
    """Return the name of the key that is here; empty without one, and none is made by looking."""
    try:
        return CredentialKey.load(state_dir).fingerprint
    except StorageUnavailable:
        # What is wrong with the key is told under "keys".
        return ""


def newest_ms(state_dir: Path) -> int:
    """Return when the newest journal entry was written, UTC milliseconds; 0 where nobody can say."""
    path = state_dir / "journal.db"
    try:
        rows: list[Any] = audit.newest(path, 1) if path.exists() else []
    except StorageUnavailable:
        return 0
    return rows[-1].at_ms if rows else 0


def utc(now_s: float) -> datetime:
    """Return a time of day in UTC."""
    return datetime.fromtimestamp(now_s, UTC)

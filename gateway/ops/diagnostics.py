"""`venue-gateway diagnostics FILE`: one bundle for support, from which nobody learns a secret, a card or a guest."""

from __future__ import annotations

import io
import os
import platform
import sqlite3
import sys
import tarfile
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import msgspec

from gateway import __version__
from gateway.config.loading import ConfigurationError, load
from gateway.config.problems import Problems, UnreadableError
from gateway.config.schema import Configuration
from gateway.config.tree import Node, decode, parse
from gateway.devices.registry import kinds
from gateway.domain import events as e
from gateway.ops.doctor import examine
from gateway.ops.files import secret_files, secret_files_named
from gateway.ops.redaction import Redactor, configuration_lines, secrets_of
from gateway.store import audit
from gateway.store.errors import StorageUnavailable
from gateway.store.rows import StoredRow
from gateway.telling import TELLING

LOG_LINES_MAX = 5000
JOURNAL_ROWS = 1000
MODE = 0o600
_FREE_TEXT = frozenset({"message", "why", "override_reason", "first"})
_TEXT_REASONS = (e.DrawerOpening,)
"""Facts whose `reason` is what somebody typed, and no word of the enumeration."""
_decode = msgspec.json.Decoder(e.AnyEvent).decode


def diagnostics(config: Path, file: Path, log_file: Path | None) -> list[str]:
    """Write the bundle to `file`; returns the names of what is in it. Raises OSError.

    A configuration that is wrong is told with its problems: that may be what the bundle is for. What is secret is then
    guessed, by the names of files in it and by its look.
    """
    try:
        configuration, problems = load(config, kinds()), ""
    except ConfigurationError as error:
        configuration, problems = None, "\n".join(map(str, error.problems))
    if configuration is not None:
        redactor = Redactor(secrets_of(secret_files(configuration)))
    else:
        node = _read(config)
        redactor = Redactor(secrets_of(secret_files_named(node, config.resolve().parent)), wary=True)
        # Nobody knows which words of a log are secret where nothing can be read of the file that names them.
        log_file = log_file if node is not None else None
    parts = {name: text.encode() for name, text in _parts(config, configuration, problems, log_file, redactor)}
    _write(file, parts)
    return list(parts)


def _parts(
    config: Path, configuration: Configuration | None, problems: str, log_file: Path | None, redactor: Redactor
) -> Iterator[tuple[str, str]]:
    yield "versions.json", msgspec.json.format(msgspec.json.encode(_versions())).decode()
    yield "configuration.yaml", "\n".join(_configuration(config, redactor)) + "\n"
    if problems:
        yield "problems.txt", redactor.text(problems) + "\n"
    if configuration is not None:
        examination = msgspec.json.encode(examine(configuration))
        yield "doctor.json", redactor.text(msgspec.json.format(examination).decode())
        yield "files.txt", "\n".join(_files(configuration.state_dir)) + "\n"
        yield "journal.ndjson", "".join(_journal(configuration.state_dir / "journal.db", redactor))
    if log_file is not None:
        yield "log.txt", redactor.text("".join(_tail(log_file)))


def _versions() -> Mapping[str, object]:
    names = ("aiohttp", "aiosqlite", "cryptography", "msgspec", "mqtt5", "python-escpos", "serialx", "uvloop")
    return {
        "venue-gateway": __version__,
        "python": sys.version.split()[0],
        "sqlite": sqlite3.sqlite_version,
        "system": platform.platform(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "libraries": {name: metadata.version(name) for name in names},
    }


def _read(config: Path) -> Node | None:
    problems = Problems(config.name)
    with suppress(OSError, UnreadableError):
        return parse(decode(config.read_bytes(), problems), problems)
    return None


def _configuration(config: Path, redactor: Redactor) -> Iterator[str]:
    if (node := _read(config)) is not None:
        yield from configuration_lines(node, redactor)
    else:
        # What is no YAML may have its secrets anywhere.
        yield "# it cannot be read, or is no YAML; see problems.txt. A log is left out for that reason too"


def _files(state_dir: Path) -> Iterator[str]:
    """Yield mode, owner, size and name of what lies in the state folder; no content."""
    for path in sorted(state_dir.rglob("*")):
        with suppress(OSError):
            stat = path.stat()
            yield f"{stat.st_mode:o} {stat.st_uid}:{stat.st_gid} {stat.st_size:>12} {path.relative_to(state_dir)}"


def _journal(path: Path, redactor: Redactor) -> Iterator[str]:
    try:
        rows = audit.newest(path, JOURNAL_ROWS)
    except StorageUnavailable as error:
        yield f"{error}\n"
        return
    yield from (redactor.text(msgspec.json.encode(_told(row)).decode()) + "\n" for row in rows)


def _told(row: StoredRow) -> Mapping[str, object]:
    """Return of a row what the log would say of it, without what people typed: no holder, no card, no request."""
    try:
        event = _decode(row.body)
    except msgspec.MsgspecError:
        return {"seq": row.seq, "at": audit.at_text(row.at_ms), "kind": "not known to this version"}
    telling = TELLING[type(event)]
    hidden = _FREE_TEXT | ({"reason"} if isinstance(event, _TEXT_REASONS) else frozenset())
    told = {name: value for name, value in telling.logged(event).items() if name not in hidden}
    return {"seq": row.seq, "at": audit.at_text(row.at_ms), "kind": telling.kind, **told}


def _tail(log_file: Path) -> deque[str]:
    with log_file.open(encoding="utf-8", errors="replace") as lines:
        return deque(lines, LOG_LINES_MAX)


def _write(file: Path, parts: Mapping[str, bytes]) -> None:
    draft = file.with_name(f".{file.name}.partial")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE)
    with os.fdopen(descriptor, "wb") as out, tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in parts.items():
            member = tarfile.TarInfo(f"venue-gateway/{name}")
            member.size, member.mode = len(content), MODE
            tar.addfile(member, io.BytesIO(content))
    draft.replace(file)

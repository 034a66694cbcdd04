"""`venue-gateway directory import` and `check`: a whole directory from NDJSON, with a progress bar, amid taps."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from gateway.config.schema import Configuration
from gateway.gently import be_gentle
from gateway.store.credentials import KEY_BYTES, CredentialKey
from gateway.store.directory_fold import fold_directory
from gateway.store.errors import StorageUnavailable
from gateway.store.importing import NO_LINE, ImportRefused, ImportReport, import_directory

OK, REFUSED = 0, 1


def import_with_progress(
    file: Path, configuration: Configuration, *, allow_empty: bool = False, cursor: int = 0
) -> int:
    """Import `file` into the configuration's state folder; returns the exit status, 1 when it was refused.

    `cursor` is how many of upstream's changes are in it, 0 when it did not come from there. A file without a credential
    is refused unless `allow_empty`: most likely whatever should have written it failed.
    """
    # Taps must not wait for an import, so it takes only the processor time that nobody else wants.
    be_gentle()
    try:
        key = CredentialKey.load_or_create(configuration.state_dir)
        report = _import(file, configuration, configuration.state_dir, key, allow_empty=allow_empty, cursor=cursor)
    except ImportRefused as refused:
        _explain(file, refused)
        return REFUSED
    except StorageUnavailable as error:
        print(error, file=sys.stderr)
        return REFUSED
    except OSError as error:
        why = error.strerror or error
        print(f"{error.filename or file}: it cannot be read: {why}; check the path and its rights", file=sys.stderr)
        return REFUSED
    print(f"{_counted(report)} in force.")
    return OK


def _counted(report: ImportReport) -> str:
    credentials, entitlements = report.credentials, report.entitlements
    return (
        f"{credentials:,} credential{'' if credentials == 1 else 's'} and "
        f"{entitlements:,} entitlement{'' if entitlements == 1 else 's'}"
    )


def check_with_progress(file: Path, configuration: Configuration, *, allow_empty: bool = False) -> int:
    """Say what an import of `file` would say and change nothing; returns the exit status, 1 for a wrong file."""
    be_gentle()
    try:
        with TemporaryDirectory(prefix="venue-gateway-") as scratch:
            # The check needs no card to be found again, so any key does.
            key = CredentialKey(secrets.token_bytes(KEY_BYTES))
            report = _import(file, configuration, Path(scratch), key, allow_empty=allow_empty)
    except ImportRefused as refused:
        _explain(file, refused)
        return REFUSED
    except (OSError, StorageUnavailable) as error:
        print(f"{file}: {error}", file=sys.stderr)
        return REFUSED
    print(f"{file} is right: {_counted(report)}.")
    return OK


def fold(configuration: Configuration) -> int:
    """Write upstream's changes into the directory's file; returns the exit status."""
    be_gentle()
    try:
        cursor = fold_directory(configuration.state_dir)
    except (ImportRefused, StorageUnavailable) as error:
        print(error, file=sys.stderr)
        return REFUSED
    print(f"Changes up to {cursor} are in the file.")
    return OK


def _import(
    file: Path, configuration: Configuration, folder: Path, key: CredentialKey, *, allow_empty: bool, cursor: int = 0
) -> ImportReport:
    bar = Progress(
        TextColumn("{task.fields[rows]:,} rows"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task("import", total=file.stat().st_size, rows=0)

        def progress(rows: int, done: int) -> None:
            _update(bar, task, rows, done)

        return import_directory(
            file,
            folder,
            key,
            known_zones=configuration.zones,
            progress=progress,
            timezone=configuration.venue.zone_info,
            allow_empty=allow_empty,
            cursor=cursor,
        )


def _update(bar: Progress, task: TaskID, rows: int, done: int) -> None:
    bar.update(task, completed=done, rows=rows)


def _explain(file: Path, refused: ImportRefused) -> None:
    for line, message in refused.problems:
        print(f"{file}:{line}: {message}" if line != NO_LINE else f"{file}: {message}", file=sys.stderr)
    print(refused, file=sys.stderr)

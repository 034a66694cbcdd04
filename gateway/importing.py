"""`venue-gateway directory import`: a whole directory from NDJSON, with a progress bar, while taps go on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from gateway.config.schema import Configuration
from gateway.store.credentials import CredentialKey
from gateway.store.errors import StorageUnavailable
from gateway.store.importing import ImportRefused, ImportReport, import_directory

OK, REFUSED = 0, 1
BACKGROUND_NICE = 15


def import_with_progress(file: Path, configuration: Configuration) -> int:
    """Import `file` into the configuration's state folder; returns the exit status, 1 when it was refused."""
    # Taps must not wait for an import, so it takes only the processor time that nobody else wants.
    os.nice(BACKGROUND_NICE)
    try:
        key = CredentialKey.load_or_create(configuration.state_dir)
        with file.open("rb") as source:
            report = _import(source, file.stat().st_size, configuration, key)
    except ImportRefused as refused:
        _explain(file, refused)
        return REFUSED
    except (OSError, StorageUnavailable) as error:
        print(f"{file}: {error}", file=sys.stderr)
        return REFUSED
    counts = report.counts
    print(f"{counts.credentials:,} credentials and {counts.entitlements:,} entitlements are in force.")
    return OK


def _import(source: BinaryIO, size: int, configuration: Configuration, key: CredentialKey) -> ImportReport:
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
        task = bar.add_task("import", total=size, rows=0)

        def progress(rows: int, done: int) -> None:
            _update(bar, task, rows, done)

        return import_directory(
            _lines(source), configuration.state_dir, key, known_zones=configuration.zones, progress=progress
        )


def _update(bar: Progress, task: TaskID, rows: int, done: int) -> None:
    bar.update(task, completed=done, rows=rows)


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """Lines of a bounded length: a file without line ends must not fill the memory."""
    while line := source.readline(1 << 20):
        yield line


def _explain(file: Path, refused: ImportRefused) -> None:
    for line, message in refused.problems:
        print(f"{file}:{line}: {message}", file=sys.stderr)
    noun = "row is" if refused.count == 1 else "rows are"
    print(f"{refused.count} {noun} wrong, so nothing was imported; the directory in force stays.", file=sys.stderr)

"""A million guests, the same ones every time: their tags, their tickets, and the directory imported from them.

The import takes a while and never changes, so its result is kept under `.benchmarks/` for the next run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / ".benchmarks"
_ODD = 2_654_435_761
"""Multiplying by an odd number modulo 2**32 gives each guest another tag number, in no order the eye can see."""
_STORE = ROOT / "gateway" / "store"
_SOURCES = (Path(__file__), _STORE / "credentials.py", _STORE / "importing.py", *sorted(_STORE.glob("directory*")))
"""What decides how the kept folder looks."""


class Import(NamedTuple):
    """What an import took: time in s, the importer's largest memory in MB of 10**6 bytes."""

    took_s: float
    peak_mb: float


def tag_number(guest: int) -> str:
    """Return the ten hex digits on the tag of a guest; no two guests share one."""
    return f"10{guest * _ODD % 2**32:08X}"


def ndjson(count: int) -> Iterator[str]:
    """Yield the directory's lines: for each guest a tag and a ticket that is good for one entry."""
    for guest in range(count):
        yield (
            f'{{"type":"credential","technology":"em4100","value":"{tag_number(guest)}","holder":"guest-{guest}"}}\n'
            f'{{"type":"entitlement","id":"ticket-{guest}","holder":"guest-{guest}","zones":["hall"],'
            '"valid_from":"2020-01-01T00:00:00Z","valid_until":"2120-01-01T00:00:00Z","uses":1,"reentry":false}\n'
        )


def directory_for(count: int) -> Path:
    """Return a folder with `directory.db` and `credential.key` for `count` guests, and `naive.db` with the same tags.

    It is made by `venue-gateway directory import` unless an earlier run left one that this code would make again.
    """
    folder = KEPT / f"guests-{count}-{_digest()}"
    if folder.exists():
        return folder
    for older in KEPT.glob(f"guests-{count}-*"):
        shutil.rmtree(older)
    # Made elsewhere and renamed when complete, so that neither an abort nor a second run leaves half of it.
    with tempfile.TemporaryDirectory(prefix="new-", dir=KEPT) as made:
        import_guests(Path(made), count)
        _naive_directory(Path(made) / "naive.db", count)
        try:
            Path(made).rename(folder)
        except OSError:
            # A second run, at the same time, may have been faster.
            if not folder.exists():
                raise
        else:
            Path(made).mkdir()
    return folder


def keep_out_of_git() -> None:
    """Make the folder for everything a benchmark leaves, and have git pass it over."""
    KEPT.mkdir(exist_ok=True)
    (KEPT / ".gitignore").write_text("*\n")


def _digest() -> str:
    digest = hashlib.sha256()
    for source in _SOURCES:
        if source.exists():
            digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def import_guests(folder: Path, count: int) -> Import:
    """Make `directory.db` and `credential.key` for `count` guests in a folder. Raises RuntimeError with the reason."""
    source, config, said = folder / "guests.ndjson", folder / "venue.yaml", folder / "import.log"
    with source.open("w") as file:
        file.writelines(ndjson(count))
    config.write_text(
        "venue: {id: bench, timezone: Europe/Berlin, currency: EUR}\n"
        "broker: unix:///run/none.sock\n"
        "state_dir: .\n"
        "zones: {hall: {}}\n"
    )
    command = [sys.executable, "-m", "gateway", "directory", "import", str(source), "--config", str(config)]
    began_s = time.perf_counter()
    with said.open("w") as log, subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    took_s = time.perf_counter() - began_s
    source.unlink()
    if process.returncode:
        raise RuntimeError(f"the import of {count} guests failed: {said.read_text()[-2000:]}")
    return Import(took_s, usage.ru_maxrss * 1024 / 1e6)


def _naive_directory(path: Path, count: int) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE credential (value TEXT PRIMARY KEY, holder TEXT NOT NULL)")
    rows = ((tag_number(guest), f"guest-{guest}") for guest in range(count))
    database.executemany("INSERT INTO credential VALUES (?, ?)", rows)
    database.commit()
    database.close()

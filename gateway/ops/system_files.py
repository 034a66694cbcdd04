"""The system around the gateway, as its commands change it: files that they write, and programs that they run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.store.database import sync_folder

Run = Callable[[Sequence[str]], bool]
"""Runs one of the system's commands; False where it did not succeed."""
Say = Callable[[str], None]
"""Tells whoever ran the command a sentence."""


def read_file(file: Path) -> str:
    """Return a file's text; empty where it cannot be read."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def replace_file(file: Path, text: str) -> None:
    """Replace a file at once, and write it through to the disk before that; of a link what it points to.

    On the FAT of a Raspberry Pi's boot partition no more can be done; elsewhere the old file or the new one is there.
    Raises OSError, with the file's name, and leaves the old one then.
    """
    file = file.resolve()
    fresh = file.with_name(f"{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise OSError(error.errno, error.strerror, str(file)) from error
    sync_folder(file.parent)

"""Whose a file is that root made: the gateway's, which runs as a user of its own and has to read what `sudo` wrote."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER_MODE = 0o750


def own_like_folder(descriptor: int, folder: Path) -> None:
    """Give a file to the owner of its folder when root made it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def make_folder(folder: Path, mode: int = FOLDER_MODE) -> None:
    """Make a folder, and those above it, unless it is there; each is its parent's owner's. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=mode, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        own_like_folder(descriptor, folder.parent)
    finally:
        os.close(descriptor)

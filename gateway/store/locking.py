"""Who may change a state folder: one daemon, or one command that does what a daemon must not see."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from gateway.store.owners import make_folder, own_like_folder

LOCK_FILE = "lock"


class FolderTaken(OSError):
    """Somebody else has the state folder."""


def lock_state_dir(state_dir: Path) -> IO[str]:
    """Make the state folder ours until the returned file is closed.

    Two daemons on one journal would each undo what the other knows. Raises FolderTaken when somebody else
    has it, and OSError.
    """
    make_folder(state_dir)
    lock = (state_dir / LOCK_FILE).open("w")
    own_like_folder(lock.fileno(), state_dir)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise FolderTaken("another venue-gateway runs on this folder; stop it first") from None
    return lock


def is_running(state_dir: Path) -> bool:
    """Return True while a daemon has the folder; it is not disturbed. Raises OSError."""
    if not (state_dir / LOCK_FILE).exists():
        return False
    with (state_dir / LOCK_FILE).open() as lock:
        try:
            # A shared lock, so that two who only look do not take each other for the daemon.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False

"""Who may change a state folder: one daemon, or one command that does what a daemon must not see."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

LOCK_FILE = "lock"


def lock_state_dir(state_dir: Path) -> IO[str]:
    """Make the state folder ours until the returned file is closed.

    Two daemons on one journal would each undo what the other knows. Raises OSError when somebody else has it.
    """
    state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
    lock = (state_dir / LOCK_FILE).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise OSError("another venue-gateway runs on this folder; stop it first") from None
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

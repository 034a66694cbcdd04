"""Unix sockets at paths of any length.

A socket address holds 107 bytes of path, and test directories are longer. Through `/proc/self/fd` the directory
costs a few bytes, whatever its name.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BACKLOG = 64


@contextmanager
def _short(path: Path) -> Iterator[str]:
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, in place of a stale one. Raises `OSError`, also if `path` is not a socket."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_socket():
        raise FileExistsError(f"{path} is in the way and is not a socket; name another --control")
    path.unlink(missing_ok=True)
    with _short(path) as address:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def connect(path: Path) -> socket.socket:
    """A non-blocking socket connected to `path`. Raises `OSError`."""
    with _short(path) as address:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(address)
        except OSError:
            client.close()
            raise
    client.setblocking(False)
    return client

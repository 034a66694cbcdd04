"""Keys that drivers need: each in a file of its own that only the daemon reads, best a systemd credential."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from drivers.api import DeviceFault

CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Where systemd puts what `LoadCredential=` names (systemd.exec(5))."""
_MAX_FILE_BYTES = 4096
_OTHERS = 0o077

KeyFile = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        description="File with the key as hex digits and nothing else: the name of a systemd credential of the "
        "service (LoadCredential=), or an absolute path that only the daemon can read (mode 0600). The key itself "
        "never stands in this file.",
        examples=["osdp-key"],
    ),
]


def read_key(name: str, byte_count: int) -> bytes:
    """Return the key of `byte_count` bytes that stands as hex in a file; it never shows in an error.

    A plain name is a systemd credential. Raises DeviceFault when the file is not there, can be read by others or holds
    something else.
    """
    path = _path(name)
    try:
        with path.open("rb") as file:
            # The rights of systemd's credentials are its own business: their folder is closed to others.
            if os.fstat(file.fileno()).st_mode & _OTHERS and not _is_credential(path):
                raise DeviceFault(f"the key file {path} can be read by others; run: chmod 600 {path}")
            text = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise DeviceFault(f"the key file {path} cannot be read: {os.strerror(error.errno or 0)}") from None
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != byte_count:
        raise DeviceFault(f"the key file {path} must hold {byte_count * 2} hex digits and nothing else")
    return key


def _path(name: str) -> Path:
    if name.startswith("/"):
        return Path(name)
    if "/" in name or name.startswith("."):
        raise DeviceFault(f"the key file {name} is neither a plain name nor an absolute path")
    folder = os.environ.get(CREDENTIALS)
    if not folder:
        raise DeviceFault(
            f"there is no credential {name!r}: add LoadCredential={name}:/etc/venue-gateway/{name} to the service, "
            "or write the key file's absolute path"
        )
    return Path(folder) / name


def _is_credential(path: Path) -> bool:
    """True for a file in the folder that systemd made for this service alone."""
    folder = os.environ.get(CREDENTIALS)
    return bool(folder) and path.parent == Path(str(folder))

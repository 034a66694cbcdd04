"""When a port comes back: its name under /dev appears again, or stands for another device than before."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

LOOK_S = 0.2
"""Looking at a name costs microseconds; being told by udev would need a library and still miss ptys and symlinks."""

Seen = tuple[int, int, int] | None


def port_path(options: msgspec.Struct) -> Path | None:
    """Return the name under /dev that a device is opened by; None for one on the network or found by other means."""
    for key in ("port", "connect", "chip", "device"):
        value = getattr(options, key, None)
        if isinstance(value, str) and value.removeprefix("serial://").startswith("/"):
            return Path(value.removeprefix("serial://").split("?")[0])
    return None


def look(path: Path | None) -> Seen:
    """Return what stands behind a name now, links followed; None while there is nothing."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_rdev


async def pause(path: Path | None, pause_s: float) -> None:
    """Wait for `pause_s` seconds, or until something else than now stands behind `path`, if that is sooner."""
    loop = asyncio.get_running_loop()
    until_s, before = loop.time() + pause_s, look(path)
    while (left_s := until_s - loop.time()) > 0:
        await asyncio.sleep(min(LOOK_S, left_s) if path is not None else left_s)
        now = look(path)
        if now is not None and now != before:
            return
        before = now

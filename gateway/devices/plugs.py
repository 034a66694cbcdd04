"""When a device comes back: its name under /dev stands for something new, or there is something new on USB."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

LOOK_S = 0.2
"""The least pause too, for a device that comes anew whenever it is opened.

Looking costs microseconds; being told by udev would need a library and still miss ptys and symlinks.
"""
USB_NODES = Path("/dev/bus/usb")

Seen = frozenset[tuple[int, ...]]
"""What was there at one look; whatever is not in an earlier one is new."""
Look = Callable[[], Seen]


def port_path(options: msgspec.Struct) -> Path | None:
    """Return the name under /dev that a device is opened by; None for one on the network or found by other means."""
    for key in ("port", "connect", "chip", "device"):
        value = getattr(options, key, None)
        if isinstance(value, str) and value.removeprefix("serial://").startswith("/"):
            return Path(value.removeprefix("serial://").split("?")[0])
    return None


def watch_for(options: msgspec.Struct) -> Look | None:
    """Return how to see that a device may be back; None where nothing tells, as on the network."""
    if (path := port_path(options)) is not None:
        return partial(look, path)
    return look_at_usb if _is_on_usb(options) else None


def look(path: Path) -> Seen:
    """Return what stands behind a name now, links followed; empty while there is nothing."""
    try:
        found = path.stat()
    except OSError:
        return frozenset()
    return frozenset({(found.st_dev, found.st_ino, found.st_rdev)})


def look_at_usb() -> Seen:
    """Return what is plugged in on USB, each with who may open it: udev says that a moment after the kernel made it."""
    seen = set[tuple[int, ...]]()
    for node in USB_NODES.glob("*/*"):
        try:
            found = node.stat()
        except OSError:
            continue
        seen.add((found.st_ino, found.st_rdev, found.st_mode, found.st_uid, found.st_gid))
    return frozenset(seen)


async def pause(watch: Look | None, before: Seen, pause_s: float) -> bool:
    """Wait for `pause_s` seconds, or until `watch` sees what was not there `before`, if that is sooner.

    Returns True where something new ended it.
    """
    loop = asyncio.get_running_loop()
    until_s = loop.time() + pause_s
    while (left_s := until_s - loop.time()) > 0:
        await asyncio.sleep(left_s if watch is None else min(LOOK_S, left_s))
        now = frozenset() if watch is None else watch()
        if now - before:
            return True
        before = now
    return False


def _is_on_usb(options: msgspec.Struct) -> bool:
    """Whether a device is looked for among those on USB: by an address, as a relay board, or by pcscd."""
    addresses = (getattr(options, key, None) for key in ("port", "connect"))
    named = any(isinstance(one, str) and one.partition(":")[0] == "usb" for one in addresses)
    return named or any(hasattr(options, key) for key in ("usb_path", "reader"))

"""`venue-gateway scanners`: scanners that type are taken from the kernel's keyboards; their keys reach no console.

For those on USB (`usb_scanners`) and for those that the kernel has to read (`muting`) it is done in different ways.
"""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from gateway.config.schema import Configuration
from gateway.ops import muting, usb_scanners
from gateway.ops.findings import Finding
from gateway.ops.muting import ReadButtons, read_buttons
from gateway.ops.system_files import Run, Say
from gateway.ops.usb_scanners import Kind

OK, REFUSED = 0, 1
COMMAND_S = 120.0


class Places(msgspec.Struct, frozen=True):
    """Where the system keeps what is changed and looked at; a test has its own."""

    usb: usb_scanners.Places = usb_scanners.Places()
    keyboards: muting.Places = muting.Places()


class Scanners(msgspec.Struct, frozen=True):
    """The configured scanners that type, by name."""

    kinds: dict[str, Kind] = {}
    """Those that are read over USB, and their kind."""
    ports: dict[str, str] = {}
    """Those that the kernel reads, and their input device."""


def scanners_of(configuration: Configuration) -> Scanners:
    """Return the scanners that type."""
    wedges = {one.name: one.options for one in configuration.devices.values() if one.driver == "wedge"}
    kinds = {name: getattr(options, "usb_kind", None) for name, options in wedges.items()}
    ports = {name: str(getattr(wedges[name], "port", "")) for name, kind in kinds.items() if kind is None}
    return Scanners({name: kind for name, kind in kinds.items() if kind is not None}, ports)


def apply(
    scanners: Scanners,
    places: Places | None = None,
    *,
    run: Run | None = None,
    say: Say = print,
    buttons: ReadButtons = read_buttons,
) -> int:
    """Take exactly these scanners from the kernel's keyboards, and give back others that once were; returns the status.

    Says what to do where something cannot be done, and does all else.
    """
    places, run = places or Places(), run or _run
    steps: tuple[Callable[[], int], ...] = (
        partial(usb_scanners.apply, scanners.kinds.values(), places.usb, run=run, say=say),
        partial(muting.apply, scanners.ports.values(), places.keyboards, run=run, say=say, buttons=buttons),
    )
    status = OK
    for step in steps:
        try:
            status = max(status, step())
        except PermissionError as error:
            say(f"{error.filename} may not be changed: run this with sudo.")
            return REFUSED
        except OSError as error:
            say(_what_to_do(error))
            status = REFUSED
    return status


def _what_to_do(error: OSError) -> str:
    file = Path(str(error.filename))
    match error.errno:
        case errno.EROFS:
            return f"{file} cannot be changed, it is on a read-only disk: make that writable, and run this again."
        case errno.ENOSPC:
            return f"{file} cannot be changed, its disk is full: make room there, and run this again."
    return f"{file} cannot be changed: {error.strerror}. Mend that, and run this again."


def _run(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, check=False, timeout=COMMAND_S).returncode == 0  # noqa: S603 - our own words
    except (OSError, subprocess.TimeoutExpired):
        return False


def check_scanners(configuration: Configuration, places: Places | None = None) -> list[Finding]:
    """Doctor's look at the scanners that type: whether anything but the gateway can get their keys."""
    places, scanners = places or Places(), scanners_of(configuration)
    return [
        *usb_scanners.check(scanners.kinds, places.usb),
        *(muting.check(name, port, places.keyboards) for name, port in scanners.ports.items()),
    ]

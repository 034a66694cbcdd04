"""What goes wrong with a printer on USB, in a technician's words."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from drivers.api import DeviceOffline
from drivers.transports.errors import user


def cannot_open_printer(path: str, error: OSError) -> DeviceOffline:
    """Return the DeviceOffline for a printer device of the kernel's that could not be opened."""
    match error.errno:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return DeviceOffline(f"{path} does not exist: check the printer's power and cable, and 'ls /dev/usb'")
        case errno.EACCES | errno.EPERM:
            return DeviceOffline(
                f"{path} may not be opened by user {user()}: run 'sudo adduser {user()} lp' and start again"
            )
        case errno.EBUSY:
            return DeviceOffline(f"{path} is in use by another program, such as CUPS: stop that")
    return DeviceOffline(f"{path} cannot be opened: {os.strerror(error.errno or 0)}")


def cannot_open_usb(
    address: str, code: int | None, who: Callable[[], str] = lambda: "another program"
) -> DeviceOffline:
    """Return the DeviceOffline for a USB printer that is there and could not be taken; `code` is an errno.

    `who` names those that have it, and is asked only where somebody does.
    """
    match code:
        case errno.EACCES | errno.EPERM:
            return DeviceOffline(
                f"{address} may not be opened by user {user()}: run 'sudo adduser {user()} lp' and start again; "
                "if that does not help, it needs a udev rule, which docs/hardware/printers.md has"
            )
        case errno.EBUSY:
            return DeviceOffline(
                f"{address} is in use by {who()}: stop that, often it is CUPS, or name another printer"
            )
        case errno.ENODEV | errno.EIO | errno.EPIPE:
            return DeviceOffline(f"{address} does not answer on USB: plug it out and in again, or switch it off and on")
    return DeviceOffline(f"{address} cannot be opened: {os.strerror(code) if code else 'libusb does not say why'}")


def usb_gone(address: str, code: int | None) -> OSError:
    """Return the error with which a USB link ended, as the errno that `why_lost` has words for."""
    # libusb tells a device that has gone by several names, depending on which transfer finds out.
    code = errno.ENODEV if code in {None, errno.EPIPE, errno.EPROTO, errno.ENOENT} else code
    return OSError(code, os.strerror(code or errno.EIO), address)

"""Taking a USB interface from the kernel's own driver, and who has a device that cannot be taken."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import usb.core

from drivers.transports.errors import holders

NODES = Path("/dev/bus/usb")


def take_from_kernel(device: Any, number: int) -> bool:  # noqa: ANN401 - pyusb carries no types
    """Unbind the kernel's driver from an interface; True where it had it until now. Raises USBError."""
    try:
        if not device.is_kernel_driver_active(number):
            return False
        device.detach_kernel_driver(number)
    except NotImplementedError:
        return False
    except usb.core.USBError as error:
        # A udev rule may have unbound it in between.
        if error.errno != errno.ENOENT:
            raise
        return False
    return True


def who_has(device: Any) -> str:  # noqa: ANN401
    """Name who has a device open, as far as this user may see. Ask only when this link has let go of it."""
    return holders(str(NODES / f"{device.bus:03}/{device.address:03}"))

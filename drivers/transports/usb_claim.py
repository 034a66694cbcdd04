"""Finding a USB device and taking it from the kernel's own driver, and who has one that cannot be taken. Blocks."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import usb.core
import usb.util

from drivers.api import DriverError
from drivers.transports.errors import holders
from drivers.transports.usb_address import find_usb

NODES = Path("/dev/bus/usb")
Claimed = TypeVar("Claimed")


class CannotOpen(Protocol):
    """What to tell of a device that is there and cannot be taken."""

    def __call__(self, address: str, code: int | None, who: Callable[[], str] = ...) -> DriverError:
        """Return the error for an errno; `who` names those that have the device, and is asked only where some do."""
        ...


def claimed(
    address: str, backend: Callable[[], Any], claim: Callable[[str, Any], Claimed], cannot_open: CannotOpen
) -> Claimed:
    """Find the device of that address and return what `claim(address, device)` makes of it; raises DriverError."""
    try:
        device = find_usb(address, backend())
    except usb.core.USBError as error:
        raise cannot_open(address, error.errno) from error
    try:
        return claim(address, device)
    except usb.core.USBError as error:
        usb.util.dispose_resources(device)
        raise cannot_open(address, error.errno, lambda: who_has(device)) from error
    except DriverError:
        usb.util.dispose_resources(device)
        raise


def configuration_of(device: Any) -> Any:  # noqa: ANN401 - pyusb carries no types
    """Return the configuration that is in force, the first one where there was none. Raises USBError."""
    try:
        return device.get_active_configuration()
    except usb.core.USBError:
        device.set_configuration()
        return device.get_active_configuration()


def take_from_kernel(device: Any, number: int) -> bool:  # noqa: ANN401
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

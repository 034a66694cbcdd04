"""USB devices of the HID class that are spoken to by feature reports, over libusb.

Every call of pyusb blocks, and a device that hangs makes it block for its whole time. So each device has a thread of
its own, and nothing else ever waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import msgspec
import usb.core
import usb.util

from drivers.api import DeviceOffline, DeviceTimeout, DriverError
from drivers.transports.usb_claim import take_from_kernel

TRANSFER_TIMEOUT_MS = 500
CALL_TIMEOUT_S = 2.0
"""Longer than any transfer; a thread that is not back by then is left behind with its device."""

_SET_REPORT, _GET_REPORT = 0x09, 0x01
_FEATURE = 0x0300
_TO_INTERFACE, _FROM_INTERFACE = 0x21, 0xA1

Result = TypeVar("Result")


class HidFound(msgspec.Struct, frozen=True):
    """One attached device: its USB product text, and the path of the sockets it hangs on, such as `1-1.2`."""

    product: str
    path: str
    device: Any


class HidBus(Protocol):
    """Where HID devices are: the system's USB, or a stand-in."""

    def find(self, vendor: int, product: int) -> list[HidFound]:
        """Return every attached device of this kind; raises DriverError. Blocks."""
        ...

    def set_feature(self, device: Any, report: int, data: bytes) -> None:  # noqa: ANN401
        """Send a feature report; raises DriverError. Blocks for half a second at most."""
        ...

    def get_feature(self, device: Any, report: int, length: int) -> bytes:  # noqa: ANN401
        """Ask for a feature report; raises DriverError. Blocks for half a second at most."""
        ...

    def open(self, device: Any) -> None:  # noqa: ANN401
        """Take the device away from the kernel's own driver; raises DriverError. Blocks."""
        ...

    def probe(self, device: Any) -> None:  # noqa: ANN401
        """Ask for what every USB device answers; raises DriverError when it is gone. Blocks."""
        ...

    def close(self, device: Any) -> None:  # noqa: ANN401
        """Give the device back. Blocks."""
        ...


class UsbHidBus:
    """The system's USB, by pyusb."""

    def find(self, vendor: int, product: int) -> list[HidFound]:
        """Return every attached device of this kind."""
        devices: Iterable[Any] = _translated("USB", lambda: usb.core.find(True, idVendor=vendor, idProduct=product))
        return [HidFound(_product(device), usb_path(device), device) for device in devices]

    def set_feature(self, device: Any, report: int, data: bytes) -> None:  # noqa: ANN401
        """Send a feature report (HID 1.11, 7.2.2)."""
        name = f"USB device {usb_path(device)}"
        value = _FEATURE | report
        _translated(name, lambda: device.ctrl_transfer(_TO_INTERFACE, _SET_REPORT, value, 0, data, TRANSFER_TIMEOUT_MS))

    def get_feature(self, device: Any, report: int, length: int) -> bytes:  # noqa: ANN401
        """Ask for a feature report (HID 1.11, 7.2.1)."""
        name = f"USB device {usb_path(device)}"
        value = _FEATURE | report
        return bytes(
            _translated(
                name, lambda: device.ctrl_transfer(_FROM_INTERFACE, _GET_REPORT, value, 0, length, TRANSFER_TIMEOUT_MS)
            )
        )

    def open(self, device: Any) -> None:  # noqa: ANN401
        """Take the device away from usbhid, which would refuse our transfers as busy."""
        _translated(f"USB device {usb_path(device)}", lambda: take_from_kernel(device, 0))

    def probe(self, device: Any) -> None:  # noqa: ANN401
        """Ask for the device's status (USB 2.0, 9.4.5)."""
        name = f"USB device {usb_path(device)}"
        _translated(name, lambda: device.ctrl_transfer(0x80, 0x00, 0, 0, 2, TRANSFER_TIMEOUT_MS))

    def close(self, device: Any) -> None:  # noqa: ANN401
        """Give the device back."""
        usb.util.dispose_resources(device)


class HidThread:
    """The thread of one device; `call` runs a blocking function in it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="hid")
        self._hangs = False

    async def call(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Return what `function` returns; raises what it raises, and DeviceTimeout when it hangs."""
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return await asyncio.get_running_loop().run_in_executor(self._pool, function, *arguments)
        except TimeoutError:
            self._hangs = True
            raise DeviceTimeout(f"{self._name} does not come back: unplug it and plug it in again") from None

    async def end(self, last: Callable[[], object]) -> None:
        """Run `last`, which lets go of the device, and let the thread end. Never raises.

        A call that hangs is waited for by the thread alone: `last` follows whenever it comes back.
        """
        done = self._pool.submit(last)
        self._pool.shutdown(wait=False)
        if not self._hangs:
            await asyncio.wait({asyncio.wrap_future(done)}, timeout=CALL_TIMEOUT_S)

    def join(self) -> None:
        """Let the thread end, and wait until its last call has come back. Blocks."""
        self._pool.shutdown()


def usb_path(device: Any) -> str:  # noqa: ANN401
    """Return where a pyusb device is plugged in, as in sysfs: bus, then the ports on the way, such as `1-1.2`."""
    ports = ".".join(str(port) for port in device.port_numbers or ())
    return f"{device.bus}-{ports}" if ports else f"usb{device.bus}"


def _product(device: Any) -> str:  # noqa: ANN401
    """Return the product text, or nothing where the device may not be asked."""
    try:
        return device.product or ""
    except (usb.core.USBError, ValueError, NotImplementedError):
        return ""


def _translated(name: str, call: Callable[[], Result]) -> Result:
    try:
        return call()
    except usb.core.NoBackendError as error:
        raise DeviceOffline("libusb is missing: install the package libusb-1.0-0") from error
    except usb.core.USBTimeoutError as error:
        raise DeviceTimeout(f"{name} did not answer within {TRANSFER_TIMEOUT_MS} ms") from error
    except usb.core.USBError as error:
        raise _usb_error(name, error) from error


def _usb_error(name: str, error: Any) -> DriverError:  # noqa: ANN401
    if error.errno in {1, 13}:
        return DeviceOffline(f"{name} may not be opened: install the gateway's udev rules and plug it in again")
    if error.errno in {2, 19}:
        return DeviceOffline(f"{name} is gone: unplugged or without power")
    if error.errno == 16:
        return DeviceOffline(f"{name} is in use by another program: stop that")
    return DeviceOffline(f"{name} cannot be spoken to: {error.strerror or error}")

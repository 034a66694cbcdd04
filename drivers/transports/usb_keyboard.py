"""USB keyboards by libusb, in place of the kernel: what is read here was never a key of this computer.

Facts: a keyboard that works before an operating system does is interface class 3, subclass 1, protocol 1. It sends the
boot reports of `drivers.codecs.hid_keyboard` after SET_PROTOCOL 0, and only changes after SET_IDLE 0 (HID 1.11, 7.2.4,
7.2.6 and appendix B). What one does not know of these it answers with a stall, and then does so already.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Callable
from typing import Any, Self

import usb.core
import usb.util

from drivers.api import DeviceFault, DeviceOffline, DriverError, DriverFailed
from drivers.codecs.hid_keyboard import BootKeyboard
from drivers.transports.errors import why_lost
from drivers.transports.hid import HidThread
from drivers.transports.usb_address import find_usb, libusb

SLICE_MS = 200
"""How long one call to libusb may block: what is given up stops within this time."""
QUIET_S = 0.3
"""A scanner that typed no key for so long has told all that it held; its keys are some 10 ms apart."""
QUIET_WITHIN_S = 2.0
REPEAT_S = 0.005
"""One that ignores SET_IDLE, or answers with nothing at once, is asked no oftener; a key is down for longer."""
REPORTS_A_SECOND_MAX = 1500
"""Changes only. A scanner at full speed has at most 1,000; one that has more is broken, at the cost of others (I8)."""
_HID = 3
_BOOT_KEYBOARD = (_HID, 1, 1)
_SET_IDLE, _SET_PROTOCOL = (0x21, 0x0A), (0x21, 0x0B)

OnKey = Callable[[int, int, float], None]


class UsbKeyboard:
    """A keyboard taken from the kernel. `lost` reads it and calls `on_key(code, value, at_s)` in the event loop.

    It is not given back when it is closed: what it types while nobody reads it is typed nowhere.
    """

    def __init__(self, address: str, link: _Link, thread: HidThread, on_key: OnKey) -> None:
        self.name = link.name
        self._address = address
        self._link = link
        self._thread = thread
        self._on_key = on_key
        self._keys = BootKeyboard()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the keyboard. Never raises."""
        with contextlib.suppress(DriverError):
            await self._thread.call(self._link.close)
        self._thread.close()

    async def forget(self, quiet_s: float) -> None:
        """Throw away what the keyboard held while nobody read it, until it has typed no key for `quiet_s`.

        A keyboard keeps what nobody fetches, and who scanned then is gone: it must open nothing now. Raises
        DeviceOffline when it types on and on, or is gone.
        """
        loop = asyncio.get_running_loop()
        began_s = last_s = loop.time()
        while (left_s := last_s + quiet_s - loop.time()) > 0:
            # Some repeat a report though no key has changed. That is no typing, and must not keep them offline.
            if self._keys.report(await self._thread.call(self._link.read, left_s)):
                last_s = loop.time()
            if last_s - began_s > QUIET_WITHIN_S:
                raise DeviceOffline(f"{self._address} types on and on: let go of its trigger, take the code away")

    async def lost(self) -> DriverError:
        """Read until the keyboard is gone, or floods, and return why."""
        loop = asyncio.get_running_loop()
        window_ends_s, reports = loop.time() + 1, 0
        while True:
            try:
                report = await self._thread.call(self._link.read)
            except DriverError as error:
                return error
            if loop.time() >= window_ends_s:
                window_ends_s, reports = loop.time() + 1, 0
            reports += bool(report)
            if reports > REPORTS_A_SECOND_MAX:
                why = f"{self._address} floods: more than {REPORTS_A_SECOND_MAX} reports a second"
                return DriverFailed(why, "flood")
            for code, value in self._keys.report(report):
                self._on_key(code, value, loop.time())


async def open_usb_keyboard(
    address: str, on_key: OnKey, backend: Callable[[], Any] = libusb, quiet_s: float = QUIET_S
) -> UsbKeyboard:
    """Take the keyboard that `address` names, from the kernel's driver if that has it, and forget what it held so far.

    Raises DeviceOffline when it is not there, not alone of its kind, may not be taken, or does not stop typing;
    DeviceFault when it is no keyboard, or only one of a kind that needs the kernel.
    """
    thread = HidThread(address)
    try:
        link = await thread.call(_Link.open, address, backend)
    except BaseException:
        thread.close()
        raise
    keyboard = UsbKeyboard(address, link, thread, on_key)
    try:
        await keyboard.forget(quiet_s)
    except BaseException:
        await keyboard.close()
        raise
    return keyboard


class _Link:
    """A keyboard that is claimed with all its interfaces. Every method blocks, `read` for `SLICE_MS` at most."""

    def __init__(self, address: str, device: Any, endpoint: Any) -> None:  # noqa: ANN401
        self.name = _product(device) or address
        self._address = address
        self._device = device
        self._endpoint = endpoint
        self._last = b""

    @classmethod
    def open(cls, address: str, backend: Callable[[], Any]) -> _Link:
        """Find and claim; raises DriverError."""
        try:
            device = find_usb(address, backend())
        except usb.core.USBError as error:
            raise _cannot_open(address, error.errno) from error
        try:
            return cls._claim(address, device)
        except usb.core.USBError as error:
            usb.util.dispose_resources(device)
            raise _cannot_open(address, error.errno) from error
        except DriverError:
            usb.util.dispose_resources(device)
            raise

    @classmethod
    def _claim(cls, address: str, device: Any) -> _Link:  # noqa: ANN401
        interfaces = [each for each in _configuration(device) if each.bInterfaceClass == _HID]
        keyboard = next((each for each in interfaces if _kind(each) == _BOOT_KEYBOARD), None)
        endpoint = None if keyboard is None else _endpoint(keyboard)
        if keyboard is None or endpoint is None:
            raise DeviceFault(
                f"{address} is no keyboard that can be read over USB: set the scanner to keyboard (HID), or name it "
                "by its input device under /dev/input/by-id, run 'sudo venue-gateway scanners apply' again, and restart"
            )
        # A scanner may type some characters as another keyboard, which is not to be the computer's either.
        for interface in interfaces:
            _take(device, interface.bInterfaceNumber)
        for request in (_SET_PROTOCOL, _SET_IDLE):
            _ask(device, request, keyboard.bInterfaceNumber)
        return cls(address, device, endpoint)

    def read(self, within_s: float = SLICE_MS / 1000) -> bytes:
        """The next report that is another; empty when none comes in a moment. Raises DeviceOffline when it is gone."""
        until_s = time.monotonic() + min(within_s, SLICE_MS / 1000)
        while (left_s := until_s - time.monotonic()) > 0:
            report = self._read_once(left_s)
            if report and report != self._last:
                self._last = report
                return report
            time.sleep(min(REPEAT_S, left_s))
        return b""

    def _read_once(self, within_s: float) -> bytes:
        # To libusb no time at all means without end.
        within_ms = max(1, round(within_s * 1000))
        try:
            return bytes(self._endpoint.read(self._endpoint.wMaxPacketSize, within_ms))
        except usb.core.USBTimeoutError:
            return b""
        except usb.core.USBError as error:
            if error.errno == errno.EPIPE:
                with contextlib.suppress(usb.core.USBError):
                    self._device.clear_halt(self._endpoint.bEndpointAddress)
            code = errno.EIO if error.errno is None else error.errno
            raise why_lost(self._address, OSError(code, os.strerror(code))) from error

    def close(self) -> None:
        """Let go of the keyboard, and leave it without a driver."""
        usb.util.dispose_resources(self._device)


def _configuration(device: Any) -> Any:  # noqa: ANN401
    try:
        return device.get_active_configuration()
    except usb.core.USBError:
        device.set_configuration()
        return device.get_active_configuration()


def _kind(interface: Any) -> tuple[int, int, int]:  # noqa: ANN401
    return (interface.bInterfaceClass, interface.bInterfaceSubClass, interface.bInterfaceProtocol)


def _endpoint(interface: Any) -> Any:  # noqa: ANN401
    return usb.util.find_descriptor(
        interface,
        custom_match=lambda each: (
            usb.util.endpoint_direction(each.bEndpointAddress) == usb.util.ENDPOINT_IN
            and usb.util.endpoint_type(each.bmAttributes) == usb.util.ENDPOINT_TYPE_INTR
        ),
    )


def _take(device: Any, number: int) -> None:  # noqa: ANN401
    with contextlib.suppress(NotImplementedError):
        if device.is_kernel_driver_active(number):
            device.detach_kernel_driver(number)
    usb.util.claim_interface(device, number)


def _ask(device: Any, request: tuple[int, int], number: int) -> None:  # noqa: ANN401
    try:
        device.ctrl_transfer(*request, 0, number, None, SLICE_MS)
    except usb.core.USBTimeoutError:
        pass
    except usb.core.USBError as error:
        if error.errno != errno.EPIPE:
            raise


def _product(device: Any) -> str:  # noqa: ANN401
    try:
        return str(device.product or "")
    except (usb.core.USBError, ValueError):
        return ""


def _cannot_open(address: str, code: int | None) -> DriverError:
    match code:
        case errno.EACCES | errno.EPERM:
            return DeviceOffline(
                f"{address} may not be opened: run 'sudo venue-gateway scanners apply', then plug it out and in"
            )
        case errno.EBUSY:
            return DeviceOffline(f"{address} is in use by another program: stop that")
        case errno.ENODEV | errno.EIO | errno.EPIPE:
            return DeviceOffline(f"{address} does not answer on USB: plug it out and in again")
    return DeviceOffline(f"{address} cannot be opened: {os.strerror(code) if code else 'libusb does not say why'}")

"""A USB keyboard as libusb has it: found, taken from the kernel, and set to the reports that are read here. Blocks.

Facts: a keyboard that works before an operating system does is interface class 3, subclass 1, protocol 1. It sends the
boot reports of `drivers.codecs.hid_keyboard` after SET_PROTOCOL 0, and only changes after SET_IDLE 0 (HID 1.11, 7.2.4
to 7.2.6 and appendix B). A device may have several such interfaces, and type some characters by the one and some by the
other. What it does not know it answers with a stall; then GET_PROTOCOL says what it speaks, or its report descriptor
that both are the same (7.1.1).
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from typing import Any

import usb.core
import usb.util

from drivers.api import DeviceFault, DeviceOffline, DriverError
from drivers.codecs.hid_reports import DESCRIPTOR_BYTES_MAX, is_boot_layout
from drivers.transports.errors import why_lost
from drivers.transports.usb_address import ASK_MS
from drivers.transports.usb_claim import claimed, configuration_of, take_from_kernel

SLICE_MS = 200
"""How long one call to libusb may block: what is given up stops within this time."""
REPEAT_S = 0.005
"""One that ignores SET_IDLE, or answers with nothing at once, is asked no oftener; a key is down for longer."""
_HID = 3
_BOOT_KEYBOARD = (_HID, 1, 1)
_SET_IDLE, _SET_PROTOCOL, _GET_PROTOCOL = (0x21, 0x0A), (0x21, 0x0B), (0xA1, 0x03)
_GET_REPORT_DESCRIPTOR = (0x81, 0x06, 0x2200)
_BOOT = 0
_OTHERWISE = (
    "set it to serial, or name it by its input device under /dev/input/by-id, run 'sudo venue-gateway scanners apply' "
    "again, and restart"
)


class KeyboardInput:
    """One interface that types."""

    def __init__(self, address: str, device: Any, endpoint: Any) -> None:  # noqa: ANN401 - pyusb carries no types
        self._address = address
        self._device = device
        self._endpoint = endpoint
        self._last = b""

    def read(self) -> bytes:
        """The next report that is another; empty when none comes in a moment. Raises DeviceOffline when it is gone."""
        until_s = time.monotonic() + SLICE_MS / 1000
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


class KeyboardLink:
    """A keyboard that is claimed with all its interfaces; `inputs` are those that type."""

    def __init__(self, address: str, device: Any, endpoints: list[Any]) -> None:  # noqa: ANN401
        self.name = _product(device) or address
        self.inputs = [KeyboardInput(address, device, endpoint) for endpoint in endpoints]
        self._device = device

    @classmethod
    def open(cls, address: str, backend: Callable[[], Any]) -> KeyboardLink:
        """Find and claim; raises DriverError."""
        return claimed(address, backend, cls._claim, _cannot_open)

    @classmethod
    def _claim(cls, address: str, device: Any) -> KeyboardLink:  # noqa: ANN401
        interfaces = [each for each in configuration_of(device) if each.bInterfaceClass == _HID]
        typing = {each.bInterfaceNumber: found for each in interfaces if (found := _typed_at(each)) is not None}
        if not typing:
            raise DeviceFault(
                f"{address} is no keyboard that can be read over USB: set it to keyboard (HID), {_OTHERWISE}"
            )
        # What is not read here is not to be the computer's either.
        for number in {each.bInterfaceNumber for each in interfaces}:
            take_from_kernel(device, number)
            usb.util.claim_interface(device, number)
        for number in typing:
            if not _speaks_boot_reports(device, number):
                raise DeviceFault(
                    f"{address} is a keyboard, but keeps to reports of its own that are not read here: {_OTHERWISE}"
                )
            _ask(device, *_SET_IDLE, 0, number, None)
        return cls(address, device, list(typing.values()))

    def close(self) -> None:
        """Let go of the keyboard, and leave it without a driver."""
        usb.util.dispose_resources(self._device)


def _typed_at(interface: Any) -> Any:  # noqa: ANN401
    """The endpoint by which an interface types; None where it is no keyboard of the boot kind."""
    kind = (interface.bInterfaceClass, interface.bInterfaceSubClass, interface.bInterfaceProtocol)
    if kind != _BOOT_KEYBOARD or interface.bAlternateSetting:
        return None
    return usb.util.find_descriptor(
        interface,
        custom_match=lambda each: (
            usb.util.endpoint_direction(each.bEndpointAddress) == usb.util.ENDPOINT_IN
            and usb.util.endpoint_type(each.bmAttributes) == usb.util.ENDPOINT_TYPE_INTR
        ),
    )


def _speaks_boot_reports(device: Any, number: int) -> bool:  # noqa: ANN401
    is_set = _ask(device, *_SET_PROTOCOL, _BOOT, number, None) is not None
    spoken = _ask(device, *_GET_PROTOCOL, 0, number, 1)
    if spoken:
        is_set = spoken[0] == _BOOT
    return is_set or is_boot_layout(_ask(device, *_GET_REPORT_DESCRIPTOR, number, DESCRIPTOR_BYTES_MAX) or b"")


def _ask(device: Any, *request: Any) -> bytes | None:  # noqa: ANN401
    """Ask and return the answer; None where the keyboard does not know that, or says nothing."""
    try:
        answer = device.ctrl_transfer(*request, ASK_MS)
    except usb.core.USBTimeoutError:
        return None
    except usb.core.USBError as error:
        if error.errno != errno.EPIPE:
            raise
        return None
    return bytes(answer) if request[0] & usb.util.CTRL_IN else b""


def _product(device: Any) -> str:  # noqa: ANN401
    try:
        return str(device.product or "")
    except (usb.core.USBError, ValueError):
        return ""


def _cannot_open(address: str, code: int | None, who: Callable[[], str] = lambda: "another program") -> DriverError:
    match code:
        case errno.EACCES | errno.EPERM:
            return DeviceOffline(
                f"{address} may not be opened: run 'sudo venue-gateway scanners apply', then plug it out and in"
            )
        case errno.EBUSY:
            return DeviceOffline(f"{address} is in use by {who()}: stop that, or name another scanner")
        case errno.ENODEV | errno.EIO | errno.EPIPE:
            return DeviceOffline(f"{address} does not answer on USB: plug it out and in again")
    return DeviceOffline(f"{address} cannot be opened: {os.strerror(code) if code else 'libusb does not say why'}")

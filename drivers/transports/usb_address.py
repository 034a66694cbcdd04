"""USB devices by libusb: an address that lasts, and the one device it means."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

import usb.backend.libusb1
import usb.core
import usb.util

from drivers.api import DeviceFault, DeviceOffline

_SERIAL = r"[^\s/?=]{1,126}"
USB_ADDRESS = (
    r"usb://(?P<vid>[0-9a-fA-F]{4}):(?P<pid>[0-9a-fA-F]{4})"
    rf"(?:/(?:port=(?P<port>[0-9]{{1,3}}-[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{0,6}})|(?P<serial>{_SERIAL})))?"
)
"""Pattern of a USB device: `usb://04b8:0e15`, with `/SERIALNUMBER` or with `/port=1-1.4`, where it is plugged in."""
ASK_MS = 200
"""How long a device may take to answer one question of its description; some, once confused, answer none."""
_address = re.compile(USB_ADDRESS)
_GET_STATUS = (0x80, 0)


def libusb() -> Any:  # noqa: ANN401 - pyusb carries no types
    """The libusb backend of this system. Raises DeviceFault when the library is not installed."""
    backend = usb.backend.libusb1.get_backend()
    if backend is None:
        raise DeviceFault("libusb is not installed: run 'sudo apt-get install libusb-1.0-0'")
    return backend


def kind_of(address: str) -> tuple[int, int] | None:
    """Vendor and product of an address; None for text that is none."""
    match = _address.fullmatch(address)
    return (int(match["vid"], 16), int(match["pid"], 16)) if match else None


def address_of(kind: str, serial: str, port: str) -> str:
    """The address of one device of a `kind` such as `04b8:0e15`, which lasts and means no other.

    By its serial number, as `serial_text` gives it; by its socket where it has none, or one that no address can hold.
    """
    return f"usb://{kind}/{serial if re.fullmatch(_SERIAL, serial) else 'port=' + port}"


def serial_text(told: str) -> str:
    """What a device tells as its serial number, without the blanks and zeros that fill it up at its ends."""
    return re.sub(r"\A[\s\0]+|[\s\0]+\Z", "", told)


def find_usb(address: str, backend: Any) -> Any:  # noqa: ANN401
    """The one device of that address.

    Only devices of that vendor and product are asked for their serial number, and only where the address has one or
    somebody must be told which are there. Raises DeviceFault for no address, DeviceOffline for none or several devices,
    USBError where it may not be asked.
    """
    match = _address.fullmatch(address)
    if match is None:
        raise DeviceFault(f"{address!r} names no USB device: write usb://VENDOR:PRODUCT/SERIAL, as in lsusb")
    vendor, product = int(match["vid"], 16), int(match["pid"], 16)
    plugged = [_Plugged(each) for each in usb.core.find(True, backend=backend, idVendor=vendor, idProduct=product)]
    chosen: _Plugged | None = None
    try:
        chosen = _choose(address, match, plugged)
    finally:
        for each in plugged:
            if each is not chosen:
                usb.util.dispose_resources(each.device)
    return chosen.device


class _Plugged:
    """A device of the kind that is looked for."""

    def __init__(self, device: Any) -> None:  # noqa: ANN401
        device.default_timeout = ASK_MS
        self.device = device
        self.port = port_of(device)

    @cached_property
    def serial(self) -> str:
        """Its serial number; empty when it has none, does not tell it, or may not be asked by this user."""
        try:
            return serial_text(str(usb.util.get_string(self.device, self.device.iSerialNumber) or ""))
        except (usb.core.USBError, ValueError):
            return ""

    @property
    def hides_its_serial(self) -> bool:
        return bool(self.device.iSerialNumber) and not self.serial

    def is_meant(self, serial: str | None, port: str | None) -> bool:
        if port is not None:
            return self.port == port
        return serial is None or self.serial == serial


def _choose(address: str, match: re.Match[str], plugged: list[_Plugged]) -> _Plugged:
    meant = [each for each in plugged if each.is_meant(match["serial"], match["port"])]
    if len(meant) == 1:
        return meant[0]
    if match["serial"] and not meant:
        _must_tell(address, plugged)
    names = ", ".join(sorted(address_of(f"{match['vid']}:{match['pid']}", each.serial, each.port) for each in plugged))
    if meant:
        raise DeviceOffline(f"{address} is plugged in {len(meant)} times; write which one: {names}")
    hint = f"plugged in of this kind: {names}" if plugged else "none of this kind is plugged in"
    raise DeviceOffline(f"{address} is not there: check its power, its cable and the address; {hint}")


def _must_tell(address: str, plugged: list[_Plugged]) -> None:
    """Raise for a device that has a serial number and does not tell it: it could be the one.

    USBError where it may not be asked, DeviceOffline where it does not answer.
    """
    for each in plugged:
        if each.hides_its_serial:
            try:
                each.device.ctrl_transfer(*_GET_STATUS, 0, 0, 2, ASK_MS)
            except usb.core.USBTimeoutError as error:
                raise DeviceOffline(
                    f"{address} is not there, or it is what hangs at {each.port} and tells no serial number: "
                    "plug that out and in"
                ) from error


def port_of(device: Any) -> str:  # noqa: ANN401
    """The sockets a device is plugged into, as the kernel writes them: bus, then a port for each hub on the way."""
    return f"{device.bus}-{'.'.join(str(port) for port in device.port_numbers or (0,))}"

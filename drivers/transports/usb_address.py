"""USB devices by libusb: an address that lasts, and the one device it means."""

from __future__ import annotations

import re
from typing import Any

import usb.backend.libusb1
import usb.core
import usb.util

from drivers.api import DeviceFault, DeviceOffline

USB_ADDRESS = (
    r"usb://(?P<vid>[0-9a-fA-F]{4}):(?P<pid>[0-9a-fA-F]{4})"
    r"(?:/(?:port=(?P<port>[0-9]{1,3}-[0-9]{1,3}(?:\.[0-9]{1,3}){0,6})|(?P<serial>[^\s/?=]{1,126})))?"
)
"""Pattern of a USB device: `usb://04b8:0e15`, with `/SERIALNUMBER` or with `/port=1-1.4`, where it is plugged in."""
STATUS_MS = 200
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


def find_usb(address: str, backend: Any) -> Any:  # noqa: ANN401
    """The one device of that address.

    Raises DeviceFault for no address, DeviceOffline for none or several devices, USBError where it may not be asked.
    """
    match = _address.fullmatch(address)
    if match is None:
        raise DeviceFault(f"{address!r} names no USB device: write usb://VENDOR:PRODUCT/SERIAL, as in lsusb")
    vendor, product = int(match["vid"], 16), int(match["pid"], 16)
    found = list(usb.core.find(find_all=True, backend=backend, idVendor=vendor, idProduct=product))
    devices = [device for device in found if _is_it(device, match["serial"], match["port"])]
    if len(devices) == 1:
        return devices[0]
    kind = f"usb://{match['vid']}:{match['pid']}"
    names = ", ".join(sorted(_name(kind, device) for device in found))
    if devices:
        raise DeviceOffline(f"{address} is plugged in {len(devices)} times; write which one: {names}")
    if match["serial"]:
        _must_tell(found)
    hint = f"plugged in of this kind: {names}" if found else "none of this kind is plugged in"
    raise DeviceOffline(f"{address} is not there: check its power, its cable and the address; {hint}")


def _must_tell(devices: list[Any]) -> None:
    """Raise USBError for a device that has a serial number and may not be asked for it: it could be the one."""
    for device in devices:
        if device.iSerialNumber and not serial_of(device):
            device.ctrl_transfer(*_GET_STATUS, 0, 0, 2, STATUS_MS)


def _is_it(device: Any, serial: str | None, port: str | None) -> bool:  # noqa: ANN401
    if port is not None:
        return port_of(device) == port
    return serial is None or serial_of(device) == serial


def _name(kind: str, device: Any) -> str:  # noqa: ANN401
    """An address that means this device and no other of its kind."""
    serial = serial_of(device)
    return f"{kind}/{serial or 'port=' + port_of(device)}"


def serial_of(device: Any) -> str:  # noqa: ANN401
    """The serial number of a device; empty when it has none, or may not be asked by this user."""
    try:
        return str(usb.util.get_string(device, device.iSerialNumber) or "")
    except (usb.core.USBError, ValueError):
        return ""


def port_of(device: Any) -> str:  # noqa: ANN401
    """The sockets a device is plugged into, as the kernel writes them: bus, then a port for each hub on the way."""
    return f"{device.bus}-{'.'.join(str(port) for port in device.port_numbers or (0,))}"

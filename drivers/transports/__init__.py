"""Serial ports, sockets and USB printers behind one small interface, with errors in a technician's words."""

from __future__ import annotations

import re

from drivers.api import DeviceFault
from drivers.transports.printer_device import open_printer_device
from drivers.transports.serial import open_serial
from drivers.transports.tcp import open_tcp
from drivers.transports.transport import OnBytes, Transport, is_lost_within
from drivers.transports.usb_printer import open_usb_printer

__all__ = ["OnBytes", "Transport", "is_lost_within", "open_transport"]

_TCP = re.compile(r"tcp://(?:\[(?P<ip6>[^\]]+)\]|(?P<host>[^/:]+)):(?P<port>[0-9]{1,5})")
_PRINTER = re.compile(r"(?:lp://)?(?P<path>(?<=lp://)/\S+|/dev/(?:usb/)?lp[0-9]{1,3})")
_SERIAL = re.compile(r"(?:serial://)?(?P<path>/[^?]+)(?:\?baud=(?P<baud>[0-9]{1,7}))?")


async def open_transport(connect: str, on_bytes: OnBytes, *, baud: int = 9600) -> Transport:
    """Open the connection that `connect` names and return it, ready to write; use it as an async context manager.

    `connect` is a serial device (`/dev/serial/by-id/…`, also `serial:///dev/…?baud=19200`) or `tcp://HOST:PORT`,
    or a printer: `usb://04b8:0e15/SERIAL` by libusb, `/dev/usb/lp0` or `lp:///dev/NAME` by the kernel's driver.
    `baud` is the serial speed where `connect` names none. `on_bytes` is called from the event loop with whatever
    arrives, straight from the read and never before this function has returned. Raises DeviceOffline when the
    device is not there and DeviceFault when `connect` or `baud` can never work.
    """
    if match := _TCP.fullmatch(connect):
        return await open_tcp(match["ip6"] or match["host"], int(match["port"]), on_bytes)
    if connect.startswith("usb://"):
        return await open_usb_printer(connect, on_bytes)
    if match := _PRINTER.fullmatch(connect):
        return await open_printer_device(match["path"], on_bytes)
    if match := _SERIAL.fullmatch(connect):
        return await open_serial(match["path"], on_bytes, baud=int(match["baud"] or baud))
    raise DeviceFault(f"{connect!r} names no connection: write /dev/serial/by-id/… or tcp://HOST:PORT")

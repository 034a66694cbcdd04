"""Where a printer is, as the YAML writes it: on the network, on USB or on a serial port."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from drivers.options import TCP_ADDRESS
from drivers.transports.usb_address import USB_ADDRESS

DEFAULT_BAUD = 9600
_SERIAL = r"(?P<serial_line>(serial://)?/.+?(\?baud=(?P<baud>[0-9]{1,7}))?)"
_KERNEL = r"/dev/(usb/)?lp[0-9]{1,3}|lp:///\S+"
_ADDRESS = re.compile(rf"{TCP_ADDRESS}|{USB_ADDRESS}|{_KERNEL}|{_SERIAL}")
_ADVICE = (
    "write tcp://HOST:9100 (ports are 1 to 65535), usb://VENDOR:PRODUCT/SERIAL, serial:///dev/NAME or lp:///dev/usb/lp0"
)

PrinterAddress = Annotated[
    str,
    Meta(
        description="tcp://HOST:9100, usb://04b8:0e15/SERIALNUMBER (vendor and product as in lsusb; "
        "/port=1-1.4 for one without a serial number), serial:///dev/serial/by-id/NAME?baud=19200, "
        "or /dev/usb/lp0 by the kernel's driver.",
        max_length=300,
    ),
]


def check_address(address: str) -> None:
    """Raise ValueError for an address that can never work."""
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"connect: {address!r} is no address; {_ADVICE}")


def line_time_s(address: str, byte_count: int) -> float:
    """How long the bytes take by themselves: a serial line needs ten bit times for each."""
    match = _ADDRESS.fullmatch(address)
    if match is None or match["serial_line"] is None:
        return 0.0
    return byte_count * 10 / int(match["baud"] or DEFAULT_BAUD)

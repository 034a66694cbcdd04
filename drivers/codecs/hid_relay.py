"""USB HID relay boards 16c0:05df (V-USB firmware): feature reports of eight bytes, in two variants.

Commands are FF (close) and FD (open) with the relay's number. `USBRelay` boards answer feature report 1 with five
characters of serial number and, in byte 7, a bit for each relay. `HIDRelay` boards take the same commands and tell
nothing. Source: usb-relay-hid (github.com/pavel-a/usb-relay-hid, usb_relay_device.h) and usbrelay
(github.com/darrylb123/usbrelay).
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

VENDOR_ID: Final = 0x16C0
PRODUCT_ID: Final = 0x05DF
REPORT_BYTES: Final = 8
CHANNELS_MAX = 8

_CLOSE, _OPEN = 0xFF, 0xFD
_PRODUCT = re.compile(r"(USB|HID)Relay([1-8])?")

Variant = Literal["usbrelay", "hidrelay"]


class BoardState(msgspec.Struct, frozen=True):
    """What a `USBRelay` board says of itself: its serial number, and for each of eight relays whether it is closed."""

    serial: str
    closed: tuple[bool, ...]


def switch_report(channel: int, *, closed: bool) -> bytes:
    """Return the feature report that closes or opens relay `channel` (from 1); raises ValueError for no such relay."""
    if not 1 <= channel <= CHANNELS_MAX:
        raise ValueError(f"there is no relay {channel}: a board has 1 to {CHANNELS_MAX}")
    return bytes([_CLOSE if closed else _OPEN, channel]).ljust(REPORT_BYTES, b"\0")


def read_state(report: bytes) -> BoardState | None:
    """Return what feature report 1 says, or None when it is not one: too short, or with no text for a serial number."""
    if len(report) < REPORT_BYTES:
        return None
    serial = report[:5].rstrip(b"\0")
    if not serial.isascii() or not serial.decode("ascii").isprintable():
        return None
    return BoardState(serial.decode("ascii"), tuple(bool(report[7] >> bit & 1) for bit in range(CHANNELS_MAX)))


def read_product(product: str) -> tuple[Variant, int] | None:
    """Return variant and number of relays of a USB product text such as `USBRelay2`; None when it is no such board.

    A text without a number, as HIDRelay boards have it, counts as one relay.
    """
    match = _PRODUCT.fullmatch(product.strip())
    if match is None:
        return None
    return ("usbrelay" if match[1] == "USB" else "hidrelay"), int(match[2] or 1)

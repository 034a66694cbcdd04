"""HID report descriptors, as far as they tell whether a keyboard's own reports are laid out as its boot reports are.

A descriptor is a row of items: a byte with tag, type and size, then 0, 1, 2 or 4 bytes of data. Global items hold until
they are changed, local ones until the next main item (HID 1.11, 5.4 to 5.6 and 6.2.2; the boot layout is in B.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

DESCRIPTOR_BYTES_MAX: Final = 4096
_MAIN, _GLOBAL, _LOCAL = 0, 1, 2
_INPUT: Final = (_MAIN, 8)
_USAGE_PAGE, _LOGICAL_MIN, _REPORT_SIZE, _REPORT_ID, _REPORT_COUNT = ((_GLOBAL, tag) for tag in (0, 1, 7, 8, 9))
_SHAPE = (_USAGE_PAGE, _LOGICAL_MIN, _REPORT_SIZE, _REPORT_COUNT)
_PUSH, _POP = ((_GLOBAL, tag) for tag in (10, 11))
_USAGE, _USAGE_MIN = ((_LOCAL, tag) for tag in (0, 1))
_KEYS_PAGE: Final = 7
_CONSTANT, _VARIABLE = 1, 2


class _Field(msgspec.Struct, frozen=True):
    page: int
    first_usage: int
    lowest: int
    size_bits: int
    count: int
    flags: int


def is_boot_layout(descriptor: bytes) -> bool:
    """Whether reports of this descriptor are a bit each for the modifiers, a reserved byte, and six keys by number.

    False for all that is not read here. Never raises, whatever it is given.
    """
    fields = _inputs(descriptor[:DESCRIPTOR_BYTES_MAX])
    if fields is None or len(fields) != 3:
        return False
    modifiers, reserved, keys = fields
    return (
        modifiers == _Field(_KEYS_PAGE, 0xE0, 0, 1, 8, _VARIABLE)
        and reserved.size_bits * reserved.count == 8
        and bool(reserved.flags & _CONSTANT)
        and keys == _Field(_KEYS_PAGE, 0, 0, 8, 6, 0)
    )


def _inputs(descriptor: bytes) -> list[_Field] | None:
    """The fields of the only report; None where there are several kinds of reports, or items that are not known."""
    held: dict[tuple[int, int], int] = {}
    first_usage: int | None = None
    fields: list[_Field] = []
    for item, value in _items(descriptor):
        if item in (_REPORT_ID, _PUSH, _POP) or item[0] not in (_MAIN, _GLOBAL, _LOCAL):
            return None
        if item in (_USAGE, _USAGE_MIN):
            first_usage = value if first_usage is None else first_usage
        elif item[0] == _GLOBAL:
            held[item] = value
        elif item[0] == _MAIN:
            if item == _INPUT:
                page, lowest, size_bits, count = (held.get(key, 0) for key in _SHAPE)
                flags = value & (_CONSTANT | _VARIABLE)
                fields.append(_Field(page, first_usage or 0, lowest, size_bits, count, flags))
            first_usage = None
    return fields


def _items(descriptor: bytes) -> Iterator[tuple[tuple[int, int], int]]:
    at = 0
    while at < len(descriptor):
        head = descriptor[at]
        size = (0, 1, 2, 4)[head & 3]
        yield (head >> 2 & 3, head >> 4), int.from_bytes(descriptor[at + 1 : at + 1 + size], "little")
        at += 1 + size

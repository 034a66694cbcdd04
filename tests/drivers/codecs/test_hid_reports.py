from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.hid_reports import is_boot_layout

BOOT_LAYOUT = bytes.fromhex(
    "05010906A101050719E029E7150025017501950881029501750881019505750105081901290591029501750391019506750815002565050719"
    "0029658100C0"
)
"""A keyboard's descriptor as in HID 1.11, appendix E.6."""
NUMBERED = BOOT_LAYOUT[:6] + b"\x85\x01" + BOOT_LAYOUT[6:]
"""The same with a number before each report, as where one interface has several kinds of them."""
BITMAP = bytes.fromhex("05010906A101050719E029E7150025017501950881021900296F957081 02C0".replace(" ", ""))
"""A bit for each key, so that any number may be held at once."""
MOUSE = bytes.fromhex(
    "05010902A1010901A100050919012903150025019503750181029501750581010501093009311581257F750895028106C0C0"
)


def test_a_keyboard_of_the_specification_reports_as_in_the_boot_protocol() -> None:
    assert is_boot_layout(BOOT_LAYOUT)


def test_reserved_bits_and_lights_may_be_written_otherwise() -> None:
    other = BOOT_LAYOUT.replace(bytes.fromhex("950175088101"), bytes.fromhex("950875018103"))
    assert other != BOOT_LAYOUT
    assert is_boot_layout(other)


@pytest.mark.parametrize(
    "descriptor",
    [
        NUMBERED,
        BITMAP,
        MOUSE,
        b"",
        BOOT_LAYOUT[: len(BOOT_LAYOUT) // 2],
        BOOT_LAYOUT + BITMAP,
        BOOT_LAYOUT.replace(b"\x95\x06", b"\x95\x07"),
        BOOT_LAYOUT.replace(b"\x19\x00", b"\x19\x01"),
        BOOT_LAYOUT[:6] + b"\xfe\x01\x00\x00" + BOOT_LAYOUT[6:],
        BOOT_LAYOUT[:6] + b"\xa4" + BOOT_LAYOUT[6:],
    ],
)
def test_what_is_laid_out_otherwise_is_told(descriptor: bytes) -> None:
    assert not is_boot_layout(descriptor)


@given(st.binary(max_size=5000))
def test_no_descriptor_makes_it_raise(descriptor: bytes) -> None:
    is_boot_layout(descriptor)
    is_boot_layout(BOOT_LAYOUT[:30] + descriptor)

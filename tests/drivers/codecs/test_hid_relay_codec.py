from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.hid_relay import BoardState, read_product, read_state, switch_report


def test_commands_are_those_the_boards_know() -> None:
    # The report number 00 goes before these eight bytes in hidraw, and into the request's own field over libusb.
    assert switch_report(1, closed=True) == bytes.fromhex("FF01000000000000")
    assert switch_report(8, closed=False) == bytes.fromhex("FD08000000000000")
    for channel in (0, 9):
        with pytest.raises(ValueError, match="there is no relay"):
            switch_report(channel, closed=True)


def test_a_board_tells_its_serial_number_and_relays() -> None:
    state = read_state(b"BITFT" + bytes.fromhex("000005"))
    assert state == BoardState("BITFT", (True, False, True, *[False] * 5))
    assert read_state(b"AB") is None
    assert read_state(b"\xff\xff\xff\xff\xff\x00\x00\x01") is None


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("USBRelay2", ("usbrelay", 2)),
        ("USBRelay8", ("usbrelay", 8)),
        ("HIDRelay", ("hidrelay", 1)),
        ("USBRelay9", None),
        ("Gamepad", None),
        ("", None),
    ],
)
def test_the_product_text_tells_the_variant(text: str, known: object) -> None:
    assert read_product(text) == known


@given(st.binary(max_size=64))
def test_no_report_raises(report: bytes) -> None:
    state = read_state(report)
    assert state is None or len(state.closed) == 8

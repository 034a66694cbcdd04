"""The simulated PN532: golden frames of the chip's manual and of nfcpy, and any bytes at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulators.pn532 import Pn532, crc_a
from simulators.pn532_frames import ACK, FRAME_BYTES_MAX, Inbox, frame

GET_VERSION = bytes.fromhex("0000FF02FED4022A00")
SAM = bytes.fromhex("0000FF05FBD4140100001700")


class Wire:
    """A line that remembers what was said on it."""

    def __init__(self) -> None:
        self.sent = b""
        self.on_bytes = self.on_open = self.on_change = None

    def state(self):
        return {}

    def write(self, data: bytes) -> None:
        self.sent += data

    def unplug(self) -> None:
        pass


def said(data: bytes) -> bytes:
    wire = Wire()
    Pn532(wire).receive(data)
    return wire.sent


def test_the_version_and_the_set_up_as_nfcpy_expects_them():
    assert said(bytes(10) + GET_VERSION).startswith(ACK + bytes.fromhex("0000FF06FAD50332"))
    assert said(SAM) == ACK + bytes.fromhex("0000FF02FED5151600")


def test_a_long_line_test_comes_back_in_an_extended_frame():
    data = bytes(range(256))
    body = b"\xd4\x00" + data
    size = len(body).to_bytes(2, "big")
    sent = b"\x00\x00\xff\xff\xff" + size + bytes([-sum(size) & 0xFF]) + body + bytes([-sum(body) & 0xFF, 0])
    assert said(sent) == ACK + frame(b"\x01" + data)
    assert frame(b"\x01" + data)[3:5] == b"\xff\xff"


def test_byte_by_byte_with_noise_and_with_wrong_checksums():
    inbox = Inbox()
    bad_sum, bad_length = GET_VERSION[:-2] + b"\x2b\x00", b"\x00\x00\xff\x02\xff\xd4\x02\x2a\x00"
    stream = b"\x55\xaa" + GET_VERSION + bad_sum + bad_length + SAM + ACK + b"\x00"
    found = [command for byte in stream for command in inbox.take(bytes([byte]))]
    assert found == [b"\x02", b"\x14\x01\x00\x00", b""]


def test_an_unknown_command_is_a_syntax_error():
    assert said(bytes.fromhex("0000FF02FED4F23A00")) == ACK + bytes.fromhex("0000FF01FF7F8100")


def test_the_checksum_of_type_a():
    """ISO/IEC 14443-3, annex B: `0000` gives A01E, `1234` gives 26CF."""
    assert (crc_a(b"\x00\x00").hex().upper(), crc_a(b"\x12\x34").hex().upper()) == ("A01E", "26CF")


@given(st.lists(st.binary(max_size=80) | st.sampled_from([GET_VERSION, SAM, GET_VERSION[:5], b"\x00\xff\xff\xff"])))
def test_any_bytes_are_taken_and_little_is_kept(pieces):
    inbox = Inbox()
    for piece in pieces:
        list(inbox.take(piece))
        assert len(inbox._buffer) <= FRAME_BYTES_MAX + 80


@given(st.binary(max_size=270))
def test_any_command_is_answered(data):
    body = b"\xd4" + data[:250]
    whole = b"\x00\x00\xff" + bytes([len(body), -len(body) & 0xFF]) + body + bytes([-sum(body) & 0xFF, 0])
    assert said(whole).startswith(ACK) or len(data) == 0

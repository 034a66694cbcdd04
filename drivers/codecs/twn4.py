"""Elatec TWN4 with the Simple Protocol firmware: a line of hex digits asks, a line of hex digits answers.

Both end in CR. An answer begins with an error byte, 00 for none. `0004FF` asks for the version, `050010` searches a tag
(an ID of at most 16 bytes), `0407` beeps, `0410` to `0414` are for the lights; numbers have their low byte first.
Source: Elatec's Simple Protocol as c3rebro/Elatec.NET speaks it, whose recorded frames are tests here.
"""

from __future__ import annotations

import re

import msgspec

from drivers.codecs.decoder import Decoder

VERSION = b"0004FF\r"
SEARCH_TAG = b"050010\r"
LED_INIT = b"041007\r"
RED, GREEN, YELLOW, ALL_LEDS = 1, 2, 4, 7

_END = re.compile(rb"[\r\n]+")
_ANSWER = re.compile(rb"(?:[0-9A-Fa-f]{2})+")
_MAX_LINE_BYTES = 1024

_TECHNOLOGIES = {
    0x40: "em4100", 0x41: "hitag1s", 0x42: "hitag2", 0x49: "hid-prox", 0x4F: "awid", 0x57: "idteck",
    0x80: "nfc", 0x81: "nfc", 0x82: "iso15693", 0x83: "legic", 0x84: "iclass", 0x85: "felica",
}  # fmt: skip


class Answer(msgspec.Struct, frozen=True):
    """One answer: the reader's error number, 0 for none, and the data."""

    error: int
    data: bytes

    def __repr__(self) -> str:
        return f"Answer(error={self.error}, data=<hidden>)"


class Tag(msgspec.Struct, frozen=True):
    """A tag: the field's word for what it is, and its ID as upper-case hex."""

    technology: str
    number: str

    def __repr__(self) -> str:
        return f"Tag(technology={self.technology!r}, number=<hidden>)"


class Twn4Decoder(Decoder[Answer]):
    """Splits into lines of hex digits; every other line is refused."""

    LIMIT_BYTES = 4096

    def __init__(self) -> None:
        super().__init__()
        self._skipping = False

    def _next_frame(self) -> Answer | None:
        while end := _END.search(self._buffer):
            line = bytes(self._buffer[: end.start()])
            del self._buffer[: end.end()]
            skipping, self._skipping = self._skipping, False
            if not skipping and _ANSWER.fullmatch(line):
                data = bytes.fromhex(line.decode())
                return Answer(data[0], data[1:])
            if line:
                self._refuse(len(line) + 1, "no answer of a TWN4: is it set to Simple Protocol?")
        if self._skipping or len(self._buffer) > _MAX_LINE_BYTES:
            self._skipping = True
            self._drop(len(self._buffer), "no end of line")
        return None


def read_version(answer: Answer) -> str | None:
    """Return the firmware's name in the answer to VERSION; None when it is none."""
    if answer.error or not answer.data or answer.data[0] != len(answer.data) - 1:
        return None
    return "".join(char for char in answer.data[1:].decode("ascii", "replace") if char.isprintable()).strip()


def read_tag(answer: Answer) -> Tag | None:
    """Return the tag in the answer to SEARCH_TAG; None when there was none, or the answer is none to this."""
    data = answer.data
    if answer.error or len(data) < 5 or data[0] != 1 or not data[3] or data[3] != len(data) - 4:
        return None
    return Tag(_TECHNOLOGIES.get(data[1], f"twn4-{data[1]:02x}"), data[4:].hex().upper())


def beep(volume: int, frequency_hz: int, on_ms: int, off_ms: int) -> bytes:
    """Return the command that sounds once; `volume` is 0 to 100."""
    return _line(b"\x04\x07" + bytes([min(max(volume, 0), 100)]) + _word(frequency_hz) + _word(on_ms) + _word(off_ms))


def led_on(leds: int) -> bytes:
    """Return the command that switches lights on: RED, GREEN and YELLOW, or-ed."""
    return _line(bytes([4, 0x11, leds & 7]))


def led_off(leds: int) -> bytes:
    """Return the command that switches lights off."""
    return _line(bytes([4, 0x12, leds & 7]))


def _word(value: int) -> bytes:
    return min(max(value, 0), 0xFFFF).to_bytes(2, "little")


def _line(data: bytes) -> bytes:
    return data.hex().upper().encode() + b"\r"

"""Modbus RTU as a master: requests to a relay board with inputs, and its answers.

Frames are unit, function, data, CRC-16 (low byte first). Source: Modbus application protocol V1.1b3 and Modbus over
serial line V1.02 (modbus.org); the flash-on command is Waveshare's: writing a coil at 0x0200 + relay with a duration in
units of 100 ms closes the relay, and the board opens it again by itself.
"""

from __future__ import annotations

import struct
from typing import Final, Literal

import msgspec

from drivers.codecs.decoder import Decoder

READ_COILS: Final = 0x01
READ_DISCRETE_INPUTS: Final = 0x02
WRITE_COIL: Final = 0x05
FLASH_ON_BASE = 0x0200
FLASH_UNIT_MS = 100
MAX_FLASH_MS = 0x7FFF * FLASH_UNIT_MS
MAX_BITS = 2000

_EXCEPTION = 0x80
_EXCEPTION_BYTES = 5
_WRITE_ANSWER_BYTES = 8
_MEANINGS = {
    0x01: "it does not know this function",
    0x02: "it has no such relay or input",
    0x03: "it does not accept this value",
    0x04: "it failed",
    0x06: "it is busy",
}


class Request(msgspec.Struct, frozen=True):
    """One request; `value` is the number of bits to read or the word to write."""

    unit: int
    function: Literal[1, 2, 5]
    address: int
    value: int

    @property
    def frame(self) -> bytes:
        """The eight bytes to send."""
        return with_crc(struct.pack(">BBHH", self.unit, self.function, self.address, self.value))

    @property
    def answer_bytes(self) -> int:
        """How long the answer is, CRC included, unless it is an exception."""
        return _WRITE_ANSWER_BYTES if self.function == WRITE_COIL else 5 + (self.value + 7) // 8


class Bits(msgspec.Struct, frozen=True):
    """The coils or inputs that were asked for, in their order; True is closed."""

    values: tuple[bool, ...]


class Written(msgspec.Struct, frozen=True):
    """The board has carried out the write that was asked for."""


class ModbusException(msgspec.Struct, frozen=True):
    """The board refused: the exception code, and what it means in words."""

    code: int
    meaning: str


Answer = Bits | Written | ModbusException


def write_coil(unit: int, relay: int, *, closed: bool) -> Request:
    """Close or open `relay`, which counts from 0 here as on the wire."""
    return Request(unit, WRITE_COIL, relay, 0xFF00 if closed else 0x0000)


def flash_on(unit: int, relay: int, duration_ms: int) -> Request:
    """Close `relay` (from 0) for `duration_ms`, rounded up to 100 ms; raises ValueError outside 1 to `MAX_FLASH_MS`."""
    if not 1 <= duration_ms <= MAX_FLASH_MS:
        raise ValueError(f"the board times pulses of 1 to {MAX_FLASH_MS} ms")
    return Request(unit, WRITE_COIL, FLASH_ON_BASE + relay, -(-duration_ms // FLASH_UNIT_MS))


def read_coils(unit: int, count: int) -> Request:
    """Ask which of the first `count` relays are closed."""
    return Request(unit, READ_COILS, 0, count)


def read_discrete_inputs(unit: int, count: int) -> Request:
    """Ask which of the first `count` inputs are closed."""
    return Request(unit, READ_DISCRETE_INPUTS, 0, count)


class AnswerDecoder(Decoder[Answer]):
    """Finds the answer to the request it expects; everything else is refused.

    RTU marks the end of a frame by silence, which no program sees through a USB adapter. A master needs no silence: it
    knows from its own request how the answer begins and how long it is.
    """

    LIMIT_BYTES = 1024

    def __init__(self) -> None:
        super().__init__()
        self._request: Request | None = None

    def begin(self, request: Request) -> bytes:
        """Return the bytes that send `request`, and look for its answer from now on."""
        self.expect(request)
        return request.frame

    def expect(self, request: Request | None) -> None:
        """From now on look for the answer to `request`, or, with None, for nothing; what came before is refused."""
        self._drop(len(self._buffer), "late or broken answer")
        self._ready = None
        self._request = request

    def _next_frame(self) -> Answer | None:
        while self._request and self._buffer:
            length = self._frame_length(self._request)
            if len(self._buffer) < length:
                return None
            frame = bytes(self._buffer[:length])
            if (answer := self._answer(self._request, frame)) is not None:
                del self._buffer[:length]
                self._request = None
                return answer
        self._drop(len(self._buffer), "nothing was asked")
        return None

    def _frame_length(self, request: Request) -> int:
        """Return how many bytes the frame at the start of the buffer has or may have; 1 where none can start."""
        head = self._buffer[:3]
        if head[0] != request.unit:
            return 1
        if len(head) == 1:
            return 2
        if head[1] == request.function | _EXCEPTION:
            return _EXCEPTION_BYTES
        if head[1] != request.function:
            return 1
        if request.function != WRITE_COIL and len(head) == 3 and head[2] != request.answer_bytes - 5:
            return 1
        return request.answer_bytes

    def _answer(self, request: Request, frame: bytes) -> Answer | None:
        """Return the answer in `frame`, or None after refusing its first byte."""
        if len(frame) < _EXCEPTION_BYTES:
            self._drop(1, "no answer to this request")
        elif with_crc(frame[:-2]) != frame:
            self._drop(1, "wrong CRC")
        elif frame[1] & _EXCEPTION:
            return exception_of(frame[2])
        elif request.function != WRITE_COIL:
            return Bits(to_bits(frame[3:-2], request.value))
        elif frame == request.frame:
            return Written()
        else:
            self._drop(1, "answer to another request")
        return None


def exception_of(code: int) -> ModbusException:
    """Return what the exception code of a refusal means (application protocol V1.1b3, chapter 7)."""
    return ModbusException(code, _MEANINGS.get(code, f"exception {code}"))


def to_bits(data: bytes, count: int) -> tuple[bool, ...]:
    """Return the first `count` bits of `data`, the lowest of each byte first."""
    return tuple(bool(data[index // 8] >> index % 8 & 1) for index in range(count))


def with_crc(body: bytes) -> bytes:
    """Return `body` with its CRC-16 (polynomial A001 reflected, start FFFF) behind it, low byte first."""
    crc = 0xFFFF
    for byte in body:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return body + crc.to_bytes(2, "little")


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC_TABLE = tuple(_crc_of_byte(byte) for byte in range(256))

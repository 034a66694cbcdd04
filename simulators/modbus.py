"""Modbus RTU frames as a device sees them ("MODBUS over Serial Line" 1.02; application protocol 1.1b3)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

MAX_FRAME_BYTES = 256
MIN_FRAME_BYTES = 4
MAX_BITS = 2000


class Fault(IntEnum):
    """The exception codes a board answers with."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_ADDRESS = 2
    ILLEGAL_VALUE = 3


class ModbusError(Exception):
    """The request is answered with this exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


class Request:
    """One request without its CRC: `body` is address, function and data."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.head = body[:2]
        self.function = body[1]

    @property
    def address(self) -> int:
        """The first coil, input or register, counted from 0."""
        return self._word(2)

    @property
    def value(self) -> int:
        """The value to write, or how many to read."""
        return self._word(4)

    def select(self, bits: Sequence[bool]) -> Sequence[bool]:
        """The part of `bits` that is asked for. Raises `ModbusError` if it reaches beyond them."""
        if not 1 <= self.value <= MAX_BITS:
            raise ModbusError(Fault.ILLEGAL_VALUE)
        if self.address + self.value > len(bits):
            raise ModbusError(Fault.ILLEGAL_ADDRESS)
        return bits[self.address : self.address + self.value]

    def written_bits(self) -> list[bool]:
        """The bits of a "write multiple coils" request. Raises `ModbusError` if their number is wrong."""
        data = self.body[7:]
        if len(self.body) < 8 or self.body[6] != len(data) or len(data) != (self.value + 7) // 8:
            raise ModbusError(Fault.ILLEGAL_VALUE)
        return [bool(data[number // 8] >> number % 8 & 1) for number in range(self.value)]

    def refusal(self, code: int) -> bytes:
        """The body of the answer that says no, with an exception code."""
        return bytes((self.body[0], self.function | 0x80, code))

    def _word(self, start: int) -> int:
        if len(self.body) < start + 2:
            raise ModbusError(Fault.ILLEGAL_VALUE)
        return int.from_bytes(self.body[start : start + 2], "big")


def crc(data: bytes) -> bytes:
    """CRC-16/MODBUS of `data`, low byte first as on the wire."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value.to_bytes(2, "little")


def seal(body: bytes) -> bytes:
    """`body` with its CRC."""
    return body + crc(body)


def unseal(frame: bytes | bytearray) -> bytes | None:
    """The frame's body, or None if it is too short or its CRC is wrong."""
    body = bytes(frame[:-2])
    return body if len(frame) >= MIN_FRAME_BYTES and crc(body) == frame[-2:] else None


def expected_length(start: bytes | bytearray) -> int | None:
    """How long the request beginning with `start` is, if that can be told yet."""
    if len(start) < 2:
        return None
    if start[1] in (1, 2, 3, 4, 5, 6):
        return 8
    if start[1] in (15, 16) and len(start) > 6:
        return 9 + start[6]
    return None


def pack_bits(bits: Sequence[bool]) -> bytes:
    """Byte count and bytes, the first bit lowest."""
    data = bytearray((len(bits) + 7) // 8)
    for number, bit in enumerate(bits):
        data[number // 8] |= bit << number % 8
    return bytes((len(data), *data))

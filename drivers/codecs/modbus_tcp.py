"""Modbus TCP as a client: the same requests as over a serial line, in frames of their own and without a CRC.

A frame is transaction number (2 bytes), protocol 0 (2), length of what follows (2), unit (1), function, data; all high
byte first. Source: Modbus Messaging on TCP/IP Implementation Guide V1.0b, chapter 3.1.3 (modbus.org).
"""

from __future__ import annotations

import struct
from typing import Final

from drivers.codecs.decoder import Decoder
from drivers.codecs.modbus_rtu import WRITE_COIL, Answer, Bits, Request, Written, exception_of, to_bits

HEADER_BYTES: Final = 7
LENGTH_MIN, LENGTH_MAX = 3, 254
_EXCEPTION = 0x80


class TcpAnswerDecoder(Decoder[Answer]):
    """Numbers requests and finds the answer to the one that is under way; everything else is refused."""

    LIMIT_BYTES = 4096

    def __init__(self) -> None:
        super().__init__()
        self._request: Request | None = None
        self._transaction = 0

    def begin(self, request: Request) -> bytes:
        """Return the bytes that send `request`, and look for its answer from now on."""
        self.expect(request)
        self._transaction = self._transaction % 0xFFFF + 1
        return struct.pack(
            ">HHHBBHH", self._transaction, 0, 6, request.unit, request.function, request.address, request.value
        )

    def expect(self, request: Request | None) -> None:
        """With None: look for nothing from now on. An answer that has begun to come in is still taken off the line."""
        self._request = request

    def _next_frame(self) -> Answer | None:
        while len(self._buffer) >= HEADER_BYTES:
            transaction, protocol, length = struct.unpack_from(">HHH", self._buffer)
            if protocol or not LENGTH_MIN <= length <= LENGTH_MAX:
                self._drop(1, "no Modbus TCP frame")
                continue
            end = 6 + length
            if len(self._buffer) < end:
                return None
            answer = self._answer(transaction, bytes(self._buffer[6:end]))
            if answer is not None:
                del self._buffer[:end]
                self._request = None
                return answer
            self._drop(end, "late answer or one to another request")
        return None

    def _answer(self, transaction: int, body: bytes) -> Answer | None:
        """Return the answer in unit, function and data, or None where it is none to the request under way."""
        request = self._request
        if request is None or transaction != self._transaction or body[0] != request.unit:
            return None
        function, data = body[1], body[2:]
        if function == request.function | _EXCEPTION and len(data) == 1:
            return exception_of(data[0])
        if function != request.function:
            return None
        if function == WRITE_COIL:
            return Written() if data == struct.pack(">HH", request.address, request.value) else None
        count = (request.value + 7) // 8
        return Bits(to_bits(data[1:], request.value)) if len(data) == 1 + count and data[0] == count else None

"""The PN532's frames on its serial line (NXP UM0701-02, 6.2.1): normal, extended, acknowledgement."""

from __future__ import annotations

from collections.abc import Iterator

ACK = bytes.fromhex("0000FF00FF00")
_START, _LONG = b"\x00\xff", b"\xff\xff"
_FROM_HOST, _FROM_CHIP = 0xD4, 0xD5
FRAME_BYTES_MAX = 280


def frame(data: bytes) -> bytes:
    """The frame in which the chip sends `data`: response code, then what belongs to it."""
    body = bytes([_FROM_CHIP]) + data
    tail = bytes([-sum(body) & 0xFF, 0])
    if len(body) < 256:
        return b"\x00" + _START + bytes([len(body), -len(body) & 0xFF]) + body + tail
    size = len(body).to_bytes(2, "big")
    return b"\x00" + _START + _LONG + size + bytes([-sum(size) & 0xFF]) + body + tail


class Inbox:
    """Bytes in, commands out; whatever is no whole and right frame is passed over."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def take(self, data: bytes) -> Iterator[bytes]:
        """Yield each command: its code and its data; an acknowledgement, which stops the chip, as no bytes."""
        self._buffer += data
        while (found := self._buffer.find(_START)) >= 0:
            del self._buffer[:found]
            size = self._size()
            if size is None:
                return
            command = bytes(self._buffer[:size])
            del self._buffer[: max(size, len(_START))]
            if command == b"\x00\xff\x00\xff":
                yield b""
            elif body := _body(command):
                yield body
        del self._buffer[:-1]

    def _size(self) -> int | None:
        """How many bytes the frame at the start has, without what follows its checksum; None: more are needed."""
        if len(self._buffer) < 4:
            return None
        if self._buffer[2:4] == b"\x00\xff":
            return 4
        if self._buffer[2:4] != _LONG:
            whole = 4 + self._buffer[2] + 1
            right = (self._buffer[2] + self._buffer[3]) & 0xFF == 0
        else:
            if len(self._buffer) < 7:
                return None
            length = int.from_bytes(self._buffer[4:6], "big")
            whole = 7 + length + 1
            right = sum(self._buffer[4:7]) & 0xFF == 0 and length <= FRAME_BYTES_MAX
        if not right:
            return 0
        return whole if len(self._buffer) >= whole else None


def _body(command: bytes) -> bytes:
    """The command code and data of a whole frame; nothing where its checksum or direction is wrong."""
    body = command[7:] if command[2:4] == _LONG else command[4:]
    if len(body) < 3 or body[0] != _FROM_HOST or sum(body) & 0xFF:
        return b""
    return body[1:-1]

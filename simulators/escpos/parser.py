"""ESC/POS bytes into commands, incrementally (Epson's ESC/POS command reference; python-escpos's own usage)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MAX_COMMAND_BYTES = 4 << 20

HT, LF, FF, CR, DLE, CAN, ESC, FS, GS = b"\t", b"\n", b"\x0c", b"\r", b"\x10", b"\x18", b"\x1b", b"\x1c", b"\x1d"
PREFIXES = (DLE, ESC, FS, GS)


@dataclass(frozen=True)
class Op:
    """One command: `code` is its prefix and letter, `data` its arguments.

    Printable text has the code `b""`, a control character its own byte, and what no table knows `b"?"`.
    """

    code: bytes
    data: bytes = b""


class _IncompleteError(Exception):
    """The command needs bytes that have not come yet."""


class _Cursor:
    """Reads arguments from the buffer without removing them."""

    def __init__(self, buffer: bytearray, position: int) -> None:
        self.buffer = buffer
        self.position = position

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.buffer):
            raise _IncompleteError
        data = bytes(self.buffer[self.position : end])
        self.position = end
        return data

    def take_until_nul(self) -> bytes:
        end = self.buffer.find(0, self.position)
        if end < 0:
            raise _IncompleteError
        return self.take(end + 1 - self.position)

    def take_counted(self, size: int) -> bytes:
        """A little-endian length of `size` bytes and that much data; the length is not part of the result."""
        return self.take(int.from_bytes(self.take(size), "little"))


# How many bytes follow: each letter of a word is a command with the number of arguments it stands at.
_FIXED: dict[bytes, dict[int, bytes]] = {
    DLE: {1: b"\x05"},
    ESC: {0: b"@2LSimv<\x0c", 1: b"! %-3=?EGJKMRTVadert{uU", 2: b"$\\cB", 3: b"p", 8: b"W"},
    FS: {0: b"&.", 1: b"!-CW", 2: b"Sp"},
    GS: {0: b":c", 1: b"!#/BEHIabfrwhT", 2: b"$LPW\\", 3: b"^"},
}
_LENGTHS = {
    prefix + bytes([letter]): count
    for prefix, counts in _FIXED.items()
    for count, letters in counts.items()
    for letter in letters
}


def _status(cursor: _Cursor) -> bytes:
    n = cursor.take(1)
    return n + cursor.take(1) if n[0] in (7, 8, 18) else n


def _real_time(cursor: _Cursor) -> bytes:
    function = cursor.take(1)
    return function + cursor.take({1: 2, 2: 2, 8: 7}.get(function[0], 2))


def _bit_image(cursor: _Cursor) -> bytes:
    head = cursor.take(3)
    return head + cursor.take(int.from_bytes(head[1:], "little") * (3 if head[0] in (32, 33) else 1))


def _downloaded_image(cursor: _Cursor) -> bytes:
    size = cursor.take(2)
    return size + cursor.take(size[0] * size[1] * 8)


def _raster(cursor: _Cursor) -> bytes:
    head = cursor.take(6)
    return head + cursor.take(int.from_bytes(head[2:4], "little") * int.from_bytes(head[4:6], "little"))


def _cut(cursor: _Cursor) -> bytes:
    mode = cursor.take(1)
    return mode + cursor.take(1) if mode[0] in (65, 66, 97, 98, 103, 104) else mode


def _barcode(cursor: _Cursor) -> bytes:
    kind = cursor.take(1)
    return kind + (cursor.take_counted(1) if kind[0] >= 65 else cursor.take_until_nul()[:-1])


def _function(cursor: _Cursor) -> bytes:
    return cursor.take(1) + cursor.take_counted(2)


def _long_function(cursor: _Cursor) -> bytes:
    return cursor.take(1) + cursor.take_counted(4)


_VARIABLE: dict[bytes, Callable[[_Cursor], bytes]] = {
    b"\x10\x04": _status,
    b"\x10\x14": _real_time,
    b"\x1b*": _bit_image,
    b"\x1bD": _Cursor.take_until_nul,
    b"\x1d*": _downloaded_image,
    b"\x1dv": _raster,
    b"\x1dV": _cut,
    b"\x1dk": _barcode,
    b"\x1b(": _function,
    b"\x1c(": _function,
    b"\x1d(": _function,
    b"\x1d8": _long_function,
}


class Parser:
    """Give it bytes with `feed`, take commands with `next_op` until it returns None."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def pending_bytes(self) -> int:
        """How many bytes wait, for their command's rest or to be taken."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add bytes from the host."""
        self._buffer += data

    def clear(self) -> None:
        """Forget what was not taken."""
        self._buffer.clear()

    def next_op(self) -> Op | None:
        """The next whole command, or None while it is incomplete."""
        if not self._buffer:
            return None
        cursor = _Cursor(self._buffer, 0)
        try:
            op = self._parse(cursor)
        except _IncompleteError:
            # Beyond this no command is real: without a bound, garbage that names a length would be hoarded.
            if len(self._buffer) < MAX_COMMAND_BYTES:
                return None
            op, cursor.position = Op(b"?", bytes(self._buffer[:2])), len(self._buffer)
        del self._buffer[: cursor.position]
        return op

    def _parse(self, cursor: _Cursor) -> Op:
        first = bytes(self._buffer[:1])
        if first[0] >= 0x20:
            return Op(b"", cursor.take(self._text_length()))
        cursor.take(1)
        if first not in PREFIXES:
            return Op(first)
        code = first + cursor.take(1)
        if code in _VARIABLE:
            return Op(code, _VARIABLE[code](cursor))
        if code in _LENGTHS:
            return Op(code, cursor.take(_LENGTHS[code]))
        return Op(b"?", code)

    def _text_length(self) -> int:
        return next((end for end, byte in enumerate(self._buffer) if byte < 0x20), len(self._buffer))

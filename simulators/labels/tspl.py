"""TSPL2 as a printer reads it: a command a line, bitmaps by their length, and `ESC ! ?`, answered at once.

Written from TSC's programming manual, and knowing nothing of the driver: what it does not know, it lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from simulators.labels.canvas import Canvas

MAX_LINE_BYTES = 64 * 1024
MAX_BITMAP_BYTES = 4 << 20
_FONTS = {"1": (8, 12), "2": (12, 20), "3": (16, 24), "4": (24, 32), "5": (32, 48)}
_BARCODES = {"128": "code128", "EAN13": "ean13", "EAN8": "ean8", "UPCA": "upca", "39": "code39", "25": "itf"}
_BITMAP = re.compile(rb"BITMAP (\d{1,5}),(\d{1,5}),(\d{1,4}),(\d{1,5}),\d,")
_PARTS = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,]+)')
_IGNORED = ("GAP", "BLINE", "DIRECTION", "REFERENCE", "CODEPAGE", "SET CUTTER", "SET", "SPEED", "DENSITY")


class TsplReader:
    """Takes bytes, gives finished labels and answers status requests by calls to its owner."""

    def __init__(self, status: Callable[[], bytes], answer: Callable[[bytes], None], dpi: int = 203) -> None:
        self.unknown: set[str] = set()
        self.setup: dict[str, str] = {}
        self._status = status
        self._answer = answer
        self._dpi = dpi
        self._buffer = bytearray()
        self._size = (832, 1218)
        self._canvas = Canvas(*self._size)

    @property
    def pending_bytes(self) -> int:
        """How much waits to be read."""
        return len(self._buffer)

    def obey(self, data: bytes) -> None:
        """Take bytes, and answer the immediate commands in them wherever they stand, as the real one does."""
        self._buffer += data
        while (at := self._buffer.find(b"\x1b!?")) >= 0:
            del self._buffer[at : at + 3]
            self._answer(self._status())

    def clear(self) -> None:
        """Forget what has come."""
        self._buffer.clear()

    def next_label(self) -> Canvas | None:
        """Carry out commands up to the next `PRINT`; None when there is none yet."""
        while (command := self._next_command()) is not None:
            text, rows = command
            word = text.split(" ")[0].upper()
            if word == "PRINT":
                return self._canvas
            try:
                self._do(word, text, rows)
            except (ValueError, IndexError, KeyError) as error:
                self.unknown.add(f"{word}: {error}")
        return None

    def _next_command(self) -> tuple[str, bytes] | None:
        if match := _BITMAP.match(self._buffer):
            size = int(match[3]) * int(match[4])
            end = match.end() + size
            if size <= MAX_BITMAP_BYTES:
                if len(self._buffer) < end:
                    return None
                rows = bytes(self._buffer[match.end() : end])
                text = match[0].decode()
                del self._buffer[:end]
                return text, rows
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > MAX_LINE_BYTES and not self._buffer.startswith(b"BITMAP "):
                self._buffer.clear()
            return None
        text = self._buffer[:end].strip(b"\r").decode("utf-8", "replace")
        del self._buffer[: end + 1]
        return text, b""

    def _do(self, word: str, text: str, rows: bytes) -> None:
        parts = [quoted or plain.strip() for quoted, plain in _PARTS.findall(text[len(word) :].strip())]
        match word:
            case "SIZE":
                width, height = (round(float(part.split(" ")[0]) * self._dpi / 25.4) for part in parts)
                self._size = (width, height)
                self.setup = {"SIZE": text}
            case "CLS":
                self._canvas = Canvas(*self._size)
            case "TEXT":
                width, height = _FONTS[parts[2]]
                cell = (width * int(parts[4]), height * int(parts[5]))
                self._canvas.text(int(parts[0]), int(parts[1]), parts[6], cell)
            case "BAR":
                x, y, width, height = (int(part) for part in parts)
                self._canvas.box(x, y, width, height)
            case "BITMAP":
                x, y, row_bytes = (int(part) for part in parts[:3])
                # A set bit is white.
                self._canvas.bitmap(x, y, row_bytes, bytes(0xFF - byte for byte in rows))
            case "QRCODE":
                self._canvas.qr(int(parts[0]), int(parts[1]), parts[6].encode(), int(parts[3]), parts[2])
            case "BARCODE":
                x, y, height, narrow = (int(parts[place]) for place in (0, 1, 3, 6))
                show = parts[4] != "0"
                self._canvas.bars(x, y, _BARCODES[parts[2]], parts[8], narrow, height, show_text=show)
            case _ if text.startswith(_IGNORED):
                self.setup[text.rpartition(" ")[0] if word == "SET" else word] = text
            case _ if text:
                self.unknown.add(word[:40])


def status_byte(*, paper_out: bool, head_open: bool, ribbon_out: bool, paused: bool) -> bytes:
    """The answer to `ESC ! ?`."""
    return bytes((head_open | paper_out << 2 | ribbon_out << 3 | paused << 4,))

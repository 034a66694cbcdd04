"""ZPL II as a printer reads it: formats between `^XA` and `^XZ`, and `~HS`, answered between them.

Written from Zebra's programming guide, and knowing nothing of the driver: what it does not know, it lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from simulators.labels.canvas import Canvas

MAX_FORMAT_BYTES = 4 << 20
# Base height and width of a bitmap font, and the gap after each character.
_FONTS = {"A": (9, 5, 1), "B": (11, 7, 2), "D": (18, 10, 2), "E": (28, 15, 5), "F": (26, 13, 3)}
_BARCODES = {"BC": "code128", "BE": "ean13", "B8": "ean8", "BU": "upca", "B3": "code39", "B2": "itf"}
_COMMAND = re.compile(rb"([\^~])(A[A-Z0-9@]|[A-Z][A-Z0-9@])([^\^~]*)")
_HEX_IN_DATA = re.compile(rb"_([0-9A-Fa-f]{2})")


class ZplReader:
    """Takes bytes, gives finished labels and answers status requests by calls to its owner."""

    def __init__(self, status: Callable[[], bytes], answer: Callable[[bytes], None]) -> None:
        self.unknown: set[str] = set()
        self.setup: dict[str, str] = {}
        self._status = status
        self._answer = answer
        self._buffer = bytearray()

    @property
    def pending_bytes(self) -> int:
        """How much of an unfinished format is kept."""
        return len(self._buffer)

    def obey(self, data: bytes) -> None:
        """Take bytes, and answer the status requests in them at once, also while a format waits for labels."""
        self._buffer += data
        if len(self._buffer) > MAX_FORMAT_BYTES:
            del self._buffer[:-MAX_FORMAT_BYTES]
        while (at := self._buffer.find(b"~HS")) >= 0:
            del self._buffer[at : at + 3]
            self._answer(self._status())

    def clear(self) -> None:
        """Forget what has come."""
        self._buffer.clear()

    def next_label(self) -> Canvas | None:
        """The next whole format, printed; None when there is none yet."""
        end = self._buffer.find(b"^XZ")
        if end < 0:
            return None
        start = self._buffer.find(b"^XA")
        body = bytes(self._buffer[start + 3 : end]) if 0 <= start < end else b""
        del self._buffer[: end + 3]
        return self._print(body)

    def _print(self, body: bytes) -> Canvas:
        commands = [(match[2].decode(), match[3].strip(b"\r\n")) for match in _COMMAND.finditer(body)]
        setup = {name: value.decode("latin-1") for name, value in commands}
        self.setup = {name: setup[name] for name in ("PW", "LL", "MN", "MM", "CI") if name in setup}
        canvas = Canvas(_number(setup.get("PW", ""), 832), _number(setup.get("LL", ""), 1218))
        field: dict[str, bytes] = {}
        modules = 2
        for name, value in commands:
            if name == "BY":
                modules = _number(value.split(b",")[0], 2)
            elif name == "FS":
                self._field(canvas, field, modules)
                field = {}
            else:
                field[name] = value
        return canvas

    def _field(self, canvas: Canvas, field: dict[str, bytes], modules: int) -> None:
        x, y = (_number(part, 0) for part in (field.get("FO", b"0,0") + b",0").split(b",")[:2])
        data = field.get("FD", b"")
        if "FH" in field:
            data = _HEX_IN_DATA.sub(lambda match: bytes((int(match[1], 16),)), data)
        kind = next((name for name in field if name in _BARCODES or name in ("GF", "GB", "BQ") or name[0] == "A"), "")
        try:
            self._draw(canvas, kind, field, data, (x, y), modules)
        except ValueError as error:
            self.unknown.add(f"^{kind}: {error}")

    def _draw(
        self, canvas: Canvas, kind: str, field: dict[str, bytes], data: bytes, at: tuple[int, int], modules: int
    ) -> None:
        parts = field.get(kind, b"").split(b",")
        if kind == "GF":
            self._graphic(canvas, field["GF"], at)
        elif kind == "GB":
            canvas.box(*at, *(_number(part, 1) for part in parts[:2]))
        elif kind == "BQ":
            # Printers set it ten dots lower than the field says.
            canvas.qr(at[0], at[1] + 10, data[3:], _number(parts[2], 1), chr(data[0]))
        elif kind in _BARCODES:
            text = data.decode("ascii", "replace")
            if kind == "BC":
                text = text.removeprefix(">:").replace(">0", ">")
            place = 2 if kind == "B3" else 1
            show = parts[place + 1 : place + 2] != [b"N"]
            canvas.bars(*at, _BARCODES[kind], text, modules, _number(parts[place], 10), show_text=show)
        elif kind:
            self._text(canvas, kind, parts, data, at)
        else:
            self.unknown.update(f"^{name}" for name in field if name not in {"FO", "FD", "FH", *_SETUP})

    def _text(self, canvas: Canvas, kind: str, parts: list[bytes], data: bytes, at: tuple[int, int]) -> None:
        if kind[1] not in _FONTS:
            raise ValueError("a font that is not in this printer")
        base_height, base_width, gap = _FONTS[kind[1]]
        height, width = _number(parts[1], base_height), _number(parts[2], base_width)
        times = max(1, round(width / base_width))
        canvas.text(*at, data.decode("utf-8", "replace"), (base_width * times, height), gap * times)

    def _graphic(self, canvas: Canvas, value: bytes, at: tuple[int, int]) -> None:
        form, _, total, row_bytes, digits = value.split(b",", 4)
        if form != b"A":
            raise ValueError("only hexadecimal graphics")
        rows = unpacked(digits.decode("ascii"), int(row_bytes))
        if len(rows) != int(total):
            raise ValueError(f"{len(rows)} bytes of graphics, announced were {int(total)}")
        canvas.bitmap(*at, int(row_bytes), rows)


_SETUP = ("CI", "MN", "PW", "LL", "LH", "LS", "MM")


def unpacked(text: str, row_bytes: int) -> bytes:
    """The rows of a compressed graphic. Raises ValueError for what is none."""
    rows: list[str] = []
    row, count = "", 0
    for char in text:
        if char == ":":
            rows.append(rows[-1] if rows else "0" * row_bytes * 2)
        elif char in ",!":
            rows.append(row.ljust(row_bytes * 2, "0" if char == "," else "F"))
            row = ""
        elif "G" <= char <= "Y":
            count += ord(char) - ord("G") + 1
        elif "g" <= char <= "z":
            count += 20 * (ord(char) - ord("g") + 1)
        else:
            row, count = row + char * max(1, count), 0
        if len(row) == row_bytes * 2:
            rows.append(row)
            row = ""
    return bytes.fromhex("".join(rows) + row)


def _number(text: bytes | str, otherwise: int) -> int:
    plain = text.decode("latin-1") if isinstance(text, bytes) else text
    return int(plain) if plain.isascii() and plain.isdigit() and len(plain) < 7 else otherwise


def host_status(*, paper_out: bool, head_open: bool, ribbon_out: bool, paused: bool, waiting: int) -> bytes:
    """The three lines that answer `~HS`."""
    first = f"030,{paper_out:d},{paused:d},1240,{waiting:03d},0,0,0,000,0,0,0"
    second = f"000,0,{head_open:d},{ribbon_out:d},0,2,4,0,00000000,1,000"
    return b"".join(b"\x02" + line.encode() + b"\x03\r\n" for line in (first, second, "1234,0"))

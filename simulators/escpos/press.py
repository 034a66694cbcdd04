"""The print head: carries out commands on paper, and hands to the printer what is not its own (kick, cut, answers)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from PIL import Image

from simulators.escpos import graphics, symbols
from simulators.escpos.codepages import CODE_PAGES, INTERNATIONAL, decode
from simulators.escpos.glyphs import Style, glyph
from simulators.escpos.paper import CUTTER_DOTS, PRINT_DOTS, Paper
from simulators.escpos.parser import Op

DEFAULT_SPACING_DOTS = 30
TAB_COLUMNS = 8
MAX_REMEMBERED = 50
# Commands that leave nothing on paper here: page mode, panel keys, buzzer, tab stops, rotation, Kanji, motion units.
QUIET = (
    *(b"\0", b"\r", b"\x0c", b"\x18", b"\x10\x04", b"\x10\x05", b"\x10\x14"),
    *(b"\x1b" + bytes((letter,)) for letter in b"cB=LSUTV{rD("),
    *(b"\x1c" + bytes((letter,)) for letter in b".&C("),
    *(b"\x1d" + bytes((letter,)) for letter in b"Pbf"),
)


class Host(Protocol):
    """What the print head needs of the printer around it."""

    def line_printed(self) -> None:
        """A line, image or symbol is on the paper."""

    def cut(self) -> None:
        """The paper is to be cut."""

    def kick(self, pin: int, on_ms: int) -> None:
        """The drawer on connector pin 2 or 5 gets a pulse."""

    def answer(self, kind: str, data: bytes) -> None:
        """A buffered command asks for an answer (`asb`, `sensor`, `identity` or `process`)."""


@dataclass
class _Qr:
    """The QR code being prepared: its content, dots a module, error correction as GS ( k numbers it."""

    data: bytes = b""
    size: int = 3
    level: int = 48


class Press:
    """Text style, line buffer and graphics memory of the printer. `ESC @` sets all of it back, never the paper."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.paper = Paper()
        self.unknown: deque[str] = deque(maxlen=MAX_REMEMBERED)
        self._actions = self._table()
        self._reset()

    def execute(self, op: Op) -> None:
        """Carry out one command; one that is not known is remembered in `unknown`, as hex."""
        action = self._actions.get(op.code)
        if action is None:
            self.unknown.append((op.code + op.data[:16]).hex() if op.code != b"?" else op.data.hex())
        else:
            action(op.data)

    def end_line(self) -> None:
        """Print what stands in the line buffer, if anything does."""
        if self._items:
            self._line_feed()

    def _table(self) -> dict[bytes, Callable[[bytes], None]]:
        """Which method carries out which command; what only a real machine feels is accepted and ignored."""
        table: dict[bytes, Callable[[bytes], None]] = {
            b"": self._text,
            b"\n": lambda _: self._line_feed(),
            b"\t": lambda _: self._tab(),
            b"\x1b@": lambda _: self._reset(),
            b"\x1b!": self._print_mode,
            b"\x1d!": lambda d: self._restyle(replace(self._style, width=(d[0] >> 4 & 7) + 1, height=(d[0] & 7) + 1)),
            b"\x1bE": lambda d: self._restyle(replace(self._style, bold=bool(d[0] & 1))),
            b"\x1bG": lambda d: self._restyle(replace(self._style, bold=bool(d[0] & 1))),
            b"\x1b-": lambda d: self._restyle(replace(self._style, underline={1: 1, 49: 1, 2: 2, 50: 2}.get(d[0], 0))),
            b"\x1bM": lambda d: self._restyle(replace(self._style, font="B" if d[0] in (1, 49) else "A")),
            b"\x1dB": lambda d: self._restyle(replace(self._style, reverse=bool(d[0] & 1))),
            b"\x1ba": self._align,
            b"\x1bt": self._code_page,
            b"\x1bR": self._international_set,
            b"\x1b ": self._character_spacing,
            b"\x1b2": lambda _: self._set_spacing(DEFAULT_SPACING_DOTS),
            b"\x1b3": lambda d: self._set_spacing(d[0]),
            b"\x1b$": lambda d: self._move(int.from_bytes(d, "little")),
            b"\x1b\\": lambda d: self._move(self._x + int.from_bytes(d, "little", signed=True)),
            b"\x1bJ": self._feed_dots,
            b"\x1bd": self._feed_lines,
            b"\x1dL": self._left_margin,
            b"\x1dW": self._area_width,
            b"\x1dV": self._cut,
            b"\x1bi": lambda _: self._cut(b"\x01"),
            b"\x1bm": lambda _: self._cut(b"\x01"),
            b"\x1bp": self._kick,
            b"\x1b*": self._bit_image,
            b"\x1dv": self._raster,
            b"\x1d(": self._function,
            b"\x1d8": self._function,
            b"\x1dk": self._barcode,
            b"\x1dh": self._barcode_height,
            b"\x1dw": self._barcode_width,
            b"\x1dH": self._barcode_text,
            b"\x1da": lambda d: self._host.answer("asb", d),
            b"\x1dr": lambda d: self._host.answer("sensor", d),
            b"\x1dI": lambda d: self._host.answer("identity", d),
        }
        return table | dict.fromkeys(QUIET, _ignore)

    def _reset(self) -> None:
        self._style = Style()
        self._items: list[tuple[int, Image.Image]] = []
        self._line = ""
        self._x = 0
        self._alignment = 0
        self._page = 0
        self._international = 0
        self._extra = 0
        self._spacing = DEFAULT_SPACING_DOTS
        self._margin = 0
        self._width = PRINT_DOTS
        self._exact = False
        self._bars = {"height": 162, "width": 3, "text": 0}
        self._qr = _Qr()
        self._stored: Image.Image | None = None

    # Text

    def _text(self, data: bytes) -> None:
        for character in decode(data, self._page, self._international):
            width = self._style.cell[0] + self._extra
            if self._x + width > self._area:
                self._line_feed()
            self._items.append((self._x, glyph(character, self._style)))
            self._line += character
            self._x += width

    def _tab(self) -> None:
        step = TAB_COLUMNS * self._style.cell[0]
        self._move((self._x // step + 1) * step)

    def _move(self, x: int) -> None:
        """Move the print position; the text gets as many blanks as there is room for."""
        if 0 <= x <= self._area:
            self._line += " " * (max(0, x - self._x) // self._style.cell[0])
            self._x = x

    def _line_feed(self) -> None:
        height = max((image.height for _, image in self._items), default=0)
        self._put(self._items, height)
        # Slices of a column image must join without a gap, whatever the line spacing is.
        self.paper.feed(height if self._exact else max(height, self._spacing))
        self.paper.write(self._line)
        self._items, self._line, self._x, self._exact = [], "", 0, False
        self._host.line_printed()

    def _put(self, items: list[tuple[int, Image.Image]], height: int) -> None:
        width = max((x + image.width for x, image in items), default=0)
        start = self._margin + max(0, self._area - width) * self._alignment // 2
        for x, image in items:
            # All sizes of character stand on one line.
            padded = Image.new("L", (image.width, height))
            padded.paste(image, (0, height - image.height))
            self.paper.stamp(padded, start + x)

    @property
    def _area(self) -> int:
        return min(self._width, PRINT_DOTS - self._margin)

    # Settings

    def _restyle(self, style: Style) -> None:
        self._style = style

    def _print_mode(self, data: bytes) -> None:
        mode = data[0]
        self._style = Style(
            font="B" if mode & 0x01 else "A",
            bold=bool(mode & 0x08),
            height=2 if mode & 0x10 else 1,
            width=2 if mode & 0x20 else 1,
            underline=1 if mode & 0x80 else 0,
            reverse=self._style.reverse,
        )

    def _align(self, data: bytes) -> None:
        # Only at the beginning of a line, as the reference says.
        if not self._items and data[0] % 48 in (0, 1, 2):
            self._alignment = data[0] % 48

    def _code_page(self, data: bytes) -> None:
        if data[0] in CODE_PAGES:
            self._page = data[0]
        else:
            self.unknown.append("1b74" + data.hex())

    def _international_set(self, data: bytes) -> None:
        if data[0] in INTERNATIONAL:
            self._international = data[0]
        else:
            self.unknown.append("1b52" + data.hex())

    def _character_spacing(self, data: bytes) -> None:
        self._extra = data[0]

    def _set_spacing(self, dots: int) -> None:
        self._spacing = dots

    def _left_margin(self, data: bytes) -> None:
        self._margin = min(int.from_bytes(data, "little"), PRINT_DOTS - self._style.cell[0])

    def _area_width(self, data: bytes) -> None:
        self._width = max(int.from_bytes(data, "little"), self._style.cell[0])

    # Paper

    def _feed_dots(self, data: bytes) -> None:
        self.end_line()
        self.paper.feed(data[0])

    def _feed_lines(self, data: bytes) -> None:
        lines = data[0] - 1 if self._items else data[0]
        self.end_line()
        self.paper.feed(max(0, lines) * self._spacing)

    def _cut(self, data: bytes) -> None:
        self.end_line()
        if len(data) == 2:
            self.paper.feed(CUTTER_DOTS + data[1])
        self._host.cut()

    def _kick(self, data: bytes) -> None:
        if data[0] % 48 in (0, 1):
            self._host.kick(2 if data[0] % 48 == 0 else 5, data[1] * 2)

    # Images and symbols

    def _bit_image(self, data: bytes) -> None:
        image = graphics.columns(data[3:], data[0])
        if image is not None:
            self._line = self._line or "[image]"
            self._items.append((self._x, image))
            self._x += image.width
            self._exact = True

    def _raster(self, data: bytes) -> None:
        mode, width, height = data[1] % 48, int.from_bytes(data[2:4], "little"), int.from_bytes(data[4:6], "little")
        scale = (2 if mode & 1 else 1, 2 if mode & 2 else 1)
        self._print(graphics.raster(data[6:], width, height, scale), "image")

    def _function(self, data: bytes) -> None:
        """GS ( and GS 8: the letter, then a function of it."""
        match data[:1], data[1:]:
            case b"k", bytes(body) if body[:1] == b"1":
                self._qr_function(body[1:])
            case b"L", bytes(body):
                self._graphics_function(body)
            case b"H", bytes(body) if body[:2] == b"00":
                self._host.answer("process", body[2:6])
            case _:
                self.unknown.append((b"\x1d(" + data[:16]).hex())

    def _qr_function(self, body: bytes) -> None:
        match body[:1], body[1:]:
            case b"A", _:
                pass  # every model prints as model 2
            case b"C", bytes(size) if size:
                self._qr.size = min(max(size[0], 1), 16)
            case b"E", bytes(level) if level:
                self._qr.level = level[0]
            case b"P", bytes(data):
                self._qr.data = data[1:]
            case b"Q", _:
                self._print_qr()

    def _print_qr(self) -> None:
        if self._qr.data:
            image = symbols.qr_code(self._qr.data, self._qr.size, self._qr.level)
            self._print(image, "QR " + self._qr.data.decode(errors="replace"))

    def _graphics_function(self, body: bytes) -> None:
        match body[1:2], body[2:]:
            case ((b"\x70" | b"\x71"), bytes(data)) if len(data) >= 8:
                width, height = int.from_bytes(data[4:6], "little"), int.from_bytes(data[6:8], "little")
                scale = (data[1] if data[1] in (1, 2) else 1, data[2] if data[2] in (1, 2) else 1)
                self._stored = graphics.raster(data[8:], (width + 7) // 8, height, scale)
            case ((b"\x02" | b"2"), _):
                self._print(self._stored, "image")

    def _barcode_height(self, data: bytes) -> None:
        self._bars["height"] = max(data[0], 1)

    def _barcode_width(self, data: bytes) -> None:
        self._bars["width"] = min(max(data[0], 1), 6)

    def _barcode_text(self, data: bytes) -> None:
        self._bars["text"] = data[0] % 48

    def _barcode(self, data: bytes) -> None:
        symbol = symbols.bar_code(data[0], data[1:])
        if symbol is None:
            self.unknown.append((b"\x1dk" + data[:16]).hex())
            return
        image = symbols.bars(symbol, self._bars["width"], self._bars["height"])
        if self._bars["text"] & 1:
            self._caption(symbol.text, image.width)
        self._print(image, f"{symbol.name} {symbol.text}")
        if self._bars["text"] & 2:
            self._caption(symbol.text, image.width)

    def _caption(self, text: str, width: int) -> None:
        """The text of a barcode, centred above or below its bars; it is not a line of the text file."""
        cell, height = Style().cell
        left = max(0, (width - cell * len(text)) // 2)
        strip = Image.new("L", (max(width, cell * len(text)), height + 4))
        for position, character in enumerate(text):
            strip.paste(glyph(character, Style()), (left + position * cell, 2))
        self._put([(0, strip)], strip.height)
        self.paper.feed(strip.height)

    def _print(self, image: Image.Image | None, name: str) -> None:
        """Print a picture on lines of its own; a symbol too wide for the paper is left out, as printers do."""
        self.end_line()
        if image is None or (name != "image" and image.width > self._area):
            self.unknown.append(f"not printable: {name}")
            return
        self._put([(0, image)], image.height)
        self.paper.feed(image.height)
        self.paper.write(f"[{name}]")
        self._host.line_printed()


def _ignore(_: bytes) -> None:
    """Carry out a command that leaves nothing on paper."""

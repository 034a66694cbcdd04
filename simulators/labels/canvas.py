"""A label as it is being made: ink on white, and in words what was put there."""

from __future__ import annotations

from pathlib import Path

import barcode
import qrcode
from PIL import Image, ImageChops
from qrcode.util import MODE_8BIT_BYTE, QRData

from simulators.escpos.glyphs import Style, glyph

MAX_DOTS = 20_000
_QR_LEVELS = {
    "L": qrcode.constants.ERROR_CORRECT_L,
    "M": qrcode.constants.ERROR_CORRECT_M,
    "Q": qrcode.constants.ERROR_CORRECT_Q,
    "H": qrcode.constants.ERROR_CORRECT_H,
}


class Canvas:
    """A sheet of `width` x `height` dots; what lies outside is lost, as on a real label."""

    def __init__(self, width: int, height: int) -> None:
        self.ink = Image.new("L", (max(1, min(width, MAX_DOTS)), max(1, min(height, MAX_DOTS))))
        self.words: list[str] = []

    def text(self, x: int, y: int, text: str, cell: tuple[int, int], gap: int = 0) -> None:
        """Characters of `cell` dots each, `gap` dots apart."""
        for place, char in enumerate(text):
            drawn = glyph(char, Style()).resize(cell, Image.Resampling.LANCZOS)
            self._add(x + place * (cell[0] + gap), y, drawn)
        # The second strike of a bold line says nothing new.
        if not self.words or self.words[-1] != text:
            self.words.append(text)

    def box(self, x: int, y: int, width: int, height: int) -> None:
        """A black rectangle."""
        self._add(x, y, Image.new("L", (max(1, min(width, MAX_DOTS)), max(1, min(height, MAX_DOTS))), 255))

    def bitmap(self, x: int, y: int, row_bytes: int, rows: bytes) -> None:
        """A picture, set bits black."""
        height = len(rows) // row_bytes if row_bytes else 0
        if not height:
            return
        self._add(x, y, Image.frombytes("1", (row_bytes * 8, height), rows[: row_bytes * height]).convert("L"))
        self.words.append(f"[bitmap {row_bytes * 8}x{height}]")

    def qr(self, x: int, y: int, data: bytes, module_dots: int, level: str) -> None:
        """A QR code. Raises ValueError for data that no code holds."""
        code = qrcode.QRCode(error_correction=_QR_LEVELS[level], border=0)
        code.add_data(QRData(data, mode=MODE_8BIT_BYTE))
        code.make(fit=True)
        rows = [[bool(module) for module in row] for row in code.get_matrix()]
        self._modules(x, y, rows, module_dots, module_dots)
        self.words.append(f"[qr {data.decode('utf-8', 'replace')}]")

    def bars(self, x: int, y: int, kind: str, data: str, module_dots: int, height: int, *, show_text: bool) -> None:
        """A barcode, with its text below. Raises ValueError for data that it cannot hold."""
        options = {"add_checksum": False} if kind == "code39" else {}
        try:
            code = barcode.get_barcode_class(kind)(data, **options)
            modules = code.build()[0]
        except barcode.errors.BarcodeError as error:
            raise ValueError(str(error)) from error
        self._modules(x, y, [[module != "0" for module in modules]], module_dots, height)
        whole = data if kind in ("code128", "code39", "itf") else code.get_fullcode()
        if show_text:
            self.text(x, y + height + 4, whole, (12, 20))
            self.words.pop()
        self.words.append(f"[{kind} {whole}]")

    def save(self, path: Path) -> None:
        """Black on white as PNG, and what was printed as text beside it."""
        ImageChops.invert(self.ink).save(path)
        path.with_suffix(".txt").write_text("\n".join(self.words) + "\n", encoding="utf-8")

    def _modules(self, x: int, y: int, rows: list[list[bool]], width_dots: int, height_dots: int) -> None:
        picture = Image.new("L", (len(rows[0]), len(rows)))
        picture.putdata([255 if dark else 0 for row in rows for dark in row])
        size = (picture.width * max(1, width_dots), picture.height * max(1, height_dots))
        self._add(x, y, picture.resize(size, Image.Resampling.NEAREST))

    def _add(self, x: int, y: int, drawn: Image.Image) -> None:
        """Ink over ink stays ink."""
        at = (x, y, min(x + drawn.width, self.ink.width), min(y + drawn.height, self.ink.height))
        if at[2] <= at[0] or at[3] <= at[1]:
            return
        part = drawn.crop((0, 0, at[2] - x, at[3] - y))
        self.ink.paste(ImageChops.lighter(self.ink.crop(at), part), at)

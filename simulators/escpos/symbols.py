"""QR codes and barcodes that the printer draws itself (ink 255 on 0)."""

from __future__ import annotations

from dataclasses import dataclass

import barcode
import qrcode
from PIL import Image
from qrcode.exceptions import DataOverflowError
from qrcode.util import MODE_8BIT_BYTE, QRData

QR_LEVELS = {
    48: qrcode.constants.ERROR_CORRECT_L,
    49: qrcode.constants.ERROR_CORRECT_M,
    50: qrcode.constants.ERROR_CORRECT_Q,
    51: qrcode.constants.ERROR_CORRECT_H,
}
# GS k numbers its kinds twice: 0 to 6 with NUL-ended data, 65 upwards with a length.
BARCODES = {
    65: "upca", 67: "ean13", 68: "ean8", 69: "code39", 70: "itf", 71: "codabar", 73: "code128",
}  # fmt: skip


@dataclass(frozen=True)
class Barcode:
    """A barcode's modules as `1` and `0`, and the text under it."""

    name: str
    text: str
    modules: str


def qr_code(data: bytes, module_dots: int, level: int) -> Image.Image | None:
    """The QR code for `data` without its quiet zone; None if no QR code holds it."""
    code = qrcode.QRCode(border=0, error_correction=QR_LEVELS.get(level, qrcode.constants.ERROR_CORRECT_L))
    code.add_data(QRData(data, mode=MODE_8BIT_BYTE, check_data=False), optimize=0)
    try:
        code.make(fit=True)
    except (DataOverflowError, ValueError):
        return None
    rows = code.get_matrix()
    image = Image.new("L", (len(rows), len(rows)))
    image.putdata([255 if dark else 0 for row in rows for dark in row])
    return image.resize((image.width * module_dots, image.height * module_dots), Image.Resampling.NEAREST)


def bar_code(kind: int, data: bytes) -> Barcode | None:
    """The barcode of GS k kind `kind`; None if the printer would refuse the data or the simulator lacks the kind."""
    name = BARCODES.get(kind + 65 if kind < 65 else kind)
    if name is None:
        return None
    text = _code128_text(data) if name == "code128" else data.decode("ascii", errors="replace")
    options = {"add_checksum": False} if name == "code39" else {}
    try:
        symbol = barcode.get_barcode_class(name)(text, **options)
        return Barcode(name, symbol.get_fullcode(), symbol.build()[0])
    except (barcode.errors.BarcodeError, KeyError, ValueError, IndexError):
        return None


def bars(symbol: Barcode, module_dots: int, height: int) -> Image.Image:
    """The bars, `module_dots` wide each."""
    row = Image.new("L", (len(symbol.modules), 1))
    row.putdata([255 if module != "0" else 0 for module in symbol.modules])
    return row.resize((row.width * module_dots, height), Image.Resampling.NEAREST)


def _code128_text(data: bytes) -> str:
    """The content of Code 128 data with its code set marks; in set C each byte is a pair of digits."""
    text, code_set, position = [], "B", 0
    while position < len(data):
        pair = data[position : position + 2]
        if pair in (b"{A", b"{B", b"{C"):
            code_set, position = chr(pair[1]), position + 2
        elif pair == b"{{":
            text.append("{")
            position += 2
        elif pair[:1] == b"{":
            position += 2  # shift and function marks carry no characters
        else:
            text.append(f"{data[position]:02d}" if code_set == "C" else chr(data[position]))
            position += 1
    return "".join(text)

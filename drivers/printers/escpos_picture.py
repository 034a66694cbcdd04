"""Pictures a printer gets where its own commands do not reach: logos, QR codes and barcodes.

All pictures are Pillow images in grey, black on white, one pixel a printer dot.
"""

from __future__ import annotations

from PIL import Image

from drivers.document import Align, Qr


def fitted(picture: Image.Image, width_dots: int, align: Align) -> Image.Image:
    """The picture scaled down to the paper where it is wider, with white to its left to place it."""
    if picture.width > width_dots:
        height = max(1, picture.height * width_dots // picture.width)
        picture = picture.resize((width_dots, height), Image.Resampling.LANCZOS)
    left = {"left": 0, "center": (width_dots - picture.width) // 2, "right": width_dots - picture.width}[align]
    paper = Image.new("L", (left + picture.width, picture.height), 255)
    paper.paste(picture, (left, 0))
    return paper


def qr_modules(block: Qr) -> int:
    """How many modules wide the code is at most, by the byte-mode capacities of ISO/IEC 18004."""
    from qrcode import constants, util  # noqa: PLC0415 - loaded with python-escpos, when first needed.

    limits = util.BIT_LIMIT_TABLE[getattr(constants, f"ERROR_CORRECT_{block.error_correction}")]
    bits = 4 + 8 * len(block.data.encode())
    return next(17 + 4 * v for v in range(1, 41) if bits + (8 if v < 10 else 16) <= limits[v])


def qr_picture(block: Qr, size_dots: int) -> Image.Image:
    """A QR code for a printer that cannot draw one; a long one takes a tenth of a second and more."""
    import qrcode  # noqa: PLC0415 - loaded with python-escpos, when first needed.

    level = getattr(qrcode.constants, f"ERROR_CORRECT_{block.error_correction}")
    code = qrcode.QRCode(error_correction=level, border=0)
    code.add_data(block.data.encode(), optimize=0)
    code.make(fit=True)
    rows = code.get_matrix()
    return _scaled([[bool(dark) for dark in row] for row in rows], size_dots, size_dots)


def barcode_picture(symbology: str, data: str, height_dots: int, width_dots: int) -> Image.Image | None:
    """A barcode for a printer that cannot draw one, modules of 1 to 3 dots; None when it is wider than the paper."""
    import barcode  # noqa: PLC0415 - loaded with python-escpos, when first needed.

    options = {"add_checksum": False} if symbology == "code39" else {}
    modules = barcode.get_barcode_class(symbology)(data, **options).build()[0]
    module_dots = min(3, width_dots // len(modules))
    return _scaled([[module != "0" for module in modules]], module_dots, height_dots) if module_dots else None


def _scaled(rows: list[list[bool]], width_dots: int, height_dots: int) -> Image.Image:
    """Modules as a picture, each `width_dots` x `height_dots`."""
    picture = Image.new("L", (len(rows[0]), len(rows)), 255)
    picture.putdata([0 if dark else 255 for row in rows for dark in row])
    size = (picture.width * width_dots, picture.height * height_dots)
    return picture.resize(size, Image.Resampling.NEAREST)

"""Bit images as ESC/POS sends them, into pictures (ink 255 on 0)."""

from __future__ import annotations

from PIL import Image


def raster(data: bytes, width_bytes: int, height: int, scale: tuple[int, int] = (1, 1)) -> Image.Image | None:
    """Rows of `width_bytes` bytes, most significant bit left; None if there is nothing in it."""
    if not width_bytes or not height or len(data) < width_bytes * height:
        return None
    image = Image.frombytes("1", (width_bytes * 8, height), data[: width_bytes * height]).convert("L")
    return _scaled(image, scale)


def columns(data: bytes, mode: int) -> Image.Image | None:
    """ESC * data: columns of 8 (modes 0, 1) or 24 dots (32, 33), top bit first; modes 0 and 32 are half as dense."""
    height = 24 if mode in (32, 33) else 8
    size = height // 8
    width = len(data) // size
    if not width:
        return None
    # Each column is a row of a picture that lies on its side.
    lying = Image.frombytes("1", (height, width), data[: width * size]).convert("L")
    upright = lying.transpose(Image.Transpose.TRANSPOSE)
    return _scaled(upright, (1 if mode in (1, 33) else 2, 1 if height == 24 else 3))


def _scaled(image: Image.Image, scale: tuple[int, int]) -> Image.Image:
    if scale == (1, 1):
        return image
    return image.resize((image.width * scale[0], image.height * scale[1]), Image.Resampling.NEAREST)

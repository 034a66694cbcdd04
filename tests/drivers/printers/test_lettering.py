"""Lines drawn as pictures: which font draws what, and what happens where there is none."""

from __future__ import annotations

import pytest
from PIL import Image, ImageChops

from drivers.printers import lettering
from drivers.printers.lettering import LINE_DOTS, Look, line_picture, missing

PACKAGES = {
    "咖啡": "fonts-droid-fallback",
    "🍺": "fonts-symbola",
    "مرحبا": "fonts-dejavu-core",
    "Grüße": "fonts-dejavu-core",
}
NOBODY_HAS = "\U0010fffd"


def drawn(text: str, font: str | None = None, line_dots: int = LINE_DOTS, **look: bool) -> Image.Image:
    return line_picture(text, 12, Look(**look), font, line_dots)


def ink(picture: Image.Image) -> tuple[int, int, int, int]:
    box = ImageChops.invert(picture).getbbox()
    assert box is not None
    return box


@pytest.mark.parametrize("text", PACKAGES)
def test_a_script_is_drawn_by_a_font_that_has_it(text: str) -> None:
    if missing(text):
        pytest.skip(f"no font here has {text}: apt-get install {PACKAGES[text]}")
    boxes = drawn(NOBODY_HAS * len(text))
    assert ImageChops.difference(drawn(text).resize(boxes.size), boxes).getbbox() is not None
    left, top, right, bottom = ink(drawn(text))
    assert right - left > 12
    assert bottom - top > 8


def test_a_character_that_no_font_has_is_an_empty_box_and_is_named() -> None:
    assert missing(f"Bier {NOBODY_HAS} x") == NOBODY_HAS
    left, _, right, _ = ink(drawn(NOBODY_HAS))
    assert 0 <= left < right <= 24


def test_columns_stay_columns_whatever_font_draws_them() -> None:
    """The digit after two wide signs stands in the fifth cell, as after four narrow ones."""
    if missing("咖啡"):
        pytest.skip("no font here has Chinese signs: apt-get install fonts-droid-fallback")
    right = drawn("咖啡1").crop((48, 0, 60, 30))
    assert ImageChops.difference(right, drawn("abcd1").crop((48, 0, 60, 30))).getbbox() is None


def test_a_line_wider_than_its_cells_is_squeezed_into_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A font of its own widths, as every one for Arabic or Thai, does not push the price off the paper."""
    monkeypatch.setattr(lettering, "FONTS", ("DejaVuSans.ttf",))
    lettering._faces.cache_clear()
    try:
        assert drawn("WWWWWWWW").width == 8 * 12
        assert ink(drawn("\u05e9" * 8))[2] <= 8 * 12
    finally:
        lettering._faces.cache_clear()


def test_without_any_font_of_the_system_latin_is_still_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "FONTS", ())
    lettering._faces.cache_clear()
    try:
        assert missing("Guten Abend") == ""
        assert missing("咖啡") == "咖啡"
        assert ink(drawn("Guten Abend"))[2] <= 11 * 12
    finally:
        lettering._faces.cache_clear()


@pytest.mark.parametrize(
    ("look", "size"),
    [
        ({}, (36, 30)),
        ({"double_width": True}, (72, 30)),
        ({"double_height": True}, (36, 60)),
        ({"line_dots": 45}, (36, 45)),
    ],
)
def test_the_size_of_a_line_is_that_of_its_cells(look: dict[str, object], size: tuple[int, int]) -> None:
    assert drawn("abc", **look).size == size

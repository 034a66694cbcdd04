"""The picture of a document: as wide as the paper, with everything on it, whatever the document is."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

from drivers.document import Barcode, Cell, Columns, Cut, Document, Feed, Image, Qr, Rule, Text
from drivers.printers.preview import CELL_DOTS, HEIGHT_DOTS_MAX, MARGIN_DOTS, document_picture, raw_picture

WIDTH = 48 * CELL_DOTS + 2 * MARGIN_DOTS


def ink(picture: PillowImage.Image) -> int:
    return sum(picture.histogram()[:128])


def png(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    PillowImage.new("L", (width, height), 0).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    "block",
    [
        Text(text="Grüße €"),
        Columns(cells=(Cell(text="a"), Cell(text="1,00 €", align="right"))),
        Rule(),
        Qr(data="https://example.org"),
        Barcode(symbology="ean13", data="400638133393"),
        Barcode(symbology="code128", data="x" * 48),
        Image(png=png(40, 40)),
        Image(png=png(1200, 10)),
    ],
)
def test_every_block_is_drawn(block):
    picture = document_picture(Document(lines=(block,)))
    assert picture.width == WIDTH
    assert ink(picture) > 50


def test_text_stands_where_it_is_aligned():
    def left_edge(align):
        picture = document_picture(Document(lines=(Text(text="X", align=align),)))
        return picture.point(lambda grey: 255 - grey).getbbox()[0]

    left, centre, right = (left_edge(align) for align in ("left", "center", "right"))
    assert MARGIN_DOTS <= left < WIDTH / 3 < centre < WIDTH * 2 / 3 < right


def test_a_copy_says_so():
    document = Document(lines=(Text(text="x"), Cut()))
    assert document_picture(document, copy_label="KOPIE").height > document_picture(document).height


def test_i09_a_roll_of_paper_has_an_end():
    document = Document(lines=tuple(Feed(lines=40) for _ in range(50)))
    assert document_picture(document).height < HEIGHT_DOTS_MAX + 200


def test_a_damaged_picture_is_a_note():
    assert ink(document_picture(Document(lines=(Image(png=b"no png"),)))) > 50


@given(st.binary(max_size=3000))
@settings(max_examples=30, deadline=None)
def test_any_raw_job_has_a_picture(content):
    assert raw_picture(content).width == WIDTH


def test_the_text_of_a_raw_job_is_seen():
    assert ink(raw_picture(b"\x1b@Total 12,50\n\x1dV\x00")) > ink(raw_picture(b"\x1b@\x1dV\x00"))

import base64
import io
import json
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from drivers.document import (
    MAX_BLOCKS,
    MAX_IMAGE_BYTES,
    Barcode,
    Cell,
    Columns,
    Cut,
    Document,
    Feed,
    Image,
    Qr,
    Rule,
    Text,
    cell_count,
    check_digit,
    column_lines,
    decode_png,
    plain_text,
    printable,
    problems,
    wrap,
)


def png(width: int, height: int, mode: str = "L") -> bytes:
    file = io.BytesIO()
    PillowImage.new(mode, (width, height)).save(file, "PNG")
    return file.getvalue()


def decode(*blocks: object) -> Document:
    return msgspec.json.decode(json.dumps({"lines": blocks}), type=Document)


def test_every_block_is_read_from_json() -> None:
    document = decode(
        {"type": "text", "text": "Hallo", "align": "center", "bold": True},
        {"type": "columns", "cells": [{"text": "Bier"}, {"text": "4,50 €", "align": "right", "chars": 8}]},
        {"type": "rule"},
        {"type": "qr", "data": "https://example.org", "size": 4, "error_correction": "H"},
        {"type": "barcode", "symbology": "ean13", "data": "4006381333931"},
        {"type": "image", "png": base64.b64encode(png(8, 8)).decode()},
        {"type": "feed", "lines": 2},
        {"type": "cut", "mode": "partial"},
    )
    assert [type(block) for block in document.lines] == [Text, Columns, Rule, Qr, Barcode, Image, Feed, Cut]
    assert problems(document) == []


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ({"type": "text", "text": "x", "blink": True}, "blink"),
        ({"type": "video"}, "video"),
        ({"type": "text", "text": "x" * 2001}, "$.lines[0].text"),
        ({"type": "feed", "lines": 41}, "$.lines[0].lines"),
        ({"type": "columns", "cells": []}, "$.lines[0].cells"),
        ({"type": "columns", "cells": [{"text": "x"}] * 9}, "$.lines[0].cells"),
        ({"type": "qr", "data": "x" * 1001}, "$.lines[0].data"),
        ({"type": "barcode", "symbology": "ean14", "data": "1"}, "$.lines[0].symbology"),
        ({"type": "image", "png": base64.b64encode(bytes(MAX_IMAGE_BYTES + 1)).decode()}, "$.lines[0].png"),
    ],
)
def test_i09_what_is_out_of_bounds_is_refused_with_its_field(block: dict[str, object], field: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        decode(block)
    assert field in str(refused.value)


def test_i09_number_of_blocks_and_sum_of_text_are_bounded() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(*[{"type": "rule"}] * (MAX_BLOCKS + 1))
    (problem,) = problems(Document(lines=(Text(text="x" * 2000),) * 21))
    assert problem.startswith("lines: 42000 characters")


def test_i09_pixels_are_bounded_before_they_are_decoded() -> None:
    assert problems(Document(lines=(Image(png=png(1000, 1000)),))) == []
    (problem,) = problems(Document(lines=(Rule(), Image(png=png(1001, 1000)))))
    assert problem.startswith("lines[1]: png: 1001 x 1000 pixels")
    together = problems(Document(lines=(Image(png=png(1000, 1000)),) * 3))
    assert together == ["lines: images of 3000000 pixels together; at most 2000000 fit in one document"]


def test_i09_a_bomb_that_claims_to_be_small_decodes_no_more_than_it_claims() -> None:
    honest = png(10, 10)
    start, end = honest.index(b"IDAT") - 4, honest.index(b"IEND") - 4
    data = zlib.compress(bytes(50_000_000))
    chunk = len(data).to_bytes(4, "big") + b"IDAT" + data + zlib.crc32(b"IDAT" + data).to_bytes(4, "big")
    assert decode_png(honest[:start] + chunk + honest[end:]).size == (10, 10)


@pytest.mark.parametrize("broken", [b"GIF89a", png(50, 50)[:60], png(8, 8)[:20], b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_a_broken_image_is_named(broken: bytes) -> None:
    (problem,) = problems(Document(lines=(Image(png=broken),)))
    assert problem.startswith("lines[0]: png: ")


@given(st.binary(max_size=300))
def test_any_image_bytes_give_a_picture_or_a_reason(tail: bytes) -> None:
    with pytest.raises(ValueError, match=r"^png: "):
        decode_png(png(4, 4)[:16] + tail)


def test_transparency_becomes_white() -> None:
    file = io.BytesIO()
    PillowImage.new("RGBA", (2, 2), (0, 0, 0, 0)).save(file, "PNG")
    assert decode_png(file.getvalue()).getpixel((0, 0)) == 255


@pytest.mark.parametrize(
    ("symbology", "data", "advice"),
    [
        ("ean13", "4006381333932", "the check digit should be 1, not 2"),
        ("ean13", "40063813339", "give 13 digits, or 12 without the check digit"),
        ("ean8", "73513538", "the check digit should be 7, not 8"),
        ("upca", "036000291453", "the check digit should be 2, not 3"),
        ("itf", "123", "a leading 0 makes it even"),
        ("code39", "abc", "capitals"),
        ("code128", "größe", "ASCII"),
        ("code128", "a\n", "ASCII"),
        ("ean8", "٠١٢٣٤٥٦", "give 8 digits"),
    ],
)
def test_a_wrong_barcode_is_named_with_what_would_be_right(symbology: str, data: str, advice: str) -> None:
    (problem,) = problems(decode({"type": "rule"}, {"type": "barcode", "symbology": symbology, "data": data}))
    assert problem.startswith(f"lines[1]: data: not a valid {symbology}: ")
    assert advice in problem


@pytest.mark.parametrize(
    ("symbology", "data"),
    [("ean13", "400638133393"), ("ean8", "73513537"), ("upca", "036000291452"), ("itf", "0123"), ("code39", "A-1 $")],
)
def test_right_barcodes_pass(symbology: str, data: str) -> None:
    assert problems(decode({"type": "barcode", "symbology": symbology, "data": data})) == []


def test_check_digits_of_printed_codes() -> None:
    assert [check_digit(digits) for digits in ("400638133393", "7351353", "03600029145")] == ["1", "7", "2"]


@pytest.mark.parametrize("char", ["\x1b", "\x10", "\x00", "\t", "\r", "\x7f", "\x9b"])
def test_a_control_character_is_a_problem_and_never_printable(char: str) -> None:
    (problem,) = problems(Document(lines=(Text(text=f"a{char}p"),)))
    assert problem == f"lines[0]: control character U+{ord(char):04X} in the text; only a newline is allowed"
    assert problems(Document(lines=(Qr(data=f"a{char}"), Columns(cells=(Cell(text=char),)))))[1:] != []
    assert printable(f"a{char}p") == "a?p"


def test_a_qr_code_is_bounded_in_bytes_not_characters() -> None:
    assert problems(Document(lines=(Qr(data="ü" * 500),))) == []
    assert "1002 bytes" in problems(Document(lines=(Qr(data="ü" * 501),)))[0]


def test_text_is_composed_and_spaces_are_made_plain() -> None:
    assert printable("Gru\u0308ße 12,50\u00a0€\u200b \u22125") == "Grüße 12,50 € -5"


def test_wrap_breaks_at_spaces_and_inside_long_words() -> None:
    assert wrap("ein zwei drei", 8) == ["ein zwei", "drei"]
    assert wrap("Donaudampfschiff faehrt", 10) == ["Donaudampf", "schiff", "faehrt"]
    assert wrap("a\n\nb", 10) == ["a", "", "b"]
    assert wrap("", 10) == [""]
    assert wrap("日本語", 4) == ["日本", "語"]


@given(st.text(max_size=200), st.integers(2, 40))
def test_wrapped_lines_fit_and_lose_no_visible_character(text: str, width: int) -> None:
    text = printable(text)
    lines = wrap(text, width)
    assert all(cell_count(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace("\n", "").replace(" ", "")


def test_columns_share_what_fixed_ones_leave() -> None:
    cells = (Cell(text="2"), Cell(text="Radler, alkoholfrei", share=3), Cell(text="9,00 €", align="right", chars=8))
    assert column_lines(cells, 30) == ["2     Radler,           9,00 €", "      alkoholfrei             "]


@given(
    st.lists(st.tuples(st.none() | st.integers(1, 128), st.integers(1, 100)), min_size=1, max_size=8),
    st.integers(16, 128),
)
def test_columns_always_add_up_to_at_most_the_line(sizes: list[tuple[int | None, int]], width: int) -> None:
    cells = tuple(Cell(text="abc def", chars=chars, share=share) for chars, share in sizes)
    assert all(len(line) <= width for line in column_lines(cells, width))


def test_plain_text_reads_like_the_receipt() -> None:
    document = Document(
        lines=(
            Text(text="Stadthalle", align="center", double_width=True),
            Columns(cells=(Cell(text="Weißbier"), Cell(text="4,50 €", align="right"))),
            Rule(char="="),
            Qr(data="T-1"),
            Barcode(symbology="itf", data="0123", align="right"),
            Image(png=png(1, 1), align="left"),
            Feed(lines=1),
            Cut(),
        )
    )
    assert plain_text(document, 20) == [
        "     Stadthalle",
        "Weißbier      4,50 €",
        "====================",
        "      [qr T-1]",
        "          [itf 0123]",
        "[image]",
        "",
        "- - - - - - - - - -",
    ]

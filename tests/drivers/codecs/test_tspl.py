"""TSPL2: commands as TSC's manual has them, and the byte that answers `ESC ! ?`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.api import PrinterStatus
from drivers.codecs import tspl
from drivers.codecs.label import BarsAt, BitmapAt, BoxAt, Element, Label, QrAt, Stock, TextAt
from simulators.labels.tspl import TsplReader


def lines(*elements: Element, **stock: object) -> list[bytes]:
    return tspl.label(Label(448, 320, elements), Stock(**stock)).split(b"\r\n")


@pytest.mark.parametrize(
    ("element", "command"),
    [
        (TextAt(10, 20, "Hi"), b'TEXT 10,20,"2",0,1,1,"Hi"'),
        (TextAt(10, 20, "Hi", wide=True), b'TEXT 10,20,"2",0,2,1,"Hi"'),
        (BoxAt(1, 2, 100, 3), b"BAR 1,2,100,3"),
        (BitmapAt(1, 2, 1, 2, b"\x80\x01"), b"BITMAP 1,2,1,2,0,\x7f\xfe"),
        (QrAt(50, 60, "https://a.at", 5, "M"), b'QRCODE 50,60,M,5,A,0,"https://a.at"'),
        (
            BarsAt(1, 2, "ean13", "400638133393", 3, 64, show_text=True),
            b'BARCODE 1,2,"EAN13",64,1,0,3,3,"400638133393"',
        ),
        (BarsAt(1, 2, "code39", "A-1", 2, 64, show_text=False), b'BARCODE 1,2,"39",64,0,0,2,5,"A-1"'),
    ],
)
def test_each_element_is_one_line(element: Element, command: bytes) -> None:
    assert command in lines(element)


def test_the_stock_is_said_before_anything_is_printed() -> None:
    assert lines()[:3] == [b"SIZE 56.1 mm,40.0 mm", b"GAP 3 mm,0 mm", b"DIRECTION 1,0"]
    assert lines()[-2:] == [b"PRINT 1,1", b""]
    assert lines(media="mark", gap_mm=2.5)[1] == b"BLINE 2.5 mm,0 mm"
    assert lines(media="continuous")[1] == b"GAP 0,0"
    assert b'TEXT 1,1,"3",0,1,1,"x"' in lines(TextAt(1, 1, "x"), dpi=300)
    assert b"SET CUTTER 1" in tspl.label(Label(9, 9, (), cut=True), Stock())


@pytest.mark.parametrize("text", ['say "hi"', "back\\slash", "Grüße", "two\nlines"])
def test_what_a_command_cannot_hold_is_refused_here_and_drawn_by_the_layout(text: str) -> None:
    assert not tspl.is_plain(text)
    with pytest.raises(ValueError, match="cannot stand in a TSPL command"):
        lines(TextAt(0, 0, text))


def test_a_bitmap_never_holds_an_immediate_command() -> None:
    wanted = b"\x1b!?\x1b!R\x1b!F"
    data = tspl.label(Label(100, 100, (BitmapAt(0, 0, 9, 1, bytes(0xFF - byte for byte in wanted)),)), Stock())
    assert b"\x1b!" not in data
    assert b"\x1a!?\x1a!R\x1a!F" in data


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60), st.binary(min_size=8, max_size=8))
def test_no_text_and_no_bitmap_becomes_a_command(text: str, rows: bytes) -> None:
    answered: list[bytes] = []
    reader = TsplReader(lambda: b"", answered.append)
    elements = (BitmapAt(0, 0, 2, 4, rows), *((TextAt(0, 40, text),) if tspl.is_plain(text) and text else ()))
    reader.obey(tspl.label(Label(800, 100, elements), Stock()))
    canvas = reader.next_label()
    assert canvas is not None
    assert canvas.words == ["[bitmap 16x4]", *(each.text for each in elements[1:])]
    assert reader.unknown == set()
    assert answered == []
    assert reader.pending_bytes == 0


@pytest.mark.parametrize(
    ("byte", "status"),
    [
        (0x00, PrinterStatus(online=True, cover_open=False, paper_out=False)),
        (0x20, PrinterStatus(online=True, cover_open=False, paper_out=False)),
        (0x01, PrinterStatus(online=False, cover_open=True, paper_out=False)),
        (0x04, PrinterStatus(online=False, cover_open=False, paper_out=True)),
        (0x05, PrinterStatus(online=False, cover_open=True, paper_out=True)),
        (0x02, PrinterStatus(online=False, cover_open=False, paper_out=False, error="paper jam")),
        (0x08, PrinterStatus(online=False, cover_open=False, paper_out=False, error="ribbon out")),
        (0x10, PrinterStatus(online=False, cover_open=False, paper_out=False, error="paused")),
        (0x80, PrinterStatus(online=False, cover_open=False, paper_out=False, error="error")),
    ],
)
def test_the_status_byte(byte: int, status: PrinterStatus) -> None:
    assert tspl.status_of(tspl.StatusByte(byte)) == status

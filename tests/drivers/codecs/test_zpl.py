"""ZPL II: commands as Zebra's manual has them, and the three lines of `~HS`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.api import PrinterStatus
from drivers.codecs import zpl
from drivers.codecs.label import BarsAt, BitmapAt, BoxAt, Element, Label, QrAt, Stock, TextAt
from drivers.printers.zpl import ZplLanguage
from simulators.labels.zpl import ZplReader, unpacked

READY = b"\x02030,0,0,1245,000,0,0,0,000,0,0,0\x03\r\n\x02000,0,0,0,0,2,4,0,00000000,1,000\x03\r\n\x021234,0\x03\r\n"
OUT_AND_OPEN = READY.replace(b"030,0,0", b"030,1,1").replace(b"000,0,0,0,0,2", b"000,0,1,0,0,2")


def written(*elements: Element, **stock: object) -> str:
    text = zpl.label(Label(400, 200, elements), Stock(**stock)).decode("ascii")
    assert text.startswith("^XA^CI28")
    assert text.endswith("^XZ\r\n")
    return text


@pytest.mark.parametrize(
    ("element", "command"),
    [
        (TextAt(10, 20, "Hi"), "^FO10,20^ADN,18,10^FH_^FDHi^FS"),
        (TextAt(10, 20, "Hi", wide=True, high=True), "^FO10,20^ADN,36,20^FH_^FDHi^FS"),
        (TextAt(1, 2, "b", bold=True), "^FO1,2^ADN,18,10^FH_^FDb^FS^FO2,2^ADN,18,10^FH_^FDb^FS"),
        (TextAt(1, 2, "^XZ~HS_"), "^FD_5EXZ_7EHS_5F^FS"),
        (BoxAt(1, 2, 100, 3), "^FO1,2^GB100,3,3,B,0^FS"),
        (QrAt(50, 60, "https://a.at", 5, "M"), "^FO50,50^BQN,2,5,M^FH_^FDMA,https://a.at^FS"),
        (
            BarsAt(1, 2, "ean13", "400638133393", 3, 64, show_text=True),
            "^FO1,2^BY3,2.5,64^BEN,64,Y,N^FH_^FD400638133393^FS",
        ),
        (BarsAt(1, 2, "code128", "a>b", 2, 50, show_text=False), "^BY2,2.5,50^BCN,50,N,N,N^FH_^FD>:a>0b^FS"),
        (BarsAt(1, 2, "itf", "1234", 2, 50, show_text=True), "^B2N,50,Y,N,N^FH_^FD1234^FS"),
    ],
)
def test_each_element_is_one_command(element: Element, command: str) -> None:
    assert command in written(element)


def test_the_stock_is_said_before_anything_is_printed() -> None:
    assert "^MNY^PW400^LL200" in written()
    assert "^MNM" in written(media="mark")
    assert "^MNN" in written(media="continuous")
    assert "^FO1,1^AAN,27,15^FH_" in written(TextAt(1, 1, "x"), dpi=300)
    assert "^MMC" in zpl.label(Label(9, 9, (), cut=True), Stock()).decode()


@pytest.mark.parametrize(
    ("count", "letters"),
    # "MB" is seven B and "hB" forty, as in the manual's table.
    [(1, "G"), (7, "M"), (19, "Y"), (20, "g"), (40, "h"), (327, "vM"), (400, "z"), (420, "zg")],
)
def test_run_lengths_are_those_of_the_manual(count: int, letters: str) -> None:
    assert zpl._times(count) == letters


@given(st.integers(1, 60), st.integers(1, 12), st.data())
def test_a_packed_bitmap_unpacks_to_itself(row_bytes: int, height: int, data: st.DataObject) -> None:
    row = st.binary(min_size=row_bytes, max_size=row_bytes) | st.just(bytes(row_bytes)) | st.just(b"\xff" * row_bytes)
    rows = b"".join(data.draw(st.lists(row, min_size=height, max_size=height)))
    text = written(BitmapAt(0, 0, row_bytes, height, rows))
    head, _, packed = text.partition(f"^GFA,{len(rows)},{len(rows)},{row_bytes},")
    assert head
    assert unpacked(packed.split("^")[0], row_bytes) == rows


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_no_text_becomes_a_command(text: str) -> None:
    answered: list[bytes] = []
    reader = ZplReader(lambda: b"", answered.append)
    reader.obey(zpl.label(Label(800, 100, (TextAt(0, 0, text), BoxAt(0, 50, 9, 9))), Stock()))
    canvas = reader.next_label()
    assert canvas is not None
    assert canvas.words == [text]
    assert answered == []
    assert reader.unknown == set()
    assert reader.next_label() is None


def statuses(*parts: bytes) -> list[PrinterStatus | None]:
    language = ZplLanguage()
    return [status for part in parts if (status := language.receive(part)[0]) is not None]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (READY, PrinterStatus(online=True, cover_open=False, paper_out=False)),
        (OUT_AND_OPEN, PrinterStatus(online=False, cover_open=True, paper_out=True)),
        (
            READY.replace(b"030,0,0", b"030,0,1"),
            PrinterStatus(online=False, cover_open=False, paper_out=False, error="paused"),
        ),
        (
            READY.replace(b"030,0,0", b"030,0,1").replace(b"000,0,0,0,0", b"000,0,0,1,0"),
            PrinterStatus(online=False, cover_open=False, paper_out=False, error="ribbon out"),
        ),
        (
            READY.replace(b"000,0,0,0\x03", b"000,0,0,1\x03"),
            PrinterStatus(online=True, cover_open=False, paper_out=False, error="head too hot"),
        ),
    ],
)
def test_an_answer_is_read_whole_and_byte_by_byte_and_between_noise(answer: bytes, status: PrinterStatus) -> None:
    assert statuses(answer) == [status]
    assert statuses(*(bytes((byte,)) for byte in answer)) == [status]
    assert statuses(b"\x11ERR" + answer) == [status]
    assert statuses(answer[:20] + b"\x02" * 300 + b"\x03") == []


def test_answers_of_no_printer_say_nothing() -> None:
    assert statuses(b"\x021,2\x03\r\n\x02x\x03\r\n\x02y\x03") == []


@given(st.lists(st.binary(max_size=50) | st.sampled_from((READY, OUT_AND_OPEN, b"\x02", b"\x03"))))
def test_whatever_comes_nothing_is_raised_and_nothing_grows(parts: list[bytes]) -> None:
    language = ZplLanguage()
    for part in parts:
        language.receive(part)
    language.receive(b"\x02" + bytes(1_000_000))
    assert len(language._decoder._buffer) <= 4096
    language.forget()
    assert language.receive(READY)[0] == PrinterStatus(online=True, cover_open=False, paper_out=False)

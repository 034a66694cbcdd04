"""What the renderer sends is read back by a decoder of the test's own, which knows ESC/POS and not the renderer."""

import io
import logging
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL import ImageDraw

from drivers.codecs import escpos
from drivers.document import Barcode, Block, Cell, Columns, Cut, Document, Feed, Image, Qr, Rule, Text
from drivers.printers import escpos_library
from drivers.printers.escpos_profile import load_profile
from drivers.printers.escpos_render import render

TABLES = {0: "cp437", 1: "cp932", 2: "cp850", 3: "cp860", 4: "cp863", 5: "cp865", 16: "cp1252", 17: "cp866"}
TABLES |= {14: "cp737", 18: "cp852", 19: "cp858"}
EPSON = load_profile("TM-T88III")


SETTINGS = {b"\x1b" + name for name in (b"-", b"R", b"d", b"3")} | {b"\x1d" + name for name in (b"H", b"f", b"h", b"w")}
"""Commands with one parameter that change nothing the tests look at."""


@dataclass
class Paper:
    """What came out of the printer: text lines with their look, pictures, codes and cuts."""

    lines: list[str] = field(default_factory=list)
    looks: list[tuple[int, int, int]] = field(default_factory=list)
    pictures: list[PillowImage.Image] = field(default_factory=list)
    codes: list[bytes] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    page_changes: int = 0
    table: str = "cp437"
    line: str = ""
    size: int = 0
    bold: int = 0
    align: int = 0

    def command(self, two: bytes, rest: bytes) -> int | None:
        """Carry out one command and return how many bytes of parameters it had; None for text."""
        match two:
            case b"\x1b@" | b"\x1b2" | b"\x1c.":
                return 0
            case b"\x1bt":
                self.table, self.page_changes = TABLES.get(rest[0], "latin-1"), self.page_changes + 1
            case b"\x1b!":
                self.size = rest[0]
            case b"\x1bE":
                self.bold = rest[0]
            case b"\x1ba":
                self.align = rest[0]
            case b"\x1dV":
                self.cuts.append(rest[0])
            case _:
                return 1 if two in SETTINGS else self.long_command(two, rest)
        return 1

    def long_command(self, two: bytes, rest: bytes) -> int | None:
        match two:
            case b"\x1dv":
                width, height = rest[2] + 256 * rest[3], rest[4] + 256 * rest[5]
                self.pictures.append(PillowImage.frombytes("1", (width * 8, height), rest[6 : 6 + width * height]))
                return 6 + width * height
            case b"\x1d(":
                size = rest[1] + 256 * rest[2]
                self.codes.append(rest[3 : 3 + size])
                return 3 + size
            case b"\x1dk":
                self.codes.append(rest[: 2 + rest[1]])
                return 2 + rest[1]
        return None

    def char(self, char: bytes) -> None:
        assert char == b"\n" or char >= b" ", f"unexpected command {char.hex()}"
        if char == b"\n":
            self.lines.append(self.line)
            self.looks.append((self.size, self.bold, self.align))
            self.line = ""
        else:
            self.line += char.decode(self.table, "replace")


def printed(data: bytes) -> Paper:
    """Decode a job as a printer would; an unknown command fails the test."""
    paper, at = Paper(), 0
    while at < len(data):
        length = paper.command(data[at : at + 2], data[at + 2 :])
        if length is None:
            paper.char(data[at : at + 1])
        at += 1 if length is None else 2 + length
    assert paper.line == ""
    return paper


def paper(*blocks: Block, profile: str = "TM-T88III", label: str | None = None) -> Paper:
    return printed(render(Document(lines=blocks), load_profile(profile), label))


def test_golden_bytes_of_a_small_receipt() -> None:
    data = render(Document(lines=(Text(text="Grüße", bold=True), Feed(lines=3), Cut())), EPSON)
    reset, look = "1b40 1b5200", "1b2100 1b2100 1b2100 1b4501 1b2d00 1b6100"
    assert data == bytes.fromhex(f"{reset} {look} 1b7400 47 72 81 e1 65 0a 1b6403 1b6406 1d5600")


@pytest.mark.parametrize("profile", ["default", "TM-T88III", "TM-T20II", "TM-T88V", "NT-5890K", "POS-5890"])
@pytest.mark.parametrize("text", ["Ärger über Größe: ÄÖÜ äöü ß", "12,50 €", "café Ñandú ½ §", "„Grüße“ – 5 €"])
def test_german_and_western_text_prints_as_it_was_written(profile: str, text: str) -> None:
    result = paper(Text(text=text), profile=profile)
    assert (" ".join(result.lines), result.pictures) == (text, [])


@pytest.mark.parametrize("profile", sorted(escpos_library.database()["profiles"]))
def test_every_profile_prints_german_as_text(profile: str) -> None:
    data = render(Document(lines=(Text(text="Käse"), Text(text="5 €"))), load_profile(profile))
    assert b"K\x84se\n" in data or b"K\xe4se\n" in data
    # This customer display has neither a euro sign nor pictures.
    assert (b"5 ?\n" in data) == (profile == "AF-240")


def test_the_euro_sign_prints_on_an_epson_as_text() -> None:
    assert paper(Text(text="Summe 12,50 €")).lines == ["Summe 12,50 €"]


def test_code_pages_change_only_where_they_must() -> None:
    lines = [Text(text=text) for text in ("Bier", "Weißbier", "Käse", "4,50 €", "Brötchen", "5,00 €")]
    result = paper(*lines)
    assert result.lines == ["Bier", "Weißbier", "Käse", "4,50 €", "Brötchen", "5,00 €"]
    assert result.page_changes == 2


def test_a_line_may_need_several_pages() -> None:
    assert paper(Text(text="Größe € Москва ü")).lines == ["Größe € Москва ü"]


def test_text_that_no_page_has_is_drawn_in_place_of_the_line() -> None:
    result = paper(Text(text="vorher"), Text(text="Ελλάδα", align="right"), Text(text="nachher"))
    assert result.lines == ["vorher", "nachher"]
    (picture,) = result.pictures
    left, _, right, _ = picture.getbbox() or (0, 0, 0, 0)
    assert picture.height == 30
    assert 500 - 6 * 12 - 12 < left < right <= 512


def test_drawn_text_wraps_and_doubles_like_printed_text() -> None:
    assert [picture.size for picture in paper(Text(text="日" * 30)).pictures] == [(21 * 24, 30), (9 * 24, 30)]
    (double,) = paper(Text(text="日" * 10, double_width=True, double_height=True)).pictures
    assert (double.width, double.height) == (480, 60)


def test_size_emphasis_and_alignment_reach_the_printer() -> None:
    result = paper(
        Text(text="a", align="center", double_width=True),
        Text(text="b", align="right", bold=True, double_height=True),
        Text(text="c"),
    )
    assert result.looks == [(0x20, 0, 1), (0x10, 1, 2), (0, 0, 0)]


def test_lines_are_as_wide_as_the_profile_and_the_document_say() -> None:
    assert paper(Rule(), profile="TM-T88III").lines == ["-" * 42]
    assert paper(Rule(), profile="TM-T20II").lines == ["-" * 48]
    narrow = Document(lines=(Rule(), Columns(cells=(Cell(text="a"), Cell(text="b", align="right")))), width_chars=20)
    assert printed(render(narrow, EPSON)).lines == ["-" * 20, "a" + " " * 18 + "b"]
    assert printed(render(Document(lines=(Rule(),)), load_profile(width_chars=35))).lines == ["-" * 35]
    assert paper(Text(text="x" * 43, double_width=True)).lines == ["x" * 21, "x" * 21, "x"]


def test_a_copy_says_so_on_every_piece_of_paper() -> None:
    result = paper(Text(text="eins"), Cut(), Text(text="zwei"), label="KOPIE")
    mark = "*** KOPIE ***"
    assert result.lines == [mark, "eins", mark, mark, "zwei", mark]
    assert result.looks[0] == (0x30, 1, 1)
    assert paper(Text(text="eins"), Cut()).lines == ["eins"]


def test_qr_golden_bytes() -> None:
    data = render(Document(lines=(Qr(data="ABC", size=4, error_correction="L"),)), EPSON).hex()
    for command in ("1d286b0400314132" + "00", "1d286b03003143" + "04", "1d286b03003145" + "30"):
        assert command in data
    assert "1d286b0600315030" + b"ABC".hex() + "1d286b0300315130" in data


def test_a_qr_code_never_asks_for_more_than_the_paper_is_wide() -> None:
    (_, size, *_) = paper(Qr(data="x" * 900, size=16, error_correction="H")).codes
    # 900 bytes at level H need version 34 or so, about 150 modules: 3 dots each on 512.
    assert size == b"1C\x03"


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (Barcode(symbology="ean13", data="400638133393"), b"C\x0d4006381333931"),
        (Barcode(symbology="ean13", data="4006381333931"), b"C\x0d4006381333931"),
        (Barcode(symbology="ean8", data="7351353"), b"D\x0873513537"),
        (Barcode(symbology="upca", data="03600029145"), b"A\x0c036000291452"),
        (Barcode(symbology="code39", data="AB-1"), b"E\x04AB-1"),
        (Barcode(symbology="itf", data="1620"), b"F\x041620"),
        (Barcode(symbology="code128", data="T{1"), b"I\x06{BT{{1"),
    ],
)
def test_barcodes(block: Barcode, code: bytes) -> None:
    assert paper(block).codes == [code]


def test_a_barcode_wider_than_the_paper_is_printed_as_text() -> None:
    result = paper(Barcode(symbology="code128", data="A" * 40))
    assert (result.codes, result.lines) == ([], ["A" * 40])


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (Barcode(symbology="ean13", data="400638133393"), "4006381333931"),
        (Barcode(symbology="ean8", data="7351353"), "73513537"),
        (Barcode(symbology="upca", data="036000291452"), "036000291452"),
        (Barcode(symbology="code39", data="AB-1"), "AB-1"),
        (Barcode(symbology="code128", data="Ticket 1"), "Ticket 1"),
        (Barcode(symbology="itf", data="1234"), "1234"),
    ],
)
def test_a_printer_without_barcodes_gets_a_picture(block: Barcode, text: str) -> None:
    result = paper(block, profile="ZJ-5870")
    (picture,) = result.pictures
    assert picture.width <= 384
    assert picture.height == 64
    assert result.lines == [text]


def test_a_printer_without_qr_codes_gets_a_picture_on_the_paper() -> None:
    pictures = paper(Qr(data="https://example.org/" + "x" * 40, size=8), profile="ZJ-5870").pictures
    assert max(picture.width for picture in pictures) <= 384
    # Version 4 at level M holds 62 bytes: 33 modules of 8 dots.
    assert sum(picture.height for picture in pictures) == 33 * 8


def png(picture: PillowImage.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_a_picture_arrives_dot_for_dot_where_it_was_placed() -> None:
    drawn = PillowImage.new("L", (100, 300), 255)
    ImageDraw.Draw(drawn).rectangle((10, 20, 29, 279), fill=0)
    result = paper(Image(png=png(drawn), align="right"))
    whole = PillowImage.new("1", (512, 300))
    for at, part in zip((0, 256), result.pictures, strict=True):
        whole.paste(part, (0, at))
    assert whole.getbbox() == (412 + 10, 20, 412 + 30, 280)


def test_a_picture_wider_than_the_paper_is_scaled_down() -> None:
    (picture,) = paper(Image(png=png(PillowImage.new("L", (1024, 100), 0)))).pictures
    assert picture.size == (512, 50)


def test_a_column_printer_gets_columns_and_one_without_pictures_a_note() -> None:
    block = Image(png=png(PillowImage.new("L", (60, 40), 0)), align="left")
    data = render(Document(lines=(block,)), load_profile("TM-U220"))
    assert b"\x1b*\x00\x3c\x00" in data
    assert paper(block, profile="OCD-300").lines == ["[picture]"]


def test_a_logo_cannot_open_the_drawer() -> None:
    """Eight white columns, then a row that reads DLE DC4 1 0 1: the real-time drawer pulse."""
    drawn = PillowImage.frombytes("1", (40, 1), bytes(b ^ 0xFF for b in escpos.real_time_drawer_pulse(2)))
    data = render(Document(lines=(Image(png=png(drawn.convert("L")), align="left"),)), EPSON)
    assert not escpos.holds_real_time(data)
    assert bytes.fromhex("1114010001") in data


BLOCKS = st.one_of(
    st.builds(Text, text=st.text(max_size=60), bold=st.booleans(), double_width=st.booleans()),
    st.builds(Text, text=st.text(alphabet="\x10\x14\x04\x01\x1bp\x00@äЖ€", max_size=20)),
    st.builds(Columns, cells=st.lists(st.builds(Cell, text=st.text(max_size=20)), min_size=1, max_size=4).map(tuple)),
    st.builds(Rule, char=st.characters(codec="utf-8")),
    st.builds(Qr, data=st.text(alphabet="a\x10\x14\x04ü", min_size=1, max_size=40), size=st.integers(1, 16)),
    st.builds(Feed, lines=st.integers(1, 40)),
    st.builds(Cut),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(BLOCKS, min_size=1, max_size=6).map(tuple), st.sampled_from(["default", "TM-T88III", "NT-5890K"]))
def test_no_document_can_smuggle_in_a_command(blocks: tuple[Block, ...], profile: str) -> None:
    data = render(Document(lines=blocks), load_profile(profile), "KOPIE")
    assert not escpos.holds_real_time(data)
    # The decoder stops at any command the renderer has no business to send, a drawer pulse for one.
    printed(data)


def test_an_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no printer profile 'TM-T88'; did you mean TM-T88"):
        load_profile("TM-T88")


def test_kanji_mode_is_cancelled_only_where_asked() -> None:
    document = Document(lines=(Rule(),))
    assert b"\x1c." in render(document, load_profile(cancel_kanji=True))
    assert b"\x1c." not in render(document, load_profile())


def test_forty_lines_take_less_than_twenty_milliseconds() -> None:
    row = Columns(cells=(Cell(text="Weißbier vom Faß"), Cell(text="4,50 €", align="right", chars=10)))
    document = Document(lines=(*[row] * 38, Qr(data="https://example.org/beleg/4711"), Cut()))
    render(document, EPSON)
    took = []
    for _ in range(5):
        start = time.perf_counter()
        render(document, EPSON)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.020


def test_the_library_leaves_logging_alone_and_nothing_behind(tmp_path: Path) -> None:
    script = (
        "import logging; from drivers.printers import escpos_library as l; l.load();"
        "assert not logging.getLogger().handlers; from drivers.printers.escpos_render import *;"
        "from drivers.printers.escpos_profile import load_profile;"
        "render(Document(lines=(Qr(data='x'), Barcode(symbology='code128', data='x'))), load_profile())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={"TMPDIR": str(tmp_path)}, capture_output=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(tmp_path.iterdir()) == []


def test_loading_twice_is_one_import() -> None:
    handlers = list(logging.getLogger().handlers)
    assert escpos_library.load() is escpos_library.load()
    assert logging.getLogger().handlers == handlers

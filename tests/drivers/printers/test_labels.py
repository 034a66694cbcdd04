"""Documents on labels: laid out, rendered by somebody else's renderer, and printed by simulated printers over TCP."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
import zplkit
from PIL import Image as PillowImage
from PIL import ImageChops

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout, Online, PrinterStatus
from drivers.document import Barcode, Block, Cell, Columns, Cut, Document, Feed, Image, Qr, Rule, Text
from drivers.printers.label import LabelOptions, LabelPrinter
from drivers.printers.tspl import TsplOptions, TsplPrinter
from drivers.printers.zpl import ZplOptions, ZplPrinter
from simulators import label_printer
from simulators.tcp_line import TcpLine

SIZE: dict[str, Any] = {"width_mm": 56, "height_mm": 80}
READY = PrinterStatus(online=True, cover_open=False, paper_out=False)
TICKET = Document(
    lines=(
        Text(text="GARDEROBE 17", align="center", bold=True, double_width=True, double_height=True),
        Rule(),
        Columns(cells=(Cell(text="Mantel"), Cell(text="2,00 EUR", align="right"))),
        Text(text="Grüße {wörtlich} \\ ^XZ", underline=True),
        Qr(data="https://example.org/g/17", size=5),
        Barcode(symbology="ean13", data="400638133393"),
    )
)


def document(*blocks: Block) -> Document:
    return Document(lines=blocks)


def printer(language: str, **options: Any) -> LabelPrinter:
    settings: dict[str, Any] = {"connect": "tcp://127.0.0.1:9", **SIZE, **options}
    if language == "zpl":
        return ZplPrinter(ZplOptions(**settings), lambda _: None)
    return TsplPrinter(TsplOptions(**settings), lambda _: None)


def png(picture: PillowImage.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def by_zplkit(data: bytes, width: int = 448, height: int = 639) -> PillowImage.Image:
    """The label as zplkit draws it, ink 255 on 0. It does not know `^MN`, which says nothing of the picture."""
    drawn = zplkit.render(data.replace(b"^MNY", b""), zplkit.Options(width=width, height=height, dpi=203))
    assert len(drawn.labels) == 1
    with PillowImage.open(io.BytesIO(drawn.labels[0].png())) as opened:
        return ImageChops.invert(opened.convert("L")).point(lambda value: 255 if value > 127 else 0)


def box_of(picture: PillowImage.Image, top: int, bottom: int) -> tuple[int, int, int, int]:
    """Where the ink is between two rows."""
    found = picture.crop((0, top, picture.width, bottom)).getbbox()
    assert found is not None
    return found[0], found[1] + top, found[2], found[3] + top


# By a renderer that this project did not write.


def test_another_renderer_puts_the_text_where_the_layout_says() -> None:
    """Font D in cells of 12 dots: the title doubled, the price ending at the right margin."""
    drawn = by_zplkit(printer("zpl").render(document(*TICKET.lines[:3])))
    title = box_of(drawn, 0, 60)
    assert abs((title[0] + title[2]) - drawn.width) <= 12
    assert 12 * 24 - 12 <= title[2] - title[0] <= 12 * 24
    columns = box_of(drawn, 100, 130)
    assert 12 <= columns[0] <= 16
    assert 436 - 8 <= columns[2] <= 436


def test_another_renderer_unpacks_a_picture_to_the_very_dots_that_were_sent() -> None:
    picture = PillowImage.effect_noise((101, 57), 200).point(lambda value: 255 if value > 127 else 0)
    drawn = by_zplkit(printer("zpl").render(document(Image(png=png(picture), align="left"))))
    assert drawn.crop((12, 12, 12 + 101, 12 + 57)).tobytes() == ImageChops.invert(picture).tobytes()


def test_what_the_printers_font_lacks_is_drawn_alike_by_both() -> None:
    data = printer("zpl").render(document(Text(text="Grüße {wörtlich} \\")))
    assert b"^GFA" in data
    assert b"^AD" not in data
    ours = simulated("zpl", data)
    assert by_zplkit(data).tobytes() == ours.tobytes()


def test_another_renderer_draws_codes_of_the_width_that_the_layout_expects() -> None:
    barcode = Barcode(symbology="ean13", data="400638133393", show_text=False)
    drawn = by_zplkit(printer("zpl").render(document(Qr(data="https://example.org/g/17", size=5), barcode)))
    code = box_of(drawn, 20, 24 + 25 * 5)
    assert (code[2] - code[0], code[3] - code[1]) == (125, 125)
    assert abs(code[0] + code[2] - drawn.width) <= 1
    bars = box_of(drawn, 24 + 25 * 5 + 13, 230)
    assert bars[2] - bars[0] == 95 * 3


def test_every_code_is_taken_by_the_other_renderer() -> None:
    codes = {"ean8": "1234567", "upca": "01234567890", "code39": "AB-12", "code128": "A>b^1_2 ~", "itf": "123456"}
    for symbology, data in codes.items():
        drawn = by_zplkit(printer("zpl").render(document(Barcode(symbology=symbology, data=data))))
        assert drawn.getbbox() is not None, symbology


def simulated(language: Literal["zpl", "tspl"], data: bytes) -> PillowImage.Image:
    reader = (
        label_printer.ZplReader(lambda: b"", lambda _: None)
        if language == "zpl"
        else label_printer.TsplReader(lambda: b"", lambda _: None)
    )
    reader.obey(data)
    label = reader.next_label()
    assert label is not None
    assert reader.unknown == set()
    return label.ink.point(lambda value: 255 if value > 127 else 0)


# The layout.


@pytest.mark.parametrize("language", ["zpl", "tspl"])
def test_each_cut_ends_a_label_and_a_copy_is_marked_on_each(language: str) -> None:
    data = printer(language).render(document(Text(text="one"), Cut(), Cut(), Text(text="two"), Cut()), "KOPIE")
    assert data.count(b"*** KOPIE ***") == 2 * 2  # bold, so struck twice
    assert data.count(b"^XA" if language == "zpl" else b"PRINT") == 2


def test_what_is_longer_than_the_label_is_refused_with_how_much_it_needs() -> None:
    with pytest.raises(DeviceFault, match=r"needs a label 1224 dots high, and the label has 639"):
        printer("zpl").render(document(Feed(lines=40)))


def test_a_roll_without_gaps_gets_labels_as_long_as_their_text() -> None:
    data = printer("zpl", media="continuous", height_mm=None).render(document(Text(text="short")))
    assert b"^MNN^PW448^LL54^" in data


def test_a_barcode_too_wide_is_drawn_narrow_or_printed_as_text() -> None:
    narrow = printer("zpl", width_mm=25)
    assert b"^GFA" in narrow.render(document(Barcode(symbology="code128", data="ABCDEF", show_text=False)))
    data = narrow.render(document(Barcode(symbology="code128", data="X" * 40)))
    assert b"^GFA" not in data
    assert b"XXXXX" in data


def test_a_logo_stands_on_top_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "club.png").write_bytes(png(PillowImage.new("L", (80, 40))))
    with_logo = printer("zpl", logos=str(tmp_path), logo="club")
    assert b"^FO12,12^GFA," in with_logo.render(document(Text(text="x")))
    assert b"^GFA" not in with_logo.render(Document(lines=(Text(text="x"),), logo=""))
    with pytest.raises(DeviceFault, match=r"there is no logo 'bar' in .*; there: club"):
        with_logo.render(Document(lines=(Text(text="x"),), logo="bar"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"height_mm": None}, "height_mm: say how high the labels are"),
        ({"connect": "9100"}, "connect: '9100' is no address"),
        ({"width_mm": 10, "margin_mm": 4}, "margin_mm: the margins leave no room"),
    ],
)
def test_options_that_can_never_work_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LabelOptions(**{"connect": "tcp://printer:9100", **SIZE, **wrong})


# The driver, over TCP, with a simulated printer at the other end.


class Bench:
    """A driver and its simulated printer."""

    def __init__(self, language: Literal["zpl", "tspl"], folder: Path, **options: Any) -> None:
        self.line = TcpLine("127.0.0.1", 0)
        self.simulator = label_printer.LabelPrinter(self.line, folder, language)
        self.line.plug()
        settings: dict[str, Any] = {
            "connect": f"tcp://127.0.0.1:{self.line.port}",
            **SIZE,
            "status_timeout_ms": 200,
            "heartbeat_s": 0.1,
            **options,
        }
        self.said: list[object] = []
        self._changed = asyncio.Event()
        made = ZplPrinter(ZplOptions(**settings), self._emit) if language == "zpl" else None
        self.driver: LabelPrinter = made or TsplPrinter(TsplOptions(**settings), self._emit)
        self.task = asyncio.create_task(self.driver.run())
        self.simulator.watch(lambda _: self._changed.set())

    def _emit(self, event: object) -> None:
        self.said.append(event)
        self._changed.set()

    async def until(self, event: object) -> None:
        await self.until_state(lambda: event in self.said)

    async def until_state(self, true: Any) -> None:
        async with asyncio.timeout(5):
            while not true():
                self._changed.clear()
                await self._changed.wait()


@contextlib.asynccontextmanager
async def bench(language: Literal["zpl", "tspl"], folder: Path, **options: Any) -> AsyncIterator[Bench]:
    made = Bench(language, folder, **options)
    try:
        yield made
    finally:
        made.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, DeviceOffline, DeviceTimeout, DeviceFault):
            await made.task
        made.line.unplug()


@pytest.mark.parametrize("language", ["zpl", "tspl"])
async def test_a_document_comes_out_as_a_label(language: Literal["zpl", "tspl"], tmp_path: Path) -> None:
    async with bench(language, tmp_path) as at:
        await at.until(Online("answers status requests"))
        assert await at.driver.status() == READY
        await at.driver.write(await asyncio.to_thread(at.driver.render, TICKET))
        await at.until_state(lambda: at.simulator.state()["label_count"] == 1)
        assert at.simulator.state()["unknown_commands"] == []
        words = (tmp_path / "label-0001.txt").read_text().splitlines()
        assert words[0] == "GARDEROBE 17"
        assert words[2].split() == ["Mantel", "2,00", "EUR"]
        assert words[3].startswith("[bitmap")
        assert words[4:] == ["[qr https://example.org/g/17]", "[ean13 4006381333931]"]
        with PillowImage.open(tmp_path / "label-0001.png") as label:
            assert label.size == (448, 639)


@pytest.mark.parametrize("language", ["zpl", "tspl"])
async def test_what_the_printer_lacks_is_told_by_itself(language: Literal["zpl", "tspl"], tmp_path: Path) -> None:
    async with bench(language, tmp_path) as at:
        await at.until(READY)
        at.simulator.do(label_printer.Labels(out=True))
        await at.until(PrinterStatus(online=language == "zpl", cover_open=False, paper_out=True))
        at.simulator.do(label_printer.Labels(out=False))
        at.simulator.do(label_printer.Head(open=True))
        await at.until_state(lambda: getattr(at.said[-1], "cover_open", None) is True)
        at.simulator.do(label_printer.Head(open=False))
        at.simulator.do(label_printer.Ribbon(out=True))
        await at.until_state(lambda: getattr(at.said[-1], "error", None) == "ribbon out")
        assert at.said[-1].can_print is False


async def test_a_printer_that_falls_silent_is_gone_and_one_that_never_spoke_is_not(tmp_path: Path) -> None:
    async with bench("zpl", tmp_path / "a") as at:
        await at.until(READY)
        at.simulator.do(label_printer.Mute())
        with pytest.raises(DeviceTimeout, match="no longer answers"):
            await asyncio.wait_for(at.task, 5)
    async with bench("tspl", tmp_path / "b", status="none") as at:
        await at.until(Online("cannot say whether it has labels"))
        assert await at.driver.status() is None
        await at.driver.write(at.driver.render(document(Text(text="x"))))
        await at.until_state(lambda: at.simulator.state()["label_count"] == 1)


async def test_an_unplugged_printer_breaks_the_link_and_a_job_then_is_not_sent(tmp_path: Path) -> None:
    async with bench("zpl", tmp_path) as at:
        await at.until(READY)
        at.line.unplug()
        with pytest.raises(DeviceOffline):
            await asyncio.wait_for(at.task, 5)
        with pytest.raises(DeviceOffline, match="is not connected"):
            await at.driver.write(b"x")


async def test_a_label_printer_has_no_drawer() -> None:
    with pytest.raises(DeviceOffline, match="no connector for a drawer"):
        await printer("zpl").kick(2)


async def test_a_job_that_is_not_taken_in_time_is_a_fault_and_the_link_is_given_up(tmp_path: Path) -> None:
    async with bench("zpl", tmp_path, write_timeout_s=0.2, status="none") as at:
        await at.until_state(lambda: at.said)
        at.simulator.do(label_printer.Labels(out=True))
        with pytest.raises(DeviceFault, match="got only part of a job"):
            await at.driver.write(b"^XA" + b"^FDx^FS" * 1_600_000)
        with pytest.raises(DeviceFault, match="got only part of a job"):
            await asyncio.wait_for(at.task, 5)

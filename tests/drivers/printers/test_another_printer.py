"""Our receipts on a printer that this project did not write, and what our driver hears from it."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from PIL import Image as PillowImage
from PIL import ImageDraw

from drivers.api import PrinterStatus
from drivers.document import Barcode, Cell, Columns, Cut, Document, Feed, Image, Qr, Rule, Text
from drivers.printers.escpos import EscposOptions, EscposPrinter
from tests.drivers.printers.other_printer import OtherPrinter, beside, needs_the_other_printer, started
from tests.drivers.pty_device import Events, running, until

pytestmark = needs_the_other_printer

INTERNATIONAL_SET = "1b 52 00"
"""`ESC R 0`, for printers set to another alphabet: the only command that this printer passes over."""
WELL = PrinterStatus(online=True, cover_open=False, paper_out=False, paper_low=False, drawer_pin_high=False)
NO_PAPER = msgspec.structs.replace(WELL, online=False, paper_out=True, paper_low=True)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    with started(tmp_path_factory.mktemp("emupos")) as addresses:
        yield addresses


@pytest.fixture
async def printer(machine: tuple[int, str]) -> AsyncIterator[OtherPrinter]:
    async with beside(*machine) as printer:
        yield printer


@asynccontextmanager
async def driven(printer: OtherPrinter) -> AsyncIterator[tuple[EscposPrinter, Events]]:
    """Our driver, online; it asks of its own accord only once a minute, so what it knows it was told."""
    events = Events()
    options = EscposOptions(connect=f"tcp://127.0.0.1:{printer.port}", profile="TM-T20II", heartbeat_s=60)
    driver = EscposPrinter(options, events)
    async with running(driver, events):
        yield driver, events


async def printed(printer: OtherPrinter, *lines: object) -> tuple[list[str], PillowImage.Image]:
    async with driven(printer) as (driver, _):
        await driver.write(driver.render(Document(lines=(*lines, Cut()))))
        receipt = await printer.receipt()
    assert set(printer.not_understood) <= {INTERNATIONAL_SET}
    return receipt


async def test_every_line_comes_out_as_it_was_written_and_nothing_else(printer: OtherPrinter) -> None:
    lines, picture = await printed(
        printer,
        Text(text="Club Café", align="center", bold=True, double_width=True, double_height=True),
        Rule(),
        Columns(cells=(Cell(text="2 Weißbier"), Cell(text="11,00 €", align="right"))),
        Text(text="Grüße, Žižkov, Москва", underline=True),
        Feed(lines=2),
        Text(text="Danke!"),
    )
    assert lines == ["Club Café", "-" * 48, f"{'2 Weißbier':<41}11,00 €", "Grüße, Žižkov, Москва", "", "", "Danke!"]
    assert picture.width == 576


async def test_a_code_is_what_it_was_and_text_no_page_has_is_drawn_between_the_lines(printer: OtherPrinter) -> None:
    lines, _ = await printed(
        printer,
        Text(text="before"),
        Qr(data="https://example.org/beleg/1?größe=ü"),
        Barcode(symbology="ean13", data="400638133393", show_text=False),
        Barcode(symbology="code128", data="Ticket {1}"),
        Text(text="咖啡 مرحبا"),
        Text(text="after"),
    )
    drawn = [line for line in lines if line]
    assert drawn[:4] == [
        "before",
        "[qr https://example.org/beleg/1?größe=ü]",
        "[barcode EAN-13 4006381333931]",
        "[barcode CODE128 Ticket {1}]",
    ]
    assert drawn[4].startswith("[image ")
    assert drawn[5:] == ["after"]


async def test_a_picture_comes_out_dot_for_dot(printer: OtherPrinter) -> None:
    drawn = PillowImage.new("1", (200, 300), 1)
    ImageDraw.Draw(drawn).ellipse((10, 20, 189, 279), fill=0)
    file = io.BytesIO()
    drawn.save(file, "PNG")
    _, paper = await printed(printer, Image(png=file.getvalue(), align="right"))
    expected = PillowImage.new("1", (576, 300), 1)
    expected.paste(drawn, (376, 0))
    assert paper.size == expected.size
    assert paper.convert("1").tobytes() == expected.tobytes()


async def test_it_tells_how_it_is_when_asked_and_by_itself(printer: OtherPrinter) -> None:
    faults = {
        "paper-out": NO_PAPER,
        "cover-open": msgspec.structs.replace(WELL, online=False, cover_open=True),
        "offline": msgspec.structs.replace(WELL, online=False),
        "paper-near-end": msgspec.structs.replace(WELL, paper_low=True),
    }
    async with driven(printer) as (driver, events):
        assert await driver.status() == WELL
        for name, status in faults.items():
            await printer.fault(name)
            await until(lambda status=status: events.of(PrinterStatus)[-1] == status)
            assert await driver.status() == status
            await printer.fault(name, active=False)
            await until(lambda: events.of(PrinterStatus)[-1] == WELL)


async def test_a_receipt_waits_for_paper_and_then_comes_whole(printer: OtherPrinter) -> None:
    async with driven(printer) as (driver, events):
        await printer.fault("paper-out")
        await until(lambda: events.of(PrinterStatus)[-1] == NO_PAPER)
        await driver.write(driver.render(Document(lines=(Text(text="held"), Cut()))))
        await printer.fault("paper-out", active=False)
        lines, _ = await printer.receipt()
    assert lines == ["held"]


@pytest.mark.parametrize("pin", [2, 5])
async def test_the_drawer_opens_and_its_contact_tells(printer: OtherPrinter, pin: int) -> None:
    async with driven(printer) as (driver, events):
        await driver.kick(pin)
        assert (await printer.told("drawer.opened"))["pin"] == pin
        await until(lambda: events.of(PrinterStatus)[-1].drawer_pin_high)
        await printer.shut_drawer()
        await until(lambda: events.of(PrinterStatus)[-1] == WELL)


async def test_a_drawer_opens_at_once_at_a_printer_without_paper(printer: OtherPrinter) -> None:
    async with driven(printer) as (driver, _):
        await printer.fault("paper-out")
        await driver.kick(2)
        assert (await printer.told("drawer.opened"))["pin"] == 2

"""Logos: stored pictures, printed on top by their name."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from drivers.api import DeviceFault, Online
from drivers.document import Document, Text
from drivers.printers.escpos import EscposOptions, EscposPrinter
from drivers.printers.logo import Logos

TEXT = (Text(text="x"),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, shade in (("club", 0), ("bar", 255)):
        Image.new("L", (64, 32), shade).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    return tmp_path


def test_a_document_takes_the_printers_logo_another_one_or_none(folder: Path) -> None:
    logos = Logos(str(folder), "club")
    own, other = logos.picture(Document(lines=TEXT)), logos.picture(Document(lines=TEXT, logo="bar"))
    assert own is not None
    assert other is not None
    assert (own.getpixel((0, 0)), other.getpixel((0, 0))) == (0, 255)
    assert logos.picture(Document(lines=TEXT, logo="")) is None
    assert Logos(None, None).picture(Document(lines=TEXT)) is None


@pytest.mark.parametrize(
    ("name", "says"),
    [("nobody", "there: bar, broken, club"), ("broken", "not a PNG file")],
)
def test_a_logo_asked_for_that_is_not_there_is_refused(folder: Path, name: str, says: str) -> None:
    with pytest.raises(DeviceFault, match=says):
        Logos(str(folder), None).picture(Document(lines=TEXT, logo=name))


def test_without_a_folder_the_technician_is_told_what_to_write() -> None:
    with pytest.raises(DeviceFault, match="names their folder, `logos`"):
        Logos(None, None).picture(Document(lines=TEXT, logo="club"))


def test_the_printers_own_logo_may_be_missing_and_receipts_come_out_without(folder: Path) -> None:
    logos = Logos(str(folder), "gone")
    assert logos.picture(Document(lines=TEXT)) is None
    assert "there is no logo 'gone'" in logos.trouble()
    assert Logos(str(folder), "club").trouble() == ""


def test_no_name_leads_out_of_the_folder() -> None:
    for name in ("../secret", "a/b", ".hidden", "x" * 65):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"lines": [{"type": "cut"}], "logo": name}, Document)


def test_the_logo_stands_before_the_first_line_of_every_piece_of_paper(folder: Path) -> None:
    options = EscposOptions(connect="tcp://printer:9100", logos=str(folder), logo="club")
    driver = EscposPrinter(options, lambda _: None)
    data = driver.render(Document(lines=TEXT))
    raster = bytes.fromhex("1D763000")
    assert data.count(raster) == 1
    assert data.index(raster) < data.index(b"x\n")
    assert data.count(b"\xff" * 7) == 32, "its black dots"


async def test_a_missing_logo_is_told_when_the_printer_comes_online(folder: Path) -> None:
    accepted = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accepted.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    options = EscposOptions(connect=f"tcp://127.0.0.1:{port}", status="none", logos=str(folder), logo="gone")
    events = asyncio.Queue[object]()
    task = asyncio.create_task(EscposPrinter(options, events.put_nowait).run())
    event = await asyncio.wait_for(events.get(), 5)
    assert isinstance(event, Online)
    assert event.detail.startswith("cannot say whether it has paper; there is no logo 'gone'")
    accepted.set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    server.close()

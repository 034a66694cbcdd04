"""USB printers through pyusb itself, on a bus of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from drivers.api import DeviceFault, DeviceOffline, Online, PrinterStatus
from drivers.codecs import escpos as commands
from drivers.printers.escpos import EscposOptions, EscposPrinter
from drivers.transports import usb_printer
from drivers.transports.usb_printer import open_usb_printer
from tests.drivers.usb_bus import UsbBus, UsbPrinter

ADDRESS = "usb://04b8:0e15/J3A1"


def ignore(_: bytes) -> None:
    """Nobody listens."""


async def opened(
    bus: UsbBus, address: str = ADDRESS, on_bytes: Callable[[bytes], None] = ignore
) -> usb_printer.Transport:
    async with asyncio.timeout(5):
        return await open_usb_printer(address, on_bytes, lambda: bus)


async def test_what_is_written_arrives_in_order_and_drain_means_that_it_has_left() -> None:
    printer = UsbPrinter()
    printer.takes_per_write = 100
    data = bytes(range(256)) * 50
    async with await opened(UsbBus(printer)) as link:
        assert printer.claimed
        assert not printer.kernel_driver
        for start in range(0, len(data), 1000):
            link.write(data[start : start + 1000])
        await asyncio.wait_for(link.drain(), 5)
        assert bytes(printer.received) == data
        assert link.unsent_bytes == 0
    await printer.until(lambda: not printer.claimed and printer.kernel_driver)


async def test_what_the_printer_says_comes_in() -> None:
    printer, heard = UsbPrinter(), asyncio.Queue[bytes]()
    async with await opened(UsbBus(printer), on_bytes=heard.put_nowait):
        printer.say(b"\x14\x00\x00\x0f")
        assert await asyncio.wait_for(heard.get(), 5) == b"\x14\x00\x00\x0f"


async def test_a_printer_that_takes_nothing_keeps_the_bytes_here_and_abort_throws_them_away() -> None:
    printer = UsbPrinter()
    printer.deaf = True
    link = await opened(UsbBus(printer))
    link.write(b"receipt")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(link.drain(), 0.1)
    assert link.unsent_bytes == 7
    link.abort()
    printer.deaf = False
    await printer.until(lambda: not printer.claimed)
    assert printer.received == b""


@pytest.mark.parametrize("one_way", [False, True])
async def test_an_unplugged_printer_is_noticed_within_two_seconds(one_way: bool) -> None:
    printer = UsbPrinter()
    printer.one_way = one_way
    async with await opened(UsbBus(printer)) as link:
        printer.unplug()
        error = await asyncio.wait_for(link.lost(), 2)
    assert str(error) == f"{ADDRESS} is gone: unplugged, without power, or opened by another program"


@pytest.mark.parametrize(
    ("address", "right"),
    [("usb://04b8:0e15/B", 1), ("usb://04B8:0E15/port=1-2.1", 2), ("usb://04b8:0e15/port=1-1", 0)],
)
async def test_of_several_printers_the_one_named_is_taken(address: str, right: int) -> None:
    printers = [UsbPrinter("A", (1,)), UsbPrinter("B", (2,)), UsbPrinter(None, (2, 1))]
    async with await opened(UsbBus(*printers), address):
        assert [printer.claimed for printer in printers] == [place == right for place in range(3)]


async def test_a_name_that_fits_several_says_how_to_name_each() -> None:
    bus = UsbBus(UsbPrinter("A"), UsbPrinter(None, (2, 1)))
    with pytest.raises(DeviceOffline) as refused:
        await opened(bus, "usb://04b8:0e15")
    assert "plugged in 2 times; write which one: usb://04b8:0e15/A, usb://04b8:0e15/port=1-2.1" in str(refused.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"plugged": False}, "none of this kind is plugged in"),
        ({"serial": "OTHER"}, "plugged in of this kind: usb://04b8:0e15/OTHER"),
        (
            {"kernel_driver": False, "taken_by_others": True},
            r"is in use by another program \(see 'sudo fuser -v /dev/bus/usb/001/007'\): stop that, often it is CUPS",
        ),
    ],
)
async def test_a_printer_that_cannot_be_taken_says_what_to_do(change: dict[str, object], says: str) -> None:
    printer = UsbPrinter()
    for name, value in change.items():
        setattr(printer, name, value)
    with pytest.raises(DeviceOffline, match=says):
        await opened(UsbBus(printer))


@pytest.mark.parametrize("address", [ADDRESS, "usb://04b8:0e15"])
async def test_without_permission_the_group_and_the_rule_are_named(address: str) -> None:
    printer = UsbPrinter()
    printer.permission = False
    with pytest.raises(DeviceOffline, match=r"adduser .* udev rule, which docs/hardware/printers\.md has"):
        await opened(UsbBus(printer), address)


async def test_a_printer_of_vendor_class_is_taken_too() -> None:
    printer = UsbPrinter()
    printer.interface_class = 0xFF
    async with await opened(UsbBus(printer)):
        assert printer.claimed


async def test_without_libusb_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("usb.backend.libusb1.get_backend", lambda: None)
    with pytest.raises(DeviceFault, match=r"apt-get install libusb-1\.0-0"):
        await open_usb_printer(ADDRESS, ignore)


async def test_a_printer_comes_and_goes_a_hundred_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every return is a working printer at once, whatever was left unsent before."""
    monkeypatch.setattr(usb_printer, "SLICE_MS", 5)
    monkeypatch.setattr(usb_printer, "QUIET_READ_S", 0)
    printer = UsbPrinter()
    bus = UsbBus(printer)
    for number in range(100):
        link = await opened(bus)
        printer.deaf = number % 2 == 1
        link.write(b"%d;" % number)
        if not printer.deaf:
            await asyncio.wait_for(link.drain(), 5)
        printer.unplug()
        await asyncio.wait_for(link.lost(), 2)
        printer.plugged, printer.kernel_driver, printer.deaf = True, True, False
    assert bytes(printer.received) == b"".join(b"%d;" % number for number in range(0, 100, 2))


async def test_the_driver_prints_asks_and_kicks_over_usb(monkeypatch: pytest.MonkeyPatch) -> None:
    printer = UsbPrinter()
    replies = {
        commands.status_request(n): reply for n, reply in ((1, b"\x16"), (2, b"\x12"), (3, b"\x12"), (4, b"\x12"))
    }
    printer.on_bytes = lambda data: replies.get(data, b"")
    monkeypatch.setattr(
        "drivers.transports.open_usb_printer", partial(open_usb_printer, backend=lambda: UsbBus(printer))
    )
    events = asyncio.Queue[object]()
    driver = EscposPrinter(EscposOptions(connect=ADDRESS), events.put_nowait)
    task = asyncio.create_task(driver.run())
    assert await asyncio.wait_for(events.get(), 5) == Online("answers status requests")
    assert await driver.status() == PrinterStatus(
        online=True, cover_open=False, paper_out=False, paper_low=False, drawer_pin_high=True
    )
    await driver.write(b"Hello\n")
    await driver.kick(2)
    assert b"Hello\n" in printer.received
    assert bytes(printer.received).endswith(commands.drawer_pulse(2))
    printer.unplug()
    with pytest.raises(DeviceOffline, match="is gone: unplugged"):
        await asyncio.wait_for(task, 2)

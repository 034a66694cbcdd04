"""Scanners that type, read over USB through pyusb itself, on a bus of the test's own."""

from __future__ import annotations

import array
import asyncio
import errno
import itertools
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import usb.core

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout, DriverFailed, Online, Reading
from drivers.scanners.wedge import WedgeOptions, WedgeScanner
from drivers.transports.usb_keyboard import open_usb_keyboard
from tests.drivers.codecs.test_hid_reports import BOOT_LAYOUT, NUMBERED
from tests.drivers.pty_device import Events, running, until
from tests.drivers.usb_bus import UsbBus, UsbPrinter

ADDRESS = "usb://04b8:0e15/S1"
A, B, ENTER = 0x04, 0x05, 0x28
SHIFT_A = bytes([2, 0, A, 0, 0, 0, 0, 0])
SET_IDLE, SET_PROTOCOL = (0x21, 0x0A, 0, 0), (0x21, 0x0B, 0, 0)
GET_PROTOCOL, GET_DESCRIPTOR = (0xA1, 0x03, 0), (0x81, 0x06, 0x2200)
BOOT, OWN = b"\0", b"\1"


class UsbScanner(UsbPrinter):
    """A keyboard with a second interface for the keys that a boot report has no room for.

    Like many, it knows neither SET_IDLE nor SET_PROTOCOL, and reports by itself as in the boot protocol.
    """

    def __init__(self, serial: str | None = "S1", ports: tuple[int, ...] = (1, 4)) -> None:
        super().__init__(serial, ports)
        self.kernel_has = {0, 1}
        self.claims: set[int] = set()
        self.bus: Callable[[], ScannerBus] = lambda: ScannerBus(self)
        self.asked: list[tuple[int, int, int, int]] = []
        self.protocol = 1
        self.typing = {0}
        self.spoken: bytes | None = None
        self.descriptor = BOOT_LAYOUT
        self.stalled = False
        self.hangs = threading.Event()
        self.hangs.set()
        self._typed = {0: bytearray(), 1: bytearray()}
        self.says_always: Callable[[], bytes] | None = None

    def scan(self, *usages: int, interface: int = 0) -> None:
        for usage in usages:
            self.type(bytes([0, 0, usage]).ljust(8, b"\0") + bytes(8), interface)

    def say(self, data: bytes) -> None:
        self.type(data)

    def type(self, reports: bytes, interface: int = 0) -> None:
        with self.changed:
            self._typed[interface] += reports
            self.changed.notify_all()

    def report(self, interface: int, timeout_s: float) -> bytes:
        typed = self._typed[interface]
        with self.changed:
            self.changed.wait_for(lambda: typed or not self.plugged, timeout_s)
            self._must_be_there()
            if not typed:
                raise usb.core.USBTimeoutError("Operation timed out", errno=errno.ETIMEDOUT)
            data = bytes(typed[:8])
            del typed[:8]
            return data


class ScannerBus(UsbBus):
    """A bus of scanners: interface 0 types, interface 1 is for volume keys and the like."""

    def get_configuration_descriptor(self, dev: Any, config: int) -> Any:
        found = super().get_configuration_descriptor(dev, config)
        found.bNumInterfaces = 2
        return found

    def get_interface_descriptor(self, dev: Any, intf: int, alt: int, config: int) -> Any:
        if intf > 1 or alt:
            raise IndexError
        kind = (1, dev.protocol) if intf in dev.typing else (0, 0)
        return SimpleNamespace(
            bLength=9, bDescriptorType=4, bInterfaceNumber=intf, bAlternateSetting=0, bNumEndpoints=1,
            bInterfaceClass=3, bInterfaceSubClass=kind[0], bInterfaceProtocol=kind[1], iInterface=0,
            extra_descriptors=[],
        )  # fmt: skip

    def get_endpoint_descriptor(self, dev: Any, ep: int, intf: int, alt: int, config: int) -> Any:
        return SimpleNamespace(
            bLength=7, bDescriptorType=5, bEndpointAddress=0x81 + intf, bmAttributes=3, wMaxPacketSize=8, bInterval=8,
            bRefresh=0, bSynchAddress=0, extra_descriptors=[],
        )  # fmt: skip

    def is_kernel_driver_active(self, dev_handle: Any, intf: int) -> bool:
        return intf in dev_handle.kernel_has

    def detach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        dev_handle.kernel_has.discard(intf)

    def attach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        raise AssertionError("a scanner is never given back to the kernel")

    def claim_interface(self, dev_handle: Any, intf: int) -> None:
        if dev_handle.taken_by_others or intf in dev_handle.kernel_has | dev_handle.claims:
            raise usb.core.USBError("Resource busy", errno=errno.EBUSY)
        dev_handle.claims.add(intf)

    def release_interface(self, dev_handle: Any, intf: int) -> None:
        with dev_handle.changed:
            dev_handle.claims.discard(intf)
            dev_handle.changed.notify_all()

    def intr_read(self, dev_handle: Any, ep: int, intf: int, buff: array.array[int], timeout: int) -> int:
        assert ep == 0x81 + intf
        dev_handle.hangs.wait()
        if dev_handle.stalled:
            raise usb.core.USBError("Pipe error", errno=errno.EPIPE)
        if dev_handle.says_always is not None:
            dev_handle.say(dev_handle.says_always())
        data = dev_handle.report(intf, timeout / 1000)
        buff[: len(data)] = array.array("B", data)
        return len(data)

    def clear_halt(self, dev_handle: Any, ep: int) -> None:
        dev_handle.stalled = False

    def ctrl_transfer(self, dev_handle: Any, *words: Any) -> int:
        answer: bytes | None = None
        match words[:3]:
            case (0x21, *_):
                dev_handle.asked.append(words[:4])
                dev_handle.hangs.wait()
            case request if request == GET_PROTOCOL:
                answer = dev_handle.spoken
            case request if request == GET_DESCRIPTOR:
                answer = dev_handle.descriptor
            case _:
                return super().ctrl_transfer(dev_handle, *words)
        if answer is None:
            raise usb.core.USBError("Pipe error", errno=errno.EPIPE)
        words[4][: len(answer)] = array.array("B", answer)
        return len(answer)


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> UsbScanner:
    scanner = UsbScanner()
    bus = ScannerBus(scanner)
    scanner.bus = lambda: bus
    monkeypatch.setattr(
        "drivers.scanners.wedge.open_usb_keyboard", partial(open_usb_keyboard, backend=lambda: bus, quiet_s=0.05)
    )
    return scanner


def scanner_at(events: Events, port: str = ADDRESS, **options: Any) -> WedgeScanner:
    return WedgeScanner(WedgeOptions(port=port, **options), events)


async def test_a_scan_is_a_reading_and_no_interface_of_it_stays_with_the_kernel(plugged: UsbScanner) -> None:
    events = Events()
    async with running(scanner_at(events), events):
        assert events.of(Online) == [Online("TM-T20")]
        assert plugged.claims == {0, 1}
        assert plugged.kernel_has == set()
        assert {SET_PROTOCOL, SET_IDLE} == set(plugged.asked), "a scanner that stalls these two works nevertheless"
        plugged.scan(A, B, ENTER, A, B, ENTER, B, ENTER)
        assert await events.wait_for(Reading, 2) == [Reading("barcode", "ab"), Reading("barcode", "b")]
    assert plugged.claims == set()
    assert plugged.kernel_has == set(), "what it types while nobody reads it is typed nowhere"


async def test_a_gateway_that_comes_back_reads_on(plugged: UsbScanner) -> None:
    for _ in range(2):
        events = Events()
        async with running(scanner_at(events), events):
            plugged.scan(A, ENTER)
            assert await events.wait_for(Reading) == [Reading("barcode", "a")]


async def test_what_was_scanned_while_nobody_read_it_is_never_read(plugged: UsbScanner) -> None:
    plugged.scan(A, B, ENTER, A, B)
    events = Events()
    async with running(scanner_at(events), events):
        plugged.scan(B, ENTER)
        assert await events.wait_for(Reading) == [Reading("barcode", "b")]
    plugged.scan(A, ENTER)
    plugged.say(SHIFT_A)
    async with running(scanner_at(events), events):
        plugged.say(bytes(8))
        plugged.scan(A, ENTER)
        assert (await events.wait_for(Reading, 2))[1:] == [Reading("barcode", "a")]


async def test_one_that_types_without_end_is_not_online_and_let_go_again(
    plugged: UsbScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.transports.usb_keyboard.QUIET_WITHIN_S", 0.2)
    keys = itertools.cycle((bytes([0, 0, A, 0, 0, 0, 0, 0]), bytes(8)))
    plugged.says_always = lambda: next(keys)
    events = Events()
    with pytest.raises(DeviceOffline, match="types on and on"):
        await asyncio.wait_for(scanner_at(events).run(), 5)
    assert not events.of(Online)
    assert not plugged.claims


async def test_i08_one_that_floods_is_stopped_and_counted(plugged: UsbScanner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.transports.usb_keyboard.REPORTS_A_SECOND_MAX", 20)
    events = Events()
    keys = itertools.cycle((bytes([0, 0, A, 0, 0, 0, 0, 0]), bytes(8)))
    async with running(scanner_at(events), events) as task:
        plugged.says_always = lambda: next(keys)
        with pytest.raises(DriverFailed, match="floods") as failed:
            await asyncio.wait_for(asyncio.shield(task), 5)
    assert failed.value.fault == "flood"
    assert not plugged.claims


async def test_keys_of_two_interfaces_are_one_code_in_the_order_they_were_typed(plugged: UsbScanner) -> None:
    plugged.typing = {0, 1}
    plugged.scan(B, ENTER, interface=1)
    keys: list[int] = []
    keyboard = await open_usb_keyboard(ADDRESS, lambda code, value, _: keys.append(code * value), plugged.bus, 0.05)
    async with keyboard:
        assert keys == [], "what either held was thrown away"
        for count, usage in enumerate((A, B, A, B, ENTER), 1):
            plugged.scan(usage, interface=usage % 2)
            await until(lambda count=count: len(keys) == 2 * count)
    assert [key for key in keys if key] == [30, 48, 30, 48, 28]
    assert not plugged.claims


@pytest.mark.parametrize("spoken", [BOOT, OWN])
async def test_one_that_says_its_protocol_is_read_where_its_reports_are_the_boot_reports(
    plugged: UsbScanner, spoken: bytes
) -> None:
    plugged.spoken = spoken
    plugged.descriptor = BOOT_LAYOUT if spoken == OWN else NUMBERED
    events = Events()
    async with running(scanner_at(events), events):
        plugged.scan(A, ENTER)
        assert await events.wait_for(Reading) == [Reading("barcode", "a")]


@pytest.mark.parametrize("typing", [{0}, {0, 1}])
async def test_a_read_that_hangs_lets_go_of_the_scanner_when_it_comes_back(
    plugged: UsbScanner, monkeypatch: pytest.MonkeyPatch, typing: set[int]
) -> None:
    monkeypatch.setattr("drivers.transports.hid.CALL_TIMEOUT_S", 0.3)
    plugged.typing = typing
    events = Events()
    async with running(scanner_at(events), events) as task:
        plugged.hangs.clear()
        with pytest.raises(DeviceTimeout, match="does not come back"):
            await asyncio.wait_for(task, 5)
    assert plugged.claims == {0, 1}
    plugged.hangs.set()
    await plugged.until(lambda: not plugged.claims and not plugged.links)


async def test_an_opening_that_hangs_leaves_nothing_claimed_when_it_comes_back(
    plugged: UsbScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.transports.hid.CALL_TIMEOUT_S", 0.3)
    plugged.hangs.clear()
    with pytest.raises(DeviceTimeout):
        await asyncio.wait_for(scanner_at(Events()).run(), 5)
    plugged.hangs.set()
    await plugged.until(lambda: not plugged.claims and not plugged.links)


async def test_one_that_is_configured_twice_is_named_as_such(
    plugged: UsbScanner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "001").mkdir()
    node = tmp_path / "001/007"
    node.touch()
    monkeypatch.setattr("drivers.transports.usb_claim.NODES", tmp_path)
    events = Events()
    async with running(scanner_at(events), events):
        with (
            node.open(),
            pytest.raises(DeviceOffline, match="in use by another device of this gateway: "),
        ):
            await scanner_at(Events(), "usb://04b8:0e15").run()


async def test_one_that_repeats_a_report_types_nothing_by_it(plugged: UsbScanner) -> None:
    plugged.says_always = lambda: SHIFT_A
    events = Events()
    async with running(scanner_at(events), events):
        assert events.of(Online)


async def test_unplugged_is_offline_and_so_is_a_stall_which_is_cleared(plugged: UsbScanner) -> None:
    events = Events()
    async with running(scanner_at(events), events) as task:
        plugged.stalled = True
        with pytest.raises(DeviceOffline, match="broke the connection"):
            await asyncio.wait_for(task, 5)
    events = Events()
    async with running(scanner_at(events), events) as task:
        plugged.unplug()
        with pytest.raises(DeviceOffline, match="is gone: unplugged"):
            await asyncio.wait_for(task, 5)


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"plugged": False}, DeviceOffline, "none of this kind is plugged in"),
        ({"serial": "S2"}, DeviceOffline, "plugged in of this kind: usb://04b8:0e15/S2"),
        ({"permission": False}, DeviceOffline, "sudo venue-gateway scanners apply"),
        ({"taken_by_others": True}, DeviceOffline, "in use by another program .*: stop that, or name another scanner"),
        ({"protocol": 2}, DeviceFault, r"no keyboard .* /dev/input/by-id"),
        ({"spoken": OWN, "descriptor": NUMBERED}, DeviceFault, r"reports of its own .* /dev/input/by-id"),
        ({"descriptor": NUMBERED}, DeviceFault, "reports of its own"),
        ({"descriptor": None}, DeviceFault, "reports of its own"),
    ],
)
async def test_what_cannot_be_taken_says_what_to_do(
    plugged: UsbScanner, change: dict[str, object], kind: type[Exception], says: str
) -> None:
    for name, value in change.items():
        setattr(plugged, name, value)
    with pytest.raises(kind, match=says):
        await scanner_at(Events()).run()
    assert not plugged.claims


@pytest.mark.parametrize("port", ["usb://0c2e", "usb://0c2e:0b61/port=x", "usb:1-1.2", "usb://0c2e:0b61/a b", "event7"])
def test_addresses_that_can_never_work_are_refused(port: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"port": port}, WedgeOptions)

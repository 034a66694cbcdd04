"""Devices in virtual time: what stands in the venue, and the drivers through which the gateway reaches it.

A physical thing outlives the gateway; a driver is one link to it. Nothing a driver does after the kill has any effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, ClassVar

import msgspec

from drivers.api import (
    DeviceFault,
    DeviceOffline,
    DeviceTimeout,
    DriverError,
    InputChanged,
    Noise,
    Online,
    PrinterStatus,
    Reading,
)
from drivers.document import Document, Text
from drivers.drawers.drawer_kick import DrawerKick
from gateway.devices.registry import DriverEntry
from tests.simulation.faults import BOARD_TROUBLES, PRINTER_TROUBLES
from tests.simulation.observers import Observers
from tests.simulation.timeline import Timeline

HANG_S = 30.0
TECHNOLOGY = "barcode"
"""Every credential here is a code: its text may then hold what no hexadecimal number does."""


class SimOptions(msgspec.Struct, frozen=True):
    port: str


class Thing:
    """What all physical devices share: a plug."""

    def __init__(self, name: str, timeline: Timeline, random: Random, observers: Observers) -> None:
        self.name = name
        self.timeline = timeline
        self.random = random
        self.observers = observers
        self.plugged = True
        self.trouble = ""
        self.driver: LinkDriver | None = None
        self.troubled_until_s = 0.0

    def emit(self, event: Any) -> None:
        if self.driver is not None and not self.timeline.killed:
            self.driver.emit(event)

    def unplug(self) -> None:
        self.plugged = False
        if self.driver is not None:
            self.fault("device", "unplugged")
        self.lose(DeviceOffline(f"{self.name} was unplugged"))

    def fault(self, part: str, kind: str) -> None:
        if not self.timeline.killed:
            self.observers.faults.count(part, kind)

    def lose(self, error: Exception) -> None:
        if self.driver is not None and not self.timeline.killed:
            self.driver.lose(error)

    def online(self) -> None:
        """The link has just been made."""

    def vanish(self) -> None:
        self.driver = None


class Reader(Thing):
    on_tap: Callable[[str], None] | None = None

    def tap(self, value: str) -> bool:
        """Hold a card to it. False when the reader is not connected and says nothing."""
        self.observers.note("tap", self.name, self.driver is not None)
        if self.driver is None:
            return False
        if self.on_tap is not None:
            self.on_tap(self.name)
        self.emit(Reading(TECHNOLOGY, value))
        return True

    def babble(self) -> None:
        if self.driver is not None:
            self.fault("reader", "babbled")
        for _ in range(50):
            self.emit(Noise(200, "no frame"))


class Board(Thing):
    """Relays, and the contacts of the gates they open."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.gates: dict[int, str] = {}
        self.contacts: dict[int, bool] = {}
        self.on_opened: Callable[[str, str | None], None] | None = None

    def online(self) -> None:
        # As the real boards do: what is active, and what was active when the link before this one broke.
        for channel, active in self.contacts.items():
            if active or channel in self.driver.told_active:
                self.tell(channel, active)

    def tell(self, channel: int, active: bool) -> None:
        if self.driver is not None:
            (self.driver.told_active.add if active else self.driver.told_active.discard)(channel)
            self.emit(InputChanged(channel, active))

    def close_relay(self, channel: int, pulse_ms: int) -> None:
        if self.timeline.killed:
            return
        gate = self.gates[channel]
        entry = self.observers.metal.pulse(gate, pulse_ms / 1000)
        if self.on_opened is not None:
            self.on_opened(gate, entry)

    def contact(self, channel: int, active: bool) -> None:
        if channel in self.contacts and self.contacts[channel] != active:
            self.contacts[channel] = active
            self.observers.metal.contact(self.gates[channel], active=active)
            self.tell(channel, active)


class ReceiptPrinter(Thing):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.paper = True
        self.silent = False
        self.drawer = ""
        self.drawer_open = False

    def status(self) -> PrinterStatus:
        high = self.drawer_open if self.drawer else None
        return PrinterStatus(online=True, cover_open=False, paper_out=not self.paper, drawer_pin_high=high)

    def online(self) -> None:
        if not self.silent:
            self.emit(self.status())

    def set_paper(self, *, paper: bool) -> None:
        self.paper = paper
        if not paper and self.driver is not None:
            self.fault("printer", "no paper")
        if not self.silent:
            self.emit(self.status())

    def pull_drawer(self, *, is_open: bool) -> None:
        self.drawer_open = is_open
        if not self.silent:
            self.emit(self.status())


class LinkDriver:
    """One link to a physical thing."""

    Options: ClassVar[type[msgspec.Struct]] = SimOptions

    def __init__(self, thing: Any, emit: Callable[[Any], None]) -> None:
        self.thing = thing
        self.emit = emit
        self.told_active: set[int] = set()
        self._lost: asyncio.Future[None] | None = None

    async def run(self) -> None:
        thing = self.thing
        await asyncio.sleep(thing.random.uniform(0.001, 0.05))
        if not thing.plugged:
            thing.fault("device", "not there")
            raise DeviceOffline(f"there is no {thing.name}")
        if thing.trouble == "crash":
            thing.fault("device", "bug in its driver")
            raise RuntimeError("a bug in a driver")
        self._lost = asyncio.get_running_loop().create_future()
        thing.driver = self
        try:
            self.emit(Online())
            thing.online()
            await self._lost
        finally:
            if thing.driver is self:
                thing.driver = None
            self._lost = None

    def lose(self, error: Exception) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_exception(error)

    def _require(self) -> None:
        if self._lost is None or self._lost.done():
            raise DeviceOffline(f"{self.thing.name} is not connected")


class BoardDriver(LinkDriver):
    channels = 4
    board_timed = True

    async def pulse(self, channel: int, pulse_ms: int) -> None:
        self._require()
        board: Board = self.thing
        trouble = board.trouble
        if trouble in BOARD_TROUBLES:
            board.fault("board", trouble)
        if trouble == "offline":
            raise DeviceOffline("the board takes nothing")
        if trouble == "refuses":
            raise DeviceFault("the board said no")
        if trouble == "deaf":
            await asyncio.sleep(0.3)
            raise DeviceTimeout("the board did not answer")
        board.close_relay(channel, pulse_ms)
        if trouble == "hangs":
            await asyncio.sleep(HANG_S)
        if trouble == "mute":
            await asyncio.sleep(0.3)
            raise DeviceTimeout("the board did not acknowledge the pulse")
        await asyncio.sleep(board.random.choice((0.0, 0.0005, 0.01, 0.1)))

    async def hold(self, channel: int, active: bool) -> None:
        self._require()


class PrinterDriver(LinkDriver):
    async def write(self, data: bytes) -> None:
        self._require()
        printer: ReceiptPrinter = self.thing
        trouble = printer.trouble
        if trouble in PRINTER_TROUBLES:
            printer.fault("printer", trouble)
        if trouble == "offline":
            raise DeviceOffline("the printer takes nothing")
        if not printer.timeline.killed:
            printer.observers.metal.paper(printer.name, data)
        await asyncio.sleep(printer.random.uniform(0.01, 0.8))
        if trouble == "hangs":
            await asyncio.sleep(printer.random.uniform(1.0, 12.0))
        if trouble in ("hangs", "fails") or self._lost is None:
            raise DeviceFault("the printer stopped amid the receipt")

    async def status(self) -> PrinterStatus | None:
        self._require()
        printer: ReceiptPrinter = self.thing
        if printer.silent:
            printer.fault("printer", "silent")
            await asyncio.sleep(1.0)
            return None
        await asyncio.sleep(printer.random.uniform(0.001, 0.02))
        self._require()
        status = printer.status()
        self.emit(status)
        return status

    async def kick(self, pin: int) -> None:
        self._require()
        printer: ReceiptPrinter = self.thing
        if printer.trouble == "offline":
            raise DeviceOffline("the printer takes nothing")
        if printer.timeline.killed:
            return
        printer.observers.metal.kick(printer.drawer)
        printer.timeline.after(0.05, lambda: printer.pull_drawer(is_open=True))
        printer.timeline.after(0.05 + printer.random.uniform(0.5, 3.0), lambda: printer.pull_drawer(is_open=False))
        await asyncio.sleep(0.002)
        if printer.trouble == "hangs":
            await asyncio.sleep(HANG_S)
        if printer.trouble == "fails":
            raise DeviceFault("the printer stopped amid the pulse")

    def render(self, document: Document, copy_label: str | None = None) -> bytes:
        text = "\n".join(block.text for block in document.lines if isinstance(block, Text))
        return f"{copy_label or ''}{text}".encode()


def driver_table(things: Mapping[str, Thing]) -> dict[str, DriverEntry]:
    """Return the drivers of this world, under the names that its configuration uses."""

    def builder(driver: type[LinkDriver]) -> Callable[..., Any]:
        return lambda options, emit: driver(things[options.port], emit)

    return {
        "sim-reader": DriverEntry("reader", builder(LinkDriver), SimOptions, "a reader"),
        "sim-board": DriverEntry("gate", builder(BoardDriver), SimOptions, "a board"),
        "sim-printer": DriverEntry("printer", builder(PrinterDriver), SimOptions, "a printer"),
        "drawer-kick": DriverEntry("drawer", DrawerKick, DrawerKick.Options, "a drawer"),
    }


__all__ = ["Board", "DriverError", "Reader", "ReceiptPrinter", "SimOptions", "Thing", "driver_table"]

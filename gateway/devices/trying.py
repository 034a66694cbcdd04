"""Trying one device: beep, read, print a test page, pulse, tell how it is.

The same steps serve a device that the daemon holds and one that is opened only for this. What moves metal happens only
when whoever asked has said yes, and what a card says is never shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from random import SystemRandom
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from drivers.api import DeviceEvent, DriverError, InputChanged, MessageBus, Noise, Online, Reading
from drivers.document import Cut, Document, Rule, Text
from gateway.config.drawers import carrier_of
from gateway.config.schema import Configuration, Device, Kind
from gateway.devices.registry import DRIVERS, DriverEntry
from gateway.devices.supervisor import DeviceSlot, Supervisor

OPEN_S = 15.0
EVENTS_MAX = 1000

Say = Callable[[str], None]
Before = Callable[[str], Awaitable[None]]
"""Called with what is about to be done; returns when that may happen."""


class Trial(msgspec.Struct, frozen=True, kw_only=True, tag="trial"):
    """What to try. `yes` allows what moves metal."""

    device: str
    yes: bool = False
    channel: Annotated[int, Meta(ge=1, le=64)] = 1
    pulse_ms: Annotated[int, Meta(ge=50, le=10_000)] = 500
    wait_s: Annotated[float, Meta(ge=0.1, le=120)] = 10.0


class Heard:
    """What a device says meanwhile, bounded."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[DeviceEvent] = asyncio.Queue(EVENTS_MAX)

    def __call__(self, event: DeviceEvent) -> None:
        """Keep an event; of too many, the first."""
        if not self.events.full():
            self.events.put_nowait(event)

    async def reading(self, within_s: float) -> Reading | None:
        """Return the next card or code, or None when there was none in time."""
        try:
            async with asyncio.timeout(within_s):
                while not isinstance(event := await self.events.get(), Reading):
                    pass
        except TimeoutError:
            return None
        return event


async def nothing_before(_action: str) -> None:
    """Let it happen at once: there is no journal where no daemon runs."""


async def exercise(trial: Trial, kind: Kind, driver: Any, heard: Heard, say: Say, before: Before) -> bool:  # noqa: ANN401
    """Try an open device and say what comes of it. Returns True when it did all that was asked.

    Raises DriverError where the device does.
    """
    if kind in {"reader", "scanner"}:
        return await _read(trial, driver, heard, say)
    if kind == "gate":
        return await _pulse(trial, driver, heard, say, before)
    if kind == "printer":
        return await _print(trial, driver, say)
    say(f"there is nothing to try of a {kind}")
    return False


async def try_alone(
    configuration: Configuration,
    trial: Trial,
    say: Say,
    drivers: Mapping[str, DriverEntry] = DRIVERS,
    bus: MessageBus | None = None,
) -> bool:
    """Open a device only for this, try it and close it; for when no daemon runs. Returns True when all went well."""
    device = configuration.devices[trial.device]
    if drivers[device.driver].kind == "drawer":
        return await _drawer_alone(configuration, trial, say, drivers, bus)
    heard = Heard()
    async with _Opened(configuration, device, heard, drivers, bus) as slot:
        say(f"{trial.device}: {slot.status}{f', {slot.detail}' if slot.detail else ''}")
        if not slot.online:
            return False
        return await _told(exercise(trial, drivers[device.driver].kind, slot.driver, heard, say, nothing_before), say)


async def _drawer_alone(
    configuration: Configuration, trial: Trial, say: Say, drivers: Mapping[str, DriverEntry], bus: MessageBus | None
) -> bool:
    device = configuration.devices[trial.device]
    options: Any = device.options
    carrier = configuration.devices[carrier_of(device)]
    async with _Opened(configuration, carrier, Heard(), drivers, bus) as slot:
        say(f"{carrier.name}: {slot.status}{f', {slot.detail}' if slot.detail else ''}")
        if not slot.online or not _allowed(trial, f"opens {trial.device}", say):
            return slot.online
        drawer = drivers[device.driver].build(options, slot.driver)
        return await _told(_open_drawer(drawer, trial, say), say)


async def _open_drawer(drawer: Any, trial: Trial, say: Say) -> bool:  # noqa: ANN401
    await drawer.open()
    say(f"{trial.device}: the pulse was sent; look whether it opened")
    return True


async def _told(work: Awaitable[bool], say: Say) -> bool:
    try:
        return await work
    except DriverError as error:
        say(str(error))
        return False


class _Opened:
    """One device, with the bus it is on, under a supervisor of its own, from open to closed."""

    def __init__(
        self,
        configuration: Configuration,
        device: Device,
        heard: Heard,
        drivers: Mapping[str, DriverEntry],
        bus: MessageBus | None,
    ) -> None:
        self._device = device
        shared = configuration.devices.get(getattr(device.options, "bus", None) or "")
        self._devices = {one.name: one for one in (shared, device) if one is not None}
        self._heard = heard
        self._changed = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._supervisor = Supervisor(loop.create_task, SystemRandom(), self._event, self._status, drivers, bus)

    async def __aenter__(self) -> DeviceSlot:
        await self._supervisor.reconcile(self._devices)
        slot = self._supervisor.slots[self._device.name]
        try:
            async with asyncio.timeout(OPEN_S):
                while slot.status == "starting":
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            slot.detail = "it neither opened nor said why not"
        return slot

    async def __aexit__(self, *_: object) -> None:
        await self._supervisor.close()

    def _event(self, slot: DeviceSlot, event: DeviceEvent) -> None:
        if slot.device is self._device:
            self._heard(event)

    def _status(self, _: DeviceSlot) -> None:
        self._changed.set()


async def _read(trial: Trial, driver: Any, heard: Heard, say: Say) -> bool:  # noqa: ANN401
    if callable(beep := getattr(driver, "beep", None)):
        await beep(1, 200, 100)
        say("it was told to beep")
    if getattr(driver, "display_rows", 0):
        await driver.show("Venue Gateway", 5000)
        say("its display was told to show: Venue Gateway")
    say(f"hold a card or a code to it within {trial.wait_s:g} s")
    reading = await heard.reading(trial.wait_s)
    if reading is None:
        say("nothing was read")
        return False
    # Never what was read: it lets whoever has it in (I12).
    symbology = f" {reading.symbology}" if reading.symbology else ""
    say(f"read: {reading.technology}{symbology}, {len(reading.value)} characters")
    return True


async def _pulse(trial: Trial, driver: Any, heard: Heard, say: Say, before: Before) -> bool:  # noqa: ANN401
    who = "the board" if driver.board_timed else "the gateway"
    say(f"{driver.channels} relays, {who} ends a pulse")
    while not heard.events.empty():
        _say_event(heard.events.get_nowait(), say)
    if not _allowed(trial, f"closes relay {trial.channel} for {trial.pulse_ms} ms", say):
        return True
    await before(f"pulse relay {trial.channel} for {trial.pulse_ms} ms")
    await driver.pulse(trial.channel, trial.pulse_ms)
    say(f"relay {trial.channel} was closed")
    await asyncio.sleep(trial.pulse_ms / 1000 + 0.2)
    while not heard.events.empty():
        _say_event(heard.events.get_nowait(), say)
    return True


async def _print(trial: Trial, driver: Any, say: Say) -> bool:  # noqa: ANN401
    status = await driver.status()
    said = msgspec.structs.asdict(status) if status is not None else {}
    known = {name: value for name, value in said.items() if value is not None}
    listed = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in known.items())
    say(f"it says: {listed}" if known else "it says nothing of itself")
    await driver.write(await asyncio.to_thread(driver.render, test_page(trial.device)))
    say("a test page was sent; look whether it is on the paper")
    return True


def test_page(name: str) -> Document:
    """Return what is printed to try a printer: its name, every kind of letter it will need, and a cut."""
    return Document(
        lines=(
            Text(text="Venue Gateway", align="center", bold=True),
            Text(text=name, align="center"),
            Rule(),
            Text(text="ÄÖÜ äöü ß € Łódź Ελληνικά Кириллица"),
            Text(text="0123456789 ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
            Cut(),
        )
    )


def _allowed(trial: Trial, what: str, say: Say) -> bool:
    if not trial.yes:
        say(f"this {what}; nothing was moved, say --yes to do it")
    return trial.yes


def _say_event(event: DeviceEvent, say: Say) -> None:
    if isinstance(event, InputChanged):
        say(f"input {event.channel} is {'active' if event.active else 'at rest'}")
    elif isinstance(event, Noise):
        say(f"{event.byte_count} bytes were no answer: {event.why}")
    elif isinstance(event, Online) and event.detail:
        say(event.detail)

"""`venue-gateway drawer calibrate`: opens a drawer once, reads its contact shut and open, and prints the YAML option.

Runs instead of the gateway, because a printer serves one program at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from drivers.api import DeviceEvent, DriverError, InputChanged, Online, PrinterStatus
from gateway.config.boards import Contact
from gateway.config.drawers import calibrated_line, carrier_of, contact_of
from gateway.config.schema import Configuration, Device
from gateway.devices.registry import DRIVERS, DriverEntry
from gateway.store.locking import FolderTaken, lock_state_dir

OK, REFUSED = 0, 1
ONLINE_TIMEOUT_S = 15.0
CHANGE_TIMEOUT_S = 3.0
"""How long a drawer may take to spring open, and a printer to tell of it."""

Ask = Callable[[str], object]
Say = Callable[[str], object]


class CannotCalibrate(Exception):
    """There is nothing to find out here. The message says why, and what to do."""


def calibrate(
    name: str,
    configuration: Configuration,
    ask: Ask = input,
    say: Say = print,
    drivers: Mapping[str, DriverEntry] = DRIVERS,
) -> int:
    """Ask for the drawer to be shut, open it, and print what its contact showed. Returns the exit status."""
    try:
        device = _drawer(name, configuration, drivers)
        with _alone(configuration.state_dir):
            option = asyncio.run(_find_out(device, configuration, ask, say, drivers))
    except (CannotCalibrate, DriverError) as error:
        print(error, file=sys.stderr)
        return REFUSED
    except (EOFError, KeyboardInterrupt):
        print("given up; nothing was changed", file=sys.stderr)
        return REFUSED
    say(f"\nWrite this under `devices:`, and run 'venue-gateway check':\n\n  {calibrated_line(device, option)}\n")
    return OK


def _drawer(name: str, configuration: Configuration, drivers: Mapping[str, DriverEntry]) -> Device:
    drawers = [each for each, device in configuration.devices.items() if drivers[device.driver].kind == "drawer"]
    if name not in drawers:
        raise CannotCalibrate(f"no drawer is called {name}; there are: {', '.join(drawers) or 'none'}")
    device = configuration.devices[name]
    if hasattr(device.options, "relay") and contact_of(device) is None:
        raise CannotCalibrate(f"{name} has no `contact`; write which input its contact hangs on, as board.channel")
    return device


@contextlib.contextmanager
def _alone(state_dir: Path) -> Iterator[None]:
    """Hold the lock that the gateway holds while it runs. Raises CannotCalibrate while it does."""
    try:
        lock = lock_state_dir(state_dir)
    except FolderTaken:
        raise CannotCalibrate(
            "the gateway runs and has the devices; stop it for this minute, with 'systemctl stop venue-gateway'"
        ) from None
    except OSError as error:
        raise CannotCalibrate(f"{error.filename}: {error.strerror}; run this as the user of the gateway") from None
    with lock:
        yield


async def _find_out(
    drawer: Device, configuration: Configuration, ask: Ask, say: Say, drivers: Mapping[str, DriverEntry]
) -> bool:
    """Return what the contact shows while the drawer is open. Raises CannotCalibrate, DriverError."""
    contact = contact_of(drawer)
    names = {carrier_of(drawer)} | ({contact[0].device} if contact else set())
    async with contextlib.AsyncExitStack() as stack:
        running = {
            name: await stack.enter_async_context(_running(configuration.devices[name], drivers)) for name in names
        }
        opener = running[carrier_of(drawer)]
        reader = _Reader(running[contact[0].device] if contact else opener, contact[0] if contact else None)
        await asyncio.to_thread(ask, "Push the drawer shut, then press Enter: ")
        shut = await reader.read()
        say(f"Shut, the contact reads {reader.word(shut)}.")
        opened = await _open(drawer, opener, reader, shut, ask, say, drivers)
    say(f"Open, it reads {reader.word(opened)}.")
    if shut == opened:
        raise CannotCalibrate(
            "it reads the same either way: the drawer has no contact, or its cable does not carry it; "
            "leave the option out, and its openings are not watched"
        )
    return opened


async def _open(
    drawer: Device,
    opener: _Running,
    reader: _Reader,
    shut: bool,
    ask: Ask,
    say: Say,
    drivers: Mapping[str, DriverEntry],
) -> bool:
    say("Now it is opened.")
    await drivers[drawer.driver].build(drawer.options, opener.driver).open()
    if (opened := await reader.changed_from(shut)) == shut:
        await asyncio.to_thread(ask, "Nothing changed. If it is still shut, open it with its key; then press Enter: ")
        opened = await reader.read()
    return opened


class _Running:
    """A device that is open, and what it has said."""

    def __init__(self, device: Device) -> None:
        self.name = device.name
        self.driver: Any = None
        self.online = asyncio.Event()
        self.changed = asyncio.Event()
        self.pin_high: bool | None = None
        self.inputs: dict[int, bool] = {}

    def said(self, event: DeviceEvent) -> None:
        """Keep what matters here."""
        if isinstance(event, Online):
            self.online.set()
        elif isinstance(event, PrinterStatus):
            self.pin_high = event.drawer_pin_high
        elif isinstance(event, InputChanged):
            self.inputs[event.channel] = event.active
        self.changed.set()


class _Reader:
    """The contact: an input of a board, or what a printer says of its connector."""

    def __init__(self, device: _Running, contact: Contact | None) -> None:
        self._device = device
        self._contact = contact

    async def read(self) -> bool:
        """Return how it stands now. Raises CannotCalibrate where nobody can say."""
        if self._contact is None:
            # Asked now: what a printer says by itself may be seconds old.
            status = await self._device.driver.status()
            self._device.pin_high = status.drawer_pin_high if status is not None else None
        if (now := self._now) is None:
            raise CannotCalibrate(
                f"{self._device.name} does not say how the contact stands, so there is nothing to calibrate; "
                "leave the option out"
            )
        return now

    def word(self, reading: bool) -> str:
        """Return a reading in words."""
        words = ("low", "high") if self._contact is None else ("idle", "active")
        return words[reading]

    async def changed_from(self, before: bool) -> bool:
        """Wait a moment for another reading, and return the last one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CHANGE_TIMEOUT_S):
                while self._now == before:
                    self._device.changed.clear()
                    await self._device.changed.wait()
        return await self.read()

    @property
    def _now(self) -> bool | None:
        if self._contact is None:
            return self._device.pin_high
        return self._device.inputs.get(self._contact.channel)


@contextlib.asynccontextmanager
async def _running(device: Device, drivers: Mapping[str, DriverEntry]) -> AsyncIterator[_Running]:
    """Run one device and wait until it works. Raises its DriverError, or CannotCalibrate when it takes too long."""
    running = _Running(device)
    running.driver = drivers[device.driver].build(device.options, running.said)
    task = asyncio.create_task(running.driver.run())
    online = asyncio.create_task(running.online.wait())
    try:
        done, _ = await asyncio.wait({task, online}, timeout=ONLINE_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            await task
        if online not in done:
            raise CannotCalibrate(f"{device.name} does not come online")
        yield running
    finally:
        online.cancel()
        task.cancel()
        await asyncio.wait({task, online})

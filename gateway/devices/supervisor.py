"""Keeps every device running: open, serve, and after a loss try again, each in a task of its own (I8)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Literal

import structlog

from drivers.api import DeviceEvent, DeviceOffline, Driver, DriverError, Noise, Online, Tampered
from gateway.config.schema import Device
from gateway.devices.registry import DRIVERS, DriverEntry

log = structlog.get_logger(__name__)

RETRY_FIRST_S = 0.25
RETRY_MAX_S = 2.0
"""A device that is plugged in again works within three seconds."""

DeviceStatus = Literal["starting", "online", "offline", "stopped"]


class DeviceSlot:
    """One device of the configuration, whether or not it is there: what flows hold on to while drivers come and go."""

    def __init__(self, device: Device) -> None:
        """Begin without a link."""
        self.device = device
        self.status: DeviceStatus = "starting"
        self.detail = ""
        self.restarts = 0
        self.driver: Any = None
        self.task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The technician's name for the device."""
        return self.device.name

    @property
    def online(self) -> bool:
        """True while the link is open and the device works."""
        return self.status == "online"

    def live(self) -> Any:  # noqa: ANN401 - each flow knows its own capability
        """Return the driver of an open link; raises DeviceOffline with the reason while there is none."""
        if not self.online:
            raise DeviceOffline(self.detail or f"{self.name} is not connected yet")
        return self.driver

    # The same door under the names that flows know it by.
    lock = live
    printer = live


class Supervisor:
    """Runs a task a device and tells its owner what devices say and how they are."""

    def __init__(
        self,
        spawn: Callable[..., asyncio.Task[None]],
        random: Random,
        on_event: Callable[[DeviceSlot, DeviceEvent], None],
        on_status: Callable[[DeviceSlot], None],
        drivers: Mapping[str, DriverEntry] = DRIVERS,
    ) -> None:
        """Take where tasks are run and who is told; `random` spreads the retries, `drivers` makes the devices."""
        self.slots: dict[str, DeviceSlot] = {}
        self._spawn = spawn
        self._random = random
        self._on_event = on_event
        self._on_status = on_status
        self._drivers = drivers

    async def reconcile(self, devices: Mapping[str, Device]) -> set[str]:
        """Make the running devices those of a configuration. Returns the names that were started or stopped.

        A device whose digest is the same keeps its open link: only what changed restarts.
        """
        gone = [name for name, slot in self.slots.items() if _changed(slot, devices.get(name))]
        for name in gone:
            await self._stop(self.slots.pop(name))
        fresh = [device for name, device in devices.items() if name not in self.slots]
        for device in fresh:
            slot = self.slots[device.name] = DeviceSlot(device)
            slot.task = self._spawn(self._keep(slot))
        return {*gone, *(device.name for device in fresh)}

    async def close(self) -> None:
        """Stop every device; drivers put relays back to rest as they go."""
        await asyncio.gather(*(self._stop(slot) for slot in self.slots.values()))
        self.slots.clear()

    async def _stop(self, slot: DeviceSlot) -> None:
        if slot.task is not None:
            slot.task.cancel()
            await asyncio.wait({slot.task})
        self._set(slot, "stopped", "the configuration changed or the gateway stops")

    async def _keep(self, slot: DeviceSlot) -> None:
        """Run one device for ever; whatever its driver does ends here."""
        pause_s = RETRY_FIRST_S
        # One driver for all its links: it alone knows what it said before the last one broke, as of a contact.
        self._driver(slot)
        while True:
            try:
                await slot.driver.run()
                why = "the driver ended by itself"
            except DriverError as error:
                why = str(error)
            except Exception:
                log.exception("driver_crashed", device=slot.name, driver=slot.device.driver)
                why = f"the driver {slot.device.driver} failed; the log has the details"
            if slot.online:
                pause_s = RETRY_FIRST_S
            self._set(slot, "offline", why)
            slot.restarts += 1
            await asyncio.sleep(pause_s * self._random.uniform(0.8, 1.2))
            pause_s = min(RETRY_MAX_S, pause_s * 2)

    def _driver(self, slot: DeviceSlot) -> Driver:
        """Return a device's driver, made at the first call; one that shares a bus is handed the bus's driver."""
        if slot.driver is None:
            bus = self.slots.get(getattr(slot.device.options, "bus", None) or "")
            slot.driver = self._build(slot, *(() if bus is None else (self._driver(bus),)))
        driver: Driver = slot.driver
        return driver

    def _build(self, slot: DeviceSlot, *bus: Driver) -> Driver:
        def emit(event: DeviceEvent) -> None:
            self._emitted(slot, event)

        driver = self._drivers[slot.device.driver].build(slot.device.options, emit, *bus)
        if not isinstance(driver, Driver):
            raise TypeError(f"{slot.device.driver} is no driver that can be run")
        return driver

    def _emitted(self, slot: DeviceSlot, event: DeviceEvent) -> None:
        if isinstance(event, Online):
            self._set(slot, "online", event.detail)
        elif isinstance(event, Noise):
            log.warning("device_noise", device=slot.name, byte_count=event.byte_count, why=event.why)
        elif isinstance(event, Tampered):
            log.warning("device_tampered", device=slot.name, active=event.active)
        try:
            self._on_event(slot, event)
        except Exception:
            # A bug in handling one device's event must not tear down its link, still less anyone else's.
            log.exception("device_event_failed", device=slot.name, event_type=type(event).__name__)

    def _set(self, slot: DeviceSlot, status: DeviceStatus, detail: str) -> None:
        if (slot.status, slot.detail) == (status, detail):
            return
        changed = slot.status != status
        slot.status, slot.detail = status, detail
        if changed:
            log.info("device_status", device=slot.name, status=status, detail=detail)
        self._on_status(slot)


def _changed(slot: DeviceSlot, wanted: Device | None) -> bool:
    return wanted is None or wanted.digest != slot.device.digest

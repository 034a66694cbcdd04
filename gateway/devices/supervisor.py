"""Keeps every device running: open, serve, and after a loss try again, each in a task of its own (I8)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import msgspec
import structlog

from drivers.api import DeviceEvent, Driver, DriverError, DriverFailed, Fault, MessageBus, Noise, Online, Tampered
from gateway.config.schema import Device
from gateway.devices.plugs import pause, watch_for
from gateway.devices.registry import DRIVERS, DriverEntry
from gateway.devices.slot import DeviceSlot, DeviceStatus

__all__ = ["DeviceSlot", "DeviceStatus", "Supervisor"]

log = structlog.get_logger(__name__)

RETRY_FIRST_S = 0.25
RETRY_MAX_S = 2.0
"""A device that is plugged in again works within three seconds, also one whose coming nothing tells of."""
FAULT_FIRST_S, FAULT_MAX_S = 1.0, 30.0
"""Pauses after a driver crashed, hung or flooded: trying again at once would only cost the others."""
CALM_AFTER_S = 60.0
"""A link that stood so long was a good one, whatever went before."""
OPEN_TIMEOUT_S = 20.0
"""Longest time a driver may take from opening its port to being online or saying why not."""
END_TIMEOUT_S = 3.0
"""How long a driver that was told to stop is waited for; then it is left behind and a new one is built."""
EVENTS_PER_S_MAX = 300
"""More than any reader, contact or printer says in a second; a device that says more is cut off."""


class _Ended(msgspec.Struct, frozen=True):
    """How one link ended. Without a `fault` the device was lost in an ordinary way."""

    why: str
    fault: Fault | None = None


class _Link:
    """One run of a driver: what it may still say, and when it says too much."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.cut: asyncio.Future[_Ended] = loop.create_future()
        self.began_s = self._second_s = loop.time()
        self._events = 0
        self.heard_nonsense = False
        """Whether bytes came that are none of such a device's."""

    def takes(self, now_s: float) -> bool:
        """Count one event; False once there were too many in a second, which ends the link."""
        if now_s - self._second_s >= 1:
            self._second_s, self._events = now_s, 0
        self._events += 1
        if self._events > EVENTS_PER_S_MAX and not self.cut.done():
            why = f"it says more than {EVENTS_PER_S_MAX} things a second; check its cable, its settings and itself"
            self.cut.set_result(_Ended(why, "flood"))
        return not self.cut.done()


class Supervisor:
    """Runs a task a device and tells its owner what devices say and how they are."""

    def __init__(
        self,
        spawn: Callable[..., asyncio.Task[None]],
        random: Random,
        on_event: Callable[[DeviceSlot, DeviceEvent], None],
        on_status: Callable[[DeviceSlot], None],
        drivers: Mapping[str, DriverEntry] = DRIVERS,
        bus: MessageBus | None = None,
    ) -> None:
        """Take where tasks are run and who is told.

        `random` spreads the retries, `drivers` makes the devices, `bus` is the broker for those that speak MQTT.
        """
        self.slots: dict[str, DeviceSlot] = {}
        self._spawn = spawn
        self._random = random
        self._on_event = on_event
        self._on_status = on_status
        self._drivers = drivers
        self._bus = bus
        self._links: dict[DeviceSlot, _Link] = {}

    async def reconcile(self, devices: Mapping[str, Device]) -> set[str]:
        """Make the running devices those of a configuration. Returns the names that were started or stopped.

        A device whose digest is the same keeps its open link: only what changed restarts.
        """
        gone = [name for name, slot in self.slots.items() if _changed(slot, devices.get(name))]
        await asyncio.gather(*(self._stop(self.slots.pop(name)) for name in gone))
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
        retry_s, fault_s, watch = RETRY_FIRST_S, FAULT_FIRST_S, watch_for(slot.device.options)
        loop = asyncio.get_running_loop()
        while True:
            began_s = loop.time()
            # From before the driver looks: what comes while it fails is new, and it must not wait for the next time.
            seen = frozenset() if watch is None else watch()
            ended = await self._serve(slot)
            was_online = slot.online
            self._set(slot, "offline", ended.why)
            slot.restarts += 1
            if ended.fault is None:
                retry_s = RETRY_FIRST_S if was_online else retry_s
                is_new = await pause(watch, seen, retry_s * self._random.uniform(0.8, 1.2))
                # What was just plugged in may need a moment more, and is soon tried again.
                retry_s = RETRY_FIRST_S if is_new else min(RETRY_MAX_S, retry_s * 2)
            else:
                slot.faults[ended.fault] += 1
                fault_s = FAULT_FIRST_S if loop.time() - began_s >= CALM_AFTER_S else fault_s
                await asyncio.sleep(fault_s * self._random.uniform(0.8, 1.2))
                fault_s = min(FAULT_MAX_S, fault_s * 2)

    async def _serve(self, slot: DeviceSlot) -> _Ended:
        """Run the driver once and return how that ended; it gets no further than its own link and task."""
        link = self._links[slot] = _Link()
        run: asyncio.Task[None] | None = None
        try:
            run = asyncio.get_running_loop().create_task(self._driver(slot).run())
            return await self._watch(slot, run, link)
        except Exception:
            log.exception("driver_crashed", device=slot.name, driver=slot.device.driver)
            return _Ended(f"the driver {slot.device.driver} failed; the log has the details", "crash")
        finally:
            self._links.pop(slot, None)
            if run is not None and not run.done():
                await self._end(slot, run)

    async def _watch(self, slot: DeviceSlot, run: asyncio.Task[None], link: _Link) -> _Ended:
        either: tuple[asyncio.Future[Any], ...] = (run, link.cut)
        await asyncio.wait(either, timeout=OPEN_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if not run.done() and not link.cut.done() and slot.online:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if run.done():
            return _outcome(run)
        if link.cut.done():
            log.error("driver_flooded", device=slot.name, driver=slot.device.driver, events_per_s=EVENTS_PER_S_MAX)
            return link.cut.result()
        log.error("driver_hung", device=slot.name, driver=slot.device.driver, waited_s=OPEN_TIMEOUT_S)
        if link.heard_nonsense:
            why = f"what answers is no {slot.device.driver} or is set up otherwise; check the address and its settings"
            return _Ended(why, "hang")
        return _Ended(f"it did not open within {OPEN_TIMEOUT_S:g} s; unplug it and plug it in again", "hang")

    async def _end(self, slot: DeviceSlot, run: asyncio.Task[None]) -> None:
        """Stop a driver; one that does not stop is left behind, and nobody hears it any more."""
        run.cancel()
        await asyncio.wait({run}, timeout=END_TIMEOUT_S)
        if run.done():
            # Whatever it says to being stopped was asked for; reading it keeps asyncio from reporting it.
            _ = run.cancelled() or run.exception()
            return
        log.error("driver_left_behind", device=slot.name, driver=slot.device.driver)
        slot.faults["hang"] += 1
        self._leave_behind(slot)

    def _leave_behind(self, slot: DeviceSlot) -> None:
        """Forget a driver; whoever shared it as a bus would talk to nobody, and is built anew with the next one."""
        left, slot.driver = slot.driver, None
        for other, link in self._links.items():
            if left is not None and other.bus is left and not link.cut.done():
                link.cut.set_result(_Ended(f"its bus {slot.name} was left behind and is started anew"))

    def _driver(self, slot: DeviceSlot) -> Driver:
        """Return a device's driver, made at the first call; one that shares a bus is handed the bus's driver.

        There is one driver for all links: it alone knows what it said before the last one broke, as of a contact.
        """
        host = self.slots.get(getattr(slot.device.options, "bus", None) or "")
        bus = None if host is None else self._driver(host)
        if slot.driver is None or slot.bus is not bus:
            slot.driver, slot.bus = self._build(slot, *(() if bus is None else (bus,))), bus
        driver: Driver = slot.driver
        return driver

    def _build(self, slot: DeviceSlot, *bus: Driver) -> Driver:
        built: list[Driver] = []

        def emit(event: DeviceEvent) -> None:
            # A driver that was left behind may wake up one day.
            if built and slot.driver is built[0]:
                self._emitted(slot, event)

        entry = self._drivers[slot.device.driver]
        shared = (self._bus,) if entry.uses_broker else bus
        driver = entry.build(slot.device.options, emit, *shared)
        if not isinstance(driver, Driver):
            raise TypeError(f"{slot.device.driver} is no driver that can be run")
        built.append(driver)
        return driver

    def _emitted(self, slot: DeviceSlot, event: DeviceEvent) -> None:
        link = self._links.get(slot)
        if link is not None and not link.takes(asyncio.get_running_loop().time()):
            return
        if link is not None and isinstance(event, Noise):
            link.heard_nonsense = True
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


def _outcome(run: asyncio.Task[None]) -> _Ended:
    """Return how a driver ended; raises what was no DriverError."""
    if run.cancelled():
        return _Ended("the driver stopped itself")
    error = run.exception()
    if error is None:
        return _Ended("the driver ended by itself")
    if isinstance(error, DriverError):
        return _Ended(str(error), error.fault if isinstance(error, DriverFailed) else None)
    raise error


def _changed(slot: DeviceSlot, wanted: Device | None) -> bool:
    return wanted is None or wanted.digest != slot.device.digest

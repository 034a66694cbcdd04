"""A device that shares a bus is handed the bus's driver, whichever of the two starts first."""

from __future__ import annotations

import asyncio
from random import Random
from typing import ClassVar

import msgspec
import pytest

from drivers.api import Online
from gateway.config.schema import Device
from gateway.devices.registry import DriverEntry
from gateway.devices.supervisor import Supervisor


class BusOptions(msgspec.Struct, frozen=True):
    pass


class SharerOptions(msgspec.Struct, frozen=True):
    bus: str


class Bus:
    Options: ClassVar[type[msgspec.Struct]] = BusOptions

    def __init__(self, options, emit) -> None:
        self.emit = emit

    async def run(self) -> None:
        self.emit(Online())
        await asyncio.Event().wait()


class Sharer(Bus):
    Options: ClassVar[type[msgspec.Struct]] = SharerOptions

    def __init__(self, options, emit, bus) -> None:
        super().__init__(options, emit)
        self.bus = bus


DRIVERS = {
    "bus": DriverEntry("bus", Bus, BusOptions, "a bus"),
    "sharer": DriverEntry("reader", Sharer, SharerOptions, "a reader on a bus"),
}
BUS, SHARER = Device("b", "bus", BusOptions(), "1"), Device("r", "sharer", SharerOptions("b"), "2")


@pytest.mark.parametrize("order", [(BUS, SHARER), (SHARER, BUS)], ids=["bus first", "reader first"])
async def test_it_is_the_driver_that_runs(order) -> None:
    online = asyncio.Event()

    def heard(slot) -> None:
        if all(one.online for one in supervisor.slots.values()):
            online.set()

    supervisor = Supervisor(asyncio.create_task, Random(1), lambda *_: None, heard, DRIVERS)
    await supervisor.reconcile({one.name: one for one in order})
    await asyncio.wait_for(online.wait(), 2)
    assert supervisor.slots["r"].driver.bus is supervisor.slots["b"].driver
    await supervisor.close()

from __future__ import annotations

import asyncio
from random import Random
from typing import ClassVar

import msgspec

from drivers.api import DeviceOffline, InputChanged, Online
from gateway.config.schema import Device
from gateway.devices.registry import DriverEntry
from gateway.devices.supervisor import DeviceSlot, Supervisor


class Options(msgspec.Struct, frozen=True):
    pass


class Board:
    """Tells on each link whether its contact is active, where that is or was so."""

    Options: ClassVar[type[msgspec.Struct]] = Options
    made: ClassVar[list[Board]] = []

    def __init__(self, options: Options, emit) -> None:
        self.emit = emit
        self.links = 0
        self.was_active = False
        self.made.append(self)

    async def run(self) -> None:
        self.links += 1
        is_active = self.links == 1
        self.emit(Online())
        if is_active or self.was_active:
            self.emit(InputChanged(1, is_active))
        self.was_active = is_active
        await asyncio.sleep(1)
        raise DeviceOffline("unplugged")


async def test_a_driver_keeps_what_it_knows_from_one_link_to_the_next() -> None:
    said: list[object] = []
    tasks: list[asyncio.Task[None]] = []

    def spawn(work) -> asyncio.Task[None]:
        tasks.append(asyncio.get_running_loop().create_task(work))
        return tasks[-1]

    def heard(slot: DeviceSlot, event: object) -> None:
        said.append(event)

    drivers = {"board": DriverEntry("gate", Board, Options, "a board")}
    supervisor = Supervisor(spawn, Random(1), heard, lambda slot: None, drivers)
    await supervisor.reconcile({"gate": Device("gate", "board", Options(), "1")})
    await asyncio.sleep(2)
    await supervisor.close()
    assert len(Board.made) == 1
    # The gate was shut while the board was away; without these words it would stand open for ever.
    assert said == [Online(), InputChanged(1, True), Online(), InputChanged(1, False)]

from __future__ import annotations

import asyncio
from random import Random
from typing import ClassVar

import msgspec
import pytest

from drivers.api import DeviceOffline, InputChanged, Noise, Online
from gateway.config.schema import Device
from gateway.devices.registry import DriverEntry
from gateway.devices.supervisor import (
    END_TIMEOUT_S,
    EVENTS_PER_S_MAX,
    FAULT_MAX_S,
    OPEN_TIMEOUT_S,
    DeviceSlot,
    Supervisor,
)


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


class Wild:
    """A driver that does what a test tells it: serve, hang in `open`, flood, crash, or never stop."""

    Options: ClassVar[type[msgspec.Struct]] = Options
    manner: ClassVar[str] = "serve"
    made: ClassVar[list[Wild]] = []

    def __init__(self, options: Options, emit) -> None:
        self.emit = emit
        self.runs: list[float] = []
        self.made.append(self)
        if self.manner == "cannot be built":
            raise RuntimeError("the library is missing")

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self.runs.append(loop.time())
        match self.manner:
            case "nonsense":
                self.emit(Noise(73, "no status reply"))
                await loop.create_future()
            case "hang":
                await loop.create_future()
            case "crash":
                raise RuntimeError("its library crashed")
            case "ignore":
                await ignoring()
                return
            case "flood":
                self.emit(Online())
                while True:
                    for _ in range(100):
                        self.emit(InputChanged(1, True))
                    await asyncio.sleep(0.01)
        self.emit(Online())
        await loop.create_future()


async def ignoring() -> None:
    """Swallow every attempt to stop it, as a driver does that catches too much."""
    until_s = asyncio.get_running_loop().time() + 300
    while asyncio.get_running_loop().time() < until_s:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            continue


class Calm(Wild):
    manner: ClassVar[str] = "serve"
    made: ClassVar[list[Wild]] = []


class Bench:
    """A supervisor of one wild and one calm device, and what it was told."""

    def __init__(self, manner: str) -> None:
        class Told(Wild):
            made: ClassVar[list[Wild]] = []

        Told.manner = manner
        self.wild_type = Told
        Calm.made.clear()
        self.said: list[tuple[str, object]] = []
        self.tasks: list[asyncio.Task[None]] = []
        entries = {"wild": DriverEntry("gate", Told, Options, ""), "calm": DriverEntry("gate", Calm, Options, "")}
        self.supervisor = Supervisor(self.spawn, Random(1), self.heard, lambda slot: None, entries)

    def spawn(self, work) -> asyncio.Task[None]:
        self.tasks.append(asyncio.get_running_loop().create_task(work))
        return self.tasks[-1]

    def heard(self, slot: DeviceSlot, event: object) -> None:
        self.said.append((slot.name, event))

    async def start(self) -> None:
        devices = {name: Device(name, name, Options(), "1") for name in ("wild", "calm")}
        await self.supervisor.reconcile(devices)

    @property
    def wild(self) -> DeviceSlot:
        return self.supervisor.slots["wild"]

    @property
    def calm(self) -> DeviceSlot:
        return self.supervisor.slots["calm"]

    def runs(self) -> list[float]:
        return [at for driver in self.wild_type.made for at in driver.runs]


async def test_i08_a_driver_that_hangs_while_it_opens_is_stopped_and_tried_again() -> None:
    bench = Bench("hang")
    await bench.start()
    await asyncio.sleep(OPEN_TIMEOUT_S + 0.1)
    assert (bench.wild.status, bench.wild.faults) == ("offline", {"hang": 1})
    assert "did not open within" in bench.wild.detail
    await asyncio.sleep(60)
    assert bench.wild.faults["hang"] > 1
    assert bench.wild.fault_counts == {"hang_count": bench.wild.faults["hang"]}
    assert bench.calm.online
    await bench.supervisor.close()


async def test_what_answers_nonsense_is_told_apart_from_what_does_not_answer() -> None:
    bench = Bench("nonsense")
    await bench.start()
    await asyncio.sleep(OPEN_TIMEOUT_S + 0.1)
    assert bench.wild.detail.startswith("what answers is no wild or is set up otherwise")
    await bench.supervisor.close()


async def test_i08_a_driver_that_floods_is_cut_off_with_growing_pauses() -> None:
    bench = Bench("flood")
    await bench.start()
    await asyncio.sleep(300)
    flooded = [event for name, event in bench.said if name == "wild" and isinstance(event, InputChanged)]
    assert 5 <= bench.wild.faults["flood"] <= 20
    assert len(flooded) <= EVENTS_PER_S_MAX * bench.wild.faults["flood"]
    pauses = [after - before for before, after in zip(bench.runs(), bench.runs()[1:], strict=False)]
    assert pauses[0] < 2
    assert 20 < pauses[-1] < FAULT_MAX_S * 1.3
    assert bench.calm.online
    assert bench.calm.restarts == 0
    await bench.supervisor.close()


@pytest.mark.parametrize("manner", ["crash", "cannot be built"])
async def test_i08_a_driver_that_crashes_is_counted_and_pauses_grow(manner: str) -> None:
    bench = Bench(manner)
    await bench.start()
    await asyncio.sleep(120)
    assert 5 <= bench.wild.faults["crash"] <= 12
    assert bench.wild.status == "offline"
    assert bench.calm.online
    await bench.supervisor.close()


async def test_i08_a_driver_that_cannot_be_stopped_is_left_behind() -> None:
    bench = Bench("ignore")
    await bench.start()
    await asyncio.sleep(OPEN_TIMEOUT_S + END_TIMEOUT_S + 5)
    first = bench.wild_type.made[0]
    assert len(bench.wild_type.made) == 2, "another one was built"
    first.emit(Online())
    assert not bench.wild.online, "nobody hears the one that was left behind"
    began_s = asyncio.get_running_loop().time()
    await bench.supervisor.close()
    assert asyncio.get_running_loop().time() - began_s <= END_TIMEOUT_S + 0.1, "a reload does not wait for it for ever"


class OnABus(msgspec.Struct, frozen=True):
    bus: str = "wild"


class Neighbour(Wild):
    """A device on the wild one's bus."""

    Options: ClassVar[type[msgspec.Struct]] = OnABus
    made: ClassVar[list[Wild]] = []

    def __init__(self, options: OnABus, emit, bus: Wild) -> None:
        super().__init__(options, emit)
        self.bus = bus


async def test_i08_devices_on_a_bus_that_is_left_behind_are_built_anew_with_its_successor() -> None:
    bench = Bench("ignore")
    Neighbour.made.clear()
    entries = {
        "wild": DriverEntry("bus", bench.wild_type, Options, ""),
        "calm": DriverEntry("reader", Neighbour, OnABus, ""),
    }
    bench.supervisor = Supervisor(bench.spawn, Random(1), bench.heard, lambda slot: None, entries)
    await bench.supervisor.reconcile(
        {"wild": Device("wild", "wild", Options(), "1"), "calm": Device("calm", "calm", OnABus(), "1")}
    )
    await asyncio.sleep(OPEN_TIMEOUT_S)
    assert bench.calm.online
    bench.wild_type.manner = "serve"
    await asyncio.sleep(END_TIMEOUT_S + 5)
    assert [made.bus for made in Neighbour.made] == bench.wild_type.made
    assert len(Neighbour.made) == 2
    assert bench.calm.online
    assert bench.wild.online
    assert bench.calm.faults == {}, "it is not the reader's fault"
    await bench.supervisor.close()

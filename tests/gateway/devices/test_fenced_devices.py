"""A device whose library runs in a process of its own: what goes wrong there is a fault of its driver."""

from __future__ import annotations

import asyncio
from random import Random
from typing import ClassVar, Literal

import msgspec
import pytest

from drivers.transports.fence import Fence
from gateway.config.schema import Device
from gateway.devices import supervisor
from gateway.devices.registry import DriverEntry
from gateway.devices.supervisor import DeviceSlot, Supervisor
from tests.drivers.pty_device import until

FIRST_S = 0.05


class Options(msgspec.Struct, frozen=True):
    """`how` the process behaves, in the babbler's words."""

    how: Literal["crash", "hang", "flood", "endless"]


class Fenced:
    """A driver that does nothing but run the process."""

    Options: ClassVar[type[msgspec.Struct]] = Options
    began_s: ClassVar[list[float]] = []
    ended_s: ClassVar[list[float]] = []

    def __init__(self, options: Options, emit) -> None:
        self._options = options
        silence_s = 1.0 if options.how == "hang" else 10.0
        self._fence = Fence("tests.drivers.transports.babbler", "the reader", line_bytes_max=4096, silence_s=silence_s)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self.began_s.append(loop.time())
        try:
            await self._fence.serve(self._options.how.encode(), lambda _: None)
        finally:
            self.ended_s.append(loop.time())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(supervisor, "RETRY_MAX_S", 0.001)
    monkeypatch.setattr(supervisor, "FAULT_FIRST_S", FIRST_S)
    Fenced.began_s.clear()
    Fenced.ended_s.clear()


@pytest.mark.parametrize(
    ("how", "fault", "times"),
    [("crash", "crash", 4), ("hang", "hang", 1), ("flood", "flood", 1), ("endless", "flood", 1)],
)
async def test_i08_what_goes_wrong_in_its_process_is_counted_and_pauses_grow(how, fault, times) -> None:
    drivers = {"fenced": DriverEntry("reader", Fenced, Options, "")}
    spawn = asyncio.get_running_loop().create_task
    devices = Supervisor(spawn, Random(1), lambda slot, event: None, lambda slot: None, drivers)
    await devices.reconcile({"nfc": Device("nfc", "fenced", Options(how), "1")})
    slot: DeviceSlot = devices.slots["nfc"]
    await until(lambda: len(Fenced.began_s) > times, 20)
    assert (slot.faults[fault], sum(slot.faults.values()), slot.restarts) == (times, times, times)
    assert slot.fault_counts == {f"{fault}_count": times}
    assert "started anew" in slot.detail
    await devices.close()
    pauses = [began_s - ended_s for ended_s, began_s in zip(Fenced.ended_s, Fenced.began_s[1:], strict=False)]
    for number, pause_s in enumerate(pauses):
        assert pause_s >= FIRST_S * 2**number * 0.79, pauses

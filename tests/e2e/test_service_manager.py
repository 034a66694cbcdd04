"""The real daemon below a service manager: ready when taps can be taken, alive while its writer is."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.bulletin import WAIT_S
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
WATCHDOG_S = 0.6


class Manager:
    """Reads what the daemon tells, as systemd does."""

    def __init__(self, venue: Venue) -> None:
        self.address = str(venue.directory / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setblocking(False)
        self.heard: list[str] = []

    async def hear(self, wanted: str, wait_s: float = WAIT_S) -> str:
        """Read on until a line begins like this."""
        async with asyncio.timeout(wait_s):
            while True:
                message = (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode()
                self.heard.append(message)
                for line in message.split("\n"):
                    if line.startswith(wanted):
                        return line

    def close(self) -> None:
        self._socket.close()


@pytest_asyncio.fixture(loop_scope="module")
async def managed(start_venue: Callable[..., Awaitable[Venue]]) -> AsyncIterator[tuple[Venue, Manager]]:
    venue = await start_venue(("north",), start=("directory",))
    manager = Manager(venue)
    venue.daemon.environment |= {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6))}
    yield venue, manager
    manager.close()


async def test_it_is_ready_without_a_broker_reloads_and_says_when_it_ends(managed: Any) -> None:
    venue, manager = managed
    await venue.start_daemon()
    await manager.hear("READY=1")
    assert await manager.hear("STATUS=2 of 2 devices online; waiting for the broker")
    await venue.broker.start()
    assert await manager.hear("STATUS=2 of 2 devices online; broker connected")
    await manager.hear("WATCHDOG=1")
    venue.config.write_text(good := venue.config.read_text().replace("timezone", "timezon"))
    venue.daemon.signal(signal.SIGHUP)
    await manager.hear("RELOADING=1")
    await manager.hear("READY=1")
    assert "the last good configuration runs on" in manager.heard[-1]
    venue.config.write_text(good.replace("timezon", "timezone"))
    await venue.daemon.stop()
    await manager.hear("STOPPING=1")


async def test_a_device_that_comes_and_goes_for_ever_leaves_the_unit_alone(managed: Any) -> None:
    venue, manager = managed
    await venue.start_daemon()
    device = await venue.device("north-reader")
    for _ in range(3):
        mark = venue.daemon.mark
        await device.do("unplug")
        await venue.daemon.logged("device_status", since=mark, device="north-reader", status="offline")
        mark = venue.daemon.mark
        await device.do("plug")
        await venue.daemon.logged("device_status", since=mark, device="north-reader", status="online")
        await manager.hear("WATCHDOG=1", WATCHDOG_S * 3)
    assert venue.daemon.running
    assert sum("READY=1" in message for message in manager.heard) == 1


async def test_a_stopped_process_feeds_nobody(managed: Any) -> None:
    venue, manager = managed
    await venue.start_daemon()
    await manager.hear("WATCHDOG=1")
    os.kill(venue.daemon.pid, signal.SIGSTOP)
    before = len(manager.heard)
    try:
        with pytest.raises(TimeoutError):
            await manager.hear("nothing but the time ends this", WATCHDOG_S * 2)
        # A living one would have been heard six times; one message may have been under way.
        assert sum("WATCHDOG=1" in message for message in manager.heard[before:]) <= 1
    finally:
        os.kill(venue.daemon.pid, signal.SIGCONT)
    await manager.hear("WATCHDOG=1")


async def test_the_loop_and_the_journals_writer_share_one_core_and_what_is_done_aside_does_not(managed: Any) -> None:
    venue, manager = managed
    await venue.start_daemon()
    await manager.hear("READY=1")
    one, every = {max(os.sched_getaffinity(0))}, os.sched_getaffinity(0)
    if len(every) == 1:
        pytest.skip("there is only one core here")
    pid = venue.daemon.pid
    assert os.sched_getaffinity(pid) == one
    # Reading the configuration again is done aside; the thread that writes the log began before the loop.
    venue.daemon.signal(signal.SIGHUP)
    await manager.hear("RELOADING=1")
    await manager.hear("READY=1")
    cores = cores_of_threads(pid)
    assert cores.count(one) >= 2
    assert every in cores
    assert every - one in cores


def cores_of_threads(pid: int) -> list[set[int]]:
    return [os.sched_getaffinity(int(thread.name)) for thread in Path(f"/proc/{pid}/task").iterdir()]

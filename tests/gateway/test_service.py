"""What the service manager hears, over a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.service import STATUS_CHARACTERS_MAX, Lifeline, Notifier


class Manager:
    """The end of the service manager."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setblocking(False)

    async def heard(self) -> list[str]:
        async with asyncio.timeout(5):
            return (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode().split("\n")

    def silent(self) -> bool:
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    one = Manager(tmp_path)
    yield one
    one.close()


class BareJournal:
    def __init__(self) -> None:
        self.asked: list[Callable[[], None]] = []

    def ping(self, on_alive: Callable[[], None]) -> None:
        self.asked.append(on_alive)


def gateway(refused: str = "", statuses: tuple[str, ...] = (), lost: object = None) -> Any:
    slots = {str(number): SimpleNamespace(status=status) for number, status in enumerate(statuses)}
    return SimpleNamespace(
        supervisor=SimpleNamespace(slots=slots),
        mqtt=SimpleNamespace(session=SimpleNamespace(connected=False)),
        recorder=SimpleNamespace(lost=lost, journal=BareJournal()),
        reporter=SimpleNamespace(configuration_refused=refused),
    )


@pytest.fixture
def lifeline(manager: Manager) -> Iterator[Callable[..., Lifeline]]:
    made: list[Lifeline] = []

    def make(one: Any, **more: str) -> Lifeline:
        made.append(Lifeline(one, {"NOTIFY_SOCKET": manager.address, **more}))
        return made[-1]

    yield make
    for one in made:
        one._notifier.close()


async def test_ready_comes_with_a_line_on_how_things_are(manager: Manager, lifeline: Any) -> None:
    one = gateway(statuses=("online", "offline"))
    lifeline(one).ready()
    assert await manager.heard() == ["READY=1", "STATUS=1 of 2 devices online; waiting for the broker"]


async def test_a_reload_and_the_end_are_told(manager: Manager, lifeline: Any) -> None:
    line = lifeline(gateway())
    line.reloading()
    reloading, clock, _ = await manager.heard()
    assert reloading == "RELOADING=1"
    assert int(clock.removeprefix("MONOTONIC_USEC=")) > 0
    line.stopping()
    assert (await manager.heard())[0] == "STOPPING=1"


async def test_the_watchdog_is_fed_only_once_the_writer_has_answered(manager: Manager, lifeline: Any) -> None:
    one = gateway()
    line = lifeline(one, WATCHDOG_USEC="30000", WATCHDOG_PID=str(os.getpid()))
    line.ready()
    await manager.heard()
    running = asyncio.create_task(line.run())
    try:
        # Many times the limit goes by: the one question stays open, and nothing is fed.
        await asyncio.sleep(0.1)
        assert len(one.recorder.journal.asked) == 1
        assert manager.silent()
        one.recorder.journal.asked.pop()()
        assert await manager.heard() == ["WATCHDOG=1"]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("environment", [{}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "9000", "WATCHDOG_PID": "1"}])
async def test_no_watchdog_asks_for_no_sign_of_life(environment: dict[str, str], lifeline: Any) -> None:
    one = gateway()
    running = asyncio.create_task(lifeline(one, **environment).run())
    await asyncio.sleep(0.03)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert one.recorder.journal.asked == []


async def test_the_status_is_one_printable_line_whatever_is_in_it(manager: Manager, lifeline: Any) -> None:
    lifeline(gateway(refused="x\nREADY=0\0" + "y" * 9000)).ready()
    ready, status = await manager.heard()
    assert ready == "READY=1"
    assert status.isprintable()
    assert len(status) <= STATUS_CHARACTERS_MAX + len("STATUS=")


async def test_a_manager_that_is_gone_is_logged_and_no_more(tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "gone"))
    with capture_logs() as lines:
        notifier.tell("READY=1")
    notifier.close()
    assert [line["event"] for line in lines] == ["service_manager_deaf"]


async def test_the_abstract_name_space_is_reached() -> None:
    name = f"venue-gateway-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        notifier = Notifier(f"@{name}")
        notifier.tell("READY=1")
        notifier.close()
        assert listening.recv(100) == b"READY=1"

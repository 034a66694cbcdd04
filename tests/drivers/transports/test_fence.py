"""A library's process that hangs, crashes or floods: its own device is told, and nothing is left behind (I8)."""

from __future__ import annotations

import asyncio
import os

import pytest

from drivers.api import DeviceOffline, DriverFailed
from drivers.transports.fence import Fence

MODULE = "tests.drivers.transports.babbler"


def fence(**options) -> Fence:
    return Fence(MODULE, "the reader", **({"line_bytes_max": 4096, "silence_s": 10.0} | options))


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_i08_a_crash_is_the_device_s_own():
    with pytest.raises(DriverFailed, match=r"crashed \(ended by signal 11\) and is started anew"):
        await fence().serve(b"crash", lambda _: None)
    with pytest.raises(DriverFailed, match="exit status 7"):
        await fence().serve(b"exit", lambda _: None)


async def test_i08_a_hang_is_noticed_and_ended():
    pids: list[int] = []
    with pytest.raises(DriverFailed, match=r"hung for 1\.5 s; its process is started anew"):
        await fence(silence_s=1.5).serve(b"hang", lambda line: pids.append(int(line)))
    assert is_gone(pids[0])


async def test_i08_a_flood_is_cut_off():
    lines: list[bytes] = []
    with pytest.raises(DriverFailed, match="floods: more than 200 lines a second"):
        await fence().serve(b"flood", lines.append)
    assert len(lines) <= 200


async def test_i09_a_line_without_an_end_is_cut_off():
    with pytest.raises(DriverFailed, match="a line without an end"):
        await fence().serve(b"endless", lambda _: None)


async def test_lines_go_both_ways_and_cancelling_leaves_no_process():
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    one = fence()
    with pytest.raises(DeviceOffline, match="is being started"):
        one.send(b"too early")
    task = asyncio.create_task(one.serve(b"echo", lines.put_nowait))
    async with asyncio.timeout(10):
        pid = int(await lines.get())
        one.send(b"hello")
        assert await lines.get() == b"hello\n"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert is_gone(pid)
    with pytest.raises(DeviceOffline):
        one.send(b"too late")


async def test_what_the_reader_of_a_line_raises_ends_the_process_too():
    def refuse(line: bytes) -> None:
        raise DeviceOffline(line.decode().strip())

    with pytest.raises(DeviceOffline) as told:
        await fence().serve(b"echo", refuse)
    assert is_gone(int(str(told.value)))

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from simulators.control import Control
from simulators.venue import DEMO_VENUE, SimulatedVenue, VenueError, environment


async def run_until_ready(*arguments):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, stdout=asyncio.subprocess.PIPE, env=environment()
    )
    async with asyncio.timeout(30):
        return process, json.loads(await process.stdout.readline())


async def end(process):
    process.terminate()
    async with asyncio.timeout(10):
        await process.communicate()
    assert process.returncode == 0


def files(directory):
    return [path for path in directory.rglob("*") if not path.is_dir()]


async def test_the_demo_venue_has_every_device_where_it_says_and_leaves_nothing(tmp_path):
    async with SimulatedVenue(tmp_path) as venue:
        assert set(venue.devices) == set(DEMO_VENUE)
        for name, device in venue.devices.items():
            state = await (await venue.control(name)).state()
            assert state["device"] == device.simulator
            assert (device.link is None) == (name == "bar-printer")
            assert device.link is None or device.link == tmp_path / "dev" / name
        printer = venue.device("bar-printer")
        assert printer.receipts == tmp_path / "receipts" / "bar-printer"
        _, writer = await asyncio.open_connection(printer.host, printer.port)
        writer.close()
        await writer.wait_closed()
    assert files(tmp_path) == []


async def test_a_killed_device_can_be_started_again(tmp_path):
    async with SimulatedVenue(tmp_path, {"reader": {"simulator": "rdm6300"}}) as venue:
        before = venue.device("reader")
        await venue.kill("reader")
        assert "reader" not in venue.devices
        after = await venue.start("reader")
        assert after.pid != before.pid
        await (await venue.control("reader")).do("hold", uid="100086F444")
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [({"simulator": "toaster"}, "no simulator 'toaster'; there are rdm6300,"), ({}, "no simulator None")],
)
async def test_an_unknown_simulator_is_named(tmp_path, options, words):
    with pytest.raises(VenueError, match=words):
        async with SimulatedVenue(tmp_path, {"reader": {"simulator": "rdm6300"}, "x": options}):
            pytest.fail("it must not start")
    assert files(tmp_path) == []


async def test_a_device_that_cannot_start_ends_the_others(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "b").write_text("in the way")
    with pytest.raises(VenueError, match="b: ended with status 1"):
        async with SimulatedVenue(tmp_path, {"a": {"simulator": "scanner"}, "b": {"simulator": "scanner"}}):
            pytest.fail("it must not start")
    assert files(tmp_path) == [tmp_path / "dev" / "b"]


async def test_the_command_line_prints_where_everything_is(tmp_path):
    description = tmp_path / "venue.json"
    description.write_text('{"board": {"simulator": "lcus", "channels": 4}}')
    directory = tmp_path / "venue"
    process, ready = await run_until_ready("simulators.venue", "--dir", str(directory), "--describe", str(description))
    assert ready["ready"]
    board = ready["devices"]["board"]
    assert board["link"] == str(directory / "dev" / "board")
    assert len(files(directory)) == 2
    assert board["control"] == str(directory / "control" / "board.sock")
    await end(process)
    assert files(directory) == []


async def test_many_devices_live_in_one_process(tmp_path, open_line):
    process, ready = await run_until_ready(
        "simulators.many", "--dir", str(tmp_path), "--readers", "40", "--relays", "2"
    )
    assert len(ready["devices"]) == 42
    assert {device["pid"] for device in ready["devices"].values()} == {process.pid}
    peer = open_line(Path(ready["devices"]["reader-0040"]["link"]))
    async with await Control.connect(ready["devices"]["reader-0040"]["control"]) as reader:
        await reader.do("hold", uid="100086F444")
        assert await peer.read(14) == b"\x02100086F44426\x03"
    open_line(Path(ready["devices"]["relay-0002"]["link"])).write(bytes.fromhex("A00101A2"))
    async with await Control.connect(ready["devices"]["relay-0002"]["control"]) as relay:
        await relay.until(lambda s: s["relays"][0]["on"])
    await end(process)
    assert files(tmp_path) == []

"""`venue-gateway discover` and `test` as a technician runs them, and a gate that says that its board is away."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest

from gateway.config.loading import loads
from gateway.devices.registry import kinds
from tests.e2e.daemon import command
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENUE = {"parts": ("south", "bar")}
GATE = "devices/south/state"


async def test_a_board_is_tried_by_the_running_daemon_and_moves_only_when_that_is_allowed(venue: Venue) -> None:
    mark, before = venue.observer.mark, await venue.pulses("south-board")
    looked = await venue.command("test", "south-board")
    assert looked.status == 0, looked.out + looked.err
    assert "held by the running gateway" in looked.out
    assert "nothing was moved, say --yes to do it" in looked.out
    assert await venue.pulses("south-board") == before
    tried = await venue.command("test", "south-board", "--yes", "--pulse-ms", "200")
    assert tried.status == 0, tried.out + tried.err
    assert "relay 1 was closed" in tried.out
    tested = await venue.observer.event("device.tested", since=mark, device="south-board")
    assert tested["action"] == "pulse relay 1 for 200 ms"
    assert await venue.pulses("south-board") == before + 1


async def test_a_printer_is_tried_through_its_queue(venue: Venue) -> None:
    mark = venue.observer.mark
    tried = await venue.command("test", "bar-printer")
    assert tried.status == 0, tried.out + tried.err
    queued = await venue.observer.event("print.queued", since=mark, printer="bar-printer")
    assert queued["client"] == "gateway-test"
    await venue.observer.event("print.done", since=mark, job=queued["job"])


async def test_the_report_of_a_stretch_is_printed_and_recorded_by_the_running_daemon(venue: Venue) -> None:
    mark = venue.observer.mark
    made = await venue.command("reconcile", "--after-seq", "0", "--json", "-", "--print", "bar-printer")
    assert made.status == 0, made.out + made.err
    report = json.loads(made.out)
    assert report["events"] == report["outage"]["through_seq"] > 0
    queued = await venue.observer.event("print.queued", since=mark, printer="bar-printer")
    fact = await venue.observer.event("upstream.reconciled", since=mark, printer="bar-printer")
    assert fact["digest"] == sha256(made.out.rstrip("\n").encode()).hexdigest()
    await venue.observer.event("print.done", since=mark, job=queued["job"])


async def test_a_name_that_is_not_there_is_told(venue: Venue) -> None:
    tried = await venue.command("test", "nothing")
    assert tried.status == 1
    assert "no device is called nothing; there is" in tried.err


async def test_a_gate_whose_board_is_away_says_so(venue: Venue) -> None:
    await venue.observer.state(GATE, state="locked")
    await venue.simulators.kill("south-board")
    state = await venue.observer.state(GATE, state="offline")
    assert state["why"] == "its lock does not answer; check the board's cable and power"
    await venue.simulators.start("south-board")
    await venue.observer.state(GATE, state="locked")


async def test_a_board_is_tried_without_a_daemon(venue: Venue) -> None:
    await venue.daemon.stop()
    tried = await venue.command("test", "south-board", "--yes", "--pulse-ms", "200")
    assert tried.status == 0, tried.out + tried.err
    assert tried.out.splitlines()[0] == "south-board: online, unit 1"
    assert "relay 1 was closed" in tried.out
    await venue.start_daemon()


async def test_discover_prints_what_check_accepts(venue: Venue) -> None:
    found = await command("discover", "--no-pcsc", "--address", "127.0.0.1:1")
    assert found.status == 0, found.err
    assert "nothing answers" in found.out
    loads(found.out.encode(), venue.directory / "found.yaml", kinds())

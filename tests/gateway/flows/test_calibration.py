"""Calibrating a drawer's contact: on record before anything moves, and the truth about what was read."""

from __future__ import annotations

import asyncio

import pytest

from drivers.api import DeviceOffline
from gateway.domain import bench
from gateway.domain import events as e
from gateway.flows import calibration
from gateway.flows.calibration import Calibrated, CalibrationFlow
from gateway.flows.drawer import DrawerFlow
from tests.gateway.fakes import settle
from tests.gateway.flows.house import House

WORDS = ("low", "high")


class Kassa:
    """A drawer, its contact, and whoever calibrates it."""

    def __init__(self, *, open_reads=True, configured=None, springs=True, connected=True):
        self.house = House()
        self.online, self.is_open, self.pulses = True, False, 0
        self.open_reads, self.springs, self.connected = open_reads, springs, connected
        self.drawer_flow = DrawerFlow("till", self.house.recorder, self, self.house.spawn)
        self.flow = CalibrationFlow(self.house.recorder, self.house.spawn)
        one = Calibrated(self.drawer_flow, self.read, WORDS, lambda reads: f"till: {{open: {reads}}}", configured)
        handlers = self.flow.configure({"till": one})
        self.house.desk.configure(handlers, {"bar-tablet": {"till": frozenset({"calibrate"})}}, 60_000)

    def drawer(self):
        return self

    async def open(self):
        self.pulses += 1
        self.is_open = self.springs

    async def read(self):
        if not self.online:
            raise DeviceOffline("the printer is away")
        return (self.is_open == self.open_reads) if self.connected else None

    def ask(self, **options):
        return self.house.ask("till", "calibrate", {"reason": "first evening"}, expires_in_s=5, **options)

    async def outcome(self):
        async with asyncio.timeout(5):
            while not (found := [one for one in self.house.events if isinstance(one, bench.BenchEnded)]):
                await settle()
        return found[0].outcome, found[0].message


@pytest.mark.parametrize(("open_reads", "line"), [(True, "True"), (False, "False")])
async def test_either_polarity_is_found_and_its_line_is_told(open_reads, line):
    kassa = Kassa(open_reads=open_reads)
    kassa.ask()
    shut, opened = WORDS[not open_reads], WORDS[open_reads]
    told = f"Shut it reads {shut}, open {opened}. Write this under devices: till: {{open: {line}}}"
    assert await kassa.outcome() == ("done", told)
    assert kassa.pulses == 1
    started, opening = kassa.house.events[0], kassa.house.events[1]
    assert (started.action, started.client, started.reason) == ("calibrate", "bar-tablet", "first evening")
    assert isinstance(opening, e.DrawerOpening)
    assert (opening.client, opening.reason) == ("bar-tablet", "calibrating: first evening")


async def test_what_is_configured_already_is_said_to_be():
    kassa = Kassa(configured=True)
    kassa.ask()
    assert (await kassa.outcome())[1].endswith("So it is configured already.")


async def test_i01_nothing_moves_before_the_disk_has_it():
    kassa = Kassa()
    kassa.house.journal.hold()
    kassa.ask()
    await settle()
    assert kassa.pulses == 0
    kassa.house.journal.release()
    assert (await kassa.outcome())[0] == "done"


async def test_a_drawer_that_stays_shut_is_told_of(monkeypatch):
    monkeypatch.setattr(calibration, "OPEN_WITHIN_S", 0.05)
    monkeypatch.setattr(calibration, "LOOK_EVERY_S", 0.01)
    kassa = Kassa(springs=False)
    kassa.ask()
    outcome, message = await kassa.outcome()
    assert (outcome, kassa.pulses) == ("failed", 1)
    assert message.startswith("It read low all the time")


@pytest.mark.parametrize(("spoil", "told"), [("connected", "Nobody can say"), ("online", "the printer is away")])
async def test_a_contact_that_cannot_be_read_moves_nothing(spoil, told):
    kassa = Kassa()
    setattr(kassa, spoil, False)
    kassa.ask()
    outcome, message = await kassa.outcome()
    assert (outcome, kassa.pulses) == ("failed", 0)
    assert told in message


async def test_i02_asked_twice_it_opens_once():
    kassa = Kassa()
    kassa.ask(id="same")
    kassa.ask(id="same")
    assert kassa.ask(id="other").reason == "busy"
    await kassa.outcome()
    kassa.ask(id="same")
    await settle()
    assert kassa.pulses == 1

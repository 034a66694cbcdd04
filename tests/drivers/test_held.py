"""What a reader held while nobody read it is no tap: whoever showed it has gone, and a gate would open for another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import pytest

from drivers.api import DeviceOffline, Driver, Emit, Online, Reading
from drivers.codecs.rdm6300 import encode_frame
from drivers.readers.rdm6300 import Rdm6300Options, Rdm6300Reader
from drivers.readers.wiegand_serial import WiegandSerialOptions, WiegandSerialReader
from drivers.scanners.serial_scanner import SerialScanner, SerialScannerOptions
from drivers.transports import Transport
from simulators.wiegand import written
from tests.drivers.pty_device import Events, PtyDevice, running


class Case(NamedTuple):
    make: Callable[[str, Emit], Driver]
    held: bytes
    shown: bytes
    value: str


CASES = {
    "rdm6300": Case(
        lambda port, emit: Rdm6300Reader(Rdm6300Options(port=port), emit),
        encode_frame("0A0B0C0D0E"),
        encode_frame("100086F444"),
        "100086F444",
    ),
    "serial-scanner": Case(
        lambda port, emit: SerialScanner(SerialScannerOptions(port=port), emit), b"OLD\r", b"NEW\r", "NEW"
    ),
    "wiegand-serial": Case(
        lambda port, emit: WiegandSerialReader(WiegandSerialOptions(port=port), emit),
        written("D41B81", "hex", 26),
        written("D41B82", "hex", 26),
        "D41B82",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_i06_what_a_reader_held_while_nobody_read_it_opens_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, forget_held, opened = Events(), Transport.forget_held, 0
    with PtyDevice() as device:

        async def hand_over_and_forget(transport: Transport) -> None:
            nonlocal opened
            opened += 1
            # A pty hands over what was written before it was opened at the opening; an adapter does so a moment later.
            device.send(case.held)
            await forget_held(transport)

        monkeypatch.setattr(Transport, "forget_held", hand_over_and_forget)
        async with running(case.make(device.path, events), events):
            device.send(case.shown)
            (read,) = await events.wait_for(Reading)
    assert opened == 1
    assert read.value == case.value
    assert len(events.of(Reading)) == 1


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_reader_that_is_lost_meanwhile_never_says_that_it_is_online(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, forget_held = Events(), Transport.forget_held
    with PtyDevice() as device:

        async def lose_and_forget(transport: Transport) -> None:
            device.unplug()
            await forget_held(transport)

        monkeypatch.setattr(Transport, "forget_held", lose_and_forget)
        with pytest.raises(DeviceOffline):
            await case.make(device.path, events).run()
    assert not events.of(Online)


async def test_i06_a_queue_that_takes_its_time_is_thrown_away_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    case, events, forget_held = CASES["serial-scanner"], Events(), Transport.forget_held
    with PtyDevice() as device:

        async def hand_over_slowly(transport: Transport) -> None:
            forgetting = asyncio.create_task(forget_held(transport))
            for _ in range(50):
                # A character a hundredth of a second, as from a slow line: longer in all than one pause.
                device.send(b"1")
                await asyncio.sleep(0.01)
            device.send(b"23\r")
            await forgetting

        # So long that no busy machine makes a pause of it; the queue takes longer than one.
        monkeypatch.setattr("drivers.transports.transport.QUIET_S", 0.4)
        monkeypatch.setattr("drivers.transports.transport.QUIET_WITHIN_S", 10.0)
        monkeypatch.setattr(Transport, "forget_held", hand_over_slowly)
        async with running(case.make(device.path, events), events):
            device.send(case.shown)
            (read,) = await events.wait_for(Reading)
    assert read.value == case.value

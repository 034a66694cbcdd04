"""`venue-gateway drawer calibrate` with devices and a person of the test's own."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.api import DeviceEvent, DeviceOffline, InputChanged, Online, PrinterStatus
from drivers.drawers.drawer_kick import DrawerKick, DrawerKickOptions
from drivers.drawers.drawer_relay import DrawerRelay, DrawerRelayOptions
from gateway import calibrating
from gateway.config.schema import Broker, Configuration, Device, Venue
from gateway.devices.registry import DriverEntry


class Till:
    """A drawer with its solenoid and its contact, and the printer or board they are wired to."""

    def __init__(self, *, open_reads: bool = True, has_contact: bool = True, jammed: bool = False) -> None:
        self.is_open = True
        self.open_reads = open_reads
        self.has_contact = has_contact
        self.jammed = jammed
        self.away = False
        self.emit: Callable[[DeviceEvent], object] = lambda _: None
        self.questions: list[str] = []
        self.pulses: list[object] = []

    @property
    def reading(self) -> bool | None:
        return (self.is_open == self.open_reads) if self.has_contact else False

    def build(self, _: object, emit: Callable[[DeviceEvent], object]) -> Till:
        self.emit = emit
        return self

    async def run(self) -> None:
        if self.away:
            raise DeviceOffline("tcp://printer:9100 does not answer: check that it is switched on")
        self.emit(Online())
        self.tell()
        await asyncio.Event().wait()

    def tell(self) -> None:
        self.emit(PrinterStatus(drawer_pin_high=self.reading))
        self.emit(InputChanged(2, bool(self.reading)))

    async def status(self) -> PrinterStatus:
        return PrinterStatus(drawer_pin_high=self.reading)

    async def kick(self, pin: int) -> None:
        self._spring_open(pin)

    async def pulse(self, channel: int, pulse_ms: int) -> None:
        self._spring_open((channel, pulse_ms))

    def _spring_open(self, pulse: object) -> None:
        self.pulses.append(pulse)
        if not self.jammed:
            self.is_open = True
            self.tell()

    def person(self, question: str) -> None:
        """Do what is asked: push it shut, or open it with the key."""
        self.questions.append(question)
        self.is_open = not question.startswith("Push")
        self.tell()


def configuration(folder: Path) -> Configuration:
    devices = [
        Device("printer", "paper", DrawerKickOptions(printer="-"), ""),
        Device("till", "drawer-kick", DrawerKickOptions(printer="printer", pin=5), ""),
        Device("cash", "drawer-relay", DrawerRelayOptions(relay="printer.3", contact="printer.2"), ""),
        Device("bare", "drawer-relay", DrawerRelayOptions(relay="printer.3"), ""),
    ]
    return Configuration(
        venue=Venue(id="v", timezone="UTC", currency="EUR"),
        broker=Broker(url="unix:///broker"),
        state_dir=folder,
        devices={device.name: device for device in devices},
    )


def calibrate(till: Till, folder: Path, name: str = "till") -> tuple[int, list[str]]:
    said: list[str] = []
    drivers = {
        "paper": DriverEntry("printer", till.build, DrawerKickOptions, ""),
        "drawer-kick": DriverEntry("drawer", DrawerKick, DrawerKickOptions, ""),
        "drawer-relay": DriverEntry("drawer", DrawerRelay, DrawerRelayOptions, ""),
    }
    status = calibrating.calibrate(
        name, configuration(folder), till.person, lambda text: said.append(str(text)), drivers
    )
    return status, said


@pytest.mark.parametrize("open_reads", [True, False])
def test_the_option_is_what_the_contact_reads_open(tmp_path: Path, open_reads: bool) -> None:
    till = Till(open_reads=open_reads)
    status, said = calibrate(till, tmp_path)
    assert status == 0
    assert till.pulses == [5]
    assert len(till.questions) == 1
    option = "true" if open_reads else "false"
    assert f"  till: {{driver: drawer-kick, printer: printer, pin: 5, open_is_high: {option}}}\n" in said[-1]


@pytest.mark.parametrize("open_reads", [True, False])
def test_a_drawer_on_a_relay_is_calibrated_by_its_input(tmp_path: Path, open_reads: bool) -> None:
    till = Till(open_reads=open_reads)
    status, said = calibrate(till, tmp_path, "cash")
    assert status == 0
    assert till.pulses == [(3, 150)]
    option = "true" if open_reads else "false"
    line = f"cash: {{driver: drawer-relay, relay: printer.3, contact: printer.2, open_is_active: {option}}}"
    assert line in said[-1]


def test_a_drawer_that_does_not_spring_open_is_opened_by_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrating, "CHANGE_TIMEOUT_S", 0.02)
    till = Till(jammed=True)
    status, said = calibrate(till, tmp_path)
    assert status == 0
    assert till.questions[1].startswith("Nothing changed. If it is still shut, open it with its key")
    assert "open_is_high: true" in said[-1]


def test_a_drawer_without_a_contact_is_told_to_leave_the_option_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibrating, "CHANGE_TIMEOUT_S", 0.02)
    assert calibrate(Till(has_contact=False), tmp_path)[0] == 1
    assert "it reads the same either way" in capsys.readouterr().err


def test_what_cannot_be_calibrated_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    away = Till()
    away.away = True
    for till, name, says in (
        (Till(), "tll", "no drawer is called tll; there are: till, cash, bare"),
        (Till(), "bare", "bare has no `contact`; write which input its contact hangs on"),
        (away, "till", "does not answer: check that it is switched on"),
    ):
        assert calibrate(till, tmp_path, name)[0] == 1
        assert says in capsys.readouterr().err
        assert till.pulses == []


def test_while_the_gateway_runs_nothing_is_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    till = Till()
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert calibrate(till, tmp_path)[0] == 1
    assert "the gateway runs and has the devices; stop it for this minute" in capsys.readouterr().err
    assert till.pulses == []

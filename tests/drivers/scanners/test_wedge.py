from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from drivers.api import DeviceFault, DeviceOffline, Driver, Noise, Online, Reading
from drivers.scanners.wedge import WedgeOptions, WedgeScanner
from drivers.transports import keyboard
from drivers.transports.keymap import NO_KEY, Button, muted
from tests.drivers.pty_device import Events, running

HERE = Path(__file__).parent
DEBIAN_PYTHON = "/usr/bin/python3"
SHIFT, ENTER = 42, 28


def why_no_test_bed() -> str:
    """Why this machine has no keyboard to emulate; empty where it has."""
    if shutil.which("umockdev-wrapper") is None:
        return "umockdev is not installed: apt install umockdev"
    probe = [DEBIAN_PYTHON, "-c", "import gi; gi.require_version('UMockdev', '1.0')"]
    try:
        found = subprocess.run(probe, capture_output=True, check=False, timeout=20).returncode == 0
    except OSError:
        found = False
    return "" if found else "umockdev's bindings are not installed: apt install python3-gi gir1.2-umockdev-1.0"


def evemu(keys: list[tuple[int, int]]) -> str:
    """Muted key presses with their modifier as evemu writes them, 2 ms apart."""
    lines, at_us = [], 0
    for code, modifier in keys:
        strokes = [(code, 1), (code, 0)]
        for key, value in [(modifier, 1), *strokes, (modifier, 0)] if modifier else strokes:
            at_us += 2000
            lines += [f"E: 0.{at_us:06d} 0001 {muted(key):04x} {value}", f"E: 0.{at_us:06d} 0000 0000 0"]
    return "\n".join(lines) + "\n"


def beside_a_keyboard(
    folder: Path, keys: list[tuple[int, int]], buttons: list[int], command: list[str]
) -> subprocess.CompletedProcess[str]:
    """Run a command beside an emulated keyboard that has these buttons and presses these keys."""
    events = folder / "keys.evemu"
    events.write_text(evemu(keys))
    bed = [DEBIAN_PYTHON, str(HERE / "umockdev_keyboard.py"), str(events), ",".join(map(str, buttons))]
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[2])}
    words = ["umockdev-wrapper", *bed, sys.executable, *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=40, check=False, env=env)


def drive(
    folder: Path, keys: list[tuple[int, int]], buttons: list[int], layout: str
) -> subprocess.CompletedProcess[str]:
    """Have the driver read it until it has a code, or has refused it."""
    return beside_a_keyboard(folder, keys, buttons, [str(HERE / "wedge_child.py"), layout, "1"])


@pytest.mark.skipif(bool(why_no_test_bed()), reason=why_no_test_bed())
def test_the_program_of_the_rule_mutes_every_button_that_is_not(tmp_path):
    buttons = [0, 30, muted(48), 240, 115, 30]
    outcome = beside_a_keyboard(tmp_path, [], buttons, ["-m", "drivers.transports.keymap", "/dev/input/event7"])
    changes = [line for line in outcome.stderr.splitlines() if line.startswith("[")]
    assert (outcome.returncode, len(changes)) == (0, 3), outcome.stderr
    assert json.loads(changes[-1]) == [0, muted(30), muted(48), 240, NO_KEY, muted(30)]


@pytest.mark.skipif(bool(why_no_test_bed()), reason=why_no_test_bed())
@pytest.mark.parametrize(
    ("buttons", "says"),
    [
        ([muted(30), 48], "scanners apply"),
        # Of a volume control nobody reads anything, and yet it is this computer's.
        ([muted(30), 0, 115], "scanners apply"),
        ([], "set the scanner to serial"),
    ],
)
def test_a_wedge_whose_keys_are_a_consoles_is_not_read(tmp_path, buttons, says):
    outcome = drive(tmp_path, [(30, 0), (ENTER, 0)], buttons, "us")
    assert (outcome.stdout, says in outcome.stderr) == ("", True), outcome.stderr


@pytest.mark.skipif(bool(why_no_test_bed()), reason=why_no_test_bed())
@pytest.mark.parametrize(
    ("layout", "keys", "reading"),
    [
        ("us", [(27, 0), (16, SHIFT), (2, 0), (20, SHIFT), (53, 0), (21, 0), (ENTER, 0)],
         {"value": "T/y", "symbology": "qr"}),
        ("de", [(20, SHIFT), (8, SHIFT), (44, 0), (12, 0), (39, 0), (ENTER, 0)], {"value": "T/yßö", "symbology": ""}),
    ],
)  # fmt: skip
def test_python_evdev_reads_a_wedge_that_it_has_grabbed(tmp_path, layout, keys, reading):
    outcome = drive(tmp_path, keys, [0, *map(muted, range(1, 112))], layout)
    told = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert told == [{"online": "Umock Scanner"}, reading], outcome.stderr
    assert outcome.stderr.startswith("grabbed")


class FakeKeyboard:
    """An input device on a pipe, as python-evdev shows one: a byte in the pipe is a muted key pressed and released."""

    grab_error: OSError | None = None

    def __init__(self, path: str) -> None:
        if not path.startswith("/dev/input/"):
            raise OSError(errno.ENOENT, "no such file")
        self.name = "Fake Scanner"
        self.fd, self.keys = os.pipe()
        os.set_blocking(self.fd, False)
        self.grabbed = self.closed = False
        made.append(self)

    def grab(self) -> None:
        if self.grab_error is not None:
            raise self.grab_error
        self.grabbed = True

    def read(self):
        assert self.grabbed
        data = os.read(self.fd, 1024)
        if not data:
            raise OSError(errno.ENODEV, "No such device")
        for byte in data:
            for kind, code, value in ((1, muted(byte), 1), (1, muted(byte), 0), (0, 3 if byte == 255 else 0, 0)):
                yield SimpleNamespace(type=kind, code=code, value=value, sec=1, usec=0)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self.fd)

    def type(self, *keys: int) -> None:
        os.write(self.keys, bytes(keys))

    def unplug(self) -> None:
        if self.keys >= 0:
            os.close(self.keys)
            self.keys = -1


made: list[FakeKeyboard] = []
buttons = [Button(0x70004, muted(30)), Button(0x70028, muted(ENTER))]


@pytest.fixture
def keyboards(monkeypatch):
    made.clear()
    monkeypatch.setitem(sys.modules, "evdev", SimpleNamespace(InputDevice=FakeKeyboard))
    monkeypatch.setattr(keyboard, "read_keymap", lambda fd: buttons)
    yield made
    for one in made:
        one.close()
        one.unplug()


def scanner(events: Events, **options: object) -> WedgeScanner:
    return WedgeScanner(WedgeOptions(**{"port": "/dev/input/event7", **options}), events)


async def test_a_scan_is_a_reading_and_the_same_again_is_the_same_scan(keyboards):
    events = Events()
    async with running(scanner(events), events):
        keyboards[0].type(30, 48, ENTER, 30, 48, ENTER, 46, ENTER)
        assert await events.wait_for(Reading, 2) == [Reading("barcode", "ab"), Reading("barcode", "c")]
        assert events.of(Online) == [Online("Fake Scanner")]
    assert keyboards[0].closed


async def test_lost_keys_are_noise_and_no_code(keyboards):
    events = Events()
    async with running(scanner(events), events):
        keyboards[0].type(30, 255, 48, ENTER, 46, ENTER)
        assert await events.wait_for(Reading) == [Reading("barcode", "c")]
        assert events.of(Noise) == [Noise(1, "keys were lost")]


async def test_unplugged_is_offline(keyboards):
    events = Events()
    async with running(scanner(events), events) as task:
        keyboards[0].unplug()
        with pytest.raises(DeviceOffline, match="unplugged"):
            await asyncio.wait_for(task, 2)
    assert keyboards[0].closed


async def test_a_wedge_that_someone_else_has_grabbed_is_offline_and_closed(keyboards, monkeypatch):
    monkeypatch.setattr(FakeKeyboard, "grab_error", OSError(errno.EBUSY, "busy"))
    with pytest.raises(DeviceOffline, match="grabbed by another program"):
        await scanner(Events()).run()
    assert keyboards[0].closed


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        (errno.EACCES, DeviceOffline, "group `input`"),
        (errno.ENOTTY, DeviceFault, "event-kbd"),
        (errno.EIO, DeviceOffline, "cannot be"),
    ],
)
async def test_what_cannot_be_opened_says_what_to_do(keyboards, monkeypatch, code, kind, says):
    monkeypatch.setattr(FakeKeyboard, "grab_error", OSError(code, "no"))
    with pytest.raises(kind, match=says):
        await scanner(Events()).run()


async def test_a_wedge_that_is_a_keyboard_still_is_closed_and_offline(keyboards, monkeypatch):
    monkeypatch.setattr(keyboard, "read_keymap", lambda fd: [*buttons, Button(0x70005, 48)])
    with pytest.raises(DeviceOffline, match="run 'sudo venue-gateway scanners apply' while it is connected"):
        await scanner(Events()).run()
    assert keyboards[0].closed


async def test_a_missing_wedge_and_a_missing_library(keyboards, monkeypatch):
    with pytest.raises(DeviceOffline, match=r"usb://VENDOR:PRODUCT .*by-path"):
        await scanner(Events(), port="/none").run()
    monkeypatch.setitem(sys.modules, "evdev", None)
    with pytest.raises(DeviceFault, match=r"venue-gateway\[wedge\]"):
        await scanner(Events()).run()


def test_it_is_a_driver_and_its_options_refuse_what_cannot_be():
    assert isinstance(scanner(Events()), Driver)
    for options in ({}, {"port": "event7"}, {"port": "/dev/input/event7", "layout": "fr"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(options, WedgeOptions)

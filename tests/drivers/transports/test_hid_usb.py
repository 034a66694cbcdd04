"""The USB HID relay over pyusb, libusb and the kernel's own interface, with a board that umockdev answers for."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOST = Path(__file__).with_name("usb_relay_host.py")
ROOT = Path(__file__).parents[3]
PRELOAD = "libumockdev-preload.so.0"
SYSTEM_PYTHON = "/usr/bin/python3"

# Runs where the board is plugged in: a pulse, the board pulled out, and plugged in again.
STORY = """
import asyncio, json, sys
from pathlib import Path
from drivers.api import DriverError, Online
from drivers.gates.hid_relay import HidRelay, HidRelayOptions

state, gone = Path(sys.argv[1]), Path(sys.argv[1] + ".gone")
events, told = [], {}

async def online(driver):
    events.clear()
    task = asyncio.create_task(driver.run())
    while not events and not task.done():
        await asyncio.sleep(0.01)
    return task

async def main():
    driver = HidRelay(HidRelayOptions(serial="BITFT", channels=2), events.append)
    task = await online(driver)
    told["detail"] = events[0].detail
    await driver.pulse(2, 200)
    told["closed"] = json.loads(state.read_text())[:2]
    await asyncio.sleep(0.4)
    told["open"] = json.loads(state.read_text())[:2]
    began_s = asyncio.get_running_loop().time()
    gone.touch()
    try:
        await task
    except DriverError as error:
        told["why"] = str(error)
    told["missed_after_s"] = asyncio.get_running_loop().time() - began_s
    gone.unlink()
    task = await online(driver)
    await driver.hold(1, True)
    told["again"] = json.loads(state.read_text())[:2]
    task.cancel()
    await asyncio.wait({task})
    told["rest"] = json.loads(state.read_text())[:2]
    print(json.dumps(told))

asyncio.run(main())
"""


def _why_not() -> str:
    """Return what is missing on this machine, in words, or nothing."""
    if shutil.which("umockdev-run") is None:
        return "umockdev is not installed"
    probe = "import gi; gi.require_version('UMockdev', '1.0'); from gi.repository import UMockdev"
    found = subprocess.run([SYSTEM_PYTHON, "-c", probe], capture_output=True, check=False, timeout=20)
    return "" if found.returncode == 0 else "the system's Python has no gir1.2-umockdev-1.0 with python3-gi"


@pytest.mark.skipif(bool(why := _why_not()), reason=why or "all is there")
async def test_a_real_libusb_drives_the_board_and_misses_it_when_it_is_pulled_out(tmp_path: Path) -> None:
    command = [SYSTEM_PYTHON, str(HOST), str(tmp_path / "state.json"), sys.executable, "-c", STORY]
    process = await asyncio.create_subprocess_exec(
        *command,
        str(tmp_path / "state.json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"LD_PRELOAD": PRELOAD, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    async with asyncio.timeout(40):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    told = json.loads(output)
    assert told["detail"] == "USBRelay2 BITFT on 1-1"
    assert (told["closed"], told["open"]) == ([False, True], [False, False])
    assert told["why"] == "USB device 1-1 is gone: unplugged or without power"
    assert told["missed_after_s"] < 2
    assert (told["again"], told["rest"]) == ([True, False], [False, False])

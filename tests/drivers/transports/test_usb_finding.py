"""Finding a USB printer by the real libusb, in a /sys and /dev that umockdev makes up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not shutil.which("umockdev-run"), reason="there is no umockdev: apt-get install umockdev"
)

DESCRIPTORS = bytes.fromhex(
    "12010002000000 40 B804150E0001 010203 01"  # an Epson TM-T20II
    "09022000010100C001"
    "09040000020701 02 00"  # an interface of class 7, printer, both ways
    "07050102400000 07058202400000".replace(" ", "")
)
PRINTER = f"""\
P: /devices/pci0000:00/0000:00:14.0/usb1/1-4
N: bus/usb/001/007={DESCRIPTORS.hex().upper()}
E: DEVNAME=/dev/bus/usb/001/007
E: DEVTYPE=usb_device
E: SUBSYSTEM=usb
E: BUSNUM=001
E: DEVNUM=007
A: busnum=1\\n
A: devnum=7\\n
A: speed=480\\n
A: bConfigurationValue=1\\n
H: descriptors={DESCRIPTORS.hex().upper()}
"""
LOOK = """\
import sys
from drivers.api import DeviceOffline
from drivers.transports import usb_address, usb_printer
try:
    device = usb_address.find_usb(sys.argv[1], usb_address.libusb())
except DeviceOffline as error:
    sys.exit(str(error))
interface = usb_printer._printer_interface(sys.argv[1], device[0])
print(usb_address.port_of(device), interface.bInterfaceClass, interface.bNumEndpoints)
"""


def look_for(address: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "printer.umockdev").write_text(PRINTER)
    command = ["umockdev-run", "-d", str(folder / "printer.umockdev"), "--", sys.executable, "-c", LOOK, address]
    root = str(Path(__file__).parents[3])
    environment = os.environ | {"PYTHONPATH": root}
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env=environment)


@pytest.mark.parametrize("address", ["usb://04b8:0e15", "usb://04B8:0E15/port=1-4"])
def test_libusb_finds_the_printer_and_its_interface(address: str, tmp_path: Path) -> None:
    found = look_for(address, tmp_path)
    assert (found.stdout, found.returncode) == ("1-4 7 2\n", 0), found.stderr


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("usb://04b8:0202", "none of this kind is plugged in"),
        ("usb://04b8:0e15/port=2-1", "plugged in of this kind: usb://04b8:0e15/port=1-4"),
    ],
)
def test_what_is_plugged_in_instead_is_named(address: str, says: str, tmp_path: Path) -> None:
    found = look_for(address, tmp_path)
    assert found.returncode == 1
    assert says in found.stderr

"""What a scanner types reaches no console: the package on a whole computer, with kernel, console and USB keyboard."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.length import PROVING
from tests.package.computer import QEMU, Computer, computer, furnish, make_disk
from tests.package.tree import ENVIRONMENT, INCLUDED, MIRROR, SUITE

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("debootstrap", "mke2fs")
pytestmark = [
    pytest.mark.skipif(not PROVING, reason="a computer is installed and started in minutes: VENUE_PROVE=1"),
    pytest.mark.skipif(
        os.geteuid() != 0 or QEMU is None or not all(map(shutil.which, TOOLS)),
        reason="takes root, an emulator and debootstrap: apt-get install qemu-system-x86 debootstrap e2fsprogs",
    ),
    pytest.mark.timeout(1800),
]
PLAIN = "quiet"
YAML = """\
venue: {id: club, timezone: Europe/Vienna, currency: EUR}
broker: unix:///run/venue-gateway/mqtt.sock
zones: {club: {}}
devices:
  desk-scanner: {driver: wedge, port: "usb://0627:0001/S1", repeat_ms: 0}
gates:
  door: {to: club, readers: [desk-scanner]}
"""


def install(root: Path) -> None:
    """Make a Debian with a kernel, and install the package as `dpkg -i` does."""
    root.chmod(0o755)
    command = ["debootstrap", "--variant=minbase", f"--include={INCLUDED},systemd-sysv,kmod,busybox,linux-image-amd64"]
    subprocess.run(
        [*command, SUITE, str(root), *([MIRROR] if MIRROR else [])], check=True, stdout=subprocess.DEVNULL, timeout=900
    )
    if not (given := os.environ.get("VENUE_DEB")):
        env = {**os.environ, "DEB_BUILDER": sys.executable}
        subprocess.run([str(ROOT / "scripts/deb"), "amd64"], cwd=ROOT, env=env, check=True, timeout=900)
        [package] = (ROOT / "dist").glob("venue-gateway_*_amd64.deb")
    else:
        package = Path(given)
    shutil.copy(package, root / "tmp/gateway.deb")
    furnish(root)
    for words in (["dpkg", "-i", "/tmp/gateway.deb"], ["update-initramfs", "-u"]):
        subprocess.run(["chroot", str(root), *words], env=ENVIRONMENT, check=True, capture_output=True, timeout=300)
    (root / "etc/venue-gateway/gateway.yaml").write_text(YAML)
    # As on a Raspberry Pi, whose firmware gives this line to the kernel. Here the test does.
    (root / "boot/firmware").mkdir()
    (root / "boot/firmware/cmdline.txt").write_text(f"{PLAIN}\n")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder with `disk.img` and `boot/`, whose computer was never started."""
    with tempfile.TemporaryDirectory(prefix="vg-computer-") as name:
        one = Path(name)
        if given := os.environ.get("VENUE_TREE"):
            root = Path(given)
        else:
            root = one / "root"
            root.mkdir()
            install(root)
        shutil.copytree(root / "boot", one / "boot")
        make_disk(root, one / "disk.img")
        yield one


def entries(machine: Computer) -> int:
    """How many guests' codes the gateway has decided on."""
    return int(machine.run("venue-gateway journal export | grep -c entry.denied || true"))


ONLINE = "journalctl -b -u venue-gateway -o cat | grep device_status | grep desk-scanner | grep -c online"


def goes_online(machine: Computer, command: str) -> None:
    """Run a command, and wait until the gateway has the scanner once more than before."""
    before = int(machine.run(f"{ONLINE} || true"))
    machine.run(command)
    machine.until(f"test $({ONLINE}) -gt {before}")


def is_read(machine: Computer, code: str) -> None:
    """Scan, and wait for the decision."""
    before = entries(machine)
    machine.scan(code)
    machine.until(f"test $(venue-gateway journal export | grep -c entry.denied) -gt {before}", within_s=30)


def test_what_a_scanner_types_reaches_no_console(folder: Path) -> None:
    with computer(folder, folder / "disk.img", folder / "boot", PLAIN) as machine:
        machine.until_ready()
        machine.plug()
        machine.until("test -e /dev/input/by-id/usb-QEMU_QEMU_USB_Keyboard_S1-event-kbd")
        a_bare_kernel_takes_it_for_a_keyboard(machine)
        line = applying_takes_it_at_once(machine)
        the_gateway_reads_it_and_nobody_else(machine)
        machine.stop()
    with computer(folder, folder / "disk.img", folder / "boot", line, plugged=True) as machine:
        not_even_while_the_computer_starts(machine)
        the_gateway_reads_it_and_nobody_else(machine)
        releasing_makes_it_a_keyboard_again(machine)


def a_bare_kernel_takes_it_for_a_keyboard(machine: Computer) -> None:
    assert "gateway not open it" in machine.run("venue-gateway doctor", check=False)
    machine.scan("reboot")
    machine.until(f"grep -q reboot {machine.keys_file}")
    machine.type("person")
    machine.until(f"grep -q person {machine.keys_file}")
    assert machine.keys().split() == ["reboot", "person"]


def applying_takes_it_at_once(machine: Computer) -> str:
    said = machine.run("venue-gateway scanners apply")
    assert "0627:0001 types on no console from now on" in said
    assert "Restart this computer once" in said
    seen = machine.keys()
    machine.scan("leak")
    machine.unplug()
    machine.plug()
    machine.until('test -n "$(udevadm settle; grep -l 0627 /sys/bus/usb/devices/*/idVendor)"')
    machine.scan("leak")
    machine.type("person")
    machine.until(f"test $(grep -o person {machine.keys_file} | wc -l) -gt 1")
    assert machine.keys() == f"{seen}person\n"
    assert "until udev runs at a start" in machine.run("venue-gateway doctor", check=False)
    line = machine.run("cat /boot/firmware/cmdline.txt").strip()
    assert line == f"{PLAIN} usbhid.quirks=0x0627:0x0001:0x0004"
    return line


def the_gateway_reads_it_and_nobody_else(machine: Computer) -> None:
    """While it runs, after it was killed, while it is stopped, and after the scanner was plugged out and in."""
    seen = machine.keys()
    machine.run("systemctl enable venue-gateway")
    goes_online(machine, "systemctl restart venue-gateway")
    is_read(machine, "abc123")
    machine.run("systemctl kill -s KILL venue-gateway")
    machine.scan("leak")
    machine.until("systemctl is-active venue-gateway")
    machine.unplug()
    machine.plug()
    machine.scan("leak")
    goes_online(machine, "systemctl restart venue-gateway")
    is_read(machine, "abc123")
    machine.run("systemctl stop venue-gateway")
    machine.scan("leak")
    assert machine.keys() == seen


def not_even_while_the_computer_starts(machine: Computer) -> None:
    began_s = time.monotonic()
    while time.monotonic() - began_s < 60 and not machine.is_ready():
        machine.scan("leak")
    machine.until_ready()
    machine.scan("leak")
    machine.type("person")
    machine.until(f"grep -q person {machine.keys_file}")
    assert machine.keys() == "person\n"
    assert "the kernel leaves it alone" in machine.run("venue-gateway doctor", check=False)


def releasing_makes_it_a_keyboard_again(machine: Computer) -> None:
    assert "is a keyboard again" in machine.run("venue-gateway scanners release")
    assert machine.run("cat /boot/firmware/cmdline.txt") == f"{PLAIN}\n"
    machine.run("! ls /etc/udev/rules.d/*scanners*")

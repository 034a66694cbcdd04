"""What a scanner types reaches no console: the package on a whole computer, with kernel, console and USB keyboard."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
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


CODE = "abc123"
"""The one code that is scanned while the gateway reads; `LEAK` is what is scanned while it does not."""
LEAK = "leak"
JOURNAL = "journalctl -q -o cat -u venue-gateway"
EXPORT = "test ! -e /var/lib/venue-gateway/journal.db || venue-gateway journal export"
KILL = """\
pid=$(systemctl show -p MainPID --value venue-gateway)
systemctl kill -s KILL venue-gateway
tail --pid=$pid -s 0.01 -f /dev/null
"""


def run_of_gateway(machine: Computer) -> str:
    """Which run of the gateway this is: another one after each start."""
    return machine.run("systemctl show -p InvocationID --value venue-gateway").strip()


def is_scanner(machine: Computer, status: str, run: str) -> None:
    """Wait until the scanner has a status in a run of the gateway: by what is said of it last."""
    told = f"{JOURNAL} _SYSTEMD_INVOCATION_ID={run} | grep device_status | grep desk-scanner"
    machine.until(f"{told} | tail -n 1 | grep -qw {status}", within_s=120)


def next_run(machine: Computer, before: str) -> None:
    """Wait until another run of the gateway has the scanner online."""
    machine.until(f'test "$(systemctl show -p InvocationID --value venue-gateway)" != "{before}"')
    is_scanner(machine, "online", run_of_gateway(machine))


def is_read(machine: Computer) -> None:
    """Scan, and wait for the decision."""
    decisions = f"{JOURNAL} -b | grep -c entry.denied"
    before = int(machine.run(f"{decisions} || true"))
    machine.scan(CODE)
    machine.until(f"test $({decisions}) -gt {before}")


def codes_decided(machine: Computer) -> list[str]:
    """The codes that the gateway has decided on, as it writes them down: one text for each."""
    lines = machine.run(EXPORT).splitlines()
    return [str(one["credential"]) for one in map(json.loads, lines) if one["kind"] == "entry.denied"]


def test_what_a_scanner_types_reaches_no_console(folder: Path) -> None:
    with computer(folder, folder / "disk.img", folder / "boot", PLAIN, plugged=True) as machine:
        scans_while_it_starts(machine, "early")
        a_bare_kernel_takes_it_for_a_keyboard(machine)
        line = applying_takes_it_at_once(machine)
        the_gateway_reads_it_and_nobody_else(machine)
        machine.stop()
    with computer(folder, folder / "disk.img", folder / "boot", line, plugged=True) as machine:
        not_even_while_the_computer_starts(machine)
        the_gateway_reads_it_and_nobody_else(machine)
        releasing_takes_all_of_it_back(machine)
        machine.stop()
    with computer(folder, folder / "disk.img", folder / "boot", PLAIN, plugged=True) as machine:
        scans_while_it_starts(machine, "early")
        a_bare_kernel_takes_it_for_a_keyboard(machine)


def scans_while_it_starts(machine: Computer, code: str) -> None:
    """Scan from power-on until the computer runs commands, and once more."""
    while not machine.is_ready():
        machine.scan(code)
    machine.until_ready()
    machine.scan(code)


def a_bare_kernel_takes_it_for_a_keyboard(machine: Computer) -> None:
    assert "gateway not open it" in machine.run("venue-gateway doctor", check=False)
    machine.until("test -e /dev/input/by-id/usb-QEMU_QEMU_USB_Keyboard_S1-event-kbd")
    # This is what the rest is about: from the start on its keys are the console's.
    assert "early" in machine.typed()
    machine.scan("reboot")
    machine.until(f"grep -q reboot {machine.keys_file}")
    person_types(machine)
    assert machine.typed().split()[-2:] == ["reboot", "person"]


def applying_takes_it_at_once(machine: Computer) -> str:
    said = machine.run("venue-gateway scanners apply")
    assert "0627:0001 types on no console from now on" in said
    assert "Restart this computer once" in said
    seen = machine.typed()
    machine.scan(LEAK)
    machine.unplug()
    machine.plug()
    machine.until('test -n "$(udevadm settle; grep -l 0627 /sys/bus/usb/devices/*/idVendor)"')
    machine.scan(LEAK)
    person_types(machine)
    assert machine.typed() == f"{seen}person\n"
    assert "until udev runs at a start" in machine.run("venue-gateway doctor", check=False)
    line = machine.run("cat /boot/firmware/cmdline.txt").strip()
    assert line == f"{PLAIN} usbhid.quirks=0x0627:0x0001:0x0004"
    return line


def the_gateway_reads_it_and_nobody_else(machine: Computer) -> None:
    """While it runs, after it was killed, after the scanner was plugged out and in, and while it is stopped."""
    seen, decided = machine.typed(), len(codes_decided(machine))
    run = run_of_gateway(machine)
    machine.run("systemctl enable venue-gateway; systemctl restart venue-gateway")
    next_run(machine, run)
    is_read(machine)

    run = run_of_gateway(machine)
    machine.run(KILL)
    machine.scan(LEAK)
    next_run(machine, run)
    is_read(machine)

    run = run_of_gateway(machine)
    machine.unplug()
    is_scanner(machine, "offline", run)
    machine.plug()
    machine.scan(LEAK)
    is_scanner(machine, "online", run)
    is_read(machine)

    machine.run("systemctl stop venue-gateway")
    machine.scan(LEAK)
    machine.run("systemctl start venue-gateway")
    next_run(machine, run)
    is_read(machine)

    machine.run("systemctl stop venue-gateway")
    machine.scan(LEAK)
    person_types(machine)
    assert machine.typed() == f"{seen}person\n"
    # One code, each time: what was scanned while nobody read it was not decided on later either.
    assert len(codes_decided(machine)) == decided + 4
    assert len(set(codes_decided(machine))) == 1


def person_types(machine: Computer) -> None:
    """Have the person type a word and wait for it: whatever a scanner has typed before has come by then."""
    count = machine.typed().split().count("person")
    machine.type("person")
    machine.until(f"test $(grep -o person {machine.keys_file} | wc -l) -gt {count}")


def not_even_while_the_computer_starts(machine: Computer) -> None:
    scans_while_it_starts(machine, LEAK)
    person_types(machine)
    assert machine.typed() == "person\n"
    assert "the kernel leaves it alone" in machine.run("venue-gateway doctor", check=False)


def releasing_takes_all_of_it_back(machine: Computer) -> None:
    assert "is a keyboard again" in machine.run("venue-gateway scanners release")
    assert machine.run("cat /boot/firmware/cmdline.txt") == f"{PLAIN}\n"
    machine.run("! ls /etc/udev/rules.d/*scanners*")

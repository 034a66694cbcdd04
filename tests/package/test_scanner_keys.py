"""What a scanner types reaches no console: the package on a whole computer, with kernel, console and USB keyboard."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from tests.length import PROVING
from tests.package import radio_scanner
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
LINE = f"{PLAIN} usbhid.quirks=0x0627:0x0001:0x0004"
YAML = """\
venue: {id: club, timezone: Europe/Vienna, currency: EUR}
broker: unix:///run/venue-gateway/mqtt.sock
zones: {club: {}}
devices:
  desk-scanner: {driver: wedge, port: "usb://0627:0001/S1", repeat_ms: 0}
gates:
  door: {to: club, readers: [desk-scanner]}
"""


BY_RADIO = YAML.replace("usb://0627:0001/S1", radio_scanner.PORT)
ON_PS2 = YAML.replace("usb://0627:0001/S1", "/dev/input/by-path/platform-i8042-serio-0-event-kbd")


def install(root: Path) -> None:
    """Make a Debian with a kernel, and install the package as `dpkg -i` does; what has been done stays as it is."""
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)
    if not (root / "vmlinuz").exists() or (root / "debootstrap").exists():
        more = f"{INCLUDED},systemd-sysv,kmod,busybox,linux-image-amd64"
        command = ["debootstrap", "--variant=minbase", f"--include={more}", SUITE, str(root)]
        subprocess.run([*command, *([MIRROR] if MIRROR else [])], check=True, stdout=subprocess.DEVNULL, timeout=900)
    if not (given := os.environ.get("VENUE_DEB")):
        env = {**os.environ, "DEB_BUILDER": sys.executable}
        subprocess.run([str(ROOT / "scripts/deb"), "amd64"], cwd=ROOT, env=env, check=True, timeout=900)
        [package] = (ROOT / "dist").glob("venue-gateway_*_amd64.deb")
    else:
        package = Path(given)
    furnish(root)
    inside = root / "tmp/gateway.deb"
    if not inside.exists() or not filecmp.cmp(package, inside, shallow=False):
        shutil.copy(package, inside)
        for words in (["dpkg", "-i", "/tmp/gateway.deb"], ["update-initramfs", "-u"]):
            subprocess.run(["chroot", str(root), *words], env=ENVIRONMENT, check=True, capture_output=True, timeout=300)
    (root / "etc/venue-gateway/gateway.yaml").write_text(YAML)
    # As on a Raspberry Pi, whose firmware gives this line to the kernel. Here the test does.
    (root / "boot/firmware").mkdir(exist_ok=True)
    (root / "boot/firmware/cmdline.txt").write_text(f"{PLAIN}\n")


@pytest.fixture(scope="module")
def tree() -> Iterator[Path]:
    """A Debian with the package, never started. With `VENUE_TREE` it is made in that folder and stays there."""
    with tempfile.TemporaryDirectory(prefix="vg-tree-") as name:
        root = Path(os.environ.get("VENUE_TREE") or f"{name}/root")
        install(root)
        yield root


@contextmanager
def never_started(tree: Path) -> Iterator[Path]:
    """Return a folder with `disk.img` and `boot/`."""
    # Not a folder of pytest's own, which would keep three such disks.
    with tempfile.TemporaryDirectory(prefix="vg-computer-") as name:
        one = Path(name)
        shutil.copytree(tree / "boot", one / "boot")
        make_disk(tree, one / "disk.img")
        yield one


@pytest.fixture
def folder(tree: Path) -> Iterator[Path]:
    """A computer that was never started."""
    with never_started(tree) as one:
        yield one


@pytest.fixture
def applied(tree: Path) -> Iterator[Path]:
    """A computer that was never started since `scanners apply` was run on it."""
    command = ["chroot", str(tree), "venue-gateway", "scanners"]
    said = subprocess.run([*command, "apply"], env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout
    try:
        # There is no udev in a folder.
        assert "types on no console once this computer was restarted" in said
        with never_started(tree) as one:
            yield one
    finally:
        subprocess.run([*command, "release"], env=ENVIRONMENT, check=True, capture_output=True)


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


class Scanner(Protocol):
    """Whatever types codes at a computer, and can be taken away from it."""

    def plug(self) -> None:
        """Attach it."""

    def unplug(self) -> None:
        """Take it away."""

    def scan(self, text: str) -> None:
        """Type small letters and digits, then Enter."""

    @property
    def keeps_codes(self) -> bool:
        """Whether the scanner keeps what nobody fetches, so that it is to be thrown away when somebody does."""


class RadioScanner:
    """One on Bluetooth, in the computer itself (see `radio_scanner`)."""

    keeps_codes = False

    def __init__(self, machine: Computer) -> None:
        self._machine = machine
        machine.run("modprobe uhid && systemd-run -q --unit radio-scanner /usr/local/bin/radio-scanner")
        machine.until(f"test -S {radio_scanner.SOCKET}")

    def plug(self) -> None:
        """Connect it, and wait until udev has seen to it."""
        self._machine.run(
            f"radio-scanner connect; until test -e {radio_scanner.PORT}; do sleep 0.1; done; udevadm settle"
        )

    def unplug(self) -> None:
        """Take it out of reach."""
        self._machine.run("radio-scanner disconnect")

    def scan(self, text: str) -> None:
        """Type."""
        self._machine.run(f"radio-scanner scan {text}")

    def hurry(self, count: int) -> None:
        """Connect it, and press the key x at once and so many times."""
        self._machine.run(f"radio-scanner hurry {count}")


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


def is_read(machine: Computer, scan: Callable[[str], None]) -> None:
    """Scan, and wait for the decision."""
    decisions = f"{JOURNAL} -b | grep -c entry.denied"
    before = int(machine.run(f"{decisions} || true"))
    scan(CODE)
    machine.until(f"test $({decisions}) -gt {before}")


def codes_decided(machine: Computer) -> list[str]:
    """The codes that the gateway has decided on, as it writes them down: one text for each."""
    lines = machine.run(EXPORT).splitlines()
    return [str(one["credential"]) for one in map(json.loads, lines) if one["kind"] == "entry.denied"]


def test_the_package_is_installed_on_a_whole_computer(tree: Path) -> None:
    command = ["chroot", str(tree), "dpkg-query", "-W", "-f", "${Status}", "venue-gateway"]
    assert subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True).stdout == b"install ok installed"


def test_what_a_scanner_types_reaches_no_console_from_applying_on(folder: Path) -> None:
    with computer(folder, folder / "disk.img", folder / "boot", PLAIN, plugged=True) as machine:
        scans_while_it_starts(machine, "early")
        a_bare_kernel_takes_it_for_a_keyboard(machine)
        assert applying_takes_it_at_once(machine) == LINE
        the_gateway_reads_it_and_nobody_else(machine, machine)


def test_what_a_scanner_types_reaches_no_console_from_power_on(applied: Path) -> None:
    with computer(applied, applied / "disk.img", applied / "boot", LINE, plugged=True) as machine:
        not_even_while_the_computer_starts(machine)
        the_gateway_reads_it_and_nobody_else(machine, machine)
        releasing_takes_all_of_it_back(machine)
        machine.stop()
    with computer(applied, applied / "disk.img", applied / "boot", PLAIN, plugged=True) as machine:
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
    return machine.run("cat /boot/firmware/cmdline.txt").strip()


def the_gateway_reads_it_and_nobody_else(machine: Computer, scanner: Scanner) -> None:
    """While it runs, after it was killed, after the scanner was plugged out and in, and while it is stopped."""
    seen, decided = machine.typed(), len(codes_decided(machine))
    run = run_of_gateway(machine)
    machine.run("systemctl enable venue-gateway; systemctl restart venue-gateway")
    next_run(machine, run)
    is_read(machine, scanner.scan)

    run = run_of_gateway(machine)
    machine.run(KILL)
    scanner.scan(LEAK)
    next_run(machine, run)
    is_read(machine, scanner.scan)

    run = run_of_gateway(machine)
    scanner.unplug()
    is_scanner(machine, "offline", run)
    scanner.plug()
    if scanner.keeps_codes:
        scanner.scan(LEAK)
    is_scanner(machine, "online", run)
    is_read(machine, scanner.scan)

    machine.run("systemctl stop venue-gateway")
    scanner.scan(LEAK)
    machine.run("systemctl start venue-gateway")
    next_run(machine, run)
    is_read(machine, scanner.scan)

    machine.run("systemctl stop venue-gateway")
    scanner.scan(LEAK)
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
    machine.run("! ls /etc/udev/rules.d/*venue-gateway*")


def test_what_a_scanner_on_bluetooth_types_reaches_no_console(folder: Path) -> None:
    with with_a_scanner_on_bluetooth(folder) as (machine, scanner):
        scanner.plug()
        untouched_it_is_a_keyboard_and_not_read(machine, scanner)
        applying_mutes_it_at_once(machine, scanner)
        the_gateway_reads_it_and_nobody_else(machine, scanner)


def test_a_scanner_that_is_connected_anew_is_muted_and_one_released_is_a_keyboard(folder: Path) -> None:
    with with_a_scanner_on_bluetooth(folder) as (machine, scanner):
        what_is_not_there_is_asked_for_and_what_was_is_kept(machine, scanner)
        a_code_that_comes_with_the_connection(machine, scanner)
        releasing_makes_it_a_keyboard_again(machine, scanner)
        a_keyboard_on_ps2_is_muted_too(machine)


@contextmanager
def with_a_scanner_on_bluetooth(folder: Path) -> Iterator[tuple[Computer, RadioScanner]]:
    with computer(folder, folder / "disk.img", folder / "boot", PLAIN) as machine:
        machine.until_ready()
        machine.until("systemctl is-active multi-user.target", within_s=120)
        configure(machine, BY_RADIO)
        yield machine, RadioScanner(machine)


def configure(machine: Computer, text: str) -> None:
    machine.run(f"cat >/etc/venue-gateway/gateway.yaml <<'END'\n{text}END")


def untouched_it_is_a_keyboard_and_not_read(machine: Computer, scanner: RadioScanner) -> None:
    scanner.scan("early")
    machine.until(f"grep -q early {machine.keys_file}")
    machine.run("systemctl enable --now venue-gateway")
    is_scanner(machine, "offline", run_of_gateway(machine))
    assert "run 'sudo venue-gateway scanners apply'" in machine.run(f"{JOURNAL} -b | grep desk-scanner | tail -n 1")
    assert "reaches the console, so it is not read" in machine.run("venue-gateway doctor", check=False)
    machine.run("systemctl stop venue-gateway")


def applying_mutes_it_at_once(machine: Computer, scanner: RadioScanner) -> None:
    assert f"{radio_scanner.PORT} types on no console from now on" in machine.run("venue-gateway scanners apply")
    scanner.scan(LEAK)
    person_types(machine)
    assert machine.typed() == "early\nperson\n"
    assert "its keys are the gateway's alone" in machine.run("venue-gateway doctor", check=False)


def what_is_not_there_is_asked_for_and_what_was_is_kept(machine: Computer, scanner: RadioScanner) -> None:
    refused = machine.run("venue-gateway scanners apply", check=False)
    assert f"{radio_scanner.PORT} is not there: connect the scanner" in refused
    scanner.plug()
    for _ in range(2):
        assert "types on no console from now on" in machine.run("venue-gateway scanners apply")
        scanner.scan(LEAK)
    scanner.unplug()
    assert "what was written for it before stays" in machine.run("venue-gateway scanners apply")
    scanner.plug()
    scanner.scan(LEAK)
    person_types(machine)
    assert machine.typed() == "person\n"
    # udev complains of each button that it was told of and did not find.
    assert "Failed" not in machine.run("journalctl -b -u systemd-udevd -o cat")


def a_code_that_comes_with_the_connection(machine: Computer, scanner: RadioScanner) -> None:
    scanner.unplug()
    scanner.hurry(500)
    # The console gets whole lines, so keys without an Enter come with the person's.
    person_types(machine)
    seen = machine.typed()
    sys.stdout.write(f"{seen.count('x')} of 500 keys that were pressed from connecting on reached the console\n")
    assert seen.count("x") < 250
    scanner.scan(LEAK)
    person_types(machine)
    assert machine.typed() == f"{seen}person\n"


def releasing_makes_it_a_keyboard_again(machine: Computer, scanner: RadioScanner) -> None:
    assert "is a keyboard again once it was connected anew" in machine.run("venue-gateway scanners release")
    machine.run("! ls /etc/udev/rules.d/*venue-gateway*")
    scanner.unplug()
    scanner.plug()
    scanner.scan("after")
    machine.until(f"grep -q after {machine.keys_file}")
    scanner.unplug()


def a_keyboard_on_ps2_is_muted_too(machine: Computer) -> None:
    configure(machine, ON_PS2)
    person_types(machine)
    assert "types on no console from now on" in machine.run("venue-gateway scanners apply")
    seen = machine.typed()
    run = run_of_gateway(machine)
    machine.type(LEAK)
    machine.run("systemctl start venue-gateway")
    next_run(machine, run)
    is_read(machine, machine.type)
    machine.run("systemctl stop venue-gateway")
    machine.type(LEAK)
    machine.run(
        "venue-gateway scanners release && echo -n rescan >/sys/bus/serio/devices/serio0/drvctl && udevadm settle"
    )
    person_types(machine)
    assert machine.typed() == f"{seen}person\n"

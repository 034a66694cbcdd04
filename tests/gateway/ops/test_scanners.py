"""`scanners apply` and `release`: what is written for udev and for the kernel, and what the doctor says of it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.config.loading import loads
from gateway.config.schema import Configuration
from gateway.devices.registry import kinds
from gateway.ops.scanners import Places, apply, check_scanners, read_quirks, scanners_of

HONEYWELL, NETUM = (0x0C2E, 0x0B61), (0x1EAB, 0x0022)
PI = "console=serial0,115200 root=PARTUUID=4e8d-02 rootwait cfg80211.ieee80211_regdom=DE\n"
ARGUMENT = "usbhid.quirks=0x0c2e:0x0b61:0x0004"


class House:
    """A little /etc, /boot and /sys, and what was run and said."""

    def __init__(self, folder: Path) -> None:
        self.places = Places(
            folder / "rules.d/71-scanners.rules",
            (folder / "firmware/cmdline.txt", folder / "cmdline.txt"),
            folder / "grub",
            folder / "grub.d/scanners.cfg",
            folder / "quirks",
            folder / "proc-cmdline",
        )
        self.ran: list[str] = []
        self.said: list[str] = []
        self.succeeds = True

    def apply(self, *wanted: tuple[int, int]) -> int:
        def run(command: Sequence[str]) -> bool:
            self.ran.append(" ".join(command))
            return self.succeeds

        return apply(wanted, self.places, run=run, say=self.said.append)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def pi(house: House) -> Path:
    line = house.places.command_lines[0]
    line.parent.mkdir()
    line.write_text(PI)
    return line


def configured(*ports: str) -> Configuration:
    devices = "".join(f"  s{number}: {{driver: wedge, port: {port}}}\n" for number, port in enumerate(ports))
    text = f"venue: {{id: a, timezone: UTC, currency: EUR}}\nbroker: unix:///run/x.sock\ndevices:\n{devices}"
    return loads(text.encode(), Path("x.yaml"), kinds())


def test_a_raspberry_pi_is_told_by_its_line_and_what_stood_there_stays(house: House, pi: Path) -> None:
    assert house.apply(HONEYWELL) == 0
    assert pi.read_text() == f"{PI.strip()} {ARGUMENT}\n"
    assert house.said[-1].startswith("Restart this computer once")
    assert house.ran == ["udevadm control --reload", "udevadm trigger --settle --subsystem-match=usb"]
    house.apply(HONEYWELL)
    assert pi.read_text() == f"{PI.strip()} {ARGUMENT}\n"
    assert house.apply(NETUM) == 0
    assert pi.read_text().endswith(" usbhid.quirks=0x1eab:0x0022:0x0004\n")
    house.apply()
    assert pi.read_text() == PI
    assert not house.places.rules.exists()
    assert not list(pi.parent.glob("*.new"))


def test_what_udev_did_not_do_is_not_promised(house: House, pi: Path) -> None:
    house.succeeds = False
    house.apply(HONEYWELL)
    assert house.said[0].startswith("0c2e:0b61 types on no console once this computer was restarted: udevadm did not")
    house.succeeds = True
    house.apply(HONEYWELL)
    assert "0c2e:0b61 types on no console from now on; the gateway may read it." in house.said


def test_somebody_elses_quirk_stays_and_the_kernel_is_never_given_too_many(house: House, pi: Path) -> None:
    pi.write_text('a=1 usbhid.quirks=0x0eef:0x0005:0x0040  b="x  y"\nsecond line\n')
    house.apply(HONEYWELL, NETUM, (1, 1), (2, 2))
    first, second = pi.read_text().splitlines()
    assert second == "second line"
    assert first.startswith('a=1  b="x  y" usbhid.quirks=0x0eef:0x0005:0x0040,0x0001:0x0001:0x0004,')
    assert len(read_quirks(first)) == 4
    assert any("0x1eab:0x0022:0x0004: the kernel takes 4" in line for line in house.said)
    assert "1eab" in house.places.rules.read_text(), "the rule is in force for it"
    house.apply()
    assert pi.read_text().splitlines()[0] == 'a=1  b="x  y" usbhid.quirks=0x0eef:0x0005:0x0040'


def test_grub_is_given_a_file_of_its_own(house: House) -> None:
    house.places.grub.write_text('GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n')
    assert house.apply(HONEYWELL) == 0
    file = house.places.grub_file
    assert f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {ARGUMENT}"' in file.read_text()
    assert house.ran[-1] == "update-grub"
    house.succeeds = False
    assert house.apply(HONEYWELL) == 1
    assert "run 'sudo update-grub'" in house.said[-1]
    house.succeeds = True
    assert house.apply() == 0
    assert not file.exists()
    count = len(house.ran)
    house.apply()
    assert "update-grub" not in house.ran[count:], "nothing was there to take back"


def test_a_grub_with_quirks_of_its_own_and_a_computer_that_starts_otherwise_are_left_to_a_person(house: House) -> None:
    assert house.apply(HONEYWELL) == 1
    assert house.said[-1].endswith(ARGUMENT)
    house.places.grub.write_text('GRUB_CMDLINE_LINUX="usbhid.quirks=0x1:0x2:0x4"\n')
    assert house.apply(HONEYWELL) == 1
    assert "add to that 0x0c2e:0x0b61:0x0004" in house.said[-1]
    assert not house.places.grub_file.exists()
    assert house.places.rules.exists()


@pytest.mark.skipif(shutil.which("udevadm") is None, reason="udevadm is missing: apt-get install udev")
def test_udev_finds_nothing_wrong_with_the_rules(house: House) -> None:
    house.apply(HONEYWELL, NETUM)
    outcome = subprocess.run(
        ["udevadm", "verify", str(house.places.rules)], capture_output=True, text=True, check=False
    )
    if "Unknown command verb" in outcome.stderr:
        pytest.skip("udevadm is older than 254 and verifies no rules")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_the_doctor_tells_what_can_still_get_the_keys(house: House) -> None:
    config = configured("usb://0c2e:0b61/S1", "/dev/input/by-id/usb-x-event-kbd")
    assert scanners_of(config) == {"s0": HONEYWELL, "s1": None}

    def levels() -> list[str]:
        return [one.level for one in check_scanners(config, house.places)]

    found, by_event = check_scanners(config, house.places)
    assert (found.level, found.do) == ("bad", "sudo venue-gateway scanners apply")
    assert (by_event.level, "USB address" in by_event.do) == ("warning", True)
    house.apply(HONEYWELL)
    assert levels() == ["warning", "warning"], "until the next start"
    house.places.booted_with.write_text(f"quiet {ARGUMENT}\n")
    assert levels() == ["ok", "warning"]
    house.places.in_force.write_text("0x0c2e:0x0b61:0x0020,(null),(null),(null)\n")
    assert levels() == ["warning", "warning"], "another quirk than this"
    house.places.in_force.write_text("0x0C2E:0xB61:0x4,(null),(null),(null)\n")
    assert levels() == ["ok", "warning"]

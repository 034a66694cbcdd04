"""`scanners apply` and `release`: what is written for udev and for the kernel, and what the doctor says of it."""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.config.loading import loads
from gateway.config.schema import Configuration
from gateway.devices.registry import kinds
from gateway.ops import muting, usb_scanners
from gateway.ops.scanners import Places, Scanners, apply, check_scanners, scanners_of
from gateway.ops.system_files import replace_file as real
from gateway.ops.usb_scanners import read_quirks

HONEYWELL, NETUM = (0x0C2E, 0x0B61), (0x1EAB, 0x0022)
PI = "console=serial0,115200 root=PARTUUID=4e8d-02 rootwait cfg80211.ieee80211_regdom=DE\n"
ARGUMENT = "usbhid.quirks=0x0c2e:0x0b61:0x0004"


class House:
    """A little /etc, /boot and /sys, and what was run and said."""

    def __init__(self, folder: Path) -> None:
        self.places = usb_scanners.Places(
            folder / "rules.d/71-scanners.rules",
            (folder / "firmware/cmdline.txt", folder / "cmdline.txt"),
            folder / "grub",
            folder / "grub.d/scanners.cfg",
            folder / "grub.cfg",
            folder / "quirks",
            folder / "proc-cmdline",
        )
        self.all = Places(self.places, muting.Places(folder / "rules.d/71-keyboards.rules", folder / "input"))
        self.ran: list[str] = []
        self.said: list[str] = []
        self.succeeds = True

    def apply(self, *wanted: tuple[int, int]) -> int:
        """Apply, and say only what was said now."""
        self.said.clear()
        scanners = Scanners({f"s{number}": kind for number, kind in enumerate(wanted)})
        return apply(scanners, self.all, run=self._run, say=self.said.append)

    def _run(self, command: Sequence[str]) -> bool:
        self.ran.append(" ".join(command))
        if command[0] == "update-grub" and self.succeeds:
            file = self.places.grub_file
            self.places.grub_made.write_text(file.read_text() if file.exists() else "")
        return self.succeeds

    @property
    def grub_runs(self) -> int:
        return self.ran.count("update-grub")


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


def test_a_restart_is_asked_for_until_it_was_done_and_not_for_what_the_kernel_cannot_take(
    house: House, pi: Path
) -> None:
    five = [(number, number) for number in range(1, 6)]
    house.apply(*five)
    assert house.said[-1].startswith("Restart this computer once")
    house.places.in_force.write_text(",".join(f"0x{number:04x}:0x{number:04x}:0x0004" for number in range(1, 5)))
    assert house.apply(*five) == 0
    assert not [line for line in house.said if "Restart" in line]
    house.places.in_force.unlink()
    # A kernel that has had no keyboard yet tells it by its command line alone.
    house.places.booted_with.write_text(pi.read_text())
    house.apply(*five)
    assert not [line for line in house.said if "Restart" in line]
    house.apply()
    assert house.said[-1].startswith("Restart this computer once")


def test_a_read_only_boot_partition_is_told_and_the_next_release_still_knows_what_to_take_back(
    house: House, pi: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(pi))

    with monkeypatch.context() as broken:
        broken.setattr(usb_scanners, "replace_file", lambda file, text: (read_only if file == pi else real)(file, text))
        assert house.apply(HONEYWELL) == 1
        assert house.said[0].startswith("0c2e:0b61 types on no console from now on")
        assert (
            house.said[-1]
            == f"{pi} cannot be changed, it is on a read-only disk: make that writable, and run this again."
        )
    assert house.apply(HONEYWELL) == 0
    with monkeypatch.context() as broken:
        broken.setattr(usb_scanners, "replace_file", lambda file, text: (read_only if file == pi else real)(file, text))
        assert house.apply() == 1
        assert not [line for line in house.said if "keyboard again" in line]
    assert house.apply() == 0
    assert pi.read_text() == PI
    assert not house.places.rules.exists()


def test_without_root_one_sentence_says_so(house: House, pi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(file: Path, _: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    monkeypatch.setattr(usb_scanners, "replace_file", denied)
    assert house.apply(HONEYWELL) == 1
    assert house.said == [f"{house.places.rules} may not be changed: run this with sudo."]
    assert pi.read_text() == PI


def test_what_cannot_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    taken = tmp_path / "cmdline.txt.new"
    (taken / "in the way").mkdir(parents=True)
    file = tmp_path / "cmdline.txt"
    file.write_text("quiet")
    with pytest.raises(OSError, match="directory") as told:
        real(file, "loud")
    assert told.value.filename == str(file)
    assert file.read_text() == "quiet"


def test_a_linked_line_stays_a_link_and_one_without_an_end_gets_none(house: House, pi: Path) -> None:
    behind = pi.with_name("real.txt")
    behind.write_text("quiet")
    pi.unlink()
    pi.symlink_to(behind)
    house.apply(HONEYWELL)
    assert pi.is_symlink()
    assert behind.read_text() == f"quiet {ARGUMENT}"
    house.apply()
    assert behind.read_text() == "quiet"


def test_a_line_that_no_computer_starts_with_is_not_added_to(house: House, pi: Path) -> None:
    for text in ("", "\nquiet\n"):
        pi.write_text(text)
        assert house.apply(HONEYWELL) == 1
        assert "begins with an empty line" in house.said[-2] + house.said[-1]
        assert pi.read_text() == text


def test_what_somebody_else_wrote_there_is_named_when_it_stays(house: House, pi: Path) -> None:
    pi.write_text(f"quiet {ARGUMENT}\n")
    assert house.apply() == 0
    assert house.said == [f"0x0c2e:0x0b61:0x0004 stays in {pi}: this did not write it. The kernel ignores that device."]


def test_grub_is_given_a_file_of_its_own(house: House) -> None:
    house.places.grub.write_text('# usbhid.quirks is read by the kernel\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\n')
    assert house.apply(HONEYWELL) == 0
    file = house.places.grub_file
    assert f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {ARGUMENT}"' in file.read_text()
    assert house.apply(HONEYWELL) == 0
    assert house.grub_runs == 1, "it is in force already"
    assert house.apply() == 0
    assert not file.exists()
    assert house.apply() == 0
    assert house.grub_runs == 2, "nothing was there to take back"


def test_an_update_of_grub_that_failed_is_told_and_tried_again(house: House) -> None:
    house.places.grub.write_text('GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n')
    for wanted in ([HONEYWELL], []):
        house.succeeds = False
        for _ in range(2):
            assert house.apply(*wanted) == 1
            assert any("run 'sudo update-grub'" in line for line in house.said)
            assert not [line for line in house.said if "keyboard again" in line or "Restart" in line]
        house.succeeds = True
        assert house.apply(*wanted) == 0
    assert house.grub_runs == 6
    assert not house.places.rules.exists()


def test_a_grub_with_quirks_of_its_own_and_a_computer_that_starts_otherwise_are_left_to_a_person(house: House) -> None:
    assert house.apply(HONEYWELL) == 1
    assert house.said[0].endswith(ARGUMENT)
    assert house.apply() == 1
    assert house.said[0].endswith("Take usbhid.quirks out of its kernel's command line.")
    house.places.grub.write_text('GRUB_CMDLINE_LINUX="usbhid.quirks=0x1:0x2:0x4"\n')
    assert house.apply(HONEYWELL) == 1
    assert "there add 0x0c2e:0x0b61:0x0004, then" in house.said[0]
    assert not house.places.grub_file.exists()
    assert house.places.rules.exists()
    house.places.grub.write_text('GRUB_CMDLINE_LINUX="usbhid.quirks=0x1:0x2:0x4,0x0c2e:0x0b61:0x0004"\n')
    assert house.apply(HONEYWELL) == 0
    assert house.apply() == 1
    assert "there take out 0x0c2e:0x0b61:0x0004, then" in house.said[0]
    house.places.grub.write_text('GRUB_CMDLINE_LINUX="usbhid.quirks=0x1:0x2:0x4"\n')
    assert house.apply() == 0


def test_nothing_configured_and_nothing_written_runs_nothing(house: House, pi: Path) -> None:
    assert house.apply() == 0
    assert (house.ran, house.said, pi.read_text()) == ([], [], PI)


@pytest.mark.skipif(shutil.which("udevadm") is None, reason="udevadm verify is of Debian 13 (udev 254)")
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
    assert scanners_of(config) == Scanners({"s0": HONEYWELL}, {"s1": "/dev/input/by-id/usb-x-event-kbd"})

    def levels() -> list[str]:
        return [one.level for one in check_scanners(config, house.all)]

    found, by_event = check_scanners(config, house.all)
    assert (found.level, found.do) == ("bad", "sudo venue-gateway scanners apply")
    assert (by_event.level, "while the scanner is connected" in by_event.do) == ("bad", True)
    house.apply(HONEYWELL)
    assert levels() == ["warning", "bad"], "until the next start"
    house.places.booted_with.write_text(f"quiet {ARGUMENT}\n")
    assert levels() == ["ok", "bad"]
    house.places.in_force.write_text("0x0c2e:0x0b61:0x0020,(null),(null),(null)\n")
    assert levels() == ["warning", "bad"], "another quirk than this"
    house.places.in_force.write_text("0x0C2E:0xB61:0x4,(null),(null),(null)\n")
    assert levels() == ["ok", "bad"]

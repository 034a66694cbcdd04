"""Scanners that the kernel reads as keyboards: which rules give their keys away, and to whom."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from drivers.transports.keymap import NO_KEY, Button, is_heard, muted
from gateway.ops import muting
from gateway.ops.muting import Places, find_nodes

RADIO, RADIO_KEYS = "/dev/venue/keyboard-00:1a:7d:da:71:13", "00:1a:7d:da:71:13"
ENTER, LETTER_A, VOLUME, UNKNOWN, POWER_OF_REMOTE = 28, 30, 115, 240, 0x198
TABLE = [
    Button(0x70000, 0), Button(0x70004, LETTER_A), Button(0x70028, ENTER), Button(0x70080, VOLUME),
    Button(0x700B0, UNKNOWN), Button(0xC0030, POWER_OF_REMOTE),
]  # fmt: skip


class Computer:
    """Input devices in a folder like /sys/class/input, and a udev that obeys the rules written for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places = Places(folder / "rules.d/71-keyboards.rules", folder / "class")
        self.tables: dict[str, list[Button]] = {}
        self.said: list[str] = []
        self.ran: list[list[str]] = []
        self.succeeds = True
        self.changes_keys = True

    def attach(
        self, event: str, table: list[Button], *, bus: int = 5, name: str = "Radio Scanner", place: str = "aa",
        unique: str = RADIO_KEYS, parent: str = "hid0", product: int = 0x0E91,
    ) -> None:  # fmt: skip
        self.tables[event] = table
        device = self.folder / "devices" / parent / event
        texts = {
            "id/bustype": f"{bus:04x}", "id/vendor": "0c2e", "id/product": f"{product:04x}", "name": name,
            "phys": place, "uniq": unique, "capabilities/key": _bitmap({one.key for one in table if one.key}),
        }  # fmt: skip
        for file, text in texts.items():
            (device / file).parent.mkdir(parents=True, exist_ok=True)
            (device / file).write_text(f"{text}\n")
        (device / "device").symlink_to(self.folder / "devices" / parent)
        (self.places.devices / event).mkdir(parents=True)
        (self.places.devices / event / "device").symlink_to(device)

    def named(self, port: str, event: str) -> str:
        """Give an event device a name, and return that: a rule's grammar is not that of this folder."""
        link = self.folder / port.removeprefix("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(self.places.devices / event)
        return str(link)

    def apply(self, *ports: str) -> int:
        self.said.clear()
        return muting.apply(ports, self.places, run=self._run, say=self.said.append, buttons=self.tables.__getitem__)

    def _run(self, command: Sequence[str]) -> bool:
        self.ran.append(list(command))
        if self.succeeds and self.changes_keys and command[1] == "trigger":
            for event in (Path(word).name for word in command if word.startswith("/sys/class/input/")):
                keys = self.keys_in_rules()
                self.tables[event] = [
                    Button(one.scan_code, keys.get(one.scan_code, one.key)) for one in self.tables[event]
                ]
                bits = _bitmap({one.key for one in self.tables[event] if one.key})
                (self.places.devices / event / "device/capabilities/key").write_text(bits)
        return self.succeeds

    def keys_in_rules(self) -> dict[int, int]:
        found = re.findall(r'KEYBOARD_KEY_([0-9a-f]+)}="([0-9]+)"', self.places.rules.read_text())
        return {int(scan_code, 16): int(key) for scan_code, key in found}


def _bitmap(keys: set[int]) -> str:
    """The kernel's way of writing a set of numbers: words of 64 bits, the highest first."""
    total = sum(1 << key for key in keys)
    words = [f"{total >> shift & (1 << 64) - 1:x}" for shift in range(0, max(keys, default=0) + 1, 64)]
    return " ".join(reversed(words))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Computer:
    # A port is checked as one under /dev; here that is a folder of this test.
    monkeypatch.setattr(muting, "_PORT_TEXT", re.compile(r"[\w:.@+/-]+"))
    return Computer(tmp_path)


def test_each_key_gets_a_number_of_its_own_that_no_console_knows() -> None:
    numbers = [muted(key) for key in range(1, 112)]
    assert len(set(numbers)) == 111
    # Not a mouse's, a joystick's or a braille keyboard's either: those make an input device another one to others.
    assert not set(numbers) & {*range(0x100, 0x160), *range(0x1F1, 0x1FB), *range(0x220, 0x224), *range(0x2C0, 0x2E8)}
    assert not any(map(is_heard, [*numbers, NO_KEY, 0, UNKNOWN]))
    assert all(map(is_heard, [1, 111, 116, 255, 0x1F1, 0x1FA]))
    assert [muted(number) for number in numbers] == numbers
    assert {muted(key) for key in range(112, 256) if key != UNKNOWN} == {NO_KEY}


def test_a_scanner_is_muted_at_once_and_said_to_be_only_if_it_is(machine: Computer) -> None:
    machine.attach("event3", TABLE)
    port = machine.named(RADIO, "event3")
    assert machine.apply(port) == 0
    assert machine.said == [f"{port} types on no console from now on; the gateway may read it."]
    assert machine.ran == [
        ["udevadm", "control", "--reload"], ["udevadm", "trigger", "--settle", "/sys/class/input/event3"],
    ]  # fmt: skip
    assert machine.keys_in_rules() == {0x70004: 0x250 + LETTER_A, 0x70028: 0x250 + ENTER, 0x70080: NO_KEY}
    rules = machine.places.rules.read_text()
    assert machine.apply(port) == 0
    assert machine.places.rules.read_text() == rules, "a muted scanner gives the same rules"


def test_rules_mean_one_scanner_and_what_it_calls_itself_is_no_part_of_their_grammar(machine: Computer) -> None:
    machine.attach("event3", TABLE, name='S"canner", RUN+="x|y*[a]')
    machine.attach(
        "event4", TABLE, bus=3, name="USB", unique="", place="usb-0000:00:14.0-1.2/input1", product=2, parent="h1"
    )
    machine.attach(
        "event5", TABLE, bus=0x11, name="AT", unique="", place="isa0060/serio0/input0", product=1, parent="s0"
    )
    machine.apply(*(machine.named(f"/dev/{event}", event) for event in ("event3", "event4", "event5")))
    matches = re.findall(r"^ATTRS.*?(?=, ENV)", machine.places.rules.read_text(), re.MULTILINE)
    kind = 'ATTRS{id/bustype}=="%s", ATTRS{id/vendor}=="0c2e", ATTRS{id/product}=="%s", '
    assert matches == [
        kind % ("0005", "0e91") + f'ATTRS{{name}}=="S*canner* RUN*x*y*a*", ATTRS{{uniq}}=="{RADIO_KEYS}"',
        kind % ("0003", "0002") + 'ATTRS{name}=="USB", ATTRS{phys}=="*/input1"',
        kind % ("0011", "0001") + 'ATTRS{name}=="AT", ATTRS{phys}=="isa0060/serio0/input0"',
    ]


def test_buttons_of_which_there_are_two_take_a_program(machine: Computer) -> None:
    machine.attach("event3", TABLE)
    machine.attach("event4", [*TABLE, Button(0x70004, VOLUME)], product=2, parent="hid1")
    machine.apply(machine.named("/dev/one", "event3"))
    assert "RUN+=" not in machine.places.rules.read_text()
    machine.apply(machine.named("/dev/two", "event4"))
    assert f'RUN+="{sys.executable} -I -m drivers.transports.keymap $devnode"' in machine.places.rules.read_text()
    # By its scan code the first of the two is reached.
    assert machine.keys_in_rules()[0x70004] == muted(LETTER_A)


def test_a_name_that_udev_gives_keyboards_stays() -> None:
    by_path = "/dev/input/by-path/platform-i8042-serio-0-event-kbd"
    place = "platform-i8042-serio-0"
    assert muting._name(by_path) == [
        f'ENV{{.VENUE_GATEWAY_SCANNER}}=="{by_path} 0", ENV{{ID_PATH}}=="{place}", SYMLINK+="{by_path[5:]}"'
    ]
    assert muting._name(RADIO) == [f'ENV{{.VENUE_GATEWAY_SCANNER}}=="{RADIO} 0", SYMLINK+="{RADIO[5:]}"']
    assert muting._name("/dev/input/event3") == []


def test_whatever_a_scanner_has_beside_the_named_device_is_muted_too(machine: Computer) -> None:
    machine.attach("event3", TABLE)
    machine.attach("event4", TABLE[:3], name="Radio Scanner Consumer Control")
    machine.attach("event5", TABLE[:3], name="Radio Scanner 2", parent="hid1")
    machine.attach("event6", TABLE, unique="00:1a:7d:da:71:14", parent="hid2")
    machine.attach("event7", [], name="Radio Scanner LED", parent="hid3")
    found = find_nodes(Path(machine.named(RADIO, "event3")), machine.places.devices)
    # Of the two that share one table the named one; the second table; neither another scanner nor what has no keys.
    assert [node.event for node in found] == ["event3", "event5"]


def test_a_keyboard_beside_one_on_ps2_is_none_of_its_own(machine: Computer) -> None:
    for event, parent in (("event0", "serio0"), ("event1", "serio1")):
        machine.attach(event, TABLE, bus=0x11, unique="", place=f"isa0060/{parent}/input0", parent=parent)
    found = find_nodes(Path(machine.named("/dev/one", "event0")), machine.places.devices)
    assert [node.event for node in found] == ["event0"]


def test_one_that_is_not_there_is_asked_for_and_what_was_written_for_it_stays(machine: Computer) -> None:
    assert machine.apply("/dev/venue/nothing") == 1
    assert machine.said[0].startswith("/dev/venue/nothing is not there: connect the scanner")
    assert machine.ran == []
    machine.attach("event3", TABLE)
    port = machine.named(RADIO, "event3")
    machine.apply(port)
    rules = machine.places.rules.read_text()
    shutil.rmtree(machine.places.devices)
    machine.attach("event9", TABLE, product=7, parent="other")
    other = machine.named("/dev/other", "event9")
    assert machine.apply(port, other) == 0
    assert machine.said[0] == f"{port} is not connected now; what was written for it before stays."
    assert machine.apply(port) == 0
    assert machine.said[0] == f"{other} is a keyboard again once it was connected anew, or this computer was restarted."
    assert machine.places.rules.read_text() == rules
    assert machine.apply() == 0
    assert not machine.places.rules.exists()
    count = len(machine.ran)
    assert (machine.apply(), machine.said, len(machine.ran)) == (0, [], count)


def test_what_udev_or_the_kernel_did_not_do_is_not_promised(machine: Computer) -> None:
    machine.attach("event3", TABLE)
    port = machine.named(RADIO, "event3")
    machine.changes_keys = False
    assert machine.apply(port) == 1
    assert "3 of its keys stay keys of the console" in machine.said[0]
    machine.succeeds = False
    assert machine.apply(port) == 1
    assert "udevadm did not succeed" in machine.said[0]
    machine.succeeds = True
    machine.tables["event3"] = []
    assert machine.apply(port) == 1
    assert "its keys stay keys of the console" in machine.said[0]


@pytest.mark.parametrize("port", ['/dev/a"b', "/dev/x\n/../input/event3", "/dev/a,RUN", "/tmp/event3", "/dev/$env"])
def test_a_port_that_means_something_in_a_rule_is_in_none(tmp_path: Path, port: str) -> None:
    machine = Computer(tmp_path)
    machine.attach("event3", TABLE)
    assert machine.apply(port) == 1
    assert "cannot be: an input device has a name under /dev" in machine.said[0]
    assert not machine.places.rules.exists()


def test_the_doctor_looks_at_the_scanner_and_not_at_what_was_written(machine: Computer) -> None:
    machine.attach("event3", TABLE)
    port = machine.named(RADIO, "event3")

    def level() -> str:
        return muting.check("door", port, machine.places).level

    assert level() == "bad"
    machine.apply(port)
    assert level() == "ok"
    shutil.rmtree(machine.places.devices)
    assert level() == "warning"
    machine.apply()
    assert level() == "bad"


@pytest.mark.skipif(shutil.which("udevadm") is None, reason="udevadm verify is of Debian 13 (udev 254)")
def test_udev_finds_nothing_wrong_with_the_rules(machine: Computer) -> None:
    machine.attach("event3", TABLE)
    machine.apply(machine.named(RADIO, "event3"))
    file = str(machine.places.rules)
    outcome = subprocess.run(["udevadm", "verify", file], capture_output=True, text=True, check=False)
    if "Unknown command verb" in outcome.stderr:
        pytest.skip("udevadm is older than 254 and verifies no rules")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr

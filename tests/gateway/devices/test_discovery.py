"""What `discover` makes of descriptions as the kernel and udev write them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.config.loading import loads
from gateway.devices.discovered import as_yaml
from gateway.devices.discovery import Found, Roots, look_around, usb_devices
from gateway.devices.network import ask_addresses
from gateway.devices.registry import kinds


class Machine:
    """A little /dev and /sys."""

    def __init__(self, folder: Path) -> None:
        self.roots = Roots(folder / "dev", folder / "sys")
        (self.roots.dev / "serial/by-id").mkdir(parents=True)
        (self.roots.sys / "bus/usb/devices").mkdir(parents=True)
        (self.roots.sys / "class/tty").mkdir(parents=True)

    def usb(self, path: str, vendor: str, number: str, *, interface: str = "ff", **texts: str) -> Path:
        """Write a device as the kernel lays it out: a directory of its own, and a link to it on the bus."""
        real = self.roots.sys / "devices/platform/usb1" / path
        (real / f"{path}:1.0").mkdir(parents=True)
        for name, text in {"idVendor": vendor, "idProduct": number, **texts}.items():
            (real / name).write_text(f"{text}\n")
        (real / f"{path}:1.0/bInterfaceClass").write_text(f"{interface}\n")
        bus = self.roots.sys / "bus/usb/devices"
        (bus / path).symlink_to(real)
        (bus / f"{path}:1.0").symlink_to(real / f"{path}:1.0")
        return real

    def tty(self, name: str, device: Path, lasting: str = "") -> None:
        (self.roots.dev / name).touch()
        port = device / f"{device.name}:1.0" / name
        port.mkdir()
        (self.roots.sys / "class/tty" / name).mkdir()
        (self.roots.sys / "class/tty" / name / "device").symlink_to(port)
        if lasting:
            (self.roots.dev / "serial/by-id" / lasting).symlink_to(self.roots.dev / name)

    def finds(self) -> list[Found]:
        return look_around(self.roots)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def check(text: str, tmp_path: Path):
    return loads(text.encode(), tmp_path / "found.yaml", kinds())


def test_serial_devices_are_named_by_what_lasts(machine: Machine) -> None:
    machine.tty("ttyUSB0", machine.usb("1-1", "1a86", "7523", product="USB Serial"), "usb-1a86_USB_Serial-if00")
    machine.tty("ttyACM0", machine.usb("1-2", "0c2e", "0b61", product="1900"), "usb-Honeywell_1900-if00")
    scanner, relay = sorted(machine.finds(), key=lambda found: found.driver, reverse=True)
    assert (scanner.driver, scanner.sure) == ("serial-scanner", "likely")
    assert scanner.options == {"port": str(machine.roots.dev / "serial/by-id/usb-Honeywell_1900-if00")}
    assert (relay.driver, relay.sure) == ("lcus", "possible"), "a CH340 is in many things"


def test_a_port_without_a_lasting_name_says_so(machine: Machine) -> None:
    machine.tty("ttyUSB3", machine.usb("1-1", "0403", "6001"))
    (found,) = machine.finds()
    assert found.hint == "this name can change at every start"
    by_path = machine.roots.dev / "serial/by-path"
    by_path.mkdir()
    (by_path / "platform-usb-0:1.2").symlink_to(machine.roots.dev / "ttyUSB3")
    (found,) = machine.finds()
    assert found.options == {"port": str(by_path / "platform-usb-0:1.2")}


def test_usb_devices_are_told_by_their_numbers_and_classes(machine: Machine, tmp_path: Path) -> None:
    machine.usb("1-1.2", "16c0", "05df", interface="03", product="USBRelay4")
    machine.usb("1-1.3", "072f", "2200", interface="0b", product="ACR122U")
    machine.usb("1-1.4", "04b8", "0e15", interface="07", product="TM-T20II", serial="J1234")
    machine.usb("1-1.5", "1d6b", "0002", interface="09", product="Hub")
    relay, reader, printer = machine.finds()
    assert (relay.driver, relay.sure, relay.options) == ("hid-relay", "certain", {"usb_path": "1-1.2", "channels": 4})
    assert (reader.driver, reader.options) == ("nfcpy", {"connect": "usb:1-1.3"})
    assert (printer.driver, printer.options) == ("escpos", {"connect": "usb://04b8:0e15/J1234"})
    found = check(as_yaml(machine.finds()), tmp_path)
    assert found.devices["hid-relay-1"].options.channels == 4


def test_a_keyboard_is_a_guess_unless_its_maker_makes_scanners(machine: Machine, tmp_path: Path) -> None:
    for path, vendor, texts in (
        ("1-1", "0c2e", {"product": "Voyager 1250g", "serial": "A 1"}),
        ("1-2", "046d", {"manufacturer": "Logitech", "product": "Keyboard K120", "serial": "K120"}),
        ("1-3", "1eab", {"manufacturer": "Netum", "product": "Barcode Reader"}),
    ):
        interface = machine.usb(path, vendor, "0022", interface="03", **texts) / f"{path}:1.0"
        (interface / "bInterfaceSubClass").write_text("01\n")
        (interface / "bInterfaceProtocol").write_text("01\n")
    mouse = machine.usb("1-4", "0c2e", "0033", interface="03") / "1-4:1.0"
    (mouse / "bInterfaceProtocol").write_text("02\n")
    assert [(found.sure, found.options) for found in machine.finds()] == [
        ("likely", {"port": "usb://0c2e:0022/port=1-1"}),
        ("possible", {"port": "usb://046d:0022/K120"}),
        ("likely", {"port": "usb://1eab:0022/port=1-3"}),
    ]
    found = check(as_yaml(machine.finds()), tmp_path)
    assert [one.options.usb_kind for one in found.devices.values()] == [(0x0C2E, 0x22), (0x1EAB, 0x22)]


def test_guesses_and_what_nobody_drives_are_comments(machine: Machine, tmp_path: Path) -> None:
    machine.tty("ttyUSB0", machine.usb("1-1", "0403", "6001", product="FT232R"), "usb-FTDI_FT232R_A9X-if00")
    (machine.roots.dev / "gpiochip0").touch()
    text = as_yaml(machine.finds())
    assert "# rdm6300-1: {driver: rdm6300" in text
    assert "GPIO chip" in text
    assert check(text, tmp_path).devices == {}


def test_an_evil_name_stays_in_its_comment(machine: Machine, tmp_path: Path) -> None:
    machine.usb("1-1", "16c0", "05df", product="USBRelay2\ndevices: {x: {driver: lcus}}\x1b[2J")
    text = as_yaml(machine.finds())
    assert "\x1b" not in text
    assert set(check(text, tmp_path).devices) <= {"hid-relay-1"}


def test_an_empty_machine_is_a_configuration_too(machine: Machine, tmp_path: Path) -> None:
    assert machine.finds() == []
    assert check(as_yaml([]), tmp_path).devices == {}
    assert list(usb_devices(tmp_path / "nothing")) == []


async def serve(answer: bytes):
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "driver", "sure"), [(b"\x12", "escpos", "certain"), (b"SSH-2.0", "", "possible"), (b"", "", "possible")]
)
async def test_a_printer_on_the_network_answers_as_one(answer: bytes, driver: str, sure: str) -> None:
    server, port = await serve(answer)
    async with server:
        (found,) = await ask_addresses([f"127.0.0.1:{port}"])
    assert (found.driver, found.sure, found.where) == (driver, sure, f"tcp://127.0.0.1:{port}")


async def test_an_address_at_which_nothing_answers_is_told() -> None:
    (found,) = await ask_addresses(["127.0.0.1:1"])
    assert found.what == "nothing answers"
    assert "# certain: nothing answers (check its power" in as_yaml([found])

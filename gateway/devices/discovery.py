"""What is attached to this computer, by looking only.

Names under /dev, descriptions under /sys, and answers to questions that move nothing. Each find says what it is, how
sure that is, and how the configuration would name it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from drivers.transports.usb_address import address_of, serial_text

Sure = Literal["certain", "likely", "possible"]


class Found(msgspec.Struct, frozen=True):
    """One thing that is attached. `driver` is empty for what no driver of ours speaks to."""

    what: str
    where: str
    sure: Sure
    driver: str = ""
    options: dict[str, Any] = {}
    hint: str = ""


class Roots(msgspec.Struct, frozen=True):
    """Where the system's descriptions are; a test has its own."""

    dev: Path = Path("/dev")
    sys: Path = Path("/sys")


class UsbDevice(msgspec.Struct, frozen=True):
    """One USB device as sysfs describes it; `path` is such as `1-1.2`."""

    path: str
    vendor: int
    product: int
    name: str = ""
    maker: str = ""
    serial: str = ""
    classes: frozenset[int] = frozenset()
    is_keyboard: bool = False

    @property
    def id(self) -> str:
        """Vendor and product as lsusb shows them."""
        return f"{self.vendor:04x}:{self.product:04x}"

    @property
    def address(self) -> str:
        """Its lasting name for what is spoken to directly: by its serial number, else by its socket."""
        return address_of(self.id, self.serial, self.path)


class _Known(msgspec.Struct, frozen=True):
    driver: str
    sure: Sure
    what: str
    hint: str = ""


_SERIAL = {
    (0x09D8, 0x0420): _Known("twn4", "likely", "Elatec TWN4", "with the Simple Protocol firmware"),
    (0x0C2E, None): _Known("serial-scanner", "likely", "Honeywell scanner"),
    (0x05E0, None): _Known("serial-scanner", "likely", "Zebra scanner"),
    (0x05F9, None): _Known("serial-scanner", "likely", "Datalogic scanner"),
    (0x04B8, None): _Known("escpos", "likely", "Epson receipt printer"),
    (0x0519, None): _Known("escpos", "possible", "Star receipt printer", "in its ESC/POS emulation"),
    (0x1A86, None): _Known("lcus", "possible", "CH340 adapter", "as on LCUS relays and on many other things"),
    (0x0403, None): _Known("rdm6300", "possible", "FTDI adapter", "whatever is wired to it"),
    (0x10C4, None): _Known("rdm6300", "possible", "CP210x adapter", "whatever is wired to it"),
    (0x067B, None): _Known("rdm6300", "possible", "PL2303 adapter", "whatever is wired to it"),
}
_USB = {
    (0x072F, 0x2200): _Known("nfcpy", "likely", "ACR122U", "not while pcscd serves it"),
    (0x054C, 0x06C1): _Known("nfcpy", "certain", "Sony RC-S380"),
    (0x054C, 0x06C3): _Known("nfcpy", "certain", "Sony RC-S380"),
    (0x04CC, 0x2533): _Known("nfcpy", "likely", "PN533 reader"),
    (0x04E6, 0x5591): _Known("nfcpy", "likely", "SCL3711"),
}
_HID_RELAY = (0x16C0, 0x05DF)
_PRINTER_CLASS = 0x07
_SCANNER_MAKERS = frozenset({0x0C2E, 0x05E0, 0x05F9})
"""Honeywell, Zebra and Datalogic, who make no keyboards."""
_SCANNER = re.compile(r"scan|barcode|honeywell|datalogic|zebra|symbol", re.IGNORECASE)


def look_around(roots: Roots) -> list[Found]:
    """Return everything found under `roots`, in a lasting order."""
    usb = list(usb_devices(roots.sys))
    return [*serial_ports(roots, usb), *usb_finds(usb), *line_printers(roots), *gpio_chips(roots)]


def usb_devices(sys: Path) -> Iterator[UsbDevice]:
    """Yield every USB device that sysfs knows."""
    folder = sys / "bus/usb/devices"
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        vendor, product = _hex(entry / "idVendor"), _hex(entry / "idProduct")
        if vendor is None or product is None:
            continue
        interfaces = sorted(folder.glob(f"{entry.name}:*"))
        classes = {number for one in interfaces if (number := _hex(one / "bInterfaceClass")) is not None}
        yield UsbDevice(
            entry.name,
            vendor,
            product,
            _text(entry / "product"),
            _text(entry / "manufacturer"),
            serial_text(_text(entry / "serial")),
            frozenset(classes),
            any(_is_keyboard(one) for one in interfaces),
        )


def _is_keyboard(interface: Path) -> bool:
    """Return True for what types without a driver of its own: HID 1.11, 4.2 and 4.3."""
    names = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
    return tuple(_hex(interface / name) for name in names) == (3, 1, 1)


def serial_ports(roots: Roots, usb: list[UsbDevice]) -> Iterator[Found]:
    """Yield the serial ports that have a lasting name, and those that have none."""
    by_id = roots.dev / "serial/by-id"
    named = sorted(by_id.iterdir()) if by_id.is_dir() else []
    lasting = {path.resolve().name: path for path in named}
    for path in named:
        yield _serial(str(path), _behind(roots.sys, path.resolve().name, usb))
    for path in sorted([*roots.dev.glob("ttyUSB*"), *roots.dev.glob("ttyACM*")]):
        if path.name not in lasting:
            by_path = _by_path(roots.dev, path)
            found = _serial(by_path or str(path), _behind(roots.sys, path.name, usb))
            yield found if by_path else msgspec.structs.replace(found, hint="this name can change at every start")
    for path in (roots.dev / "serial0", roots.dev / "ttyAMA0"):
        if path.exists():
            yield Found("built-in serial port", str(path), "possible", "rdm6300", {"port": str(path)})
            return


def usb_finds(usb: list[UsbDevice]) -> Iterator[Found]:
    """Yield the USB devices that are spoken to directly."""
    for device in usb:
        known = _USB.get((device.vendor, device.product))
        where = f"USB {device.id} at {device.path}"
        if (device.vendor, device.product) == _HID_RELAY:
            yield _hid_relay(device, where)
        elif known is not None:
            options = {"connect": f"usb:{device.path}"}
            yield Found(known.what, where, known.sure, known.driver, options, known.hint)
        elif _PRINTER_CLASS in device.classes:
            options = {"connect": device.address}
            yield Found(device.name or "USB printer", where, "likely", "escpos", options, "if it speaks ESC/POS")
        elif device.is_keyboard:
            yield _keyboard(device, where)


def line_printers(roots: Roots) -> Iterator[Found]:
    """Yield printers that the kernel's own driver holds."""
    for path in sorted((roots.dev / "usb").glob("lp*")):
        hint = "the same printer may stand here by its USB name, which lasts"
        yield Found("printer", str(path), "possible", "escpos", {"connect": f"lp://{path}"}, hint)


def gpio_chips(roots: Roots) -> Iterator[Found]:
    """Yield the GPIO chips; which lines are free is for the technician to say."""
    for path in sorted(roots.dev.glob("gpiochip*")):
        hint = "name its lines by relay_lines and input_lines"
        yield Found("GPIO chip", str(path), "certain", "", {}, hint)


def pcsc_readers() -> Iterator[Found]:
    """Yield the readers that pcscd serves; none where pyscard or pcscd is missing."""
    try:
        from smartcard.System import readers  # noqa: PLC0415 - an extra that need not be installed

        names = [str(reader) for reader in readers()]
    except Exception:  # noqa: BLE001 - pyscard raises what pcscd and its own C part give it
        return
    for name in names:
        yield Found("PC/SC reader", name, "certain", "pcsc", {"reader": name[:128]})


def _serial(port: str, device: UsbDevice | None) -> Found:
    if device is None:
        return Found("serial port", port, "possible", "rdm6300", {"port": port})
    known = _SERIAL.get((device.vendor, device.product)) or _SERIAL.get((device.vendor, None))
    name = device.name or "serial adapter"
    if known is None:
        return Found(f"{name} ({device.id})", port, "possible", "rdm6300", {"port": port})
    key = "connect" if known.driver == "escpos" else "port"
    value = f"serial://{port}" if known.driver == "escpos" else port
    what = known.what if not device.name else f"{known.what}: {device.name}"
    return Found(what, port, known.sure, known.driver, {key: value}, known.hint)


def _hid_relay(device: UsbDevice, where: str) -> Found:
    match = re.fullmatch(r"(?:USB|HID)Relay([1-8])?", device.name.strip())
    channels = int(match[1] or 1) if match else 1
    options = {"usb_path": device.path, "channels": channels}
    sure: Sure = "certain" if match else "possible"
    return Found(f"USB relay board {device.name}".strip(), where, sure, "hid-relay", options)


def _keyboard(device: UsbDevice, where: str) -> Found:
    """A keyboard that may be a scanner: a person's looks the same, and would then type no more."""
    what = " ".join(filter(None, (device.maker, device.name))) or "keyboard or scanner"
    sure: Sure = "likely" if device.vendor in _SCANNER_MAKERS or _SCANNER.search(what) else "possible"
    return Found(what, where, sure, "wedge", {"port": device.address}, "a person's keyboard looks the same")


def _behind(sys: Path, tty: str, usb: list[UsbDevice]) -> UsbDevice | None:
    """Return the USB device that a tty belongs to: the nearest directory above it that is one."""
    try:
        here = (sys / "class/tty" / tty / "device").resolve(strict=True)
    except OSError:
        return None
    names = {device.path: device for device in usb}
    return next((names[part.name] for part in (here, *here.parents) if part.name in names), None)


def _by_path(dev: Path, port: Path) -> str:
    folder = dev / "serial/by-path"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.resolve() == port.resolve():
            return str(path)
    return ""


def _hex(path: Path) -> int | None:
    try:
        return int(path.read_text().strip(), 16)
    except (OSError, ValueError):
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""

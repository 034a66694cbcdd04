"""`venue-gateway scanners`: USB scanners that type are taken from the kernel, so that their keys reach no console.

Two files do it. A udev rule lets the gateway open the scanner, and unbinds the kernel's driver from it at once where
that has it. The kernel's own command line (`usbhid.quirks`, flag 4: ignore) keeps that driver off from the first moment
of the next start on, before any program runs: then no key of the scanner exists outside of the gateway, whether that
runs, has crashed or is stopped.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from gateway.config.schema import Configuration
from gateway.ops.findings import Finding, bad, ok, warning

OK, REFUSED = 0, 1
PARAMETER = "usbhid.quirks"
IGNORE = 4
"""HID_QUIRK_IGNORE of the kernel's include/linux/hid.h."""
QUIRKS_MAX = 4
"""MAX_USBHID_BOOT_QUIRKS: with one more, a kernel that has usbhid as a module loads it for no keyboard at all."""
COMMAND_S = 120.0

Kind = tuple[int, int]
"""Vendor and product of a USB device."""

_RULES_HEAD = """\
# Written by `venue-gateway scanners apply`: USB scanners that type. The gateway may open them, the kernel's driver for
# keyboards lets go of them. `venue-gateway scanners release` makes them keyboards again.
ACTION=="remove", GOTO="venue_gateway_scanners_end"
"""
_RULE = """\
SUBSYSTEM=="usb", ENV{{DEVTYPE}}=="usb_device", ATTR{{idVendor}}=="{vendor:04x}", ATTR{{idProduct}}=="{product:04x}", \
GROUP="plugdev", MODE="0660"
SUBSYSTEM=="usb", ENV{{DEVTYPE}}=="usb_interface", DRIVER=="usbhid", ATTRS{{idVendor}}=="{vendor:04x}", \
ATTRS{{idProduct}}=="{product:04x}", ATTR{{driver/unbind}}="$kernel"
"""
_RULES_TAIL = 'LABEL="venue_gateway_scanners_end"\n'
_KIND_IN_RULES = re.compile(r'ATTR\{idVendor\}=="([0-9a-f]{4})", ATTR\{idProduct\}=="([0-9a-f]{4})"')
_GRUB = """\
# Written by `venue-gateway scanners apply`: the kernel leaves the venue's scanners alone.
GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {argument}"
"""


class Places(msgspec.Struct, frozen=True):
    """Where the system keeps what is changed and looked at; a test has its own."""

    rules: Path = Path("/etc/udev/rules.d/71-venue-gateway-scanners.rules")
    command_lines: tuple[Path, ...] = (Path("/boot/firmware/cmdline.txt"), Path("/boot/cmdline.txt"))
    """Raspberry Pi OS from 12 on, and before; one line."""
    grub: Path = Path("/etc/default/grub")
    grub_file: Path = Path("/etc/default/grub.d/venue-gateway-scanners.cfg")
    in_force: Path = Path("/sys/module/usbhid/parameters/quirks")
    booted_with: Path = Path("/proc/cmdline")


Run = Callable[[Sequence[str]], bool]
Say = Callable[[str], None]


class Quirk(msgspec.Struct, frozen=True):
    """One exception that the kernel makes for a USB device of class HID, as its parameter writes it."""

    kind: Kind
    flags: int

    def __str__(self) -> str:
        return f"0x{self.kind[0]:04x}:0x{self.kind[1]:04x}:0x{self.flags:04x}"


def read_quirks(text: str) -> list[Quirk]:
    """Return the quirks of the parameter's value, as on a command line or in /sys; what is none is left out."""
    found = re.findall(r"(?<![0-9a-zA-Z])0x([0-9a-f]{1,4}):0x([0-9a-f]{1,4}):0x([0-9a-f]{1,8})", text, re.IGNORECASE)
    return [Quirk((int(vendor, 16), int(product, 16)), int(flags, 16)) for vendor, product, flags in found]


def scanners_of(configuration: Configuration) -> dict[str, Kind | None]:
    """Return the scanners that type, each with its USB kind; None for one that is read as the kernel's keyboard."""
    devices = configuration.devices.values()
    return {one.name: getattr(one.options, "usb_kind", None) for one in devices if one.driver == "wedge"}


def apply(kinds: Iterable[Kind], places: Places | None = None, *, run: Run | None = None, say: Say = print) -> int:
    """Take exactly these kinds of scanner from the kernel, and give back others that once were; returns the status.

    Raises PermissionError where this is not root.
    """
    places, run = places or Places(), run or _run
    wanted = sorted(set(kinds))
    before = _kinds_in_rules(places.rules)
    if wanted:
        _write(places.rules, _rules_text(wanted))
    else:
        places.rules.unlink(missing_ok=True)
    told = run(["udevadm", "control", "--reload"]) and run(["udevadm", "trigger", "--settle", "--subsystem-match=usb"])
    for vendor, product in wanted:
        since = "from now on" if told else "once this computer was restarted: udevadm did not succeed"
        say(f"{vendor:04x}:{product:04x} types on no console {since}; the gateway may read it.")
    for vendor, product in sorted(set(before) - set(wanted)):
        say(f"{vendor:04x}:{product:04x} is a keyboard again once it was plugged out and in after a restart.")
    return _tell_kernel(wanted, before, places, run, say)


def _tell_kernel(wanted: list[Kind], before: list[Kind], places: Places, run: Run, say: Say) -> int:
    """See to the kernel's command line: the file of a Raspberry Pi, or GRUB's."""
    file = next((path for path in places.command_lines if path.is_file()), None)
    if file is not None:
        line = file.read_text()
        foreign = [one for one in read_quirks(_value(line)) if one.kind not in {*wanted, *before}]
        if (fresh := _with_value(line, _value_of(wanted, foreign, say))) != line:
            _write(file, fresh)
    elif places.grub.is_file():
        if PARAMETER in places.grub.read_text():
            value = _value_of(wanted, [], say)
            say(f"{places.grub} has a {PARAMETER} of its own, and the kernel takes one: add to that {value}")
            return REFUSED
        if not _write_grub(wanted, places, run, say):
            return REFUSED
    elif wanted:
        argument = f"{PARAMETER}={_value_of(wanted, [], say)}"
        say(f"This computer starts in a way not known here. Add to its kernel's command line: {argument}")
        return REFUSED
    in_force = {one.kind for one in read_quirks(_read(places.in_force)) if one.flags & IGNORE}
    if set(wanted) != in_force & {*wanted, *before}:
        say("Restart this computer once: from then on the kernel does so from its first moment.")
    return OK


def _write_grub(wanted: list[Kind], places: Places, run: Run, say: Say) -> bool:
    value = _value_of(wanted, [], say)
    if value:
        _write(places.grub_file, _GRUB.format(argument=f"{PARAMETER}={value}"))
    elif places.grub_file.exists():
        places.grub_file.unlink()
    else:
        return True
    if not run(["update-grub"]):
        say("update-grub did not succeed: run 'sudo update-grub' and read what it says")
        return False
    return True


def _value_of(wanted: list[Kind], foreign: list[Quirk], say: Say) -> str:
    quirks = [*foreign, *(Quirk(kind, IGNORE) for kind in wanted)]
    for one in quirks[QUIRKS_MAX:]:
        say(f"{one}: the kernel takes {QUIRKS_MAX} of these and no more, so only the udev rule is in force for it")
    return ",".join(map(str, quirks[:QUIRKS_MAX]))


def _value(line: str) -> str:
    """Return the parameter's value on a command line; of several the last, which is the one in force."""
    found = re.findall(rf"(?:^|\s){re.escape(PARAMETER)}=(\S*)", line)
    return found[-1] if found else ""


def _with_value(line: str, value: str) -> str:
    """Return a command line with this value of the parameter, and everything else as it was."""
    first, newline, rest = line.partition("\n")
    kept = re.sub(rf"(^|[ \t]+){re.escape(PARAMETER)}=\S*", "", first).rstrip()
    return f"{kept} {PARAMETER}={value}".lstrip() + newline + rest if value else kept + newline + rest


def _rules_text(kinds: Iterable[Kind]) -> str:
    rules = [_RULE.format(vendor=vendor, product=product) for vendor, product in kinds]
    return "".join([_RULES_HEAD, *rules, _RULES_TAIL])


def _kinds_in_rules(file: Path) -> list[Kind]:
    return [(int(vendor, 16), int(product, 16)) for vendor, product in _KIND_IN_RULES.findall(_read(file))]


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _write(file: Path, text: str) -> None:
    """Replace a file at once, and write it through to the disk before that.

    On the FAT of a Raspberry Pi's boot partition no more can be done; elsewhere the old file or the new one is there.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f"{file.name}.new")
    with fresh.open("w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _run(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, check=False, timeout=COMMAND_S).returncode == 0  # noqa: S603 - our own words
    except (OSError, subprocess.TimeoutExpired):
        return False


def check_scanners(configuration: Configuration, places: Places | None = None) -> list[Finding]:
    """Doctor's look at the scanners that type: whether anything but the gateway can get their keys."""
    places = places or Places()
    # Until there is a keyboard to serve, a kernel with usbhid as a module has not loaded it.
    told = _read(places.in_force) or _value(_read(places.booted_with))
    ignored = {one.kind for one in read_quirks(told) if one.flags & IGNORE}
    ruled = set(_kinds_in_rules(places.rules))
    return [_judge(name, kind, ignored, ruled) for name, kind in scanners_of(configuration).items()]


def _judge(name: str, kind: Kind | None, ignored: set[Kind], ruled: set[Kind]) -> Finding:
    check = f"scanner {name}"
    if kind is None:
        do = (
            "name it by its USB address, as `venue-gateway discover` does; if it is on no USB, see hardware/scanners.md"
        )
        return warning(check, "while the gateway does not hold it, what it types reaches the console", do)
    if kind in ignored and kind in ruled:
        return ok(check, "what it types reaches no console: the kernel leaves it alone")
    if kind in ruled:
        return warning(
            check,
            "until udev runs at a start, what it types reaches the console",
            "restart this computer once; if you have, run `sudo venue-gateway scanners apply` and read what it says",
        )
    return bad(
        check, "the kernel may take it for a keyboard, and the gateway not open it", "sudo venue-gateway scanners apply"
    )

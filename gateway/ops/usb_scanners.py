"""USB scanners that type are taken from the kernel.

Two files do it. A udev rule lets the gateway open the scanner, and unbinds the kernel's driver from it at once where
that has it. The kernel's own command line (`usbhid.quirks`, flag 4: ignore) keeps that driver off from the first moment
of the next start on, before any program runs: then no key of the scanner exists outside of the gateway, whether that
runs, has crashed or is stopped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from gateway.ops.findings import Finding, bad, ok, warning
from gateway.ops.system_files import Run, Say, read_file, replace_file

OK, REFUSED = 0, 1
PARAMETER = "usbhid.quirks"
IGNORE = 4
"""HID_QUIRK_IGNORE of the kernel's include/linux/hid.h."""
QUIRKS_MAX = 4
"""MAX_USBHID_BOOT_QUIRKS: with one more, a kernel that has usbhid as a module loads it for no keyboard at all."""

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
    grub_made: Path = Path("/boot/grub/grub.cfg")
    """What update-grub makes of the two, and the computer starts with."""
    in_force: Path = Path("/sys/module/usbhid/parameters/quirks")
    booted_with: Path = Path("/proc/cmdline")


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


class _Told(msgspec.Struct, frozen=True):
    """What became of the kernel's command line."""

    status: int
    kinds: tuple[Kind, ...] = ()
    """Those of the wanted kinds that it now has."""
    stays: bool = False
    """Whether what had to go from it is still there."""


def apply(kinds: Iterable[Kind], places: Places, *, run: Run, say: Say) -> int:
    """Take exactly these kinds of scanner from the kernel, and give back others that once were; returns the status.

    Raises OSError where a file cannot be changed; what came before stays then, so that another try finds it.
    """
    wanted = sorted(set(kinds))
    before = _kinds_in_rules(places.rules)
    try:
        told = _tell_kernel(wanted, before, places, run, say)
    except OSError:
        _tell_udev(sorted({*wanted, *before}), before, places, run, say)
        raise
    _tell_udev(sorted({*wanted, *before}) if told.stays else wanted, before, places, run, say)
    ignored = _ignored(places)
    if told.status == OK and set(told.kinds) != ignored & {*told.kinds, *before}:
        say("Restart this computer once: from then on the kernel does so from its first moment.")
    return told.status


def _tell_udev(wanted: list[Kind], before: list[Kind], places: Places, run: Run, say: Say) -> None:
    if wanted:
        replace_file(places.rules, _rules_text(wanted))
    elif before:
        places.rules.unlink(missing_ok=True)
    else:
        return
    told = run(["udevadm", "control", "--reload"]) and run(["udevadm", "trigger", "--settle", "--subsystem-match=usb"])
    for vendor, product in wanted:
        since = "from now on" if told else "once this computer was restarted: udevadm did not succeed"
        say(f"{vendor:04x}:{product:04x} types on no console {since}; the gateway may read it.")
    for vendor, product in sorted(set(before) - set(wanted)):
        say(f"{vendor:04x}:{product:04x} is a keyboard again once it was plugged out and in after a restart.")


def _tell_kernel(wanted: list[Kind], before: list[Kind], places: Places, run: Run, say: Say) -> _Told:
    """See to the kernel's command line: the file of a Raspberry Pi, or GRUB's."""
    file = next((path for path in places.command_lines if path.is_file()), None)
    if file is not None:
        return _write_line(file, wanted, before, say)
    if places.grub.is_file():
        return _write_grub(wanted, before, places, run, say)
    if wanted:
        argument = f"{PARAMETER}={_value_of(_fitting(wanted, [], say))}"
        say(f"This computer starts in a way not known here. Add to its kernel's command line: {argument}")
    elif before:
        say(f"This computer starts in a way not known here. Take {PARAMETER} out of its kernel's command line.")
    return _Told(REFUSED if wanted or before else OK)


def _write_line(file: Path, wanted: list[Kind], before: list[Kind], say: Say) -> _Told:
    line = file.read_text()
    if not line.partition("\n")[0].strip():
        say(f"{file} begins with an empty line, and the first is the kernel's: mend it, and run this again.")
        return _Told(REFUSED, stays=True)
    foreign = [one for one in read_quirks(_value(line)) if one.kind not in {*wanted, *before}]
    for one in foreign:
        if one.flags & IGNORE:
            say(f"{one} stays in {file}: this did not write it. The kernel ignores that device.")
    fitting = _fitting(wanted, foreign, say)
    if (fresh := _with_value(line, _value_of(fitting))) != line:
        replace_file(file, fresh)
    return _Told(OK, tuple(one.kind for one in fitting if one.kind in wanted))


def _write_grub(wanted: list[Kind], before: list[Kind], places: Places, run: Run, say: Say) -> _Told:
    own = _own_of_grub(places.grub)
    if own is not None:
        return _leave_to_person(own, wanted, before, places, say)
    fitting = _fitting(wanted, [], say)
    argument = f"{PARAMETER}={_value_of(fitting)}" if fitting else ""
    text = _GRUB.format(argument=argument) if argument else ""
    made = read_file(places.grub_made)
    if read_file(places.grub_file) == text and (argument in made if argument else PARAMETER not in made):
        return _Told(OK, tuple(wanted[:QUIRKS_MAX]))
    if text:
        replace_file(places.grub_file, text)
    else:
        places.grub_file.unlink(missing_ok=True)
    if not run(["update-grub"]):
        say(
            "update-grub did not succeed, so the next start is as before: run 'sudo update-grub', mend what it "
            "says, and run this again."
        )
        return _Told(REFUSED, stays=True)
    return _Told(OK, tuple(one.kind for one in fitting))


def _own_of_grub(grub: Path) -> list[Quirk] | None:
    """Return the quirks that somebody has given GRUB himself; None where its file does not speak of the parameter."""
    lines = [line for line in read_file(grub).splitlines() if PARAMETER in line and not line.lstrip().startswith("#")]
    return read_quirks(" ".join(lines)) if lines else None


def _leave_to_person(own: list[Quirk], wanted: list[Kind], before: list[Kind], places: Places, say: Say) -> _Told:
    """GRUB's file has the parameter already. The kernel takes one, so whoever wrote that has to change it."""
    ignored = {one.kind for one in own if one.flags & IGNORE}
    add = [Quirk(kind, IGNORE) for kind in wanted if kind not in ignored]
    drop = [Quirk(kind, IGNORE) for kind in before if kind in ignored and kind not in wanted]
    if places.grub_file.exists():
        places.grub_file.unlink()
    words = [f"add {_value_of(add)}"] * bool(add) + [f"take out {_value_of(drop)}"] * bool(drop)
    if words:
        say(
            f"{places.grub} has a {PARAMETER} of its own, and the kernel takes one: there {' and '.join(words)}, then "
            "run 'sudo update-grub', and this again."
        )
    return _Told(REFUSED if words else OK, tuple(kind for kind in wanted if kind in ignored), stays=bool(drop))


def _fitting(wanted: list[Kind], foreign: list[Quirk], say: Say) -> list[Quirk]:
    quirks = [*foreign, *(Quirk(kind, IGNORE) for kind in wanted)]
    for one in quirks[QUIRKS_MAX:]:
        say(f"{one}: the kernel takes {QUIRKS_MAX} of these and no more, so only the udev rule is in force for it")
    return quirks[:QUIRKS_MAX]


def _value_of(quirks: list[Quirk]) -> str:
    return ",".join(map(str, quirks))


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
    return [(int(vendor, 16), int(product, 16)) for vendor, product in _KIND_IN_RULES.findall(read_file(file))]


def _ignored(places: Places) -> set[Kind]:
    """Return the kinds that the running kernel leaves alone."""
    # Until there is a keyboard to serve, a kernel with usbhid as a module has not loaded it.
    told = read_file(places.in_force) or _value(read_file(places.booted_with))
    return {one.kind for one in read_quirks(told) if one.flags & IGNORE}


def check(kinds: Mapping[str, Kind], places: Places) -> list[Finding]:
    """Doctor's look at these scanners."""
    ignored, ruled = _ignored(places), set(_kinds_in_rules(places.rules))
    return [_judge(f"scanner {name}", kind, ignored, ruled) for name, kind in kinds.items()]


def _judge(check: str, kind: Kind, ignored: set[Kind], ruled: set[Kind]) -> Finding:
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

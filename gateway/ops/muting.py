"""Scanners that the kernel reads as its own keyboards (Bluetooth, PS/2): their keys are given numbers of the gateway's.

A udev rule does it as soon as the input device is there, for each button that the device has: `scanners apply` asks the
device for them, so it has to be connected then. From there on no console and no desktop knows its keys, whether the
gateway runs, has crashed or is stopped.
"""

from __future__ import annotations

import os
import re
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from drivers.transports import keymap
from drivers.transports.keymap import NO_KEY, Button, is_heard, key_of, muted, read_keymap
from gateway.ops.findings import Finding, bad, ok, warning
from gateway.ops.system_files import Run, Say, read_file, replace_file

OK, REFUSED = 0, 1
_PS2 = 0x11
"""BUS_I8042 of include/uapi/linux/input.h. Whoever is on such a port shares its numbers with every other one."""
_HEAD = """\
# Written by `venue-gateway scanners apply`: scanners that the kernel reads as keyboards. Their keys get numbers that no
# console and no desktop knows. `venue-gateway scanners release` makes them keyboards again.
ACTION=="remove", GOTO="venue_gateway_muted_end"
SUBSYSTEM!="input", GOTO="venue_gateway_muted_end"
KERNEL!="event*", GOTO="venue_gateway_muted_end"
"""
_TAIL = 'LABEL="venue_gateway_muted_end"\n'
_PORT = "# port: "
_MARK = "{.VENUE_GATEWAY_SCANNER}"
_PORT_TEXT = re.compile(r"/dev/[\w:.@+/-]+", re.ASCII)
"""A port is written into rules that root obeys, so whatever has a meaning there is refused."""
_BUTTONS_A_LINE = 8


class Places(msgspec.Struct, frozen=True):
    """Where the system keeps what is changed and looked at; a test has its own."""

    rules: Path = Path("/etc/udev/rules.d/71-venue-gateway-keyboards.rules")
    devices: Path = Path("/sys/class/input")


class Node(msgspec.Struct, frozen=True):
    """One input device of the kernel, as /sys describes it. A scanner may be several."""

    event: str
    bus: int
    vendor: int
    product: int
    name: str
    place: str
    """Where it is attached (`phys`)."""
    unique: str
    """Its Bluetooth address or serial number; often empty."""
    parent: Path
    keys: int
    """How many keys it says that it has."""
    types: bool
    """Whether any of them is a console's."""


ReadButtons = Callable[[str], list[Button]]


def read_buttons(event: str) -> list[Button]:
    """Return the buttons of /dev/input/EVENT; raises OSError."""
    file = f"/dev/input/{event}"
    fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return read_keymap(fd)
    except OSError as error:
        raise OSError(error.errno, error.strerror, file) from error
    finally:
        os.close(fd)


def apply(ports: Iterable[str], places: Places, *, run: Run, say: Say, buttons: ReadButtons) -> int:
    """Mute exactly the scanners behind these input devices, and give back others that once were; returns the status.

    Raises OSError where the rules cannot be written.
    """
    before = _sections(read_file(places.rules))
    fresh: dict[str, str] = {}
    nodes: dict[str, list[Node]] = {}
    for port in dict.fromkeys(ports):
        nodes[port] = find_nodes(Path(port), places.devices) if _PORT_TEXT.fullmatch(port) else []
        if nodes[port]:
            fresh[port] = _section(port, nodes[port], buttons)
        elif port in before:
            fresh[port] = before[port]
    _write(fresh, places.rules)
    if not fresh and not before:
        told = True
    else:
        told = run(["udevadm", "control", "--reload"])
        events = [f"/sys/class/input/{node.event}" for found in nodes.values() for node in found]
        told = told and (not events or run(["udevadm", "trigger", "--settle", *events]))
    for port in before.keys() - fresh.keys():
        say(f"{port} is a keyboard again once it was connected anew, or this computer was restarted.")
    done = [
        _tell(port, found, told=told, known=port in before, say=say, buttons=buttons) for port, found in nodes.items()
    ]
    return OK if all(done) else REFUSED


def _tell(port: str, nodes: list[Node], *, told: bool, known: bool, say: Say, buttons: ReadButtons) -> bool:
    """Say what became of a scanner, as its input devices tell it and not as was intended."""
    if not nodes and known:
        say(f"{port} is not connected now; what was written for it before stays.")
        return True
    if not _PORT_TEXT.fullmatch(port):
        say(f"{port!r} cannot be: an input device has a name under /dev, see `ls /dev/venue /dev/input/by-path`.")
        return False
    if not nodes:
        say(f"{port} is not there: connect the scanner, scan a code to wake it, and run this again.")
        return False
    if not told:
        say(f"{port} still types on the console: udevadm did not succeed. Restart this computer.")
        return False
    found = [button for node in nodes for button in buttons(node.event)]
    left = sum(is_heard(button.key) for button in found)
    if left or not found:
        many = f"{left} of its keys stay" if found else "its keys stay"
        say(f"{port} cannot be read: {many} keys of the console, and this kernel changes them not. Set it to serial.")
        return False
    say(f"{port} types on no console from now on; the gateway may read it.")
    return True


def find_nodes(port: Path, devices: Path) -> list[Node]:
    """Return the input devices of the scanner that `port` names, itself first; none while it is not connected.

    What a scanner has beside the named one is muted with it. Of those that share one table of keys, one is enough.
    """
    event = Path(os.path.realpath(port)).name
    everyone = {node.event: node for node in _nodes(devices)}
    if event not in everyone:
        return []
    named = everyone.pop(event)
    found = [named]
    for node in sorted(everyone.values(), key=lambda one: (-one.keys, one.event)):
        if _is_same_scanner(node, named) and node.keys and all(node.parent != one.parent for one in found):
            found.append(node)
    return found


def _is_same_scanner(node: Node, named: Node) -> bool:
    if named.bus == _PS2:
        return False
    one, other = [(each.bus, each.vendor, each.product, each.unique) for each in (node, named)]
    return one == other


def _nodes(devices: Path) -> Iterator[Node]:
    for path in sorted(devices.glob("event*")):
        attribute = partial(_attribute, path / "device")
        try:
            bus, vendor, product = (int(attribute(f"id/{name}"), 16) for name in ("bustype", "vendor", "product"))
        except ValueError:
            # It was just unplugged.
            continue
        keys = _numbers(attribute("capabilities/key"))
        parent = (path / "device/device").resolve()
        name, place, unique = attribute("name"), attribute("phys"), attribute("uniq")
        yield Node(path.name, bus, vendor, product, name, place, unique, parent, len(keys), any(map(is_heard, keys)))


def _attribute(device: Path, name: str) -> str:
    return read_file(device / name).rstrip()


def _numbers(bitmap: str) -> set[int]:
    """Return the numbers in a bitmap of /sys: the machine's words in hexadecimal, the highest first."""
    bits = 8 * struct.calcsize("L")
    total = 0
    for word in bitmap.split():
        total = total << bits | int(word, 16)
    return {number for number in range(total.bit_length()) if total >> number & 1}


def _section(port: str, nodes: list[Node], buttons: ReadButtons) -> str:
    """Return the rules of one scanner.

    Its keys are set through one input device of each table: what is set through another, this one tells no more.
    """
    lines = [f"{_PORT}{port}"]
    for number, node in enumerate(nodes):
        mark, found = f"{port} {number}", buttons(node.event)
        lines.append(
            f'{_match(node)}, ENV{_MARK}="{mark}", ENV{{LIBINPUT_IGNORE_DEVICE}}="1", TAG-="power-switch", '
            'TAG-="uaccess", RUN{builtin}+="keyboard"'
        )
        keys = _keys(found)
        for start in range(0, len(keys), _BUTTONS_A_LINE):
            some = sorted(keys.items())[start : start + _BUTTONS_A_LINE]
            sets = ", ".join(f'ENV{{KEYBOARD_KEY_{scan_code:x}}}="{key}"' for scan_code, key in some)
            lines.append(f'ENV{_MARK}=="{mark}", {sets}')
        if sum(one.scan_code in keys for one in found) > len(keys):
            lines.append(f'ENV{_MARK}=="{mark}", RUN+="{sys.executable} -I -m {keymap.__name__} $devnode"')
    return "".join(f"{line}\n" for line in [*lines, *_name(port)])


def _keys(buttons: list[Button]) -> dict[int, int]:
    """Return the number that each button is to have, by its scan code; of those that have it already too."""
    keys = {one.scan_code: muted(one.key) for one in reversed(buttons)}
    return {scan_code: key for scan_code, key in keys.items() if key_of(key) or key == NO_KEY}


def _name(port: str) -> list[str]:
    """Return the rule that keeps a name which udev gives keyboards only: to udev it is none any more."""
    found = re.fullmatch(r"/dev/((?:venue|input/by-id|(input/by-path))/([\w:.@+-]+?)(?:-event-kbd)?)", port, re.ASCII)
    if found is None:
        return []
    where = f', ENV{{ID_PATH}}=="{found[3]}"' if found[2] else ""
    return [f'ENV{_MARK}=="{port} 0"{where}, SYMLINK+="{found[1]}"']


def _match(node: Node) -> str:
    """Return what means this input device in a rule: its kind, its name, and which of several as far as that goes."""
    attributes = {
        "id/bustype": f"{node.bus:04x}",
        "id/vendor": f"{node.vendor:04x}",
        "id/product": f"{node.product:04x}",
        # What the device calls itself is the maker's text, and no part of a rule's grammar.
        "name": re.sub(r"[^\w .:()/-]+", "*", node.name, flags=re.ASCII),
    }
    if node.unique:
        attributes["uniq"] = re.sub(r"[^\w.:-]+", "*", node.unique, flags=re.ASCII)
    if node.bus == _PS2:
        attributes["phys"] = re.sub(r"[^\w./-]+", "*", node.place, flags=re.ASCII)
    elif found := re.search(r"/input[0-9]+$", node.place):
        attributes["phys"] = f"*{found[0]}"
    return ", ".join(f'ATTRS{{{name}}}=="{value}"' for name, value in attributes.items())


def _sections(text: str) -> dict[str, str]:
    """Return the rules of each scanner in a file written before, by its port."""
    parts = text.removesuffix(_TAIL).split(_PORT)[1:]
    return {part.partition("\n")[0]: _PORT + part for part in parts}


def _write(sections: dict[str, str], file: Path) -> None:
    if sections:
        replace_file(file, "".join([_HEAD, *sections.values(), _TAIL]))
    else:
        file.unlink(missing_ok=True)


def check(name: str, port: str, places: Places) -> Finding:
    """Doctor's look at one such scanner: whether a console can get its keys."""
    scanner, do = f"scanner {name}", "sudo venue-gateway scanners apply, while the scanner is connected"
    nodes = find_nodes(Path(port), places.devices)
    if any(node.types for node in nodes):
        return bad(scanner, "what it types reaches the console, so it is not read", do)
    if port not in _sections(read_file(places.rules)):
        return bad(scanner, f"{port} is not connected, and nothing is written for when it is", do)
    if not nodes:
        return warning(scanner, f"{port} is not connected; its keys will reach no console", "connect it")
    return ok(scanner, "what it types reaches no console: its keys are the gateway's alone")

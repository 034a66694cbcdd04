"""Finds as a configuration that `check` accepts, with a comment to each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from gateway.devices.discovery import Found
from gateway.devices.registry import DRIVERS, DriverEntry

HEAD = """\
# Written by `venue-gateway discover`. Correct the names, and what is only likely; lines that begin with # are guesses.
venue: {id: my-venue, timezone: Europe/Berlin, currency: EUR}
broker: unix:///run/venue-gateway/mqtt.sock
"""


def as_yaml(finds: Sequence[Found], drivers: Mapping[str, DriverEntry] = DRIVERS) -> str:
    """Return a configuration with every find: devices that are certain or likely, guesses and the rest as comments."""
    lines, taken = [], set[str]()
    for found in finds:
        note = f"{found.sure}: {found.what}" + (f" ({found.hint})" if found.hint else "")
        usable = _usable(found, drivers)
        if not usable:
            lines.append(f"  # {_plain(note)}, {_plain(found.where)}")
            continue
        name = _name(found, taken)
        mark = "# " if found.sure == "possible" else ""
        lines += [f"  # {_plain(note)}", f"  {mark}{name}: {_flow(found)}"]
    listed = any(not line.lstrip().startswith("#") for line in lines)
    return HEAD + ("devices:\n" if listed else "# devices:\n") + "".join(f"{line}\n" for line in lines)


def _usable(found: Found, drivers: Mapping[str, DriverEntry]) -> bool:
    """Return True when the driver is there and takes these options."""
    entry = drivers.get(found.driver)
    if entry is None:
        return False
    try:
        msgspec.convert(found.options, entry.options)
    except msgspec.ValidationError:
        return False
    return True


def _name(found: Found, taken: set[str]) -> str:
    number = 1
    while (name := f"{found.driver}-{number}") in taken:
        number += 1
    taken.add(name)
    return name


def _flow(found: Found) -> str:
    # JSON is YAML; each value in it is quoted where it has to be.
    parts = [f"driver: {found.driver}"]
    parts += [f"{key}: {msgspec.json.encode(value).decode()}" for key, value in found.options.items()]
    return "{" + ", ".join(parts) + "}"


def _plain(text: str) -> str:
    """Return text of a device fit for a comment: one line of printable characters."""
    return re.sub(r"[^\x20-\x7e\xa0-\uffff]", "?", text)[:160]

"""What a device says of the bus it shares, and of an input device's name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.config.checks import KIND_WORDS
from gateway.config.devices import DeviceDraft
from gateway.config.problems import Problems, advice, quote

_UNSTABLE_INPUT = re.compile(r"/dev/input/event[0-9]+")
Devices = Mapping[str, DeviceDraft]


def check_buses(devices: Devices, problems: Problems) -> None:
    """A device that shares a bus names one that exists."""
    buses = [name for name, device in devices.items() if device.kind == "bus"]
    for device in devices.values():
        name = device.get("bus")
        if "bus" not in device.fields or not isinstance(name, str):
            continue
        path, mark = f"devices.{device.name}.bus", device.place("bus")
        hint = advice(name, buses, "add a bus under `devices:`")
        if name not in devices:
            problems.add(mark, path, f"no bus is called {quote(name)}; {hint}")
        elif (kind := devices[name].kind) not in {"bus", None}:
            problems.add(mark, path, f"`{name}` is {KIND_WORDS[kind]}, not a bus; {hint}")


def check_inputs(devices: Devices, problems: Problems) -> None:
    """An input device has a lasting name, as a serial port has."""
    for device in devices.values():
        if (found := _UNSTABLE_INPUT.search(str(device.get("port")))) is not None:
            message = (
                f"{found[0]} can be another device after a restart; usb://VENDOR:PRODUCT lasts (see `venue-gateway "
                "discover`), and for one that is not on USB its name under /dev/input/by-path/"
            )
            problems.warn(device.place("port"), f"devices.{device.name}.port", message)

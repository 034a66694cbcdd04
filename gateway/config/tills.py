"""What a till says of devices and clients: names that must exist, be of the right kind, and be used once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from gateway.config import tree
from gateway.config.checks import KIND_WORDS, Devices, Draft
from gateway.config.problems import Mark, Problems, advice, join, quote


def check_tills(
    tills: Mapping[str, Draft],
    devices: Devices,
    gates: Mapping[str, Draft],
    clients: Mapping[str, Draft],
    problems: Problems,
) -> None:
    """Each till has a name, a drawer and clients of its own; its printer may serve others too."""
    drawers: dict[str, str] = {}
    taken: dict[str, str] = {}
    for till in tills.values():
        if till.name in devices or till.name in gates:
            message = "a device or gate has this name already; every device, gate and till needs its own"
            problems.add(till.mark, join("tills", till.name), message)
        for key in ("drawer", "printer"):
            _check_device(till, key, devices, problems)
        if (drawer := till.text("drawer")) is not None and (
            first := drawers.setdefault(drawer, till.name)
        ) != till.name:
            message = f"`{drawer}` belongs to till `{first}` already; one drawer is counted in one shift"
            problems.add(till.place("drawer"), f"tills.{till.name}.drawer", message)
        _check_clients(till, clients, taken, problems)


def _check_device(till: Draft, key: str, devices: Devices, problems: Problems) -> None:
    name = till.text(key)
    if name is None:
        return
    path, mark = f"tills.{till.name}.{key}", till.place(key)
    known = [device.name for device in devices.values() if device.kind == key]
    if name not in devices:
        hint = advice(name, known, "add it under `devices:`")
        problems.add(mark, path, f"no {key} is called {quote(name)}; {hint}")
    elif (kind := devices[name].kind) not in {key, None}:
        hint = advice(name, known, f"add a {key} under `devices:`")
        problems.add(mark, path, f"`{name}` is {KIND_WORDS[str(kind)]}, not a {key}; {hint}")


def _check_clients(till: Draft, clients: Mapping[str, Draft], taken: dict[str, str], problems: Problems) -> None:
    names = cast("Sequence[str]", till.values.get("clients", ()))
    for index, name in enumerate(names):
        path, mark = f"tills.{till.name}.clients[{index}]", _item_mark(till, index)
        if name not in clients:
            hint = advice(name, list(clients), "add it under `clients:`")
            problems.add(mark, path, f"no client is called {quote(name)}; {hint}")
        elif name in taken:
            where = "here already" if taken[name] == till.name else f"at till `{taken[name]}` already"
            problems.add(mark, path, f"`{name}` is {where}; what a client takes is booked to one till")
        taken.setdefault(name, till.name)


def _item_mark(till: Draft, index: int) -> Mark:
    if isinstance(till.node, tree.Mapping) and isinstance(node := till.node.entries["clients"].node, tree.Listing):
        return node.items[index].mark
    return till.place("clients")

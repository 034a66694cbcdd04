"""What one entry says of another: names that must exist, be of the right kind, and be used once."""

from __future__ import annotations

import os.path
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import cast

import msgspec

from drivers.api import BrokerUser
from gateway.config import tree
from gateway.config.boards import Contact
from gateway.config.devices import DeviceDraft, place
from gateway.config.problems import Mark, Problems, advice, join, listed, quote
from gateway.config.schema import RESERVED_NAMES, VERBS

KIND_WORDS = {
    "reader": "a reader",
    "scanner": "a scanner",
    "gate": "a relay board",
    "printer": "a printer",
    "drawer": "a cash drawer",
    "bus": "a bus",
}
_OUTSIDE_WORDS = ("outside", "out", "street", "none", "world")
Devices = Mapping[str, DeviceDraft]


class Draft(msgspec.Struct):
    """A zone, gate or client as far as it could be read; `values` holds its keys that are right."""

    name: str
    mark: Mark
    node: tree.Node
    values: dict[str, object]

    def place(self, key: str) -> Mark:
        """Return where the value of `key` stands, or the entry itself."""
        return place(self.node, key, self.mark)

    def text(self, key: str) -> str | None:
        """Return the text of `key`, if it is there and right."""
        value = self.values.get(key)
        return value if isinstance(value, str) else None


def check_ports(devices: Devices, problems: Problems) -> None:
    """Two devices cannot be opened on one port, and one drawer pin has one drawer."""
    taken: dict[object, DeviceDraft] = {}
    for device in devices.values():
        for key, address in _addresses(device):
            first = taken.setdefault(address, device)
            if first is not device:
                message = f"`{first.name}` is on this {key} already; each device needs its own"
                problems.add(device.place(key), join(f"devices.{device.name}", key), message)


def _addresses(device: DeviceDraft) -> Iterable[tuple[str, object]]:
    for key in ("port", "connect"):
        value = device.get(key)
        if isinstance(value, str):
            # One port may be written with and without its scheme and settings: serial:///dev/x?baud=9600 is /dev/x.
            bare = value.removeprefix("serial://").removeprefix("lp://").split("?")[0]
            yield key, os.path.normpath(bare) if bare.startswith("/") else bare.lower()
    if "bus" in device.fields and (address := device.get("address")) is not None:
        yield "address", (device.get("bus"), address)
    if device.kind == "drawer" and (pin := device.get("pin")) is not None:
        yield "pin", (device.get("printer"), pin)


def check_drawers(devices: Devices, problems: Problems) -> None:
    """A drawer hangs on a printer that exists."""
    printers = [name for name, device in devices.items() if device.kind == "printer"]
    for device in devices.values():
        name = device.get("printer")
        if device.kind != "drawer" or not isinstance(name, str):
            continue
        path, mark = f"devices.{device.name}.printer", device.place("printer")
        if name not in devices:
            hint = advice(name, printers, "add it under `devices:`")
            problems.add(mark, path, f"no printer is called {quote(name)}; {hint}")
        elif devices[name].kind not in {"printer", None}:
            hint = advice(name, printers, "add a printer under `devices:`")
            problems.add(mark, path, f"`{name}` is {_kind(devices[name])}, not a printer; {hint}")
    _warn_shared_contacts(devices, problems)


def _warn_shared_contacts(devices: Devices, problems: Problems) -> None:
    """A printer has one contact line for both drawers, so it cannot tell which of them is open."""
    told: dict[str, str] = {}
    for device in devices.values():
        printer = device.get("printer")
        if device.kind != "drawer" or not isinstance(printer, str) or device.get("open_is_high") is None:
            continue
        first = told.setdefault(printer, device.name)
        if first != device.name:
            message = (
                f"the printer has one contact for both drawers, so opening `{first}` reads as opening this one too; "
                "give only the drawer whose contact is wired an `open_is_high`"
            )
            problems.warn(device.place("open_is_high"), f"devices.{device.name}.open_is_high", message)


def check_zones(zones: Mapping[str, Draft], problems: Problems) -> None:
    """Each zone is within a zone that exists, and none within itself."""
    done: set[str] = set()
    for zone in zones.values():
        within = zone.text("within")
        if within is not None and within not in zones:
            hint = advice(within, list(zones), "leave it out for an outermost zone")
            problems.add(
                zone.place("within"), f"zones.{zone.name}.within", f"no zone is called {quote(within)}; {hint}"
            )
        circle = _circle(zone.name, zones, done)
        if circle:
            message = f"{' → '.join(circle)} is a circle; leave `within` out of the outermost zone"
            problems.add(zone.place("within"), f"zones.{zone.name}.within", message)


def _circle(start: str, zones: Mapping[str, Draft], done: set[str]) -> list[str]:
    """Return the circle that the way out from `start` runs into; each is found once, as `done` remembers the way."""
    way: list[str] = []
    here: str | None = start
    while here is not None and here in zones and here not in done:
        done.add(here)
        way.append(here)
        here = zones[here].text("within")
    return [*way[way.index(here) :], here] if here is not None and here in way else []


def check_names(devices: Devices, gates: Mapping[str, Draft], problems: Problems) -> None:
    """Devices and gates share one namespace: both are targets in topics, and both are names in logs."""
    for name in devices.keys() & gates.keys():
        first, second = sorted([("devices", devices[name].mark), ("gates", gates[name].mark)], key=lambda each: each[1])
        message = (
            f"the name stands in line {first[1].line} under `{first[0]}:` already; every device and gate needs its own"
        )
        problems.add(second[1], join(second[0], name), message)


def check_gates(
    gates: Mapping[str, Draft],
    zones: Mapping[str, Draft],
    devices: Devices,
    clients: Mapping[str, Draft],
    problems: Problems,
    may_share: Callable[[str, str], bool] = lambda _first, _second: False,
) -> None:
    """Each gate leads somewhere else, and its readers, lock and contact exist and are its own.

    `may_share` says of two gates that one passage contact can serve both.
    """
    readers: dict[str, str] = {}
    contacts: dict[tuple[str, Contact], str] = {}
    for gate in gates.values():
        _check_way(gate, zones, problems)
        _check_readers(gate, devices, readers, problems)
        for key in ("lock", "passage"):
            _check_contact(gate, key, devices, contacts, problems, may_share)
        if gate.text("passage") and not gate.text("lock") and not _was_refused(gate, "lock"):
            message = "without a `lock` this gate opens elsewhere, and its contact is not watched; add `lock: board.1`"
            problems.warn(gate.place("passage"), f"gates.{gate.name}.passage", message)
    # Where a client may ask for money, a reader at no gate stands at a till.
    if not any({"wallet", "entitlements"} & set(_grants(client)) for client in clients.values()):
        _warn_idle_readers(devices, readers, problems)


def _check_way(gate: Draft, zones: Mapping[str, Draft], problems: Problems) -> None:
    path = f"gates.{gate.name}"
    for key in ("from", "to"):
        zone = gate.text(key)
        if zone is not None and zone not in zones:
            hint = advice(zone, list(zones), "add it under `zones:`")
            if zone.lower() in _OUTSIDE_WORDS:
                hint = f"leave `{key}` out to mean outside"
            problems.add(gate.place(key), f"{path}.{key}", f"no zone is called {quote(zone)}; {hint}")
    if gate.text("from") == gate.text("to") and not _was_refused(gate, "from", "to"):
        there = gate.text("to")
        if there is None:
            problems.add(gate.mark, path, "the gate leads from outside to outside; give it `from`, `to` or both")
        else:
            problems.add(
                gate.place("to"), f"{path}.to", f"the gate leads from `{there}` to `{there}`; name the other zone"
            )


def _was_refused(gate: Draft, *keys: str) -> bool:
    """Return whether one of the keys stands there but was wrong already."""
    entries = gate.node.entries if isinstance(gate.node, tree.Mapping) else {}
    return not isinstance(gate.node, tree.Mapping | tree.Scalar) or any(
        key in entries and key not in gate.values for key in keys
    )


def _check_readers(gate: Draft, devices: Devices, taken: dict[str, str], problems: Problems) -> None:
    names = cast("Sequence[str]", gate.values.get("readers", ()))
    known = [name for name, device in devices.items() if device.kind in {"reader", "scanner"}]
    for index, name in enumerate(names):
        path, mark = f"gates.{gate.name}.readers[{index}]", _item_mark(gate, "readers", index)
        if name not in devices:
            hint = advice(name, known, "add it under `devices:`")
            problems.add(mark, path, f"no reader is called {quote(name)}; {hint}")
        elif devices[name].kind not in {"reader", "scanner", None}:
            hint = advice(name, known, "add a reader under `devices:`")
            problems.add(mark, path, f"`{name}` is {_kind(devices[name])}, not a reader or scanner; {hint}")
        elif name in taken:
            where = "here already" if taken[name] == gate.name else f"at gate `{taken[name]}` already"
            problems.add(mark, path, f"`{name}` is {where}; a tap opens one gate, so each reader belongs to one")
        taken.setdefault(name, gate.name)


def _item_mark(gate: Draft, key: str, index: int) -> Mark:
    if isinstance(gate.node, tree.Mapping):
        node = gate.node.entries[key].node
        if isinstance(node, tree.Listing):
            return node.items[index].mark
    return gate.place(key)


def _check_contact(
    gate: Draft,
    key: str,
    devices: Devices,
    taken: dict[tuple[str, Contact], str],
    problems: Problems,
    may_share: Callable[[str, str], bool],
) -> None:
    contact = check_board(gate, f"gates.{gate.name}", key, devices, problems)
    if contact is None:
        return
    first = taken.setdefault((key, contact), gate.name)
    if first != gate.name and not (key == "passage" and may_share(first, gate.name)):
        other = "opens" if key == "lock" else "tells of passages at"
        hint = "; each gate needs its own" if key == "lock" else "; each gate needs its own, or an interlock with it"
        problems.add(gate.place(key), f"gates.{gate.name}.{key}", f"`{contact}` {other} gate `{first}` already{hint}")


def check_board(draft: Draft, section: str, key: str, devices: Devices, problems: Problems) -> Contact | None:
    """Return the contact that stands at `key` when there is such a relay or input; note what is wrong when not."""
    text = draft.text(key)
    if text is None:
        return None
    path, mark, contact = f"{section}.{key}", draft.place(key), parse_contact(text)
    boards = [name for name, device in devices.items() if device.kind == "gate"]
    board = devices.get(contact.device)
    before = len(problems)
    if board is None:
        hint = advice(contact.device, boards, "add it under `devices:`")
        problems.add(mark, path, f"no relay board is called {quote(contact.device)}; {hint}")
    elif board.kind not in {"gate", None}:
        hint = advice(contact.device, boards, "add a relay board under `devices:`")
        problems.add(mark, path, f"`{contact.device}` is {_kind(board)}, not a relay board; {hint}")
    elif message := _beyond(board, contact, key):
        problems.add(mark, path, message)
    return contact if len(problems) == before else None


def _beyond(board: DeviceDraft, contact: Contact, key: str) -> str:
    """Return what is wrong with a channel number, or nothing."""
    what = "relay" if key in {"lock", "relay"} else "input"
    count, option = _channels(board, what)
    if count is None or contact.channel <= count:
        return ""
    if count == 0:
        return f"`{board.name}` has no {what}s; use a board with {what}s, or leave `{key}` out"
    numbers = f"{what} 1" if count == 1 else f"{what}s 1 to {count}"
    return f"`{board.name}` has {numbers}; correct the channel, or `{option}` of the board"


def _channels(board: DeviceDraft, what: str) -> tuple[int | None, str]:
    """Return how many relays or inputs a board has, None where that is not known, and the option that says so."""
    for option in ("channels", "relays") if what == "relay" else ("inputs",):
        if option in board.fields:
            count = board.get(option)
            return (count if isinstance(count, int) else None), option
    listing = f"{what}_lines"
    if listing in board.fields:
        lines = board.get(listing)
        return (len(lines) if isinstance(lines, tuple | list) else None), listing
    return (0 if board.kind is not None and what == "input" else None), what


def _warn_idle_readers(devices: Devices, taken: Mapping[str, str], problems: Problems) -> None:
    for device in devices.values():
        if device.kind in {"reader", "scanner"} and device.name not in taken:
            message = "no gate lists this reader, so nothing happens when it reads; add it to a gate's `readers`"
            problems.warn(device.mark, f"devices.{device.name}", message)


def parse_contact(text: str) -> Contact:
    """Return `board.1` as its two parts; the text must have been found right."""
    device, channel = text.rsplit(".", 1)
    return Contact(device, int(channel))


def check_clients(
    clients: Mapping[str, Draft],
    devices: Devices,
    gates: Mapping[str, Draft],
    problems: Problems,
    tills: Collection[str] = (),
) -> None:
    """A client is granted verbs that its targets know."""
    # A till that has a device's name is told of elsewhere; its grants are then those of the device.
    kinds: dict[str, str | None] = {**dict.fromkeys(tills, "till"), **{name: name for name in RESERVED_NAMES}}
    kinds |= {name: device.kind for name, device in devices.items() if device.kind in {"printer", "drawer", None}}
    kinds |= dict.fromkeys(gates, "gate")
    for client in clients.values():
        for target, entry in _grants(client).items():
            if target in kinds:
                _check_verbs(join(f"clients.{client.name}.may", target), entry, kinds[target], problems)
            else:
                _refuse_target(client, target, entry, list(kinds), devices, problems)


def check_broker_user(broker: tree.Entry | None, clients: Mapping[str, Draft], problems: Problems) -> None:
    """The gateway's own user at the broker is nobody else's: the two would share a password and each other's rights."""
    entries = broker.node.entries if broker is not None and isinstance(broker.node, tree.Mapping) else {}
    node = entries["username"].node if "username" in entries else None
    if isinstance(node, tree.Scalar) and isinstance(node.value, str) and node.value in clients:
        message = f"a client is called `{node.value}` too; give the gateway a user of its own, such as `venue-gateway`"
        problems.add(node.mark, "broker.username", message)


def check_broker_devices(clients: Mapping[str, Draft], devices: Devices, problems: Problems) -> None:
    """A device that logs in to the broker does so under its own name, which no client may share."""
    for name in clients.keys() & devices.keys():
        if isinstance(devices[name].options, BrokerUser):
            message = f"a device is called `{name}` too, and both log in to the broker; give one of them another name"
            problems.add(clients[name].mark, f"clients.{name}", message)


def _grants(client: Draft) -> Mapping[str, tree.Entry]:
    """Return target → where its verbs stand, also where some of them are wrong."""
    entries = client.node.entries if isinstance(client.node, tree.Mapping) else {}
    may = entries["may"].node if "may" in entries else None
    return may.entries if isinstance(may, tree.Mapping) else {}


def _check_verbs(path: str, entry: tree.Entry, kind: str | None, problems: Problems) -> None:
    if kind is None:
        return
    known = VERBS[kind]
    for index, item in enumerate(entry.node.items if isinstance(entry.node, tree.Listing) else ()):
        if isinstance(item, tree.Scalar) and isinstance(item.value, str) and item.value not in known:
            what = f"the {kind}" if kind in RESERVED_NAMES else f"a {kind}"
            near = advice(item.value, known, "")
            hint = f"{near} " if near.startswith("did") else ""
            message = f"{quote(item.value)} is nothing to ask of {what}; {hint}{what} knows {listed(known)}"
            problems.add(item.mark, f"{path}[{index}]", message)


def _refuse_target(
    client: Draft, target: str, entry: tree.Entry, known: Sequence[str], devices: Devices, problems: Problems
) -> None:
    path, mark = join(f"clients.{client.name}.may", target), entry.key_mark
    if target in devices:
        message = f"`{target}` is {_kind(devices[target])}; clients ask gates, printers, drawers and the gateway"
    else:
        message = f"no printer, drawer or gate is called {quote(target)}; {advice(target, known, '')}"
    problems.add(mark, path, message)


def _kind(device: DeviceDraft) -> str:
    return KIND_WORDS[device.kind] if device.kind else "a device"

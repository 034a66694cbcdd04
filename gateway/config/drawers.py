"""What a cash drawer hangs on: a printer's connector, or a relay of a board; and its contact, an input of a board."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from gateway.config.boards import Contact
from gateway.config.checks import KIND_WORDS, Devices, Draft, parse_contact
from gateway.config.devices import DeviceDraft
from gateway.config.problems import Problems, advice, quote
from gateway.config.schema import Device

_SAME_AT_A_GATE = {"relay": "lock", "contact": "passage"}


def carrier_of(device: Device) -> str:
    """Return the name of the device that opens the drawer: its printer, or the board of its relay."""
    relay = getattr(device.options, "relay", None)
    return parse_contact(relay).device if relay is not None else str(getattr(device.options, "printer", ""))


def contact_of(device: Device) -> tuple[Contact, bool] | None:
    """Return the drawer's input and whether active means open; None for one without, or with one at its printer."""
    contact = getattr(device.options, "contact", None)
    return (parse_contact(contact), bool(getattr(device.options, "open_is_active", True))) if contact else None


def calibrated_line(drawer: Device, option: bool) -> str:
    """Return the drawer's line of the YAML with what its contact reads open; defaults are left out."""
    key = open_key(drawer)
    given = {
        field.name: getattr(drawer.options, field.name)
        for field in msgspec.structs.fields(drawer.options)
        if field.name != key and getattr(drawer.options, field.name) != field.default
    }
    options = {"driver": drawer.driver, **given, key: "true" if option else "false"}
    return f"{drawer.name}: {{{', '.join(f'{name}: {value}' for name, value in options.items())}}}"


def open_key(drawer: Device) -> str:
    """Return the option that says what the contact reads while the drawer is open."""
    return "open_is_active" if hasattr(drawer.options, "open_is_active") else "open_is_high"


def check_drawer_relays(devices: Devices, gates: Mapping[str, Draft], problems: Problems) -> None:
    """The relay and the contact of a drawer exist, and belong to it alone."""
    taken = dict(_taken_by_gates(gates))
    for device in devices.values():
        for key in ("relay", "contact"):
            text = device.get(key)
            if device.kind == "drawer" and isinstance(text, str):
                message = _wrong(device, key, parse_contact(text), devices, taken)
                if message:
                    problems.add(device.place(key), f"devices.{device.name}.{key}", message)


def _taken_by_gates(gates: Mapping[str, Draft]) -> Iterator[tuple[tuple[str, Contact], str]]:
    for gate in gates.values():
        for key, same in _SAME_AT_A_GATE.items():
            if (text := gate.text(same)) is not None:
                yield (key, parse_contact(text)), f"gate `{gate.name}`"


def _wrong(
    drawer: DeviceDraft, key: str, contact: Contact, devices: Devices, taken: dict[tuple[str, Contact], str]
) -> str:
    """Return what is wrong with a drawer's relay or contact, or nothing."""
    boards = [name for name, device in devices.items() if device.kind == "gate"]
    board = devices.get(contact.device)
    if board is None:
        return f"no relay board is called {quote(contact.device)}; {advice(contact.device, boards, 'add it')}"
    if board.kind not in {"gate", None}:
        known = advice(contact.device, boards, "add a relay board under `devices:`")
        return f"`{contact.device}` is {KIND_WORDS[board.kind]}, not a relay board; {known}"
    if message := _beyond(board, contact, key):
        return message
    first = taken.setdefault((key, contact), f"`{drawer.name}`")
    return "" if first == f"`{drawer.name}`" else f"`{contact}` belongs to {first} already; each needs its own"


def _beyond(board: DeviceDraft, contact: Contact, key: str) -> str:
    options = ("channels", "relays") if key == "relay" else ("inputs",)
    option = next((each for each in options if each in board.fields), None)
    noun = "relay" if key == "relay" else "input"
    if option is None:
        return f"`{board.name}` has no {noun}s; use a board with {noun}s" if key == "contact" and board.fields else ""
    count = board.get(option)
    if not isinstance(count, int) or contact.channel <= count:
        return ""
    return (
        f"`{board.name}` has {count} {noun}{'' if count == 1 else 's'}; correct the channel, or `{option}` of the board"
    )

"""What interlocks, inputs and outputs say of gates, zones and boards: names that exist, contacts used once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from gateway.config.boards import MOMENTARY, Boards, Input, InputEntry, Output, OutputEntry
from gateway.config.checks import Draft, check_board, parse_contact
from gateway.config.devices import DeviceDraft
from gateway.config.problems import Problems, advice, quote

Drafts = Mapping[str, Draft]


class BoardDrafts(msgspec.Struct):
    """The three sections as far as they could be read."""

    interlocks: Drafts
    inputs: Drafts
    outputs: Drafts

    def boards(self) -> Boards:
        """Return what stands there; all of it must have been found right."""
        return Boards(
            interlocks={name: _names(draft, "gates") for name, draft in self.interlocks.items()},
            inputs={name: _input(draft) for name, draft in self.inputs.items()},
            outputs={name: _output(draft) for name, draft in self.outputs.items()},
        )


def check_boards(
    drafts: BoardDrafts, gates: Drafts, zones: Drafts, devices: Mapping[str, DeviceDraft], problems: Problems
) -> None:
    """Note everything that is wrong between these sections and the others."""
    for interlock in drafts.interlocks.values():
        _check_interlock(interlock, gates, problems)
    passages = {text: gate.name for gate in gates.values() if (text := gate.text("passage")) is not None}
    locks = {text: gate.name for gate in gates.values() if (text := gate.text("lock")) is not None}
    for one in drafts.inputs.values():
        _check_input(one, gates, zones, problems)
        check_board(one, f"inputs.{one.name}", "contact", devices, problems)
        _check_once(one, "inputs", "contact", passages, "tells of passages at gate", problems)
    for one in drafts.outputs.values():
        _check_output(one, gates, problems)
        check_board(one, f"outputs.{one.name}", "relay", devices, problems)
        _check_once(one, "outputs", "relay", locks, "opens gate", problems)


def shares_passage(first: str, second: str, interlocks: Drafts) -> bool:
    """Return True for two gates that may have one passage contact: of an interlock, only one is open at a time."""
    return any({first, second} <= set(_names(one, "gates")) for one in interlocks.values())


def _check_interlock(interlock: Draft, gates: Drafts, problems: Problems) -> None:
    path, mark = f"interlocks.{interlock.name}.gates", interlock.place("gates")
    named = _names(interlock, "gates")
    for name in sorted({name for name in named if named.count(name) > 1}):
        problems.add(mark, path, f"gate `{name}` stands there twice; name each gate once")
    for name in dict.fromkeys(named):
        if name not in gates:
            problems.add(mark, path, f"no gate is called {quote(name)}; {advice(name, list(gates), 'add it')}")
            continue
        for key in ("lock", "passage"):
            if gates[name].text(key) is None:
                message = f"gate `{name}` has no `{key}`; an interlock has to move each gate and to see that it is shut"
                problems.add(mark, path, message)


def _check_input(one: Draft, gates: Drafts, zones: Drafts, problems: Problems) -> None:
    path, means, gate = f"inputs.{one.name}", one.text("means"), one.text("gate")
    _check_names(one, f"{path}.zones", "zones", zones, "zone", problems)
    if gate is not None and gate not in gates:
        problems.add(one.place("gate"), f"{path}.gate", f"no gate is called {quote(gate)}; {_near(gate, gates)}")
    if means == "door_held" and gate is None:
        problems.add(one.place("means"), f"{path}.means", "door_held needs `gate`, the gate that stands open")
    if means not in {"door_held", None} and gate is not None:
        problems.add(one.place("gate"), f"{path}.gate", f"`gate` goes with door_held only, not with {means}")
    if means not in {"emergency", None} and _names(one, "zones"):
        problems.add(one.place("zones"), f"{path}.zones", f"`zones` goes with emergency only, not with {means}")


def _check_output(one: Draft, gates: Drafts, problems: Problems) -> None:
    path = f"outputs.{one.name}"
    _check_names(one, f"{path}.gates", "gates", gates, "gate", problems)
    momentary = [word for word in _names(one, "on") if word in MOMENTARY]
    if momentary and one.values.get("pulse_ms") is None:
        message = f"{momentary[0]} is over at once, so it needs `pulse_ms`, such as `pulse_ms: 1500`"
        problems.add(one.place("on"), f"{path}.on", message)


def _check_names(one: Draft, path: str, key: str, known: Drafts, what: str, problems: Problems) -> None:
    for name in _names(one, key):
        if name not in known:
            problems.add(one.place(key), path, f"no {what} is called {quote(name)}; {_near(name, known)}")


def _check_once(one: Draft, section: str, key: str, taken: dict[str, str], does: str, problems: Problems) -> None:
    """A contact is one thing: the second to name it is told of the first."""
    text = one.text(key)
    if text is None:
        return
    if text in taken:
        message = f"`{text}` {does} `{taken[text]}` already; each needs its own"
        problems.add(one.place(key), f"{section}.{one.name}.{key}", message)
    taken.setdefault(text, one.name)


def _names(draft: Draft, key: str) -> tuple[str, ...]:
    value = draft.values.get(key)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, Iterable) else ()


def _near(name: str, known: Drafts) -> str:
    return advice(name, list(known), "add it, or leave it out")


def _input(draft: Draft) -> Input:
    entry = msgspec.convert(draft.values, InputEntry)
    contact = parse_contact(entry.contact)
    return Input(name=draft.name, contact=contact, means=entry.means, zones=entry.zones, gate=entry.gate)


def _output(draft: Draft) -> Output:
    entry = msgspec.convert(draft.values, OutputEntry)
    relay = parse_contact(entry.relay)
    return Output(name=draft.name, relay=relay, on=entry.on, gates=entry.gates, pulse_ms=entry.pulse_ms)

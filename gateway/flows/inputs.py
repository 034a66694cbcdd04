"""Inputs that mean something by themselves: a fire panel, a tamper switch, a gate's own report that it stands open."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from gateway.config.boards import Input
from gateway.domain import gates, zones
from gateway.domain import zone_events as z
from gateway.domain.input_events import InputActive, InputIdle
from gateway.flows.gate import GateFlow
from gateway.flows.noting import note
from gateway.flows.recorder import Recorder
from gateway.flows.zones import OrdersFlow
from gateway.store.journal import StorageUnavailable

log = structlog.get_logger(__name__)


class InputsFlow:
    """Every input of the configuration. What stands is known from the boards, which tell it anew after each start."""

    def __init__(self, recorder: Recorder, orders: OrdersFlow, gates: Mapping[str, GateFlow]) -> None:
        """Take who orders an emergency, and the gates, a mapping that its owner keeps up to date."""
        self._recorder = recorder
        self._orders = orders
        self._gates = gates
        self._inputs: Mapping[str, Input] = {}
        self._active: set[str] = set()
        orders.emergency_inputs = self.holding

    def configure(self, inputs: Mapping[str, Input]) -> None:
        """Serve these inputs; one whose contact or meaning changed begins anew.

        A gate that one of those held open is shut for all that is known; who still sees it open says so again.
        """
        kept = {name for name in self._active if inputs.get(name) == self._inputs.get(name)}
        ended = [self._inputs[name] for name in sorted(self._active - kept)]
        self._inputs, self._active = inputs, kept
        for one in ended:
            if one.means == "door_held" and (gate := self._gates.get(one.gate or "")) is not None:
                self._door_held(gate, active=False)

    def contact_changed(self, board: str, channel: int, *, active: bool) -> None:
        """A contact moved that may be one of these."""
        for one in self._inputs.values():
            if (one.contact.device, one.contact.channel) == (board, channel):
                self._changed(one, active=active)

    @property
    def standing(self) -> tuple[Input, ...]:
        """The inputs that are active now, in the order of the file."""
        return tuple(one for one in self._inputs.values() if one.name in self._active)

    def boards(self) -> Mapping[str, tuple[str, ...]]:
        """Return board → the names of its inputs, for whoever tells that a board is away."""
        found: dict[str, tuple[str, ...]] = {}
        for one in self._inputs.values():
            found[one.contact.device] = (*found.get(one.contact.device, ()), one.name)
        return found

    def troubles(self, online: Callable[[str], bool]) -> list[str]:
        """Return what is wrong, for people: inputs that are active, and those whose board is not `online`."""
        away = [name for board, names in self.boards().items() for name in names if not online(board)]
        standing = [f"input {one.name}: {one.means.replace('_', ' ')}" for one in self.standing]
        return [*standing, *(f"input {name}: its board does not answer" for name in away)]

    def holding(self, zone: str) -> tuple[str, ...]:
        """Return the emergency inputs that are active and release `zone`, so that it cannot be restored yet."""
        return tuple(one.name for one in self.standing if one.means == "emergency" and zone in _zones(one))

    def storage_recovered(self) -> None:
        """The state was rebuilt: an emergency that could not be recorded is ordered now."""
        for one in self.standing:
            if one.means == "emergency":
                self._release(one)

    def _changed(self, one: Input, *, active: bool) -> None:
        if active == (one.name in self._active):
            return
        (self._active.add if active else self._active.discard)(one.name)
        kind = InputActive if active else InputIdle
        note(self._recorder, one.name, kind(input=one.name, means=one.means))
        if one.means == "emergency" and active:
            self._release(one)
        gate = self._gates.get(one.gate or "")
        if one.means == "door_held" and gate is not None:
            self._door_held(gate, active=active)

    def _release(self, one: Input) -> None:
        """Order what staff would; gates follow once it is on disk (I1)."""
        for zone in _zones(one):
            closure = self._recorder.state.closures.get(zone)
            if closure is not None and closure.kind == "emergency":
                continue
            order = z.ZoneReleased(zone=zone, client=f"input/{one.name}", reason=f"the input {one.name} is active")
            try:
                self._orders.order(order)
            except StorageUnavailable as error:
                log.error("emergency_not_stored", input=one.name, zone=zone or "(all)", why=str(error))

    def _door_held(self, gate: GateFlow, *, active: bool) -> None:
        state = self._recorder.state
        if active and gate.closure != "emergency":
            note(self._recorder, gate.name, *gates.held_open(state, gate.name))
        elif not active:
            note(self._recorder, gate.name, *gates.contact_closed(state, gate.name))


def _zones(one: Input) -> tuple[str, ...]:
    return one.zones or (zones.VENUE,)

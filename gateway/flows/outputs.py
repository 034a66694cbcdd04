"""Lamps, sirens and buzzers at relays: what happened at the gates, shown to whoever stands there.

An output goes by facts that are on disk only (I1). It never lets anyone through, so a board that is away is not waited
for: a pulse that it misses is gone, and one that is held is held again when the board is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import structlog

from drivers.api import DriverError
from gateway.config.boards import MOMENTARY, Input, Output
from gateway.domain import events as e
from gateway.domain import zone_events as z
from gateway.domain.input_events import InputActive, InputIdle
from gateway.flows.gate import GateFlow, LockPort
from gateway.flows.holding import HeldLock
from gateway.flows.recorder import Committed

log = structlog.get_logger(__name__)

PULSE_TIMEOUT_S = 2.0

Word = Literal["locked", "released", "forced", "held_open", "fault"]
_MOMENTS: Mapping[type, str] = {e.EntryGranted: "granted", e.EntryDenied: "denied", e.EntryPassed: "passed"}
_WORDS: Mapping[type, Word] = {
    e.GateForced: "forced",
    e.GateHeldOpen: "held_open",
    e.GateFault: "fault",
    e.GateClosed: "locked",
    e.GateRestored: "locked",
}
_ENDS = (e.EntryPassed, e.EntryReturned, e.EntryUnknown)
_INPUTS = (InputActive, InputIdle)
_ORDERS = (z.ZoneLockedDown, z.ZoneReleased, z.ZoneRestored)


class _Relay(HeldLock):
    """An output's relay while it is held; it says nothing of gates."""

    def _report(self) -> None:
        log.debug("output_switched", output=self._gate, on=self.held)


class _Lamp:
    """One output: its relay, and whether it is held on."""

    def __init__(self, output: Output, port: LockPort) -> None:
        self.output = output
        self.port = port
        self.relay = _Relay(output.name, output.relay, port)
        self.pulsing: asyncio.Task[None] | None = None
        self.shown: frozenset[str] = frozenset()


class OutputsFlow:
    """Every output of the configuration. Hook `committed` to the recorder."""

    def __init__(self, gates: Mapping[str, GateFlow], spawn: Callable[..., asyncio.Task[None]]) -> None:
        """Show these gates, a mapping that its owner keeps up to date; `spawn(coroutine)` runs a pulse."""
        self._gates = gates
        self._spawn = spawn
        self._lamps: dict[str, _Lamp] = {}
        self._words: dict[str, str] = {}
        self._standing: Callable[[], Sequence[Input]] = tuple

    def configure(
        self, outputs: Mapping[str, Output], ports: Mapping[str, LockPort], standing: Callable[[], Sequence[Input]]
    ) -> None:
        """Serve these outputs at these boards; `standing` tells the inputs that are active."""
        self._standing = standing
        for name in [name for name, lamp in self._lamps.items() if not _same(lamp, outputs.get(name), ports)]:
            self._lamps.pop(name).relay.want(False)
        for name, output in outputs.items():
            if name not in self._lamps:
                self._lamps[name] = _Lamp(output, ports[output.relay.device])
        self._words = {name: gate.status for name, gate in self._gates.items()}
        self._follow()

    def committed(self, entries: Sequence[Committed]) -> None:
        """Show what has just been stored."""
        if not self._lamps:
            return
        for one in entries:
            self._take(one.entry.event)

    def board_is_back(self, port: LockPort) -> None:
        """A board begins with every relay open: what was held is held again."""
        for lamp in self._lamps.values():
            if lamp.port is port:
                lamp.relay.board_is_back()

    def close(self) -> None:
        """Stop trying; boards put their relays to rest as they go."""
        for lamp in self._lamps.values():
            lamp.relay.close()
            if lamp.pulsing is not None:
                lamp.pulsing.cancel()

    def _take(self, event: e.AnyEvent) -> None:
        gate: str = getattr(event, "gate", "") or ""
        if (moment := _MOMENTS.get(type(event))) is not None:
            self._moment(moment, gate)
        if isinstance(event, e.EntryGranted) and event.passage_observed:
            self._words[gate] = "released"
        elif isinstance(event, _ENDS) and self._words.get(gate) == "released":
            self._words[gate] = "locked"
        elif (word := _WORDS.get(type(event))) is not None:
            self._words[gate] = word
        elif not isinstance(event, (*_INPUTS, *_ORDERS)):
            return
        self._follow()

    def _moment(self, moment: str, gate: str) -> None:
        for lamp in self._lamps.values():
            if moment in lamp.output.on and gate in (lamp.output.gates or (gate,)):
                self._pulse(lamp)

    def _follow(self) -> None:
        """Make every output that lasts what its gates and the inputs are now."""
        for lamp in self._lamps.values():
            before, lamp.shown = lamp.shown, self._occasions(lamp.output)
            if lamp.output.pulse_ms is None:
                if lamp.relay.wanted != bool(lamp.shown):
                    lamp.relay.want(bool(lamp.shown))
            elif lamp.shown - before:
                self._pulse(lamp)

    def _occasions(self, output: Output) -> frozenset[str]:
        names = [name for name in (output.gates or tuple(self._gates)) if name in self._gates]
        now = {f"{self._words.get(name, 'locked')} {name}" for name in names}
        closures = {"lockdown": "locked_down", "emergency": "emergency"}
        now |= {f"{closures[closure]} {name}" for name in names if (closure := self._gates[name].closure) is not None}
        now |= {f"{one.means} {one.name}" for one in self._standing()}
        wanted = set(output.on) - MOMENTARY
        return frozenset(one for one in now if one.split()[0] in wanted)

    def _pulse(self, lamp: _Lamp) -> None:
        if lamp.pulsing is None or lamp.pulsing.done():
            lamp.pulsing = self._spawn(_pulse(lamp))


async def _pulse(lamp: _Lamp) -> None:
    output = lamp.output
    if output.pulse_ms is None:
        return
    try:
        async with asyncio.timeout(PULSE_TIMEOUT_S):
            await lamp.port.lock().pulse(output.relay.channel, output.pulse_ms)
    except (DriverError, TimeoutError) as error:
        log.warning("output_failed", output=output.name, why=str(error) or "the board did not confirm in time")


def _same(lamp: _Lamp, wanted: Output | None, ports: Mapping[str, LockPort]) -> bool:
    return wanted == lamp.output and ports.get(lamp.output.relay.device) is lamp.port

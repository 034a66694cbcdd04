"""Guests who come when they come, at many gates at once: 32 readers and 32 relay boards on ptys, in one open loop.

Nobody waits for the guest before: each tap is due at a moment that was drawn beforehand, and its latency counts from
there. A gateway that stops for a while is so charged with all who came meanwhile (no coordinated omission).
"""

from __future__ import annotations

import gc
import select
import time
from collections import deque
from collections.abc import Callable
from random import Random

from benchmarks.local import CLOSE, OPEN, PATIENCE_MS, LocalGate
from drivers.codecs.rdm6300 import encode_frame

GATES = 32
_FRAME_BYTES = len(CLOSE)


class Crowd:
    """Gates with a reader and a relay board each, all held by this process."""

    def __init__(self, gates: int = GATES) -> None:
        """Make the ptys."""
        self.gates = {f"crowd-{number:02d}": LocalGate() for number in range(gates)}

    def restarted(self) -> None:
        """Make ready for a gateway that starts."""
        for gate in self.gates.values():
            gate.restarted()

    def close(self) -> None:
        """Unplug all."""
        for gate in self.gates.values():
            gate.close()

    def taps(self, next_tag: Callable[[], str], due_s: list[float]) -> list[float]:
        """Hold a tag to the next reader at each moment of `due_s`, counted from now.

        Returns for each the time from that moment to the relay's close command, in s, in the order of the commands.
        Raises TimeoutError when a relay is told nothing, RuntimeError for a command that is none.
        """
        run = _Taps(list(self.gates.values()), next_tag, due_s)
        gc.collect()
        gc.disable()
        try:
            run.to_the_end()
        finally:
            gc.enable()
        return run.latencies_s


def arrivals_s(count: int, rate: float, dice: Random) -> list[float]:
    """Return `count` moments in s at which guests arrive, `rate` a second on average, none knowing of another."""
    now_s, moments = 0.0, []
    for _ in range(count):
        now_s += dice.expovariate(rate)
        moments.append(now_s)
    return moments


class _Gate:
    """One gate amid a run: who still waits for it, and half a command perhaps."""

    def __init__(self, gate: LocalGate) -> None:
        self.wires = gate
        self.waiting: deque[float] = deque()
        self._heard = b""

    def took(self, now_s: float) -> list[float]:
        """Read what the relay was told, and return how long those waited who are let in by it."""
        self._heard += self.wires.relay.hear()
        let_in = []
        while len(self._heard) >= _FRAME_BYTES:
            command, self._heard = self._heard[:_FRAME_BYTES], self._heard[_FRAME_BYTES:]
            if command == CLOSE and self.waiting:
                let_in.append(now_s - self.waiting.popleft())
            elif command != OPEN:
                raise RuntimeError(f"a relay board was told {command.hex(' ')} and nobody was at its gate")
        return let_in


class _Taps:
    def __init__(self, gates: list[LocalGate], next_tag: Callable[[], str], due_s: list[float]) -> None:
        self._gates = [_Gate(gate) for gate in gates]
        self._by_wire = {gate.relay.fileno(): at for gate, at in zip(gates, self._gates, strict=True)}
        self._frames = [encode_frame(next_tag()) for _ in due_s]
        began_s = time.perf_counter()
        self._due_s = [began_s + moment for moment in due_s]
        self.latencies_s: list[float] = []

    def to_the_end(self) -> None:
        for number, due_s in enumerate(self._due_s):
            self._listen_until(due_s)
            gate = self._gates[number % len(self._gates)]
            gate.waiting.append(due_s)
            gate.wires.reader.say(self._frames[number])
        last_s = time.perf_counter() + PATIENCE_MS / 1000
        while len(self.latencies_s) < len(self._due_s):
            if time.perf_counter() > last_s:
                raise TimeoutError(f"{len(self.latencies_s)} of {len(self._due_s)} guests were let in")
            self._listen(0.1)

    def _listen_until(self, moment_s: float) -> None:
        while (left_s := moment_s - time.perf_counter()) > 0:
            self._listen(left_s)

    def _listen(self, timeout_s: float) -> None:
        # Of the ways to wait, only select(2) counts in microseconds; a whole millisecond would be too coarse.
        told, _, _ = select.select(self._by_wire, [], [], timeout_s)
        now_s = time.perf_counter()
        for wire in told:
            self.latencies_s += self._by_wire[wire].took(now_s)

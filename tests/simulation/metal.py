"""Who watches what moves: locks, drawers and paper, each held against what is on disk at that moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.observers import Observers

ENTRY_ENDS = ("entry.passed", "entry.returned", "entry.unknown")
OPENING_ENDS = {"drawer.opened", "drawer.failed", "drawer.unknown"}


class Metal:
    """Knows what the devices did, and asks the disk whether they were allowed to."""

    def __init__(self, observers: Observers, interlocked: Mapping[str, Collection[str]]) -> None:
        self._observers = observers
        self._interlocked = interlocked
        self._ajar: set[str] = set()
        self._unlocked_until_s: dict[str, float] = {}
        self.pulsed: set[str] = set()
        self._kicked: set[str] = set()
        self._printed: Counter[str] = Counter()

    def contact(self, gate: str, *, active: bool) -> None:
        """A gate was pushed open, or fell shut."""
        (self._ajar.add if active else self._ajar.discard)(gate)

    def pulse(self, gate: str, pulse_s: float) -> str | None:
        """A lock is told to open for a time: for which durable grant? Returns its entry."""
        self._observers.note("pulse", gate)
        self._observers.stats["pulses"] += 1
        self._check_interlock(gate, pulse_s)
        open_grants = [
            one
            for one in self._observers.grants.get(gate, ())
            if one["entry"] not in self.pulsed and not self._observers.by_thing[one["entry"]].intersection(ENTRY_ENDS)
        ]
        if not open_grants:
            self._observers.violated("I1", f"{gate} was opened with no grant on disk that is still open")
            return None
        grant = open_grants[-1]
        self.pulsed.add(grant["entry"])
        request = grant.get("request")
        asked = self._observers.asked.get((request["client"], request["id"])) if request else None
        if asked is not None and self._is_over(asked.expires_at_ms, grant):
            self._observers.violated("I6", f"{gate} was opened for a request that had expired")
        return str(grant["entry"])

    def _check_interlock(self, gate: str, pulse_s: float) -> None:
        now_s = self._observers.timeline.now_s
        for other in self._interlocked.get(gate, ()):
            if other in self._ajar or self._unlocked_until_s.get(other, 0.0) > now_s:
                self._observers.violated("interlock", f"{gate} was opened while {other} stood open")
        self._unlocked_until_s[gate] = now_s + pulse_s

    def _is_over(self, expires_at_ms: int | None, event: dict[str, Any]) -> bool:
        """A gateway that took a request in doubt about the time may be late by as much as the machine was off.

        Whether it had reason to doubt is looked at when the event reaches the disk.
        """
        knew = event.get("clock") != "untrusted"
        return knew and expires_at_ms is not None and expires_at_ms <= self._observers.timeline.now_ms

    def kick(self, drawer: str) -> None:
        """A drawer is told to spring open: for which durable opening?"""
        self._observers.note("kick", drawer)
        self._observers.stats["kicks"] += 1
        waiting = [one for one in self._observers.openings.get(drawer, ()) if one not in self._kicked]
        waiting = [one for one in waiting if not self._observers.by_thing[one] & OPENING_ENDS]
        if not waiting:
            self._observers.violated("I1", f"{drawer} was pulsed with no opening on disk that waits for it")
            return
        self._kicked.add(waiting[-1])
        for key, effects in self._observers.by_request.items():
            opening = next((event for event in effects if event.get("opening") == waiting[-1]), None)
            if opening is not None:
                expires = self._observers.asked[key].expires_at_ms if key in self._observers.asked else None
                if self._is_over(expires, opening):
                    self._observers.violated("I6", f"{drawer} was opened for a request that had expired")

    def paper(self, printer: str, data: bytes) -> None:
        """Bytes of a job begin to reach the paper. Each job's text holds `client/id` of its request once."""
        key = data.decode().partition("#")[2].partition("#")[0]
        self._observers.note("paper", printer, key, data)
        self._observers.stats["papers"] += 1
        client, _, request_id = key.partition("/")
        jobs = {event["job"] for event in self._observers.by_request.get((client, request_id), ()) if "job" in event}
        begun, is_copy = self._observers.printing.get(printer), data.startswith(b"KOPIE")
        if begun is None or not (is_copy or begun in jobs):
            self._observers.violated("I1", f"{key} is being printed and its start is not on disk")
        elif self._nobody_wants(begun):
            self._observers.violated("I6", f"{key} is being printed although its time is over")
        if is_copy:
            return
        self._printed[key] += 1
        if self._printed[key] > 1:
            self._observers.violated("I2", f"{key} was printed twice")

    def life_ended(self) -> None:
        """A pulse is over before the next life has read its journal."""
        self._unlocked_until_s.clear()

    def _nobody_wants(self, job: str) -> bool:
        """Whether a job's time is over, by the true time and the machine's; False where that was set meanwhile."""
        now_ms = self._observers.timeline.now_ms
        until_ms, off_ms = self._observers.wanted_until.get(job, (now_ms + 1, 0))
        return off_ms == self._observers.clock_off_ms and until_ms <= min(now_ms, now_ms + off_ms)

"""What has happened, counted for whoever watches: by gate, reason and device, and never by card or holder (I12).

It follows the recorder, so it hears of a tap some milliseconds after the guest did, and costs the tap nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from gateway.domain import events as e
from gateway.domain import redemption_events as r
from gateway.domain import wallet_events as w
from gateway.flows.recorder import Committed
from gateway.store.buckets import SECONDS, Buckets

OPEN_MAX = 4096
"""How many things under way are timed at once (I9); over it the oldest is not timed."""
GRANTED = "granted"
DONE = "done"

_BEGINS: dict[type, tuple[str, str]] = {
    e.EntryGranted: ("release", "entry"),
    e.GateReleased: ("passage", "entry"),
    e.PrintQueued: ("print_wait", "job"),
    e.PrintStarted: ("print", "job"),
    e.DrawerOpening: ("drawer", "opening"),
}
"""What each fact begins, and the member that tells which one."""
_ENDS: dict[type, tuple[str, str]] = {
    e.GateReleased: ("release", "entry"),
    e.EntryPassed: ("passage", "entry"),
    e.PrintStarted: ("print_wait", "job"),
    e.PrintDone: ("print", "job"),
    e.DrawerOpened: ("drawer", "opening"),
    w.WalletTransferred: ("payment", "transfer"),
    r.RedemptionMade: ("redemption", "redemption"),
}
STAGES = ("release", "passage", "print_wait", "print", "drawer", "payment", "redemption")
_ALARMS: dict[type, str] = {
    kind: str(kind.__struct_config__.tag)
    for kind in (
        e.GateForced,
        e.GateHeldOpen,
        e.GateFault,
        e.DrawerForced,
        e.DrawerLeftOpen,
        e.EntryUnknown,
        e.PrintUnknown,
        e.DrawerUnknown,
    )
}
_COUNTED: dict[type, tuple[str, Callable[[Any], Hashable]]] = {
    e.EntryGranted: ("decisions", lambda event: (event.gate, GRANTED)),
    e.EntryDenied: ("decisions", lambda event: (event.gate, event.reason.value)),
    w.WalletTransferred: ("payments", lambda event: (event.action, DONE)),
    w.WalletDenied: ("payments", lambda event: (event.action, event.reason.value)),
    r.RedemptionMade: ("redemptions", lambda _: DONE),
    r.RedemptionDenied: ("redemptions", lambda event: event.reason.value),
    e.PrintDone: ("prints", lambda event: (event.printer, DONE)),
    e.PrintFailed: ("prints", lambda event: (event.printer, "failed")),
    e.PrintUnknown: ("prints", lambda event: (event.printer, "unknown")),
    e.DrawerOpened: ("drawers", lambda event: (event.drawer, DONE)),
    e.DrawerFailed: ("drawers", lambda event: (event.drawer, "failed")),
    e.DrawerUnknown: ("drawers", lambda event: (event.drawer, "unknown")),
}
"""Which counter each fact moves, and under which labels."""


class Tally:
    """The counters. All of them only grow, and each is bounded by the configuration and the enumerations."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.decisions: Counter[tuple[str, str]] = Counter()
        self.payments: Counter[tuple[str, str]] = Counter()
        self.redemptions: Counter[str] = Counter()
        self.prints: Counter[tuple[str, str]] = Counter()
        self.drawers: Counter[tuple[str, str]] = Counter()
        self.alarms: Counter[str] = Counter()
        self.stages = {stage: Buckets(SECONDS) for stage in STAGES}
        self._began: dict[tuple[str, str], int] = {}

    def committed(self, entries: Sequence[Committed]) -> None:
        """Follow the recorder."""
        for one in entries:
            event, at_ms = one.entry.event, one.entry.at_ms
            self._time(event, at_ms)
            self._count(event)

    def _time(self, event: e.AnyEvent, at_ms: int) -> None:
        ends, begins = _ENDS.get(type(event)), _BEGINS.get(type(event))
        if ends is not None:
            stage, member = ends
            began_ms = self._began.pop((stage, getattr(event, member)), None)
            if began_ms is not None:
                self.stages[stage].took((at_ms - began_ms) / 1000)
        if begins is not None:
            self._begin(begins[0], getattr(event, begins[1]), at_ms)
        elif isinstance(event, w.WalletArmed):
            self._begin("payment", event.order.transfer, at_ms)
        elif isinstance(event, r.RedemptionArmed):
            self._begin("redemption", event.redemption, at_ms)

    def _begin(self, stage: str, key: str, at_ms: int) -> None:
        if len(self._began) >= OPEN_MAX:
            del self._began[next(iter(self._began))]
        self._began[stage, key] = at_ms

    def _count(self, event: e.AnyEvent) -> None:
        kind = type(event)
        counted = _COUNTED.get(kind)
        if counted is not None:
            name, labels = counted
            getattr(self, name)[labels(event)] += 1
        if kind in _ALARMS:
            self.alarms[_ALARMS[kind]] += 1

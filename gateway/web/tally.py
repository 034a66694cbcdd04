"""What has happened, counted for whoever watches: by gate, reason and device, and never by card or holder (I12).

It follows the recorder, so it hears of a tap some milliseconds after the guest did, and costs the tap nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

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
_ALARMS = (e.GateForced, e.GateHeldOpen, e.GateFault, e.DrawerForced, e.DrawerLeftOpen)
_UNKNOWN = (e.EntryUnknown, e.PrintUnknown, e.DrawerUnknown)


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
        match event:
            case e.EntryGranted():
                self.decisions[event.gate, GRANTED] += 1
            case e.EntryDenied():
                self.decisions[event.gate, event.reason.value] += 1
            case w.WalletTransferred():
                self.payments[event.action, DONE] += 1
            case w.WalletDenied():
                self.payments[event.action, event.reason.value] += 1
            case r.RedemptionMade():
                self.redemptions[DONE] += 1
            case r.RedemptionDenied():
                self.redemptions[event.reason.value] += 1
            case _:
                self._count_device(event)

    def _count_device(self, event: e.AnyEvent) -> None:
        match event:
            case e.PrintDone() | e.PrintFailed() | e.PrintUnknown():
                self.prints[event.printer, _outcome(event)] += 1
            case e.DrawerOpened() | e.DrawerFailed() | e.DrawerUnknown():
                self.drawers[event.drawer, _outcome(event)] += 1
        if isinstance(event, (*_ALARMS, *_UNKNOWN)):
            self.alarms[str(event.__struct_config__.tag)] += 1


def _outcome(event: e.AnyEvent) -> str:
    return str(event.__struct_config__.tag).rpartition(".")[2].replace("opened", DONE)

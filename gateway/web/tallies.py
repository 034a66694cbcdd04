"""The figures of the last hour, for the console's small charts: one sample every ten seconds, and no more kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from gateway.domain import events as e
from gateway.domain import wallet_events as w
from gateway.flows.recorder import Committed

EVERY_S = 10
KEPT = 360

_COUNTED: dict[type, str] = {
    e.EntryGranted: "granted",
    e.EntryDenied: "denied",
    w.WalletTransferred: "paid",
    e.PrintDone: "printed",
}


class Tallies:
    """Counts what happens, and remembers how figures stood."""

    def __init__(self, gauges: Callable[[], Mapping[str, int]]) -> None:
        """Take what tells the figures that stand at a moment, such as a backlog."""
        self._gauges = gauges
        self._counts = dict.fromkeys(_COUNTED.values(), 0)
        self._series: dict[str, deque[int]] = {}

    def committed(self, entries: Sequence[Committed]) -> None:
        """Follow the recorder."""
        for one in entries:
            name = _COUNTED.get(type(one.entry.event))
            if name is not None:
                self._counts[name] += 1

    def sample(self) -> None:
        """Take a sample; to be called every `EVERY_S`."""
        for name, value in {**self._counts, **self._gauges()}.items():
            self._series.setdefault(name, deque(maxlen=KEPT)).append(value)
        self._counts = dict.fromkeys(self._counts, 0)

    def series(self) -> dict[str, list[int]]:
        """Return every series, oldest sample first."""
        return {name: list(values) for name, values in self._series.items()}

"""What the venue remembers of what is above it: which sinks are out of reach, and what it has been told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.domain.upstream_events import UpstreamFound, UpstreamLost, UpstreamRegained

FOUND = "found"
"""The number of what upstream has found, among those of all that is told by number."""

ROW_TYPES: dict[str, Any] = {"lost": UpstreamLost, "told": int}


class Above:
    """`lost` has each sink that is out of reach; `told` the highest number of each kind of message that was taken.

    `touch(kind, key)` is told what must be stored again.
    """

    def __init__(self, touch: Callable[[str, str], None]) -> None:
        """Begin with everything in reach."""
        self._touch = touch
        self.lost: dict[str, UpstreamLost] = {}
        self.told: dict[str, int] = {}
        self.tables: dict[str, dict[str, Any]] = {"lost": self.lost, "told": self.told}

    def sink_lost(self, event: UpstreamLost) -> None:
        """Take in that a sink is out of reach."""
        self.lost[event.sink] = event
        self._touch("lost", event.sink)

    def sink_regained(self, event: UpstreamRegained) -> None:
        """Take in that it is reached again."""
        self.lost.pop(event.sink, None)
        self._touch("lost", event.sink)

    def heard(self, kind: str, number: int) -> None:
        """Take in a message by its number; it only ever grows."""
        if number > self.told.get(kind, 0):
            self.told[kind] = number
            self._touch("told", kind)


CHANGES: dict[type[msgspec.Struct], Callable[[Any, Any], None]] = {
    UpstreamLost: lambda state, event: state.above.sink_lost(event),
    UpstreamRegained: lambda state, event: state.above.sink_regained(event),
    UpstreamFound: lambda state, event: state.above.heard(FOUND, event.cursor),
}
"""What each fact changes in the venue's state."""

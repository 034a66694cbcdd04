"""What the venue remembers of what is above it: which sinks are out of reach, what it was told, what was ordered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.domain.fleet_events import OrderEnded, OrderRefused, OrderTaken
from gateway.domain.upstream_events import UpstreamFound, UpstreamLost, UpstreamRegained

FOUND, ORDERS = "found", "orders"
"""The numbers of what upstream has found and ordered, among those of all that is told by number."""
_VERSION = "order/"

ROW_TYPES: dict[str, Any] = {"lost": UpstreamLost, "told": int, "order": OrderTaken}


class Above:
    """`lost` has the sinks out of reach, `told` the highest number of each kind of message, `orders` what is under way.

    `touch(kind, key)` is told what must be stored again.
    """

    def __init__(self, touch: Callable[[str, str], None]) -> None:
        """Begin with everything in reach."""
        self._touch = touch
        self.lost: dict[str, UpstreamLost] = {}
        self.told: dict[str, int] = {}
        self.orders: dict[str, OrderTaken] = {}
        self.tables: dict[str, dict[str, Any]] = {"lost": self.lost, "told": self.told, "order": self.orders}

    @property
    def versions(self) -> dict[str, int]:
        """The highest version of each kind of order that was taken."""
        return {name.removeprefix(_VERSION): seq for name, seq in self.told.items() if name.startswith(_VERSION)}

    def order_taken(self, event: OrderTaken) -> None:
        """Take in that an order is being carried out: none of its kind that is not newer counts from here on."""
        self.heard(ORDERS, event.cursor)
        self.heard(_VERSION + event.order_kind, event.version)
        self.orders[event.order_id] = event
        self._touch("order", event.order_id)

    def order_ended(self, event: OrderEnded) -> None:
        """Take in what became of it."""
        self.orders.pop(event.order_id, None)
        self._touch("order", event.order_id)

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
    OrderTaken: lambda state, event: state.above.order_taken(event),
    OrderRefused: lambda state, event: state.above.heard(ORDERS, event.cursor),
    OrderEnded: lambda state, event: state.above.order_ended(event),
}
"""What each fact changes in the venue's state."""

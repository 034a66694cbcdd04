"""A house with two tills, their clients, a drawer each, and guests with cards."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.config.schema import Limits, Till, Venue
from gateway.domain.answers import Answer
from gateway.domain.wallet import Policy
from gateway.flows.drawer import DrawerFlow
from gateway.flows.purchase import PurchaseFlow
from gateway.flows.shift import ShiftFlow
from tests.gateway.fakes import Disk, FakeDirectory, FakeDrawer, FakeKey
from tests.gateway.flows.house import House, request

TILLS = {
    "bar": Till(drawer="bar-drawer", printer="printer", clients=("bar-tablet", "bar-two")),
    "desk": Till(drawer="desk-drawer", clients=("desk-tablet",), language="en"),
}
CLIENTS = {"bar": ("bar-tablet", "bar-two"), "desk": ("desk-tablet",)}
VENUE = Venue("club", "Europe/Vienna", "EUR", "Klub Grüner Hund")
GUEST = {"technology": "em4100", "value": "1000000001"}


class Queue:
    """Stands where a printer's queue stands."""

    def __init__(self) -> None:
        self.looked = 0

    def look_again(self) -> None:
        self.looked += 1


class Counter:
    """What the tills of a venue are to their clients. A second one over the same disk is the run after a crash."""

    def __init__(self, disk: Disk | None = None, seed: int = 1) -> None:
        self.house = House(disk, seed=seed)
        guests = FakeDirectory()
        guests.add(GUEST["value"], "ada")
        self.queue = Queue()
        self.purchase = PurchaseFlow(self.house.recorder, guests, FakeKey())
        self.purchase.configure(Policy(currency="EUR"), 30.0, {})
        self.purchase.cashier.configure(TILLS)
        self.flow = ShiftFlow(self.house.recorder, {"printer": self.queue})
        self.flow.configure(TILLS, Limits(), VENUE)
        self.drawers = {name: FakeDrawer() for name in ("bar-drawer", "desk-drawer")}
        self.drawer_flows = {
            name: DrawerFlow(name, self.house.recorder, port, self.house.spawn, open_is_high=True)
            for name, port in self.drawers.items()
        }
        handlers = {**self.flow.handlers(), "wallet": self.purchase.handlers()}
        handlers |= {name: flow.handlers() for name, flow in self.drawer_flows.items()}
        grants = {target: frozenset(verbs) for target, verbs in handlers.items()}
        clients = [client for names in CLIENTS.values() for client in names]
        self.house.desk.configure(handlers, dict.fromkeys(clients, grants), 60_000)
        self._count = 0

    def ask(self, target: str, verb: str, *, client: str = "bar-tablet", id: str = "", **data: Any) -> str:  # noqa: A002
        """Ask, and return the id of the request."""
        self._count += 1
        request_id = id or f"{len(self.house.journal.disk.rows)}-{self._count}"
        expires_in_s = 20.0 if verb == "open" else None
        asked = request(target, verb, data, id=request_id, client=client, expires_in_s=expires_in_s)
        if (answer := self.house.desk.handle(asked)) is not None:
            self.house.told.append((request_id, answer))
        return request_id

    def answer(self, request_id: str) -> Answer:
        """The newest answer to a request."""
        return [answer for one, answer in self.house.told if one == request_id][-1]

    def journal(self) -> list[dict[str, Any]]:
        """Every row, as somebody reads it who knows nothing of the program."""
        return [{"at_ms": row.at_ms, **msgspec.json.decode(row.body)} for row in self.house.journal.disk.rows]

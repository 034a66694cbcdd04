"""To which shift a payment belongs: that of the till at which its client stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from gateway.config.schema import Till
from gateway.domain import shifts
from gateway.domain import wallet_events as w
from gateway.domain.event import Event
from gateway.domain.reasons import Reason
from gateway.flows.recorder import Recorder

Fact = TypeVar("Fact", bound=Event)


class Cashier:
    """Knows the till of each client. A client at no till is booked nowhere."""

    def __init__(self, recorder: Recorder) -> None:
        """Begin without tills."""
        self._recorder = recorder
        self._till_of: dict[str, str] = {}
        self._tills: Mapping[str, Till] = {}

    def configure(self, tills: Mapping[str, Till]) -> None:
        """Take the tills of a configuration."""
        self._tills = tills
        self._till_of = {client: name for name, till in tills.items() for client in till.clients}

    def refusal(self, client: str) -> Reason | None:
        """Return NO_SHIFT_OPEN where the client's till wants a shift before money moves, and has none."""
        till = self._till_of.get(client)
        if till is None or not self._tills[till].shift_required or till in self._recorder.state.shifts.open:
            return None
        return Reason.NO_SHIFT_OPEN

    def booked(self, fact: Fact) -> Fact:
        """Return a payment with what it is to the open shift of its client's till; of any other fact, itself."""
        if not isinstance(fact, w.WalletTransferred):
            return fact
        shift = self._recorder.state.shifts.open.get(self._till_of.get(fact.client, ""))
        if shift is None:
            return fact
        return msgspec.structs.replace(fact, booked=shifts.booked(shift, fact.legs, fact.currency))

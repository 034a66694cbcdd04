"""Interlocks: of the gates in one, only one is open at a time. Pure; nothing here looks at a clock.

An interlock keeps two doors of a man-trap from standing open together, and the two directions of a turnstile from being
released together. An emergency goes before it: then every gate of the zone is held open.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gateway.domain.reasons import Reason
from gateway.domain.state import GateStatus


class Door(msgspec.Struct, frozen=True):
    """One gate as its neighbours see it.

    `contact_works` is False while nobody can tell whether it is shut; `lock_open` is True while its relay is or may be
    closed, which a guest who was quick leaves behind.
    """

    status: GateStatus
    contact_works: bool
    contact_active: bool
    lock_open: bool


def refusal(neighbours: Iterable[Door]) -> Reason | None:
    """Return why a gate must stay shut because of its neighbours, or None when each of them is shut and locked."""
    for door in neighbours:
        if not door.contact_works:
            return Reason.GATE_UNAVAILABLE
        if door.status != "locked" or door.contact_active or door.lock_open:
            return Reason.INTERLOCKED
    return None

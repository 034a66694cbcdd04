"""A cash drawer opens for a named client, with a reason; an opening nobody asked for is an alarm.

Every function looks at the state and returns the facts that follow, or none; nothing here changes anything.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from gateway.domain import events as e
from gateway.domain.booking import InShift
from gateway.domain.reasons import Reason, message_for
from gateway.domain.state import VenueState


def refusal(state: VenueState, drawer: str) -> Reason | None:
    """Return BUSY while the drawer is being opened already: a second pulse would open nothing more."""
    return Reason.BUSY if state.drawer(drawer).openings else None


def is_opening(state: VenueState, drawer: str, opening: str) -> bool:
    """Return True while the outcome of this opening is not known."""
    return opening in state.drawer(drawer).openings


def contact_opened(drawer: str, *, asked: bool, in_shift: InShift | None = None) -> list[e.AnyEvent]:
    """The contact saw the drawer open; `asked` when a pulse was sent for that, `in_shift` its place in a shift."""
    return [] if asked else [e.DrawerForced(drawer=drawer, in_shift=in_shift)]


def contact_closed(drawer: str) -> list[e.AnyEvent]:
    """The contact saw the drawer close, which ends an alarm."""
    return [e.DrawerClosed(drawer=drawer)]


def left_open(state: VenueState, drawer: str) -> list[e.AnyEvent]:
    """The drawer has stood open longer than it may."""
    if state.drawer(drawer).alarm == "left_open":
        return []
    return [e.DrawerLeftOpen(drawer=drawer)]


def still_open(state: VenueState, drawer: str, alarm: Literal["", "forced", "left_open"]) -> list[e.AnyEvent]:
    """The drawer stands open as before, and of the alarm for that the state may know nothing any more."""
    if alarm == "left_open":
        return left_open(state, drawer)
    return contact_opened(drawer, asked=False) if alarm == "forced" and not state.drawer(drawer).alarm else []


def found_closed(state: VenueState, drawer: str) -> list[e.AnyEvent]:
    """The first thing the contact says after a start is that the drawer is shut: an alarm from before is over."""
    return contact_closed(drawer) if state.drawer(drawer).alarm else []


def opened(opening: e.DrawerOpening, *, confirmed: bool) -> e.DrawerOpened:
    """Return the fact that the pulse was sent; `confirmed` when the contact saw the drawer open."""
    return e.DrawerOpened(opening=opening.opening, drawer=opening.drawer, confirmed=confirmed, request=opening.request)


def failed(opening: e.DrawerOpening, reason: Reason, message: str = "") -> e.DrawerFailed:
    """Return the fact that no pulse was sent."""
    return e.DrawerFailed(
        opening=opening.opening,
        drawer=opening.drawer,
        reason=reason,
        message=message or message_for(reason),
        request=opening.request,
    )


def unknown(opening: e.DrawerOpening, message: str) -> e.DrawerUnknown:
    """Return the fact that the pulse may have been sent; it is not sent again (I2)."""
    return e.DrawerUnknown(opening=opening.opening, drawer=opening.drawer, message=message, request=opening.request)


def interrupted(opening: e.DrawerOpening) -> e.DrawerUnknown:
    """Return the end of an opening that was cut off."""
    return unknown(opening, "The gateway stopped while it opened the drawer. Look, then ask again with a new id.")


def after_restart(state: VenueState) -> list[e.AnyEvent]:
    """Return the facts for the openings that a crash cut off."""
    return [interrupted(opening) for drawer in state.drawers.values() for opening in drawer.openings.values()]


def after_removal(state: VenueState, drawers: Collection[str]) -> list[e.AnyEvent]:
    """Return the end of alarms of drawers that are not among `drawers`, those configured now.

    Nobody watches them any more, so their alarm would stand for ever.
    """
    return [
        e.DrawerClosed(drawer=name) for name, drawer in state.drawers.items() if drawer.alarm and name not in drawers
    ]

"""Frozen facts: what is journalled, published and relayed.

An event says what became true, never what should happen. Where an event changes a count or a place it carries the value
*after* the change, so that applying it twice is the same as applying it once. For the same reason every event that
answers a request names it, also where the job or opening it ends names it too. Credentials appear only as their keyed
reference, never as the number on the card (I12).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from gateway.domain.allowance_events import AllowanceBookOpened, AllowanceChanged
from gateway.domain.booking import InShift
from gateway.domain.clock_events import ClockEvent
from gateway.domain.erasure import HolderErased
from gateway.domain.event import Event, RequestRef
from gateway.domain.fleet_events import FleetEvent
from gateway.domain.input_events import InputEvent
from gateway.domain.reasons import Reason
from gateway.domain.redemption_events import RedemptionEvent
from gateway.domain.shift_events import ShiftEvent
from gateway.domain.upstream_events import UpstreamEvent
from gateway.domain.wallet_events import WalletEvent
from gateway.domain.zone_events import ZoneEvent

__all__ = ["AnyEvent", "Entry", "Event", "RequestRef"]


# Entry: one guest at one gate. `entry` is the correlation id from the tap to the passage.


class EntryGranted(Event, frozen=True, tag="entry.granted"):
    """A guest may pass `gate` once. The use is taken and the guest counts as being in `zone` from here on.

    `day` and `uses_today` stand where the entitlement has a limit per day. `flags` names rules that were not met and
    only noted. With `override_by` it was a client's staff who let the guest in, for `override_reason` and whatever
    the rules say; `holder` is then empty for a guest whom nobody named, and such a guest is not counted anywhere.
    """

    entry: str
    gate: str
    credential: str
    holder: str
    entitlement: str
    zone: str
    uses: int
    source: str
    from_zone: str | None = None
    uses_before: int = 0
    entitlement_before: str | None = None
    passage_observed: bool = False
    actuates: bool = True
    since_ms: int = 0
    since_before_ms: int = 0
    day: str = ""
    uses_today: int = 0
    uses_today_before: int = 0
    flags: tuple[str, ...] = ()
    override_by: str = ""
    override_reason: str = ""
    request: RequestRef | None = None


class EntryDenied(Event, frozen=True, tag="entry.denied"):
    """A guest may not pass `gate`, for exactly one reason."""

    entry: str
    gate: str
    reason: Reason
    source: str
    credential: str | None = None
    holder: str | None = None
    request: RequestRef | None = None


class GateReleased(Event, frozen=True, tag="gate.released"):
    """The lock took the pulse for this entry."""

    entry: str
    gate: str


class EntryPassed(Event, frozen=True, tag="entry.passed"):
    """The passage contact saw the guest go through."""

    entry: str
    gate: str


class EntryReturned(Event, frozen=True, tag="entry.returned"):
    """The entry was handed back: the guest did not go through, or the lock did not open. The ticket is as before."""

    entry: str
    gate: str
    holder: str
    entitlement: str
    uses: int
    zone: str | None
    why: Literal["not_passed", "release_failed"]
    zone_entitlement: str | None = None
    zone_since_ms: int = 0
    day: str = ""
    uses_today: int = 0


class EntryUnknown(Event, frozen=True, tag="entry.unknown"):
    """Nobody can say what became of the grant. The use stays taken (I4); a person must look.

    A crash, a lock or a contact that did not answer came before its outcome; or (`went_on`) the gate saw nobody, but
    the guest was let through another gate by this same use.
    """

    entry: str
    gate: str
    why: Literal["release_unrecorded", "passage_unrecorded", "went_on"]


# The gate itself.


class GateForced(Event, frozen=True, tag="gate.forced"):
    """Alarm: someone passed a gate that nobody released."""

    gate: str


class GateHeldOpen(Event, frozen=True, tag="gate.held_open"):
    """Alarm: the gate stayed open longer than its limit."""

    gate: str


class GateClosed(Event, frozen=True, tag="gate.closed"):
    """A forced or held-open gate is shut again."""

    gate: str


class GateFault(Event, frozen=True, tag="gate.fault"):
    """The gate's lock did not do what it was told; entries there are refused until it answers again."""

    gate: str
    why: str


class GateRestored(Event, frozen=True, tag="gate.restored"):
    """The gate's lock answers again after a fault."""

    gate: str


# Printing: queued → printing → done | failed | unknown.


class PrintQueued(Event, frozen=True, tag="print.queued"):
    """A job is stored and will be printed in its turn. Its content is an attachment of this journal entry."""

    job: str
    printer: str
    client: str
    content: Literal["document", "raw"]
    size_bytes: int
    digest: str
    expires_at_ms: int | None = None
    copy_of: str | None = None
    request: RequestRef | None = None


class PrintStarted(Event, frozen=True, tag="print.started"):
    """The first byte of the job is about to be sent. After this a crash makes the job `unknown`."""

    job: str
    printer: str


class PrintHeld(Event, frozen=True, tag="print.held"):
    """The printer cannot print now (`paper_out`, `cover_open`, …); the job waits at the head of its queue."""

    job: str
    printer: str
    why: str
    request: RequestRef | None = None


class PrintDone(Event, frozen=True, tag="print.done"):
    """The job is printed. `confirmed` is False where the printer cannot say so."""

    job: str
    printer: str
    confirmed: bool
    request: RequestRef | None = None


class PrintCancelled(Event, frozen=True, tag="print.cancelled"):
    """A client took back a job that still waited. The job's own end, `print.failed`, comes with it."""

    job: str
    printer: str
    client: str
    request: RequestRef | None = None


class PrintFailed(Event, frozen=True, tag="print.failed"):
    """Nothing of the job was printed, and it will not be."""

    job: str
    printer: str
    reason: Reason
    message: str
    request: RequestRef | None = None


class PrintUnknown(Event, frozen=True, tag="print.unknown"):
    """Some or all of the job may be on paper. It is never printed again by itself."""

    job: str
    printer: str
    message: str
    request: RequestRef | None = None


# The cash drawer.


class DrawerOpening(Event, frozen=True, tag="drawer.opening"):
    """A named client asked for the drawer, with a reason; the pulse is about to be sent."""

    opening: str
    drawer: str
    client: str
    reason: str
    in_shift: InShift | None = None
    request: RequestRef | None = None


class DrawerOpened(Event, frozen=True, tag="drawer.opened"):
    """The pulse was sent. `confirmed` is True where the drawer's contact saw it open."""

    opening: str
    drawer: str
    confirmed: bool = False
    request: RequestRef | None = None


class DrawerFailed(Event, frozen=True, tag="drawer.failed"):
    """The pulse was not sent."""

    opening: str
    drawer: str
    reason: Reason
    message: str
    request: RequestRef | None = None


class DrawerUnknown(Event, frozen=True, tag="drawer.unknown"):
    """The pulse may have been sent. It is never sent again by itself."""

    opening: str
    drawer: str
    message: str
    request: RequestRef | None = None


class DrawerForced(Event, frozen=True, tag="drawer.forced"):
    """Alarm: the drawer opened and nobody asked."""

    drawer: str
    in_shift: InShift | None = None


class DrawerLeftOpen(Event, frozen=True, tag="drawer.left_open"):
    """Alarm: the drawer has stood open longer than its limit."""

    drawer: str


class DrawerClosed(Event, frozen=True, tag="drawer.closed"):
    """The drawer's contact saw it close."""

    drawer: str


# Devices and the gateway.


class DeviceOnline(Event, frozen=True, tag="device.online"):
    """A device works."""

    device: str
    detail: str = ""


class DeviceOffline(Event, frozen=True, tag="device.offline"):
    """A device does not answer; the supervisor keeps trying."""

    device: str
    why: str


class GatewayStarted(Event, frozen=True, tag="gateway.started"):
    """The daemon is up. `clean` is False when the run before did not say goodbye."""

    version: str
    clean: bool
    config_digest: str


class GatewayStopped(Event, frozen=True, tag="gateway.stopped"):
    """The daemon was told to stop and finished what it had begun."""


class ConfigurationLoaded(Event, frozen=True, tag="configuration.loaded"):
    """A changed configuration is in force."""

    config_digest: str


class ConfigurationRefused(Event, frozen=True, tag="configuration.refused"):
    """A bad configuration was refused; the last good one runs on (I11)."""

    problems: int
    first: str


class DirectoryLoaded(Event, frozen=True, tag="directory.loaded"):
    """Another directory is in force from here on."""

    version: str
    credentials: int
    entitlements: int


AnyEvent: TypeAlias = (
    EntryGranted
    | EntryDenied
    | GateReleased
    | EntryPassed
    | EntryReturned
    | EntryUnknown
    | GateForced
    | GateHeldOpen
    | GateClosed
    | GateFault
    | GateRestored
    | ZoneEvent
    | PrintQueued
    | PrintStarted
    | PrintHeld
    | PrintDone
    | PrintCancelled
    | PrintFailed
    | PrintUnknown
    | DrawerOpening
    | DrawerOpened
    | DrawerFailed
    | DrawerUnknown
    | DrawerForced
    | DrawerLeftOpen
    | DrawerClosed
    | DeviceOnline
    | DeviceOffline
    | GatewayStarted
    | GatewayStopped
    | ConfigurationLoaded
    | ConfigurationRefused
    | DirectoryLoaded
    | ClockEvent
    | ShiftEvent
    | WalletEvent
    | InputEvent
    | RedemptionEvent
    | AllowanceBookOpened
    | AllowanceChanged
    | UpstreamEvent
    | FleetEvent
    | HolderErased
)
"""Every event there is; decoding a journal row goes through this union."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One journal row: `seq` counts from 1 without gaps, `id` is a UUIDv7 in text, `at_ms` never goes backwards."""

    seq: int
    id: str
    at_ms: int
    event: AnyEvent

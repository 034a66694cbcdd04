"""One cash drawer: opened once for a named client with a reason, and watched for what nobody asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, Protocol

import msgspec
import structlog
from msgspec import Meta

from drivers.api import DeviceOffline, DeviceTimeout, Drawer, DriverError, PrinterStatus
from gateway.domain import drawers, shifts
from gateway.domain import events as e
from gateway.domain.answers import Answer, denied
from gateway.domain.booking import InShift
from gateway.domain.reasons import Reason
from gateway.flows.desk import Handler, RefusedRequest, Request, read_data
from gateway.flows.noting import note
from gateway.flows.recorder import Commit, Recorder
from gateway.store.journal import StorageUnavailable

log = structlog.get_logger(__name__)

MS_PER_S = 1000
PULSE_TIMEOUT_S = 3.0
"""How long the pulse may take until nobody can say any more whether it was sent.

A printer's driver gives up after 2 s and a relay's sooner, each knowing best what was sent; this is for one that hangs,
and short, because someone stands at the drawer.
"""
CONFIRM_S = 1.0
"""How long an answer waits for the contact to see the drawer open."""
ASKED_S = 5.0
"""How long after a pulse an opening counts as asked for: some printers tell of their contact only every few seconds."""
LEFT_OPEN_S = 60.0


class DrawerPort(Protocol):
    """A drawer as the supervisor hands it out: the device behind it may come and go."""

    @property
    def online(self) -> bool:
        """True while the drawer can be pulsed."""
        ...

    def drawer(self) -> Drawer:
        """Return the live drawer; raises DeviceOffline while there is none.

        Its `open` raises DeviceOffline or DeviceTimeout when nothing was sent, any other DriverError when something
        may have been.
        """
        ...


class OpenData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of an `open` request: why, for the journal."""

    reason: Annotated[str, Meta(min_length=1, max_length=200)]


class StatusData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of a `status` request: nothing."""


class DrawerFlow:
    """The story of one drawer, from the request to the moment it is shut again."""

    def __init__(
        self,
        name: str,
        recorder: Recorder,
        port: DrawerPort,
        spawn: Callable[..., object],
        *,
        open_is_high: bool | None = None,
        left_open_s: float = LEFT_OPEN_S,
    ) -> None:
        """Join a drawer of the configuration to its device.

        `open_is_high` is what the contact reads while the drawer is open, None for a drawer without a contact;
        `spawn(coroutine)` runs what follows a request in the background.
        """
        self.name = name
        self._recorder = recorder
        self._port = port
        self._spawn = spawn
        self._open_is_high = open_is_high
        self._left_open_s = left_open_s
        self._is_open: bool | None = None
        self._presumed = False
        self._alarm: Literal["", "forced", "left_open"] = ""
        self._seen_open = asyncio.Event()
        self._pulsing = False
        self._asked_until_s = float("-inf")
        self._left_open_timer: asyncio.TimerHandle | None = None

    def handlers(self) -> Mapping[str, Handler]:
        """Return what serves each verb of this drawer at the desk."""
        return {
            "open": Handler(self.take_open, moves_metal=True),
            "status": Handler(self.take_status, repeatable=True),
        }

    def take_open(self, request: Request) -> None:
        """Record that a client wants the drawer open; it is pulsed once that is on disk (I1)."""
        reason = read_data(request, OpenData).reason
        if not reason.strip():
            raise RefusedRequest(denied(Reason.MALFORMED, "`data.reason` is blank. Say why the drawer is opened."))
        self.begin(request.client, reason, request.expires_at_ms, request.ref)

    def begin(self, client: str, reason: str, expires_at_ms: int | None, request: e.RequestRef | None = None) -> None:
        """Record that `client` wants the drawer open, and pulse it once that is on disk. Raises RefusedRequest."""
        if refusal := drawers.refusal(self._recorder.state, self.name):
            raise RefusedRequest(denied(refusal, "The drawer is being opened already."))
        opening = e.DrawerOpening(
            opening=self._recorder.new_id(),
            drawer=self.name,
            client=client,
            reason=reason,
            in_shift=self._in_shift(),
            request=request,
        )
        commit = self._recorder.record(opening)
        # By the loop's clock from here on: the other one may be set while the disk takes its time (I6, I10).
        self._spawn(self._open(opening, self._recorder.deadline_s(expires_at_ms), commit))

    def take_status(self, request: Request) -> Answer:
        """Answer how the drawer is; `contact` is `unknown` where there is none or it says nothing."""
        read_data(request, StatusData)
        alarm = self._recorder.state.drawer(self.name).alarm
        return Answer("done", None, "", {"connected": self._port.online, "contact": self.contact, "alarm": alarm})

    @property
    def contact(self) -> str:
        """`open`, `closed`, or `unknown` where there is no contact or it has said nothing."""
        return {True: "open", False: "closed", None: "unknown"}[self._is_open]

    async def _open(self, opening: e.DrawerOpening, deadline_s: float | None, commit: Commit) -> None:
        """Wait for the disk, then pulse. Called once per opening and never again for the same one (I2)."""
        try:
            await commit
        except StorageUnavailable:
            log.error("drawer_opening_not_stored", drawer=self.name, opening=opening.opening)
            return
        left_s = PULSE_TIMEOUT_S
        if deadline_s is not None:
            left_s = min(left_s, deadline_s - _now_s())
        if left_s <= 0:
            # The disk took so long that whoever asked may have walked away (I6).
            self._end(drawers.failed(opening, Reason.REQUEST_EXPIRED))
            return
        self._seen_open.clear()
        self._pulsing = True
        try:
            self._end(await self._pulse(opening, left_s))
        except asyncio.CancelledError:
            # An opening without an end would keep the drawer busy for ever.
            self._end(drawers.interrupted(opening))
            raise
        finally:
            self._pulsing = False

    async def _pulse(
        self, opening: e.DrawerOpening, within_s: float
    ) -> e.DrawerOpened | e.DrawerFailed | e.DrawerUnknown:
        try:
            async with asyncio.timeout(within_s):
                await self._port.drawer().open()
        except (DeviceOffline, DeviceTimeout) as error:
            return drawers.failed(opening, Reason.DEVICE_OFFLINE, str(error))
        except (DriverError, TimeoutError) as error:
            doubt = str(error) or "The drawer did not answer. Look whether it is open."
        except Exception:
            # A bug in one driver must not stop the daemon (I8).
            log.exception("drawer_pulse_failed", drawer=self.name, opening=opening.opening)
            doubt = "The drawer's driver failed. Look whether the drawer is open; the log has the details."
        else:
            doubt = ""
        confirmed = await self._confirmed()
        if not confirmed:
            self._asked_until_s = _now_s() + ASKED_S
        if doubt and not confirmed:
            return drawers.unknown(opening, doubt)
        return drawers.opened(opening, confirmed=confirmed)

    async def _confirmed(self) -> bool:
        """Return True when the contact sees the drawer open within a second; at once where no contact can tell."""
        if self._is_open is None or self._is_open or self._seen_open.is_set():
            return bool(self._is_open or self._seen_open.is_set())
        try:
            async with asyncio.timeout(CONFIRM_S):
                await self._seen_open.wait()
        except TimeoutError:
            return False
        return True

    # The contact.

    def printer_changed(self, status: PrinterStatus) -> None:
        """The printer said how it is, and with that how the drawer's contact stands."""
        if status.drawer_pin_high is not None and self._open_is_high is not None:
            self.contact_changed(is_open=status.drawer_pin_high == self._open_is_high)

    def contact_changed(self, *, is_open: bool) -> None:
        """The contact, wherever it hangs, says that the drawer is open or shut."""
        before = None if self._presumed else self._is_open
        if is_open == self._is_open:
            return
        self._is_open = is_open
        if is_open:
            self._opened(first=before is None)
        else:
            self._closed(first=before is None)

    def contact_answers(self, *, rests_open: bool) -> None:
        """The board of the contact is there; `rests_open` is what the contact says at rest.

        A board tells only of inputs that are away from rest, and those at once: what it then says of this contact is
        how it found it, and no opening.
        """
        if self._is_open is None:
            self.contact_changed(is_open=rests_open)
            self._presumed = True
            asyncio.get_running_loop().call_soon(self._found)

    def _found(self) -> None:
        self._presumed = False

    def storage_recovered(self) -> None:
        """The state was rebuilt from the disk, and what the contact said meanwhile is not in it."""
        if self._is_open:
            self._note(*drawers.still_open(self._recorder.state, self.name, self._alarm))
        elif self._is_open is not None:
            self._note(*drawers.found_closed(self._recorder.state, self.name))

    def take_over(self, before: DrawerFlow) -> None:
        """Go on where the flow of an earlier configuration stopped: an opening asked of that one is no alarm."""
        self._asked_until_s = _now_s() + ASKED_S if before._pulsing else before._asked_until_s

    def close(self) -> None:
        """Stop the timer; the drawer is no longer served."""
        if self._left_open_timer is not None:
            self._left_open_timer.cancel()
            self._left_open_timer = None

    def _opened(self, *, first: bool) -> None:
        """The first word after a start is no opening: the drawer may have stood open for long."""
        asked = self._pulsing or _now_s() <= self._asked_until_s
        self._seen_open.set()
        self._asked_until_s = float("-inf")
        if not first:
            self._alarm = "" if asked else "forced"
            self._note(*drawers.contact_opened(self.name, asked=asked, in_shift=self._in_shift()))
        self._left_open_timer = asyncio.get_running_loop().call_later(self._left_open_s, self._left_open)

    def _in_shift(self) -> InShift | None:
        """Return the place of an opening in the shift that has this drawer."""
        shift = self._recorder.state.shifts.at_drawer(self.name)
        return shifts.next_opening(shift, self._recorder.now_ms()) if shift is not None else None

    def _closed(self, *, first: bool) -> None:
        self.close()
        self._alarm = ""
        if first:
            self._note(*drawers.found_closed(self._recorder.state, self.name))
        else:
            self._note(*drawers.contact_closed(self.name))

    def _left_open(self) -> None:
        self._left_open_timer = None
        self._alarm = "left_open"
        self._note(*drawers.left_open(self._recorder.state, self.name))

    def _end(self, event: e.DrawerOpened | e.DrawerFailed | e.DrawerUnknown) -> None:
        """Record what became of an opening, unless the state was rebuilt meanwhile and has already given it up."""
        if drawers.is_opening(self._recorder.state, self.name, event.opening):
            self._note(event)
        else:
            log.error("drawer_outcome_too_late", drawer=self.name, opening=event.opening, outcome=type(event).__name__)

    def _note(self, *events: e.AnyEvent) -> None:
        note(self._recorder, self.name, *events)


def _now_s() -> float:
    return asyncio.get_running_loop().time()

"""Who vouches for the time: NTP, upstream, a technician or a battery; and what is done until somebody does (I10)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, Protocol

import structlog
from msgspec import Meta, Struct

from gateway.config.schema import Clock
from gateway.domain import clock_events as c
from gateway.domain.answers import denied
from gateway.domain.clock import DRIFT_MS, Doubt, vouched_ms
from gateway.domain.reasons import Reason
from gateway.flows.desk import Handler, RefusedRequest, Request, read_data
from gateway.flows.noting import note
from gateway.flows.recorder import Recorder
from gateway.flows.venue_clock import STEP_MS, Step, VenueClock
from gateway.store.journal import StorageUnavailable

log = structlog.get_logger(__name__)

BEHIND_MAX_MS = 60_000
"""A clock this far behind the journal at the start is wrong, or was when the journal was written."""
UPSTREAM_TOLERANCE_MS = 2_000
NOW_MIN_MS, NOW_MAX_MS = 1_577_836_800_000, 4_102_444_800_000
"""2020 and 2100: a time outside is a slip of the finger."""


class VouchData(Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of a `vouch_clock` request: the time is right, or it is `now_ms`."""

    reason: Annotated[str, Meta(min_length=1, max_length=200, description="How you know; it stands in the journal.")]
    now_ms: Annotated[
        Annotated[int, Meta(ge=NOW_MIN_MS, le=NOW_MAX_MS)] | None,
        Meta(description="The time now, in UTC milliseconds. Left out: the gateway's own clock is right."),
    ] = None


class LeftVouch(Protocol):
    """A word for the clock that was left on the machine itself."""

    @property
    def boot(self) -> str:
        """Which start of the machine it was for."""
        ...

    @property
    def elapsed_ms(self) -> int:
        """How long the machine had run."""
        ...

    @property
    def at_ms(self) -> int:
        """What the system's clock said, and rightly."""
        ...

    @property
    def reason(self) -> str:
        """How the technician knew."""
        ...


class ClockFlow:
    """Keeps the venue's clock, and the recorder's doubt about it, in step with what is known."""

    def __init__(
        self,
        recorder: Recorder,
        clock: VenueClock,
        changed: Callable[[], object],
        left_vouch: Callable[[], LeftVouch | None] = lambda: None,
    ) -> None:
        """Watch `clock`; `changed()` is told when there is something to announce.

        `left_vouch()` returns what a technician left on the machine since the last look.
        """
        self._recorder = recorder
        self._clock = clock
        self._changed = changed
        self._left_vouch = left_vouch
        self._policy = Clock()
        self._by: c.VouchedBy | Literal[""] = ""
        self._steps: list[Step] = []
        self.jumps = 0
        self.why = ""
        clock.on_step = self._stepped

    @property
    def trusted(self) -> bool:
        """True while somebody vouches for the time."""
        return self._recorder.doubt is None

    @property
    def off_ms(self) -> int:
        """How far the system's clock is ahead of the venue's time; 0 where they are the same."""
        return self._clock.off_ms if self._clock.holds_own or not self.trusted else 0

    def handlers(self) -> Mapping[str, Handler]:
        """Return what the target `gateway` serves of this."""
        return {"vouch_clock": Handler(self.take_vouch)}

    def start(self, policy: Clock) -> None:
        """Find out, before anything else is recorded, whether the time can be believed."""
        self._clock.know(self._recorder.last_at_ms)
        self.configure(policy)

    def configure(self, policy: Clock) -> None:
        """Take the rules of a configuration."""
        if self._by and policy == self._policy:
            return
        self._policy = policy
        self._clock.last_known_only = policy.untrusted == "last_known"
        by = self._voucher()
        if by is not None and by != self._by:
            self._trust(by)
        elif by is None and self._by in ("", "battery"):
            self._doubt("nobody has vouched for the time since the machine started")

    def look(self) -> None:
        """Look again, once a second: NTP may have come, or a technician."""
        self._clock.now_ms()
        if (left := self._left_vouch()) is not None:
            self._take_left(left)
        if self.trusted and not self._clock.holds_own:
            return
        if self._clock.system.synchronised():
            self._trust("ntp")
        elif not self.trusted:
            self._recorder.doubt = self._doubtful()

    def take_vouch(self, request: Request) -> None:
        """A client that may do so vouches for the time, or tells it."""
        asked = read_data(request, VouchData)
        if not asked.reason.strip():
            raise RefusedRequest(denied(Reason.MALFORMED, "`data.reason` is blank. Say how you know the time."))
        at_ms = asked.now_ms if asked.now_ms is not None else self._clock.system.wall_ms()
        vouched = self._vouched("technician", at_ms, client=request.client, reason=asked.reason, request=request)
        before, self._recorder.doubt = self._recorder.doubt, None
        try:
            self._recorder.record(vouched)
        except StorageUnavailable:
            # Where nothing can be stored, nothing has been vouched for.
            self._recorder.doubt = before
            raise
        self._believe(vouched)

    def upstream_said(self, at_ms: int, uncertain_ms: int) -> None:
        """Upstream told its time, `at_ms` now, give or take `uncertain_ms`; a time too uncertain is no help."""
        if uncertain_ms > UPSTREAM_TOLERANCE_MS or (self.trusted and not self._clock.holds_own):
            return
        self._note(self._vouched("upstream", at_ms))

    def storage_recovered(self) -> None:
        """The state was rebuilt from disk: say again what is so now."""
        standing = self._recorder.state.clock
        if self.trusted and isinstance(standing, c.ClockDoubted):
            self._note(self._vouched(self._by or "technician", self._clock.now_ms()))
        elif not self.trusted and not isinstance(standing, c.ClockDoubted):
            self._doubt(self.why)

    # What is known.

    def _voucher(self) -> c.VouchedBy | None:
        """Return who vouches for the system's clock at this moment."""
        system, standing = self._clock.system, self._recorder.state.clock
        if system.synchronised():
            return "ntp"
        if self._policy.trust == "system" or (self._policy.trust == "auto" and self._battery_holds()):
            return "battery"
        known_ms = vouched_ms(standing, system.boot, system.elapsed_ms())
        return standing.by if known_ms is not None and isinstance(standing, c.ClockVouched) else None

    def _battery_holds(self) -> bool:
        behind_ms = self._clock.known_ms - self._clock.system.wall_ms()
        return self._clock.system.has_battery() and behind_ms < BEHIND_MAX_MS

    def _take_left(self, left: LeftVouch) -> None:
        system = self._clock.system
        now_ms = left.at_ms + system.elapsed_ms() - left.elapsed_ms
        if left.boot != system.boot or abs(now_ms - system.wall_ms()) > STEP_MS:
            log.warning("clock_vouch_refused", why="the machine was started or its clock was set since; vouch again")
            return
        self._note(self._vouched("technician", now_ms, reason=left.reason))

    # What follows.

    def _trust(self, by: c.VouchedBy) -> None:
        """Believe a time. It is journalled when it was in doubt, or when the next start must know it."""
        standing, system = self._recorder.state.clock, self._clock.system
        at_ms, known_ms = system.wall_ms(), vouched_ms(standing, system.boot, system.elapsed_ms())
        is_news = known_ms is None or abs(known_ms - at_ms) > DRIFT_MS
        if by == "battery":
            is_news = isinstance(standing, c.ClockDoubted)
        elif known_ms is not None and not system.synchronised():
            # A clock that was set while the gateway was down is no better than the word there was before.
            at_ms, is_news = (known_ms if is_news else at_ms), False
        vouched = self._vouched(by, at_ms)
        self._believe(vouched)
        if is_news:
            note(self._recorder, "the clock", vouched)

    def _vouched(
        self, by: c.VouchedBy, at_ms: int, *, client: str = "", reason: str = "", request: Request | None = None
    ) -> c.ClockVouched:
        system = self._clock.system
        return c.ClockVouched(
            by=by,
            boot=system.boot,
            elapsed_ms=system.elapsed_ms(),
            at_ms=at_ms,
            moved_ms=at_ms - self._clock.now_ms(),
            client=client,
            reason=reason,
            request=request.ref if request is not None else None,
        )

    def _note(self, vouched: c.ClockVouched) -> None:
        self._believe(vouched)
        note(self._recorder, "the clock", vouched)

    def _believe(self, vouched: c.ClockVouched) -> None:
        self._clock.trusted, self._recorder.doubt, self.why = True, None, ""
        self._by, self._clock.follows_steps = vouched.by, vouched.by == "battery"
        self._clock.set(vouched.at_ms)
        self._changed()

    def _doubt(self, why: str) -> None:
        self._clock.trusted, self._clock.follows_steps, self.why, self._by = False, False, why, ""
        self._recorder.doubt = self._doubtful()
        standing = self._recorder.state.clock
        if not isinstance(standing, c.ClockDoubted) or standing.policy != self._policy.untrusted:
            note(self._recorder, "the clock", c.ClockDoubted(why=why, policy=self._policy.untrusted))
        self._changed()

    def _doubtful(self) -> Doubt:
        return Doubt(self._policy.untrusted, self._clock.known_ms)

    def _stepped(self, step: Step) -> None:
        """The clock tells this while somebody asks it for the time, so what follows has to wait a moment."""
        if not self._steps:
            asyncio.get_running_loop().call_soon(self._tell_steps)
        self._steps = [*self._steps, step][-2:]
        self.jumps += 1

    def _tell_steps(self) -> None:
        steps, self._steps = self._steps, []
        for step in steps:
            log.warning("clock_jumped", by_ms=step.by_ms, followed=step.followed)
            note(self._recorder, "the clock", c.ClockJumped(by_ms=step.by_ms, followed=step.followed))
        if not self.trusted:
            # It may have been NTP that set it.
            self.look()
        elif self._by != "battery" and not self._clock.holds_own:
            # NTP set it: the next start must not go on from the time before.
            self._note(self._vouched("ntp", self._clock.system.wall_ms()))
        self._changed()

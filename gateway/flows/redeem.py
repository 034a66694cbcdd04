"""Redeem: a tap or a code uses up entitlements (a drink, a place in the cloakroom, a better seat), all lines or none.

A tablet names the guest's credential, or a reader whose next tap is the guest's. Nothing here moves metal: what the
counter hands out follows the answer, which comes from the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from zoneinfo import ZoneInfo

import msgspec
import structlog

from gateway.domain import authenticity, entitlements, redemptions
from gateway.domain import redemption_events as r
from gateway.domain.access import Entitlement
from gateway.domain.answers import Answer, denied
from gateway.domain.authenticity import Evidence
from gateway.domain.entitlements import Purse, Refusal
from gateway.domain.event import RequestRef
from gateway.domain.ledger import transfer_id
from gateway.domain.reasons import Reason
from gateway.domain.redemptions import Redeemed
from gateway.flows import redeem_data as d
from gateway.flows.authenticity import Authenticity
from gateway.flows.desk import Handler, RefusedRequest, Request, read_data
from gateway.flows.lookup import Found, Lookup, Presented
from gateway.flows.purchase_data import CancelData
from gateway.flows.purchase_ports import ReaderPort
from gateway.flows.reader_timers import ReaderTimers
from gateway.flows.recorder import Recorder
from gateway.flows.redeem_why import explained
from gateway.flows.till import known_guest
from gateway.flows.why import WhyData
from gateway.store.journal import StorageUnavailable

log = structlog.get_logger(__name__)

MS_PER_S = 1000
TRY_AGAIN_MS = 1000
"""How soon a timer tries again whose fact could not be stored."""

T = TypeVar("T")


class RedeemFlow:
    """What every guest of the venue may redeem, and the readers that wait for somebody to do so."""

    def __init__(self, recorder: Recorder, lookup: Lookup) -> None:
        """Begin without readers: only what names a credential can be served."""
        self.authenticity = Authenticity(recorder)
        self._recorder = recorder
        self._lookup = lookup
        self._timezone = ZoneInfo("UTC")
        self._arm_timeout_s = 30.0
        self._readers: Mapping[str, ReaderPort] = {}
        self._timers = ReaderTimers(recorder.now_ms)

    def configure(self, timezone: ZoneInfo, arm_timeout_s: float, readers: Mapping[str, ReaderPort]) -> None:
        """Take the venue's time zone, how long a reader waits, and the readers; one that is gone waits no more."""
        self._timezone, self._arm_timeout_s, self._readers = timezone, arm_timeout_s, readers
        self.storage_recovered()
        for armed in list(self._state.armed.values()):
            if armed.reader not in readers:
                self._give_up(armed, Reason.CONFIGURATION_CHANGED)

    def handlers(self) -> Mapping[str, Handler]:
        """Return what serves each verb of the target `entitlements`."""
        return {
            "redeem": Handler(self._take_redeem),
            "undo": Handler(self._take_undo),
            "cancel": Handler(self._take_cancel),
            "why": Handler(self._take_why, repeatable=True),
        }

    def tap(self, reader: str, technology: str, value: str, evidence: Evidence = authenticity.NONE) -> bool:
        """Let a guest redeem at a reader that waits for one. False where none does: the tap is for somebody else.

        Raises StorageUnavailable when nothing can be recorded; then nothing is used.
        """
        armed = self._state.armed.get(reader)
        if armed is None:
            return False
        found = self._lookup.find(technology, value, self._recorder.now_ms(), self._recorder.doubt)
        found = self.authenticity.checked(found, technology, evidence)
        self._fulfil(armed.redemption, armed.client, armed.lines, found, armed.request, reader)
        self._timers.stop(reader)
        return True

    def storage_recovered(self) -> None:
        """Set the timers by what the state says: at the start, and after it was rebuilt from disk."""
        self._timers.stop_all()
        for armed in self._state.armed.values():
            self._await_tap(armed)

    def close(self) -> None:
        """Stop; whoever waits for a tap is told that there will be none."""
        for armed in list(self._state.armed.values()):
            self._give_up(armed, Reason.REDEMPTION_INTERRUPTED)
        self._timers.stop_all()

    @property
    def _state(self) -> redemptions.Redemptions:
        return self._recorder.state.redemptions

    # What a client asks.

    def _take_redeem(self, request: Request) -> Answer | None:
        data = read_data(request, d.RedeemData)
        if (data.reader is None) == (data.credential is None):
            raise RefusedRequest(
                denied(Reason.MALFORMED, "`data`: give either `reader` or `credential`, and one of them.")
            )
        lines = _lines(data.lines)
        redemption = transfer_id(request.client, request.id)
        if (known := self._made(redemption)) is not None:
            return _done_before(known, redemption, request)
        if data.credential is not None:
            # A number that a client merely names proves nothing.
            technology = data.credential.technology if isinstance(data.credential, Presented) else ""
            found = self._lookup.shown(data.credential, self._recorder.now_ms(), self._recorder.doubt)
            found = self.authenticity.checked(found, technology)
            self._fulfil(redemption, request.client, lines, found, request.ref, None)
        else:
            self._arm(request, redemption, str(data.reader), lines)
        return None

    def _take_undo(self, request: Request) -> Answer | None:
        data = read_data(request, d.UndoData)
        lines = None if data.lines is None else _lines(data.lines)
        own = transfer_id(request.client, request.id)
        if (known := self._made(own)) is not None:
            return _done_before(known, own, request)
        redeemed = self._made(data.redemption)
        if redeemed is None or not redeemed.parts:
            raise RefusedRequest(denied(Reason.UNKNOWN_REDEMPTION))
        self._undo(request, own, data.redemption, redeemed, lines)
        return None

    def _take_cancel(self, request: Request) -> Answer | None:
        asked = read_data(request, CancelData).request
        redemption = transfer_id(request.client, asked)
        armed = self._state.waiting(redemption)
        facts = redemptions.cancelled(self._state, redemption, request.client, request.ref)
        if facts is None or armed is None:
            over = self._recorder.answered(request.client, asked) is not None
            raise RefusedRequest(denied(Reason.REDEMPTION_ENDED if over else Reason.UNKNOWN_REDEMPTION))
        self._recorder.record(*facts)
        self._timers.stop(armed.reader)
        return None

    def _take_why(self, request: Request) -> Answer:
        asked = read_data(request, WhyData)
        if (asked.credential is None) == (asked.holder is None):
            raise RefusedRequest(denied(Reason.MALFORMED, "Ask for a `credential` or for a `holder`, one of the two."))
        now_ms, doubt = self._recorder.now_ms(), self._recorder.doubt
        found = (
            self._lookup.shown(asked.credential, now_ms, doubt)
            if asked.credential is not None
            else self._lookup.holder(asked.holder or "")
        )
        state = self._recorder.state
        return explained(found, state, self._purse(found.entitlements), now_ms, doubt)

    # From the order to the fact.

    def _arm(self, request: Request, redemption: str, reader: str, lines: tuple[r.Line, ...]) -> None:
        """Let a reader wait for the next tap. One order at a time, also of those for money."""
        port = self._readers.get(reader)
        if port is None:
            known = ", ".join(sorted(self._readers)) or "none"
            message = f"There is no reader {reader!r} here. Readers are: {known}."
            raise RefusedRequest(denied(Reason.UNKNOWN_READER, message))
        if not port.online:
            message = f"{reader} is not connected. Check its power and cable."
            raise RefusedRequest(denied(Reason.DEVICE_OFFLINE, message))
        if reader in self._state.armed or reader in self._recorder.state.ledger.armed:
            raise RefusedRequest(denied(Reason.BUSY, f"{reader} waits for a card for somebody else. Try again soon."))
        until_ms = self._recorder.now_ms() + round(self._arm_timeout_s * MS_PER_S)
        if request.expires_at_ms is not None:
            until_ms = min(until_ms, request.expires_at_ms)
        armed = r.RedemptionArmed(
            redemption=redemption,
            client=request.client,
            reader=reader,
            lines=lines,
            until_ms=until_ms,
            request=request.ref,
        )
        self._recorder.record(armed)
        self._await_tap(armed)

    def _fulfil(
        self,
        redemption: str,
        client: str,
        lines: tuple[r.Line, ...],
        found: Found,
        request: RequestRef | None,
        reader: str | None,
    ) -> None:
        """Decide for the guest who carries a credential, and record what follows."""
        guest = known_guest(found, self._recorder.state, self._recorder.now_ms(), self._recorder.doubt)
        purse = self._purse(found.entitlements)
        verdict = Refusal(guest) if isinstance(guest, Reason) else entitlements.decide(lines, purse)
        whose = {"credential": found.ref or None, "reader": reader}
        if isinstance(verdict, Refusal):
            denial = r.RedemptionDenied(
                redemption=redemption, client=client, reason=verdict.reason, item=verdict.item, request=request
            )
            self._recorder.record(msgspec.structs.replace(denial, holder=found.holder or None, **whose))
            return
        made = r.RedemptionMade(
            redemption=redemption,
            client=client,
            holder=found.holder,
            used=verdict,
            left=purse.left(),
            request=request,
        )
        self._recorder.record(msgspec.structs.replace(made, **whose))

    def _undo(self, request: Request, own: str, of: str, redeemed: Redeemed, lines: Sequence[r.Line] | None) -> None:
        state, before = self._recorder.state, self._undone(of)
        verdict = entitlements.undo(redeemed, before, lines, state.uses, state.day_uses)
        if isinstance(verdict, Refusal):
            raise RefusedRequest(denied(verdict.reason, redemption=of))
        undone = before | {used.entitlement: before.get(used.entitlement, 0) + used.count for used in verdict}
        self._recorder.record(
            r.RedemptionUndone(
                redemption=own,
                of=of,
                client=request.client,
                holder=redeemed.holder,
                given_back=verdict,
                undone=undone,
                request=request.ref,
            )
        )

    def _purse(self, found: Sequence[Entitlement]) -> Purse:
        state, schedules = self._recorder.state, self._lookup.directory.schedules
        now_ms, doubt = self._recorder.now_ms(), self._recorder.doubt
        return Purse(found, state.uses, state.day_uses, schedules, now_ms, self._timezone, doubt)

    # What ends when nobody comes.

    def _await_tap(self, armed: r.RedemptionArmed) -> None:
        self._timers.start(armed.reader, armed.until_ms, lambda: self._give_up(armed, Reason.REDEMPTION_TIMED_OUT))

    def _give_up(self, armed: r.RedemptionArmed, reason: Reason) -> None:
        """Let a reader wait no more, if it still waits for this redemption."""
        now = self._state.armed.get(armed.reader)
        if now is None or now.redemption != armed.redemption:
            return
        try:
            self._recorder.record(redemptions.given_up(armed, reason))
            self._timers.stop(armed.reader)
        except StorageUnavailable as error:
            log.warning("reader_still_waits", reader=armed.reader, why=str(error))
            again_ms = self._recorder.now_ms() + TRY_AGAIN_MS
            self._timers.start(armed.reader, again_ms, lambda: self._give_up(armed, reason))

    # What is remembered, in memory or on disk.

    def _made(self, redemption: str) -> Redeemed | None:
        return self._stored(self._state.made.get(redemption), "redemption", redemption, Redeemed)

    def _undone(self, redemption: str) -> dict[str, int]:
        known = self._state.undone.get(redemption)
        return self._stored(known, "redemption_undone", redemption, dict[str, int]) or {}

    def _stored(self, known: T | None, kind: str, key: str, row_type: Callable[..., T]) -> T | None:
        if known is not None:
            return known
        row = self._recorder.journal.state_row(kind, key)
        return msgspec.json.decode(row, type=row_type) if row is not None else None


def _lines(lines: Sequence[d.LineData]) -> tuple[r.Line, ...]:
    for place, line in enumerate(lines):
        if line.item is None and line.entitlement is None:
            message = f"`data.lines[{place}]`: name an `item` or an `entitlement`."
            raise RefusedRequest(denied(Reason.MALFORMED, message))
    return tuple(r.Line(line.item or "", line.entitlement or "", line.count) for line in lines)


def _done_before(known: Redeemed, redemption: str, request: Request) -> Answer:
    """The answer to it has been let go since; the redemption itself is remembered for ever."""
    if known.fingerprint != request.fingerprint:
        return denied(Reason.IDEMPOTENCY_CONFLICT)
    return Answer("done", None, "This was done before.", {"redemption": redemption})

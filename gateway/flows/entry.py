"""Entry: a tap or a scan at a gate, decided here, recorded, then the gate opens for one passage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated
from zoneinfo import ZoneInfo

import structlog
from msgspec import Meta, Struct, structs

from gateway.domain import access, authenticity
from gateway.domain import events as e
from gateway.domain.answers import Answer, denied
from gateway.domain.authenticity import Evidence
from gateway.domain.reasons import Reason
from gateway.flows.authenticity import Authenticity
from gateway.flows.desk import RefusedRequest, Request, read_data
from gateway.flows.gate import GateFlow
from gateway.flows.lookup import Found, Lookup, Presented
from gateway.flows.recorder import Commit, Recorder
from gateway.store.credentials import CredentialKey
from gateway.store.directory import Directory
from gateway.store.journal import StorageUnavailable

log = structlog.get_logger(__name__)

TAP_WAITS_S = 5.0
"""A guest at a reader of our own has given up by then; a gate that opens later opens for whoever stands there."""

Holder = Annotated[str, Meta(min_length=1, max_length=200)]
StaffReason = Annotated[str, Meta(min_length=1, max_length=200, description="Why; it stands in the journal.")]


class AuthenticateData(Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of an `authenticate` request."""

    credential: Presented


class OverrideData(Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of an `override` request: staff let a guest in whatever the rules say.

    Name the guest by `credential` or `holder` where you can: only then do they count as inside.
    """

    reason: StaffReason
    credential: Presented | None = None
    holder: Holder | None = None


class EntryFlow:
    """Decides every tap of the venue, whichever reader it comes from."""

    def __init__(
        self, recorder: Recorder, directory: Directory, key: CredentialKey, spawn: Callable[..., object]
    ) -> None:
        """Take what a decision needs; `spawn(coroutine)` runs what follows a grant in the background."""
        self.lookup = Lookup(directory, key)
        self.timezone = ZoneInfo("UTC")
        self.authenticity = Authenticity(recorder)
        self._recorder = recorder
        self._spawn = spawn
        self.gates: Mapping[str, GateFlow] = {}

    def configure(self, gates: Mapping[str, GateFlow], timezone: ZoneInfo, venue_id: str = "") -> None:
        """Serve these gates, and read schedules in this time zone."""
        self.gates, self.timezone, self.lookup.venue_id = gates, timezone, venue_id

    def tap(
        self,
        gate_name: str,
        technology: str,
        value: str,
        source: str,
        request: e.RequestRef | None = None,
        expires_at_ms: int | None = None,
        evidence: Evidence = authenticity.NONE,
    ) -> Commit:
        """Decide one tap at once and record the decision; the gate opens once that is on disk (I1).

        `source` is the reader or client it came from, `evidence` what the card proved there. Raises StorageUnavailable
        when nothing can be recorded, so that nothing is admitted unseen.
        """
        gate, now_ms = self.gates[gate_name], self._recorder.now_ms()
        found = self.lookup.find(technology, value, now_ms)
        if self.authenticity.required_for or evidence is not authenticity.NONE:
            found = self.authenticity.checked(found, technology, evidence)
        return self._record(gate, self.decide(gate, found, source, request, now_ms), expires_at_ms)

    def take_authenticate(self, request: Request) -> Answer | None:
        """Decide for a networked reader; the answer is the journalled decision."""
        presented = read_data(request, AuthenticateData).credential
        self.tap(
            request.target,
            presented.technology,
            presented.value,
            request.client,
            request.ref,
            request.expires_at_ms,
        )
        return None

    def take_override(self, request: Request) -> Answer | None:
        """Let a guest in for a client's staff, with their reason; only a gate that cannot open says no."""
        asked = read_data(request, OverrideData)
        if asked.credential is not None and asked.holder is not None:
            raise RefusedRequest(denied(Reason.MALFORMED, "Name the guest by `credential` or `holder`, not by both."))
        gate = self.gates[request.target]
        ref, holder = self._named(asked)
        refusal = gate.refusal()
        event = (
            self._denied(gate, refusal, request.client, ref, holder, request.ref)
            if refusal
            else self._overridden(gate, asked, ref, holder, request)
        )
        self._record(gate, event, request.expires_at_ms)
        return None

    def _record(self, gate: GateFlow, event: e.EntryGranted | e.EntryDenied, expires_at_ms: int | None) -> Commit:
        commit = self._recorder.record(event)
        if isinstance(event, e.EntryGranted) and event.actuates:
            self._spawn(self._open(gate, event, commit, self._deadline_s(expires_at_ms)))
        return commit

    def _deadline_s(self, expires_at_ms: int | None) -> float:
        """By the loop's clock: the other one may be set while the disk takes its time (I6, I10)."""
        deadline_s = self._recorder.deadline_s(expires_at_ms)
        return asyncio.get_running_loop().time() + TAP_WAITS_S if deadline_s is None else deadline_s

    def decide(
        self, gate: GateFlow, found: Found, source: str, request: e.RequestRef | None, now_ms: int
    ) -> e.EntryGranted | e.EntryDenied:
        """Return the fact that a tap at `now_ms` leads to; nothing is recorded by this."""
        verdict = self.verdict(gate, found, now_ms)
        if isinstance(verdict, Reason):
            return self._denied(gate, verdict, source, found.ref, found.holder, request)
        return self._granted(gate, verdict, found.ref, found.holder, source, request, now_ms)

    def verdict(self, gate: GateFlow, found: Found, now_ms: int) -> access.Grant | Reason:
        """Return the grant or the one reason; what stops everyone comes before what is the guest's own."""
        state = self._recorder.state
        if found.fault is Reason.DIRECTORY_UNAVAILABLE:
            return found.fault
        if state.blocks and state.is_blocked(found.ref, found.holder):
            return Reason.BLOCKED
        if found.fault is not None or found.credential is None:
            return found.fault or Reason.UNKNOWN_CREDENTIAL
        if refusal := gate.refusal():
            return refusal
        return access.decide(
            gate.rule,
            state.zones,
            found.credential,
            found.entitlements,
            self.lookup.directory.schedules,
            state.presence(found.holder, found.ref, self._recorder.doubt),
            now_ms,
            self.timezone,
        )

    def _named(self, asked: OverrideData) -> tuple[str, str]:
        """Return reference and holder of the guest an override is for; both are empty for one whom nobody named."""
        if asked.credential is None:
            return "", asked.holder or ""
        presented = asked.credential
        found = self.lookup.find(presented.technology, presented.value, self._recorder.now_ms())
        return found.ref, found.holder

    def _overridden(
        self, gate: GateFlow, asked: OverrideData, ref: str, holder: str, request: Request
    ) -> e.EntryGranted:
        now_ms = self._recorder.now_ms()
        granted = self._granted(gate, access.Grant("", 0), ref, holder, request.client, request.ref, now_ms)
        return structs.replace(granted, override_by=request.client, override_reason=asked.reason)

    def _granted(
        self,
        gate: GateFlow,
        grant: access.Grant,
        ref: str,
        holder: str,
        source: str,
        request: e.RequestRef | None,
        now_ms: int,
    ) -> e.EntryGranted:
        state = self._recorder.state
        here = state.where.get(holder)
        today = grant.today or access.DayUses("", 0)
        counted = state.day_uses.get(grant.entitlement, today)
        return e.EntryGranted(
            entry=self._recorder.new_id(),
            gate=gate.name,
            credential=ref,
            holder=holder,
            entitlement=grant.entitlement,
            zone=gate.rule.to_zone or "",
            uses=grant.uses,
            uses_before=state.uses.get(grant.entitlement, 0),
            source=source,
            from_zone=here.zone if here else None,
            entitlement_before=here.entitlement if here else None,
            since_ms=now_ms,
            since_before_ms=here.since_ms if here else 0,
            day=today.day,
            uses_today=today.uses,
            uses_today_before=counted.uses if counted is not today and counted.day == today.day else 0,
            flags=grant.flags,
            passage_observed=gate.observes_passage,
            actuates=gate.has_lock,
            request=request,
        )

    def _denied(
        self, gate: GateFlow, reason: Reason, source: str, ref: str, holder: str, request: e.RequestRef | None
    ) -> e.EntryDenied:
        return e.EntryDenied(
            entry=self._recorder.new_id(),
            gate=gate.name,
            reason=reason,
            source=source,
            credential=ref or None,
            holder=holder or None,
            request=request,
        )

    async def _open(self, gate: GateFlow, granted: e.EntryGranted, commit: Commit, deadline_s: float) -> None:
        """Wait for the disk, then open. A grant that could not be stored opens nothing."""
        try:
            await commit
        except StorageUnavailable:
            log.error("entry_not_stored", entry=granted.entry, gate=gate.name)
            return
        left_s = deadline_s - asyncio.get_running_loop().time()
        if left_s <= 0:
            # The disk took so long that whoever tapped may have walked away (I6).
            gate.give_back(granted.entry)
            return
        await gate.release(granted.entry, left_s)

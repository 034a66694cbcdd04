"""Entry: a tap or a scan at a gate, decided here, recorded, then the gate opens for one passage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import structlog
from msgspec import Meta, Struct

from gateway.domain import access
from gateway.domain import events as e
from gateway.domain.answers import Answer
from gateway.domain.reasons import Reason
from gateway.flows.desk import Request, read_data
from gateway.flows.gate import RELEASE_TIMEOUT_S, GateFlow
from gateway.flows.recorder import Commit, Recorder
from gateway.store.credentials import CredentialKey
from gateway.store.directory import Directory
from gateway.store.journal import StorageUnavailable

log = structlog.get_logger(__name__)

MS_PER_S = 1000


class Presented(Struct, frozen=True, forbid_unknown_fields=True):
    """What a guest holds to a networked reader.

    `value` is upper-case hex for a tag, the exact characters for a code.
    """

    technology: Literal["em4100", "barcode", "nfc"]
    value: Annotated[str, Meta(min_length=1, max_length=512)]

    def __repr__(self) -> str:
        return f"Presented(technology={self.technology!r}, value=<hidden>)"


class AuthenticateData(Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of an `authenticate` request."""

    credential: Presented


class EntryFlow:
    """Decides every tap of the venue, whichever reader it comes from."""

    def __init__(
        self, recorder: Recorder, directory: Directory, key: CredentialKey, spawn: Callable[..., object]
    ) -> None:
        """Take what a decision needs; `spawn(coroutine)` runs what follows a grant in the background."""
        self._recorder = recorder
        self._directory = directory
        self._key = key
        self._spawn = spawn
        self._timezone = ZoneInfo("UTC")
        self.gates: Mapping[str, GateFlow] = {}

    def configure(self, gates: Mapping[str, GateFlow], timezone: ZoneInfo) -> None:
        """Serve these gates, and read schedules in this time zone."""
        self.gates, self._timezone = gates, timezone

    def tap(
        self,
        gate_name: str,
        technology: str,
        value: str,
        source: str,
        request: e.RequestRef | None = None,
        expires_at_ms: int | None = None,
    ) -> Commit:
        """Decide one tap at once and record the decision; the gate opens once that is on disk (I1).

        `source` is the reader or client it came from. Raises StorageUnavailable when nothing can be recorded, so that
        nothing is admitted unseen.
        """
        gate = self.gates[gate_name]
        event = self._decide(gate, self._key.ref(technology, value), source, request)
        commit = self._recorder.record(event)
        if isinstance(event, e.EntryGranted) and event.actuates:
            self._spawn(self._open(gate, event, commit, expires_at_ms))
        return commit

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

    def _decide(
        self, gate: GateFlow, ref: str, source: str, request: e.RequestRef | None
    ) -> e.EntryGranted | e.EntryDenied:
        entry = self._recorder.new_id()
        carried = self._directory.carried(ref)
        credential, entitlements = carried or (None, ())
        holder = credential.holder if credential else None

        def deny(reason: Reason) -> e.EntryDenied:
            return e.EntryDenied(
                entry=entry,
                gate=gate.name,
                reason=reason,
                source=source,
                credential=ref,
                holder=holder,
                request=request,
            )

        if not self._directory.loaded:
            return deny(Reason.DIRECTORY_UNAVAILABLE)
        if credential is None:
            return deny(Reason.UNKNOWN_CREDENTIAL)
        if refusal := gate.refusal():
            return deny(refusal)
        state = self._recorder.state
        presence = state.presence(credential.holder)
        verdict = access.decide(
            gate.rule,
            state.zones,
            credential,
            entitlements,
            self._directory.schedules,
            presence,
            self._recorder.now_ms(),
            self._timezone,
        )
        if isinstance(verdict, Reason):
            return deny(verdict)
        before = presence.whereabouts
        return e.EntryGranted(
            entry=entry,
            gate=gate.name,
            credential=ref,
            holder=credential.holder,
            entitlement=verdict.entitlement,
            zone=gate.rule.to_zone or "",
            uses=verdict.uses,
            uses_before=presence.uses.get(verdict.entitlement, 0),
            source=source,
            from_zone=before.zone if before else None,
            entitlement_before=before.entitlement if before else None,
            passage_observed=gate.observes_passage,
            actuates=gate.has_lock,
            request=request,
        )

    async def _open(self, gate: GateFlow, granted: e.EntryGranted, commit: Commit, expires_at_ms: int | None) -> None:
        """Wait for the disk, then open. A grant that could not be stored opens nothing."""
        try:
            await commit
        except StorageUnavailable:
            log.error("entry_not_stored", entry=granted.entry, gate=gate.name)
            return
        left_s = RELEASE_TIMEOUT_S
        if expires_at_ms is not None:
            left_s = (expires_at_ms - self._recorder.now_ms()) / MS_PER_S
        if left_s <= 0:
            # The disk took so long that whoever tapped may have walked away (I6).
            gate.give_back(granted.entry)
            return
        await gate.release(granted.entry, left_s)

"""The question "why?" at a gate: every rule's verdict for a credential or a holder, and nothing is touched by it."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from gateway.domain import access, why
from gateway.domain.answers import Answer, denied
from gateway.domain.reasons import Reason, message_for
from gateway.flows.desk import RefusedRequest, Request, read_data
from gateway.flows.entry import EntryFlow, Holder
from gateway.flows.gate import GateFlow
from gateway.flows.lookup import Found, Presented
from gateway.flows.purchase_data import Reference
from gateway.flows.recorder import Recorder


class WhyData(Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of a `why` request: one of the three. `ref` is the `credential` of an earlier answer or of an event."""

    credential: Presented | None = None
    holder: Holder | None = None
    ref: Reference | None = None


class WhyFlow:
    """Answers for a tablet what `EntryFlow` would decide, and what each rule says on the way."""

    def __init__(self, recorder: Recorder, entry: EntryFlow) -> None:
        """Ask the same directory, state and gates as `entry` does."""
        self._recorder = recorder
        self._entry = entry

    def take_why(self, request: Request) -> Answer:
        """Return every rule's verdict: `ok` or its reason word."""
        asked = read_data(request, WhyData)
        if sum(one is not None for one in (asked.credential, asked.holder, asked.ref)) != 1:
            raise RefusedRequest(
                denied(Reason.MALFORMED, "Ask for a `credential`, a `holder` or a `ref`, one of them.")
            )
        gate = self._entry.gates[request.target]
        found = self._find(asked)
        verdict = self._entry.verdict(gate, found, self._recorder.now_ms())
        data: dict[str, Any] = {"gate": gate.name, "rules": self._general(gate, found)}
        if found.credential is not None and found.fault is None:
            data |= self._personal(gate, found, found.credential)
        if isinstance(verdict, Reason):
            return Answer("done", None, message_for(verdict), {"decision": "denied", "reason": verdict, **data})
        granted = {"decision": "granted", "entitlement": verdict.entitlement, "flags": list(verdict.flags)}
        return Answer("done", None, "This guest would be let in.", granted | data)

    def _find(self, asked: WhyData) -> Found:
        if asked.ref is not None:
            return self._entry.lookup.by_ref(asked.ref)
        if asked.credential is None:
            return self._entry.lookup.holder(asked.holder or "")
        return self._entry.lookup.shown(asked.credential, self._recorder.now_ms(), self._recorder.doubt)

    def _general(self, gate: GateFlow, found: Found) -> dict[str, str]:
        """Return what comes before the guest's own rules: the directory, the credential as such, and the gate."""
        return {
            "directory": why.OK if self._entry.lookup.directory.loaded else Reason.DIRECTORY_UNAVAILABLE,
            "credential": found.fault or why.OK,
            "gate": gate.refusal() or why.OK,
        }

    def _personal(self, gate: GateFlow, found: Found, credential: access.Credential) -> dict[str, Any]:
        state = self._recorder.state
        presence = state.presence(found.holder, found.ref, self._recorder.doubt)
        schedules = self._entry.lookup.directory.schedules
        now_ms = self._recorder.now_ms()
        case = access.Case(gate.rule, state.zones, schedules, presence, now_ms, self._entry.timezone)
        leaving = state.zones.is_exit(gate.rule.from_zone, gate.rule.to_zone)
        here = presence.whereabouts
        return {
            "holder": found.holder,
            "kind": credential.kind,
            "leaving": leaving,
            "inside": here.zone if here is not None else "",
            "credential_rules": why.credential_verdicts(credential, case, leaving=leaving),
            "entitlements": why.entitlement_verdicts([one for one in found.entitlements if not one.item], case),
        }

"""Judging what cards prove, and remembering for good how far their counters have come."""

from __future__ import annotations

from msgspec import structs

from gateway.domain import authenticity
from gateway.domain.access import Credential
from gateway.domain.authenticity import Evidence
from gateway.domain.reasons import Reason
from gateway.domain.zone_events import CredentialCounted
from gateway.flows.lookup import Found
from gateway.flows.recorder import Recorder


class Authenticity:
    """The venue's demand for proof; gates and tills share what it remembers."""

    def __init__(self, recorder: Recorder) -> None:
        """Begin with no demand."""
        self.required_for: frozenset[str] = frozenset()
        self._recorder = recorder

    def checked(self, found: Found, technology: str, evidence: Evidence = authenticity.NONE) -> Found:
        """Return what was found, with the fault of a card that did not prove to be the real one.

        What nobody knows, or what is refused for something else, is left as it is. Raises StorageUnavailable.
        """
        if found.credential is None or found.fault is not None:
            return found
        fault = self.fault(found.credential, technology, evidence)
        return structs.replace(found, fault=fault) if fault is not None else found

    def fault(self, credential: Credential, technology: str, evidence: Evidence) -> Reason | None:
        """Return why a known credential is not taken for the real one, or None.

        A counter that is new is recorded before anything is decided by it, so that no crash lets it count twice.
        Raises StorageUnavailable when it cannot be.
        """
        last = None
        if evidence.counter is not None:
            last = self._recorder.state.counters.get(credential.ref)
            if evidence.proven and (last is None or evidence.counter > last):
                self._recorder.record(CredentialCounted(credential=credential.ref, counter=evidence.counter))
        if not authenticity.is_required(self.required_for, technology, credential.kind):
            return None
        return authenticity.fault(evidence, last)

"""Is the card in the guest's hand the real one? Pure: what it proved, against what the venue asks of it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import msgspec

from gateway.domain.reasons import Reason

NFC = "nfc"
"""Stands for every contactless card, whatever kind of credential the directory says it is."""


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """What a reader found out. `proven` None: nobody asked; `counter` is how often the card says it was read."""

    proven: bool | None = None
    counter: int | None = None


NONE = Evidence()
"""What a number alone is worth."""


def is_required(required_for: AbstractSet[str], technology: str, kind: str) -> bool:
    """Return whether this credential has to prove itself; a kind is meant in every technology it comes in."""
    return kind in required_for or (technology == NFC and NFC in required_for)


def fault(evidence: Evidence, last_counter: int | None) -> Reason | None:
    """Return why evidence that is required is not enough; `last_counter` is the highest this card has shown here."""
    if not evidence.proven:
        return Reason.AUTHENTICITY_FAILED
    if evidence.counter is not None and last_counter is not None and evidence.counter <= last_counter:
        return Reason.REPLAYED
    return None

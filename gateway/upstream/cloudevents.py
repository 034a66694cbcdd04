"""How events are named on their way up; `gateway.store.composing` makes them of the stored bytes."""

from __future__ import annotations

from gateway.flows.recorder import id_text

BATCH_MEDIA_TYPE = "application/cloudevents-batch+json"
MEDIA_TYPE = "application/cloudevents+json"


def source(venue: str, journal_id: bytes) -> str:
    """Return who says it: a venue, and the journal that counts `sequence`. A venue with a new disk has another."""
    return f"/venues/{venue}/journals/{id_text(journal_id)}"

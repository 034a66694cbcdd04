"""Facts that have happened already: they are recorded where something new is refused, and a full disk stops nothing."""

from __future__ import annotations

import structlog

from gateway.domain import events as e
from gateway.flows.recorder import Recorder
from gateway.store.journal import StorageUnavailable

log = structlog.get_logger(__name__)


def note(recorder: Recorder, place: str, *events: e.AnyEvent) -> bool:
    """Record what has already happened at `place`, a gate, a printer or a drawer.

    Returns False, and logs it, when the disk takes nothing: the state is rebuilt from the disk later.
    """
    if not events:
        return True
    try:
        recorder.record(*events, urgent=False, follow_up=True)
    except StorageUnavailable as error:
        kinds = [type(event).__name__ for event in events]
        log.error("fact_not_stored", place=place, events=kinds, why=str(error))
        return False
    return True

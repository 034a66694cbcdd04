"""Facts about what is above the venue."""

from __future__ import annotations

from typing import TypeAlias

from gateway.domain.event import Event


class EventSetAside(Event, frozen=True, tag="upstream.event_set_aside"):
    """A sink can never take the event with this number and id; the rest goes on without it, and a person must look."""

    sink: str
    event_seq: int
    event_id: str
    why: str


class DirectoryRefused(Event, frozen=True, tag="directory.refused"):
    """What upstream sent as directory was refused whole; the last good one stays in use."""

    why: str
    cursor: int = 0


class DirectoryChanged(Event, frozen=True, tag="directory.changed"):
    """Changes from upstream are in force: so many, up to this cursor."""

    cursor: int
    changes: int


UpstreamEvent: TypeAlias = EventSetAside | DirectoryRefused | DirectoryChanged

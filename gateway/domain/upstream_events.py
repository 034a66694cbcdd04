"""Facts about what is above the venue."""

from __future__ import annotations

from typing import Literal, TypeAlias

from gateway.domain.event import Event

Found: TypeAlias = Literal["entered_elsewhere", "redeemed_elsewhere", "spent_elsewhere", "other"]
"""What upstream found when it laid the events of several venues side by side."""


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


class UpstreamLost(Event, frozen=True, tag="upstream.lost"):
    """A sink has not been reached since `since_ms`; it has what stands in the journal up to `through_seq`."""

    sink: str
    through_seq: int
    since_ms: int
    why: str = ""


class UpstreamRegained(Event, frozen=True, tag="upstream.regained"):
    """A sink is reached again. What came after `after_seq` was decided without it, up to this fact."""

    sink: str
    after_seq: int
    since_ms: int


class UpstreamFound(Event, frozen=True, tag="upstream.found"):
    """Upstream found that event `event_seq` of this journal and one of another venue do not go together.

    `finding` is upstream's own name for it, `cursor` how many it has told in all. A number 0 is of a journal that this
    venue had before.
    """

    finding: str
    cursor: int
    what: Found
    event_seq: int
    elsewhere: str = ""
    note: str = ""


class OutageReconciled(Event, frozen=True, tag="upstream.reconciled"):
    """Somebody had the report made of what was decided after `after_seq` up to `through_seq`.

    `digest` is the SHA-256 of the report as JSON, so that a file or a slip of paper can be told to be that one.
    """

    sink: str
    after_seq: int
    through_seq: int
    digest: str
    by: str
    printer: str = ""


UpstreamEvent: TypeAlias = (
    EventSetAside
    | DirectoryRefused
    | DirectoryChanged
    | UpstreamLost
    | UpstreamRegained
    | UpstreamFound
    | OutageReconciled
)

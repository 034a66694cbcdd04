"""What the venue's state is made of: one struct for each kind of thing whose story is not over yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from gateway.domain import events as e
from gateway.domain.answers import Answer

GateStatus = Literal["locked", "released", "forced", "held_open", "fault"]
JobStatus = Literal["queued", "printing", "held", "done", "failed", "unknown"]


class OpenEntry(msgspec.Struct):
    """A granted entry whose outcome is not known yet. `followed_by` are the grants that the same use brought since."""

    granted: e.EntryGranted
    released: bool = False
    followed_by: tuple[str, ...] = ()


def follow(
    entries: Mapping[str, OpenEntry],
    event: e.EntryGranted | e.EntryReturned,
    touch: Callable[[str, str], None],
    *,
    follows: bool,
) -> None:
    """Note at the guest's entries that are still open that they went on by the same use, or did not after all.

    `touch(kind, key)` is told of each entry that is another now.
    """
    for earlier in entries.values():
        granted = earlier.granted
        same = (granted.holder, granted.entitlement) == (event.holder, event.entitlement) != ("", "")
        if not same or granted.entry == event.entry or (event.entry in earlier.followed_by) == follows:
            continue
        others = tuple(one for one in earlier.followed_by if one != event.entry)
        earlier.followed_by = (*others, event.entry) if follows else others
        touch("entry", granted.entry)


class GateState(msgspec.Struct):
    """Where one gate stands. `entry` is the passage it is released for."""

    status: GateStatus = "locked"
    entry: str | None = None
    fault: str | None = None


class Job(msgspec.Struct):
    """One print job. `why` says what holds it, or how it ended."""

    queued: e.PrintQueued
    status: JobStatus = "queued"
    why: str = ""

    @property
    def open(self) -> bool:
        """True while the job still waits or prints."""
        return self.status in {"queued", "printing", "held"}


class DrawerState(msgspec.Struct):
    """One drawer: the openings under way, and whether an alarm stands."""

    openings: dict[str, e.DrawerOpening] = {}
    alarm: Literal["", "forced", "left_open"] = ""


class StoredAnswer(msgspec.Struct, frozen=True, gc=False):
    """What a request id was answered and when, and the digest of what it had asked."""

    fingerprint: str
    answer: Answer
    at_ms: int = 0

"""Facts about the venue's clock: who vouched for it, when it could not be believed, and when it jumped."""

from __future__ import annotations

from typing import Literal, TypeAlias

from gateway.domain.event import Event, RequestRef

VouchedBy: TypeAlias = Literal["ntp", "upstream", "technician", "battery"]


class ClockVouched(Event, frozen=True, tag="clock.vouched"):
    """From here on the time is believed.

    `boot` names this start of the machine and `elapsed_ms` how long it has run, so that a gateway that starts again on
    the same boot still knows it. `at_ms` is the time itself, `moved_ms` by how much the venue's time changed with it.
    """

    by: VouchedBy
    boot: str
    elapsed_ms: int
    at_ms: int
    moved_ms: int = 0
    client: str = ""
    reason: str = ""
    request: RequestRef | None = None


class ClockDoubted(Event, frozen=True, tag="clock.doubted"):
    """From here on nobody vouches for the time; `policy` is what is done about what depends on it."""

    why: str
    policy: Literal["deny", "flag", "last_known"]


class ClockJumped(Event, frozen=True, tag="clock.jumped"):
    """The system's clock was set by `by_ms`. `followed` is False where the venue's time went on as it was."""

    by_ms: int
    followed: bool


ClockEvent: TypeAlias = ClockVouched | ClockDoubted | ClockJumped

"""What the console's stream shows of a journal entry: one row for a person, and never a credential's number (I12)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from gateway.domain import bench as b
from gateway.domain import clock_events as c
from gateway.domain import events as e
from gateway.domain import input_events as i
from gateway.domain import redemption_events as r
from gateway.domain import shift_events as s
from gateway.domain import wallet_events as w
from gateway.domain import zone_events as z
from gateway.domain.reasons import Reason
from gateway.flows.recorder import Committed

REF_CHARS = 8
"""So much of a reference is enough to see that two rows are about one card."""
Tone = Literal["good", "bad", "alarm", "info"]


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the stream. `holder`, `credential` and what people typed are for staff; `reason` is a `Reason`."""

    seq: int
    at_ms: int
    kind: str
    tone: Tone
    place: str = ""
    source: str = ""
    reason: str = ""
    holder: str = ""
    credential: str = ""
    note: str = ""
    amount_minor: int = 0


_TONES: dict[type, Tone] = {
    e.EntryGranted: "good",
    e.EntryDenied: "bad",
    e.EntryReturned: "info",
    e.EntryUnknown: "alarm",
    e.GateForced: "alarm",
    e.GateHeldOpen: "alarm",
    e.GateFault: "alarm",
    e.GateRestored: "good",
    z.ZoneLockedDown: "alarm",
    z.ZoneReleased: "alarm",
    z.ZoneRestored: "good",
    z.CredentialBlocked: "info",
    z.CredentialUnblocked: "info",
    e.PrintDone: "good",
    e.PrintHeld: "bad",
    e.PrintFailed: "bad",
    e.PrintUnknown: "alarm",
    e.DrawerOpening: "info",
    e.DrawerFailed: "bad",
    e.DrawerUnknown: "alarm",
    e.DrawerForced: "alarm",
    e.DrawerLeftOpen: "alarm",
    e.DrawerClosed: "info",
    e.DeviceOnline: "good",
    e.DeviceOffline: "bad",
    e.GatewayStarted: "info",
    e.ConfigurationLoaded: "info",
    e.ConfigurationRefused: "bad",
    e.DirectoryLoaded: "info",
    w.WalletTransferred: "good",
    w.WalletHeld: "good",
    w.WalletDenied: "bad",
    w.WalletFailed: "info",
    r.RedemptionMade: "good",
    r.RedemptionDenied: "bad",
    r.RedemptionFailed: "info",
    i.InputActive: "alarm",
    i.InputIdle: "good",
    i.DeviceTested: "info",
    c.ClockVouched: "info",
    c.ClockDoubted: "bad",
    c.ClockJumped: "bad",
    s.ShiftOpened: "info",
    s.ShiftClosed: "info",
    b.BenchStarted: "info",
    b.BenchEnded: "info",
}
"""The kinds that are shown. The rest says the same once more, as a gate's pulse after its grant."""
_PLACES = ("gate", "printer", "drawer", "device", "input", "reader", "zone", "till")
_SOURCES = ("override_by", "source", "client")
_NOTES = ("why", "message", "first", "detail", "means", "action")
_TYPED = ("override_reason", "reason")
"""What somebody typed may name a guest. With a refusal `reason` is a word of the list, and no text."""


def is_shown(committed: Committed) -> bool:
    """Return True for an entry that has a row."""
    return type(committed.entry.event) in _TONES


def row(committed: Committed, *, sees_guests: bool) -> Row:
    """Return the row of an entry that `is_shown`, for whoever `sees_guests` or may not."""
    entry = committed.entry
    event: Any = entry.event
    reason = getattr(event, "reason", None)
    return Row(
        seq=entry.seq,
        at_ms=entry.at_ms,
        kind=str(event.__struct_config__.tag),
        tone=_TONES[type(event)],
        place=_first(event, _PLACES),
        source=_first(event, _SOURCES) or _asker(event),
        reason=reason.value if isinstance(reason, Reason) else "",
        holder=_text(getattr(event, "holder", "")) if sees_guests else "",
        credential=_text(getattr(event, "credential", ""))[:REF_CHARS] if sees_guests else "",
        note=(_typed(event) if sees_guests else "") or _first(event, _NOTES),
        amount_minor=getattr(event, "amount_minor", 0) or 0,
    )


def _typed(event: Any) -> str:  # noqa: ANN401 - any event
    texts = (getattr(event, name, "") for name in _TYPED)
    return next((text for text in texts if text and isinstance(text, str) and not isinstance(text, Reason)), "")


def _asker(event: Any) -> str:  # noqa: ANN401 - any event
    request = getattr(event, "request", None)
    return request.client if request is not None else ""


def _first(event: Any, names: tuple[str, ...]) -> str:  # noqa: ANN401 - any event
    return next((text for name in names if (text := _text(getattr(event, name, "")))), "")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

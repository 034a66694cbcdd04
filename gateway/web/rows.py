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
    """One line of the stream. `holder` and `credential` are for staff only; `reason` is a word of `Reason`."""

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

    def for_viewer(self) -> Row:
        """The same without who it was."""
        return msgspec.structs.replace(self, holder="", credential="") if self.holder or self.credential else self


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
_NOTES = ("why", "message", "override_reason", "first", "detail", "means", "action")


def is_shown(committed: Committed) -> bool:
    """Return True for an entry that has a row."""
    return type(committed.entry.event) in _TONES


def row(committed: Committed) -> Row:
    """Return the row of an entry that `is_shown`."""
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
        holder=_text(getattr(event, "holder", "")),
        credential=_text(getattr(event, "credential", ""))[:REF_CHARS],
        # With a refusal the reason is a word of the list; with an order it is what a person typed.
        note=_first(event, _NOTES) or ("" if isinstance(reason, Reason) else _text(reason)),
        amount_minor=getattr(event, "amount_minor", 0) or 0,
    )


def _asker(event: Any) -> str:  # noqa: ANN401 - any event
    request = getattr(event, "request", None)
    return request.client if request is not None else ""


def _first(event: Any, names: tuple[str, ...]) -> str:  # noqa: ANN401 - any event
    return next((text for name in names if (text := _text(getattr(event, name, "")))), "")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

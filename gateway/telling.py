"""How each kind of fact and of device event is put into words: its level in the log, its fields, its live message."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from drivers.api import DeviceEvent, InputChanged, Noise, PrinterStatus, Reading, Tampered
from gateway.domain import clock_events as c
from gateway.domain import events as e
from gateway.domain import fleet_events as f
from gateway.domain import upstream_events as u
from gateway.domain import zone_events as z
from gateway.domain.input_events import DeviceTested, InputActive

_QUIET = frozenset({"device.online", "device.offline"})
"""Facts the supervisor has already logged in its own words."""
_ALARMS = (
    z.ZoneLockedDown,
    z.ZoneReleased,
    e.GateForced,
    e.GateHeldOpen,
    e.GateFault,
    e.DrawerForced,
    e.DrawerLeftOpen,
    e.EntryUnknown,
    e.PrintUnknown,
    e.DrawerUnknown,
    InputActive,
    DeviceTested,
    u.EventSetAside,
    u.DirectoryRefused,
    u.UpstreamLost,
    u.UpstreamFound,
    f.OrderTaken,
    f.OrderRefused,
    c.ClockDoubted,
    c.ClockJumped,
)

_LOGGED_FIELDS = (
    "entry",
    "gate",
    "reason",
    "source",
    "why",
    "job",
    "printer",
    "opening",
    "drawer",
    "client",
    "message",
    "confirmed",
    "clean",
    "version",
    "first",
    "credentials",
    "transfer",
    "action",
    "amount_minor",
    "reader",
    "flags",
    "override_by",
    "override_reason",
    "zone",
    "guests",
    "input",
    "means",
    "device",
    "sink",
    "event_seq",
    "cursor",
    "finding",
    "what",
    "elsewhere",
    "after_seq",
    "through_seq",
    "since_ms",
    "order_id",
    "order_kind",
    "refusal",
    "outcome",
    "valid_until_ms",
    "changes",
    "till",
    "number",
    "direction",
    "currency",
    "by",
    "by_ms",
    "followed",
    "policy",
)
"""What of an event goes into its log line. Credentials stay out, even as references."""


class Telling(msgspec.Struct, frozen=True):
    """How facts of one kind are told: at which level of the log (none when it is empty), and with which fields."""

    kind: str
    level: str
    fields: tuple[str, ...]
    changes_gates: bool

    def logged(self, event: e.AnyEvent) -> dict[str, Any]:
        """Return what of an event goes into its log line."""
        return {name: value for name in self.fields if (value := getattr(event, name)) not in _NOTHING}


_NOTHING = (None, "", ())


def _telling(event_type: type[msgspec.Struct]) -> Telling:
    kind = str(event_type.__struct_config__.tag)
    level = "warning" if issubclass(event_type, _ALARMS) else "info"
    fields = tuple(name for name in event_type.__struct_fields__ if name in _LOGGED_FIELDS)
    changes_gates = kind.startswith(("entry.", "gate.", "drawer.", "zone."))
    return Telling(kind, "" if kind in _QUIET else level, fields, changes_gates)


TELLING: dict[type, Telling] = {event_type: _telling(event_type) for event_type in get_args(e.AnyEvent)}
"""Worked out once: under load there are thousands of facts a second."""

_KINDS: dict[type, str] = {InputChanged: "input", Tampered: "tamper", Noise: "noise"}


def told_of(event: DeviceEvent) -> tuple[Any, dict[str, bool | int | str | None]] | None:
    """Return kind and data of what a device told, None for what is not told live; of a credential only its kind."""
    match event:
        case Reading():
            return "reading", {"technology": event.technology, "symbology": event.symbology}
        case InputChanged() | Tampered() | Noise():
            return _KINDS[type(event)], msgspec.structs.asdict(event)
        case PrinterStatus():
            return "status", {**status_fields(event)}
        case _:
            return None


def status_fields(status: PrinterStatus | None) -> dict[str, bool | int | str]:
    """Return what a printer said of itself; what it cannot say is left out."""
    said = msgspec.structs.asdict(status) if status is not None else {}
    return {name: value for name, value in said.items() if value is not None}

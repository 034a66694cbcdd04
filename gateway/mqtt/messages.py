"""Every message on the wire, as msgspec structs. The AsyncAPI document and the checks come from these types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.domain.answers import Status
from gateway.domain.feedback import Told
from gateway.domain.reasons import Reason
from gateway.flows import purchase_data as wallets
from gateway.flows import redeem_data
from gateway.flows import shift as shifts
from gateway.flows.clock import VouchData
from gateway.flows.drawer import OpenData
from gateway.flows.entry import AuthenticateData, OverrideData
from gateway.flows.printing import JobData, PrintData, RawData
from gateway.flows.why import WhyData
from gateway.flows.zones import BlockData, ZoneData

ID_PATTERN = "^[^\\x00-\\x1f\\x7f]{1,64}$"

RequestId = Annotated[
    str, Meta(pattern=ID_PATTERN, description="Chosen by the client, new for each request: 1 to 64 characters.")
]
Timestamp = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
        description="RFC 3339 in UTC with milliseconds, such as 2026-07-01T19:30:00.000Z.",
    ),
]
SEQ_MAX = 2**53 - 1
"""Every JSON reader holds it exactly, and SQLite has room for it."""
Seq = Annotated[int, Meta(ge=0, le=SEQ_MAX, description="Sequence number of a journal entry.")]


def timestamp(at_ms: int) -> str:
    """Return UTC milliseconds as RFC 3339 text with a `Z`."""
    return f"{_second(at_ms // 1000)}.{at_ms % 1000:03}Z"


@lru_cache(maxsize=64)
def _second(at_s: int) -> str:
    """The part that is the same for a whole second: several texts are made for each tap."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _no_data() -> msgspec.Raw:
    """Stand for `data` that was left out; a function, because a plain default has no place in a JSON Schema."""
    return msgspec.Raw(b"{}")


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a client sends: an unknown field is most likely a misspelt one, so it is refused by name."""


class Envelope(_Strict, frozen=True):
    """A request. `expires_at` is a must for whatever moves metal (gates, drawers); `data` depends on the verb."""

    id: RequestId
    expires_at: Annotated[
        str | int | None,
        Meta(description="RFC 3339 with a zone, or milliseconds since 1970. Too late, nothing is done."),
    ] = None
    data: msgspec.Raw = msgspec.field(default_factory=_no_data)


class Cancel(_Strict, frozen=True):
    """Take back what was asked: at a printer a `job` that has not begun, else a `request` of one's own."""

    job: Annotated[
        Annotated[str, Meta(min_length=1, max_length=64)] | None,
        Meta(description="The job from the answer to `print`."),
    ] = None
    request: Annotated[
        RequestId | None, Meta(description="The id of the request whose reader waits, or that made a hold.")
    ] = None


class Replay(_Strict, frozen=True):
    """Journal entries after `after_seq` (or from `from_seq` on), at most `limit`, and fewer where they are long.

    Give one of the two; `more` in the answer says whether others follow.
    """

    after_seq: Seq | None = None
    from_seq: Annotated[int, Meta(ge=1, le=SEQ_MAX)] | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class StatusQuery(_Strict, frozen=True):
    """Ask how it is. Takes nothing."""


VERB_DATA: Mapping[str, type[msgspec.Struct]] = {
    "authenticate": AuthenticateData,
    "print": PrintData,
    "print_raw": RawData,
    "reprint": JobData,
    "cancel": Cancel,
    "open": OpenData,
    "replay": Replay,
    "status": StatusQuery,
    "charge": wallets.ChargeData,
    "top_up": wallets.TopUpData,
    "refund": wallets.RefundData,
    "tip": wallets.TipData,
    "deposit": wallets.DepositData,
    "hold": wallets.HoldData,
    "capture": wallets.CaptureData,
    "transfer": wallets.TransferData,
    "close_out": wallets.CloseOutData,
    "balance": wallets.BalanceData,
    "redeem": redeem_data.RedeemData,
    "undo": redeem_data.UndoData,
    "override": OverrideData,
    "why": WhyData,
    "lock_down": ZoneData,
    "emergency_release": ZoneData,
    "restore": ZoneData,
    "block": BlockData,
    "unblock": BlockData,
    "vouch_clock": VouchData,
    "sell": wallets.SellData,
    "open_shift": shifts.OpenShiftData,
    "cash_in": shifts.CashData,
    "cash_out": shifts.CashData,
    "count": shifts.CountData,
    "close_shift": shifts.ReportData,
    "x_report": shifts.ReportData,
    "z_report": shifts.ZReportData,
}
"""The `data` of each verb, as the flow that serves it wants it; a verb means the same at every target that has it."""

VERB_EXAMPLES: Mapping[str, str] = {
    "authenticate": '{"credential": {"technology": "em4100", "value": "100086F444"}}',
    "print": '{"document": {"lines": [{"type": "text", "text": "Danke!"}, {"type": "cut"}]}}',
    "print_raw": '{"data": "G0BEYW5rZSEK"}',
    "reprint": '{"job": "0197c5a0-0000-7000-8000-000000000001"}',
    "cancel": '{"job": "0197c5a0-0000-7000-8000-000000000001"}',
    "open": '{"reason": "sale"}',
    "replay": '{"after_seq": 41, "limit": 100}',
    "status": "{}",
    "charge": '{"amount_minor": 1250, "currency": "EUR", "reader": "bar-reader"}',
    "top_up": '{"amount_minor": 2000, "by": "cash", "reader": "desk-reader"}',
    "refund": '{"transfer": "bar-tablet/r-17", "amount_minor": 450}',
    "tip": '{"amount_minor": 100, "reader": "bar-reader"}',
    "deposit": '{"amount_minor": 200, "action": "return", "reader": "bar-reader"}',
    "hold": '{"amount_minor": 5000, "credential": {"technology": "em4100", "value": "100086F444"}}',
    "capture": '{"transfer": "bar-tablet/r-18", "amount_minor": 3200, "tip_minor": 300}',
    "transfer": '{"amount_minor": 500, "reader": "desk-reader", "to": "0f3a5c7e9b1d2f4a6c8e0b2d4f6a8c1e"}',
    "close_out": '{"by": "cash", "reader": "desk-reader"}',
    "balance": '{"reader": "bar-reader"}',
    "redeem": '{"lines": [{"item": "drink", "count": 2}, {"item": "cloakroom"}], "reader": "bar-reader"}',
    "undo": '{"redemption": "bar-tablet/r-19", "lines": [{"item": "drink", "count": 1}]}',
    "override": '{"reason": "ticket printer broken", "holder": "guest-1"}',
    "why": '{"credential": {"technology": "em4100", "value": "100086F444"}}',
    "lock_down": '{"zone": "hall", "reason": "fight at the bar"}',
    "emergency_release": '{"zone": "hall", "reason": "smoke"}',
    "restore": '{"zone": "hall", "reason": "all clear"}',
    "block": '{"holder": "guest-1", "reason": "card reported stolen"}',
    "unblock": '{"holder": "guest-1", "reason": "card found"}',
    "sell": '{"amount_minor": 450, "by": "cash"}',
    "open_shift": '{"floats": {"EUR": 15000}}',
    "cash_in": '{"amount_minor": 5000, "reason": "change from the safe"}',
    "cash_out": '{"amount_minor": 20000, "reason": "to the safe"}',
    "count": '{"counted": [{"currency": "EUR", "pieces": {"5000": 2, "1000": 4, "200": 13}}]}',
    "close_shift": '{"printer": "bar-printer"}',
    "x_report": "{}",
    "z_report": '{"number": 12}',
    "vouch_clock": '{"reason": "by the station clock", "now_ms": 1782934200000}',
}
"""One right `data` of each verb: shown to whoever sent a wrong one, and in the AsyncAPI document."""


class Response(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a request: `accepted`, then one of the others; `done` and `denied` may come at once.

    `id` is empty when the request's own id could not be found in it. `target` and `verb` are missing from a late answer
    that outlived a restart. `note` tells of something in the request that was ignored. `feedback` comes with the last
    word about a guest.
    """

    id: str
    status: Status
    at: Timestamp
    target: str = ""
    verb: str = ""
    reason: Reason | None = None
    message: str = ""
    data: dict[str, Any] = {}
    note: str = ""
    feedback: Told | None = None


class GatewayState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether the gateway works. `why` names what is wrong; the broker itself says `offline` when it is lost."""

    state: Literal["online", "degraded", "offline"]
    why: tuple[str, ...] = ()
    at: Timestamp = ""


class GatewayInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What runs here."""

    venue: str
    version: str
    timezone: str
    currency: str
    config_digest: str
    started_at: Timestamp
    name: str = ""
    directory_version: str = ""


class ListedDevice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One device or gate of the venue and what can be asked of it."""

    name: str
    kind: Literal["reader", "scanner", "board", "printer", "drawer", "bus", "gate", "till"]
    driver: str = ""
    verbs: tuple[str, ...] = ()


class GatewayDevices(msgspec.Struct, frozen=True, kw_only=True):
    """All devices and gates of the venue."""

    devices: tuple[ListedDevice, ...]
    at: Timestamp


class GatewayHealth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Figures for ops; each name carries its unit."""

    at: Timestamp
    figures: dict[str, int | float] = {}


class ZoneState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One zone: guests in it and in the zones inside it, and what staff ordered for it or around it."""

    name: str
    inside: int
    within: str = ""
    capacity: int | None = None
    closure: Literal["", "lockdown", "emergency"] = ""


class GatewayZones(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All zones. `venue` is what staff ordered for the whole venue."""

    zones: tuple[ZoneState, ...]
    at: Timestamp
    venue: Literal["", "lockdown", "emergency"] = ""


class DeviceState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a device or gate is. `status` holds what it said of itself; a field that is missing means "cannot say"."""

    state: Literal[
        "starting",
        "online",
        "offline",
        "locked",
        "released",
        "forced",
        "held_open",
        "fault",
        "locked_down",
        "emergency",
    ]
    at: Timestamp
    why: str = ""
    detail: str = ""
    status: dict[str, bool | int | str] = {}


class DeviceEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something a device told just now: live, never kept. Credentials appear as their reference only."""

    kind: Literal["reading", "input", "tamper", "status", "noise"]
    at: Timestamp
    data: dict[str, bool | int | str | None] = {}

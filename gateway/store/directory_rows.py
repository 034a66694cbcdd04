"""The rows of a directory import: one JSON object a line, validated here, with messages for whoever wrote the file."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from gateway.domain.access import CredentialState
from gateway.domain.money import BALANCE_MAX_MINOR
from gateway.domain.schedules import DAYS, Schedule, Window, overlap

TECHNOLOGY_PATTERN = "^[a-z0-9][a-z0-9_.-]{0,30}$"
TECHNOLOGY_MAX, MOMENT_MAX = 31, 40
"""What is longer is no technology, and no moment as anybody would write it."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
LINE_BYTES_MAX = 64 << 10
ITEM_PATTERN = "^[a-z0-9][a-z0-9-]{0,62}$"
"""What an item is called: drink, cloakroom, seat-upgrade."""
_QUOTED, _WORD = re.compile("(value|field) (['`])(.*)\\2", re.DOTALL), re.compile("[A-Za-z_]{1,32}")
_TECHNOLOGY = re.compile(TECHNOLOGY_PATTERN.strip("^$"))
_EM4100 = re.compile("[0-9A-Fa-f]{10}")


class RowError(Exception):
    """A row that cannot be taken, and why."""


Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Clock = Annotated[str, msgspec.Meta(pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$")]


Technology = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": TECHNOLOGY_PATTERN})]
"""`parse` looks at its letters: a directory has few of them, and millions of rows."""
Moment: TypeAlias = str
"""As in RFC 3339; `to_ms` reads it, likewise once for many rows."""


class WindowRow(msgspec.Struct, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """A span of local wall-clock time on some days; past midnight when `to` is not after `from`."""

    days: Annotated[list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]], msgspec.Meta(min_length=1)]
    start: Clock
    end: Clock


class ScheduleRow(msgspec.Struct, tag_field="type", tag="schedule", forbid_unknown_fields=True):
    """When an entitlement counts."""

    id: Name
    weekly: Annotated[list[WindowRow], msgspec.Meta(min_length=1, max_length=100)]

    def schedule(self) -> Schedule:
        """Return it as the decisions want it: one window per day. Raises RowError when it contradicts itself."""
        for place, row in enumerate(self.weekly):
            _check_window(row, f"weekly[{place}]")
        windows = [
            Window(DAYS.index(day), _clock(row.start), _clock(row.end)) for row in self.weekly for day in row.days
        ]
        if twice := overlap(windows):
            one, other = twice
            raise RowError(f"weekly: {one} and {other} overlap; correct one of them, or write both as one window")
        return Schedule(self.id, tuple(windows))


class ZoneRow(msgspec.Struct, tag_field="type", tag="zone", forbid_unknown_fields=True):
    """A zone the configuration does not name."""

    id: Name
    within: Name | None = None


class CredentialRow(msgspec.Struct, tag_field="type", tag="credential", forbid_unknown_fields=True):
    """A card or code and who carries it. `value` goes no further than the credential key."""

    technology: Technology
    value: Name
    holder: Name
    state: CredentialState = "active"
    valid_until: Moment | None = None
    kind: Literal["card", "wristband", "qr_code", "staff_badge"] | None = None

    def __repr__(self) -> str:
        return f"CredentialRow(technology={self.technology!r}, value=…)"


class EntitlementRow(msgspec.Struct, tag_field="type", tag="entitlement", forbid_unknown_fields=True):
    """A right to be in some `zones`, or to redeem an `item`; without `uses` and `uses_per_day` as often as wanted."""

    id: Name
    holder: Name
    zones: Annotated[list[Name], msgspec.Meta(min_length=1, max_length=64)] | None = None
    valid_from: Moment | None = None
    valid_until: Moment | None = None
    schedule: Name | None = None
    uses: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    reentry: bool = False
    uses_per_day: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    item: Annotated[str, msgspec.Meta(pattern=ITEM_PATTERN)] | None = None

    def check(self) -> None:
        """Raise RowError for a row that says neither or both of what it may be."""
        if self.zones is None and self.item is None:
            raise RowError("zones: missing; name the zones it opens, or the `item` that can be redeemed with it")
        if self.zones is not None and self.item is not None:
            raise RowError("item: what is redeemed opens no zones; write two entitlements, one for each")
        if self.item is not None and self.reentry:
            raise RowError("reentry: only for what opens zones; leave it out where there is an `item`")
        if self.reentry and self.uses_per_day is None and (self.uses or 1) > 1:
            # Coming back takes no use, so the second of them could never be taken.
            raise RowError(f"uses: with `reentry` no second one of {self.uses} is ever taken; say 1, or `uses_per_day`")
        if self.uses is not None and self.uses_per_day is not None and self.uses_per_day > self.uses:
            raise RowError(f"uses_per_day: {self.uses_per_day} a day can never be used of {self.uses} in all")


class IssuerKeyRow(msgspec.Struct, tag_field="type", tag="issuer_key", forbid_unknown_fields=True):
    """A public key that signed tickets are checked with, and whose it is."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    issuer: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9.-]{0,62}$")]
    public_key: str
    state: Literal["active", "revoked"] = "active"
    valid_from: Moment | None = None
    valid_until: Moment | None = None


class WalletRow(msgspec.Struct, tag_field="type", tag="wallet", forbid_unknown_fields=True):
    """What upstream says is in a guest's wallet.

    `counted_minor` is how much of what this venue has moved in (or, with a minus, out) is in `balance_minor` already.
    """

    holder: Name
    balance_minor: Annotated[int, msgspec.Meta(ge=-BALANCE_MAX_MINOR, le=BALANCE_MAX_MINOR)]
    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
    counted_minor: Annotated[int, msgspec.Meta(ge=-BALANCE_MAX_MINOR, le=BALANCE_MAX_MINOR)] = 0


DirectoryRow: TypeAlias = ScheduleRow | ZoneRow | CredentialRow | EntitlementRow | IssuerKeyRow | WalletRow


_decode = msgspec.json.Decoder(DirectoryRow).decode


def parse(line: bytes) -> DirectoryRow:
    """Return the row of one line. Raises RowError."""
    if len(line) > LINE_BYTES_MAX:
        raise RowError(f"the line is longer than {LINE_BYTES_MAX} bytes")
    try:
        row: DirectoryRow = _decode(line)
    except msgspec.MsgspecError as error:
        raise RowError(_explain(str(error))) from None
    except UnicodeDecodeError:
        raise RowError("the line is not UTF-8") from None
    except RecursionError:
        raise RowError("the line is nested too deep; a row needs no more than a few levels") from None
    if isinstance(row, CredentialRow) and not (
        len(row.technology) <= TECHNOLOGY_MAX and _is_technology(row.technology)
    ):
        raise RowError(f"technology: {_LETTERS}")
    return row


def is_em4100(value: str) -> bool:
    """Return True for the number of an EM4100 tag: anything else no reader would ever send."""
    return _EM4100.fullmatch(value) is not None


def to_ms(value: Moment | None, name: str, timezone: ZoneInfo) -> int | None:
    """Return UTC milliseconds. Raises RowError for a time without a zone, for it could be meant either way."""
    if value is None:
        return None
    try:
        return _utc_ms(value) if len(value) <= MOMENT_MAX else _utc_ms.__wrapped__(value)
    except msgspec.ValidationError as error:
        raise RowError(f"{name}: {error}") from None
    except _NoZone as error:
        meant = error.moment.replace(tzinfo=timezone).isoformat()
        raise RowError(f"{name}: the time zone is missing; if it is meant in {timezone.key}, write {meant}") from None


class _NoZone(Exception):
    def __init__(self, moment: datetime) -> None:
        super().__init__(str(moment))
        self.moment = moment


@lru_cache(maxsize=4096)
def _utc_ms(text: str) -> int:
    moment = msgspec.convert(text, datetime)
    if moment.tzinfo is None:
        raise _NoZone(moment)
    return (moment - EPOCH) // MILLISECOND


@lru_cache(maxsize=256)
def _is_technology(text: str) -> bool:
    return _TECHNOLOGY.fullmatch(text) is not None


def _check_window(row: WindowRow, place: str) -> None:
    for day in row.days:
        if row.days.count(day) > 1:
            raise RowError(f"{place}.days: {day} is named twice")
    if row.start == "24:00":
        raise RowError(f"{place}.from: a day begins at 00:00; write 00:00 of the day that is meant")
    if row.start == row.end:
        raise RowError(f"{place}.to: it ends when it begins; for a whole day write 00:00 to 24:00, else correct it")


def _clock(text: str) -> time:
    return time() if text == "24:00" else time(int(text[:2]), int(text[3:]))


_LETTERS = "Expected lower-case letters, digits, '-', '_', '.'"
_FORMS = {
    "weekly": "Expected HH:MM",
    "currency": "Expected three capital letters, such as EUR",
    "item": "Expected lower-case letters, digits and hyphens",
}


def _explain(message: str) -> str:
    """Turn what msgspec says into the name of the field and what is wrong with it."""
    what, _, place = message.partition(" - at `")
    field = place.rstrip("`").removeprefix("$").removeprefix(".")
    # In a row whose columns slipped, what stands in the wrong place may be the number of a card (I12).
    what = _QUOTED.sub(
        lambda found: found[0] if _WORD.fullmatch(found[3]) else f"{found[1]} {found[2]}…{found[2]}", what
    )
    if field == "type":
        what = f"{what}, expected credential, entitlement, issuer_key, schedule, wallet or zone"
    if "matching regex" in what:
        what = _FORMS.get(field.partition("[")[0], _LETTERS)
    if "malformed" in what or "truncated" in what:
        what = f"{what}; each line must be one whole JSON object"
    return f"{field}: {what}" if field else what

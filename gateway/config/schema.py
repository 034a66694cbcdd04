"""What a configuration is once it has been read and found right: frozen values, names resolved.

Where the shape in the YAML file is the same, these types also describe the file: their ranges are what `loading`
checks and their descriptions are what an editor shows. Where it differs, the file's own shape is in `entries`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from gateway.config.boards import Boards, Contact
from gateway.config.console import ConsoleSettings
from gateway.config.feedback import Feedback
from gateway.config.operations import Metrics, Retention
from gateway.config.upstream import Upstream
from gateway.config.wallet import Wallet
from gateway.domain.access import GateRule, ZoneMap
from gateway.domain.wallet import Policy

NAME_PATTERN = "^[a-z0-9][a-z0-9-]{0,62}$"
"""Names are MQTT topic levels, broker users and file names, so they are plain everywhere."""

RESERVED_NAMES: tuple[str, ...] = ("gateway", "wallet", "entitlements")
"""Targets of their own; no device and no gate may be called so."""

DEFAULT_STATE_DIR = "/var/lib/venue-gateway"

VERBS: Mapping[str, tuple[str, ...]] = {
    "printer": ("print", "print_raw", "reprint", "cancel", "status"),
    "drawer": ("open", "status"),
    "gate": ("authenticate", "override", "why", "status"),
    "gateway": ("replay", "status", "lock_down", "emergency_release", "restore", "block", "unblock", "vouch_clock"),
    "wallet": (
        "charge", "top_up", "refund", "tip", "deposit", "hold", "capture", "transfer", "close_out", "balance", "cancel",
        "sell",
    ),
    "entitlements": ("redeem", "undo", "cancel", "why"),
    "till": ("open_shift", "cash_in", "cash_out", "count", "close_shift", "x_report", "z_report", "status"),
}  # fmt: skip
"""What can be asked of each kind of target; `gate` here is an entry under `gates:`, not a relay board."""

CLOCK_PATTERN = "^([01][0-9]|2[0-3]):[0-5][0-9]$"

NAME_RULE = "lower-case letters, digits and hyphens, at most 63, the first no hyphen"

Name = Annotated[str, Meta(pattern=NAME_PATTERN, extra={"expected": NAME_RULE})]
Kind = Literal["reader", "scanner", "gate", "printer", "drawer", "bus"]


class DriverKind(msgspec.Struct, frozen=True):
    """One driver as the configuration sees it: its YAML options, and a line on what it is for.

    `kind` "gate" is a relay board. Some options mean the same in every driver: a board's `channels` or `relays` is its
    number of relays and `inputs` its number of contacts; a drawer's `printer` names the printer it hangs on; `bus`
    names the bus a device shares with others, and `address` is its own there; `port` and `connect` name what the device
    is opened on.
    """

    kind: Kind
    options: type[msgspec.Struct]
    summary: str


class Venue(msgspec.Struct, frozen=True):
    """The venue: who it is, its clock and its money."""

    id: Annotated[Name, Meta(description="Short name of the venue; part of every MQTT topic: venue/<id>/….")]
    timezone: Annotated[
        str, Meta(min_length=1, description="IANA time zone, such as Europe/Berlin. Schedules are in this local time.")
    ]
    currency: Annotated[
        str,
        Meta(
            pattern="^[A-Z]{3}$",
            description="ISO 4217 code of the venue's money, such as EUR, CHF or GBP.",
            extra={"expected": "the three capital letters of ISO 4217, such as EUR, CHF or GBP"},
        ),
    ]
    name: Annotated[str, Meta(max_length=80, description="Name for people: screens and receipts.")] = ""

    @property
    def zone_info(self) -> ZoneInfo:
        """The venue's time zone."""
        return ZoneInfo(self.timezone)


class Broker(msgspec.Struct, frozen=True):
    """The MQTT broker and how to log in to it. Passwords stand in files of their own, never here."""

    url: Annotated[
        str,
        Meta(
            description="unix:///path/of/socket, mqtt://host:port (1883 if left out) or mqtts://host:port (TLS, 8883)."
        ),
    ]
    username: Annotated[
        str | None, Meta(description="The gateway's user at the broker; not needed on a Unix socket.")
    ] = None
    password_file: Annotated[
        str | None,
        Meta(description="File with nothing but the password (mode 0600). Relative paths start at this YAML file."),
    ] = None
    ca_file: Annotated[
        str | None,
        Meta(
            description="PEM file of the authority that signed the broker's certificate; without it the system's own."
        ),
    ] = None

    @property
    def socket_path(self) -> str | None:
        """The path of the Unix socket; None for a broker on the network."""
        parts = urlsplit(self.url)
        return parts.path if parts.scheme == "unix" else None

    @property
    def tls(self) -> bool:
        """True where the connection is encrypted."""
        return urlsplit(self.url).scheme == "mqtts"

    @property
    def host(self) -> str:
        """Host name or address; empty for a Unix socket."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """TCP port; 1883, or 8883 with TLS, where the URL names none."""
        return urlsplit(self.url).port or (8883 if self.tls else 1883)


class Zone(msgspec.Struct, frozen=True):
    """A part of the venue that guests are in or not in."""

    within: Annotated[str | None, Meta(description="The zone around this one; left out for an outermost zone.")] = None
    capacity: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        Meta(description="Guests, zones inside it included; the gate refuses the next one. Left out: no limit."),
    ] = None
    reset_at: Annotated[
        Annotated[
            str,
            Meta(pattern=CLOCK_PATTERN, extra={"expected": "a time of day in quotes, such as `05:00`"}),
        ]
        | None,
        Meta(
            description="Time of the venue's clock at which everyone who came before counts as gone from this zone and "
            "those inside it. Left out: never."
        ),
    ] = None

    @property
    def reset_time(self) -> time | None:
        """`reset_at` as a time of day."""
        return time.fromisoformat(self.reset_at) if self.reset_at is not None else None


class Device(msgspec.Struct, frozen=True):
    """One device. `digest` changes exactly when what the driver is built from changes.

    For a drawer that includes its printer, so a drawer restarts with the printer it is wired to.
    """

    name: str
    driver: str
    options: msgspec.Struct
    digest: str


class GateSettings(msgspec.Struct, frozen=True, kw_only=True, rename={"from_zone": "from", "to_zone": "to"}):
    """A place where guests pass from one zone to another, one at a time."""

    from_zone: Annotated[str | None, Meta(description="Zone guests come from; left out: from outside.")] = None
    to_zone: Annotated[str | None, Meta(description="Zone guests go to; left out: to outside.")] = None
    readers: Annotated[
        tuple[str, ...],
        Meta(description="Readers and scanners wired to the gateway that ask at this gate. Each belongs to one gate."),
    ] = ()
    pulse_ms: Annotated[
        int, Meta(ge=50, le=30_000, description="How long the lock's relay is closed for one passage, in milliseconds.")
    ] = 700
    passage_timeout_s: Annotated[
        float,
        Meta(ge=1, le=120, description="Seconds a guest has to walk through; then the entry is handed back."),
    ] = 8.0
    held_open_s: Annotated[
        float, Meta(ge=1, le=3600, description="Seconds the gate may stand open before that is an alarm.")
    ] = 20.0
    on_power_loss: Annotated[
        Literal["secure", "safe"],
        Meta(description="How the lock is wired: secure stays locked without power, safe opens."),
    ] = "secure"
    anti_passback: Annotated[
        Literal["hard", "soft", "off"],
        Meta(
            description="hard refuses a guest who is already inside; soft lets them in and flags it; off does not look."
        ),
    ] = "hard"
    anti_passback_reset_s: Annotated[
        Annotated[float, Meta(ge=1, le=604_800)] | None,
        Meta(description="Seconds after which a guest no longer counts as already inside. Left out: never."),
    ] = None


class Gate(GateSettings, frozen=True, kw_only=True):
    """One gate, its names resolved. Without `lock` it only decides: a networked reader moves its own barrier."""

    name: str
    lock: Contact | None = None
    passage: Contact | None = None

    @property
    def rule(self) -> GateRule:
        """What the entry decision needs of this gate."""
        reset_s = self.anti_passback_reset_s
        reset_ms = round(reset_s * 1000) if reset_s is not None else None
        return GateRule(self.name, self.from_zone, self.to_zone, self.anti_passback, reset_ms)


class Client(msgspec.Struct, frozen=True):
    """One thin client. `may` is target → verbs; what is not in it is refused (I7)."""

    name: str
    may: Mapping[str, frozenset[str]]


class Limits(msgspec.Struct, frozen=True):
    """Bounds of the venue (I9). The defaults are what most venues want."""

    print_queue_jobs: Annotated[
        int, Meta(ge=1, le=1000, description="Receipts that may wait for one printer; the next is refused as busy.")
    ] = 50
    print_hold_s: Annotated[
        float,
        Meta(ge=1, le=86_400, description="Seconds a receipt may wait for paper or its printer before it expires."),
    ] = 900.0
    print_when_offline: Annotated[
        Literal["keep", "refuse"],
        Meta(
            description="What becomes of receipts while their printer is unplugged: keep lets them wait for it, refuse "
            "takes no new one and gives up those that wait."
        ),
    ] = "keep"
    request_expiry_max_s: Annotated[
        float,
        Meta(
            ge=1, le=3600, description="How far ahead, in seconds, `expires_at` of a request may be that moves metal."
        ),
    ] = 60.0
    request_max_kb: Annotated[
        int, Meta(ge=4, le=4096, description="Largest request in kilobytes; images and raw jobs are the large ones.")
    ] = 512


class Till(msgspec.Struct, frozen=True, kw_only=True):
    """A place where money is taken: its drawer, its printer, and the clients whose money goes there."""

    drawer: Annotated[Name | None, Meta(description="The cash drawer that its shifts count. Left out: none.")] = None
    printer: Annotated[
        Name | None, Meta(description="The printer of its reports. Left out: a request names one, or none is printed.")
    ] = None
    clients: Annotated[
        tuple[Name, ...],
        Meta(description="Clients whose payments are booked to this till's shift. Each belongs to one till."),
    ] = ()
    shift_required: Annotated[
        bool, Meta(description="true refuses payments of its clients while no shift is open; false books them nowhere.")
    ] = True
    language: Annotated[Literal["de", "en"], Meta(description="Language of its reports.")] = "de"


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """When the time is believed, and what is done with what depends on it until then."""

    trust: Annotated[
        Literal["auto", "vouched", "system"],
        Meta(
            description="auto believes the system's clock on a machine whose clock outlasts a power cut; vouched only "
            "once NTP, upstream or a technician vouches for it; system always."
        ),
    ] = "auto"
    untrusted: Annotated[
        Literal["flag", "deny", "last_known"],
        Meta(
            description="While nobody vouches for the time: flag admits what depends on it and marks it, deny refuses "
            "it, last_known decides by the journal's newest time and what passed since."
        ),
    ] = "flag"


class Authenticity(msgspec.Struct, frozen=True, kw_only=True):
    """Which credentials must prove to be no copy before they open a gate or pay."""

    required_for: Annotated[
        tuple[Literal["nfc", "card", "wristband", "staff_badge"], ...],
        Meta(
            description="Kinds of credentials in the directory; nfc means every contactless one. One of these that "
            "proved nothing at its reader is refused as `authenticity_failed`, a repeated reading as `replayed`."
        ),
    ] = ()


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """A whole, valid configuration. `digest` changes exactly when its meaning does, not with comments or order."""

    venue: Venue
    broker: Broker
    state_dir: Path = Path(DEFAULT_STATE_DIR)
    zones: Mapping[str, Zone] = msgspec.field(default_factory=dict)
    devices: Mapping[str, Device] = msgspec.field(default_factory=dict)
    gates: Mapping[str, Gate] = msgspec.field(default_factory=dict)
    clients: Mapping[str, Client] = msgspec.field(default_factory=dict)
    limits: Limits = msgspec.field(default_factory=Limits)
    wallet: Wallet = msgspec.field(default_factory=Wallet)
    authenticity: Authenticity = msgspec.field(default_factory=Authenticity)
    boards: Boards = msgspec.field(default_factory=Boards)
    feedback: Feedback = msgspec.field(default_factory=Feedback)
    console: ConsoleSettings | None = None
    upstream: Upstream | None = None
    metrics: Metrics | None = None
    retention: Retention = msgspec.field(default_factory=Retention)
    tills: Mapping[str, Till] = msgspec.field(default_factory=dict)
    clock: Clock = msgspec.field(default_factory=Clock)
    digest: str = ""
    warnings: tuple[str, ...] = ()
    """Lines in the form of problems that stop nothing: `check` prints them, `run` logs them."""

    def needs_restart(self, fresh: Configuration) -> str:
        """Return what of a fresh configuration differs and is fixed while the daemon runs, or an empty text."""
        fixed = {
            "venue.id": self.venue.id != fresh.venue.id,
            "broker": self.broker != fresh.broker,
            "state_dir": self.state_dir != fresh.state_dir,
        }
        return ", ".join(name for name, differs in fixed.items() if differs)

    @property
    def zone_map(self) -> ZoneMap:
        """The zones as the entry decision takes them."""
        within = {name: zone.within for name, zone in self.zones.items()}
        return ZoneMap(within, {name: zone.capacity for name, zone in self.zones.items()})

    @property
    def wallet_policy(self) -> Policy:
        """The wallets' rules as the decision takes them."""
        offline, age_h = self.wallet.offline, self.wallet.offline.directory_age_max_h
        allowances = self.wallet.allowances if self.wallet.authority == "upstream" else None
        return Policy(
            currency=self.venue.currency,
            upstream=self.wallet.authority == "upstream",
            balance_max_minor=self.wallet.balance_max_minor,
            hold_timeout_ms=round(self.wallet.hold_timeout_s * 1000),
            transaction_max_minor=offline.transaction_max_minor,
            wallet_total_max_minor=offline.wallet_total_max_minor,
            venue_total_max_minor=offline.venue_total_max_minor,
            consecutive_max=offline.consecutive_max,
            directory_age_max_ms=None if age_h is None else round(age_h * 3_600_000),
            allowance_margin_ms=None if allowances is None else round(allowances.expiry_margin_s * 1000),
        )

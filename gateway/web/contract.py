"""What may be asked of the console over HTTP: every address, what it takes, what it answers, and who may."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from gateway.domain.answers import Answer
from gateway.flows.lookup import Presented
from gateway.flows.purchase_data import Reference
from gateway.web.users import Role

COOKIE = "vg_console"
CSRF_HEADER = "X-CSRF-Token"


class LoginData(msgspec.Struct, forbid_unknown_fields=True):
    """What the login form sends."""

    user: Annotated[str, Meta(min_length=1, max_length=63)]
    password: Annotated[str, Meta(min_length=1, max_length=200)]


class AskData(msgspec.Struct, forbid_unknown_fields=True):
    """A request to the desk, as over MQTT; `expires_at` is the console's own business.

    `data` is what asyncapi.yaml has for the verb. The same `id` again has no second effect.
    """

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{8,64}\Z")]
    target: Annotated[str, Meta(min_length=1, max_length=63)]
    verb: Annotated[str, Meta(min_length=1, max_length=63)]
    data: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))


class LookupData(msgspec.Struct, forbid_unknown_fields=True):
    """Whom to look up: by one of the three."""

    credential: Presented | None = None
    ref: Reference | None = None
    holder: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class SignedIn(msgspec.Struct, frozen=True):
    """Who is signed in. `csrf` comes back in the header of everything that is posted."""

    user: str
    role: Role
    csrf: str


class Problem(msgspec.Struct, frozen=True):
    """Why a request is not served: a word for programs and a sentence for people."""

    error: str
    message: str


class Nothing(msgspec.Struct, frozen=True):
    """It is done, and there is nothing to tell."""


class VenueShown(msgspec.Struct, frozen=True):
    """The venue as it is now, part by part, without a name of any guest. Fields of the parts may be added."""

    gateway: dict[str, Any]
    devices: list[dict[str, Any]]
    gates: list[dict[str, Any]]
    zones: list[dict[str, Any]]
    printers: list[dict[str, Any]]
    drawers: list[dict[str, Any]]
    sync: dict[str, Any]
    charts: dict[str, Any]


class GuestShown(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a guest, and what each gate would say. `fault` is a reason why nothing can be said, or empty."""

    holder: str
    fault: str
    ref: str = ""
    credential: dict[str, Any] | None = None
    blocked: bool = False
    inside: dict[str, Any] | None = None
    entitlements: list[dict[str, Any]] = []
    wallet: dict[str, Any] | None = None
    gates: list[dict[str, Any]] = []


class Finding(msgspec.Struct, frozen=True):
    """What `venue-gateway check` says of one place of the file."""

    line: int
    column: int
    path: str
    message: str
    level: Literal["problem", "warning"]


class FileShown(msgspec.Struct, frozen=True):
    """The configuration file without its secrets, and whether it is what is in force."""

    file: str
    lines: list[str]
    findings: list[Finding]
    digest: str
    in_force: str
    refused: str


class Route(msgspec.Struct, frozen=True):
    """One address. `role` is the least one that may; None for what takes no login."""

    name: str
    method: Literal["GET", "POST"]
    path: str
    summary: str
    role: Role | None = None
    takes: type[msgspec.Struct] | None = None
    gives: type[msgspec.Struct] | str = "text/html"
    """A type as JSON, or the media type of something else."""
    refuses: tuple[int, ...] = ()
    """The statuses of refusals, beside those that any request may meet."""


_SENT = (400, 408, 413, 415)
ROUTES = (
    Route("index", "GET", "/", "The console's page."),
    Route("static", "GET", "/static/{name}", "Its parts.", gives="*/*", refuses=(404,)),
    Route("tablet", "GET", "/tablet", "The page of the thin tablet."),
    Route("tablet_part", "GET", "/tablet/{name}", "Its parts.", gives="*/*", refuses=(404,)),
    Route(
        "login", "POST", "/api/login", "Sign in; the answer sets the cookie.",
        takes=LoginData, gives=SignedIn, refuses=(*_SENT, 401, 403, 429, 503),
    ),
    Route("logout", "POST", "/api/logout", "Sign out.", role="viewer", gives=Nothing),
    Route("session", "GET", "/api/session", "Who is signed in.", role="viewer", gives=SignedIn),
    Route("alive", "POST", "/api/alive", "Somebody is at the screen.", role="viewer", gives=Nothing),
    Route("state", "GET", "/api/state", "The whole venue, once.", role="viewer", gives=VenueShown),
    Route(
        "stream", "GET", "/api/stream", "The venue as it changes: `parts`, `rows`, `answer`, `bye` and `crowded`.",
        role="viewer", gives="text/event-stream", refuses=(503,),
    ),
    Route(
        "receipt", "GET", "/api/receipts/{job}", "A picture of a print job, by its id with or without `.png`.",
        role="staff", gives="image/png", refuses=(404, 503),
    ),
    Route(
        "configuration", "GET", "/api/configuration", "The configuration file with its findings.",
        role="technician", gives=FileShown,
    ),
    Route(
        "lookup", "POST", "/api/lookup", "A guest, by card, by its reference or by name.",
        role="staff", takes=LookupData, gives=GuestShown, refuses=_SENT,
    ),
    Route(
        "ask", "POST", "/api/ask", "A request to the desk, such as to print or to open; who may what is in console.md.",
        role="viewer", takes=AskData, gives=Answer, refuses=(*_SENT, 503),
    ),
)  # fmt: skip
"""In the order in which they are looked at."""

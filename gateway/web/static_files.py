"""The page's own files, read once at the start: no request ever becomes a path."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from importlib import resources
from types import MappingProxyType

import msgspec
from aiohttp import web

from gateway.domain.feedback_texts import DEFAULTS
from gateway.domain.reasons import MESSAGES
from gateway.web import http

TYPES = {
    "index.html": "text/html",
    "console.css": "text/css",
    "icon.svg": "image/svg+xml",
    "manifest.json": "application/manifest+json",
    **dict.fromkeys(("app.js", "live.js", "parts.js", "charts.js", "dom.js", "words.js", "work.js"), "text/javascript"),
}
TABLET_TYPES = {
    "index.html": "text/html",
    "tablet.css": "text/css",
    "manifest.json": "application/manifest+json",
    **dict.fromkeys(("tablet.js", "contract.js", "scan.js", "words.js", "mqtt.esm.js"), "text/javascript"),
}
TABLET_HEADERS = {
    # As the console's, but for the two things a tablet needs: the venue's broker, by TLS, and a camera for its code.
    "Content-Security-Policy": http.HEADERS["Content-Security-Policy"].replace(
        "connect-src 'self'", "connect-src 'self' wss:"
    ),
    "Permissions-Policy": http.HEADERS["Permissions-Policy"].replace("camera=()", "camera=(self)"),
}


class File(msgspec.Struct, frozen=True):
    """One file as it is served."""

    body: bytes
    content_type: str
    etag: str
    headers: dict[str, str] = {}

    def response(self, request: web.Request) -> web.Response:
        """Return it, or that the browser has it already."""
        headers = {"ETag": f'"{self.etag}"', "Cache-Control": "no-cache"}
        if f'"{self.etag}"' in request.headers.get("If-None-Match", ""):
            response = web.Response(status=304, headers=headers)
        else:
            response = web.Response(body=self.body, content_type=self.content_type, charset="utf-8", headers=headers)
        # Also with a 304, whose headers take the place of those the browser has.
        response[http.OWN_HEADERS] = self.headers
        return response


def load() -> dict[str, File]:
    """Return every file by name, those of the tablet's page under `tablet/`, and what each reason word means."""
    folder = resources.files("gateway.web") / "static"
    files = {name: _file((folder / name).read_bytes(), kind) for name, kind in TYPES.items()}
    for name, kind in TABLET_TYPES.items():
        files[f"tablet/{name}"] = _file((folder / "tablet" / name).read_bytes(), kind, TABLET_HEADERS)
    return files | {"reasons.json": _file(_reasons(), "application/json")}


def _file(body: bytes, content_type: str, headers: Mapping[str, str] = MappingProxyType({})) -> File:
    return File(body, content_type, sha256(body).hexdigest()[:24], dict(headers))


def _reasons() -> bytes:
    """The German of a refusal is what guests read; the English is the sentence for staff."""
    told = {
        reason.value: {"de": DEFAULTS[reason].text["de"] if reason in DEFAULTS else "", "en": message}
        for reason, message in MESSAGES.items()
    }
    return msgspec.json.encode(told)

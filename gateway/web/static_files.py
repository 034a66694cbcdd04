"""The page's own files, read once at the start: no request ever becomes a path."""

from __future__ import annotations

from hashlib import sha256
from importlib import resources

import msgspec
from aiohttp import web

from gateway.domain.reasons import MESSAGES

TYPES = {
    "index.html": "text/html",
    "console.css": "text/css",
    "icon.svg": "image/svg+xml",
    "manifest.json": "application/manifest+json",
    **dict.fromkeys(
        ("app.js", "live.js", "parts.js", "charts.js", "details.js", "dom.js", "words.js", "work.js"), "text/javascript"
    ),
}
TABLET_TYPES = {
    "index.html": "text/html",
    "tablet.css": "text/css",
    "manifest.json": "application/manifest+json",
    **dict.fromkeys(("tablet.js", "contract.js", "scan.js", "words.js", "reasons.js"), "text/javascript"),
    "mqtt.esm.js": "text/javascript",
}


class File(msgspec.Struct, frozen=True):
    """One file as it is served."""

    body: bytes
    content_type: str
    etag: str

    def response(self, request: web.Request) -> web.Response:
        """Return it, or that the browser has it already."""
        headers = {"ETag": f'"{self.etag}"', "Cache-Control": "no-cache"}
        if f'"{self.etag}"' in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return web.Response(body=self.body, content_type=self.content_type, charset="utf-8", headers=headers)


def load() -> dict[str, File]:
    """Return every file by name, those of the tablet's page under `tablet/`, and what each reason word means."""
    folder = resources.files("gateway.web") / "static"
    files = {name: _file((folder / name).read_bytes(), kind) for name, kind in TYPES.items()}
    for name, kind in TABLET_TYPES.items():
        files[f"tablet/{name}"] = _file((folder / "tablet" / name).read_bytes(), kind)
    return files | {"reasons.json": _file(_reasons(), "application/json")}


def _file(body: bytes, content_type: str) -> File:
    return File(body, content_type, sha256(body).hexdigest()[:24])


def _reasons() -> bytes:
    """Return the English sentence for staff of every reason; `tablet/reasons.js` has the German."""
    return msgspec.json.encode({reason.value: message for reason, message in MESSAGES.items()})

"""What every answer of the console has in common: its headers, its form, and what no request may be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

import msgspec
import structlog
from aiohttp import web

from gateway.web.contract import Problem

log = structlog.get_logger(__name__)

BODY_BYTES_MAX = 16 * 1024
BODY_S = 10.0
HEADERS = {
    # Scripts, styles and pictures from here alone, nothing inline, and no text that becomes markup by accident.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "manifest-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), usb=(), serial=()",
    "Server": "venue-gateway",
}
TABLET = "/tablet"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Shape = TypeVar("Shape")


class Refused(Exception):
    """A request is not served. `word` is for the page, `message` for a person."""

    def __init__(self, status: int, word: str, message: str, *, retry_after_s: float = 0.0) -> None:
        """Carry the HTTP status and what to tell."""
        super().__init__(message)
        self.status, self.word, self.message, self.retry_after_s = status, word, message, retry_after_s


def headers_setter(names: Iterable[str]) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Return what sets on every response what keeps a browser from doing more than it should.

    The tablet's page may reach the broker, which is by the `names` of this computer, and nobody else's.
    """
    tablet = _tablet_headers(names)

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        is_tablet = request.path == TABLET or request.path.startswith(f"{TABLET}/")
        for name, value in (tablet if is_tablet else HEADERS).items():
            response.headers[name] = value
        response.headers.setdefault("Cache-Control", "no-store")

    return add_headers


def _tablet_headers(names: Iterable[str]) -> Mapping[str, str]:
    """Return the console's headers but for the two things a tablet needs: the broker by TLS, and a camera."""
    # A policy can name no IPv6 address; there the tablet takes a name.
    brokers = " ".join(f"wss://{name}:*" for name in sorted(names) if not name.startswith("["))
    policy = HEADERS["Content-Security-Policy"].replace("connect-src 'self'", f"connect-src 'self' {brokers}".rstrip())
    permissions = HEADERS["Permissions-Policy"].replace("camera=()", "camera=(self)")
    return {**HEADERS, "Content-Security-Policy": policy, "Permissions-Policy": permissions}


@web.middleware
async def tell_refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every refusal and every mistake into a short JSON answer that quotes nothing of the request."""
    try:
        return await handler(request)
    except Refused as refused:
        after = {"Retry-After": str(max(1, round(refused.retry_after_s)))} if refused.retry_after_s else {}
        return reply(Problem(refused.word, refused.message), refused.status, after)
    except web.HTTPException as error:
        if error.status == web.HTTPRequestEntityTooLarge.status_code:
            return reply(Problem("too_large", f"At most {BODY_BYTES_MAX} bytes."), error.status)
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return reply(Problem("not_found", error.reason), error.status, allow)
    except (ConnectionResetError, asyncio.CancelledError):
        raise
    except Exception:
        log.exception("console_failed", what="request")
        return reply(Problem("failed", "This did not work; the log has the details."), 500)


def reply(data: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return an answer in JSON."""
    body = msgspec.json.encode(data)
    return web.Response(body=body, status=status, content_type="application/json", charset="utf-8", headers=headers)


def check_host(request: web.Request, names: frozenset[str]) -> None:
    """Refuse what is addressed to another name: the browser was led here by a stranger's page (DNS rebinding)."""
    host = request.headers.get("Host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    if name.lower() not in names:
        raise Refused(421, "wrong_host", "The console is not reached by this name; add it under `console: hosts:`.")


def check_origin(request: web.Request) -> None:
    """Refuse what another site's page sends (RFC 6454, Fetch Metadata)."""
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"{request.scheme}://{request.headers.get('Host', '')}":
        raise Refused(403, "wrong_origin", "This comes from another page.")
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise Refused(403, "wrong_origin", "This comes from another page.")


async def read(request: web.Request, shape: type[Shape]) -> Shape:
    """Return the JSON body as `shape`; raises Refused, or HTTPRequestEntityTooLarge."""
    if request.content_type != "application/json":
        raise Refused(415, "malformed", "Send JSON, with the content type application/json.")
    try:
        async with asyncio.timeout(BODY_S):
            body = await request.read()
        return msgspec.json.decode(body, type=shape)
    except TimeoutError:
        raise Refused(408, "too_slow", "The request did not arrive in time.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # msgspec names the field and what belongs there, and quotes only the names of unknown fields.
        wrong = "there is a field that nobody knows" if "unknown field" in str(error) else str(error)
        raise Refused(400, "malformed", f"The request is not right: {wrong[:200]}.") from None
    except RecursionError:
        raise Refused(400, "malformed", "The request is nested too deep.") from None

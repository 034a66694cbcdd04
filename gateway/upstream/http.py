"""HTTPS to upstream: one connection pool an endpoint, its token from a file, and failures in words for a technician."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp

from gateway import __version__
from gateway.config.upstream import Endpoint
from gateway.upstream.contract import ROOT
from gateway.upstream.identity import Identity, NotEnrolled
from gateway.upstream.seal import HEADER, Seal
from gateway.upstream.sinks import SinkUnavailable
from gateway.upstream.tls import explain_certificate, read_secret, tls_context

CONNECT_S = 10.0
ANSWER_S = 60.0
ANSWER_BYTES_MAX = 8 << 20
"""The longest answer that is read into memory; snapshots are not."""
MS_PER_S = 1000

HeardDate = Callable[[int, int], None]
"""Called with upstream's time in UTC milliseconds and how far it may be off."""


class Answer:
    """A response whose body was read to its end."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Client:
    """One endpoint. Every method raises SinkUnavailable when upstream cannot be reached or understood."""

    def __init__(
        self,
        endpoint: Endpoint,
        venue: str,
        heard_date: HeardDate | None = None,
        identity: Identity | None = None,
        seal: Seal | None = None,
    ) -> None:
        """Prepare; nothing is opened yet. With an `identity` the gateway shows its own certificate.

        `seal` is what everything that is taken from there must bear; None where nothing is signed.
        """
        self._endpoint = endpoint
        self.seal = seal
        self._identity = identity
        self._shown = 0
        self._connecting = asyncio.Lock()
        self._base = endpoint.url.rstrip("/") + ROOT.format(venue=venue)
        self._host = urlsplit(endpoint.url).hostname or ""
        self._session: aiohttp.ClientSession | None = None
        self._token = ""
        self._heard_date = heard_date

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        answer_s: float = ANSWER_S,
    ) -> Answer:
        """Send one request and read the answer, at most some megabytes of it."""
        asked = self.open(method, path, query=query, body=body, headers=headers, answer_s=answer_s)
        async with asked as response:
            content = bytearray()
            async for piece in response.content.iter_chunked(64 << 10):
                content += piece
                if len(content) > ANSWER_BYTES_MAX:
                    raise SinkUnavailable(f"upstream at {self._host} answers with more than {ANSWER_BYTES_MAX} bytes")
            return Answer(response.status, response.headers, bytes(content))

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        answer_s: float | None = ANSWER_S,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request; the body of the answer is read by the caller."""
        timeout = aiohttp.ClientTimeout(total=answer_s, connect=CONNECT_S, sock_read=answer_s or ANSWER_S)
        try:
            session = await self._connected()
            login = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            began_s = time.monotonic()
            async with session.request(
                method,
                self._base + path,
                params=query,
                data=body,
                headers={**login, **(headers or {})},
                timeout=timeout,
                # A token must not go where somebody else sends it.
                allow_redirects=False,
            ) as response:
                self._hear_date(response.headers.get("Date"), time.monotonic() - began_s)
                await self._check(response)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise SinkUnavailable(await self._explained(error)) from error

    async def _explained(self, error: Exception) -> str:
        """Say what went wrong; a server that will not have our certificate often just hangs up."""
        if self._identity is not None and isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
            with suppress(OSError, ValueError):
                if await asyncio.to_thread(self._identity.has_ended):
                    return f"{self._host} hangs up, and this gateway's own certificate has ended; {_ENROL}"
        return explain(error, self._host)

    async def _connected(self) -> aiohttp.ClientSession:
        # Two requests at once must not make two sessions.
        async with self._connecting:
            return await self._connect()

    async def _connect(self) -> aiohttp.ClientSession:
        if self._session is not None and self._identity is not None and _stamp(self._identity) != self._shown:
            # The certificate was renewed.
            await self.close()
        if self._session is None:
            self._shown = _stamp(self._identity) if self._identity is not None else 0
            context = await asyncio.to_thread(_tls, self._endpoint, self._identity)
            self._token = await asyncio.to_thread(read_secret, self._endpoint.token_file, "token")
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=4),
                headers={"User-Agent": f"venue-gateway/{__version__}"},
            )
        return self._session

    def _hear_date(self, header: str | None, took_s: float) -> None:
        if self._heard_date is None or header is None:
            return
        try:
            at_ms = round(parsedate_to_datetime(header).timestamp() * MS_PER_S)
        except (ValueError, OverflowError):
            return
        # The header has whole seconds, and was written some time while the answer was under way.
        self._heard_date(at_ms + MS_PER_S // 2, MS_PER_S // 2 + round(took_s * MS_PER_S))

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        """Raise SinkUnavailable for what upstream answers when it cannot do its work."""
        status = response.status
        if status in {401, 403}:
            # The file may have another token by now.
            await self.close()
            where = self._endpoint.token_file or "`token_file`, which is not set"
            raise SinkUnavailable(f"upstream at {self._host} refuses the login ({status}); look at {where}")
        if status in {408, 425, 429} or status >= 500 or 300 <= status < 400 or status in {404, 405}:
            hint = "; is the `url` right?" if 300 <= status < 500 and status not in {408, 425, 429} else ""
            why = f"upstream at {self._host} answers {status}{hint}"
            raise SinkUnavailable(why, _retry_after_s(response.headers.get("Retry-After")), status)


def check_seal(seal: Seal | None, kind: str, version: int, answer: Answer) -> None:
    """Raise Unsealed for an answer without the seal that it needs. What is in it says itself whether it is old."""
    if seal is not None:
        seal.check(kind, version, hashlib.sha256(answer.body).digest(), answer.headers.get(HEADER))


_ENROL = "enrol again: venue-gateway enroll URL --code CODE --replace"
_OWN_REFUSED = "alert certificate"
"""What OpenSSL says when the other side will not have ours: `alert certificate expired`, `… required`, `… unknown`."""


def explain(error: Exception, host: str) -> str:
    """Return what went wrong on the way to `host`, and what to do about it."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return explain_certificate(error.certificate_error, host)
    if _OWN_REFUSED in str(error).lower().replace("_", " "):
        return f"{host} refuses this gateway's certificate; {_ENROL}"
    if isinstance(error, aiohttp.ClientConnectorSSLError | ssl.SSLError):
        return f"TLS with {host} failed ({error.strerror or error}); is there an https server on this port?"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the name {host} is not found; check the network and the spelling"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{host} cannot be reached ({error.os_error.strerror or error.os_error}); check the network"
    if isinstance(error, TimeoutError):
        return f"{host} does not answer in time"
    if isinstance(error, aiohttp.ClientError | ValueError):
        return f"{host} broke off or is not understood ({type(error).__name__}: {error})"
    return f"{host}: {error}"


def _tls(endpoint: Endpoint, identity: Identity | None) -> ssl.SSLContext | bool:
    if not endpoint.url.startswith("https:"):
        return False
    context = tls_context(endpoint.ca_file)
    if identity is not None:
        try:
            identity.show_to(context)
        except (OSError, ssl.SSLError, NotEnrolled) as error:
            raise SinkUnavailable(f"this gateway's own certificate cannot be used ({error}); enrol again") from error
    return context


def _stamp(identity: Identity) -> int:
    try:
        return identity.certificate_file.stat().st_mtime_ns
    except OSError:
        return 0


def _retry_after_s(header: str | None) -> float:
    return float(header) if header is not None and header.isascii() and header.isdigit() and len(header) < 6 else 0.0

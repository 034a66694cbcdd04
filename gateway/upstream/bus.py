"""A connection to NATS, and failures in words for a technician."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine
from itertools import count
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import (
    AuthorizationError,
    ConnectionClosedError,
    Error,
    NoRespondersError,
    NoServersError,
    SecureConnRequiredError,
    SecureConnWantedError,
    UnexpectedEOF,
)
from nats.js import JetStreamContext
from nats.js.api import Header
from nats.js.errors import APIError, BadRequestError, NoStreamResponseError, NotFoundError, ServiceUnavailableError

from gateway.config.upstream import SinkEntry
from gateway.upstream.nats_credentials import NatsCredentials
from gateway.upstream.sinks import SinkUnavailable
from gateway.upstream.tls import explain_connecting, read_secret, tls_context

CONNECT_S = 10
ANSWER_S = 20.0
CLOSE_S = 1.0
PING_S = 10
PORT = 4222
NO_RESPONDERS = "503"
_DENIED = "permissions violation"

T = TypeVar("T")


class Stored(msgspec.Struct, frozen=True):
    """What a stream answers to a message: its number there, and whether it was there before."""

    seq: int = 0
    duplicate: bool = False
    error: dict[str, Any] | None = None


class Bus:
    """One connection at a time to any of the servers. Every method raises SinkUnavailable.

    The library's own reconnecting is not used: it keeps what was published meanwhile and sends it later, after what was
    lost before, so that nothing would be in order any more.
    """

    def __init__(self, entry: SinkEntry, venue: str, name: str) -> None:
        """Prepare; nothing is opened yet. `venue` and `name` are what the server's monitoring shows."""
        self._entry = entry
        self._name = f"venue-gateway.{venue}.{name}"
        # Its own, so that no other venue of the same account can be let hear what this one is answered.
        self._inbox = f"_INBOX.{venue}"
        self._servers = entry.servers
        self._client: Client | None = None
        self._jetstream: JetStreamContext | None = None
        self._closed: asyncio.Future[None] | None = None
        self._trouble: Exception | None = None
        self._answers = self._reply = ""
        self._numbers = count(1)
        self._waiting: asyncio.Future[Msg] | None = None
        self.host = ""

    @property
    def payload_max(self) -> int:
        """The largest message in bytes that the server takes."""
        return self._client.max_payload if self._client is not None else 0

    @property
    def connected(self) -> bool:
        """True while there is a connection."""
        is_open = self._client is not None and self._client.is_connected
        return is_open and self._closed is not None and not self._closed.done()

    async def close(self) -> None:
        """Close the connection."""
        client, self._client, self._jetstream = self._client, None, None
        if client is not None and not client.is_closed:
            await _let_go(client)

    async def jetstream(self) -> JetStreamContext:
        """Return JetStream on a connection that stands."""
        if not self.connected:
            await self.close()
        if self._client is None or self._jetstream is None:
            self._client = await self._connect()
            self._jetstream = self._client.jetstream(timeout=ANSWER_S)
        return self._jetstream

    async def answer(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what the server answers; NotFoundError and BadRequestError are the caller's own."""
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(_looked_at)
        waits: set[asyncio.Future[Any]] = {task} if self._closed is None else {task, self._closed}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise SinkUnavailable(self.explain(self._trouble or ConnectionClosedError()))
            return task.result()
        except (NotFoundError, BadRequestError):
            raise
        except (Error, OSError, TimeoutError, ValueError) as error:
            raise SinkUnavailable(self.explain(error)) from error
        finally:
            task.cancel()

    async def store(self, subject: str, body: bytes, headers: dict[str, str]) -> Stored:
        """Publish a message and return the stream's acknowledgement; BadRequestError is the caller's own.

        This is the library's `publish` but for its tasks and those of `answer`, which in a backlog cost as much as the
        message itself. One message is under way at a time.
        """
        if (client := self._client) is None:
            raise SinkUnavailable(self.explain(self._trouble or ConnectionClosedError()))
        loop = asyncio.get_running_loop()
        waiting = self._waiting = loop.create_future()
        timer = loop.call_later(ANSWER_S, _fail, waiting, TimeoutError())
        try:
            if not self._answers:
                self._answers = client.new_inbox()
                await client.subscribe(f"{self._answers}.*", cb=self._heard)
            self._reply = f"{self._answers}.{next(self._numbers)}"
            await client.publish(subject, body, reply=self._reply, headers=headers)
            if not self.connected:
                self._stop_waiting()
            return _stored(await waiting)
        except BadRequestError:
            raise
        except (Error, OSError, TimeoutError, ValueError) as error:
            raise SinkUnavailable(self.explain(error)) from error
        finally:
            timer.cancel()
            self._waiting = None

    async def _heard(self, message: Msg) -> None:
        # An answer that comes too late is to an earlier message.
        if self._waiting is not None and not self._waiting.done() and message.subject == self._reply:
            self._waiting.set_result(message)

    def _stop_waiting(self, *_: object) -> None:
        _fail(self._waiting, SinkUnavailable(self.explain(self._trouble or ConnectionClosedError())))

    async def _connect(self) -> Client:
        entry, failure = self._entry, SinkUnavailable("no server is named")
        context = None
        if entry.url.startswith("tls:"):
            context = await asyncio.to_thread(tls_context, entry.ca_file, entry.certificate_file, entry.key_file)
        password = await asyncio.to_thread(read_secret, entry.password_file, "password")
        credentials = None
        if entry.credentials_file is not None:
            credentials = await asyncio.to_thread(NatsCredentials, entry.credentials_file)
        for _ in self._servers:
            # The next attempt begins with another one.
            server = self._servers[0]
            self._servers = [*self._servers[1:], server]
            try:
                return await self._open(server, context, password, credentials)
            except SinkUnavailable as error:
                failure = error
        raise failure

    async def _open(
        self, server: str, context: ssl.SSLContext | None, password: str, credentials: NatsCredentials | None
    ) -> Client:
        parts = urlsplit(server)
        self.host = f"{parts.hostname}:{parts.port or PORT}"
        closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closed, self._trouble, self._answers = closed, None, ""
        closed.add_done_callback(self._stop_waiting)

        async def ended() -> None:
            if not closed.done():
                closed.set_result(None)

        client = Client()
        connecting = client.connect(
            server,
            name=self._name,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=CONNECT_S,
            ping_interval=PING_S,
            tls=context,
            tls_hostname=parts.hostname if context is not None else None,
            user=self._entry.username,
            password=password or None,
            user_jwt_cb=credentials.token if credentials is not None else None,
            signature_cb=credentials.sign if credentials is not None else None,
            inbox_prefix=self._inbox,
            error_cb=self._failed,
            closed_cb=ended,
        )
        # Awaited in a task of its own: the library's `wait_for` can swallow that the venue is being shut down.
        task = asyncio.get_running_loop().create_task(connecting)
        task.add_done_callback(_looked_at)
        try:
            await asyncio.wait({task}, timeout=CONNECT_S)
            if not task.done():
                raise TimeoutError  # noqa: TRY301 - explained below, as all the others
            task.result()
        except asyncio.CancelledError:
            task.cancel()
            raise
        except (Error, OSError, TimeoutError, ValueError) as error:
            task.cancel()
            # The library leaves the socket open when the login is refused.
            await _let_go(client)
            if context is not None and _hung_up(error):
                ours = self._entry.certificate_file or "`certificate_file`, which is not set"
                hint = f"if it wants a certificate of this venue, look at {ours}"
                raise SinkUnavailable(f"{self.host} hangs up in the middle of TLS; {hint}") from error
            raise SinkUnavailable(self.explain(error)) from error
        return client

    async def _failed(self, error: Exception) -> None:
        self._trouble = error
        if _DENIED in str(error).lower() and self._closed is not None and not self._closed.done():
            # No answer will come; the connection is made anew when the server has been told better.
            self._closed.set_result(None)

    def explain(self, error: Exception) -> str:
        """Return what went wrong, and what to do about it."""
        entry, said = self._entry, str(error).lower()
        file = entry.credentials_file or entry.password_file or entry.certificate_file
        told = str(self._trouble or "")
        if isinstance(error, AuthorizationError) or "authorization" in said or "authentication" in said:
            return f"{self.host} refuses the login; look at {file or '`credentials_file`, which is not set'}"
        if _DENIED in told.lower():
            return f"{self.host} does not let this venue do that ({told}); have the user's permissions corrected"
        if isinstance(error, SecureConnRequiredError | SecureConnWantedError):
            return f"{self.host} and the URL disagree about TLS ({error}); write tls:// where the server has it"
        if isinstance(error, NoStreamResponseError | NoRespondersError | ServiceUnavailableError):
            return (
                f"no stream answers at {self.host}: it is missing there, JetStream is off, or it has no leader just now"
            )
        if isinstance(error, APIError):
            return f"{self.host} refuses: {error.description} (error {error.err_code}); look at the stream's limits"
        if isinstance(error, ConnectionClosedError | NoServersError) and self._trouble is not None:
            return explain_connecting(self._trouble, self.host)
        if isinstance(error, ConnectionClosedError):
            return f"{self.host} closed the connection; is it being restarted?"
        if isinstance(error, TimeoutError):
            return f"{self.host} does not answer in time; has the stream a leader?"
        return explain_connecting(error, self.host)


def _hung_up(error: Exception) -> bool:
    """Return whether a server ended TLS, as it does for a certificate that it misses or does not know."""
    if isinstance(error, ssl.SSLError):
        return "CERTIFICATE" in (error.reason or "") and not isinstance(error, ssl.SSLCertVerificationError)
    return isinstance(error, ConnectionError | UnexpectedEOF)


async def _let_go(client: Client) -> None:
    """Close a connection; after a TLS handshake that failed the library would wait for its end for ever."""
    task = asyncio.get_running_loop().create_task(client.close())
    task.add_done_callback(_looked_at)
    try:
        await asyncio.wait({task}, timeout=CLOSE_S)
    finally:
        task.cancel()


def _looked_at(task: asyncio.Task[Any]) -> None:
    """Whatever became of work that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


def _fail(waiting: asyncio.Future[Any] | None, error: Exception) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_exception(error)


def _stored(message: Msg) -> Stored:
    if (message.headers or {}).get(Header.STATUS.value) == NO_RESPONDERS:
        raise NoStreamResponseError
    stored = msgspec.json.decode(message.data, type=Stored)
    if stored.error is not None:
        raise APIError.from_error(stored.error)
    return stored

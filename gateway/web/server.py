"""The console's listener: comes and goes with the configuration, and harms nothing when it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from pathlib import Path

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway.config.console import ConsoleSettings
from gateway.web import static_files
from gateway.web.live import Live
from gateway.web.pages import Pages
from gateway.web.users import Users
from gateway.web.venue import Venue

log = structlog.get_logger(__name__)

CONNECTIONS_MAX = 96
SILENT_S = 10.0
"""Whoever connects and asks for nothing within this time is let go."""
SWEEP_S = 2.0
CLOSE_S = 2.0
_HEADER_BYTES_MAX = 4096


class ConsoleServer:
    """Serves the console while the configuration has one."""

    def __init__(self, venue: Venue, users_file: Path) -> None:
        """Prepare to serve `venue` to the users in a file; nothing listens yet."""
        self.users = Users(users_file)
        self.live = Live(venue)
        self._venue = venue
        self._settings: ConsoleSettings | None = None
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._tls: ssl.SSLContext | None = None
        self._pages: Pages | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._silent: dict[RequestHandler, None] = {}

    @property
    def listens(self) -> bool:
        """True while the page is served."""
        return self._server is not None

    async def configure(self, settings: ConsoleSettings | None) -> None:
        """Serve as these settings say; where it listens already the same ones only read the certificate again."""
        if settings == self._settings and (self.listens or settings is None):
            self._renew(settings)
            return
        await self.close()
        self._settings = settings
        if settings is None:
            return
        try:
            await self._listen(settings)
        except (OSError, ssl.SSLError) as error:
            # The venue works without its console.
            log.error("console_not_listening", listen=settings.listen, why=str(error))
            await self.close()
        else:
            log.info("console_ready", listen=settings.listen, encrypted=settings.encrypted)

    def _renew(self, settings: ConsoleSettings | None) -> None:
        """Show new connections the certificate that is there now; whoever looks at a page goes on."""
        if settings is None or settings.certificate_file is None or self._tls is None:
            return
        try:
            # A pair that does not fit would leave half of it in the context that is in use, so it is tried elsewhere.
            _tls(settings)
            self._tls.load_cert_chain(settings.certificate_file, settings.private_key_file)
        except (OSError, ssl.SSLError) as error:
            log.error("console_certificate_refused", certificate=settings.certificate_file, why=str(error))

    async def close(self) -> None:
        """End every stream and stop listening."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        self.live.close()
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._runner is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2 * CLOSE_S):
                    await self._runner.cleanup()
            self._runner = None

    async def _listen(self, settings: ConsoleSettings) -> None:
        pages = self._pages = Pages(self._venue, self.users, self.live, static_files.load())
        pages.names, pages.encrypted = settings.names, settings.encrypted
        pages.sessions.idle_timeout_s = settings.idle_timeout_min * 60
        pages.on_request = self._spoke
        self._tls = _tls(settings)
        self._runner = web.AppRunner(
            pages.application(),
            access_log=None,
            logger=_quiet(),
            keepalive_timeout=30.0,
            shutdown_timeout=CLOSE_S,
            max_line_size=_HEADER_BYTES_MAX,
            max_field_size=_HEADER_BYTES_MAX,
            handler_cancellation=True,
        )
        await self._runner.setup()
        host, port = settings.address
        self._server = await asyncio.get_running_loop().create_server(self._protocol, host, port, ssl=self._tls)
        self._sweep()

    def _protocol(self) -> asyncio.Protocol:
        """Return who talks to a new connection: nobody, where there are too many already (I9)."""
        server = self._runner.server if self._runner is not None else None
        if server is None or len(server.connections) >= CONNECTIONS_MAX:
            return _Full()
        handler = server()
        self._silent[handler] = None
        asyncio.get_running_loop().call_later(SILENT_S, self._let_go, handler)
        return handler

    def _spoke(self, request: web.Request) -> None:
        self._silent.pop(request.protocol, None)

    def _let_go(self, handler: RequestHandler) -> None:
        if handler in self._silent:
            del self._silent[handler]
            if isinstance(handler.transport, asyncio.Transport):
                handler.transport.abort()

    def _sweep(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)
        if self._pages is not None:
            self._pages.sweep()


class _Full(asyncio.Protocol):
    """Closes at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _tls(settings: ConsoleSettings) -> ssl.SSLContext | None:
    if settings.certificate_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.certificate_file, settings.private_key_file)
    return context


def _quiet() -> logging.Logger:
    """The library logs every broken request with its stack; anybody could fill the disk with them."""
    logger = logging.getLogger("gateway.console.http")
    logger.disabled = True
    return logger

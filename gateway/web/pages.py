"""What the console serves: the page, its stream, and the few things that can be asked of it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from gateway.domain.answers import Answer
from gateway.flows.desk import Request
from gateway.web import browsers, http
from gateway.web.contract import COOKIE, CSRF_HEADER, ROUTES, AskData, LoginData, LookupData, SignedIn
from gateway.web.http import Refused, read, reply
from gateway.web.live import CLIENT_PREFIX, Live, Watcher
from gateway.web.login import Login
from gateway.web.receipts import Receipts, TooBusy
from gateway.web.sessions import Session, Sessions, same
from gateway.web.static_files import File
from gateway.web.users import ROLES, Role, Users, UsersError
from gateway.web.venue import Venue

log = structlog.get_logger(__name__)

HEARTBEAT_S = 15.0
WRITE_S = 10.0
ANSWER_S = 5.0
EXPIRES_MS = 10_000
ASKED_MAX = 32
"""Requests of the console under way at once (I9)."""
_is_job = re.compile(r"[0-9a-f-]{36}\Z").match


class Pages:
    """The console's routes over a venue."""

    def __init__(
        self,
        venue: Venue,
        users: Users,
        live: Live,
        files: dict[str, File],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Serve `venue` to `users`; `files` are the page's own."""
        self.names: frozenset[str] = frozenset()
        self.encrypted = False
        self.sessions = Sessions(now_s)
        self._venue = venue
        self._users = users
        self._live = live
        self._files = files
        self._login = Login(users, self.sessions, now_s)
        self._receipts = Receipts()
        self._tokens: dict[Watcher, str] = {}
        self._asked = 0
        self.on_request: Callable[[web.Request], None] = lambda _: None

    def application(self) -> web.Application:
        """Return the application, to be run by an AppRunner."""
        app = web.Application(middlewares=[http.tell_refusals, self._check], client_max_size=http.BODY_BYTES_MAX)
        app.on_response_prepare.append(http.headers_setter(self.names))
        handlers = {
            "index": self._index,
            "static": self._static,
            "tablet": self._tablet,
            "tablet_part": self._tablet,
            "login": self._sign_in,
            "logout": self._sign_out,
            "session": self._session,
            "alive": self._alive,
            "state": self._state,
            "stream": self._stream,
            "receipt": self._receipt,
            "configuration": self._configuration,
            "lookup": self._lookup,
            "ask": self._ask,
        }
        for route in ROUTES:
            app.router.add_route(route.method, route.path, handlers[route.name])
        return app

    @web.middleware
    async def _check(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Look at every request before anything else does."""
        self.on_request(request)
        http.check_host(request, self.names)
        if request.method not in {"GET", "HEAD"}:
            http.check_origin(request)
        return await handler(request)

    # The page itself holds nothing of the venue: who is not signed in may have it.

    async def _index(self, request: web.Request) -> web.Response:
        return self._files["index.html"].response(request)

    async def _static(self, request: web.Request) -> web.Response:
        return self._file(request, request.match_info["name"])

    async def _tablet(self, request: web.Request) -> web.Response:
        """A page without a login here: it logs in to the broker, with what its user scanned."""
        return self._file(request, f"tablet/{request.match_info.get('name', 'index.html')}")

    def _file(self, request: web.Request, name: str) -> web.Response:
        if (file := self._files.get(name)) is None:
            raise web.HTTPNotFound
        return file.response(request)

    # Who is there.

    async def _sign_in(self, request: web.Request) -> web.Response:
        asked = await read(request, LoginData)
        known = request.cookies.get(browsers.COOKIE, "")
        token, session, browser = await self._login.sign_in(asked.user, asked.password, request.remote or "", known)
        response = reply(_told(session))
        response.set_cookie(COOKIE, token, httponly=True, samesite="Strict", path="/", secure=self.encrypted)
        response.set_cookie(
            browsers.COOKIE, browser, max_age=browsers.LASTS_S,
            httponly=True, samesite="Strict", path=request.path, secure=self.encrypted,
        )  # fmt: skip
        return response

    async def _sign_out(self, request: web.Request) -> web.Response:
        session = self._allowed(request)
        self.sessions.end(request.cookies.get(COOKIE, ""))
        log.info("console_logout", user=session.user)
        self.sweep()
        response = reply({})
        response.del_cookie(COOKIE, path="/")
        return response

    async def _session(self, request: web.Request) -> web.Response:
        return reply(_told(self._allowed(request)))

    async def _alive(self, request: web.Request) -> web.Response:
        """Somebody is at the screen: the page says so when a key or the pointer moves."""
        self._allowed(request)
        return reply({})

    def _allowed(self, request: web.Request, role: Role = "viewer") -> Session:
        """Return the session of whoever asks. Raises Refused unless they may, with the role they have now."""
        session = self._found(request.cookies.get(COOKIE, ""), touch=request.path not in {"/api/stream", "/api/state"})
        if session is None:
            raise Refused(401, "signed_out", "Please sign in.")
        if request.method == "POST" and not same(request.headers.get(CSRF_HEADER, ""), session.csrf):
            raise Refused(403, "wrong_token", "This does not come from the console's own page.")
        if ROLES.index(session.role) < ROLES.index(role):
            raise Refused(403, "not_allowed", f"This takes the role {role}.")
        return session

    def _found(self, token: str, *, touch: bool = False) -> Session | None:
        session = self.sessions.find(token, touch=touch)
        if session is None:
            return None
        try:
            user = self._users.get(session.user)
        except UsersError:
            user = None
        if user is None or user.digest != session.password_digest:
            # Taken out, or given another password: whoever signed in before that is out.
            self.sessions.end(token)
            return None
        session.role = user.role
        return session

    # What is shown.

    async def _state(self, request: web.Request) -> web.Response:
        self._allowed(request)
        return reply(self._live.snapshot())

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        session = self._allowed(request)
        watcher = self._live.watch(session.user, sees_guests=session.role != "viewer")
        if watcher is None:
            raise Refused(503, "busy", "Too many screens are open; close one.")
        self._tokens[watcher] = request.cookies.get(COOKIE, "")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        try:
            await response.prepare(request)
            while (frame := await _next(watcher)) is not None:
                async with asyncio.timeout(WRITE_S):
                    await response.write(frame)
        except (ConnectionResetError, TimeoutError):
            # The browser went away, or takes nothing; it comes back by itself.
            pass
        finally:
            self._live.leave(watcher)
            self._tokens.pop(watcher, None)
        return response

    def sweep(self) -> None:
        """End the streams of whoever is signed out by now, and of those whose role shows less now."""
        self.sessions.sweep()
        self._live.dismiss(self._is_gone)

    def _is_gone(self, watcher: Watcher) -> bool:
        session = self._found(self._tokens.get(watcher, ""))
        return session is None or (session.role != "viewer") != watcher.sees_guests

    async def _receipt(self, request: web.Request) -> web.Response:
        self._allowed(request, "staff")
        job = request.match_info["job"].removesuffix(".png")
        found = self._venue.receipt(job) if _is_job(job) else None
        if found is None:
            raise web.HTTPNotFound
        try:
            png = await self._receipts.picture(*found)
        except TooBusy:
            raise Refused(503, "busy", "Too many pictures at once.", retry_after_s=1.0) from None
        return web.Response(body=png, content_type="image/png")

    async def _configuration(self, request: web.Request) -> web.Response:
        self._allowed(request, "technician")
        return reply(await self._venue.configuration())

    # What is done.

    async def _lookup(self, request: web.Request) -> web.Response:
        session = self._allowed(request, "staff")
        asked = await read(request, LookupData)
        if sum(one is not None for one in (asked.credential, asked.ref, asked.holder)) != 1:
            raise Refused(400, "malformed", "Look up by one of `credential`, `ref` and `holder`.")
        found = self._venue.guest(asked.credential or asked.ref, asked.holder, CLIENT_PREFIX + session.user)
        log.info("console_lookup", user=session.user, found=bool(found.get("holder")))
        return reply(found)

    async def _ask(self, request: web.Request) -> web.Response:
        session = self._allowed(request)
        asked = await read(request, AskData)
        if self._asked >= ASKED_MAX:
            raise Refused(503, "busy", "Too much is asked at once.", retry_after_s=1.0)
        self._asked += 1
        try:
            answer = await self._answer(CLIENT_PREFIX + session.user, asked)
        finally:
            self._asked -= 1
        log.info("console_asked", user=session.user, target=asked.target, verb=asked.verb, status=answer.status)
        return reply(answer)

    async def _answer(self, client: str, asked: AskData) -> Answer:
        data = bytes(asked.data)
        fingerprint = self._venue.digest(b"\0".join((asked.target.encode(), asked.verb.encode(), data)))
        expires_at_ms = self._venue.now_ms() + EXPIRES_MS
        waiting = self._live.await_answer(client, asked.id)
        try:
            request = Request(client, asked.id, asked.target, asked.verb, data, expires_at_ms, fingerprint)
            answer = self._venue.handle(request)
            if answer is None:
                async with asyncio.timeout(ANSWER_S):
                    answer = await asyncio.shield(waiting)
            return answer
        except TimeoutError:
            return Answer("unknown", None, "No answer yet; look at the stream.")
        finally:
            self._live.forget(client, asked.id)


def _told(session: Session) -> SignedIn:
    return SignedIn(session.user, session.role, session.csrf)


async def _next(watcher: Watcher) -> bytes | None:
    """Return the next frame, or after a quiet while a comment that shows that the line is up."""
    try:
        async with asyncio.timeout(HEARTBEAT_S):
            return await watcher.frames.get()
    except TimeoutError:
        return b": still here\n\n"

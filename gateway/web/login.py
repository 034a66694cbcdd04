"""Signing in: one password check at a time, and ever slower for whoever guesses."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog

from gateway.web import browsers
from gateway.web.http import Refused
from gateway.web.sessions import Session, Sessions
from gateway.web.throttle import Throttle
from gateway.web.users import User, Users, UsersError, matches

log = structlog.get_logger(__name__)

WAITING_MAX = 4
"""Password checks that wait for the one under way, at a tenth of a second each."""
NAME_TRIES, NAME_LEAK_S = 20, 10.0
"""A name takes more tries than an address: somebody who guesses must not keep its owner out."""


class Login:
    """Checks passwords and begins sessions."""

    def __init__(self, users: Users, sessions: Sessions, now_s: Callable[[], float]) -> None:
        """Take who may sign in, and where they are remembered."""
        self._users = users
        self._sessions = sessions
        self._addresses = Throttle(now_s)
        self._names = Throttle(now_s, NAME_TRIES, NAME_LEAK_S)
        self._browsers = Throttle(now_s)
        self._one = asyncio.Semaphore(1)
        self._waiting: Counter[bool] = Counter()
        self._refused = 0

    async def sign_in(self, name: str, password: str, address: str, cookie: str = "") -> tuple[str, Session, str]:
        """Return the session's token, the session, and the cookie by which the browser is known from now on.

        `cookie` is the one it has. Raises Refused, with the same words whatever is wrong.
        """
        try:
            user = self._users.get(name)
        except UsersError as error:
            log.error("console_users_unreadable", why=str(error))
            raise Refused(503, "failed", "The file of users cannot be read; the log says why.") from None
        browser = browsers.known(cookie, name, user)
        buckets = [(self._browsers, browser)] if browser else [(self._addresses, address), (self._names, name)]
        wait_s = max(throttle.wait_s(key) for throttle, key in buckets)
        if wait_s > 0 or self._waiting[bool(browser)] >= WAITING_MAX:
            self._tell("too many tries", address)
            raise Refused(429, "too_many", "Too many tries. Wait a little.", retry_after_s=wait_s or 1.0)
        # Counted before the check, so that a hundred at once are not a hundred tries for the price of one.
        for throttle, key in buckets:
            throttle.failed(key)
        if not await self._check(user, password, known=bool(browser)) or user is None:
            self._tell("wrong name or password", address)
            raise Refused(401, "wrong_password", "Name or password is wrong.")
        for throttle, key in buckets:
            throttle.succeeded(key)
        log.info("console_login", user=name, role=user.role, address=address)
        token, session = self._sessions.begin(name, user.role, user.digest)
        return token, session, cookie if browser else browsers.cookie_for(name, user)

    async def _check(self, user: User | None, password: str, *, known: bool) -> bool:
        """Check a password in turn; those who are known wait in a queue that strangers cannot fill."""
        self._waiting[known] += 1
        try:
            async with self._one:
                return await asyncio.to_thread(matches, user, password)
        finally:
            self._waiting[known] -= 1

    def _tell(self, why: str, address: str) -> None:
        """Log the 1st, 2nd, 4th, 8th … refusal. Never the name: people type passwords into its field (I12)."""
        self._refused += 1
        if self._refused & (self._refused - 1) == 0:
            log.warning("console_login_refused", why=why, address=address, so_far=self._refused)

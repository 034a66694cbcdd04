"""Who is signed in, in memory only: a restart signs everybody out."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from hashlib import sha256

import msgspec

from gateway.web.users import Role

SESSIONS_MAX = 100
LONGEST_S = 12 * 3600.0
"""However busy somebody is, they sign in again for every shift."""
TOKEN_CHARS_MAX = 64


class Session(msgspec.Struct):
    """One signed-in browser. `csrf` has to come with everything that changes something."""

    user: str
    role: Role
    csrf: str
    began_s: float
    seen_s: float
    password_digest: str = ""


class Sessions:
    """All signed-in browsers, by the digest of their cookie: what is in memory signs nobody in."""

    def __init__(self, now_s: Callable[[], float], new_token: Callable[[], str] = secrets.token_urlsafe) -> None:
        """Take a clock that only goes forward, and where tokens come from."""
        self._now_s = now_s
        self._new_token = new_token
        self._sessions: dict[str, Session] = {}
        self.idle_timeout_s = 1800.0

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, user: str, role: Role, password_digest: str = "") -> tuple[str, Session]:
        """Sign somebody in and return the cookie's value and the session; the one seen least makes room."""
        self.sweep()
        while len(self._sessions) >= SESSIONS_MAX:
            del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].seen_s)]
        token, now_s = self._new_token(), self._now_s()
        session = Session(user, role, self._new_token(), now_s, now_s, password_digest)
        self._sessions[_key(token)] = session
        return token, session

    def find(self, token: str, *, touch: bool = True) -> Session | None:
        """Return the session of a cookie, or None for one that is unknown or over; `touch` counts as being there."""
        if not token or len(token) > TOKEN_CHARS_MAX:
            return None
        key = _key(token)
        session = self._sessions.get(key)
        if session is None:
            return None
        if self._over(session):
            del self._sessions[key]
            return None
        if touch:
            session.seen_s = self._now_s()
        return session

    def end(self, token: str) -> None:
        """Sign a browser out."""
        self._sessions.pop(_key(token), None)

    def sweep(self) -> None:
        """Forget whoever has been away too long."""
        for key in [key for key, session in self._sessions.items() if self._over(session)]:
            del self._sessions[key]

    def _over(self, session: Session) -> bool:
        now_s = self._now_s()
        return now_s - session.seen_s > self.idle_timeout_s or now_s - session.began_s > LONGEST_S


def same(given: str, expected: str) -> bool:
    """Compare in a time that tells nothing."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def _key(token: str) -> str:
    return sha256(token.encode("utf-8", "replace")).hexdigest()

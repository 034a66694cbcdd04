"""Browsers that have signed in before: a flood of wrong passwords from elsewhere does not hold them up.

Through `ssh -L` and behind a proxy everybody has one address, and everybody may try a name. A browser that knew the
password once is told apart by a cookie sealed with what the password came to, so no key is kept for it, and another
password ends it. The cookie signs nobody in: it takes the password all the same, and has tries of its own. This is what
OWASP calls a device cookie.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from hashlib import sha256

from gateway.web.users import User

COOKIE = "vg_browser"
COOKIE_CHARS_MAX = 200
LASTS_S = 180 * 24 * 3600
_DOT = "."


def cookie_for(name: str, user: User, new_token: Callable[[], str] = secrets.token_urlsafe) -> str:
    """Return what a browser keeps in which `name` has just signed in."""
    token = new_token()
    return f"{token}{_DOT}{_seal(name, user, token)}"


def known(cookie: str, name: str, user: User | None) -> str:
    """Return by what to count the tries of a browser in which `name` signed in before; empty for any other."""
    token, _, seal = cookie[:COOKIE_CHARS_MAX].partition(_DOT)
    if user is None or not hmac.compare_digest(seal.encode("utf-8", "replace"), _seal(name, user, token).encode()):
        return ""
    return token


def _seal(name: str, user: User, token: str) -> str:
    message = f"{name}\0{token}".encode("utf-8", "replace")
    return hmac.new(bytes.fromhex(user.digest), message, sha256).hexdigest()

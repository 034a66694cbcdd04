"""What may leave the venue in a bundle for support, and what may not: no secret, no card, no guest."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from gateway.config.tree import Listing, Mapping, Node, Scalar

HIDDEN = "[redacted]"
SECRET_MIN = 6
"""What is shorter than this stands in every text by chance."""
_SECRET_KEY = re.compile(r"pass(word|wd|phrase)?$|secret|token|(^|_)key$|pin$", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^/\s@\"']+@")
_ASSIGNED = re.compile(
    r"(?i)\b(pass(?:word|wd|phrase)?|secret|token|api[_-]?key|authorization|bearer)(\"?\s*[=: ]\s*\"?)[^\s\",}]+"
)
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_NUMBER = re.compile(
    rf"{_UUID}|\b(?:[0-9A-Fa-f]{{2}}[:\- ]){{3,}}[0-9A-Fa-f]{{2}}\b|(?<![\w.-])(?=\w*\d)[0-9A-Fa-f]{{7,}}(?!\w)"
)
_RANDOM = re.compile(r"(?<![\w/.-])(?=[\w-]*\d)(?=[\w-]*[A-Z])(?=[\w-]*[a-z])[\w-]{16,}(?![\w/])")
"""Letters of both cases and digits, as in the passwords that the gateway makes."""
_PASETO = re.compile(r"v4\.(?:public|local)\.[\w.-]+")


class Redactor:
    """Takes what is known to be secret, and what looks like it, out of texts."""

    def __init__(self, secrets: Iterable[bytes], *, wary: bool = False) -> None:
        """Know these secrets, in every form in which they are written down; `wary` where there may be others."""
        self._wary = wary
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= SECRET_MIN}
        # The longest first: one secret may stand inside another.
        words = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
        self._known = re.compile(words, re.IGNORECASE) if words else None

    def text(self, text: str) -> str:
        """Return a text without secrets, logins, tickets and numbers of cards; correlation ids stay."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        text = _PASETO.sub(HIDDEN, _LOGIN.sub(f"{HIDDEN}@", text))
        if self._wary:
            text = _RANDOM.sub(HIDDEN, text)
        text = _ASSIGNED.sub(lambda found: f"{found[1]}{found[2]}{HIDDEN}", text)
        return _NUMBER.sub(lambda found: found[0] if re.fullmatch(_UUID, found[0]) else HIDDEN, text)


def _forms(secret: bytes) -> Iterator[str]:
    yield secret.hex()
    yield base64.b64encode(secret).decode().rstrip("=")
    yield base64.urlsafe_b64encode(secret).decode().rstrip("=")
    with suppress(UnicodeDecodeError):
        yield secret.decode().strip()


def secrets_of(files: Iterable[Path]) -> Iterator[bytes]:
    """Yield what stands in secret files, as far as they can be read."""
    for file in files:
        with suppress(OSError):
            content = file.read_bytes()
            yield from {content, content.strip()}


def configuration_lines(node: Node, redactor: Redactor, depth: int = 0, key: str = "") -> Iterator[str]:
    """Yield a configuration as YAML without its comments; a value under a key that names a secret is hidden."""
    pad = "  " * depth
    if isinstance(node, Mapping):
        for name, entry in node.entries.items():
            if isinstance(entry.node, Scalar):
                yield f"{pad}{name}: {_shown(entry.node, name, redactor)}"
            else:
                yield f"{pad}{name}:"
                yield from configuration_lines(entry.node, redactor, depth + 1, name)
    elif isinstance(node, Listing):
        for item in node.items:
            if isinstance(item, Scalar):
                yield f"{pad}- {_shown(item, key, redactor)}"
            else:
                yield f"{pad}-"
                yield from configuration_lines(item, redactor, depth + 1, key)
    elif isinstance(node, Scalar):
        yield f"{pad}{_shown(node, key, redactor)}"


def _shown(node: Scalar, key: str, redactor: Redactor) -> str:
    return HIDDEN if _SECRET_KEY.search(key) else redactor.text(node.text)

"""Taking a guest out of what was written: the fact that it was done, and how names in stored JSON are replaced.

A name becomes a made-up one, the same wherever it stood, so that counts, books and whereabouts stay what they were. See
docs/decisions/0006-erasing-a-guest.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.domain.event import Event
from gateway.domain.ledger import WALLET

_HOLDER_KEYS = frozenset({"holder", "to"})
_CREDENTIAL_KEYS = frozenset({"credential"})
_FREE_TEXT = frozenset({"message", "reason", "override_reason", "why", "note", "warning"})
"""What people typed, or what was made for them to read: a name may stand in it among other words."""
_HOLDER_PLACE = {"transfer": 1, "redemption": 0}
"""Where the holder stands in rows that are stored as arrays."""
_KEYED_BY_HOLDER = frozenset({"where", "allowance"})


class HolderErased(Event, frozen=True, tag="holder.erased"):
    """A guest was erased on request or because the time was over; `alias` stands where the name stood.

    `rows` names each journal row that was rewritten, as `seq:mark`; the mark is of what stands there now, so that the
    chain still tells every other change. It is the only fact that may explain a row that does not fit. `note` says why.
    """

    alias: str
    note: str
    rows: tuple[str, ...] = ()


class Aliases:
    """Which names and credential references are replaced, and by what."""

    def __init__(self, holders: Mapping[str, str], credentials: Mapping[str, str]) -> None:
        """Take holder → alias and reference → alias."""
        self._holders = holders
        self._credentials = credentials
        accounts = {WALLET + name: WALLET + alias for name, alias in holders.items()}
        self._accounts = accounts
        words = "|".join(re.escape(name) for name in sorted(holders, key=len, reverse=True))
        self._word = re.compile(rf"(?<![\w-])(?:{words})(?![\w-])") if words else None
        needles = [msgspec.json.encode(name)[1:-1] for name in (*holders, *credentials)]
        self._needle = re.compile(b"|".join(map(re.escape, needles))) if needles else None

    def concern(self, body: bytes) -> bool:
        """Return False, quickly, for what cannot hold any of the names."""
        return self._needle is not None and self._needle.search(body) is not None

    def rewritten(self, body: bytes) -> bytes:
        """Return the JSON of an event with every name replaced; the same bytes where none is in it."""
        if not self.concern(body):
            return body
        found = msgspec.json.decode(body)
        changed = self._value("", found)
        return body if changed == found else msgspec.json.encode(changed)

    def row(self, kind: str, key: str, value: bytes) -> tuple[str, bytes]:
        """Return key and value of a stored row of state with every name replaced."""
        if kind in _KEYED_BY_HOLDER:
            key = self._holders.get(key, key)
        elif kind == "account":
            key = self._accounts.get(key, key)
        elif kind == "counter":
            key = self._credentials.get(key, key)
        if not self.concern(value):
            return key, value
        found = msgspec.json.decode(value)
        place = _HOLDER_PLACE.get(kind)
        if place is not None and isinstance(found, list) and len(found) > place:
            found[place] = self._holders.get(found[place], found[place])
        return key, msgspec.json.encode(self._value("", found))

    def _value(self, key: str, value: Any) -> Any:  # noqa: ANN401 - it is whatever JSON holds
        if isinstance(value, dict):
            return {self._accounts.get(name, name): self._value(name, one) for name, one in value.items()}
        if isinstance(value, list):
            return [self._value(key, one) for one in value]
        return self._text(key, value) if isinstance(value, str) else value

    def _text(self, key: str, text: str) -> str:
        if key in _HOLDER_KEYS:
            return self._holders.get(text, text)
        if key in _CREDENTIAL_KEYS:
            return self._credentials.get(text, text)
        if key in _FREE_TEXT and self._word is not None:
            return self._word.sub(lambda found: self._holders[found[0]], text)
        return self._accounts.get(text, text)

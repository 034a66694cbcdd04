"""What relays that speak MQTT themselves have in common, whatever their maker calls it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import msgspec


class Message(msgspec.Struct, frozen=True):
    """One message to the device; it is never retained."""

    topic: str
    payload: bytes


class Alive(msgspec.Struct, frozen=True):
    """The device is connected to the broker, or the broker says that it is not any more."""

    online: bool


class RelayIs(msgspec.Struct, frozen=True):
    """Relay `channel` (from 1) is closed or open."""

    channel: int
    closed: bool


class InputIs(msgspec.Struct, frozen=True):
    """The contact at input `channel` (from 1) is closed or open."""

    channel: int
    closed: bool


class Confirmed(msgspec.Struct, frozen=True):
    """The device carried out the command with this number."""

    number: int


class Declined(msgspec.Struct, frozen=True):
    """The device refused the command with this number, and why."""

    number: int
    why: str


class Nonsense(msgspec.Struct, frozen=True):
    """A message that is none of this device's, or broken."""

    why: str


Told: TypeAlias = Alive | RelayIs | InputIs | Confirmed | Declined | Nonsense


class Dialect(Protocol):
    """One maker's messages, sans-I/O."""

    board_timed: bool
    """True where the device ends a pulse by itself."""
    topics: tuple[str, ...]
    """What to subscribe to."""

    def ask(self) -> Sequence[Message]:
        """Return what makes the device tell its relays and inputs."""
        ...

    def switch(self, channel: int, *, closed: bool, pulse_ms: int | None, number: int) -> Sequence[Message]:
        """Return what closes or opens relay `channel`, for `pulse_ms` where that is given and the device times it."""
        ...

    def read(self, topic: str, payload: bytes) -> Sequence[Told]:
        """Return what a message tells; never raises."""
        ...


def text_of(payload: bytes) -> str:
    """Return a short payload as text; empty for what is none."""
    return payload.decode("ascii", "replace").strip() if len(payload) <= 64 else ""


def object_of(payload: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a payload is; None for what is none."""
    try:
        found = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def number_after(topic: str, prefix: str) -> int | None:
    """Return the number that follows `prefix` at the end of a topic, or None."""
    rest = topic.removeprefix(prefix)
    return int(rest) if rest != topic and rest.isascii() and rest.isdigit() and len(rest) <= 3 else None

"""What bounds a connection to the broker, and what may become of a publication on it."""

from __future__ import annotations

from enum import Enum

import msgspec


class Outcome(Enum):
    """What became of a QoS 1 publication."""

    DELIVERED = "delivered"
    """The broker has it."""
    REFUSED = "refused"
    """The broker does not take it: its ACL, or a quota."""
    UNHEARD = "unheard"
    """The broker took it and threw it away, because nobody subscribes; only told where that matters."""
    LOST = "lost"
    """The connection ended first. The broker may have it or not."""


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one connection (I9)."""

    window_messages: int = 1000
    """Acknowledgements the gateway lets the broker owe it; the broker's own receive maximum may be lower."""
    queue_messages: int = 10_000
    queue_bytes: int = 16 * 1024 * 1024
    payload_bytes: int = 1024 * 1024
    """Largest payload that is published."""
    incoming_bytes: int = 8 * 1024 * 1024 + 128 * 1024
    """Largest packet that is taken, which the broker is told: twice the largest request a configuration can allow."""
    ping_s: float = 5.0
    """A broker that is silent for two of these is taken for dead."""

"""Everything that takes bytes from outside, each as a function that returns or raises something nobody should see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import mqtt5

from gateway.config.loading import ConfigurationError, loads
from gateway.config.schema import Broker, DriverKind
from gateway.devices.registry import kinds
from gateway.domain import tickets
from gateway.mqtt.connection import Connection, Incoming, Limits
from gateway.mqtt.envelope import Malformed, find_id, open_envelope
from gateway.mqtt.messages import VERB_DATA
from gateway.mqtt.topics import Topics
from tests.fuzz import codecs, console, upstream

VERBS = sorted(VERB_DATA)
ID_CHARS_MAX = 64
KINDS: dict[str, DriverKind] = dict(kinds())
_KEY = "k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsaI"
_ISSUER = tickets.IssuerKey("2026-b", "box-office", _KEY)


def mqtt_request(data: bytes) -> None:
    """A request's payload, for every verb."""
    assert len(find_id(data)) <= ID_CHARS_MAX
    for verb in VERBS:
        with suppress(Malformed):
            assert len(open_envelope(data, verb).id) <= ID_CHARS_MAX


def mqtt_topic(data: bytes) -> None:
    """A topic, and a response topic that a client asks for."""
    topics, text = Topics("stadthalle"), data.decode("utf-8", "replace")
    topics.parse_request(text)
    topics.parse_device_state(text)
    assert not topics.may_respond_to("bar", text) or text.startswith(topics.client_prefix("bar"))


class _Owner:
    """Whoever a connection works for; nothing of it may raise."""

    def took(self, message: Incoming) -> None:
        pass

    def refused(self, topic: str, why: str) -> None:
        pass

    def drained(self) -> None:
        pass


class _Transport(asyncio.Transport):
    """Takes everything and sends nothing."""

    def write(self, data: object) -> None:
        pass

    def abort(self) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def mqtt_packets(data: bytes) -> None:
    """What a broker, or somebody in its place, sends."""

    async def receive() -> None:
        hello = mqtt5.ConnectPacket(client_id="gateway")
        broker = Broker("unix:///run/mqtt.sock")
        connection = Connection(_Owner(), broker, hello, ["venue/a/#"], Limits(incoming_bytes=100_000))
        connection.connection_made(_Transport())
        half = len(data) // 2
        connection.data_received(data[:half])
        connection.data_received(data[half:])
        await asyncio.sleep(0)
        connection.end("that is all")

    asyncio.run(receive())


def yaml(data: bytes) -> None:
    """A configuration file, or a reload of it."""
    with suppress(ConfigurationError):
        loads(data, "venue.yaml", KINDS)


def ticket(data: bytes) -> None:
    """A code that somebody holds to a scanner. Nobody has the key to this ring, so none may open."""
    ring = tickets.Keyring([_ISSUER])
    try:
        ring.open(data.decode("utf-8", "replace"), 1_780_000_000_000)
    except tickets.NotAuthentic:
        return
    raise AssertionError("a forged ticket was taken for a true one")


TARGETS: dict[str, Callable[[bytes], None]] = {
    **codecs.TARGETS,
    **{one.__name__: one for one in (mqtt_request, mqtt_topic, mqtt_packets, yaml, ticket)},
    **{f"upstream_{name}": take for name, take in upstream.TARGETS.items()},
    **{f"console_{name}": take for name, take in console.TARGETS.items()},
}

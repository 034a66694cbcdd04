"""Every topic is built and parsed here and nowhere else."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

import msgspec

from gateway.config.schema import NAME_PATTERN

RESPONSE_TOPIC_CHARS_MAX = 256
"""Longest response topic that is honoured; it is kept until the final answer, so it needs a bound. Longer request
topics are not kept either."""

REQUEST_TOPICS_KEPT = 1024
"""A venue has few request topics, and each comes again with every tap: what they say is kept."""

_is_name = re.compile(NAME_PATTERN.replace("$", r"\Z")).match

Kind = Literal[
    "gateway_state",
    "gateway_info",
    "gateway_devices",
    "gateway_health",
    "gateway_zones",
    "device_state",
    "device_events",
    "events",
    "request",
    "response",
]


class RequestTopic(msgspec.Struct, frozen=True):
    """Who asks, of whom, what. `client` is a plain name; target and verb are as sent and may be unknown."""

    client: str
    target: str
    verb: str


class Parsed(msgspec.Struct, frozen=True):
    """What a topic is, and the device, client, target and verb it names."""

    kind: Kind
    device: str = ""
    client: str = ""
    target: str = ""
    verb: str = ""


class Topics:
    """The topics of one venue; `base` is `venue/<venue_id>`."""

    def __init__(self, venue_id: str) -> None:
        self.base = f"venue/{venue_id}"
        self.gateway_state = f"{self.base}/gateway/state"
        self.gateway_info = f"{self.base}/gateway/info"
        self.gateway_devices = f"{self.base}/gateway/devices"
        self.gateway_health = f"{self.base}/gateway/health"
        self.gateway_zones = f"{self.base}/gateway/zones"
        self.events = f"{self.base}/events"
        self.every_request = f"{self.base}/clients/+/requests/+/+"
        self.every_device_state = f"{self.base}/devices/+/state"
        self._clients = f"{self.base}/clients/"
        self._devices = f"{self.base}/devices/"
        self._known_request = lru_cache(REQUEST_TOPICS_KEPT)(self._read_request)

    def device_state(self, device: str) -> str:
        """Return the retained topic of a device's or gate's state."""
        return f"{self._devices}{device}/state"

    def device_events(self, device: str) -> str:
        """Return the live topic of what a device tells."""
        return f"{self._devices}{device}/events"

    def client_prefix(self, client: str) -> str:
        """Return what every topic of a client begins with, the last slash included."""
        return f"{self._clients}{client}/"

    def client_of(self, topic: str) -> str:
        """Return the client whose prefix a topic has; empty for any other topic."""
        return topic.removeprefix(self._clients).partition("/")[0] if topic.startswith(self._clients) else ""

    def request(self, client: str, target: str, verb: str) -> str:
        """Return the topic on which a client asks `verb` of `target`."""
        return f"{self._clients}{client}/requests/{target}/{verb}"

    def responses(self, client: str) -> str:
        """Return the topic of every answer to a client."""
        return f"{self._clients}{client}/responses"

    def may_respond_to(self, client: str, topic: str) -> bool:
        """Return True where an answer to `client` may go to the response topic it gave.

        That is any topic inside its own prefix except its requests: an answer there would be a request again.
        """
        prefix = self.client_prefix(client)
        return (
            topic.startswith(prefix)
            and len(topic) <= RESPONSE_TOPIC_CHARS_MAX
            and not topic.startswith((f"{prefix}requests/", f"{prefix}requests\0"))
            and not any(char in topic for char in "+#\0")
            and topic not in (prefix, f"{prefix}requests")
        )

    def parse_request(self, topic: str) -> RequestTopic | None:
        """Return who asks what, or None when `topic` is no request of a plainly named client."""
        return self._known_request(topic) if len(topic) <= RESPONSE_TOPIC_CHARS_MAX else self._read_request(topic)

    def _read_request(self, topic: str) -> RequestTopic | None:
        levels = self._after(self._clients, topic)
        if len(levels) != 4 or levels[1] != "requests" or not _is_name(levels[0]):
            return None
        return RequestTopic(levels[0], levels[2], levels[3])

    def parse_device_state(self, topic: str) -> str | None:
        """Return the device's name, or None when `topic` is no device's state."""
        levels = self._after(self._devices, topic)
        return levels[0] if len(levels) == 2 and levels[1] == "state" and levels[0] else None

    def parse(self, topic: str) -> Parsed | None:
        """Return what any topic of the contract is, or None for a topic outside it."""
        if kind := self._fixed().get(topic):
            return Parsed(kind)
        if request := self.parse_request(topic):
            return Parsed("request", client=request.client, target=request.target, verb=request.verb)
        levels = self._after(self._devices, topic)
        if len(levels) == 2 and _is_name(levels[0]) and levels[1] in ("state", "events"):
            return Parsed("device_state" if levels[1] == "state" else "device_events", device=levels[0])
        levels = self._after(self._clients, topic)
        if len(levels) == 2 and _is_name(levels[0]) and levels[1] == "responses":
            return Parsed("response", client=levels[0])
        return None

    def _fixed(self) -> dict[str, Kind]:
        return {
            self.gateway_state: "gateway_state",
            self.gateway_info: "gateway_info",
            self.gateway_devices: "gateway_devices",
            self.gateway_health: "gateway_health",
            self.gateway_zones: "gateway_zones",
            self.events: "events",
        }

    @staticmethod
    def _after(prefix: str, topic: str) -> list[str]:
        return topic[len(prefix) :].split("/") if topic.startswith(prefix) else []

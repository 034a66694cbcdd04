"""Shelly relays over MQTT, both generations.

Gen1 (shelly-api-docs.shelly.cloud/gen1, "MQTT support"): `shellies/<id>/relay/<n>/command` takes `on` and `off`,
`shellies/<id>/relay/<n>` tells the same, `shellies/<id>/input/<n>` tells 0 or 1, `shellies/<id>/online` is the last
will and `shellies/<id>/command` takes `update`, upon which the device tells everything.

Gen2 and later (shelly-api-docs.shelly.cloud/gen2, "MQTT" and "Switch"): JSON-RPC 2.0 frames on `<prefix>/rpc`, answers
on `<src>/rpc`, notifications on `<prefix>/events/rpc`; `Switch.Set` with `toggle_after` makes the device end the pulse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from drivers.codecs.mqtt_relay import (
    Alive,
    Confirmed,
    Declined,
    InputIs,
    Message,
    Nonsense,
    RelayIs,
    Told,
    number_after,
    object_of,
    text_of,
)

STATUS_NUMBER = 0
"""Number of every question for the status; commands count from 1."""


class ShellyGen1:
    """The plain words of the first generation. Such a device ends no pulse by a message of its own."""

    board_timed = False

    def __init__(self, device_id: str) -> None:
        self._base = f"shellies/{device_id}"
        self.topics: tuple[str, ...] = (f"{self._base}/online", f"{self._base}/relay/+", f"{self._base}/input/+")

    def rights(self) -> tuple[tuple[str, str], ...]:
        """Return what the device itself needs at the broker."""
        commands = (f"{self._base}/command", f"{self._base}/relay/+/command", "shellies/command")
        return (("write", f"{self._base}/#"), *(("read", topic) for topic in commands), ("write", "shellies/announce"))

    def ask(self) -> Sequence[Message]:
        """Return what makes the device tell its relays and inputs."""
        return (Message(f"{self._base}/command", b"update"),)

    def switch(self, channel: int, *, closed: bool, pulse_ms: int | None, number: int) -> Sequence[Message]:  # noqa: ARG002
        """Return the command for one relay."""
        return (Message(f"{self._base}/relay/{channel - 1}/command", b"on" if closed else b"off"),)

    def read(self, topic: str, payload: bytes) -> Sequence[Told]:
        """Return what a message tells."""
        word = text_of(payload)
        if topic == f"{self._base}/online" and word in {"true", "false"}:
            return (Alive(word == "true"),)
        if (relay := number_after(topic, f"{self._base}/relay/")) is not None and word in {"on", "off"}:
            return (RelayIs(relay + 1, word == "on"),)
        if (sensor := number_after(topic, f"{self._base}/input/")) is not None and word in {"0", "1"}:
            return (InputIs(sensor + 1, word == "1"),)
        return (Nonsense("a message this Shelly should not send"),)


class ShellyGen2:
    """The remote procedure calls of the second generation and later."""

    board_timed = True

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._reply = f"{prefix}/venue-gateway"
        self.topics: tuple[str, ...] = (f"{prefix}/online", f"{prefix}/events/rpc", f"{self._reply}/rpc")

    def rights(self) -> tuple[tuple[str, str], ...]:
        """Return what the device itself needs at the broker."""
        topics = [f"{self._prefix}/{rest}" for rest in ("online", "events/rpc", "status/#", "venue-gateway/rpc")]
        return (("read", f"{self._prefix}/rpc"), *(("write", topic) for topic in topics))

    def ask(self) -> Sequence[Message]:
        """Return what makes the device tell its relays and inputs."""
        return (self._call(STATUS_NUMBER, "Shelly.GetStatus", {}),)

    def switch(self, channel: int, *, closed: bool, pulse_ms: int | None, number: int) -> Sequence[Message]:
        """Return the call for one relay; with `pulse_ms` the device flips it back by itself."""
        parameters: dict[str, object] = {"id": channel - 1, "on": closed}
        if pulse_ms is not None:
            parameters["toggle_after"] = pulse_ms / 1000
        return (self._call(number, "Switch.Set", parameters),)

    def read(self, topic: str, payload: bytes) -> Sequence[Told]:
        """Return what a message tells."""
        if topic == f"{self._prefix}/online":
            word = text_of(payload)
            return (Alive(word == "true"),) if word in {"true", "false"} else (Nonsense("neither true nor false"),)
        frame = object_of(payload)
        if frame is None:
            return (Nonsense("no RPC frame"),)
        return tuple(_answer(frame) if topic == f"{self._reply}/rpc" else _status(frame.get("params")))

    def _call(self, number: int, method: str, parameters: dict[str, object]) -> Message:
        frame = {"id": number, "src": self._reply, "method": method, "params": parameters}
        return Message(f"{self._prefix}/rpc", msgspec.json.encode(frame))


def _answer(frame: dict[str, Any]) -> Iterator[Told]:
    number, error = frame.get("id"), frame.get("error")
    if not isinstance(number, int) or isinstance(number, bool):
        yield Nonsense("an answer without a number")
    elif isinstance(error, dict):
        yield Declined(number, str(error.get("message", "no reason given"))[:200])
    elif number == STATUS_NUMBER:
        yield Alive(online=True)
        yield from _status(frame.get("result"))
    else:
        yield Confirmed(number)


def _status(status: object) -> Iterator[Told]:
    for key, value in status.items() if isinstance(status, dict) else ():
        if not isinstance(value, dict):
            continue
        relay, sensor = number_after(key, "switch:"), number_after(key, "input:")
        if relay is not None and isinstance(value.get("output"), bool):
            yield RelayIs(relay + 1, value["output"])
        elif sensor is not None and isinstance(value.get("state"), bool):
            yield InputIs(sensor + 1, value["state"])

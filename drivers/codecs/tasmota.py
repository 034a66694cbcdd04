"""Tasmota relays over MQTT.

`cmnd/<topic>/…` takes commands, `stat/<topic>/RESULT` answers each in JSON, `tele/<topic>/LWT` is the last will.
`PulseTime<n>` makes the device end a pulse: 1 to 111 in units of 100 ms, from 112 on seconds plus 100. `Backlog0`
carries out several commands without a pause between them. Source: tasmota.github.io/docs (Commands, MQTT).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from drivers.codecs.mqtt_relay import Alive, Message, Nonsense, RelayIs, Told, object_of, text_of

UNIT_MS = 100
UNITS_MAX = 111
SECONDS_MAX = 64_800
_POWER = re.compile(r"POWER([0-9]{0,2})")


def pulse_time(pulse_ms: int | None) -> int:
    """Return the `PulseTime` of a pulse, rounded up to what the device can time; 0 switches its timer off."""
    if pulse_ms is None:
        return 0
    units = -(-pulse_ms // UNIT_MS)
    return units if units <= UNITS_MAX else min(-(-pulse_ms // 1000), SECONDS_MAX) + 100


class Tasmota:
    """Commands and answers of one device, by its MQTT topic and the usual order of prefix and topic."""

    board_timed = True

    def __init__(self, topic: str, relays: int) -> None:
        self._topic = topic
        self._relays = relays
        self.topics: tuple[str, ...] = (f"tele/{topic}/LWT", f"stat/{topic}/RESULT")

    def rights(self) -> tuple[tuple[str, str], ...]:
        """Return what the device itself needs at the broker."""
        return (
            ("read", f"cmnd/{self._topic}/#"),
            ("write", f"stat/{self._topic}/#"),
            ("write", f"tele/{self._topic}/#"),
        )

    def ask(self) -> Sequence[Message]:
        """Return what makes the device tell its relays: an empty command asks."""
        return tuple(Message(f"cmnd/{self._topic}/POWER{relay}", b"") for relay in range(1, self._relays + 1))

    def switch(self, channel: int, *, closed: bool, pulse_ms: int | None, number: int) -> Sequence[Message]:  # noqa: ARG002
        """Return the command for one relay, and with it the timer that ends a pulse."""
        word = "ON" if closed else "OFF"
        commands = f"PulseTime{channel} {pulse_time(pulse_ms)};Power{channel} {word}"
        return (Message(f"cmnd/{self._topic}/Backlog0", commands.encode()),)

    def read(self, topic: str, payload: bytes) -> Sequence[Told]:
        """Return what a message tells."""
        if topic == f"tele/{self._topic}/LWT":
            word = text_of(payload)
            return (Alive(word == "Online"),) if word in {"Online", "Offline"} else (Nonsense("no last will"),)
        result = object_of(payload)
        return (Nonsense("no result"),) if result is None else tuple(_relays(result))


def _relays(result: dict[str, object]) -> Iterator[Told]:
    for key, value in result.items():
        match = _POWER.fullmatch(key)
        if match is not None and isinstance(value, str) and value in {"ON", "OFF"}:
            # A device with one relay leaves its number out.
            yield RelayIs(int(match[1] or 1), value == "ON")

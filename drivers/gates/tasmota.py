"""Relays with the Tasmota firmware, by MQTT over the venue's own broker."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from drivers.api import Emit, MessageBus
from drivers.codecs.tasmota import Tasmota
from drivers.gates.mqtt_relay import Layout, MqttRelay
from drivers.options import TOPIC_EXPECTED, TOPIC_PATTERN


class TasmotaOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Tasmota device that logs in to the venue's broker under this device's name."""

    topic: Annotated[
        str,
        Meta(
            pattern=TOPIC_PATTERN,
            description="Its MQTT topic, as in its settings; the full topic stays usual.",
            extra={"expected": TOPIC_EXPECTED},
        ),
    ]
    relays: Annotated[int, Meta(ge=1, le=28, description="How many relays it has.")] = 1

    @property
    def broker_rights(self) -> tuple[tuple[str, str], ...]:
        """What the device may at the broker."""
        return Tasmota(self.topic, self.relays).rights()


class TasmotaRelay(MqttRelay):
    """Relay with the Tasmota firmware, by MQTT over the venue's own broker: PulseTime ends a pulse, state is read back.

    Every command goes out by Backlog0 with the timer it needs, so that a relay is never closed without one.
    """

    Options: ClassVar[type[msgspec.Struct]] = TasmotaOptions

    def __init__(self, options: TasmotaOptions, emit: Emit, bus: MessageBus) -> None:
        layout = Layout(f"the Tasmota device {options.topic}", options.relays)
        super().__init__(layout, Tasmota(options.topic, options.relays), emit, bus)

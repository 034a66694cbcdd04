"""Shelly relays, by MQTT over the venue's own broker."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from drivers.api import Emit, MessageBus
from drivers.codecs.shelly import ShellyGen1, ShellyGen2
from drivers.gates.mqtt_relay import Layout, MqttRelay
from drivers.options import TOPIC_EXPECTED, TOPIC_PATTERN


class ShellyOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Shelly that logs in to the venue's broker under this device's name."""

    topic: Annotated[
        str,
        Meta(
            pattern=TOPIC_PATTERN,
            description="Generation 2 and later: its MQTT prefix. Generation 1: its MQTT id, what stands behind "
            "shellies/ in its topics. By default both are such as shellyplus1-a8032abe54dc.",
            extra={"expected": TOPIC_EXPECTED},
        ),
    ]
    generation: Annotated[
        Literal[1, 2], Meta(description="1 for the first Shellies; 2 for Plus, Pro, Gen3 and later.")
    ] = 2
    relays: Annotated[int, Meta(ge=1, le=8, description="How many relays it has.")] = 1
    inputs: Annotated[int, Meta(ge=0, le=8, description="How many inputs are used as contacts; 0 for none.")] = 0
    idle_closed: Annotated[
        tuple[int, ...],
        Meta(max_length=8, description="Inputs, from 1, whose contact is closed while nothing happens."),
    ] = ()

    def __post_init__(self) -> None:
        if any(not 1 <= channel <= self.inputs for channel in self.idle_closed):
            raise ValueError(f"idle_closed names inputs from 1 to {self.inputs} only, which is what `inputs` says")

    @property
    def broker_rights(self) -> tuple[tuple[str, str], ...]:
        """What the device may at the broker."""
        return _dialect(self).rights()


class ShellyRelay(MqttRelay):
    """Shelly relay, generation 1, 2 and later, by MQTT over the venue's own broker; state is read back.

    From generation 2 on the device ends its own pulse (`toggle_after`). One of generation 1 is told to by a timer
    here; set its auto-off as well, which then ends a pulse also when the gateway cannot.
    """

    Options: ClassVar[type[msgspec.Struct]] = ShellyOptions

    def __init__(self, options: ShellyOptions, emit: Emit, bus: MessageBus) -> None:
        layout = Layout(f"the Shelly {options.topic}", options.relays, options.inputs, options.idle_closed)
        super().__init__(layout, _dialect(options), emit, bus)


def _dialect(options: ShellyOptions) -> ShellyGen1 | ShellyGen2:
    return ShellyGen1(options.topic) if options.generation == 1 else ShellyGen2(options.topic)

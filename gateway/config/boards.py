"""What else is wired to relay boards: interlocks, inputs that mean something, and outputs for lamps and sirens."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

CONTACT_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}\.[1-9][0-9]{0,2}$"
CONTACT_WORDS = {"expected": "a board's name, a dot and a channel from 1, such as `north-relay.1`"}
ContactText = Annotated[str, Meta(pattern=CONTACT_PATTERN, extra=CONTACT_WORDS)]


class Contact(msgspec.Struct, frozen=True):
    """One relay or input of a board, written `board.1` in the file; channels count from 1."""

    device: str
    channel: int

    def __str__(self) -> str:
        return f"{self.device}.{self.channel}"


Means = Literal["emergency", "tamper", "door_held", "alarm"]
Occasion = Literal[
    "granted", "denied", "passed",
    "released", "forced", "held_open", "fault", "locked_down", "emergency", "tamper", "alarm",
]  # fmt: skip
MOMENTARY: frozenset[str] = frozenset({"granted", "denied", "passed"})
"""Occasions that are over at once, so that only a pulse can show them."""


class InterlockEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Gates of which only one may be open at a time: the two doors of a man-trap, the two directions of a turnstile."""

    gates: Annotated[
        tuple[str, ...],
        Meta(min_length=2, max_length=16, description="The gates; each needs a lock and a passage contact."),
    ]


class InputSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an input means."""

    means: Annotated[
        Means,
        Meta(
            description="emergency releases its zones as staff would, and they can be restored once it is idle; tamper "
            "and alarm are announced and recorded; door_held is a gate's own report that it stands open."
        ),
    ]
    zones: Annotated[
        tuple[str, ...], Meta(description="emergency: the zones it releases. Left out: the whole venue.")
    ] = ()
    gate: Annotated[str | None, Meta(description="door_held: the gate that stands open.")] = None


class InputEntry(InputSettings, frozen=True, kw_only=True):
    """An input of a board that means something by itself, as a fire panel or a tamper switch does."""

    contact: Annotated[
        ContactText,
        Meta(
            description="The input, as board.channel. Wire an emergency normally closed and name it in the board's "
            "`idle_closed`: then a cut wire releases too."
        ),
    ]


class OutputSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When an output is on."""

    on: Annotated[tuple[Occasion, ...], Meta(min_length=1, description="Occasions on which it goes on.")]
    gates: Annotated[tuple[str, ...], Meta(description="Whose occasions; left out: those of every gate.")] = ()
    pulse_ms: Annotated[
        Annotated[int, Meta(ge=50, le=600_000)] | None,
        Meta(
            description="How long it is on, in milliseconds. Left out: as long as the occasion lasts, which granted, "
            "denied and passed do not."
        ),
    ] = None


class OutputEntry(OutputSettings, frozen=True, kw_only=True):
    """A lamp, a siren or a buzzer at a relay."""

    relay: Annotated[ContactText, Meta(description="The relay, as board.channel; no gate's lock.")]


class Input(InputSettings, frozen=True, kw_only=True):
    """One input, its contact resolved."""

    name: str
    contact: Contact


class Output(OutputSettings, frozen=True, kw_only=True):
    """One output, its relay resolved."""

    name: str
    relay: Contact


class Boards(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, by name."""

    interlocks: dict[str, tuple[str, ...]] = {}
    inputs: dict[str, Input] = {}
    outputs: dict[str, Output] = {}

    def neighbours(self, gate: str) -> tuple[str, ...]:
        """Return the gates that must be shut while `gate` opens, in the order of the file."""
        groups = [gates for gates in self.interlocks.values() if gate in gates]
        return tuple(dict.fromkeys(other for gates in groups for other in gates if other != gate))

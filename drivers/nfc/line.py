"""What the daemon and a fenced process say to each other: one JSON object a line."""

from __future__ import annotations

from typing import Literal

import msgspec

from drivers.nfc.options import TagOptions

LINE_BYTES_MAX = 64 * 1024
"""No message is longer; a process that writes more without a line break is ended."""


class Setup(msgspec.Struct, frozen=True, tag="setup", kw_only=True):
    """The first line to the process: which device it is to open, and how cards are read and proven there.

    Keys are named by their files: the process reads them itself, so that no key crosses a pipe.
    """

    connect: str
    options: TagOptions
    poll_ms: int = 50
    technologies: tuple[Literal["A", "B", "F"], ...] = ("A", "F")


class Signal(msgspec.Struct, frozen=True, tag="signal"):
    """To the process: sound the buzzer or show a light for some milliseconds."""

    what: Literal["beep", "green", "red", "amber"]
    duration_ms: int
    off_ms: int = 0
    count: int = 1


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """From the process: the device is open."""

    detail: str


class Alive(msgspec.Struct, frozen=True, tag="alive"):
    """From the process: it still works. It says so several times a second."""


class Seen(msgspec.Struct, frozen=True, tag="seen", kw_only=True):
    """From the process: a card was held to the reader. `proven` None: nobody asked it to prove anything."""

    technology: str
    value: str
    chip: str
    text: str = ""
    proven: bool | None = None
    counter: int | None = None

    def __repr__(self) -> str:
        return f"Seen(chip={self.chip!r}, value=<hidden>)"


class Trouble(msgspec.Struct, frozen=True, tag="trouble"):
    """From the process: it cannot go on, and why; it ends after this."""

    why: str


ToProcess = Setup | Signal
FromProcess = Ready | Alive | Seen | Trouble

encode = msgspec.json.Encoder().encode
decode_to_process = msgspec.json.Decoder(ToProcess).decode
decode_from_process = msgspec.json.Decoder(FromProcess).decode

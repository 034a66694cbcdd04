"""A small world of drivers, so that messages here do not change when a real driver gains an option."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from gateway.config.loading import ConfigurationError, loads
from gateway.config.schema import Configuration, DriverKind

FILE = "/etc/venue/venue.yaml"


class ReaderOptions(msgspec.Struct, frozen=True, kw_only=True):
    port: Annotated[str, Meta(pattern="^/.+$", examples=["/dev/serial/by-id/X"], description="Serial port.")]
    gone_after_ms: Annotated[int, Meta(ge=100, le=10_000, description="Until then it is one tap.")] = 300
    beep: Annotated[bool, Meta(description="Beep at each tap.")] = False


class RelayOptions(msgspec.Struct, frozen=True, kw_only=True):
    port: Annotated[str, Meta(description="Serial port.")]
    channels: Annotated[int, Meta(ge=1, le=8, description="Relays.")] = 2


class BoardOptions(msgspec.Struct, frozen=True, kw_only=True):
    port: Annotated[str, Meta(description="Serial port.")]
    relays: Annotated[int, Meta(ge=1, le=64, description="Relays.")] = 8
    inputs: Annotated[int, Meta(ge=0, le=64, description="Inputs.")] = 8
    idle_closed: Annotated[tuple[int, ...], Meta(description="Inputs closed when idle.")] = ()

    def __post_init__(self) -> None:
        if any(channel > self.inputs for channel in self.idle_closed):
            raise ValueError(f"only inputs 1 to {self.inputs} can be closed when idle")


class PrinterOptions(msgspec.Struct, frozen=True, kw_only=True):
    connect: Annotated[str, Meta(description="tcp://host:port")]
    profile: Annotated[str, Meta(description="Model.")] = "default"

    def __post_init__(self) -> None:
        if not self.connect.startswith(("tcp://", "serial://")):
            raise ValueError(f"connect: {self.connect!r} is no address")
        if self.profile == "nonsense":
            raise ValueError("no such model; use default")


class DrawerOptions(msgspec.Struct, frozen=True, kw_only=True):
    printer: Annotated[str, Meta(description="Printer it hangs on.")]
    pin: Annotated[Literal[2, 5], Meta(description="Connector pin.")] = 2


KINDS = {
    "tag-reader": DriverKind("reader", ReaderOptions, "A reader of tags."),
    "scanner": DriverKind("scanner", ReaderOptions, "A scanner of codes."),
    "relay": DriverKind("gate", RelayOptions, "Relays without inputs."),
    "board": DriverKind("gate", BoardOptions, "Relays and inputs."),
    "receipts": DriverKind("printer", PrinterOptions, "A receipt printer."),
    "kick": DriverKind("drawer", DrawerOptions, "A drawer at a printer."),
}


@pytest.fixture(scope="session")
def kinds_once() -> dict[str, DriverKind]:
    """The same drivers for tests that Hypothesis runs again and again."""
    return KINDS


@pytest.fixture
def kinds() -> dict[str, DriverKind]:
    return KINDS


@pytest.fixture
def read() -> Callable[[str | bytes], Configuration]:
    """Read text as if it were the file /etc/venue/venue.yaml."""

    def read_text(text: str | bytes) -> Configuration:
        return loads(text if isinstance(text, bytes) else text.encode(), FILE, KINDS)

    return read_text


@pytest.fixture
def problems(read: Callable[[str | bytes], Configuration]) -> Callable[[str | bytes], list[str]]:
    """Return the problems of a text as `line:column: path: message`; none when it is right."""

    def find(text: str | bytes) -> list[str]:
        try:
            read(text)
        except ConfigurationError as error:
            return [str(problem).removeprefix(f"{FILE}:") for problem in error.problems]
        return []

    return find

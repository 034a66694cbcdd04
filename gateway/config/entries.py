"""What stands in the file where that differs from what it becomes: contacts as `board.1`, verbs as lists."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.config.boards import ContactText
from gateway.config.schema import GateSettings


class GateEntry(GateSettings, frozen=True, kw_only=True):
    """A place where guests pass from one zone to another, one at a time."""

    lock: Annotated[
        ContactText | None,
        Meta(
            description="Relay that opens the gate, as board.channel. Left out: the gateway only decides, and a "
            "networked reader moves its own barrier."
        ),
    ] = None
    passage: Annotated[
        ContactText | None,
        Meta(
            description="Input that tells when somebody walks through, as board.channel. Left out: nobody can tell, so "
            "each guest let in counts as gone through."
        ),
    ] = None


class ClientEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A thin client, by its user name at the broker."""

    may: Annotated[
        dict[str, list[str]] | None,
        Meta(description="What it may ask: target → list of verbs. What is not listed is refused."),
    ] = None

"""The `upstream.fleet` section: this venue is one of many, and may be looked after from above."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

OrderKind = Literal["configuration", "log_level", "diagnostics", "restart", "lock_down", "emergency_release", "restore"]


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """How far upstream may reach into this venue, once it is enrolled. Nothing is allowed that is not named."""

    orders: Annotated[
        tuple[OrderKind, ...],
        Meta(
            description="What upstream may order: configuration, log_level, diagnostics, restart, lock_down, "
            "emergency_release, restore. Each order is signed, and a fact in the journal."
        ),
    ] = ()

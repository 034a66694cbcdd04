"""What the YAML says of a printer, whatever language it speaks."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from drivers.printers.address import PrinterAddress, check_address
from drivers.printers.logo import LogoFolder, LogoName, check_logo


class PrinterOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is the same for every printer."""

    connect: PrinterAddress
    status: Annotated[
        Literal["auto", "none"], msgspec.Meta(description="none: never ask; for printers that print the question.")
    ] = "auto"
    status_timeout_ms: Annotated[
        int, msgspec.Meta(ge=50, le=10_000, description="How long it may take to say how it is.")
    ] = 1_000
    heartbeat_s: Annotated[float, msgspec.Meta(ge=0.1, le=60, description="How often to ask how it is.")] = 3.0
    write_timeout_s: Annotated[
        float, msgspec.Meta(ge=0.1, le=300, description="Longest time for one job, on top of what a serial line takes.")
    ] = 30.0
    logos: LogoFolder | None = None
    logo: LogoName | None = None

    def __post_init__(self) -> None:
        """Refuse an address or a logo that can never work."""
        check_address(self.connect)
        check_logo(self.logos, self.logo)

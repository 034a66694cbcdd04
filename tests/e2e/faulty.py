"""A venue whose daemon runs on a disk and a clock that do as a test tells them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.e2e.venue import Venue
from tests.faults.library import Faults


@asynccontextmanager
async def faulty_venue(start_venue: Any, *arguments: Any, **options: Any) -> AsyncIterator[tuple[Venue, Faults]]:
    """Start a venue without its daemon, put the faults below that, and start it too."""
    venue: Venue = await start_venue(*arguments, start=("broker", "directory"), **options)
    faults = Faults(venue.state_dir, venue.directory / "faults")
    venue.daemon.environment |= faults.environment()
    try:
        await venue.start_daemon()
        yield venue, faults
    finally:
        faults.mend()
        faults.close()

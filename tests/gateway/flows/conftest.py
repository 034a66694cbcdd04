from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from tests.gateway.fakes import VirtualClockLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Every flow test runs on a clock that jumps: an hour of waiting for paper takes no time."""
    return {"virtual": VirtualClockLoop}

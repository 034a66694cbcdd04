from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.gateway.fakes import VirtualClockLoop


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Flow tests run on a clock that jumps: an hour of waiting for paper takes no time.

    Only a real disk needs real time.
    """
    real = item.path.name == "test_real_journal.py"
    return {"real": asyncio.SelectorEventLoop} if real else {"virtual": VirtualClockLoop}

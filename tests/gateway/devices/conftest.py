from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.gateway.fakes import VirtualClockLoop


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Devices come and go on a clock that jumps; only real ports and processes need real time."""
    real = item.path.name in {"test_discovery.py", "test_fenced_devices.py", "test_hotplug.py", "test_trying.py"}
    return {"real": asyncio.SelectorEventLoop} if real else {"virtual": VirtualClockLoop}

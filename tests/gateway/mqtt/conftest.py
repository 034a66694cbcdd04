from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.gateway.mqtt.broker import BrokerProcess


@pytest.fixture
async def broker() -> AsyncIterator[BrokerProcess]:
    async with BrokerProcess() as started:
        yield started

"""A session under test, and what it told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from random import Random

from gateway.config.schema import Broker
from gateway.mqtt.session import Incoming, Limits, Outcome, Session, Will
from tests.gateway.mqtt.broker import WAIT_S, BrokerProcess


class Inbox:
    """Collects messages and state changes, and lets a test wait for them."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Incoming] = asyncio.Queue()
        self.states: asyncio.Queue[tuple[bool, str]] = asyncio.Queue()

    async def state(self) -> tuple[bool, str]:
        async with asyncio.timeout(WAIT_S):
            return await self.states.get()

    async def connected(self) -> None:
        """Wait until it is connected; a broker that is still starting is told of first."""
        while not (await self.state())[0]:
            pass

    async def message(self) -> Incoming:
        async with asyncio.timeout(WAIT_S):
            return await self.messages.get()


@contextlib.asynccontextmanager
async def session(
    broker: Broker | BrokerProcess,
    inbox: Inbox,
    *,
    will: Will | None = None,
    limits: Limits | None = None,
    take: Callable[[Incoming], None] | None = None,
) -> AsyncIterator[Session]:
    where = broker if isinstance(broker, Broker) else Broker(f"unix://{broker.socket}")
    made = Session(
        where,
        name="test",
        subscriptions=["in/#"],
        on_message=take or inbox.messages.put_nowait,
        random=Random(1),
        will=will,
        limits=limits,
    )
    made.state_listeners.append(lambda connected, why: inbox.states.put_nowait((connected, why)))
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def outcome(publish: Callable[[Callable[[Outcome], None]], bool]) -> Outcome:
    told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    assert publish(told.set_result)
    async with asyncio.timeout(WAIT_S):
        return await told

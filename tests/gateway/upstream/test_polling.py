"""A poll goes on whatever one answer runs into."""

import asyncio
from random import Random
from typing import Any

import pytest

from gateway.upstream.polling import Polling
from gateway.upstream.sinks import FAILED, SinkUnavailable
from tests.gateway.upstream.waiting import until


class FakeClient:
    closed = False

    async def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("error", "said"),
    [(SinkUnavailable("it is away"), "it is away"), (OSError("no disk"), "no disk"), (RecursionError("deep"), FAILED)],
)
async def test_no_answer_ends_the_poll(error: Exception, said: str):
    client, told, asked = FakeClient(), [], 0
    outcomes: list[Any] = [error, error, 0.0]

    async def ask() -> float:
        nonlocal asked
        asked += 1
        outcome = outcomes.pop(0) if outcomes else 60.0
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    poll = Polling(client, Random(1), "orders", told.append)  # type: ignore[arg-type]
    task = asyncio.get_running_loop().create_task(poll.run(ask))
    await until(lambda: asked == 1)
    assert poll.why == said
    poll.try_now()
    await until(lambda: asked == 2)
    poll.try_now()
    await until(lambda: asked == 4)
    # The same reason twice is told once, and nothing of it stays.
    assert (told, poll.why) == ([said], "")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert client.closed

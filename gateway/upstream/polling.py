"""The rhythm of a long poll: again at once after an answer, later and later after failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

import structlog

from gateway.store.errors import StorageUnavailable
from gateway.upstream.backoff import Backoff
from gateway.upstream.http import Client
from gateway.upstream.identity import NotEnrolled
from gateway.upstream.sinks import FAILED, SinkUnavailable

log = structlog.get_logger(__name__)

POLL_S = 50.0
"""How long upstream may let a poll wait: less than what proxies let through, usually a minute."""
ANSWER_S = POLL_S + 30.0
AGAIN_S = 0.2
"""Even an upstream that answers at once is asked five times a second at most."""


class Polling:
    """Asks again and again, whatever one answer runs into."""

    def __init__(self, client: Client, random: Random, part: str, failed: Callable[[str], None]) -> None:
        """Prepare; the client is closed when it ends.

        `part` is what is asked for; `failed` is told why that fails, whenever that is another reason than before.
        """
        self._client = client
        self._backoff = Backoff(random)
        self._part, self._tell = part, failed
        self._woken = asyncio.Event()
        self.why = ""
        """Why the last round failed; empty when it did not."""

    def try_now(self) -> None:
        """The network has changed: whatever pause is on is over."""
        self._backoff.worked()
        self._woken.set()

    async def run(self, ask: Callable[[], Awaitable[float]]) -> None:
        """Go on until cancelled; `ask` asks once and returns how long to wait before the next time."""
        try:
            while True:
                await self._pause(await self.round(ask))
        finally:
            await self._client.close()

    async def round(self, ask: Callable[[], Awaitable[float]]) -> float:
        """Ask once; returns how long to wait."""
        try:
            pause_s = await ask()
        except (SinkUnavailable, StorageUnavailable, NotEnrolled, OSError) as error:
            return self._failed(str(error), getattr(error, "retry_after_s", 0.0))
        except Exception:
            # Whatever one answer runs into, the next one shall be asked for.
            log.exception("upstream_failed", part=self._part)
            return self._failed(FAILED)
        self._backoff.worked()
        self.why = ""
        return pause_s

    def _failed(self, why: str, retry_after_s: float = 0.0) -> float:
        if why != self.why:
            self._tell(why)
        self.why = why
        return self._backoff.pause_s(retry_after_s)

    async def _pause(self, pause_s: float) -> None:
        self._woken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._woken.wait()

"""Carries allowances over HTTPS: statements up, grants down. What is lost on the way is said again by the flow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from random import Random

import msgspec
import structlog

from gateway.domain.allowances import Grant, Statement
from gateway.store.errors import StorageUnavailable
from gateway.upstream.backoff import Backoff
from gateway.upstream.contract import ALLOWANCES, AllowanceAnswers, AllowanceMessages
from gateway.upstream.http import Client, check_seal
from gateway.upstream.seal import Unsealed
from gateway.upstream.sinks import FAILED, SinkUnavailable

log = structlog.get_logger(__name__)

STATEMENTS_MAX = 200
WAITING_MAX = 10_000
"""Statements that wait; over it the oldest goes, and the flow says it again (I9)."""
HEARTBEAT_S = 20.0
"""So often upstream is asked although there is nothing to say: it may want something back."""


class HttpsCourier:
    """A `Courier` of `gateway.flows.allowances`. `run` is its task."""

    def __init__(
        self,
        client: Client,
        random: Random,
        received: Callable[[Grant], object],
        online_again: Callable[[], None],
    ) -> None:
        """Prepare; `received` gets each grant, `online_again` is called when upstream is reached anew."""
        self._client = client
        self._backoff = Backoff(random)
        self._received = received
        self._online_again = online_again
        self._waiting: dict[str, Statement] = {}
        self._woken = asyncio.Event()
        self._online = False
        self.why = ""

    @property
    def online(self) -> bool:
        """True while upstream answered last time."""
        return self._online

    def send(self, statement: Statement) -> None:
        """Carry a statement with the next request; a newer one of the same wallet takes its place."""
        self._waiting.pop(statement.holder, None)
        while len(self._waiting) >= WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[statement.holder] = statement
        self._woken.set()

    def try_now(self) -> None:
        """The network has changed: whatever pause is on is over."""
        self._backoff.worked()
        self._woken.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        try:
            while True:
                pause_s = HEARTBEAT_S
                self._woken.clear()
                try:
                    await self._exchange()
                except SinkUnavailable as error:
                    pause_s = self._failed(error)
                except Exception:
                    # Whatever one answer runs into, the next one shall be asked for.
                    log.exception("upstream_failed", part="allowances")
                    pause_s = self._failed(SinkUnavailable(FAILED))
                if self._waiting and self._online:
                    continue
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), pause_s)
        finally:
            self._online = False
            await self._client.close()

    async def _exchange(self) -> None:
        said = list(islice(self._waiting.values(), STATEMENTS_MAX))
        body = msgspec.json.encode(AllowanceMessages(said))
        answer = await self._client.ask("POST", ALLOWANCES, body=body, headers={"Content-Type": "application/json"})
        if answer.status != 200:
            raise SinkUnavailable(f"upstream answers {answer.status} for allowances, which means nothing here")
        try:
            # Each grant has a version of its own, and an older one changes nothing.
            check_seal(self._client.seal, "allowances", 0, answer)
        except Unsealed as error:
            raise SinkUnavailable(str(error)) from error
        grants = _grants(answer.body)
        for statement in said:
            # A newer one may have come meanwhile.
            if self._waiting.get(statement.holder) is statement:
                del self._waiting[statement.holder]
        for grant in grants:
            try:
                self._received(grant)
            except StorageUnavailable as error:
                log.warning("allowance_not_stored", holder=grant.holder, why=str(error))
        self._reached()

    def _reached(self) -> None:
        self._backoff.worked()
        self.why = ""
        if not self._online:
            self._online = True
            log.info("allowances_connected")
            self._online_again()

    def _failed(self, error: SinkUnavailable) -> float:
        if str(error) != self.why:
            log.warning("allowances_unavailable", why=str(error))
        self._online, self.why = False, str(error)
        return self._backoff.pause_s(error.retry_after_s)


def _grants(body: bytes) -> list[Grant]:
    try:
        return msgspec.json.decode(body, type=AllowanceAnswers).grants
    except (ValueError, RecursionError) as error:
        raise SinkUnavailable(f"upstream answers with what are no grants ({error})") from error

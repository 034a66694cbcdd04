"""What upstream finds when it lays the events of all venues side by side: asked for, checked, and recorded as facts.

The number of the last one that was taken stands in the journal with it, so none is recorded twice and none is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from random import Random

import msgspec
import structlog

from gateway.domain.upstream_events import UpstreamFound
from gateway.store.errors import StorageUnavailable
from gateway.upstream.backoff import Backoff
from gateway.upstream.contract import FINDINGS, Finding, Findings
from gateway.upstream.http import Answer, Client, check_seal
from gateway.upstream.seal import Unsealed
from gateway.upstream.sinks import SinkUnavailable

log = structlog.get_logger(__name__)

POLL_S = 50.0
ANSWER_S = POLL_S + 30.0
AGAIN_S = 0.2
NONE_HERE_S = 600.0
"""An upstream that compares nothing answers 404; it may learn to."""


class FindingsRefused(Exception):
    """What upstream sent is not taken, and why."""


class FindingsPoll:
    """Asks for what was found. `run` is its task."""

    def __init__(
        self,
        client: Client,
        source: Callable[[], Awaitable[str]],
        cursor: Callable[[], int],
        record: Callable[[Sequence[UpstreamFound]], asyncio.Future[None]],
        random: Random,
    ) -> None:
        """Prepare; `source` names this journal, `cursor` is what was taken last, `record` raises StorageUnavailable."""
        self._client = client
        self._source = source
        self._cursor = cursor
        self._record = record
        self._backoff = Backoff(random)
        self._woken = asyncio.Event()
        self.why = ""

    def try_now(self) -> None:
        """The network has changed: whatever pause is on is over."""
        self._backoff.worked()
        self._woken.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        try:
            while True:
                await self._pause(await self._round())
        finally:
            await self._client.close()

    async def _round(self) -> float:
        """Ask once; returns how long to wait before the next time."""
        try:
            await self._ask()
        except SinkUnavailable as error:
            return NONE_HERE_S if error.status == 404 else self._failed(str(error), error.retry_after_s)
        except (FindingsRefused, StorageUnavailable) as error:
            return self._failed(str(error))
        self._backoff.worked()
        self.why = ""
        return AGAIN_S

    async def _ask(self) -> None:
        cursor = self._cursor()
        query = {"after": str(cursor), "wait_s": str(round(POLL_S))}
        answer = await self._client.ask("GET", FINDINGS, query=query, answer_s=ANSWER_S)
        if answer.status == 204:
            return
        if answer.status != 200:
            raise SinkUnavailable(f"upstream answers {answer.status} for findings, which means nothing here")
        sent = _read(answer, cursor)
        try:
            check_seal(self._client.seal, "findings", sent.cursor, answer)
        except Unsealed as error:
            raise FindingsRefused(str(error)) from error
        await self._record(_facts(sent, await self._source()))

    def _failed(self, why: str, retry_after_s: float = 0.0) -> float:
        if why != self.why:
            log.warning("findings_unavailable", why=why)
        self.why = why
        return self._backoff.pause_s(retry_after_s)

    async def _pause(self, pause_s: float) -> None:
        self._woken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._woken.wait()


def _read(answer: Answer, cursor: int) -> Findings:
    try:
        sent = msgspec.json.decode(answer.body, type=Findings)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FindingsRefused(f"these are no findings: {error}") from error
    if sent.after != cursor or sent.cursor != sent.after + len(sent.findings) or not sent.findings:
        raise FindingsRefused(f"findings after {sent.after} up to {sent.cursor} do not follow those up to {cursor}")
    return sent


def _facts(sent: Findings, source: str) -> list[UpstreamFound]:
    return [_fact(one, sent.after + number, source) for number, one in enumerate(sent.findings, start=1)]


def _fact(one: Finding, cursor: int, source: str) -> UpstreamFound:
    return UpstreamFound(
        finding=one.id,
        cursor=cursor,
        what=one.what,
        event_seq=one.sequence if one.source == source else 0,
        elsewhere=one.elsewhere,
        note=one.note,
    )

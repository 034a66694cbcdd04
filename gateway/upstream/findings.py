"""What upstream finds when it lays the events of all venues side by side: asked for, checked, and recorded as facts.

The number of the last one that was taken stands in the journal with it, so none is recorded twice and none is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random

import msgspec
import structlog

from gateway.domain.upstream_events import UpstreamFound
from gateway.upstream.contract import FINDINGS, Finding, Findings
from gateway.upstream.http import Answer, Client, check_seal
from gateway.upstream.polling import AGAIN_S, ANSWER_S, POLL_S, Polling
from gateway.upstream.seal import Unsealed
from gateway.upstream.sinks import SinkUnavailable

log = structlog.get_logger(__name__)

NONE_HERE_S = 600.0
"""An upstream that compares nothing answers 404; it may learn to."""


class FindingsRefused(SinkUnavailable):
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
        self._polling = Polling(client, random, "findings", lambda why: log.warning("findings_unavailable", why=why))

    @property
    def why(self) -> str:
        """Why the last round failed; empty when it did not."""
        return self._polling.why

    def try_now(self) -> None:
        """The network has changed: whatever pause is on is over."""
        self._polling.try_now()

    async def run(self) -> None:
        """Go on until cancelled."""
        await self._polling.run(self._asked)

    async def _asked(self) -> float:
        try:
            await self._ask()
        except SinkUnavailable as error:
            if error.status != 404:
                raise
            return NONE_HERE_S
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


def _read(answer: Answer, cursor: int) -> Findings:
    try:
        sent = msgspec.json.decode(answer.body, type=Findings)
    except (ValueError, RecursionError) as error:
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

"""The sink that takes batches of CloudEvents over HTTPS."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from gateway.upstream.cloudevents import BATCH_MEDIA_TYPE
from gateway.upstream.contract import EVENTS, EventsMissing, EventsRefused, EventsTaken
from gateway.upstream.http import Answer, Client
from gateway.upstream.sinks import Behind, Pack, Refused, SinkUnavailable, Taken, Verdict

_HEADERS = {"Content-Type": BATCH_MEDIA_TYPE, "Content-Encoding": "gzip"}
WHY_MAX = 300

T = TypeVar("T")


class HttpsSink:
    """One endpoint that gets every event."""

    singly = False
    keep_s = 0.0

    def __init__(self, client: Client) -> None:
        """Deliver through `client`, which is this sink's own."""
        self._client = client

    async def deliver(self, pack: Pack) -> Verdict:
        """Post a pack. Raises SinkUnavailable."""
        query = {"source": pack.source, "after": str(pack.after_seq), "through": str(pack.through_seq)}
        if pack.gap:
            query["gap"] = "true"
        answer = await self._client.ask("POST", EVENTS, query=query, body=pack.body, headers=_HEADERS)
        return _verdict(answer, pack.through_seq)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _verdict(answer: Answer, through_seq: int) -> Verdict:
    if answer.status == 200:
        # Many a server answers 200 to whatever it is asked; the events would be deleted here some day.
        if (stored := _read(answer, EventsTaken).through_seq) < through_seq:
            raise SinkUnavailable(f"upstream answers 200 to events up to {through_seq} and has them up to {stored}")
        return Taken()
    if answer.status == 409:
        return Behind(_read(answer, EventsMissing).through_seq)
    if answer.status == 413:
        return Refused("it is too large")
    if answer.status in {400, 422}:
        refused = _read(answer, EventsRefused)
        return Refused(refused.why[:WHY_MAX], refused.id)
    raise SinkUnavailable(f"upstream answers {answer.status}, which means nothing here")


def _read(answer: Answer, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (ValueError, RecursionError) as error:
        raise SinkUnavailable(f"upstream answers {answer.status} with what is no answer ({error})") from error

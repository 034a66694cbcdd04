"""Answers on their way out: those the desk gives at once, and those that come from committed journal entries."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import structlog

from gateway.domain.answers import Answer, failed
from gateway.domain.events import RequestRef
from gateway.domain.feedback import Told, answered
from gateway.domain.feedback_book import Book
from gateway.domain.reasons import Reason
from gateway.flows.recorder import Committed
from gateway.mqtt.messages import Response, timestamp
from gateway.mqtt.pending import Pending, ReplyTo
from gateway.mqtt.session import Session
from gateway.mqtt.topics import Topics
from gateway.mqtt5.connection import Outcome
from gateway.store.errors import StorageUnavailable

KEPT_MAX = 1000
"""Answers kept while the broker is away. Older ones are dropped: a client repeats its request and is answered again."""
ANSWER_BYTES_MAX = 512 * 1024
KEPT_BYTES_MAX = 8 * 1024 * 1024

UNSTORED = failed(Reason.STORAGE_UNAVAILABLE)
"""The disk takes nothing, and nothing of the request was done."""

_encode = msgspec.json.Encoder().encode
log = structlog.get_logger()


def is_client(name: str) -> bool:
    """Return False for whoever asks elsewhere, such as `console/ada`: no broker user's name has a slash."""
    return "/" not in name


class _Sealed(msgspec.Struct, frozen=True):
    topic: str
    payload: bytes
    correlation_data: bytes | None
    unstored: tuple[str, str] | None = None
    """The client and request id, where it says that nothing was stored."""


class Answers:
    """Sends each answer to its client, and keeps those that could not be delivered until the broker is back."""

    def __init__(self, session: Session, topics: Topics, now_ms: Callable[[], int]) -> None:
        self._session = session
        self._topics = topics
        self._now_ms = now_ms
        self.pending = Pending()
        self.book = Book()
        self._kept: deque[_Sealed] = deque()
        self._kept_bytes = 0
        self._unstored_on_way: Counter[tuple[str, str]] = Counter()
        self.dropped = 0
        session.state_listeners.append(self._state_changed)
        session.drained_listeners.append(self._send_kept)

    @property
    def kept(self) -> int:
        """How many answers wait for the broker."""
        return len(self._kept)

    def committed(self, entries: Sequence[Committed]) -> None:
        """Listen to the recorder: send the answer that each entry gives."""
        for entry in entries:
            if entry.request is not None and entry.answer is not None and is_client(entry.request.client):
                self.answer(entry.request, entry.answer)
        self._session.flush()

    def storage_failed(self, requests: Sequence[RequestRef], error: StorageUnavailable) -> None:
        """Listen to the recorder: tell everyone in a failed batch that nothing was done.

        After a failed sync nobody can know that: the next start may find the batch on the disk. Who asks again then
        hears what is true.
        """
        if error.fatal:
            return
        for request in filter(lambda one: is_client(one.client), requests):
            self.answer(request, UNSTORED)

    def send(self, request_id: str, answer: Answer, reply_to: ReplyTo) -> None:
        """Send one answer, or keep it until it can be sent."""
        client, payload = self._topics.client_of(reply_to.topic), self._encode(request_id, answer, reply_to)
        if len(payload) > min(ANSWER_BYTES_MAX, self._session.payload_max):
            too_large = failed(Reason.TOO_LARGE, "The answer would be too large for one message. Ask for less at once.")
            payload = self._encode(request_id, too_large, reply_to)
        unstored = (client, request_id) if answer == UNSTORED else None
        if unstored is not None:
            self._unstored_on_way[unstored] += 1
        self._deliver(_Sealed(reply_to.topic, payload, reply_to.correlation_data, unstored))

    def refusal_on_way(self, client: str, request_id: str) -> Answer | None:
        """Return the answer that nothing of a request was stored, while the broker may not have it yet.

        The broker may bring the same request again meanwhile. Were it served then, the client would hear that nothing
        was stored after it was; so it is refused once more, and who has heard that asks again.
        """
        return UNSTORED if (client, request_id) in self._unstored_on_way else None

    def _encode(self, request_id: str, answer: Answer, reply_to: ReplyTo) -> bytes:
        response = Response(
            id=request_id,
            status=answer.status,
            at=timestamp(self._now_ms()),
            target=reply_to.target,
            verb=reply_to.verb,
            reason=answer.reason,
            message=answer.message,
            data=answer.data,
            note=reply_to.note,
            feedback=self._feedback(answer, reply_to),
        )
        return _encode(response)

    def _feedback(self, answer: Answer, reply_to: ReplyTo) -> Told | None:
        """What a reader or tablet shows the guest: it is asked for by whoever stands before them."""
        shown = answered(reply_to.verb, answer, self._topics.client_of(reply_to.topic))
        return self.book.told(shown) if shown is not None else None

    def answer(self, request: RequestRef, answer: Answer) -> None:
        """Send an answer that was promised earlier to where its request wanted it."""
        reply_to = self.pending.look_up(request.client, request.id, final=answer.final)
        self.send(request.id, answer, reply_to or ReplyTo(self._topics.responses(request.client)))

    def _deliver(self, sealed: _Sealed) -> None:
        # Behind others that wait, it waits too: a client must not hear `done` before `accepted`.
        if self._kept or not self._session.publish(
            sealed.topic,
            sealed.payload,
            correlation_data=sealed.correlation_data,
            on_ack=partial(self._acknowledged, sealed),
        ):
            self._keep(sealed)

    def _acknowledged(self, sealed: _Sealed, outcome: Outcome) -> None:
        if outcome is Outcome.LOST:
            self._keep(sealed)
        else:
            self._arrived(sealed)

    def _arrived(self, sealed: _Sealed) -> None:
        """Forget an answer that is on its way no more."""
        if (told := sealed.unstored) is not None:
            self._unstored_on_way[told] -= 1
            if not self._unstored_on_way[told]:
                del self._unstored_on_way[told]

    def _keep(self, sealed: _Sealed) -> None:
        self._kept.append(sealed)
        self._kept_bytes += len(sealed.payload)
        while len(self._kept) > KEPT_MAX or self._kept_bytes > KEPT_BYTES_MAX:
            oldest = self._kept.popleft()
            self._kept_bytes -= len(oldest.payload)
            self._arrived(oldest)
            self.dropped += 1
            if self.dropped & (self.dropped - 1) == 0:
                log.warning("mqtt.answers_dropped", so_far=self.dropped, why="the broker has been away too long")

    def _state_changed(self, connected: bool, _why: str) -> None:
        if connected:
            self._send_kept()

    def _send_kept(self) -> None:
        kept, self._kept, self._kept_bytes = self._kept, deque(), 0
        for sealed in kept:
            self._deliver(sealed)

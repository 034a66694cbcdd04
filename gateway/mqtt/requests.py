"""A request's way in: from a message on a client's topic to the desk."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

import structlog

from gateway.domain.answers import Answer, denied
from gateway.domain.reasons import Reason
from gateway.flows.desk import Request
from gateway.mqtt.answers import Answers
from gateway.mqtt.envelope import CORRELATION_BYTES_MAX, PAYLOAD_BYTES_MAX, Malformed, find_id, open_envelope
from gateway.mqtt.patience import Patience
from gateway.mqtt.pending import ReplyTo
from gateway.mqtt.topics import RequestTopic, Topics
from gateway.mqtt5.connection import Incoming

NAME_CHARS_MAX = 63
COMPLAINERS_MAX = 100

Handle = Callable[[Request], Answer | None]
Digest = Callable[[bytes], str]

log = structlog.get_logger()


def keyed_digest(key: bytes) -> Digest:
    """Return a digest keyed with at most 64 secret bytes.

    A request may hold a card number, and card numbers are few enough to be guessed from a plain digest.
    """
    return lambda data: blake2b(data, digest_size=16, key=key).hexdigest()


class Requests:
    """Takes every message on the request topics. The answer goes out at once, or comes later from the journal."""

    def __init__(
        self,
        topics: Topics,
        answers: Answers,
        handle: Handle,
        digest: Digest,
        clear_retained: Callable[[str], object],
        payload_bytes_max: int = PAYLOAD_BYTES_MAX,
    ) -> None:
        self._topics = topics
        self._answers = answers
        self._handle = handle
        self._digest = digest
        self._clear_retained = clear_retained
        self.payload_bytes_max = payload_bytes_max
        self._complained: OrderedDict[str, int] = OrderedDict()
        self._patience: Patience | None = None

    def take(self, message: Incoming) -> None:
        """Check one message and hand it to the desk."""
        topic = self._topics.parse_request(message.topic)
        if topic is None:
            return self._complain("", Reason.MALFORMED)
        if message.retain and not message.payload:
            return None  # Someone clears a retained message: that asks for nothing.
        answer = self._refusal(topic, message)
        if answer is not None:
            return self._refuse(topic, message, answer)
        try:
            opened = open_envelope(message.payload, topic.verb)
        except Malformed as error:
            return self._refuse(topic, message, denied(Reason.MALFORMED, str(error)))
        fingerprint = self._digest(b"\0".join((topic.target.encode(), topic.verb.encode(), opened.data)))
        request = Request(
            client=topic.client,
            id=opened.id,
            target=topic.target,
            verb=topic.verb,
            data=opened.data,
            expires_at_ms=opened.expires_at_ms,
            fingerprint=fingerprint,
            asked=opened.asked,
        )
        return self._ask(request, self._reply_to(topic, message))

    def _ask(self, request: Request, reply_to: ReplyTo) -> None:
        answer = self._answers.refusal_on_way(request.client, request.id) or self._handle(request)
        if answer is None or not answer.final:
            self._answers.pending.remember(request.client, request.id, reply_to)
        if answer is not None:
            self._answers.send(request.id, answer, reply_to)

    def _refusal(self, topic: RequestTopic, message: Incoming) -> Answer | None:
        """What can be told without looking into the payload."""
        if message.retain:
            # Left in the broker it would come again at every start, and be refused again.
            self._clear_retained(message.topic)
            return denied(Reason.RETAINED)
        if len(topic.target) > NAME_CHARS_MAX or len(topic.verb) > NAME_CHARS_MAX:
            return denied(Reason.MALFORMED, f"Targets and verbs have at most {NAME_CHARS_MAX} characters.")
        size, most = len(message.payload), self.payload_bytes_max
        if size > most:
            return denied(Reason.TOO_LARGE, f"The request has {size} bytes; at most {most} are taken.")
        return None

    def _refuse(self, topic: RequestTopic, message: Incoming, answer: Answer) -> None:
        self._complain(topic.client, answer.reason)
        if self._patience is None:
            self._patience = Patience(asyncio.get_running_loop().time)
        if not self._patience.is_left(topic.client):
            return
        self._answers.send(find_id(message.payload), answer, self._reply_to(topic, message))

    def _reply_to(self, topic: RequestTopic, message: Incoming) -> ReplyTo:
        reply_topic, correlation, note = self._topics.responses(topic.client), message.correlation_data, ""
        if message.response_topic is not None:
            if self._topics.may_respond_to(topic.client, message.response_topic):
                reply_topic = message.response_topic
            else:
                prefix = self._topics.client_prefix(topic.client)
                note = f"The response topic was ignored: it must begin with {prefix} and be no request topic."
        if correlation is not None and len(correlation) > CORRELATION_BYTES_MAX:
            correlation = None
            note = f"{note} The correlation data was ignored: at most {CORRELATION_BYTES_MAX} bytes.".strip()
        return ReplyTo(reply_topic, topic.target[:NAME_CHARS_MAX], topic.verb[:NAME_CHARS_MAX], correlation, note)

    def _complain(self, client: str, reason: Reason | None) -> None:
        """Log the 1st, 2nd, 4th, 8th … wrong message of a client: a babbling one must not fill the disk."""
        count = self._complained.pop(client, 0) + 1
        self._complained[client] = count
        if len(self._complained) > COMPLAINERS_MAX:
            self._complained.popitem(last=False)
        if count & (count - 1) == 0:
            log.warning("mqtt.request_refused", client=client, reason=reason, so_far=count)

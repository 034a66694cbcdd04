"""Changes of the directory from a JetStream, by a durable consumer: one message at a time, in the stream's order."""

from __future__ import annotations

from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.errors import BadRequestError, NotFoundError

from gateway.upstream.bus import Bus
from gateway.upstream.changes import Arrived, Forgotten, NothingNew
from gateway.upstream.seal import HEADER
from gateway.upstream.sinks import SinkUnavailable

WAIT_S = 10.0
"""A request that lies with a server which is killed is lost, and nobody says so: so long changes then wait at most."""
ACK_WAIT_S = 5.0
"""A server that was killed may have forgotten an acknowledgement: so long the next change waits. One that comes again
because it took longer to be applied does no harm."""
ACK_S = 10.0
DIGEST = "Content-Digest"


class StreamChanges:
    """The changes on one subject. The place in the stream is the consumer's, which outlives connections."""

    goes_on = True

    def __init__(self, bus: Bus, subject: str, durable: str) -> None:
        """Ask by `bus`, which is this one's own, as the consumer `durable`."""
        self._bus = bus
        self._subject = subject
        self._durable = durable
        self._consumer: JetStreamContext.PullSubscription | None = None
        self._message: Msg | None = None

    async def after(self, cursor: int) -> Arrived | NothingNew | Forgotten:
        """Wait for the next message, whatever the cursor: it is judged when it is read. Raises SinkUnavailable."""
        del cursor
        try:
            consumer = await self._bound()
            self._message = await self._bus.answer(_next(consumer))
        except SinkUnavailable:
            # With the connection goes what was asked and subscribed to on it.
            await self.close()
            raise
        if self._message is None:
            # The stream is still; what upstream has to say about that is a message too.
            return NothingNew(is_said=False)
        headers = self._message.headers or {}
        return Arrived(self._message.data, headers.get(DIGEST), headers.get(HEADER))

    async def settle(self, *, taken: bool) -> None:
        """Acknowledge the message, or say that it will never be right, and wait until the server knows."""
        message, self._message = self._message, None
        if message is None:
            return
        if taken:
            await self._bus.answer(message.ack_sync(timeout=ACK_S))
        else:
            await self._bus.answer(message.term())

    async def close(self) -> None:
        """Close the connection; the consumer stays where it is."""
        self._consumer = self._message = None
        await self._bus.close()

    async def _bound(self) -> JetStreamContext.PullSubscription:
        js = await self._bus.jetstream()
        if self._consumer is None:
            stream = await self._stream(js)
            await self._make(js, stream)
            self._consumer = await self._bus.answer(js.pull_subscribe_bind(self._durable, stream))
        return self._consumer

    async def _stream(self, js: JetStreamContext) -> str:
        try:
            return await self._bus.answer(js.find_stream_name_by_subject(self._subject))
        except NotFoundError:
            why = f"no stream at {self._bus.host} has {self._subject}"
            raise SinkUnavailable(f"{why}; make one there: see docs/upstream.md") from None

    async def _make(self, js: JetStreamContext, stream: str) -> None:
        """Make the consumer, unless there is one; one that was made by hand has to be like ours."""
        wanted = ConsumerConfig(
            # With a name, what is asked bears the subject too, so that a user may be let make this one and no other.
            name=self._durable,
            durable_name=self._durable,
            filter_subject=self._subject,
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_S,
            # One at a time is what keeps changes in order, also when one comes a second time.
            max_ack_pending=1,
        )
        try:
            found: ConsumerInfo = await self._bus.answer(js.consumer_info(stream, self._durable))
        except NotFoundError:
            try:
                await self._bus.answer(js.add_consumer(stream, config=wanted))
            except BadRequestError as error:
                raise SinkUnavailable(self._bus.explain(error)) from error
            return
        if found.config.max_ack_pending != 1 or found.config.filter_subject != self._subject:
            raise SinkUnavailable(
                f"the consumer {self._durable} of the stream {stream} has another subject or lets several messages "
                "wait; delete it there, and the gateway makes it anew"
            )


async def _next(consumer: JetStreamContext.PullSubscription) -> Msg | None:
    try:
        (message,) = await consumer.fetch(1, timeout=WAIT_S)
    except NatsTimeoutError:
        return None
    return message

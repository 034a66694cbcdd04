"""All of MQTT put together: one object for the composition root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from gateway.config.schema import Broker
from gateway.domain.events import RequestRef
from gateway.mqtt.announce import Announcer, last_will
from gateway.mqtt.answers import Answers
from gateway.mqtt.feed import Feed, FeedJournal
from gateway.mqtt.messages import GatewayState
from gateway.mqtt.requests import Digest, Handle, Requests
from gateway.mqtt.session import Session
from gateway.mqtt.topics import Topics
from gateway.mqtt5.connection import Incoming, Limits
from gateway.store.errors import StorageUnavailable

GOODBYE_S = 2.0


class MqttFace:
    """The gateway as its clients see it.

    Hook `answers.committed` to the recorder's listeners, `feed.committed` to its followers and `storage_failed` to its
    failures; then run `session.run()`. `requests.payload_bytes_max` may be changed while it runs.
    """

    def __init__(
        self,
        venue_id: str,
        broker: Broker,
        journal: FeedJournal,
        handle: Handle,
        *,
        digest: Digest,
        now_ms: Callable[[], int],
        random: Random,
        limits: Limits | None = None,
    ) -> None:
        self.topics = Topics(venue_id)
        self.session = Session(
            broker,
            name=f"venue-gateway-{venue_id}",
            subscriptions=(self.topics.every_request, self.topics.every_device_state),
            on_message=self._take,
            random=random,
            will=last_will(self.topics),
            limits=limits,
        )
        # The order of listeners is the order on the wire after a reconnect: first the state, then answers, then events.
        self.announcer = Announcer(self.session, self.topics)
        self.answers = Answers(self.session, self.topics, now_ms)
        self.feed = Feed(self.session, self.topics, journal)
        self.requests = Requests(self.topics, self.answers, handle, digest, self._clear_retained)

    def storage_failed(self, requests: Sequence[RequestRef], error: StorageUnavailable) -> None:
        """Listen to the recorder's failures."""
        self.answers.storage_failed(requests, error)

    async def say_goodbye(self, why: str) -> None:
        """Announce `offline` with a reason, wait for what is under way, store the cursor. Cancel `run()` after it."""
        self.announcer.close()
        self.announcer.gateway_state(GatewayState(state="offline", why=(why,)))
        await self.session.drain(GOODBYE_S)
        self.feed.close()

    def _take(self, message: Incoming) -> None:
        if self.topics.parse_device_state(message.topic) is not None:
            self.announcer.retained_found(message)
        else:
            self.requests.take(message)

    def _clear_retained(self, topic: str) -> None:
        self.session.publish(topic, b"", retain=True)

"""Answers on their way out, with a session that does as the test says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.domain.answers import Answer
from gateway.domain.events import RequestRef
from gateway.flows.desk import Request
from gateway.mqtt.answers import KEPT_MAX, UNSTORED, Answers
from gateway.mqtt.requests import Requests, keyed_digest
from gateway.mqtt.topics import Topics
from gateway.mqtt5.connection import Incoming, OnAck, Outcome
from gateway.store.errors import StorageUnavailable
from tests.gateway.mqtt.fakes import NOW_MS


class Line:
    """A session without a broker: what it takes waits until the test says what became of it."""

    payload_max = 1024 * 1024

    def __init__(self) -> None:
        self.connected = True
        self.state_listeners: list[Any] = []
        self.drained_listeners: list[Any] = []
        self.sent: list[tuple[bytes, OnAck]] = []

    def publish(self, topic: str, payload: bytes, *, correlation_data: bytes | None, on_ack: OnAck) -> bool:
        if self.connected:
            self.sent.append((payload, on_ack))
        return self.connected

    def flush(self) -> None:
        pass

    def become(self, outcome: Outcome) -> None:
        """Let all that is on its way come to this end."""
        sent, self.sent = self.sent, []
        for _, on_ack in sent:
            on_ack(outcome)


class Place:
    """A desk whose disk fails or works, behind a line."""

    def __init__(self) -> None:
        self.line, self.topics = Line(), Topics("hall")
        self.answers = Answers(self.line, self.topics, lambda: NOW_MS)
        self.disk_works = False
        self.served: list[str] = []
        self.requests = Requests(self.topics, self.answers, self.handle, keyed_digest(b"k"), lambda topic: None)

    def handle(self, request: Request) -> Answer | None:
        if not self.disk_works:
            return UNSTORED
        self.served.append(request.id)
        return Answer("done", message="Done.")

    def bring(self, request_id: str = "r1", client: str = "bar") -> str:
        """Let the broker bring a request; returns what became of the last one that was told of."""
        payload = b'{"id": "%s", "data": {}}' % request_id.encode()
        self.requests.take(Incoming(self.topics.request(client, "north", "status"), payload, retain=False))
        return str(msgspec.json.decode(self.line.sent[-1][0])["status"]) if self.line.sent else ""


def test_i02_what_a_client_is_about_to_hear_was_not_stored_is_not_stored_meanwhile() -> None:
    place = Place()
    assert place.bring() == "failed"
    place.disk_works = True
    # The broker had no word yet that the request was taken, and brings it again.
    assert place.bring() == "failed"
    assert place.served == []
    assert place.bring("r2") == "done"
    assert place.bring("r1", client="till") == "done"
    place.line.become(Outcome.DELIVERED)
    assert place.bring() == "done"
    assert place.served == ["r2", "r1", "r1"]


@pytest.mark.parametrize(("outcome", "served"), [(Outcome.LOST, []), (Outcome.REFUSED, ["r1"])])
def test_i02_a_refusal_that_the_broker_may_not_have_is_still_on_its_way(outcome: Outcome, served: list[str]) -> None:
    place = Place()
    place.bring()
    place.line.become(outcome)
    place.disk_works = True
    place.bring()
    assert place.served == served


def test_i02_a_batch_that_failed_is_refused_again_until_everyone_in_it_could_hear() -> None:
    place = Place()
    place.answers.storage_failed([RequestRef("bar", "r1")], StorageUnavailable("full"))
    place.disk_works = True
    assert place.bring() == "failed"
    place.line.become(Outcome.DELIVERED)
    assert place.bring() == "done"


def test_i09_a_refusal_that_is_dropped_is_on_its_way_no_more() -> None:
    place = Place()
    place.line.connected = False
    for number in range(KEPT_MAX + 1):
        place.bring(f"r{number}")
    place.disk_works = True
    place.bring("r0")
    place.bring("r500")
    assert place.served == ["r0"]
    assert place.answers.dropped == 3

from __future__ import annotations

import asyncio
import random

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from structlog.testing import capture_logs

from gateway.domain import events as e
from gateway.domain.answers import Answer, denied
from gateway.domain.reasons import Reason
from gateway.mqtt.requests import keyed_digest
from gateway.store.errors import StorageUnavailable
from tests.gateway.mqtt.broker import WAIT_S, BrokerProcess, client, next_message
from tests.gateway.mqtt.fakes import BASE, NOW_MS, Running, answers, printed, running

REQUESTS = f"{BASE}/clients/bar/requests"
RESPONSES = f"{BASE}/clients/bar/responses"


async def answer_of(other: aiomqtt.Client) -> dict[str, object]:
    return answers((await next_message(other)).payload)


async def asked(run: Running, count: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while len(run.desk.requests) < count:
            run.desk.asked.clear()
            await run.desk.asked.wait()


async def test_a_query_is_answered_at_once(broker: BrokerProcess) -> None:
    async with client(broker, RESPONSES) as other, running(broker) as run:
        await other.publish(f"{REQUESTS}/printer/status", b'{"id": "r1"}', qos=1)
        assert await answer_of(other) == {
            "id": "r1",
            "status": "done",
            "at": "2026-05-28T20:26:40.000Z",
            "target": "printer",
            "verb": "status",
            "message": "Fine.",
            "data": {"n": 1},
        }
        assert run.desk.requests[0].client == "bar"


async def test_answers_come_from_the_journal_in_order(broker: BrokerProcess) -> None:
    async with client(broker, RESPONSES) as other, running(broker) as run:
        await other.publish(f"{REQUESTS}/drawer/open", b'{"id": "r1", "data": {"reason": "sale"}}', qos=1)
        await asked(run, 1)
        ref = e.RequestRef("bar", "r1")
        run.commit(run.journal.append(printed(1), ref, Answer("accepted", message="Opening.")))
        run.commit(run.journal.append(printed(2), ref, Answer("done", message="Open.")))
        assert [(await answer_of(other))["status"] for _ in range(2)] == ["accepted", "done"]
        assert len(run.face.answers.pending) == 0


async def test_a_response_topic_and_correlation_data_are_honoured_in_the_own_prefix(broker: BrokerProcess) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = f"{BASE}/clients/bar/replies/7"
    properties.CorrelationData = b"c-7"
    async with client(broker, f"{BASE}/clients/bar/replies/#") as other, running(broker) as run:
        payload = b'{"id": "r1", "data": {"reason": "sale"}}'
        await other.publish(f"{REQUESTS}/drawer/open", payload, qos=1, properties=properties)
        await asked(run, 1)
        ref = e.RequestRef("bar", "r1")
        run.commit(run.journal.append(printed(1), ref, Answer("accepted")))
        run.commit(run.journal.append(printed(2), ref, Answer("done")))
        for status in ("accepted", "done"):
            message = await next_message(other)
            assert message.properties.CorrelationData == b"c-7"
            assert answers(message.payload)["status"] == status


async def test_i07_a_response_topic_elsewhere_is_ignored_and_said_so(broker: BrokerProcess) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = f"{BASE}/clients/other/responses"
    async with client(broker, f"{BASE}/clients/+/responses") as other, running(broker):
        await other.publish(f"{REQUESTS}/printer/status", b'{"id": "r1"}', qos=1, properties=properties)
        message = await next_message(other)
        assert message.topic.value == RESPONSES
        assert "The response topic was ignored" in str(answers(message.payload)["note"])


async def test_i06_a_retained_request_is_refused_live_and_after_a_restart_and_removed(broker: BrokerProcess) -> None:
    topic = f"{REQUESTS}/drawer/open"
    payload = b'{"id": "r1", "data": {"reason": "sale"}}'
    async with client(broker, RESPONSES) as other:
        await other.publish(topic, payload.replace(b"r1", b"r0"), qos=1, retain=True)
        async with running(broker) as first:
            assert (await answer_of(other))["reason"] == "retained"
            assert await first.face.session.drain(WAIT_S)
        async with running(broker) as run:
            await other.publish(topic, payload, qos=1, retain=True)
            answer = await answer_of(other)
            assert (answer["id"], answer["status"], answer["reason"]) == ("r1", "denied", "retained")
            assert await run.face.session.drain(WAIT_S)
        async with running(broker) as again:
            await other.publish(f"{REQUESTS}/printer/status", b'{"id": "r2"}', qos=1)
            assert (await answer_of(other))["id"] == "r2"
            assert [request.id for request in again.desk.requests] == ["r2"]
        assert first.desk.requests == run.desk.requests == []


async def test_i06_a_request_sent_while_the_gateway_was_away_is_never_executed(broker: BrokerProcess) -> None:
    async with client(broker, RESPONSES) as other:
        async with running(broker):
            pass
        await other.publish(f"{REQUESTS}/drawer/open", b'{"id": "late", "data": {"reason": "sale"}}', qos=1)
        async with running(broker) as run:
            await other.publish(f"{REQUESTS}/printer/status", b'{"id": "now"}', qos=1)
            assert (await answer_of(other))["id"] == "now"
            assert [request.id for request in run.desk.requests] == ["now"]


@pytest.mark.parametrize(
    ("path", "payload", "reason", "request_id"),
    [
        ("drawer/open", b"{", "malformed", ""),
        ("drawer/open", b'{"id": "r1", "data": {"reason": 5}}', "malformed", "r1"),
        ("drawer/open", b'{"id": "r1", "data": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "malformed", "r1"),
        ("printer/print", b'{"id": "r1", "data": "' + b"x" * 300_000 + b'"}', "too_large", "r1"),
        ("x" * 64 + "/open", b'{"id": "r1"}', "malformed", "r1"),
    ],
)
async def test_a_bad_request_is_answered_to_its_asker_and_reaches_no_desk(
    broker: BrokerProcess, path: str, payload: bytes, reason: str, request_id: str
) -> None:
    async with client(broker, RESPONSES) as other, running(broker) as run:
        await other.publish(f"{REQUESTS}/{path}", payload, qos=1)
        answer = await answer_of(other)
        assert (answer["id"], answer["status"], answer["reason"]) == (request_id, "denied", reason)
        assert run.desk.requests == []


async def test_a_flood_of_garbage_is_answered_message_by_message_and_logged_ever_less(broker: BrokerProcess) -> None:
    source = random.Random(7)
    right = b'{"id": "r1", "expires_at": 1780000000000, "data": {"reason": "sale"}}'
    async with client(broker, RESPONSES) as other, running(broker) as run:
        with capture_logs() as logs:
            for _ in range(200):
                garbage = bytearray(right)
                for _ in range(source.randint(1, 8)):
                    garbage[source.randrange(len(garbage))] = source.randrange(256)
                await other.publish(f"{REQUESTS}/drawer/open", bytes(garbage[: source.randint(1, len(garbage))]), qos=1)
            await other.publish(f"{REQUESTS}/printer/status", b'{"id": "end"}', qos=1)
            seen = 0
            while (answer := await answer_of(other))["id"] != "end":
                assert answer["reason"] == "malformed"
                seen += 1
            assert seen == 200 - (len(run.desk.requests) - 1)
        assert len([line for line in logs if line["event"] == "mqtt.request_refused"]) <= 8


async def test_i09_what_is_remembered_of_open_requests_is_bounded(broker: BrokerProcess) -> None:
    async with client(broker, RESPONSES) as other, running(broker) as run:
        run.face.answers.pending._limit = 3
        for number in range(5):
            await other.publish(f"{REQUESTS}/gate/cancel", b'{"id": "r%d", "data": {"job": "j"}}' % number, qos=1)
        await asked(run, 5)
        assert len(run.face.answers.pending) == 3
        run.commit(run.journal.append(printed(1), e.RequestRef("bar", "r0"), Answer("done")))
        answer = await answer_of(other)
        assert answer["id"] == "r0"
        assert "target" not in answer


async def test_i01_a_failed_commit_is_answered_as_storage_unavailable(broker: BrokerProcess) -> None:
    async with client(broker, RESPONSES) as other, running(broker) as run:
        run.face.storage_failed([e.RequestRef("bar", "r1")], StorageUnavailable("disk full"))
        answer = await answer_of(other)
        assert (answer["status"], answer["reason"]) == ("failed", "storage_unavailable")


async def test_i02_after_a_failed_sync_nobody_is_told_that_nothing_was_done(broker: BrokerProcess) -> None:
    """The next start may find on the disk what this one was told is lost, and answers a repeated request by that."""
    async with client(broker, RESPONSES) as other, running(broker) as run:
        run.face.storage_failed([e.RequestRef("bar", "r1")], StorageUnavailable("no sync", fatal=True))
        run.face.storage_failed([e.RequestRef("bar", "r2")], StorageUnavailable("disk full"))
        assert (await answer_of(other))["id"] == "r2"


async def test_answers_wait_for_the_broker_in_order_and_i09_in_bounds(broker: BrokerProcess) -> None:
    async with running(broker) as run:
        await broker.kill()
        await run.state(False)
        for number in range(1100):
            run.commit(run.journal.append(printed(number), e.RequestRef("bar", f"r{number}"), denied(Reason.BLOCKED)))
        assert run.face.answers.kept == 1000
        assert run.face.answers.dropped == 100
        subscriber = asyncio.Event()

        async def collect() -> list[object]:
            async with client(broker, RESPONSES) as other:
                subscriber.set()
                return [(await answer_of(other))["id"] for _ in range(1000)]

        await broker.start()
        collecting = asyncio.create_task(collect())
        async with asyncio.timeout(WAIT_S):
            await subscriber.wait()
            ids = await collecting
        assert ids == [f"r{number}" for number in range(100, 1100)]


async def test_an_answer_too_large_for_a_message_says_so(broker: BrokerProcess) -> None:
    async with client(broker, RESPONSES) as other, running(broker) as run:
        big = Answer("done", data={"entries": "x" * 600_000})
        run.commit(run.journal.append(printed(1), e.RequestRef("bar", "r1"), big))
        answer = await answer_of(other)
        assert (answer["status"], answer["reason"]) == ("failed", "too_large")


async def test_an_answer_too_large_for_this_broker_says_so_and_holds_up_no_other() -> None:
    async with (
        BrokerProcess(more="max_packet_size 20000\n") as broker,
        client(broker, RESPONSES) as other,
        running(broker) as run,
    ):
        big = Answer("done", data={"entries": "x" * 30_000})
        run.commit(run.journal.append(printed(1), e.RequestRef("bar", "r1"), big))
        run.commit(run.journal.append(printed(2), e.RequestRef("bar", "r2"), Answer("done")))
        first, second = await answer_of(other), await answer_of(other)
        assert (first["status"], first["reason"]) == ("failed", "too_large")
        assert (second["id"], second["status"]) == ("r2", "done")


async def test_i02_a_repeat_has_the_same_fingerprint_and_another_wish_another(broker: BrokerProcess) -> None:
    async with running(broker) as run, client(broker) as other:
        later = b'{"id": "a", "expires_at": 1780000000000, "data": {"reason": "x"}}'
        for payload in (b'{"id": "a", "data": {"reason": "x"}}', later):
            await other.publish(f"{REQUESTS}/drawer/open", payload, qos=1)
        await other.publish(f"{REQUESTS}/drawer/open", b'{"id": "a", "data": {"reason": "y"}}', qos=1)
        await other.publish(f"{REQUESTS}/other/open", b'{"id": "a", "data": {"reason": "x"}}', qos=1)
        await asked(run, 4)
        first, repeat, another, elsewhere = (request.fingerprint for request in run.desk.requests)
        assert first == repeat
        assert len({first, another, elsewhere}) == 3
        assert run.desk.requests[1].expires_at_ms == NOW_MS


def test_i12_the_fingerprint_is_keyed() -> None:
    assert keyed_digest(b"a" * 32)(b"100086F444") != keyed_digest(b"b" * 32)(b"100086F444")

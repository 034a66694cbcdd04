"""What the gateway makes of requests that are late, foreign, not granted or broken: an answer, and nothing else."""

from __future__ import annotations

import json
import re
import time

import pytest

from tests.e2e.settings import BASE
from tests.e2e.tablet import Tablet, envelope
from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENUE = {"parts": ("north", "bar")}
NOT_AUTHORIZED = 135
DONE = ("done", None)


async def kicks(venue: Venue) -> int:
    return int((await (await venue.device("bar-printer")).state())["kick_count"])


def verdict(answer: dict[str, object]) -> tuple[object, object]:
    return answer["status"], answer.get("reason")


@pytest.mark.parametrize(
    ("expires_s", "reason"), [(-1.0, "request_expired"), (None, "expiry_required"), (3600.0, "expiry_too_far")]
)
async def test_i06_what_moves_metal_must_be_in_time(venue: Venue, expires_s: float | None, reason: str) -> None:
    pulses, kicked = await venue.pulses("north-relay"), await kicks(venue)
    guest = venue.guests.tag()
    async with venue.client("entrance") as reader, venue.client("bar-tablet") as tablet:
        at_gate = await venue.authenticate(reader, "north", guest, expires_s=expires_s)
        assert verdict(await at_gate.final()) == ("denied", reason)
        at_drawer = await tablet.ask("bar-drawer", "open", {"reason": "sale"}, expires_s=expires_s)
        assert verdict(await at_drawer.final()) == ("denied", reason)
        # The ticket was not touched, and a request in time counts the pulses: one, not two.
        assert verdict(await (await venue.authenticate(reader, "north", guest)).final()) == DONE
        assert verdict(await (await tablet.ask("bar-drawer", "open", {"reason": "sale"})).final()) == DONE
    await (await venue.device("north-relay")).until(lambda s: s["relays"][0]["switched_on"] == pulses + 1)
    assert await kicks(venue) == kicked + 1
    await (await venue.device("bar-printer")).do("drawer", open=False)


async def test_i06_a_retained_request_actuates_nothing_and_is_cleared(venue: Venue) -> None:
    before, guest = await venue.pulses("north-relay"), venue.guests.tag()
    async with venue.client("entrance") as reader:
        payload = envelope("kept", {"credential": guest.credential}, expires_s=60)
        kept = await reader.send("north", "authenticate", payload, request_id="kept", retain=True)
        assert verdict(await kept.final()) == ("denied", "retained")
        # Sent while the gateway is away, it waits at the broker for the next start, and for that one alone.
        await venue.daemon.kill()
        await reader.send("north", "authenticate", payload, request_id="kept", retain=True)
        for answers in (2, 2):
            await venue.start_daemon()
            assert verdict(await (await venue.authenticate(reader, "turnstile", venue.guests.tag())).final()) == DONE
            assert [verdict(answer) for answer in kept.answers] == [("denied", "retained")] * answers
            await venue.daemon.kill()
        await venue.start_daemon()
        assert verdict(await (await venue.authenticate(reader, "north", guest)).final()) == DONE
    await (await venue.device("north-relay")).until(lambda s: s["relays"][0]["switched_on"] == before + 1)


async def test_i06_a_request_sent_while_the_gateway_is_away_is_never_executed_late(venue: Venue) -> None:
    before = await venue.pulses("north-relay")
    async with venue.client("entrance") as reader:
        await venue.daemon.kill()
        late = await venue.authenticate(reader, "north", venue.guests.tag(), expires_s=50)
        await venue.start_daemon()
        assert verdict(await (await venue.authenticate(reader, "north", venue.guests.tag())).final()) == DONE
        assert not late.answers
    await venue.closed("north-relay", before + 1)


async def test_i06_a_replayed_request_gets_its_old_answer_and_moves_nothing(venue: Venue) -> None:
    before, guest = await venue.pulses("north-relay"), venue.guests.tag(uses=None)
    payload = envelope("replayed", {"credential": guest.credential}, expires_s=1.5)
    async with venue.client("entrance") as reader:
        first = await reader.send("north", "authenticate", payload, request_id="replayed")
        answer = await first.final()
        await venue.daemon.kill()
        await venue.start_daemon()
        await reader.send("north", "authenticate", payload, request_id="replayed")
        again = await first.answer(since=1, final=True)
        assert again["data"] == answer["data"]
    await venue.closed("north-relay", before + 1)


async def test_i07_the_broker_refuses_a_client_on_anothers_topic(venue: Venue) -> None:
    payload = envelope("forged", {"credential": venue.guests.tag().credential})
    async with venue.client("bar-tablet") as tablet, venue.client("entrance") as reader:
        for topic in (
            f"{BASE}/clients/entrance/requests/north/authenticate",
            f"{BASE}/clients/entrance/responses",
            f"{BASE}/clients/bar-tablet/requests/north/authenticate",
            f"{BASE}/gateway/state",
            f"{BASE}/devices/north/state",
            f"{BASE}/events",
        ):
            assert await tablet.publish(topic, payload) == NOT_AUTHORIZED, topic
        await tablet.subscribe(f"{BASE}/clients/entrance/responses")
        await tablet.subscribe(f"{BASE}/events")
        await (await venue.authenticate(reader, "north", venue.guests.tag())).final()
        await (await tablet.ask("bar-printer", "status")).final()
        assert {str(message.topic) for message in tablet.messages} == {f"{tablet.prefix}/responses"}
        assert "forged" not in reader.answers
    assert not [message for message in venue.observer.seen if b'"forged"' in message.payload]


async def test_i07_the_gateway_refuses_what_the_yaml_does_not_grant(venue: Venue) -> None:
    before = await venue.pulses("north-relay")
    async with venue.insider("bar-tablet") as tablet:
        for target, verb, data, reason in (
            ("north", "authenticate", {"credential": venue.guests.tag().credential}, "not_granted"),
            ("bar-drawer", "status", None, None),
            ("bar-printer", "authenticate", {"credential": venue.guests.tag().credential}, "unknown_verb"),
            ("bar-printer", "explode", {}, "unknown_verb"),
            ("gateway", "replay", {"after_seq": 0}, "not_granted"),
            ("bar-drover", "open", {"reason": "sale"}, "unknown_target"),
        ):
            answer = await (await tablet.ask(target, verb, data)).final()
            assert verdict(answer) == ("denied" if reason else "done", reason), (target, verb)
        assert "bar-drawer" in answer["message"]
    async with venue.insider("exit-reader") as reader:
        answer = await (await venue.authenticate(reader, "north", venue.guests.tag())).final()
        assert verdict(answer) == ("denied", "not_granted")
    async with venue.insider("nobody") as stranger:
        answer = await (await venue.authenticate(stranger, "north", venue.guests.tag())).final()
        assert verdict(answer) == ("denied", "not_granted")
    assert await venue.pulses("north-relay") == before


BROKEN = [
    (b"", "JSON"),
    (b"{", "JSON"),
    (b'\xff\xfe{"id": "x"}', ""),
    (b'["id"]', ""),
    (b'{"id": 7}', "id"),
    (b'{"id": "x", "extra": 1}', "extra"),
    (b'{"id": ""}', "id"),
    (b'{"id": "x", "expires_at": "tomorrow", "data": {}}', "expires_at"),
    (b'{"id": "x", "expires_at": 12, "data": {}}', "expires_at"),
    (b'{"id": "x", "data": {"document": {"lines": "none"}}}', "document.lines"),
    (b'{"id": "x", "data": {"document": {"lines": [{"type": "text", "text": 5}]}}}', "text"),
    (b'{"id": "x", "data": {"document": {"lines": [{"type": "text", "txet": "a"}]}}}', "txet"),
    (
        b'{"id": "x", "data": {"document": {"lines": [{"type": "barcode", "symbology": "itf", "data": "1"}]}}}',
        "lines[0]",
    ),
    (b'{"id": "x", "data": ' + b"[" * 5000 + b"]" * 5000 + b"}", ""),
    (b'{"id": "x", "data": ' + b'{"a":' * 100_000, ""),
]


@pytest.mark.parametrize(("payload", "names"), BROKEN, ids=range(len(BROKEN)))
async def test_broken_json_gets_an_answer_that_names_the_field(venue: Venue, payload: bytes, names: str) -> None:
    async with venue.client("bar-tablet") as tablet:
        # An id that is a number comes back as its text, so that its sender finds the answer.
        found = re.search(rb'\{"id": "?(x|\d+)\b', payload)
        request_id = found[1].decode() if found else ""
        answer = await (await tablet.send("bar-printer", "print", payload, request_id=request_id)).final()
        assert verdict(answer) == ("denied", "malformed")
        assert names in answer["message"]
        await still_serves(tablet)


async def test_a_request_that_is_too_large_is_refused_and_the_client_stays(venue: Venue) -> None:
    text = json.dumps({"id": "large", "data": {"document": {"lines": [{"type": "text", "text": "x" * 600_000}]}}})
    async with venue.client("bar-tablet") as tablet:
        answer = await (await tablet.send("bar-printer", "print", text.encode(), request_id="large")).final()
        assert verdict(answer) == ("denied", "too_large")
        await still_serves(tablet)


async def test_a_response_topic_and_correlation_data_are_honoured_inside_the_clients_own_prefix(venue: Venue) -> None:
    async with venue.client("bar-tablet") as tablet:
        mine, foreign = f"{tablet.prefix}/res/till-3", f"{BASE}/clients/entrance/responses"
        await tablet.subscribe(mine)
        options = {"ResponseTopic": mine, "CorrelationData": b"\x00\xff"}
        answer = await (await tablet.send("bar-printer", "status", envelope("a"), request_id="a", **options)).final()
        assert answer["status"] == "done"
        message = tablet.messages[-1]
        assert (str(message.topic), message.properties.CorrelationData) == (mine, b"\x00\xff")
        there = await (
            await tablet.send("bar-printer", "status", envelope("b"), request_id="b", ResponseTopic=foreign)
        ).final()
        assert "ignored" in there["note"]
        assert str(tablet.messages[-1].topic) == f"{tablet.prefix}/responses"


@pytest.mark.timed
async def test_many_broken_requests_cost_others_little(venue: Venue) -> None:
    async with venue.client("bar-tablet") as tablet, venue.client("entrance") as reader:
        for number in range(300):
            await tablet.send("bar-printer", "print", b'{"id": "flood-%d", "data": [[[[' % number)
            if number % 50 == 0:
                began = time.monotonic()
                await (await venue.authenticate(reader, "turnstile", venue.guests.tag())).final()
                assert time.monotonic() - began < 1.0
        await (await tablet.ask("bar-printer", "status")).final()
    refusals = [line for line in venue.daemon.lines if line["event"] == "mqtt.request_refused"]
    assert len(refusals) < 60


async def still_serves(tablet: Tablet) -> None:
    assert (await (await tablet.ask("bar-printer", "status")).final())["status"] == "done"

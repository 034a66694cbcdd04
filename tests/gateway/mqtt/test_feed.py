from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiomqtt
import mqtt5
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import events as e
from gateway.mqtt.feed import BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, CURSOR, Feed, Item, batches, entry_json
from gateway.mqtt.topics import Topics
from tests.gateway.mqtt.broker import WAIT_S, BrokerProcess, client, next_message
from tests.gateway.mqtt.fakes import BASE, FakeJournal, printed, running, seqs

EVENTS = f"{BASE}/events"


async def received(other: aiomqtt.Client, last: int) -> list[int]:
    """Every seq that arrives until `last` does."""
    found: list[int] = []
    while last not in found:
        payload = (await next_message(other)).payload
        assert isinstance(payload, bytes)
        found += seqs([payload])
    return found


async def test_live_commits_are_passed_on_without_reading_them(broker: BrokerProcess) -> None:
    async with client(broker, EVENTS) as other, running(broker) as run:
        reads = run.journal.reads
        run.commit(run.journal.append(printed(1)), run.journal.append(printed(2)))
        message = await next_message(other)
        assert isinstance(message.payload, bytes)
        assert msgspec.json.decode(message.payload)[0] == {
            "seq": 1,
            "id": "00000000-0000-0000-0000-000000000001",
            "at": "2026-05-28T20:26:40.001Z",
            "kind": "print.done",
            "job": "job-1",
            "printer": "bar-printer",
            "confirmed": True,
        }
        assert seqs([message.payload]) == [1, 2]
        assert run.journal.reads == reads


async def test_i05_the_feed_goes_on_from_its_cursor_after_an_outage_in_order(broker: BrokerProcess) -> None:
    # The gateway's way to the broker is a link, so that a subscriber can be there first after the outage.
    way = broker.directory / "way.sock"
    way.symlink_to(broker.socket)
    async with running(broker, url=f"unix://{way}") as run:
        run.commit(run.journal.append(printed(1)))
        await run.fed(1)
        await broker.kill()
        way.unlink()
        await run.state(False)
        for number in range(2, 1001):
            run.commit(run.journal.append(printed(number)))
        await broker.start()
        async with client(broker, EVENTS) as other:
            way.symlink_to(broker.socket)
            assert await received(other, 1000) == list(range(2, 1001))
            run.commit(run.journal.append(printed(1001)))
            assert await received(other, 1001) == [1001]


async def test_i05_a_restart_continues_from_the_cursor(broker: BrokerProcess) -> None:
    journal = FakeJournal()
    async with running(broker, journal=journal) as run:
        run.commit(*(journal.append(printed(number)) for number in range(1, 501)))
        await run.fed(500)
    assert journal.cursors[CURSOR] == 500
    for number in range(501, 1201):
        journal.append(printed(number))
    async with client(broker, EVENTS) as other, running(broker, journal=journal) as again:
        assert await received(other, 1200) == list(range(501, 1201))
        again.commit(journal.append(printed(1201)))
        assert await received(other, 1201) == [1201]


async def test_entries_that_the_catching_up_has_read_already_are_not_sent_twice(broker: BrokerProcess) -> None:
    journal = FakeJournal()
    early = journal.append(printed(1))  # On disk, but its commit has not been told to anyone yet.
    async with client(broker, EVENTS) as other, running(broker, journal=journal) as run:
        run.commit(early)
        run.commit(journal.append(printed(2)))
        assert await received(other, 2) == [1, 2]


async def test_a_gap_in_what_is_told_is_filled_from_the_journal(broker: BrokerProcess) -> None:
    async with client(broker, EVENTS) as other, running(broker) as run:
        run.journal.append(printed(1))
        run.commit(run.journal.append(printed(2)))
        assert await received(other, 2) == [1, 2]


async def test_a_journal_that_cannot_be_read_is_tried_again(
    broker: BrokerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.mqtt.feed.RETRY_S", 0.05)
    journal = FakeJournal()
    journal.append(printed(1))
    journal.broken = OSError("I/O error")
    async with client(broker, EVENTS) as other, running(broker, journal=journal):
        journal.broken = None
        assert await received(other, 1) == [1]


async def test_i09_a_burst_beyond_what_may_be_in_flight_stays_in_the_journal(broker: BrokerProcess) -> None:
    async with client(broker, EVENTS) as other, running(broker) as run:
        for number in range(1, 3001):
            run.commit(run.journal.append(printed(number)))
        assert run.face.session.pending <= 20
        assert await received(other, 3000) == list(range(1, 3001))


async def test_i09_a_feed_that_finds_no_room_stops_nothing_and_tries_again() -> None:
    session = _Full()
    journal = FakeJournal()
    journal.append(printed(1))
    feed = Feed(session, Topics("hall"), journal)
    for listener in (*session.state_listeners, lambda *_: feed.committed([journal.append(printed(2))])):
        listener(True, "")
    assert session.tried == 1
    async with asyncio.timeout(WAIT_S):
        await session.tried_again.wait()
    feed.close()


class _Full:
    """A session whose broker takes nothing more and says nothing."""

    connected, payload_max = True, 1_000

    def __init__(self) -> None:
        self.state_listeners: list[Callable[[bool, str], None]] = []
        self.drained_listeners: list[Callable[[], None]] = []
        self.tried = 0
        self.tried_again = asyncio.Event()

    def publish(self, *_: object, **__: object) -> bool:
        self.tried += 1
        if self.tried > 1:
            self.tried_again.set()
        return False


async def test_a_broker_that_takes_small_packets_only_gets_small_ones() -> None:
    async with BrokerProcess(more="max_packet_size 20000\n") as broker:
        journal = FakeJournal()
        for number in range(1, 501):
            journal.append(printed(number))
        async with client(broker, EVENTS) as other, running(broker, journal=journal):
            assert await received(other, 500) == list(range(1, 501))


async def test_i09_a_subscriber_that_never_reads_harms_nobody(broker: BrokerProcess) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    writer.write(mqtt5.ConnectPacket("lazy", clean_start=True).write())
    writer.write(mqtt5.SubscribePacket(1, [mqtt5.TopicFilter(EVENTS, max_qos=mqtt5.QoS.AT_LEAST_ONCE)]).write())
    await reader.readexactly(4)
    async with client(broker, EVENTS) as other, running(broker) as run:
        for number in range(1, 5001):
            run.commit(run.journal.append(printed(number)))
        async with asyncio.timeout(WAIT_S):
            assert await received(other, 5000) == list(range(1, 5001))
    writer.close()
    await writer.wait_closed()


@given(st.lists(st.integers(1, 20_000), max_size=60))
def test_batches_keep_order_and_bounds(sizes: list[int]) -> None:
    items = [Item(seq, b'{"seq":%d,"x":"%s"}' % (seq, b"x" * size)) for seq, size in enumerate(sizes, 1)]
    made = list(batches(items))
    assert [seq for _, payload in made for seq in seqs([payload])] == [item.seq for item in items]
    for last, payload in made:
        entries = msgspec.json.decode(payload)
        assert entries[-1]["seq"] == last
        assert len(entries) <= BATCH_ENTRIES_MAX
        assert len(payload) <= BATCH_BYTES_MAX + 2000 or len(entries) == 1


def test_no_event_has_a_field_that_the_feed_puts_in_front() -> None:
    for kind in e.Event.__subclasses__():
        assert not {"seq", "id", "at"} & set(kind.__struct_fields__), kind
    assert entry_json(1, "i", 0, b'{"kind":"x"}') == b'{"seq":1,"id":"i","at":"1970-01-01T00:00:00.000Z","kind":"x"}'

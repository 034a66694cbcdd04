"""Storing by the bus when what answers is not what was expected."""

import asyncio
from pathlib import Path

from tests.gateway.store.journals import append
from tests.gateway.upstream.nats_server import Consumer, NatsServer
from tests.gateway.upstream.served import journalled, some_rows, venue
from tests.gateway.upstream.test_jetstream import sink, stored, stream
from tests.gateway.upstream.waiting import until


async def test_i05_a_stream_that_was_deleted_gets_everything_once_it_is_there_again(tmp_path: Path):
    async with venue(tmp_path / "venue", 20) as made, NatsServer(tmp_path / "nats") as server:
        await stream(server)
        relay = made.begin(sink(server.url))
        await until(lambda: relay.through_seq == 20)
        async with Consumer([server.url]) as above:
            await above.js.delete_stream("EVENTS")
        await append(made.journal, *some_rows(21, 5))
        relay.news()
        await until(lambda: "no stream answers" in relay.why)
        await stream(server)
        relay.try_now()
        await until(lambda: relay.through_seq == 25)
        assert await stored(server) == journalled(tmp_path / "venue")


async def test_an_answer_to_an_earlier_message_is_not_taken_for_that_of_the_next(tmp_path: Path):
    async with venue(tmp_path / "venue", 20) as made, NatsServer(tmp_path / "nats") as server:
        await stream(server)
        bus = sink(server.url)
        relay = made.begin(bus)
        await until(lambda: relay.through_seq == 20)
        inbox = bus._bus._inbox
        async with Consumer([server.url]) as above:

            async def babble() -> None:
                while True:
                    for number in range(5):
                        await above.js._nc.publish(f"{inbox}.{number - 3}", b'{"stream":"EVENTS","seq":777}')
                    await asyncio.sleep(0)

            babbling = asyncio.create_task(babble())
            await append(made.journal, *some_rows(21, 5))
            relay.news()
            await until(lambda: relay.through_seq == 25)
            babbling.cancel()
        assert relay.why == ""
        assert bus._last is not None
        assert bus._last.seq < 777
        assert await stored(server) == journalled(tmp_path / "venue")

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.upstream.sinks import SinkUnavailable
from tests.gateway.store.journals import append
from tests.gateway.upstream.served import Served, fill, https, journalled, some_rows, venue
from tests.gateway.upstream.waiting import until

MANY = 12_000


async def test_i05_an_outage_with_kills_ends_with_equal_books_to_the_byte(tmp_path: Path):
    async with venue(tmp_path / "venue", MANY) as made, Served(tmp_path / "upstream") as upstream:
        relay = made.begin(https(upstream.url))
        await until(lambda: relay.through_seq > 1000)
        await upstream.kill()
        await fill(made.journal, 3000)
        relay.news()
        await until(lambda: relay.why)
        await upstream.start()
        relay.try_now()
        await until(lambda: relay.through_seq > 6000)
        await upstream.kill()
        await upstream.start()
        relay.try_now()
        await until(lambda: relay.through_seq == MANY + 3000)
        received = upstream.received()
    assert [int(event["sequence"]) for event in received] == list(range(1, MANY + 3001))
    assert upstream.received_bodies() == journalled(tmp_path / "venue")
    assert received[0] | {"hash": "", "data": {}} == {
        "specversion": "1.0", "id": "00000000-0000-0000-0000-000000000001",
        "source": "/venues/stadthalle/journals/00000000-0000-0000-0000-000000000001", "type": "venue.entry.denied",
        "time": "2026-05-28T20:26:40.001Z", "datacontenttype": "application/json", "sequence": "0000000000000001",
        "hash": "", "data": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500, "times": 2},
        {"refuse": True, "times": 2},
        {"cut_after_bytes": 5, "times": 2},
        {"slow_s": 0.1, "times": 2},
        {"status": 503, "retry_after_s": 0, "times": 1},
        {"status": 404, "times": 1},
    ],
    ids=lambda fault: next(iter(fault)) + str(next(iter(fault.values()))),
)
async def test_i05_whatever_upstream_does_each_event_is_there_once(tmp_path: Path, fault: dict[str, object]):
    async with venue(tmp_path / "venue", 1200) as made, Served(tmp_path / "upstream") as upstream:
        await upstream.tell("faults", [{"path": "/events", **fault}])
        relay = made.begin(https(upstream.url))
        await until(lambda: relay.through_seq == 1200)
        assert [int(event["sequence"]) for event in upstream.received()] == list(range(1, 1201))


async def test_i05_a_poison_event_over_https_is_set_aside_and_upstream_gets_the_rest(tmp_path: Path):
    async with venue(tmp_path / "venue", 20) as made, Served(tmp_path / "upstream") as upstream:
        await upstream.tell("poison", ["venue.gate.fault"])
        bad = some_rows(21, 1)[0]._replace(body=b'{"kind":"gate.fault","gate":"north","why":"x"}')
        await append(made.journal, bad, *some_rows(22, 5))
        relay = made.begin(https(upstream.url))
        await until(lambda: relay.through_seq == 26)
        assert [one.event_seq for one in made.aside] == [21]
        assert made.aside[0].why == "nothing here takes venue.gate.fault"
        assert len(upstream.received()) == 25


async def test_the_token_is_read_from_its_file_and_again_when_it_is_refused(tmp_path: Path):
    (tmp_path / "right").write_text("s3cret\n")
    token = tmp_path / "token"
    token.write_text("0ld")
    token.chmod(0o600)
    async with (
        venue(tmp_path / "venue", 5) as made,
        Served(tmp_path / "upstream", "--token-file", tmp_path / "right") as upstream,
    ):
        relay = made.begin(https(upstream.url, token_file=str(token)))
        await until(lambda: relay.why)
        assert relay.why == f"upstream at 127.0.0.1 refuses the login (401); look at {token}"
        token.write_text("s3cret")
        relay.try_now()
        await until(lambda: relay.through_seq == 5)


async def test_a_token_that_others_can_read_or_that_is_none_is_not_used(tmp_path: Path):
    token = tmp_path / "token"
    token.write_text("s3cret")
    token.chmod(0o644)
    for mode, text, why in (
        (0o644, "s3cret", "chmod 600"),
        (0o600, "two words", "nothing else"),
        (0o600, "", "no tok"),
    ):
        token.chmod(mode)
        token.write_text(text)
        async with venue(tmp_path / why.split()[0], 1) as made:
            relay = made.begin(https("https://upstream.example", token_file=str(token)))
            await until(lambda relay=relay: relay.why)
            assert why in relay.why
            assert "s3cret" not in relay.why


async def test_a_sink_that_nobody_serves_says_so(tmp_path: Path):
    sink = https("http://127.0.0.1:9")
    async with venue(tmp_path, 3) as made:
        pack = await made.outbox.pack(0)
        assert pack is not None
        with pytest.raises(SinkUnavailable, match=r"127\.0\.0\.1 cannot be reached .*; check the network"):
            await sink.deliver(pack)
        await sink.close()


@pytest.mark.parametrize("body", ["<html>Welcome to the Wi-Fi of this hall</html>", "", '{"through_seq": 2}', "{}"])
async def test_i05_a_server_that_answers_200_to_anything_is_given_nothing_for_good(tmp_path: Path, body: str):
    async def anything(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", anything)
    async with venue(tmp_path / "venue", 3) as made, TestServer(app, host="127.0.0.1") as server:
        relay = made.begin(https(f"http://127.0.0.1:{server.port}"))
        await until(lambda: relay.why)
        assert relay.why.startswith("upstream answers 200 ")
        assert (relay.through_seq, relay.set_aside_count) == (0, 0)

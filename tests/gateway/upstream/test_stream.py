"""The directory's changes from a real JetStream: the same checks as over HTTPS, and a durable place."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from nats.js.api import ConsumerConfig

from gateway.config.upstream import ChangeStream
from gateway.upstream.changes import Changes
from gateway.upstream.making import make_changes
from simulators.upstream import Upstream
from simulators.upstream_directory import digest
from tests.gateway.upstream import test_fleet as fleet
from tests.gateway.upstream.nats_server import Consumer, NatsServer
from tests.gateway.upstream.test_directory import FakeVenue, credential, entitlement, upstream, venue
from tests.gateway.upstream.waiting import until

VENUE = "stadthalle"
SUBJECT = f"venues.{VENUE}.directory"


def changes_from(server: NatsServer) -> Changes:
    return make_changes(ChangeStream(url=server.url), VENUE)


class Above:
    """Publishes what the reference upstream says has changed."""

    def __init__(self, upstream: Upstream, consumer: Consumer, name: str = VENUE) -> None:
        self.js = consumer.js
        self.upstream = upstream
        self._venue = name

    async def publish(self, body: bytes, headers: dict[str, str]) -> None:
        await self.js.publish(f"venues.{self._venue}.directory", body, headers=headers)

    async def change(self, *changes: dict[str, Any], spoil: bool = False, lose: bool = False) -> None:
        after = self.upstream.directory.cursor
        self.upstream.directory.change(list(changes))
        said = await self.upstream.directory.since(after, 0)
        body, headers = self.upstream.sealed_changes(self._venue, said)
        if not lose:
            spoilt = body.replace(b"active", b"lost", 1) if spoil else body
            await self.publish(spoilt[:-1] if spoilt == body and spoil else spoilt, headers)

    async def confirm(self, ago_s: float = 0.0) -> None:
        cursor = self.upstream.directory.cursor
        nothing = {"after": cursor, "cursor": cursor, "changes": []}
        body, headers = self.upstream.sealed_changes(self._venue, nothing, ago_s)
        await self.publish(body, headers)


@asynccontextmanager
async def above(folder: Path, server: NatsServer) -> AsyncIterator[tuple[Above, int]]:
    async with upstream(folder) as (made, port), Consumer([server.url]) as consumer:
        await consumer.js.add_stream(name="DIRECTORY", subjects=["venues.*.directory"])
        yield Above(made, consumer), port


async def test_changes_come_by_the_stream_and_act_within_a_second_of_their_arrival(tmp_path: Path):
    async with (
        NatsServer(tmp_path / "nats") as server,
        above(tmp_path / "up", server) as (up, port),
        venue(tmp_path / "venue", port, changes_from(server)) as here,
    ):
        await until(lambda: here.directory.cursor == 1)
        for number in range(5):
            await up.change({"row": credential(number, state="blocked")})
            await until(lambda number=number: here.state(number) == "blocked", wait_s=1.0)
        assert here.sync.trouble() == ""
        assert not [one for one in up.upstream.requests if "/changes" in one]


async def test_the_place_outlives_venue_and_server_and_nothing_is_applied_twice(tmp_path: Path):
    async with NatsServer(tmp_path / "nats") as server, above(tmp_path / "up", server) as (up, port):
        async with venue(tmp_path / "venue", port, changes_from(server)) as here:
            await until(lambda: here.directory.cursor == 1)
            await up.change({"row": credential(1, state="blocked")})
            await until(lambda: here.directory.cursor == 2)
        for number in (2, 3):
            await up.change({"row": credential(number, state="blocked")})
        await server.kill()
        async with venue(tmp_path / "venue", port, changes_from(server)) as here:
            await until(lambda: here.sync.why)
            assert here.state(1) == "blocked"
            await server.start()
            here.sync.try_now()
            await until(lambda: here.directory.cursor == 4)
            assert [batch.cursor for batch in here.batches] == [3, 4]
            assert here.imports == 0


async def test_what_upstream_confirms_counts_and_silence_does_not(tmp_path: Path):
    async with (
        NatsServer(tmp_path / "nats") as server,
        above(tmp_path / "up", server) as (up, port),
        venue(tmp_path / "venue", port, changes_from(server)) as here,
    ):
        await until(lambda: here.directory.cursor == 1)
        here.directory.confirmed(1)
        assert here.directory.as_of_ms == 1
        await up.confirm()
        await until(lambda: here.directory.as_of_ms == 2_000_000_000_000)
        assert here.facts == []


async def test_what_is_spoilt_or_missing_is_refused_whole_and_a_snapshot_brings_it(tmp_path: Path):
    for name, fault, why in (
        ("spoilt", {"spoil": True}, "their digest does not fit"),
        ("missing", {"lose": True}, "out of order"),
    ):
        async with (
            NatsServer(tmp_path / f"nats {name}") as server,
            above(tmp_path / f"up {name}", server) as (up, port),
            venue(tmp_path / name, port, changes_from(server)) as here,
        ):
            await until(lambda here=here: here.directory.cursor == 1)
            await up.change({"row": credential(7, state="blocked")}, {"row": credential(9)}, **fault)
            await up.change({"row": credential(8, state="blocked")})
            await until(lambda here=here: here.sync.refused)
            assert why in here.facts[-1].why
            assert here.directory.cursor == 1
            assert here.state(7) == "active"
            # The first snapshot is not a minute old: the network's word is what lets it ask again.
            here.sync.try_now()
            await until(lambda here=here: here.directory.cursor == 3)
            assert (here.state(7), here.state(8)) == ("blocked", "blocked")
            assert here.imports == 2
            await up.change({"row": credential(10, state="blocked")})
            await until(lambda here=here: here.state(10) == "blocked")
            assert here.sync.trouble() == ""


async def test_a_batch_with_one_wrong_row_changes_nothing(tmp_path: Path):
    async with (
        NatsServer(tmp_path / "nats") as server,
        above(tmp_path / "up", server) as (up, port),
        venue(tmp_path / "venue", port, changes_from(server)) as here,
    ):
        await until(lambda: here.directory.cursor == 1)
        await up.change({"row": credential(7, state="blocked")}, {"row": entitlement(7, zones=["hal"])})
        await until(lambda: here.sync.refused)
        assert here.sync.refused == "change 2 of those up to 2: unknown zone 'hal'; did you mean 'hall'?"
        assert here.state(7) == "active"


async def test_i09_what_is_said_of_data_that_is_refused_is_short(tmp_path: Path):
    async with (
        NatsServer(tmp_path / "nats") as server,
        above(tmp_path / "up", server) as (up, port),
        venue(tmp_path / "venue", port, changes_from(server)) as here,
    ):
        await until(lambda: here.directory.cursor == 1)
        body = json.dumps({"after": 1, "cursor": "x" * 50_000, "changes": [{"op": "y" * 50_000}]}).encode()
        await up.publish(body, {"Content-Digest": digest(body)})
        await until(lambda: here.sync.refused)
        assert len(here.facts[-1].why) <= 1_000


async def test_a_consumer_that_would_mix_up_the_order_is_not_used(tmp_path: Path):
    async with NatsServer(tmp_path / "nats") as server, above(tmp_path / "up", server) as (up, port):
        await up.js.add_consumer(
            "DIRECTORY", ConsumerConfig(durable_name="venue-stadthalle", filter_subject=SUBJECT, max_ack_pending=7)
        )
        async with venue(tmp_path / "venue", port, changes_from(server)) as here:
            await until(lambda: "delete it there" in here.sync.why)
            await up.js.delete_consumer("DIRECTORY", "venue-stadthalle")
            here.sync.try_now()
            await up.change({"row": credential(1, state="blocked")})
            await until(lambda: here.state(1) == "blocked")


async def test_without_a_stream_it_says_so(tmp_path: Path):
    async with (
        NatsServer(tmp_path / "nats") as server,
        upstream(tmp_path / "up") as (_, port),
        venue(tmp_path / "venue", port, changes_from(server)) as here,
    ):
        await until(lambda: here.sync.why)
        assert f"has {SUBJECT}; make one there" in here.sync.why
        await asyncio.sleep(0)


@asynccontextmanager
async def enrolled(folder: Path, server: NatsServer) -> AsyncIterator[tuple[Above, FakeVenue]]:
    """A venue of a fleet whose changes come by a stream."""
    async with fleet.upstream(folder / "up") as (up, url), Consumer([server.url]) as consumer:
        await consumer.js.add_stream(name="DIRECTORY", subjects=["venues.*.directory"])
        client = fleet.client_of(await fleet.enrolled(folder / "venue", up, url), up, url)
        changes = make_changes(ChangeStream(url=server.url), fleet.VENUE)
        async with fleet.syncing(folder / "directory", client, changes) as here:
            await until(lambda: here.directory.confirmed_ms)
            yield Above(up, consumer, fleet.VENUE), here


async def test_an_enrolled_venue_takes_what_bears_its_seal_and_nothing_else(tmp_path: Path):
    async with NatsServer(tmp_path / "nats") as server, enrolled(tmp_path, server) as (up, here):
        await up.change({"row": credential(1, state="blocked")})
        await until(lambda: here.state(1) == "blocked")
        await up.confirm()
        forged = {"after": 2, "cursor": 3, "changes": [{"op": "put", "row": credential(3, state="blocked")}]}
        body, good = up.upstream.sealed_changes(fleet.VENUE, forged)
        seal, of_body, signed = up.upstream.fleet.seal, sha256(body).hexdigest(), good.pop("Upstream-Signature")
        wrong = {
            "without a signature": (None, "takes none such"),
            "that of another venue": (seal("another", "directory.changes", 3, of_body), "does not fit"),
            "that of another kind": (seal(fleet.VENUE, "directory.snapshot", 3, of_body), "does not fit"),
            "that of another version": (seal(fleet.VENUE, "directory.changes", 4, of_body), "does not fit"),
            "that of another content": (seal(fleet.VENUE, "directory.changes", 3, "0" * 64), "does not fit"),
            "that of a stranger": (
                signed.replace("k1=", "k9=", 1),
                "no key of upstream that is known",
            ),
            "no signature": ("at=1, k1=:?:", "no key of upstream that is known"),
            "one without a time": (signed.partition(", ")[2], "has no time (`at=`)"),
            "that of another time": (signed.replace("at=1", "at=2", 1), "does not fit"),
        }
        for number, (which, (signature, said)) in enumerate(wrong.items()):
            await up.publish(body, good | ({"Upstream-Signature": signature} if signature else {}))
            await until(lambda: here.sync.refused)
            assert said in here.sync.refused, which
            assert (here.state(3), here.directory.cursor) == ("active", 2), which
            here.sync.try_now()
            await until(lambda number=number: here.imports == number + 2 and not here.sync.refused)
        await up.change({"row": credential(4, state="blocked")})
        await until(lambda: here.state(4) == "blocked")
        assert (here.state(3), here.sync.trouble()) == ("active", "")
        assert [type(fact).__name__ for fact in here.facts].count("DirectoryRefused") == len(wrong)
        assert not [one for one in up.upstream.requests if "/changes" in one]


async def test_a_word_under_seal_that_is_sent_again_makes_the_directory_no_younger(tmp_path: Path):
    async with NatsServer(tmp_path / "nats") as server, enrolled(tmp_path, server) as (up, here):
        first_ms = here.directory.as_of_ms
        await up.confirm()
        await until(lambda: here.directory.as_of_ms > first_ms)
        known_ms = here.directory.as_of_ms
        recorded = await up.js.get_last_msg("DIRECTORY", f"venues.{fleet.VENUE}.directory")
        assert recorded.data is not None
        assert recorded.headers is not None
        await up.publish(recorded.data, recorded.headers)
        # One that somebody held back for an hour is an hour old, and what comes after both still acts.
        await up.confirm(ago_s=3600)
        await up.change({"row": credential(4, state="blocked")})
        before_ms = known_ms
        await until(lambda: here.state(4) == "blocked")
        assert here.directory.as_of_ms > before_ms
        assert here.sync.trouble() == ""
        assert here.imports == 1
        settled = await up.js.consumer_info("DIRECTORY", f"venue-{fleet.VENUE}")
        assert settled.delivered.stream_seq == 4


async def test_a_word_that_waited_in_the_stream_is_as_old_as_it_is(tmp_path: Path):
    async with NatsServer(tmp_path / "nats") as server, enrolled(tmp_path, server) as (up, here):
        here.directory.confirmed(1)
        await up.confirm(ago_s=3600)
        await until(lambda: here.directory.as_of_ms > 1)
        assert 3_600_000 <= fleet.now_ms() - here.directory.as_of_ms < 3_620_000

import asyncio
import gzip
import json
from itertools import pairwise
from pathlib import Path

from gateway.domain.upstream_events import EventSetAside
from gateway.store.journal import StorageUnavailable
from gateway.upstream.outbox import Outbox
from gateway.upstream.packing import PACK_ROWS_MAX, Wanted
from gateway.upstream.relay import ASIDE_IN_A_ROW_MAX, PACE_S
from gateway.upstream.sinks import Behind, Pack, Refused, SinkUnavailable, Taken, Verdict
from tests.gateway.store.journals import append, fold
from tests.gateway.upstream.served import Venue, fill, some_rows, venue
from tests.gateway.upstream.waiting import until


class FakeSink:
    """Takes everything that follows, unless it is told something else first."""

    singly = False
    keep_s = 0.0

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.gaps: list[int] = []
        self.poison: set[int] = set()
        self.names_poison = True
        self.refuses_all = False
        self.away = False
        self.through = 0
        self.attempts = 0

    async def deliver(self, pack: Pack) -> Verdict:
        self.attempts += 1
        await asyncio.sleep(0)
        if self.away:
            raise SinkUnavailable("it is away")
        if pack.after_seq > self.through and not pack.gap:
            return Behind(self.through)
        bad = [one for one in pack.events if one[0] in self.poison]
        if bad or self.refuses_all:
            return Refused("poison", bad[0][1] if bad and self.names_poison else "")
        events = json.loads(gzip.decompress(pack.body))
        assert [int(event["sequence"]) for event in events] == [seq for seq, _ in pack.events]
        if pack.gap:
            self.gaps.append(pack.after_seq)
        self.taken += [int(event["sequence"]) for event in events]
        self.through = pack.through_seq
        return Taken()

    async def close(self) -> None:
        pass


async def test_i05_every_event_comes_once_and_in_order(tmp_path: Path):
    async with venue(tmp_path, 1234) as made:
        sink = FakeSink()
        relay = made.begin(sink)
        await until(lambda: sink.through == 1234)
        await append(made.journal, *some_rows(1235, 3))
        relay.news()
        await until(lambda: relay.through_seq == 1237)
        assert sink.taken == list(range(1, 1238))
        assert relay.behind == 0


async def test_i05_an_outage_skips_nothing_and_ends_when_the_network_is_back(tmp_path: Path):
    async with venue(tmp_path, 700) as made:
        sink = FakeSink()
        sink.away = True
        relay = made.begin(sink)
        await until(lambda: relay.why)
        # The pauses have grown by now: only the network's word makes it try at once.
        await until(lambda: sink.attempts >= 3)
        relay.news()
        sink.away = False
        relay.try_now()
        await until(lambda: sink.through == 700, wait_s=0.5)
        assert sink.taken == list(range(1, 701))
        assert relay.why == ""


async def test_i05_a_journal_that_could_not_be_read_for_a_moment_keeps_no_later_event_back(tmp_path: Path):
    class Unsteady(Outbox):
        fails = False

        async def pack(self, after_seq: int, wanted: Wanted | None = None) -> Pack | None:
            if self.fails:
                self.fails = False
                raise StorageUnavailable("the disk does not answer")
            return await super().pack(after_seq, wanted)

    async with venue(tmp_path, 10, Unsteady) as made:
        sink = FakeSink()
        relay = made.begin(sink)
        await until(lambda: sink.through == 10)
        made.outbox.fails = True
        # It looks, fails, pauses, looks again and finds nothing; then something is committed.
        relay.news()
        await until(lambda: relay.why and not made.outbox.fails)
        relay.try_now()
        await asyncio.sleep(0)
        await append(made.journal, *some_rows(11, 1))
        relay.news()
        await until(lambda: sink.through == 11)


async def test_i05_a_mistake_of_ours_keeps_no_event_back(tmp_path: Path):
    class Broken(FakeSink):
        async def deliver(self, pack: Pack) -> Verdict:
            if not self.attempts:
                self.attempts += 1
                raise KeyError("nobody thought of that")
            return await super().deliver(pack)

    async with venue(tmp_path, 30) as made:
        sink = Broken()
        relay = made.begin(sink)
        await until(lambda: sink.through == 30)
        assert sink.taken == list(range(1, 31))
        await until(lambda: relay.why == "")


async def test_i05_after_a_restart_it_goes_on_from_its_cursor(tmp_path: Path):
    sink = FakeSink()
    async with venue(tmp_path, 600) as made:
        made.begin(sink)
        await until(lambda: sink.through == 600)
    async with venue(tmp_path, 0) as made:
        await fill(made.journal, 50)
        made.begin(sink)
        await until(lambda: sink.through == 650)
    assert sink.taken == list(range(1, 651))


async def test_i05_a_poison_event_is_set_aside_with_an_alarm_and_the_rest_goes_on(tmp_path: Path):
    for names in (True, False):
        async with venue(tmp_path / str(names), 900) as made:
            sink = FakeSink()
            sink.poison, sink.names_poison = {7, 500, 501}, names
            relay = made.begin(sink)
            await until(lambda relay=relay: relay.through_seq == 900)
            assert sink.taken == [seq for seq in range(1, 901) if seq not in sink.poison]
            assert [one.event_seq for one in made.aside] == [7, 500, 501]
            assert made.aside[0] == EventSetAside(
                sink="main", event_seq=7, event_id="00000000-0000-0000-0000-000000000007", why="poison"
            )
            assert relay.set_aside_count == 3


async def test_i05_an_upstream_that_refuses_everything_loses_nothing(tmp_path: Path):
    async with venue(tmp_path, 100) as made:
        sink = FakeSink()
        sink.refuses_all = True
        relay = made.begin(sink)
        await until(lambda: "it refuses every event" in relay.why)
        assert len(made.aside) == ASIDE_IN_A_ROW_MAX
        assert relay.through_seq < ASIDE_IN_A_ROW_MAX + 1
        sink.refuses_all = False
        relay.try_now()
        await until(lambda: relay.through_seq == 100)
        assert sink.taken == list(range(ASIDE_IN_A_ROW_MAX + 1, 101))


async def test_i05_a_sink_that_has_lost_what_it_had_gets_it_again(tmp_path: Path):
    async with venue(tmp_path, 800) as made:
        sink = FakeSink()
        relay = made.begin(sink)
        await until(lambda: relay.through_seq == 800)
        sink.through = 300
        await append(made.journal, *some_rows(801, 1))
        relay.news()
        await until(lambda: sink.through == 801)
        assert sink.taken == [*range(1, 801), *range(301, 802)]


async def pruned(made: Venue, through_seq: int) -> None:
    await fold(made.journal, [], made.journal.last_seq)
    made.journal.prune(through_seq)
    await until(lambda: made.journal.pruned_seq == through_seq)


async def test_a_sink_that_comes_when_the_oldest_events_are_gone_is_told_of_the_gap(tmp_path: Path):
    async with venue(tmp_path, 1600) as made:
        await pruned(made, 400)
        sink = FakeSink()
        relay = made.begin(sink)
        await until(lambda: relay.through_seq == 1600)
        assert sink.gaps == [400]
        assert sink.taken == list(range(401, 1601))


async def test_a_sink_that_contradicts_itself_is_left_alone_for_a_while(tmp_path: Path):
    class Contrary(FakeSink):
        async def deliver(self, pack: Pack) -> Verdict:
            await super().deliver(pack)
            return Behind(0)

    async with venue(tmp_path, 10) as made:
        sink = Contrary()
        relay = made.begin(sink)
        await until(lambda: "refuses what follows" in relay.why)
        assert sink.attempts == 1
        assert relay.trouble() == ""


class Timed(FakeSink):
    """Notes when each pack came."""

    def __init__(self) -> None:
        super().__init__()
        self.came_s: list[float] = []

    async def deliver(self, pack: Pack) -> Verdict:
        self.came_s.append(asyncio.get_running_loop().time())
        return await super().deliver(pack)


async def test_packs_of_a_backlog_leave_the_loop_to_taps_while_there_are_some(tmp_path: Path):
    async with venue(tmp_path, 5 * PACK_ROWS_MAX) as made:
        sink = Timed()
        relay = made.begin(sink)
        relay.news()
        await until(lambda: sink.through == 5 * PACK_ROWS_MAX)
        assert len(sink.came_s) >= 5
        # A timer may fire a little early, by the clock's resolution.
        assert min(later - one for one, later in pairwise(sink.came_s)) > 0.9 * PACE_S


async def test_without_taps_a_backlog_goes_as_fast_as_the_line(tmp_path: Path):
    async with venue(tmp_path, 20 * PACK_ROWS_MAX) as made:
        sink = Timed()
        made.begin(sink)
        await until(lambda: sink.through == 20 * PACK_ROWS_MAX)
        # One of them may have waited for the processor; that all did by chance cannot be.
        assert min(later - one for one, later in pairwise(sink.came_s)) < PACE_S / 2

"""The smaller parts: pauses, the network's word, retention, and allowances over HTTPS."""

import asyncio
import socket
from pathlib import Path
from random import Random

from gateway.config.upstream import Endpoint
from gateway.domain.allowances import Grant, Statement
from gateway.upstream.backoff import LONGEST_S, RETRY_AFTER_MAX_S, Backoff
from gateway.upstream.courier import WAITING_MAX, HttpsCourier
from gateway.upstream.http import Answer, Client
from gateway.upstream.network import NetworkWatch
from gateway.upstream.retention import DAY_MS, Retention
from simulators.upstream import Faults, Upstream
from tests.gateway.store.journals import fold
from tests.gateway.upstream.served import venue
from tests.gateway.upstream.waiting import until

FIRST_ROW_MS = 1_780_000_000_001


def test_pauses_grow_differ_and_begin_anew():
    backoff, other = Backoff(Random(1)), Backoff(Random(2))
    pauses = [backoff.pause_s() for _ in range(12)]
    assert 0.25 <= pauses[0] <= 0.5
    assert all(LONGEST_S / 2 <= pause <= LONGEST_S for pause in pauses[7:])
    assert pauses[0] != other.pause_s()
    backoff.worked()
    assert backoff.pause_s() <= 0.5
    assert backoff.pause_s(10**9) <= RETRY_AFTER_MAX_S + 1


async def test_the_kernels_word_comes_once_for_many_changes():
    ours, kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    told: list[int] = []
    watch = NetworkWatch(lambda: told.append(1), lambda: ours)
    for _ in range(5):
        kernels.send(b"news")
    await until(lambda: told)
    assert told == [1]
    kernels.send(b"news")
    await until(lambda: len(told) == 2)
    watch.close()
    kernels.close()


async def test_the_kernel_can_be_asked_here():
    watch = NetworkWatch(lambda: None)
    assert watch._socket is not None
    watch.close()


async def test_only_what_is_old_and_what_all_have_is_pruned(tmp_path: Path):
    async with venue(tmp_path, 3000) as made:
        await fold(made.journal, [], 3000)
        retention = Retention(made.journal, tmp_path / "journal.db", made.outbox)
        late_ms = FIRST_ROW_MS + 40 * DAY_MS
        await retention.look(FIRST_ROW_MS + DAY_MS, 30, 3000)
        await retention.look(late_ms, 30, 0)
        assert made.journal.pruned_seq == 0
        outlook = await retention.look(late_ms, 30, 800)
        await until(lambda: made.journal.pruned_seq == 800)
        assert outlook.days_left is None
        # Rows 1 to 1500 are older than a day by now, and no others.
        await retention.look(FIRST_ROW_MS + 1500 + DAY_MS, 1, 3000)
        await until(lambda: made.journal.pruned_seq == 1500)


async def test_a_disk_that_fills_is_told_days_ahead(tmp_path: Path):
    async with venue(tmp_path, 2500) as made:
        retention = Retention(made.journal, tmp_path / "journal.db", made.outbox)
        outlook = await retention.look(FIRST_ROW_MS + 5000, 30, 0)
        assert outlook.days_left is not None
        assert type(outlook)(9.4).trouble().startswith("disk: full in about 9 days")
        assert type(outlook)(20).trouble() == ""


class Flow:
    def __init__(self) -> None:
        self.grants: list[Grant] = []
        self.times_online = 0

    def received(self, grant: Grant) -> None:
        self.grants.append(grant)

    def online_again(self) -> None:
        self.times_online += 1


async def test_statements_go_up_and_grants_come_down_also_after_an_outage(tmp_path: Path):
    upstream = Upstream(tmp_path)
    upstream.treasury.free_minor["g1"] = 2000
    upstream.faults = [Faults(path="/allowances", times=2, status=503)]
    port = await upstream.start(0)
    flow = Flow()
    client = Client(Endpoint(url=f"http://127.0.0.1:{port}"), "stadthalle")
    courier = HttpsCourier(client, Random(1), flow.received, flow.online_again)
    task = asyncio.get_running_loop().create_task(courier.run())
    await until(lambda: courier.why)
    assert not courier.online
    courier.send(Statement(book="b", holder="g1", currency="EUR", wanted_minor=1))
    courier.send(Statement(book="b", holder="g1", currency="EUR", wanted_minor=500))
    await until(lambda: flow.grants)
    assert courier.online
    assert flow.times_online == 1
    assert [(one.granted_minor, one.version) for one in flow.grants] == [(500, 1)]
    assert upstream.treasury.free_minor["g1"] == 1500
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await upstream.stop()


async def test_an_answer_that_nobody_foresaw_does_not_end_the_courier():
    class Odd(Client):
        asked = 0

        async def ask(self, *_: object, **__: object) -> Answer:
            self.asked += 1
            if self.asked == 1:
                raise KeyError("nobody thought of that")
            return Answer(200, {}, b'{"grants":[{"grants":' + b"[" * 2_000 if self.asked == 2 else b'{"grants":[]}')

    client, flow = Odd(Endpoint(url="https://x"), "stadthalle"), Flow()
    courier = HttpsCourier(client, Random(1), flow.received, flow.online_again)
    task = asyncio.get_running_loop().create_task(courier.run())
    for _ in range(2):
        await until(lambda: courier.why)
        courier.why = ""
        courier.try_now()
    await until(lambda: courier.online)
    assert flow.times_online == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_no_more_statements_wait_than_the_bound():
    courier = HttpsCourier(Client(Endpoint(url="https://x"), "v"), Random(1), print, print)
    for number in range(WAITING_MAX + 10):
        courier.send(Statement(book="b", holder=f"g{number}", currency="EUR"))
    assert len(courier._waiting) == WAITING_MAX
    assert "g9" not in courier._waiting

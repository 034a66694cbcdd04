"""The flows over the journal on a real disk: what the fake one promises, the true one keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.schema import Limits
from gateway.domain import drawers, printing
from gateway.domain.state import VenueState
from gateway.flows.desk import Desk, Request
from gateway.flows.drawer import DrawerFlow
from gateway.flows.printing import PrintFlow
from gateway.flows.recorder import Committed, Recorder
from gateway.store.journal import Journal
from tests.gateway.domain.samples import snapshot
from tests.gateway.fakes import START_MS, FakeDrawer, FakePrinter, deterministic_ids
from tests.gateway.flows.house import CLIENT, ZONES

WAIT_S = 10


class Counter:
    """A printer and a drawer over a journal in a folder."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.journal = Journal.open(folder / "journal.db")
        self.recorder = Recorder(VenueState(ZONES), self.journal, lambda: START_MS, deterministic_ids(seed))
        self.recorder.restore()
        self.printer, self.drawer = FakePrinter(), FakeDrawer()
        self.tasks: list[asyncio.Task[None]] = []
        self.print_flow = PrintFlow("bar-printer", self.recorder, self.printer, Limits())
        self.drawer_flow = DrawerFlow("till", self.recorder, self.drawer, self._spawn)
        handlers = {"bar-printer": self.print_flow.handlers(), "till": self.drawer_flow.handlers()}
        grants = {CLIENT: {target: frozenset(verbs) for target, verbs in handlers.items()}}
        self.desk = Desk(self.recorder)
        self.desk.configure(handlers, grants, 60_000)
        self.told: dict[str, list[str]] = {}
        self._news = asyncio.Event()
        self.recorder.listeners.append(self._heard)
        if events := [*printing.after_restart(self.recorder.state), *drawers.after_restart(self.recorder.state)]:
            self.recorder.record(*events)
        self._spawn(self.print_flow.run())

    def _spawn(self, work: object) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    def _heard(self, committed: list[Committed]) -> None:
        for one in committed:
            if one.answer is not None:
                self.told.setdefault(one.request.id, []).append(one.answer.status)
        self._news.set()

    def ask(self, target: str, verb: str, data: bytes, name: str) -> object:
        return self.desk.handle(Request(CLIENT, name, target, verb, data, START_MS + 5_000, f"{verb}{data!r}"))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.journal.close()


RECEIPT = b'{"document":{"lines":[{"type":"text","text":"Danke"}]}}'


async def test_a_receipt_and_a_drawer_over_a_restart(tmp_path: Path) -> None:
    counter = Counter(tmp_path)
    counter.ask("bar-printer", "print", RECEIPT, "p1")
    counter.ask("till", "open", b'{"reason":"sale"}', "d1")
    await counter.until(lambda: counter.told.get("p1", [])[-1:] == counter.told.get("d1", [])[-1:] == ["done"])
    assert counter.printer.written == [b"Danke"]
    assert counter.drawer.pulses == 1
    before = snapshot(counter.recorder.state)
    await counter.stop()

    again = Counter(tmp_path, seed=2)
    assert snapshot(again.recorder.state) == before
    assert again.ask("bar-printer", "print", RECEIPT, "p1").status == "done"
    assert again.ask("till", "open", b'{"reason":"sale"}', "d1").status == "done"
    [job] = again.recorder.state.jobs
    again.ask("bar-printer", "reprint", b'{"job":"%s"}' % job.encode(), "p2")
    await again.until(lambda: again.told.get("p2", [])[-1:] == ["done"])
    assert again.printer.written == [b"[KOPIE]\nDanke"]
    assert again.drawer.pulses == 0
    await again.stop()


async def test_i02_a_job_amid_its_bytes_is_unknown_after_a_restart(tmp_path: Path) -> None:
    counter = Counter(tmp_path)
    counter.printer.takes_bytes = asyncio.Event()
    writing = asyncio.Event()
    counter.printer.on_write = writing.set
    counter.ask("bar-printer", "print", RECEIPT, "p1")
    async with asyncio.timeout(WAIT_S):
        await writing.wait()
    # The next run opens the same file while this one never gets to say how its job ended.
    again = Counter(tmp_path, seed=2)
    await again.until(lambda: "p1" in again.told)
    assert again.told["p1"] == ["unknown"]
    assert again.printer.written == []
    await again.stop()
    counter.journal.close()
    for task in counter.tasks:
        task.cancel()
    await asyncio.gather(*counter.tasks, return_exceptions=True)


@pytest.mark.parametrize("fold", [False, True])
async def test_answers_and_state_are_the_same_with_and_without_a_fold(tmp_path: Path, fold: bool) -> None:
    counter = Counter(tmp_path)
    for number in range(20):
        counter.ask("bar-printer", "print", RECEIPT, f"p{number}")
    await counter.until(lambda: all(counter.told.get(f"p{number}", [])[-1:] == ["done"] for number in range(20)))
    expected = {**snapshot(counter.recorder.state), "requests": {}}
    if fold:
        async with asyncio.timeout(WAIT_S):
            await counter.recorder.fold_everything()
        assert counter.journal.fold_seq == counter.journal.last_seq
    await counter.stop()
    again = Counter(tmp_path, seed=2)
    assert {**snapshot(again.recorder.state), "requests": {}} == expected
    assert {again.recorder.answered(CLIENT, f"p{number}").answer.status for number in range(20)} == {"done"}
    await again.stop()

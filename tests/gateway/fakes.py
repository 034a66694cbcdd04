"""Hand-written stand-ins for the disk, the clock and the devices. Nothing here waits for real time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from drivers.api import DeviceOffline, DeviceTimeout, PrinterStatus
from drivers.document import Document, plain_text
from gateway.domain.access import Credential, Entitlement
from gateway.domain.ids import Uuid7
from gateway.domain.schedules import Schedule
from gateway.domain.tickets import IssuerKey
from gateway.domain.wallet import Opening
from gateway.store.journal import JournalBusy, Row, StorageUnavailable, StoredRow

START_MS = 1_780_000_000_000
FINE = PrinterStatus(online=True, cover_open=False, paper_out=False)
PAPER_OUT = PrinterStatus(online=True, cover_open=False, paper_out=True)
COVER_OPEN = PrinterStatus(online=False, cover_open=True, paper_out=False)


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of sleeping until the next timer, moves the clock there."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            # Only a thread can wake the loop now; when none does, the test would hang for ever.
            if ready := super().select(5):
                return ready
            raise AssertionError("nothing will ever happen again: no timer, no thread, nothing ready")
        self.now_s += timeout
        return ready


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer as soon as there is nothing left to do."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait for the threads as long as they take: by this clock any time is over at once."""
        await super().shutdown_default_executor()


async def settle() -> None:
    """Return when everything that can happen now has happened: only then does the clock move to the next timer."""
    await asyncio.sleep(0.000_001)


class FakeClock:
    """UTC milliseconds that run with the loop; `offset_ms` sets the wall clock apart from it."""

    def __init__(self) -> None:
        self.offset_ms = 0

    def __call__(self) -> int:
        return START_MS + self.offset_ms + int(asyncio.get_running_loop().time() * 1000)


def deterministic_ids(seed: int = 1) -> Uuid7:
    """Return ids that are the same in every run."""
    return Uuid7(Random(seed).randbytes)


Done = Callable[[StorageUnavailable | None], None]


@dataclass
class Disk:
    """What survives a crash."""

    rows: list[StoredRow] = field(default_factory=list)
    state: dict[tuple[str, str], bytes] = field(default_factory=dict)
    attachments: dict[str, bytes] = field(default_factory=dict)
    fold_seq: int = 0


@dataclass
class _Batch:
    rows: Sequence[Row]
    attachments: Mapping[str, bytes]
    done: Done


class FakeJournal:
    """A journal in memory. `hold()` makes commits wait for `release()`; `fail()` makes the next one fail.

    While it is `busy` it takes only what follows from what it took before.

    A new one over the same `disk` is the next run after a crash: what was not committed is gone.
    """

    def __init__(self, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()
        self.failed: StorageUnavailable | None = None
        self.busy = False
        self.urgent: list[bool] = []
        self.fold_chunks: list[int] = []
        self._waiting: list[_Batch] = []
        self._held = False
        self._failure: StorageUnavailable | None = None
        self._load()

    def _load(self) -> None:
        self.last_seq = self.disk.rows[-1].seq if self.disk.rows else 0
        self.last_at_ms = self.disk.rows[-1].at_ms if self.disk.rows else 0

    @property
    def fold_seq(self) -> int:
        return self.disk.fold_seq

    # What a test does to it.

    def hold(self) -> None:
        """Let every commit wait."""
        self._held = True

    def release(self) -> None:
        """Let everything that waits be committed."""
        self._held = False
        asyncio.get_running_loop().call_soon(self._commit)

    def fail(self, message: str = "the disk is full") -> None:
        """Make the next commit fail, and with it all behind it."""
        self._failure = StorageUnavailable(message)

    @property
    def pending(self) -> int:
        return len(self._waiting)

    # What a journal does.

    def append(
        self,
        rows: Sequence[Row],
        done: Done,
        *,
        urgent: bool = True,
        follow_up: bool = False,
        attachments: Mapping[str, bytes] | None = None,
    ) -> None:
        if self.failed is not None:
            raise self.failed
        if self.busy and not follow_up:
            raise JournalBusy("too much waits for the disk already")
        assert rows[0].seq == self._next_seq(), "a sequence number is missing or used twice"
        self.urgent.append(urgent)
        self._waiting.append(_Batch(rows, attachments or {}, done))
        if not self._held:
            asyncio.get_running_loop().call_soon(self._commit)

    def _next_seq(self) -> int:
        return self.last_seq + 1 + sum(len(batch.rows) for batch in self._waiting)

    def _commit(self) -> None:
        if self._held:
            return
        while self._waiting and not self._failure:
            batch = self._waiting.pop(0)
            self.disk.rows += [StoredRow(*row, b"") for row in batch.rows]
            self.disk.attachments |= batch.attachments
            self._load()
            batch.done(None)
        if self._waiting and self._failure:
            self.failed, self._failure = self._failure, None
            lost, self._waiting = self._waiting, []
            for batch in lost:
                batch.done(self.failed)

    def recover(self) -> int:
        if self._failure is not None:
            raise self._failure
        self.failed = None
        self._load()
        return self.last_seq

    def fold(self, rows: Sequence[tuple[str, str, bytes | None]], through_seq: int | None, done: Done) -> None:
        if self.failed is not None:
            raise self.failed
        self.fold_chunks.append(len(rows))
        asyncio.get_running_loop().call_soon(self._fold, list(rows), through_seq, done)

    def _fold(self, rows: list[tuple[str, str, bytes | None]], through_seq: int | None, done: Done) -> None:
        if self.failed is not None:
            done(self.failed)
            return
        for kind, key, value in rows:
            self.disk.state.pop((kind, key), None)
            if value is not None:
                self.disk.state[kind, key] = value
        if through_seq is not None:
            self.disk.fold_seq = through_seq
        done(None)

    def state_rows(self, kinds: object) -> Iterator[tuple[str, str, bytes]]:
        assert kinds is None
        for (kind, key), value in sorted(self.disk.state.items()):
            yield kind, key, value

    def state_row(self, kind: str, key: str) -> bytes | None:
        return self.disk.state.get((kind, key))

    def read(self, after_seq: int, limit: int) -> list[StoredRow]:
        return [row for row in self.disk.rows if row.seq > after_seq][:limit]

    def attachment(self, name: str) -> bytes | None:
        return self.disk.attachments.get(name)

    def delete_attachments(self, names: Sequence[str]) -> None:
        for name in names:
            self.disk.attachments.pop(name, None)


class FakeKey:
    """References that can be read in a failing test."""

    def ref(self, technology: str, value: str) -> str:
        return f"ref:{technology}:{value}"


class FakeDirectory:
    """A directory in memory."""

    def __init__(self) -> None:
        self.loaded = True
        self.schedules: dict[str, Schedule] = {}
        self.issuer_keys: tuple[IssuerKey, ...] = ()
        self._credentials: dict[str, Credential] = {}
        self._entitlements: dict[str, tuple[Entitlement, ...]] = {}
        self.wallets: dict[str, Opening] = {}
        self.as_of_ms = START_MS
        self.version = "v1"

    def add(self, value: str, holder: str, *entitlements: Entitlement, **fields: object) -> None:
        """Give `holder` a card with this number and these tickets."""
        self.add_as("em4100", value, holder, *entitlements, **fields)

    def add_as(self, technology: str, value: str, holder: str, *entitlements: Entitlement, **fields: object) -> None:
        """Give `holder` a credential of this technology."""
        ref = FakeKey().ref(technology, value)
        self._credentials[ref] = Credential(ref, holder, **fields)
        self._entitlements[holder] = entitlements

    def carried(self, ref: str) -> tuple[Credential, tuple[Entitlement, ...]] | None:
        credential = self._credentials.get(ref)
        return None if credential is None else (credential, self.entitlements(credential.holder))

    def credential(self, ref: str) -> Credential | None:
        return self._credentials.get(ref)

    def entitlements(self, holder: str) -> tuple[Entitlement, ...]:
        return self._entitlements.get(holder, ())

    def wallet(self, holder: str) -> Opening | None:
        return self.wallets.get(holder)


class _Port:
    """A device that can be unplugged."""

    def __init__(self) -> None:
        self.online = True

    def _require(self) -> None:
        if not self.online:
            raise DeviceOffline("not connected: check its cable")


class FakeLock(_Port):
    """A relay board, and the port to it.

    `error` is raised by the next pulses and holds; `answer` holds pulses up until set; `answers_lost` counts the holds
    that the board still carries out without anybody hearing of it.
    """

    channels = 4
    board_timed = False
    notice_s = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.pulses: list[tuple[int, int]] = []
        self.holds: list[tuple[int, bool]] = []
        self.error: Exception | None = None
        self.answer: asyncio.Event | None = None
        self.answers_lost = 0

    def lock(self) -> FakeLock:
        self._require()
        return self

    async def pulse(self, channel: int, pulse_ms: int) -> None:
        if self.error is not None:
            raise self.error
        self.pulses.append((channel, pulse_ms))
        if self.answer is not None:
            await self.answer.wait()

    async def hold(self, channel: int, active: bool) -> None:
        if self.error is not None:
            raise self.error
        self.holds.append((channel, active))
        if self.answers_lost:
            self.answers_lost -= 1
            raise DeviceTimeout("the board did not answer")


class FakePrinter(_Port):
    """A printer, and the port to it. It answers every status question with `says`, or what `will_say` lists first."""

    def __init__(self, says: PrinterStatus | None = FINE) -> None:
        super().__init__()
        self.says = says
        self.will_say: list[PrinterStatus | Exception | None] = []
        self.written: list[bytes] = []
        self.asked = 0
        self.write_error: Exception | None = None
        self.render_error: Exception | None = None
        self.on_ask: Callable[[], object] = lambda: None
        self.on_write: Callable[[], None] = lambda: None
        self.takes_bytes: asyncio.Event | None = None

    def printer(self) -> FakePrinter:
        self._require()
        return self

    def render(self, document: Document, copy_label: str | None = None) -> bytes:
        if self.render_error is not None:
            raise self.render_error
        label = [f"[{copy_label}]"] if copy_label else []
        return "\n".join(label + plain_text(document, 42)).encode()

    async def write(self, data: bytes) -> None:
        if self.write_error is not None:
            raise self.write_error
        self.on_write()
        self.written.append(data)
        if self.takes_bytes is not None:
            await self.takes_bytes.wait()

    async def status(self) -> PrinterStatus | None:
        self.asked += 1
        self.on_ask()
        said = self.will_say.pop(0) if self.will_say else self.says
        if isinstance(said, Exception):
            raise said
        return said

    async def kick(self, pin: int) -> None:
        raise AssertionError("the print queue opens no drawer")


class FakeDrawer(_Port):
    """A drawer, and the port to it."""

    def __init__(self) -> None:
        super().__init__()
        self.pulses = 0
        self.error: Exception | None = None
        self.on_pulse: Callable[[], None] = lambda: None
        self.answer: asyncio.Event | None = None

    def drawer(self) -> FakeDrawer:
        self._require()
        return self

    async def open(self) -> None:
        if self.error is not None:
            raise self.error
        self.pulses += 1
        self.on_pulse()
        if self.answer is not None:
            await self.answer.wait()

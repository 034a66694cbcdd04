"""The driver against a printer of the test's own, over real sockets and a pty."""

import asyncio
import contextlib
import os
import socket
import tty
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from drivers.api import (
    DeviceEvent,
    DeviceFault,
    DeviceOffline,
    DeviceTimeout,
    Driver,
    Noise,
    Online,
    Printer,
    PrinterStatus,
)
from drivers.codecs import escpos as commands
from drivers.document import Document, DocumentPrinter, Text
from drivers.printers import escpos
from drivers.printers.escpos import EscposOptions, EscposPrinter

READY = PrinterStatus(online=True, cover_open=False, paper_out=False, paper_low=False, drawer_pin_high=False)
NO_PAPER = msgspec.structs.replace(READY, online=False, paper_out=True, paper_low=True)
QUESTIONS = b"".join(map(commands.status_request, (1, 2, 3, 4)))


class Notice:
    """Wakes whoever waits for something to come true."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        self._changed.set()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not true():
                self._changed.clear()
                await self._changed.wait()


class FakePrinter(Notice):
    """Understands status questions and the automatic status; everything else it prints."""

    def __init__(self) -> None:
        super().__init__()
        self.replies = {1: b"\x12", 2: b"\x12", 3: b"\x12", 4: b"\x12"}
        self.block: bytes | None = None
        self.reads = True
        self.received = bytearray()
        self.printed = bytearray()
        self.connections: list[asyncio.StreamWriter] = []

    def no_paper(self) -> None:
        self.replies |= {1: b"\x1a", 2: b"\x32", 4: b"\x7e"}

    def silent(self) -> None:
        self.replies = {}

    def push(self, data: bytes) -> None:
        self.connections[-1].write(data)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        self.notify()
        with contextlib.suppress(ConnectionError):
            while self.reads and (data := await reader.read(4096)):
                self.take(data, writer.write)
        if self.reads:
            writer.close()

    def take(self, data: bytes, answer: Callable[[bytes], object]) -> None:
        self.received += data
        self.printed += data
        for n, reply in ((n, self.replies.get(n, b"")) for n in (1, 2, 3, 4)):
            while commands.status_request(n) in self.printed:
                self.printed[:] = self.printed.replace(commands.status_request(n), b"", 1)
                answer(reply)
        if commands.ENABLE_ASB in self.printed:
            self.printed[:] = self.printed.replace(commands.ENABLE_ASB, b"")
            answer(self.block or b"")
        self.notify()


class Events(Notice):
    def __init__(self) -> None:
        super().__init__()
        self.all: list[DeviceEvent] = []

    def __call__(self, event: DeviceEvent) -> None:
        self.all.append(event)
        self.notify()

    async def status(self, expected: PrinterStatus) -> None:
        await self.until(lambda: bool(self.statuses) and self.statuses[-1] == expected)

    @property
    def statuses(self) -> list[PrinterStatus]:
        return [event for event in self.all if isinstance(event, PrinterStatus)]

    @property
    def onlines(self) -> list[Online]:
        return [event for event in self.all if isinstance(event, Online)]


class Bench:
    """A fake printer, a driver for it, and the driver's run() as a task."""

    def __init__(self, printer: FakePrinter, driver: EscposPrinter, events: Events) -> None:
        self.printer, self.driver, self.events = printer, driver, events
        self.running = asyncio.create_task(driver.run())

    async def failure(self) -> BaseException | None:
        await asyncio.wait({self.running}, timeout=5)
        return self.running.exception()


@contextlib.asynccontextmanager
async def bench(printer: FakePrinter | None = None, **options: object) -> AsyncIterator[Bench]:
    printer = printer or FakePrinter()
    listener = socket.create_server(("127.0.0.1", 0))
    # A printer has a buffer of a few kilobytes; a socket of this machine would swallow megabytes.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    server = await asyncio.start_server(printer.serve, sock=listener)
    fields = {"connect": f"tcp://127.0.0.1:{listener.getsockname()[1]}", "status_timeout_ms": 200, "heartbeat_s": 0.1}
    events = Events()
    made = Bench(printer, EscposPrinter(msgspec.convert(fields | options, EscposOptions), events), events)
    try:
        yield made
    finally:
        made.running.cancel()
        await asyncio.wait({made.running})
        for connection in printer.connections:
            connection.close()
        server.close()
        await server.wait_closed()


async def test_it_is_a_driver_a_printer_and_a_document_printer() -> None:
    driver = EscposPrinter(EscposOptions(connect="tcp://printer.local:9100"), Events())
    assert isinstance(driver, Driver)
    assert isinstance(driver, Printer)
    assert isinstance(driver, DocumentPrinter)
    assert b"Gr\x81\xe1e" in driver.render(Document(lines=(Text(text="Grüße"),)))


async def test_it_says_online_and_how_it_is_when_the_link_opens() -> None:
    async with bench() as it:
        await it.events.status(READY)
        assert it.events.onlines == [Online("answers status requests")]
        assert it.printer.received.startswith(commands.ENABLE_ASB + QUESTIONS)
        assert await it.driver.status() == READY
        assert it.events.statuses == [READY]


async def test_online_comes_before_a_status_that_was_pushed_first() -> None:
    printer = FakePrinter()
    printer.block = bytes.fromhex("10000000")
    async with bench(printer) as it:
        await it.events.status(READY)
        assert it.events.all == [Online("answers status requests"), READY]


async def test_paper_out_is_pushed_and_its_end_too() -> None:
    async with bench(heartbeat_s=60) as it:
        await it.events.status(READY)
        it.printer.push(bytes.fromhex("18000F00"))
        await it.events.status(NO_PAPER)
        it.printer.push(bytes.fromhex("10000000"))
        await it.events.status(READY)


async def test_the_heartbeat_notices_what_nobody_pushed() -> None:
    async with bench() as it:
        await it.events.status(READY)
        it.printer.no_paper()
        await it.events.status(NO_PAPER)
        assert NO_PAPER.can_print is False


async def test_a_job_arrives_whole_with_no_question_inside() -> None:
    async with bench() as it:
        await it.events.status(READY)
        job = b"receipt\n" * 100_000
        await it.driver.write(job)
        await it.printer.until(lambda: job in it.printer.received)
        after = it.printer.received.index(job) + len(job)
        await it.printer.until(lambda: it.printer.received[after:].startswith(commands.ENABLE_ASB))


async def test_jobs_go_out_one_after_the_other() -> None:
    async with bench() as it:
        await it.events.status(READY)
        jobs = [bytes((65 + n,)) * 50_000 for n in range(4)]
        await asyncio.gather(*map(it.driver.write, jobs))
        await it.printer.until(lambda: len(it.printer.printed) == 200_000)
        assert it.printer.printed == b"".join(jobs)


async def test_nothing_is_done_while_there_is_no_link() -> None:
    driver = EscposPrinter(EscposOptions(connect="tcp://127.0.0.1:1"), Events())
    for call in (driver.write(b"x"), driver.status(), driver.kick(2)):
        with pytest.raises(DeviceOffline):
            await call
    with pytest.raises(DeviceOffline):
        await driver.run()


async def test_i09_a_stalled_printer_ends_the_job_in_its_time_and_the_link_with_it() -> None:
    async with bench(write_timeout_s=0.5, heartbeat_s=60) as it:
        await it.events.status(READY)
        it.printer.reads = False
        with pytest.raises(DeviceFault, match="only part of a job"):
            await it.driver.write(bytes(20_000_000))
        assert isinstance(await it.failure(), DeviceFault)


async def test_a_stalled_job_keeps_the_drawer_shut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(escpos, "PULSE_WAIT_S", 0.1)
    async with bench(write_timeout_s=1, heartbeat_s=60) as it:
        await it.events.status(READY)
        it.printer.reads = False
        job = asyncio.create_task(it.driver.write(bytes(20_000_000)))
        # Tasks start in the order they were made: the job has the link before the pulse asks for it.
        pulse = asyncio.create_task(it.driver.kick(2))
        with pytest.raises(DeviceTimeout, match="the drawer was not opened"):
            await pulse
        with pytest.raises(DeviceFault):
            await job


async def test_a_job_given_up_half_way_is_not_continued_by_the_next() -> None:
    async with bench(write_timeout_s=30, heartbeat_s=60) as it:
        await it.events.status(READY)
        it.printer.reads = False
        job = asyncio.create_task(it.driver.write(bytes(20_000_000)))
        await asyncio.wait({job}, timeout=0.2)
        job.cancel()
        assert isinstance(await it.failure(), DeviceFault)
        with pytest.raises(DeviceOffline):
            await it.driver.write(b"next")


async def test_a_link_closed_for_idleness_comes_back_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(escpos, "QUIET_CLOSE_AFTER_S", 0.0)
    async with bench() as it:
        await it.events.status(READY)
        before = list(it.events.all)
        it.printer.connections[0].close()
        await it.printer.until(lambda: len(it.printer.connections) == 2)
        assert await it.driver.status() == READY
        await it.driver.write(b"still here")
        await it.printer.until(lambda: b"still here" in it.printer.printed)
        assert it.events.all == before


async def test_a_link_closed_at_once_is_offline() -> None:
    async with bench() as it:
        await it.events.status(READY)
        it.printer.connections[0].close()
        assert isinstance(await it.failure(), DeviceOffline)


async def test_a_printer_that_is_switched_off_between_jobs_is_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(escpos, "QUIET_CLOSE_AFTER_S", 0.0)
    async with bench() as it:
        await it.events.status(READY)
        it.printer.silent()
        it.printer.connections[0].close()
        failure = await it.failure()
        assert isinstance(failure, DeviceTimeout)


async def test_a_dead_printer_cannot_say_and_is_then_gone() -> None:
    async with bench() as it:
        await it.events.status(READY)
        it.printer.silent()
        assert isinstance(await it.failure(), DeviceTimeout)
        assert it.events.statuses == [READY, PrinterStatus()]
        assert it.events.statuses[-1].can_print is None


async def test_a_printer_that_never_answers_prints_and_cannot_say() -> None:
    printer = FakePrinter()
    printer.silent()
    async with bench(printer, status_timeout_ms=50) as it:
        await it.events.status(PrinterStatus())
        assert it.events.onlines == [Online("cannot say whether it has paper")]
        assert await it.driver.status() is None
        await it.driver.write(b"receipt")
        await it.driver.kick(2)
        await printer.until(lambda: printer.printed == b"receipt" + commands.drawer_pulse(2))
        assert not it.running.done()


async def test_a_question_a_printer_does_not_know_is_not_taken_for_the_next() -> None:
    printer = FakePrinter()
    printer.replies = {1: b"\x12", 4: b"\x7e"}
    async with bench(printer, status_timeout_ms=50) as it:
        expected = PrinterStatus(online=True, drawer_pin_high=False, paper_out=True, paper_low=True)
        await it.events.status(expected)
        assert await it.driver.status() == expected
        assert printer.received.count(commands.status_request(2)) == 1


async def test_status_none_sends_jobs_and_nothing_else() -> None:
    async with bench(status="none") as it:
        await it.events.status(PrinterStatus())
        await it.driver.write(b"receipt")
        await it.printer.until(lambda: b"receipt" in it.printer.received)
        assert await it.driver.status() is None
        assert it.printer.received == b"receipt"


@pytest.mark.parametrize("pin", [2, 5])
async def test_the_drawer_is_pulsed_in_its_turn(pin: int) -> None:
    async with bench() as it:
        await it.events.status(READY)
        await asyncio.gather(it.driver.write(b"receipt"), it.driver.kick(pin))
        await it.printer.until(lambda: it.printer.printed == b"receipt" + commands.drawer_pulse(pin))


async def test_without_paper_the_pulse_goes_out_in_real_time() -> None:
    async with bench(heartbeat_s=60) as it:
        await it.events.status(READY)
        # Nobody has noticed yet when the drawer is asked for.
        it.printer.no_paper()
        await it.driver.kick(5)
        await it.printer.until(lambda: it.printer.printed == bytes.fromhex("1014010101"))


async def test_a_printer_fallen_silent_gets_no_pulse_that_could_come_late() -> None:
    async with bench(heartbeat_s=60) as it:
        await it.events.status(READY)
        it.printer.silent()
        with pytest.raises(DeviceTimeout, match="the drawer was not opened"):
            await it.driver.kick(2)
        assert it.printer.printed == b""


async def test_a_pulse_whose_caller_gave_up_behind_a_job_is_not_sent_later() -> None:
    async with bench(heartbeat_s=60) as it:
        await it.events.status(READY)
        async with it.driver._lock:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await it.driver.kick(2)
        await it.driver.write(b"next")
        await it.printer.until(lambda: it.printer.printed == b"next")


async def test_a_pulse_whose_caller_gave_up_during_the_question_is_not_sent_later() -> None:
    async with bench(heartbeat_s=60, status_timeout_ms=5_000) as it:
        await it.events.status(READY)
        it.printer.silent()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await it.driver.kick(2)
        # The answer comes after all, and a job behind it shows what went before.
        it.printer.push(b"\x12" * 4)
        await it.driver.write(b"next")
        await it.printer.until(lambda: it.printer.printed == b"next")


async def test_a_pulse_that_is_stuck_here_when_its_caller_gives_up_is_thrown_away() -> None:
    async with bench(heartbeat_s=60, status="none") as it:
        await it.events.status(PrinterStatus())
        it.printer.reads = False
        link = it.driver._link
        assert link is not None
        while not link.unsent_bytes:
            link.write(bytes(64 * 1024))
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await it.driver.kick(2)
        assert link.unsent_bytes == 0
        assert isinstance(await it.failure(), DeviceFault)


async def test_a_pulse_is_sent_within_two_seconds_or_not_at_all() -> None:
    assert escpos.PULSE_WAIT_S + escpos.PULSE_SEND_S <= 2
    async with bench(heartbeat_s=60, status_timeout_ms=10_000) as it:
        await it.events.status(READY)
        it.printer.silent()
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(DeviceTimeout, match="the drawer was not opened"):
            await it.driver.kick(2)
        assert asyncio.get_running_loop().time() - began_s < 2
        assert it.printer.printed == b""


async def test_noise_is_reported_and_survived() -> None:
    async with bench() as it:
        await it.events.status(READY)
        it.printer.push(b"\xffHello")
        await it.events.until(lambda: sum(e.byte_count for e in it.events.all if isinstance(e, Noise)) == 6)
        assert await it.driver.status() == READY


async def test_the_same_status_is_told_again_after_the_device_was_gone() -> None:
    async with bench() as it:
        await it.events.status(READY)
        it.running.cancel()
        await asyncio.wait({it.running})
        it.running = asyncio.create_task(it.driver.run())
        await it.events.until(lambda: it.events.statuses == [READY, READY])


async def test_it_works_on_a_serial_line_too() -> None:
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    printer, events = FakePrinter(), Events()
    loop = asyncio.get_running_loop()
    loop.add_reader(ours, lambda: printer.take(os.read(ours, 4096), lambda data: os.write(ours, data)))
    driver = EscposPrinter(EscposOptions(connect=f"serial://{os.ttyname(theirs)}?baud=19200"), events)
    running = asyncio.create_task(driver.run())
    try:
        await events.status(READY)
        await driver.write(b"receipt")
        await printer.until(lambda: printer.printed == b"receipt")
    finally:
        running.cancel()
        await asyncio.wait({running})
        loop.remove_reader(ours)
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"connect": "printer.local"}, "write tcp://HOST:9100"),
        ({"connect": "tcp://printer.local"}, "write tcp://HOST:9100"),
        ({"connect": "tcp://a..b:9100"}, "write tcp://HOST:9100"),
        ({"connect": f"tcp://{'x' * 64}.local:9100"}, "write tcp://HOST:9100"),
        ({"connect": "tcp://printer.local:99999"}, "ports are 1 to 65535"),
        ({"connect": "tcp://printer.local:65536"}, "ports are 1 to 65535"),
        ({"connect": "tcp://printer.local:0"}, "ports are 1 to 65535"),
        ({"connect": "/dev/ttyUSB0", "profile": "TM-T88"}, "did you mean TM-T88"),
        ({"connect": "/dev/ttyUSB0", "heartbeat_s": 0}, "$.heartbeat_s"),
        ({"connect": "/dev/ttyUSB0", "baud": 9600}, "baud"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], advice: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(options, EscposOptions)
    assert advice in str(refused.value)

from __future__ import annotations

import asyncio
import base64
import io

import msgspec
import pytest
from PIL import Image

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout, DriverError, PrinterStatus
from gateway.config.schema import Limits
from gateway.domain import events as e
from gateway.domain.reasons import Reason
from gateway.flows.printing import LOOK_AGAIN_S, PrintFlow
from gateway.store.journal import StorageUnavailable
from tests.gateway.fakes import COVER_OPEN, FINE, PAPER_OUT, Disk, FakePrinter, settle
from tests.gateway.flows.house import House

HOLD_S = 900.0


class Bar:
    """A house with one printer, `bar-printer`."""

    def __init__(self, *, disk: Disk | None = None, says: PrinterStatus | None = FINE, jobs: int = 50) -> None:
        self.house = House(disk, seed=2 if disk else 1)
        self.journal = self.house.journal
        self.printer = FakePrinter(says)
        limits = Limits(print_queue_jobs=jobs, print_hold_s=HOLD_S)
        self.flow = PrintFlow("bar-printer", self.house.recorder, self.printer, limits, in_thread=self._render)
        self.house.serve("bar-printer", self.flow.handlers())
        self.rendering: asyncio.Event | None = None

    async def _render(self, work: object) -> bytes:
        if self.rendering is not None:
            await self.rendering.wait()
        return work()

    async def start(self) -> Bar:
        self.house.settle_the_past()
        self.worker = self.house.spawn(self.flow.run())
        await settle()
        return self

    def print(self, text: str, **fields: object) -> object:
        document = {"lines": [{"type": "text", "text": text}]}
        return self.house.ask("bar-printer", "print", {"document": document}, **{"id": text} | fields)

    def says(self, status: PrinterStatus | None) -> None:
        """The printer tells of a change by itself."""
        self.printer.says = status
        self.flow.printer_changed(status)

    def unplug(self) -> None:
        self.printer.online = False
        self.flow.printer_changed()

    def plug_in(self) -> None:
        self.printer.online = True
        self.flow.printer_changed()

    def job(self, request_id: str) -> str:
        return next(event.job for event in self.queued() if event.request.id == request_id)

    def queued(self) -> list[e.PrintQueued]:
        return [event for event in self.house.events if isinstance(event, e.PrintQueued)]

    def kinds(self) -> list[str]:
        return [kind.removeprefix("Print") for kind in self.house.kinds()]

    def last(self) -> e.AnyEvent:
        return self.house.events[-1]


# The plain story.


async def test_a_receipt_is_accepted_printed_and_confirmed() -> None:
    bar = await Bar().start()
    assert bar.print("Danke", id="r1") is None, "the answer comes out of the journal"
    await settle()
    await asyncio.sleep(1)
    assert bar.printer.written == [b"Danke"]
    assert bar.kinds() == ["Queued", "Started", "Done"]
    assert bar.last().confirmed
    assert bar.house.statuses("r1") == ["accepted", "done"]
    assert bar.printer.asked == 2, "once before and once after"


async def test_receipts_are_printed_in_the_order_they_came() -> None:
    bar = await Bar().start()
    for text in ("one", "two", "three"):
        bar.print(text)
    await asyncio.sleep(1)
    assert bar.printer.written == [b"one", b"two", b"three"]
    assert bar.kinds().count("Done") == 3


async def test_raw_bytes_are_printed_as_they_are() -> None:
    bar = await Bar().start()
    data = {"data": base64.b64encode(b"\x1b@hello").decode()}
    assert bar.house.ask("bar-printer", "print_raw", data) is None
    await asyncio.sleep(1)
    assert bar.printer.written == [b"\x1b@hello"]
    assert bar.queued()[0].content == "raw"


async def test_the_job_is_stored_with_its_content_and_a_digest_of_it() -> None:
    bar = await Bar().start()
    bar.print("Danke")
    await settle()
    [queued] = bar.queued()
    content = bar.journal.disk.attachments[queued.job]
    assert msgspec.json.decode(content)["lines"][0]["text"] == "Danke"
    assert queued.size_bytes == len(content)
    assert len(queued.digest) == 64
    assert queued.client == "bar-tablet"


# I1: the disk first.


async def test_i01_nothing_is_written_before_the_start_is_on_disk() -> None:
    bar = await Bar().start()
    bar.journal.hold()
    bar.print("Danke")
    await asyncio.sleep(10)
    assert bar.printer.written == []
    assert bar.house.told == [], "and nothing is answered either"
    bar.journal.release()
    await asyncio.sleep(1)
    assert bar.printer.written == [b"Danke"]


async def test_i01_at_the_first_byte_the_start_is_on_disk() -> None:
    bar = await Bar().start()
    on_disk: list[bytes] = []
    bar.printer.on_write = lambda: on_disk.extend(row.body for row in bar.journal.disk.rows)
    bar.print("Danke")
    await asyncio.sleep(1)
    assert b"print.started" in on_disk[-1]
    assert len(on_disk) == 2


async def test_i01_a_job_that_could_not_be_stored_is_not_printed() -> None:
    bar = await Bar().start()
    bar.journal.fail()
    bar.print("lost")
    await asyncio.sleep(1)
    assert bar.printer.written == []
    assert bar.print("refused").reason is Reason.STORAGE_UNAVAILABLE

    bar.house.recorder.recover()
    bar.flow.look_again()
    bar.print("works again")
    await asyncio.sleep(1)
    assert bar.printer.written == [b"works again"]


async def test_i01_a_start_that_could_not_be_stored_prints_nothing_until_it_can() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    bar.print("Danke")
    await settle()
    await asyncio.sleep(1)
    bar.journal.fail()
    bar.says(FINE)
    await asyncio.sleep(1)
    assert bar.printer.written == []

    bar.house.recorder.recover()
    bar.flow.look_again()
    await asyncio.sleep(1)
    assert bar.printer.written == [b"Danke"]
    assert bar.house.statuses("Danke")[-1] == "done"


async def test_an_outcome_that_could_not_be_stored_leaves_the_queue_alive() -> None:
    bar = await Bar().start()
    bar.printer.on_write = bar.journal.fail
    bar.print("one")
    await asyncio.sleep(1)
    bar.printer.on_write = lambda: None
    bar.house.recorder.recover()
    bar.house.settle_the_past()
    bar.flow.look_again()
    bar.print("two")
    await asyncio.sleep(1)
    assert bar.printer.written == [b"one", b"two"]
    assert bar.house.statuses("one") == ["accepted", "unknown"]


async def test_an_outcome_that_comes_after_the_state_was_rebuilt_is_not_told_a_second_time() -> None:
    bar = await Bar().start()
    bar.printer.takes_bytes = asyncio.Event()
    bar.print("slow")
    await settle()
    await asyncio.sleep(1)
    bar.house.recorder.restore()
    bar.house.settle_the_past()
    bar.printer.takes_bytes.set()
    await asyncio.sleep(1)
    assert bar.house.statuses("slow") == ["accepted", "unknown"]


# I2: one request, one effect.


async def test_i02_the_same_request_twice_is_one_job() -> None:
    bar = await Bar().start()
    bar.print("Danke", id="r1")
    assert bar.print("Danke", id="r1") is None, "nothing of it is on disk yet"
    await asyncio.sleep(1)
    assert bar.print("Danke", id="r1").status == "done"
    assert bar.print("something else", id="r1").reason is Reason.IDEMPOTENCY_CONFLICT
    await asyncio.sleep(1)
    assert bar.printer.written == [b"Danke"]
    assert len(bar.queued()) == 1


async def test_i02_a_crash_amid_a_job_leaves_it_unknown_and_sends_nothing_again() -> None:
    bar = await Bar().start()
    bar.printer.takes_bytes = asyncio.Event()
    bar.print("half", id="r1")
    bar.print("next", id="r2")
    await asyncio.sleep(1)
    assert bar.printer.written == [b"half"]
    await bar.house.crash()

    after = await Bar(disk=bar.journal.disk).start()
    await asyncio.sleep(1)
    assert after.printer.written == [b"next"], "what waited goes on; what was cut off does not"
    assert after.house.statuses("r1") == ["unknown"]
    assert after.house.statuses("r2") == ["done"]
    assert after.print("half", id="r1").status == "unknown", "the same request gets the same answer"
    await asyncio.sleep(1)
    assert after.printer.written == [b"next"]


async def test_i02_a_crash_before_the_start_was_on_disk_prints_the_job_once_afterwards() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    bar.print("Danke")
    await asyncio.sleep(1)
    bar.journal.hold()
    bar.says(FINE)
    await asyncio.sleep(1)
    await bar.house.crash()
    assert bar.printer.written == []

    after = await Bar(disk=bar.journal.disk).start()
    await asyncio.sleep(1)
    assert after.printer.written == [b"Danke"]
    assert after.kinds() == ["Started", "Done"]


async def test_i02_jobs_that_waited_over_a_restart_keep_their_order() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    for text in ("one", "two", "three"):
        bar.print(text)
    await asyncio.sleep(1)
    bar.house.recorder.fold_if_due(force=True)
    await asyncio.sleep(1)
    await bar.house.crash()

    after = await Bar(disk=bar.journal.disk).start()
    await asyncio.sleep(1)
    assert after.printer.written == [b"one", b"two", b"three"]


async def test_a_queue_that_is_stopped_amid_a_job_says_that_nobody_knows() -> None:
    bar = await Bar().start()
    bar.printer.takes_bytes = asyncio.Event()
    bar.print("half")
    await asyncio.sleep(1)
    bar.worker.cancel()
    await asyncio.sleep(1)
    assert bar.house.statuses("half") == ["accepted", "unknown"]
    assert bar.house.state.jobs_for("bar-printer") == []


# The truth about the outcome.


async def test_a_printer_that_never_says_anything_prints_unconfirmed() -> None:
    bar = await Bar(says=None).start()
    bar.print("Danke")
    await asyncio.sleep(1)
    assert bar.kinds() == ["Queued", "Started", "Done"]
    assert not bar.last().confirmed


async def test_a_printer_that_says_too_little_prints_unconfirmed() -> None:
    bar = await Bar(says=PrinterStatus(online=True)).start()
    bar.print("Danke")
    await asyncio.sleep(1)
    assert not bar.last().confirmed


@pytest.mark.parametrize("after", [None, PAPER_OUT, COVER_OPEN, DeviceOffline("gone"), DeviceTimeout("slow")])
async def test_a_printer_that_is_not_fine_afterwards_leaves_the_job_unknown(
    after: PrinterStatus | Exception | None,
) -> None:
    bar = await Bar().start()
    bar.printer.will_say = [FINE, after]
    bar.print("Danke")
    await asyncio.sleep(1)
    assert bar.kinds() == ["Queued", "Started", "Unknown"]
    assert bar.house.statuses("Danke") == ["accepted", "unknown"]
    assert bar.printer.written == [b"Danke"]


async def test_a_printer_that_could_tell_earlier_and_is_silent_now_is_not_taken_for_fine() -> None:
    bar = await Bar().start()
    bar.says(FINE)
    bar.printer.says = None
    bar.print("Danke")
    await asyncio.sleep(1)
    assert bar.kinds() == ["Queued", "Started", "Unknown"]


@pytest.mark.parametrize(
    "error", [DeviceFault("broke off"), DeviceTimeout("no more"), TimeoutError(), DriverError("?")]
)
async def test_a_write_that_breaks_off_is_unknown_and_never_retried(error: Exception) -> None:
    bar = await Bar().start()
    bar.printer.write_error = error
    bar.print("half")
    await asyncio.sleep(1)
    assert bar.kinds() == ["Queued", "Started", "Unknown"]
    bar.printer.write_error = None
    bar.unplug()
    bar.plug_in()
    await asyncio.sleep(HOLD_S)
    assert bar.printer.written == []


async def test_a_driver_that_fails_in_an_unforeseen_way_stops_neither_queue_nor_daemon() -> None:
    bar = await Bar().start()
    bar.printer.write_error = ZeroDivisionError()
    bar.print("one")
    await asyncio.sleep(1)
    assert bar.house.statuses("one") == ["accepted", "unknown"]
    bar.printer.write_error = None
    bar.print("two")
    await asyncio.sleep(1)
    assert bar.printer.written == [b"two"]


# Held.


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (PAPER_OUT, "paper_out"),
        (COVER_OPEN, "cover_open"),
        (PrinterStatus(online=True, paper_out=False, error="cutter jammed"), "cutter jammed"),
        (PrinterStatus(online=False), "offline"),
    ],
)
async def test_a_printer_that_cannot_print_holds_the_job_and_says_why_once(status: PrinterStatus, why: str) -> None:
    bar = await Bar(says=status).start()
    bar.print("Danke")
    await asyncio.sleep(1)
    bar.flow.look_again()
    await asyncio.sleep(1)
    assert bar.kinds() == ["Queued", "Held"]
    assert bar.last().why == why
    assert bar.house.statuses("Danke") == ["accepted", "accepted"]
    assert bar.printer.written == []


async def test_new_paper_resumes_the_job_once() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    bar.print("Danke")
    await asyncio.sleep(60)
    bar.says(FINE)
    bar.says(FINE)
    await asyncio.sleep(60)
    bar.says(FINE)
    await asyncio.sleep(60)
    assert bar.printer.written == [b"Danke"]
    assert bar.kinds() == ["Queued", "Held", "Started", "Done"]


async def test_another_cause_is_told_too() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    bar.print("Danke")
    await asyncio.sleep(1)
    bar.says(COVER_OPEN)
    await asyncio.sleep(1)
    bar.says(FINE)
    await asyncio.sleep(1)
    assert [event.why for event in bar.house.events if isinstance(event, e.PrintHeld)] == ["paper_out", "cover_open"]
    assert bar.printer.written == [b"Danke"]


async def test_while_a_job_is_held_the_printer_is_not_polled() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    bar.print("Danke")
    await asyncio.sleep(1)
    asked = bar.printer.asked
    for _ in range(5):
        bar.flow.printer_changed(PAPER_OUT)
        await asyncio.sleep(60)
    assert bar.printer.asked <= asked + 1, "only the first word of the printer was news"


async def test_a_silent_printer_that_said_it_has_no_paper_is_held() -> None:
    bar = await Bar(says=None).start()
    bar.flow.printer_changed(PAPER_OUT)
    bar.print("Danke")
    await asyncio.sleep(1)
    assert bar.kinds() == ["Queued", "Held"]


async def test_what_a_printer_said_before_it_was_unplugged_no_longer_counts() -> None:
    bar = await Bar(says=None).start()
    bar.flow.printer_changed(PAPER_OUT)
    bar.unplug()
    bar.plug_in()
    bar.print("Danke")
    await asyncio.sleep(1)
    assert bar.printer.written == [b"Danke"]


async def test_an_unplugged_printer_holds_the_job_until_it_is_back() -> None:
    bar = await Bar().start()
    bar.unplug()
    bar.print("Danke")
    await asyncio.sleep(60)
    assert bar.kinds() == ["Queued", "Held"]
    assert bar.printer.asked == 0
    bar.plug_in()
    await asyncio.sleep(1)
    assert bar.printer.written == [b"Danke"]


async def test_a_link_that_is_gone_before_the_first_byte_puts_the_job_back() -> None:
    bar = await Bar().start()
    bar.printer.write_error = DeviceOffline("unplugged just now")
    bar.print("Danke")
    await settle()
    await asyncio.sleep(0.1)
    assert bar.kinds() == ["Queued", "Started", "Held"]
    bar.unplug()
    await asyncio.sleep(60)
    bar.printer.write_error = None
    bar.plug_in()
    await asyncio.sleep(1)
    assert bar.printer.written == [b"Danke"]
    assert bar.kinds() == ["Queued", "Started", "Held", "Started", "Done"]


async def test_a_link_that_is_renewed_without_a_word_is_tried_again_soon() -> None:
    bar = await Bar().start()
    bar.printer.will_say = [DeviceOffline("being renewed")]
    bar.print("Danke")
    await asyncio.sleep(LOOK_AGAIN_S / 2)
    assert bar.kinds() == ["Queued", "Held"]
    await asyncio.sleep(LOOK_AGAIN_S)
    assert bar.printer.written == [b"Danke"]


# Expiry.


async def test_i06_a_job_that_waited_too_long_is_not_printed() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    bar.print("Danke", expires_in_s=30)
    await asyncio.sleep(29.9)
    assert bar.kinds() == ["Queued", "Held"]
    await asyncio.sleep(0.2)
    assert bar.last().reason is Reason.JOB_EXPIRED
    bar.says(FINE)
    await asyncio.sleep(60)
    assert bar.printer.written == []
    assert bar.house.statuses("Danke") == ["accepted", "accepted", "failed"]


async def test_i06_a_job_without_a_time_of_its_own_expires_with_the_venues_limit() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    bar.print("short", expires_in_s=10 * HOLD_S)
    bar.print("usual")
    await asyncio.sleep(HOLD_S - 1)
    assert bar.kinds().count("Failed") == 0
    await asyncio.sleep(2)
    assert bar.kinds().count("Failed") == 2


async def test_i06_a_job_expires_in_time_behind_one_that_takes_long() -> None:
    bar = await Bar().start()
    bar.printer.takes_bytes = asyncio.Event()
    bar.print("slow")
    await settle()
    bar.print("late", expires_in_s=5)
    await asyncio.sleep(6)
    assert bar.house.statuses("late") == ["accepted", "failed"]
    bar.printer.takes_bytes.set()
    await asyncio.sleep(1)
    assert bar.house.statuses("slow") == ["accepted", "done"]
    assert bar.printer.written == [b"slow"]


async def test_i06_a_job_that_expired_while_the_disk_stored_its_start_is_not_printed() -> None:
    bar = await Bar().start()
    bar.journal.hold()
    bar.print("Danke", expires_in_s=5)
    bar.print("later", expires_in_s=60)
    await asyncio.sleep(6)
    bar.journal.release()
    await asyncio.sleep(1)
    assert bar.printer.written == [b"later"]
    assert bar.house.statuses("Danke") == ["accepted", "failed"]
    ended = next(event for event in bar.house.events if isinstance(event, e.PrintFailed))
    assert ended.reason is Reason.JOB_EXPIRED


async def test_i06_a_job_that_expired_while_the_gateway_was_down_is_not_printed() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    bar.print("Danke", expires_in_s=30)
    await asyncio.sleep(1)
    await bar.house.crash()
    after = Bar(disk=bar.journal.disk)
    after.house.clock.offset_ms = 60_000
    await after.start()
    await asyncio.sleep(1)
    assert after.printer.written == []
    assert after.last().reason is Reason.JOB_EXPIRED


async def test_i06_a_clock_that_jumps_ahead_expires_a_job_before_it_prints() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    bar.print("Danke", expires_in_s=30)
    await asyncio.sleep(1)
    bar.house.clock.offset_ms = 3_600_000
    bar.says(FINE)
    await asyncio.sleep(1)
    assert bar.printer.written == []
    assert bar.last().reason is Reason.JOB_EXPIRED


async def test_an_expiry_that_cannot_be_stored_does_not_spin() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    bar.print("Danke", expires_in_s=5)
    await asyncio.sleep(1)
    bar.journal.failed = StorageUnavailable("full")
    asked = bar.printer.asked
    await asyncio.sleep(20)
    assert bar.printer.asked - asked <= 40
    bar.journal.failed = None
    await asyncio.sleep(2)
    assert bar.last().reason is Reason.JOB_EXPIRED


# Cancel and reprint.


async def test_a_waiting_job_can_be_cancelled() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    bar.print("Danke")
    await asyncio.sleep(1)
    assert bar.house.ask("bar-printer", "cancel", {"job": bar.job("Danke")}, id="c1") is None
    await asyncio.sleep(1)
    assert bar.house.statuses("c1") == ["done"]
    assert bar.house.statuses("Danke")[-1] == "failed"
    assert bar.last().reason is Reason.JOB_CANCELLED
    bar.says(FINE)
    await asyncio.sleep(1)
    assert bar.printer.written == []


async def test_i01_a_cancel_is_answered_only_when_it_is_on_disk() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    bar.print("Danke")
    await asyncio.sleep(1)
    bar.journal.hold()
    bar.house.ask("bar-printer", "cancel", {"job": bar.job("Danke")}, id="c1")
    await asyncio.sleep(1)
    assert bar.house.statuses("c1") == []
    bar.journal.release()
    await asyncio.sleep(1)
    assert bar.house.statuses("c1") == ["done"]


async def test_a_job_that_prints_or_is_over_cannot_be_cancelled() -> None:
    bar = await Bar().start()
    bar.printer.takes_bytes = asyncio.Event()
    bar.print("Danke")
    await asyncio.sleep(1)
    cancel = {"job": bar.job("Danke")}
    assert bar.house.ask("bar-printer", "cancel", cancel, id="c1").reason is Reason.WRONG_JOB_STATE
    bar.printer.takes_bytes.set()
    await asyncio.sleep(1)
    assert bar.house.ask("bar-printer", "cancel", cancel, id="c2").reason is Reason.WRONG_JOB_STATE
    assert bar.last().confirmed


async def test_a_job_cancelled_while_the_printer_is_asked_is_not_printed() -> None:
    bar = await Bar().start()
    cancels: list[object] = []

    def cancel() -> None:
        job = next(iter(bar.house.state.jobs))
        cancels.append(bar.house.ask("bar-printer", "cancel", {"job": job}, id="c1"))

    bar.printer.on_ask = cancel
    bar.print("Danke")
    await asyncio.sleep(1)
    assert cancels == [None]
    assert bar.printer.written == []
    assert bar.kinds() == ["Queued", "Cancelled", "Failed"]


async def test_a_reprint_is_a_new_job_marked_as_a_copy() -> None:
    bar = await Bar().start()
    bar.print("Danke")
    await asyncio.sleep(1)
    original = bar.job("Danke")
    assert bar.house.ask("bar-printer", "reprint", {"job": original}, id="again") is None
    await asyncio.sleep(1)
    assert bar.printer.written == [b"Danke", b"[KOPIE]\nDanke"]
    copy = bar.queued()[1]
    assert copy.copy_of == original
    assert copy.job != original
    assert bar.house.statuses("again") == ["accepted", "done"]


async def test_a_copy_of_raw_bytes_has_its_mark_on_top() -> None:
    bar = await Bar().start()
    bar.house.ask("bar-printer", "print_raw", {"data": base64.b64encode(b"RAW").decode()}, id="raw")
    await asyncio.sleep(1)
    bar.house.ask("bar-printer", "reprint", {"job": bar.job("raw")}, id="again")
    await asyncio.sleep(1)
    copy = bar.printer.written[1]
    assert b"*** KOPIE ***" in copy
    assert copy.endswith(b"RAW")


async def test_unknown_and_failed_jobs_can_be_asked_for_again() -> None:
    bar = await Bar().start()
    bar.printer.write_error = DeviceFault("broke off")
    bar.print("unknown")
    await asyncio.sleep(1)
    bar.printer.write_error = None
    bar.says(PAPER_OUT)
    bar.print("failed", expires_in_s=5)
    await asyncio.sleep(10)
    bar.says(FINE)
    for name in ("unknown", "failed"):
        assert bar.house.ask("bar-printer", "reprint", {"job": bar.job(name)}, id=f"again-{name}") is None
    await asyncio.sleep(1)
    assert bar.printer.written == [b"[KOPIE]\nunknown", b"[KOPIE]\nfailed"]


async def test_a_job_that_still_waits_is_not_copied() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    bar.print("Danke")
    await asyncio.sleep(1)
    answer = bar.house.ask("bar-printer", "reprint", {"job": bar.job("Danke")}, id="again")
    assert answer.reason is Reason.WRONG_JOB_STATE


@pytest.mark.parametrize("verb", ["reprint", "cancel"])
async def test_a_job_of_another_printer_or_of_none_is_unknown(verb: str) -> None:
    bar = await Bar().start()
    other = e.PrintQueued(job="j", printer="other", client="c", content="raw", size_bytes=1, digest="d")
    bar.house.recorder.record(other)
    assert bar.house.ask("bar-printer", verb, {"job": "j"}, id="a").reason is Reason.UNKNOWN_JOB
    assert bar.house.ask("bar-printer", verb, {"job": "never"}, id="b").reason is Reason.UNKNOWN_JOB


async def test_a_reprint_of_a_job_whose_content_is_gone_is_refused() -> None:
    bar = await Bar().start()
    bar.print("Danke")
    await asyncio.sleep(1)
    bar.journal.disk.attachments.clear()
    assert bar.house.ask("bar-printer", "reprint", {"job": bar.job("Danke")}, id="x").reason is Reason.UNKNOWN_JOB


async def test_a_job_whose_content_is_gone_fails_and_the_next_one_prints() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    bar.print("lost")
    bar.print("kept")
    await asyncio.sleep(1)
    del bar.journal.disk.attachments[bar.job("lost")]
    bar.says(FINE)
    await asyncio.sleep(1)
    assert bar.house.statuses("lost")[-1] == "failed"
    assert bar.printer.written == [b"kept"]


# Bad input and bounds.


async def test_i09_a_full_queue_is_busy_at_once() -> None:
    bar = await Bar(says=PAPER_OUT, jobs=2).start()
    assert bar.print("one") is None
    assert bar.print("two") is None
    answer = bar.print("three")
    assert (answer.status, answer.reason) == ("denied", Reason.BUSY)
    await asyncio.sleep(1)
    bar.says(FINE)
    await asyncio.sleep(1)
    assert bar.print("three") is None, "a refusal does not use up the id"


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({"lines": []}, "data.document.lines"),
        ({"lines": [{"type": "text", "text": "ok"}, {"type": "text", "text": 5}]}, "data.document.lines[1].text"),
        ({"lines": [{"type": "shout", "text": "x"}]}, "data.document.lines[0].type"),
        ({"lines": [{"type": "text", "text": "x", "colour": "red"}]}, "colour"),
        ({"lines": [{"type": "cut"}, {"type": "text", "text": "\x1bp"}]}, "data.document.lines[1]"),
        ({"lines": [{"type": "barcode", "symbology": "ean13", "data": "123"}]}, "data.document.lines[0]"),
        ("not a document", "data.document"),
    ],
)
async def test_a_wrong_document_is_refused_and_the_block_is_named(document: object, word: str) -> None:
    bar = await Bar().start()
    answer = bar.house.ask("bar-printer", "print", {"document": document})
    assert (answer.status, answer.reason) == ("denied", Reason.MALFORMED)
    assert word in answer.message
    await asyncio.sleep(1)
    assert bar.house.events == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"document":' + b'{"lines":[' * 5_000, b"[" * 100_000, b"\xff"])
async def test_broken_json_is_refused(raw: bytes) -> None:
    bar = await Bar().start()
    assert bar.house.ask("bar-printer", "print", raw=raw).reason is Reason.MALFORMED


@pytest.mark.parametrize("data", [{"data": "%%%"}, {"data": ""}, {}, {"data": "QQ==", "more": 1}])
async def test_raw_bytes_that_are_no_base64_are_refused(data: object) -> None:
    bar = await Bar().start()
    assert bar.house.ask("bar-printer", "print_raw", data).reason is Reason.MALFORMED


def png(side: int) -> str:
    file = io.BytesIO()
    Image.new("1", (side, side), 1).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


async def test_a_document_with_a_picture_is_printed() -> None:
    bar = await Bar().start()
    document = {"lines": [{"type": "image", "png": png(8)}]}
    bar.house.ask("bar-printer", "print", {"document": document})
    await asyncio.sleep(1)
    assert b"[image]" in bar.printer.written[0]


@pytest.mark.parametrize("picture", [base64.b64encode(b"no picture").decode(), png(2_000)])
async def test_a_picture_that_cannot_be_printed_fails_and_names_its_block(picture: str) -> None:
    bar = await Bar().start()
    document = {"lines": [{"type": "cut"}, {"type": "image", "png": picture}]}
    bar.house.ask("bar-printer", "print", {"document": document}, id="bad")
    bar.print("good")
    await asyncio.sleep(1)
    failed = next(event for event in bar.house.events if isinstance(event, e.PrintFailed))
    assert failed.reason is Reason.MALFORMED
    assert "lines[1]" in failed.message
    assert bar.printer.written == [b"good"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(DeviceFault("cannot read it"), Reason.MALFORMED), (ZeroDivisionError(), Reason.DEVICE_FAULT)],
)
async def test_a_receipt_that_cannot_be_rendered_fails_and_the_next_one_prints(
    error: Exception, reason: Reason
) -> None:
    bar = await Bar().start()
    bar.printer.render_error = error
    bar.print("bad")
    await asyncio.sleep(1)
    assert bar.last().reason is reason
    bar.printer.render_error = None
    bar.print("good")
    await asyncio.sleep(1)
    assert bar.printer.written == [b"good"]


# Status.


async def test_the_status_says_what_is_known_and_what_waits() -> None:
    bar = await Bar(says=PAPER_OUT).start()
    bar.says(PAPER_OUT)
    bar.print("Danke")
    await asyncio.sleep(1)
    answer = bar.house.ask("bar-printer", "status", id="s1")
    assert answer.status == "done"
    assert answer.data["connected"] is True
    assert answer.data["printer"] == {"online": True, "cover_open": False, "paper_out": True}
    assert [(job["status"], job["why"]) for job in answer.data["jobs"]] == [("held", "paper_out")]
    bar.unplug()
    later = bar.house.ask("bar-printer", "status", id="s1")
    assert (later.data["connected"], later.data["printer"]) == (False, {})


# I8: nobody waits for another's printer.


async def test_i08_a_dead_printer_delays_no_other() -> None:
    bar = await Bar().start()
    bar.printer.takes_bytes = asyncio.Event()
    other = FakePrinter()
    flow = PrintFlow("door-printer", bar.house.recorder, other, Limits(), in_thread=bar._render)
    bar.house.spawn(flow.run())
    bar.print("stuck")
    await asyncio.sleep(1)
    bar.house.serve("door-printer", flow.handlers())
    document = {"lines": [{"type": "text", "text": "free"}]}
    bar.house.ask("door-printer", "print", {"document": document}, id="d1")
    await asyncio.sleep(1)
    assert other.written == [b"free"]
    assert bar.house.statuses("stuck") == ["accepted"]


async def test_i08_pictures_are_looked_at_in_a_thread_and_not_in_the_loop_that_opens_gates() -> None:
    bar = await Bar().start()
    bar.rendering = asyncio.Event()
    document = {"lines": [{"type": "image", "png": png(2_000)}]}
    assert bar.house.ask("bar-printer", "print", {"document": document}, id="big") is None
    await asyncio.sleep(1)
    assert bar.house.statuses("big") == ["accepted"], "nobody has looked at the picture yet"
    bar.rendering.set()
    await asyncio.sleep(1)
    assert bar.house.statuses("big") == ["accepted", "failed"]


async def test_i08_rendering_really_runs_in_a_thread_by_default() -> None:
    bar = Bar()
    flow = PrintFlow("bar-printer", bar.house.recorder, bar.printer, Limits())
    bar.house.serve("bar-printer", flow.handlers())
    worker = bar.house.spawn(flow.run())
    written = asyncio.Event()
    bar.printer.on_write = written.set
    bar.print("Danke")
    await written.wait()
    worker.cancel()
    assert bar.printer.written == [b"Danke"]


# Too much at once, and another configuration.


async def test_i09_a_queue_goes_on_after_the_journal_was_full() -> None:
    bar = await Bar().start()
    bar.printer.on_ask = lambda: setattr(bar.journal, "busy", True)
    bar.print("one")
    await asyncio.sleep(LOOK_AGAIN_S / 2)
    assert bar.printer.written == [], "its start could not be recorded"
    bar.printer.on_ask = lambda: setattr(bar.journal, "busy", False)
    await asyncio.sleep(LOOK_AGAIN_S)
    assert len(bar.printer.written) == 1


async def test_i09_a_full_queue_refuses_no_outcome() -> None:
    bar = await Bar().start()
    bar.printer.on_write = lambda: setattr(bar.journal, "busy", True)
    bar.print("one")
    await asyncio.sleep(1)
    assert bar.house.kinds() == ["PrintQueued", "PrintStarted", "PrintDone"]


async def test_new_limits_hold_from_the_next_job_on() -> None:
    bar = await Bar(says=PAPER_OUT, jobs=1).start()
    bar.print("one")
    assert bar.print("two").reason is Reason.BUSY
    bar.flow.configure(Limits(print_queue_jobs=2, print_hold_s=5.0))
    assert bar.print("three") is None
    await asyncio.sleep(6)
    assert [job.queued.request.id for job in bar.house.state.jobs.values() if job.open] == ["one"]

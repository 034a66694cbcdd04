from __future__ import annotations

import asyncio
from typing import Literal

import msgspec
import pytest

from gateway.domain import events as e
from gateway.domain.answers import Answer, denied
from gateway.domain.reasons import Reason
from gateway.flows.desk import Handler, RefusedRequest, Request, read_data
from gateway.store.journal import JournalBusy, StorageUnavailable
from tests.gateway.domain.samples import sample
from tests.gateway.fakes import settle
from tests.gateway.flows.house import House, request


class Counter:
    """A house whose desk serves two targets that note what they were asked."""

    def __init__(self) -> None:
        self.house = House()
        self.taken: list[Request] = []
        self.trouble: Exception | None = None
        handlers = {
            "bar-printer": {"print": Handler(self.take), "status": Handler(self.tell, repeatable=True)},
            "till": {"open": Handler(self.take, moves_metal=True)},
            "north": {"authenticate": Handler(self.take)},
        }
        grants = {
            "bar-tablet": {"bar-printer": frozenset({"print", "status"}), "till": frozenset({"open"})},
            "kiosk": {"bar-printer": frozenset({"status", "reprint"}), "gone": frozenset({"print"})},
        }
        self.house.desk.configure(handlers, grants, 60_000)

    def take(self, asked: Request) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.taken.append(asked)
        name = f"job-{len(self.taken)}"
        self.house.recorder.record(sample(e.PrintQueued, job=name, request=asked.ref, copy_of=None))

    def tell(self, asked: Request) -> Answer:
        self.taken.append(asked)
        return Answer("done", None, "", {"number": len(self.taken)})

    def ask(self, target: str, verb: str, **fields: object) -> Answer | None:
        return self.house.desk.handle(request(target, verb, **fields))


async def test_a_granted_request_is_handed_on_and_answered_by_the_journal() -> None:
    counter = Counter()
    assert counter.ask("bar-printer", "print") is None
    await settle()
    assert [asked.verb for asked in counter.taken] == ["print"]
    assert counter.house.statuses() == ["accepted"]


# I7: grants.


@pytest.mark.parametrize(
    ("client", "target", "verb", "reason"),
    [
        ("bar-tablet", "bar-printer", "print_raw", Reason.UNKNOWN_VERB),
        ("kiosk", "bar-printer", "print", Reason.NOT_GRANTED),
        ("kiosk", "bar-printer", "reprint", Reason.UNKNOWN_VERB),
        ("kiosk", "till", "open", Reason.NOT_GRANTED),
        ("kiosk", "gone", "print", Reason.UNKNOWN_TARGET),
        ("kiosk", "nowhere", "open", Reason.UNKNOWN_TARGET),
        ("stranger", "till", "open", Reason.NOT_GRANTED),
        ("", "till", "open", Reason.NOT_GRANTED),
    ],
)
async def test_i07_a_client_can_do_only_what_it_is_granted(client: str, target: str, verb: str, reason: Reason) -> None:
    counter = Counter()
    answer = counter.ask(target, verb, client=client, expires_in_s=5)
    assert (answer.status, answer.reason) == ("denied", reason)
    await settle()
    assert counter.taken == []
    assert counter.house.events == []


async def test_i07_a_client_without_grants_learns_nothing_of_what_else_there_is() -> None:
    counter = Counter()
    known, unknown = counter.ask("till", "open", client="stranger"), counter.ask("tilt", "open", client="stranger")
    assert "bar-printer" not in known.message + unknown.message
    assert "till" not in unknown.message.replace("tilt", "")


async def test_i07_a_grant_taken_away_counts_at_once() -> None:
    counter = Counter()
    assert counter.ask("bar-printer", "print", id="r1") is None
    counter.house.desk.configure({"bar-printer": {"print": Handler(counter.take)}}, {}, 60_000)
    assert counter.ask("bar-printer", "print", id="r2").reason is Reason.NOT_GRANTED


async def test_i07_one_clients_answer_is_not_anothers() -> None:
    counter = Counter()
    counter.ask("bar-printer", "print", id="r1")
    await settle()
    assert counter.ask("bar-printer", "print", id="r1", client="stranger").reason is Reason.NOT_GRANTED


async def test_a_misspelt_target_or_verb_is_told_the_nearest_that_is_granted() -> None:
    counter = Counter()
    assert "bar-printer" in counter.ask("bar-primter", "print").message
    assert "Did you mean print?" in counter.ask("bar-printer", "prnt").message


async def test_an_unknown_target_of_enormous_length_is_cut_in_the_answer() -> None:
    assert len(Counter().ask("x" * 10_000, "print").message) < 300


# I6: time.


@pytest.mark.parametrize(
    ("expires_in_s", "reason"),
    [
        (None, Reason.EXPIRY_REQUIRED),
        (0, Reason.REQUEST_EXPIRED),
        (-1, Reason.REQUEST_EXPIRED),
        (61, Reason.EXPIRY_TOO_FAR),
    ],
)
async def test_i06_what_moves_metal_needs_a_near_expiry(expires_in_s: float | None, reason: Reason) -> None:
    counter = Counter()
    assert counter.ask("till", "open", expires_in_s=expires_in_s).reason is reason
    assert counter.taken == []


async def test_i06_other_requests_may_live_long_but_not_in_the_past() -> None:
    counter = Counter()
    assert counter.ask("bar-printer", "print", id="a") is None
    assert counter.ask("bar-printer", "print", id="b", expires_in_s=86_400) is None
    assert counter.ask("bar-printer", "print", id="c", expires_in_s=-1).reason is Reason.REQUEST_EXPIRED


async def test_i06_a_wall_clock_that_went_back_does_not_revive_a_request() -> None:
    counter = Counter()
    await asyncio.sleep(100)
    counter.ask("bar-printer", "print", id="a")
    await settle()
    late = request("till", "open", id="b", expires_in_s=-10)
    counter.house.clock.offset_ms = -60_000
    assert counter.house.desk.handle(late).reason is Reason.REQUEST_EXPIRED


# I2: repeats.


async def test_i02_a_repeat_gets_the_answer_of_the_first_and_has_no_effect() -> None:
    counter = Counter()
    counter.ask("bar-printer", "print")
    await settle()
    assert counter.ask("bar-printer", "print").status == "accepted"
    assert len(counter.taken) == 1


async def test_i02_a_repeat_that_comes_after_its_expiry_still_gets_its_answer() -> None:
    counter = Counter()
    asked = request("till", "open", expires_in_s=5)
    counter.house.desk.handle(asked)
    await asyncio.sleep(10)
    assert counter.house.desk.handle(asked).status == "accepted"
    assert len(counter.taken) == 1


async def test_i02_a_repeat_after_a_crash_and_a_fold_gets_its_answer() -> None:
    counter = Counter()
    counter.ask("bar-printer", "print")
    await settle()
    counter.house.recorder.fold_if_due(force=True)
    await settle()
    again = Counter()
    again.house.recorder.journal.disk = counter.house.journal.disk
    again.house.recorder.restore()
    assert again.ask("bar-printer", "print").status == "accepted"
    assert again.taken == []


async def test_i02_one_id_for_two_things_is_a_conflict() -> None:
    counter = Counter()
    counter.ask("bar-printer", "print", data={"a": 1})
    await settle()
    assert counter.ask("bar-printer", "print", data={"a": 2}).reason is Reason.IDEMPOTENCY_CONFLICT
    assert counter.ask("till", "open", data={"a": 1}, expires_in_s=5).reason is Reason.IDEMPOTENCY_CONFLICT
    assert len(counter.taken) == 1


async def test_i01_a_repeat_is_not_answered_before_the_first_is_on_disk() -> None:
    counter = Counter()
    counter.house.journal.hold()
    counter.ask("bar-printer", "print")
    assert counter.ask("bar-printer", "print") is None
    await settle()
    assert len(counter.taken) == 1
    counter.house.journal.release()
    await settle()
    assert counter.ask("bar-printer", "print").status == "accepted"


async def test_i01_a_repeat_of_what_could_not_be_stored_is_not_told_that_it_was() -> None:
    counter = Counter()
    counter.house.journal.fail()
    counter.ask("bar-printer", "print")
    await settle()
    assert counter.ask("bar-printer", "print").reason is Reason.STORAGE_UNAVAILABLE
    counter.house.recorder.recover()
    assert counter.ask("bar-printer", "print") is None, "it never happened, so it can be asked for again"
    await settle()
    assert counter.house.statuses() == ["accepted"]


async def test_i02_a_repeat_of_what_was_done_is_not_told_that_nothing_was_while_its_outcome_cannot_be_stored() -> None:
    counter = Counter()
    counter.ask("bar-printer", "print")
    await settle()
    recorder = counter.house.recorder
    ref = counter.taken[0].ref
    counter.house.journal.fail()
    recorder.record(sample(e.PrintDone, job="job-1", request=ref))
    await settle()
    assert recorder.lost is not None
    assert counter.ask("bar-printer", "print") is None
    recorder.recover()
    recorder.record(sample(e.PrintUnknown, job="job-1", request=ref))
    await settle()
    assert counter.house.statuses() == ["accepted", "unknown"]


async def test_queries_may_use_one_id_again_and_again() -> None:
    counter = Counter()
    assert counter.ask("bar-printer", "status").data == {"number": 1}
    assert counter.ask("bar-printer", "status").data == {"number": 2}


# Trouble.


@pytest.mark.parametrize(
    ("trouble", "status", "reason"),
    [
        (RefusedRequest(denied(Reason.MALFORMED, "no")), "denied", Reason.MALFORMED),
        (StorageUnavailable("full"), "failed", Reason.STORAGE_UNAVAILABLE),
        (JournalBusy("too much"), "denied", Reason.BUSY),
    ],
)
async def test_a_handler_that_cannot_take_a_request_says_why(trouble: Exception, status: str, reason: Reason) -> None:
    counter = Counter()
    counter.trouble = trouble
    answer = counter.ask("bar-printer", "print")
    assert (answer.status, answer.reason) == (status, reason)
    counter.trouble = None
    assert counter.ask("bar-printer", "print") is None, "a refusal does not use up the id"


async def test_while_nothing_can_be_stored_nothing_is_even_tried_and_queries_go_on() -> None:
    counter = Counter()
    counter.house.journal.failed = StorageUnavailable("full")
    assert counter.ask("bar-printer", "print").reason is Reason.STORAGE_UNAVAILABLE
    assert counter.taken == []
    assert counter.ask("bar-printer", "status").status == "done"


# I12: what a client sent is not repeated.


class _Kind(msgspec.Struct, forbid_unknown_fields=True):
    technology: Literal["em4100", "nfc"]
    value: str


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"technology": "100086F444", "value": "x"}', "Something stands at `data.technology` that does not belong"),
        (b'{"technology": "nfc", "value": "x", "100086F444": 1}', "Something stands at `data` that does not belong"),
        (b'{"technology": "nfc", "value": 100086}', "Expected `str`, got `int` - at `data.value`."),
        (b'{"technology": "nfc"}', "Object missing required field `value`"),
        (b'{"technology": F100086}', "`data` is not JSON"),
        (b'"100086F444"', "Expected `object`, got `str`"),
    ],
)
def test_i12_data_that_does_not_fit_is_refused_without_repeating_it(data: bytes, says: str) -> None:
    asked = Request("bar-tablet", "r1", "north", "authenticate", data, None, "")
    with pytest.raises(RefusedRequest) as refused:
        read_data(asked, _Kind)
    assert refused.value.answer.message.startswith(says)
    assert "100086" not in refused.value.answer.message


async def test_whoever_asks_while_the_gateway_stops_is_asked_to_come_again() -> None:
    counter = Counter()
    counter.ask("bar-printer", "print", id="before")
    await settle()
    counter.house.desk.close()
    answer = counter.ask("bar-printer", "print")
    assert answer is not None
    assert (answer.status, answer.reason) == ("denied", Reason.BUSY)
    again = counter.ask("bar-printer", "print", id="before")
    assert again is not None
    assert again.status == "accepted"
    assert len(counter.taken) == 1

from __future__ import annotations

import msgspec
import pytest

from gateway.domain import events as e
from gateway.domain.ids import Uuid7
from gateway.domain.reasons import MESSAGES, Reason, message_for
from tests.gateway.domain.samples import EVENT_TYPES, bare, sample


@pytest.mark.parametrize("make", [sample, bare])
@pytest.mark.parametrize("event_type", EVENT_TYPES, ids=lambda kind: kind.__name__)
def test_every_event_comes_back_from_its_json_unchanged(event_type: type[e.Event], make: object) -> None:
    event = make(event_type)
    body = msgspec.json.encode(event)
    assert msgspec.json.decode(body, type=e.AnyEvent) == event
    assert msgspec.json.decode(body)["kind"] == event_type.__struct_config__.tag


def test_every_event_class_is_among_those_that_are_decoded() -> None:
    assert set(e.Event.__subclasses__()) == set(EVENT_TYPES)


def test_event_names_differ_and_read_noun_dot_verb() -> None:
    tags = [event_type.__struct_config__.tag for event_type in EVENT_TYPES]
    assert len(set(tags)) == len(tags)
    assert all(tag.count(".") == 1 and tag == tag.lower() for tag in tags)


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        e.EntryPassed(entry="e", gate="g").gate = "other"


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"kind":"entry.invented"}', type=e.AnyEvent)


def test_a_journal_entry_comes_back_from_its_json_unchanged() -> None:
    entry = e.Entry(7, "0197", 1_000, sample(e.EntryGranted))
    assert msgspec.json.decode(msgspec.json.encode(entry), type=e.Entry) == entry


def test_every_reason_that_refuses_has_a_sentence_to_act_on() -> None:
    spoken = {reason: message_for(reason) for reason in Reason}
    assert all(text.endswith(".") for text in spoken.values())
    # A malformed request is always told what is wrong with it; these say so where they are made.
    told_on_the_spot = {
        Reason.MALFORMED, Reason.TOO_LARGE, Reason.UNKNOWN_TARGET, Reason.UNKNOWN_VERB, Reason.NOT_GRANTED
    }  # fmt: skip
    assert set(Reason) - set(MESSAGES) <= told_on_the_spot


def test_ids_sort_in_the_order_they_were_made_also_when_the_clock_goes_back() -> None:
    ids = Uuid7(lambda count: b"\xff" * count)
    made = [ids(now_ms) for now_ms in (5_000, 5_000, 4_000, 6_000, 1)]
    assert made == sorted(set(made))
    assert all(len(one) == 16 and one[6] >> 4 == 7 and one[8] >> 6 == 2 for one in made)


def test_more_ids_than_a_millisecond_has_room_for_still_sort() -> None:
    ids = Uuid7(lambda count: b"\0" * count)
    made = [ids(5_000) for _ in range(5_000)]
    assert made == sorted(set(made))

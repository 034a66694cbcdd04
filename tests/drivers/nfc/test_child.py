"""When a card is a new one, and what a card that does not stay is worth: on a clock of the test's own."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from drivers.nfc import line
from drivers.nfc.card import CardGone
from drivers.nfc.child import REMEMBERED, TRIES, Channel, Desk
from drivers.nfc.options import TagOptions


class Tag:
    """A MIFARE Classic, of which nothing can be asked; or one that leaves whenever it is asked."""

    def __init__(self, uid: str, *, leaves: bool = False) -> None:
        self.uid, self.leaves = bytes.fromhex(uid), leaves
        self.kind, self.chip = ("type2", None) if leaves else ("other", "classic_1k")

    def exchange(self, data: bytes) -> bytes:
        raise CardGone

    def wake(self) -> None:
        raise CardGone


class Table:
    """A desk whose clock stands still until it is moved."""

    def __init__(self, **options) -> None:
        self.now_s = 100.0
        self.seen: list[line.Seen] = []
        setup = line.Setup(connect="usb", options=TagOptions(gone_after_ms=500, **options))
        self.desk = Desk(setup, (), self.seen.append, lambda: self.now_s, bytes)

    def take(self, *tags: Tag, after_s: float = 0.05) -> list[str]:
        for tag in tags:
            self.now_s += after_s
            self.desk.take(tag)
        return [one.value for one in self.seen]


A, B, SHY = Tag("04A1B2C3D4E5F6"), Tag("DEADBEEF"), [Tag(f"08{number:06X}") for number in range(5)]


def test_a_card_is_told_once_until_it_was_away():
    table = Table()
    assert table.take(*[A] * 30) == ["04A1B2C3D4E5F6"]
    assert table.take(A, after_s=0.49) == ["04A1B2C3D4E5F6"]
    assert len(table.take(A, after_s=0.5)) == 2


def test_two_cards_that_lie_together_are_told_once_each():
    assert Table().take(*[A, B] * 10) == ["04A1B2C3D4E5F6", "DEADBEEF"]


def test_a_card_with_another_number_each_time_is_one_card():
    assert Table().take(*SHY) == ["08000000"]


def test_a_card_that_leaves_when_asked_has_proven_nothing_at_the_last_try():
    table = Table()
    tag = Tag("04A1B2C3D4E5F6", leaves=True)
    assert table.take(*[tag] * (TRIES - 1)) == []
    table.take(*[tag] * 5)
    assert [(one.chip, one.proven) for one in table.seen] == [("unknown", False)]


def test_i09_no_more_cards_are_remembered_than_could_be_there():
    table = Table()
    table.take(*[Tag(f"04{number:012X}") for number in range(1000)], after_s=0.001)
    assert len(table.desk._held) == REMEMBERED


def test_life_is_told_several_times_a_second_and_not_more(tmp_path):
    clock = itertools.count()
    with (tmp_path / "out").open("wb", buffering=0) as out:
        channel = Channel(out.fileno(), lambda: next(clock) / 10)
        for _ in range(40):
            channel.alive()
    told = (tmp_path / "out").read_bytes().splitlines()
    assert told[0] == b'{"type":"alive"}'
    assert 8 <= len(told) <= 20


def test_i12_messages_about_cards_hide_them():
    seen = line.Seen(technology="nfc", value="04A1", chip="ntag213", text="Ticket")
    assert "04A1" not in repr(seen)
    assert "Ticket" not in repr(seen)
    assert line.decode_from_process(line.encode(seen)) == seen


@pytest.mark.parametrize("junk", [b"", b"{}", b"[1]", b'{"type":"setup"}', b"\xff\xfe", b"{" * 500])
def test_what_is_no_message_is_refused_in_one_way(junk):
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)):
        line.decode_from_process(junk)

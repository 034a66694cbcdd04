import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.api import Noise, PrinterStatus
from drivers.codecs.escpos_status import (
    LIMIT_BYTES,
    MAX_PENDING,
    Reply,
    StatusBlock,
    StatusDecoder,
    StatusEvent,
    from_block,
    with_reply,
)

BLOCK = bytes.fromhex("14 00 00 0F")
STREAM = bytes.fromhex("16") + BLOCK + bytes.fromhex("12 12 1E")
EVENTS: list[StatusEvent] = [Reply(1, 0x16), StatusBlock(BLOCK), Reply(2, 0x12), Reply(3, 0x12), Reply(4, 0x1E)]


def decoder(asked: tuple[int, ...] = (1, 2, 3, 4)) -> StatusDecoder:
    made = StatusDecoder()
    for n in asked:
        made.asked(n)
    return made


def test_replies_and_blocks_are_told_apart_whole_and_byte_by_byte() -> None:
    assert decoder().receive(STREAM) == EVENTS
    slow = decoder()
    assert list(itertools.chain.from_iterable(slow.receive(bytes((byte,))) for byte in STREAM)) == EVENTS
    assert slow.pending == 0


def test_noise_before_and_after_does_not_hide_anything() -> None:
    noisy = b"\xff\x41" + STREAM + b"\x80\x01"
    events = decoder().receive(noisy)
    assert [event for event in events if not isinstance(event, Noise)] == EVENTS
    assert sum(event.byte_count for event in events if isinstance(event, Noise)) == 4


def test_a_block_that_breaks_off_gives_way_to_what_follows() -> None:
    events = decoder((1,)).receive(bytes.fromhex("10 00") + b"\x12" + bytes.fromhex("10 00 00") + BLOCK)
    assert [event for event in events if not isinstance(event, Noise)] == [Reply(1, 0x12), StatusBlock(BLOCK)]
    assert [event.byte_count for event in events if isinstance(event, Noise)] == [2, 3]


def test_flow_control_is_passed_over_inside_a_block() -> None:
    assert decoder(()).receive(bytes.fromhex("14 13 00 11 00 0F")) == [StatusBlock(BLOCK)]


def test_a_reply_nobody_asked_for_is_noise() -> None:
    made = decoder()
    made.forget()
    (event,) = made.receive(b"\x12")
    assert isinstance(event, Noise)


def test_i09_outstanding_requests_are_bounded() -> None:
    made = decoder((1,) * MAX_PENDING)
    with pytest.raises(OverflowError):
        made.asked(1)


@pytest.mark.parametrize("byte", [0x02, 0x13 ^ 0x04, 0x92, 0x16 | 0x80, 0x00, 0x7F])
def test_what_lacks_the_fixed_bits_answers_nothing(byte: int) -> None:
    made = decoder()
    (event,) = made.receive(bytes((byte,)))
    assert isinstance(event, Noise)
    assert made.pending == 4


@given(st.lists(st.binary(max_size=20), max_size=20), st.lists(st.integers(1, 4), max_size=MAX_PENDING))
def test_any_bytes_are_accounted_for(chunks: list[bytes], asked: list[int]) -> None:
    made = decoder(tuple(asked))
    events = [event for chunk in chunks for event in made.receive(chunk)]
    size = {Reply: 1, StatusBlock: 4}
    counted = sum(event.byte_count if isinstance(event, Noise) else size[type(event)] for event in events)
    flow_control = sum(byte in (0x11, 0x13) for chunk in chunks for byte in chunk)
    assert 0 <= sum(map(len, chunks)) - flow_control - counted <= 3
    # However bad it was, four quiet bytes later a block is understood again.
    assert made.receive(BLOCK)[-1] == StatusBlock(BLOCK)


@given(st.lists(st.sampled_from([BLOCK, b"\x12", b"\xff"]), max_size=30), st.data())
def test_how_the_bytes_are_cut_does_not_matter(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    cut = data.draw(st.integers(0, len(whole)))
    first, second = decoder(), decoder()
    assert first.receive(whole) == second.receive(whole[:cut]) + second.receive(whole[cut:])


@pytest.mark.parametrize(
    ("n", "value", "expected"),
    [
        (1, 0x12, PrinterStatus(online=True, drawer_pin_high=False)),
        (1, 0x1E, PrinterStatus(online=False, drawer_pin_high=True)),
        (2, 0x12, PrinterStatus(cover_open=False)),
        (2, 0x16, PrinterStatus(cover_open=True)),
        (2, 0x52, PrinterStatus(cover_open=False, error="error")),
        (3, 0x1A, PrinterStatus(error="cutter jammed")),
        (3, 0x32, PrinterStatus(error="needs service")),
        (3, 0x12, PrinterStatus()),
        (4, 0x12, PrinterStatus(paper_out=False, paper_low=False)),
        (4, 0x1E, PrinterStatus(paper_out=False, paper_low=True)),
        (4, 0x7E, PrinterStatus(paper_out=True, paper_low=True)),
    ],
)
def test_reply_bits(n: int, value: int, expected: PrinterStatus) -> None:
    assert with_reply(PrinterStatus(), Reply(n, value)) == expected


def test_an_error_is_named_by_reply_3_and_goes_away_with_reply_2() -> None:
    status = with_reply(PrinterStatus(), Reply(2, 0x52))
    assert with_reply(status, Reply(3, 0x12)).error == "error"
    status = with_reply(status, Reply(3, 0x1A))
    assert status.error == "cutter jammed"
    assert with_reply(with_reply(status, Reply(2, 0x12)), Reply(3, 0x12)).error is None


@pytest.mark.parametrize(
    ("block", "changed"),
    [
        ("10 00 00 00", {}),
        ("14 00 00 0F", {"drawer_pin_high": True}),
        ("18 00 0C 00", {"online": False, "paper_out": True}),
        ("38 00 00 00", {"online": False, "cover_open": True}),
        ("10 00 03 00", {"paper_low": True}),
        ("18 08 00 00", {"online": False, "error": "cutter jammed"}),
        ("18 20 00 00", {"online": False, "error": "needs service"}),
        ("18 40 00 00", {"online": False, "error": "waiting to recover"}),
    ],
)
def test_block_bits(block: str, changed: dict[str, bool | str]) -> None:
    expected = {
        "online": True,
        "cover_open": False,
        "paper_out": False,
        "paper_low": False,
        "error": None,
        "drawer_pin_high": False,
    } | changed
    status = from_block(StatusBlock(bytes.fromhex(block)))
    assert {name: getattr(status, name) for name in expected} == expected


def test_only_a_printer_that_said_enough_can_print() -> None:
    assert from_block(StatusBlock(bytes(4).replace(b"\0", b"\x10", 1))).can_print is True
    assert from_block(StatusBlock(bytes.fromhex("18000C00"))).can_print is False
    assert with_reply(PrinterStatus(), Reply(1, 0x12)).can_print is None


def test_i08_of_babble_only_the_end_is_read() -> None:
    made = decoder(())
    assert made.receive(BLOCK[:2] + b"\xff" * (LIMIT_BYTES - 4) + BLOCK + BLOCK[:2]) == [
        Noise(4, "more at once than a printer ever says"),
        *[Noise(1, "neither a status reply nor an automatic status")] * (LIMIT_BYTES - 6),
        StatusBlock(BLOCK),
    ]
    assert made.receive(BLOCK[2:]) == [StatusBlock(BLOCK)]
    assert made.receive(BLOCK[:3]) == []
    assert [event.byte_count for event in made.receive(bytes(LIMIT_BYTES + 9))[:2]] == [3, 9]

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs import osdp
from drivers.codecs import osdp_messages as m
from drivers.codecs.osdp import Frame, OsdpDecoder
from drivers.codecs.osdp_panel import ATTEMPTS, MAX_HELD, CameOnline, KeyInstalled, Lost, OrderDone, Panel
from drivers.codecs.osdp_secure import DEFAULT_KEY
from simulators.osdp import Reader

KEY = bytes(range(16))
CARD = bytes.fromhex("00011A00EA0DC080")


def decoded(wire: bytes) -> list[Frame]:
    decoder = OsdpDecoder()
    decoder.receive_data(wire)
    return [event for event in decoder if isinstance(event, Frame)]


def nonce(count: int) -> bytes:
    return bytes(range(count))


def panel(**options) -> Panel:
    return Panel(1, nonce, **options)


def exchange(one: Panel, reader: Reader) -> list:
    (command,) = decoded(one.frame())
    replies = decoded(reader.answer(command) or b"")
    events = one.take(*replies) if replies else None
    return one.silent() if events is None else events


def talk(one: Panel, reader: Reader, exchanges: int = 10) -> list:
    return [event for _ in range(exchanges) for event in exchange(one, reader)]


def test_a_reader_comes_online_and_tells_its_card():
    one, reader = panel(), Reader(1, None)
    assert [type(event) for event in talk(one, reader)] == [CameOnline, m.LocalStatus]
    reader.queue(m.RAW, bytes.fromhex("00011A00EA0DC080"))
    assert talk(one, reader) == [m.RawCard("11101010000011011100000010", True)]


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "secure"])
def test_i06_what_a_reader_kept_while_nobody_asked_it_is_counted_and_told_to_nobody(key):
    one, reader = panel(key=key), Reader(1, key)
    for away in (False, True):
        if away:
            reader.away = True
            assert [type(event) for event in talk(one, reader, ATTEMPTS)] == [Lost]
            reader.away = False
        for _ in range(3):
            reader.queue(m.RAW, CARD)
        reader.queue(m.KEYPAD, bytes([0, 2]) + b"12")
        came, *rest = talk(one, reader, 12)
        assert (came.forgotten, [type(event) for event in rest]) == (4, [m.LocalStatus])
        reader.queue(m.RAW, CARD)
        assert [type(event) for event in talk(one, reader)] == [m.RawCard]


def test_a_housing_that_was_opened_meanwhile_is_told_as_it_is_now():
    one, reader = panel(), Reader(1, None)
    for tampered in (1, 0, 1):
        reader.queue(m.LSTATR, bytes([tampered, 0]))
    came, housing = talk(one, reader, 12)
    assert (came.forgotten, housing.tampered) == (0, True)


def test_i09_a_reader_that_tells_of_cards_without_end_never_comes_online():
    one, reader = panel(), Reader(1, None)
    events = []
    for _ in range(MAX_HELD + 10):
        reader.queue(m.RAW, CARD)
        events += talk(one, reader, 1)
        if events:
            break
    (lost,) = events
    assert "on and on" in lost.why


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "secure"])
@pytest.mark.parametrize("rows", [0, 1, 2, 4])
def test_a_reader_says_how_many_rows_of_text_it_has(key, rows):
    one, reader = panel(key=key), Reader(1, key, display_rows=rows)
    assert talk(one, reader)[0].display_rows == rows
    for row in range(1, rows + 1):
        token = one.order(m.TEXT, m.show_row(row, f"row {row}", 3000))
        assert talk(one, reader) == [OrderDone(token)]
    assert [row.rstrip() for row in reader.display] == [f"row {row + 1}" for row in range(rows)]


def test_sequence_numbers_begin_at_0_and_go_round_1_2_3():
    one, reader = panel(), Reader(1, None)
    seen = []
    for _ in range(8):
        seen.append(decoded(one.frame())[0].sequence)
        exchange(one, reader)
    assert seen == [0, 1, 2, 3, 1, 2, 3, 1]


def test_a_lost_reply_is_asked_for_again_with_the_same_number_and_told_once():
    one, reader = panel(key=KEY), Reader(1, KEY)
    talk(one, reader)
    reader.queue(m.RAW, bytes.fromhex("00011A00EA0DC080"))
    (command,) = decoded(one.frame())
    first = reader.answer(command)
    assert one.silent() == []
    again = one.frame()
    assert decoded(again)[0] == command
    assert reader.answer(*decoded(again)) == first
    assert [type(event) for event in one.take(*decoded(first))] == [m.RawCard]
    assert talk(one, reader) == []


def test_a_silent_reader_is_lost_after_three_attempts_and_found_again():
    one, reader = panel(), Reader(1, None)
    talk(one, reader)
    reader.away = True
    events = talk(one, reader, ATTEMPTS)
    assert [type(event) for event in events] == [Lost]
    assert "A and B wires" in events[0].why
    reader.away = False
    assert CameOnline in [type(event) for event in talk(one, reader)]


def test_a_reader_that_lost_its_power_is_lost_at_once_and_begins_again():
    for key in (None, KEY):
        one, reader = panel(key=key), Reader(1, key)
        talk(one, reader)
        reader.forget()
        assert [type(event) for event in talk(one, reader, 1)] == [Lost]
        assert CameOnline in [type(event) for event in talk(one, reader)]


def test_a_settled_reader_that_lost_its_session_begins_again_without_being_lost_and_its_order_waits():
    for key in (None, KEY):
        one, reader = panel(key=key), Reader(1, key)
        talk(one, reader, 40)
        token = one.order(m.BUZ, m.sound_buzzer(1, 100, 100))
        reader.forget()
        events = talk(one, reader)
        assert [type(event) for event in events] == [CameOnline, m.LocalStatus, OrderDone]
        assert events[0].again == "the sequence number was wrong"
        assert events[2] == OrderDone(token)
        reader.forget()
        assert [type(event) for event in talk(one, reader, 1)] == [Lost]


def test_a_busy_reader_is_asked_again_and_not_for_ever():
    one, reader = panel(), Reader(1, None)
    talk(one, reader)
    busy = Frame(1, True, 0, m.BUSY)
    wire = one.frame()
    assert one.take(busy) == []
    assert one.frame() == wire
    events = []
    for _ in range(200):
        one.frame()
        events += one.take(busy)
    assert Lost in [type(event) for event in events]


def test_orders_go_before_polls_in_their_order_and_are_bounded():
    one, reader = panel(key=KEY), Reader(1, KEY)
    talk(one, reader)
    tokens = [one.order(m.BUZ, m.sound_buzzer(count, 100, 100)) for count in range(1, 12)]
    assert tokens[8:] == [None, None, None]
    assert talk(one, reader) == [OrderDone(token) for token in tokens[:8]]
    assert [beep[-2:] for beep in reader.beeps] == [f"{count:02x}" for count in range(1, 9)]


def test_a_refused_order_says_why():
    one, reader = panel(), Reader(1, None)
    talk(one, reader)
    token = one.order(0x80, b"")
    assert talk(one, reader) == [OrderDone(token, m.Refusal(3))]


def test_the_secure_channel_hides_what_is_said():
    one, reader = panel(key=KEY), Reader(1, KEY)
    events = talk(one, reader)
    assert isinstance(events[0], CameOnline)
    assert events[0].secure
    reader.queue(m.RAW, bytes.fromhex("00011A00EA0DC080"))
    (command,) = decoded(one.frame())
    wire = reader.answer(command)
    assert bytes.fromhex("EA0DC0") not in wire
    assert [type(event) for event in one.take(*decoded(wire))] == [m.RawCard]


def test_a_reader_with_another_key_or_none_is_refused():
    for reader in (Reader(1, bytes(16)), Reader(1, None), Reader(1, None, factory_new=True)):
        events = talk(panel(key=KEY), reader, 3)
        assert [type(event) for event in events] == [Lost]
        assert "key" in events[0].why


def test_a_reader_that_wants_a_channel_says_so_when_no_key_is_configured():
    events = talk(panel(), Reader(1, KEY), 3)
    assert isinstance(events[0], Lost)
    assert "begin again" in events[0].why or "key_file" in events[0].why


def test_a_new_reader_is_given_the_key_only_when_told_to():
    one, reader = panel(key=KEY, install_key=True), Reader(1, None, factory_new=True)
    events = talk(one, reader, 14)
    assert [type(event) for event in events] == [KeyInstalled, CameOnline, m.LocalStatus]
    assert (reader.key, events[1].secure) == (KEY, True)
    assert CameOnline in [type(event) for event in talk(panel(key=KEY), reader)]


def test_a_card_in_clear_is_not_believed_where_there_is_a_key():
    one, reader = panel(key=KEY), Reader(1, KEY)
    talk(one, reader)
    (command,) = decoded(one.frame())
    forged = Frame(1, True, command.sequence, m.RAW, bytes.fromhex("00011A00EA0DC080"))
    assert one.take(*decoded(osdp.encode(forged))) is None
    assert one.online


def test_another_readers_reply_an_echo_and_a_late_one_are_no_answers():
    one, reader = panel(), Reader(1, None)
    talk(one, reader)
    (command,) = decoded(one.frame())
    late = Frame(1, True, (command.sequence + 1) % 4, m.ACK)
    assert [one.take(frame) for frame in (command, Frame(2, True, command.sequence, m.ACK), late)] == [None] * 3


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 255), st.binary(max_size=40))), st.booleans(), st.booleans()
)
def test_no_replies_make_a_panel_raise(replies, with_key, install):
    one = panel(key=KEY if with_key else None, install_key=with_key and install)
    for sequence, code, data in replies:
        one.frame()
        if one.take(Frame(1, True, sequence, code, data)) is None:
            one.silent()


@given(st.lists(st.sampled_from(["talk", "corrupt", "away", "back", "power", "card", "beep"]), max_size=20))
def test_whatever_happens_a_reader_comes_back_and_every_card_is_told_at_most_once(story):
    one, reader = panel(key=KEY), Reader(1, KEY)
    cards = told = 0
    for step in [*story, "back"]:
        match step:
            case "corrupt":
                reader.corrupt = 2
            case "away" | "back":
                reader.away = step == "away"
            case "power":
                reader.forget()
            case "card":
                reader.queue(m.RAW, bytes.fromhex("00011A00EA0DC080"))
                cards += 1
            case "beep":
                one.order(m.BUZ, m.sound_buzzer(1, 100, 100))
        told += sum(isinstance(event, m.RawCard) for event in talk(one, reader, 4))
    told += sum(isinstance(event, m.RawCard) for event in talk(one, reader, 20 + cards))
    assert one.online
    assert told <= cards


def test_the_known_default_key_is_the_standards():
    assert DEFAULT_KEY.hex() == "303132333435363738393a3b3c3d3e3f"

from __future__ import annotations

import pytest

from simulators.modbus import crc, seal


def golden(digits):
    return bytes.fromhex(digits)


ON, OFF, READ = golden("01050000FF008C3A"), golden("010500000000CDCA"), golden("0101000000083DCC")
FLASH_700_MS = golden("0105020000078DB0")


async def ask(peer, request, answer_bytes):
    peer.write(request)
    return await peer.read(answer_bytes)


@pytest.mark.parametrize("frame", [ON, OFF, READ, FLASH_700_MS])
def test_the_crc_is_that_of_the_golden_frames(frame):
    assert crc(frame[:-2]) == frame[-2:]


async def test_on_and_off_are_echoed_and_read_back(start, open_line):
    board = await start("modbus_board")
    peer = open_line(board.link)
    assert await ask(peer, ON, 8) == ON
    assert await ask(peer, READ, 6) == seal(golden("01010101"))
    assert await ask(peer, OFF, 8) == OFF
    assert await ask(peer, READ, 6) == seal(golden("01010100"))
    assert (await board.control.state())["relays"][0]["pulses"] == 1


async def test_the_board_ends_a_flash_by_itself(start, open_line):
    board = await start("modbus_board")
    peer = open_line(board.link)
    assert await ask(peer, FLASH_700_MS, 8) == FLASH_700_MS
    assert (await board.control.state())["relays"][0]["on"]
    state = await board.control.until(lambda s: s["relays"][0]["pulses"] == 1)
    assert 690 <= state["relays"][0]["last_pulse_ms"] <= 2000


async def test_switching_off_ends_a_flash_and_its_timer(start, open_line):
    board = await start("modbus_board")
    peer = open_line(board.link)
    await ask(peer, seal(golden("010502000001")), 8)
    await ask(peer, OFF, 8)
    await ask(peer, ON, 8)
    # A flash of another relay that is longer: were the first timer still running, it would have ended by then.
    await ask(peer, seal(golden("010502010002")), 8)
    state = await board.control.until(lambda s: s["relays"][1]["pulses"] == 1)
    assert state["relays"][0]["on"]


async def test_inputs_are_read_and_a_passage_is_a_pulse(start, open_line):
    board = await start("modbus_board")
    peer = open_line(board.link)
    read_inputs = seal(golden("010200000008"))
    await board.control.do("input", channel=1, active=True)
    await board.control.do("input", channel=8, active=True)
    assert await ask(peer, read_inputs, 6) == seal(golden("01020181"))
    await board.control.do("pulse_input", channel=1, ms=50)
    await board.control.until(lambda s: not s["inputs"][0])
    assert await ask(peer, read_inputs, 6) == seal(golden("01020180"))


@pytest.mark.parametrize(
    ("request_body", "answer_body"),
    [
        ("010100000009", "018102"),
        ("010100080001", "018102"),
        ("010100000000", "018103"),
        ("01050008FF00", "018502"),
        ("010500001234", "018503"),
        ("010502000000", "018503"),
        ("010503000001", "018502"),
        ("010600000001", "018601"),
        ("0107", "018701"),
        ("012B0E0100", "01AB01"),
    ],
)
async def test_what_it_cannot_do_is_an_exception(start, open_line, request_body, answer_body):
    board = await start("modbus_board")
    peer = open_line(board.link)
    assert await ask(peer, seal(golden(request_body)), 5) == seal(golden(answer_body))


async def test_a_damaged_frame_is_not_answered_and_the_next_one_is(start, open_line):
    board = await start("modbus_board")
    peer = open_line(board.link)
    peer.write(ON[:-1] + b"\x00")
    await board.control.until(lambda s: s["bad_frames"] == 1)
    assert await ask(peer, READ, 6) == seal(golden("01010100"))


async def test_an_endless_frame_is_given_up(start, open_line):
    board = await start("modbus_board")
    peer = open_line(board.link)
    peer.write(b"\x01\x2b" * 400)
    await board.control.until(lambda s: s["received_bytes"] == 800 and s["buffered_bytes"] == 0)
    assert (await board.control.state())["bad_frames"] > 0
    assert await ask(peer, READ, 6) == seal(golden("01010100"))


async def test_others_and_broadcasts_are_not_answered(start, open_line):
    board = await start("modbus_board", unit=2)
    peer = open_line(board.link)
    peer.write(ON)
    peer.write(seal(golden("00050001FF00")))
    await board.control.until(lambda s: s["relays"][1]["on"])
    assert await ask(peer, seal(golden("020100000008")), 6) == seal(golden("02010102"))


async def test_a_silent_board_answers_nothing(start, open_line):
    board = await start("modbus_board")
    peer = open_line(board.link)
    await board.control.do("silent")
    peer.write(ON)
    await board.control.until(lambda s: s["received_bytes"] == len(ON))
    await board.control.do("silent", on=False)
    assert (await ask(peer, seal(golden("01050001FF00")), 8))[:6] == golden("01050001FF00")
    assert not (await board.control.state())["relays"][0]["on"]


async def test_all_relays_and_toggle_and_many_coils(start, open_line):
    board = await start("modbus_board")
    peer = open_line(board.link)
    await ask(peer, seal(golden("010500FFFF00")), 8)
    await ask(peer, seal(golden("010500005500")), 8)
    assert await ask(peer, READ, 6) == seal(golden("010101FE"))
    assert await ask(peer, seal(golden("010F00000008010F")), 8) == seal(golden("010F00000008"))
    assert await ask(peer, READ, 6) == seal(golden("0101010F"))

from __future__ import annotations

import json

import pytest

ON, OFF = bytes.fromhex("A00101A2"), bytes.fromhex("A00100A1")


def relay(state, channel=1):
    return state["relays"][channel - 1]


@pytest.mark.parametrize("noise", [b"", b"\x00\xff", b"\xa0", b"\xa0\x01\x01"])
async def test_the_golden_frames_switch_relay_1_also_after_noise(start, open_line, noise):
    board = await start("lcus")
    peer = open_line(board.link)
    peer.write(noise + ON)
    await board.control.until(lambda s: relay(s)["on"])
    peer.write(OFF)
    state = await board.control.until(lambda s: relay(s)["pulses"] == 1)
    assert (relay(state)["on"], relay(state)["switched_on"], relay(state, 2)["on"]) == (False, 1, False)
    assert (state["frames"], state["ignored_bytes"]) == (2, len(noise))
    assert relay(state)["last_pulse_ms"] > 0


async def test_a_frame_may_come_byte_by_byte(start, open_line):
    board = await start("lcus")
    peer = open_line(board.link)
    for byte in ON:
        peer.write(bytes((byte,)))
    await board.control.until(lambda s: relay(s)["on"])


async def test_damaged_frames_and_unknown_channels_switch_nothing(start, open_line):
    board = await start("lcus", channels=2)
    peer = open_line(board.link)
    peer.write(bytes.fromhex("A00101A3 A00301A4 A00102A3"))
    peer.write(bytes.fromhex("A00201A3"))
    state = await board.control.until(lambda s: relay(s, 2)["on"])
    assert not relay(state)["on"]
    assert state["frames"] == 1


async def test_each_change_is_logged_with_its_time(start, open_line, tmp_path):
    log = tmp_path / "relays.ndjson"
    board = await start("lcus", log=log)
    open_line(board.link).write(ON + ON + OFF)
    await board.control.until(lambda s: relay(s)["pulses"] == 1)
    changes = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(change["channel"], change["on"]) for change in changes] == [(1, True), (1, False)]
    assert changes[0]["at"] <= changes[1]["at"]
    assert (await board.control.do("log"))["log"] == changes


async def test_a_silent_board_hears_nothing(start, open_line):
    board = await start("lcus")
    peer = open_line(board.link)
    await board.control.do("silent")
    peer.write(ON)
    await board.control.until(lambda s: s["received_bytes"] == len(ON))
    assert not relay(await board.control.state())["on"]
    await board.control.do("silent", on=False)
    peer.write(ON)
    await board.control.until(lambda s: relay(s)["on"])

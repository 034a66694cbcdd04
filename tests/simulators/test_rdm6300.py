from __future__ import annotations

import pytest

from simulators.control import ControlError

FRAME = b"\x02100086F44426\x03"


def list_of(directory):
    return list(directory.iterdir())


async def test_a_held_tag_repeats_the_golden_frame_until_released(start, open_line):
    reader = await start("rdm6300")
    peer = open_line(reader.link)
    await reader.control.do("hold", uid="100086f444")
    assert await peer.read(3 * len(FRAME)) == 3 * FRAME

    await reader.control.do("release")
    state = await reader.control.state()
    assert state["held"] is None
    frames_left = state["frames_sent"] - 3
    assert await peer.read(frames_left * len(FRAME)) == frames_left * FRAME


async def test_a_tap_ends_by_itself_and_sends_about_one_frame_per_50_ms(start, open_line):
    reader = await start("rdm6300")
    peer = open_line(reader.link)
    await reader.control.do("tap", uid="100086F444", ms=220)
    assert await peer.read(len(FRAME)) == FRAME
    state = await reader.control.until(lambda s: s["held"] is None)
    assert 4 <= state["frames_sent"] <= 6


async def test_what_is_sent_while_the_port_is_closed_is_lost(start, open_line):
    reader = await start("rdm6300")
    first = open_line(reader.link)
    await reader.control.until(lambda s: s["opened"])
    await reader.control.do("raw", hex="ee" * 100)
    first.close()
    await reader.control.until(lambda s: not s["opened"])
    await reader.control.do("raw", hex="dd" * 100)
    assert (await reader.control.state())["dropped_bytes"] == 100

    second = open_line(reader.link)
    await reader.control.until(lambda s: s["opened"])
    await reader.control.do("hold", uid="100086F444")
    assert await second.read(len(FRAME)) == FRAME


async def test_an_unplugged_cable_is_an_io_error_and_comes_back_under_its_name(start, open_line):
    reader = await start("rdm6300")
    peer = open_line(reader.link)
    await reader.control.until(lambda s: s["opened"])
    await reader.control.do("unplug")
    assert list_of(reader.link.parent) == []
    with pytest.raises(OSError, match="Input/output error"):
        peer.write(b"x")

    await reader.control.do("plug")
    again = open_line(reader.link)
    await reader.control.until(lambda s: s["opened"])
    await reader.control.do("tap", uid="100086F444")
    assert await again.read(len(FRAME)) == FRAME


@pytest.mark.parametrize("uid", ["", "100086F4", "100086F44G", "100086F44426"])
async def test_a_number_that_no_em4100_tag_has_is_refused(start, uid):
    reader = await start("rdm6300")
    with pytest.raises(ControlError, match="ten hex digits"):
        await reader.control.do("hold", uid=uid)


async def test_raw_bytes_pass_unchanged(start, open_line):
    reader = await start("rdm6300")
    peer = open_line(reader.link)
    await reader.control.until(lambda s: s["opened"])
    await reader.control.do("raw", hex="00 0a 0d 11 13 ff")
    assert await peer.read(6) == bytes.fromhex("000a0d1113ff")

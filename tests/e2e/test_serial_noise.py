"""Garbage, half frames and endless ones on a serial line: noise, said so, and the next right frame still counts."""

from __future__ import annotations

import random

import pytest

from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
VENUE = {"parts": ("north", "south")}

STX = b"\x02"
GARBAGE = random.Random(7).randbytes(800)
TAG_NOISE = {
    "garbage": GARBAGE,
    "half a frame": STX + b"0100",
    "only starts": STX * 300,
    "a wrong checksum": STX + b"010203040500\x03",
    "endless": STX + b"0123456789ABCDEF" * 200,
    "lower-case nonsense": b"\x02zzzzzzzzzzzz\x03",
    "all bytes": bytes(range(256)) * 3,
}
CODE_NOISE = {
    "garbage": GARBAGE.replace(b"\r", b"").replace(b"\n", b"") + b"\xff\r",
    "endless": b"A" * 3500,
    "empty lines": b"\r\n\r\r\n\n" * 20,
    "control characters": b"T\x00\x01\x02\x1b[2J\r",
    "no text": b"\xff\xfe\xc3\x28\r",
}


@pytest.mark.parametrize("noise", TAG_NOISE.values(), ids=TAG_NOISE)
async def test_noise_from_a_tag_reader_admits_nobody_and_the_next_tag_counts(venue: Venue, noise: bytes) -> None:
    mark, before = venue.observer.mark, await venue.pulses("north-relay")
    reader = await venue.device("north-reader")
    await reader.do("raw", hex=noise.hex())
    guest = venue.guests.tag()
    await reader.do("tap", uid=guest.value, ms=300)
    await venue.observer.event("entry.granted", since=mark, holder=guest.holder)
    await (await venue.device("north-relay")).until(lambda s: s["relays"][0]["pulses"] == before + 1)
    assert len(venue.observer.events("entry.granted", since=mark)) == 1


@pytest.mark.parametrize("noise", CODE_NOISE.values(), ids=CODE_NOISE)
async def test_noise_from_a_scanner_admits_nobody_and_the_next_code_counts(venue: Venue, noise: bytes) -> None:
    mark, scanner = venue.observer.mark, await venue.device("south-scanner")
    await scanner.do("raw", hex=noise.hex())
    # Noise without an end of line swallows what follows up to the next one, as a person sees by scanning again.
    await scanner.do("raw", hex=b"\r".hex())
    guest = venue.guests.code()
    await scanner.do("scan", text=guest.value)
    await venue.observer.event("entry.granted", since=mark, holder=guest.holder)
    assert len(venue.observer.events("entry.granted", since=mark)) == 1
    await (await venue.device("south-board")).do("pulse_input", channel=1, ms=60)
    await venue.observer.event("entry.passed", since=mark)
    await venue.admits("south")


async def test_a_tag_in_two_halves_is_one_tap(venue: Venue) -> None:
    mark, reader, guest = venue.observer.mark, await venue.device("north-reader"), venue.guests.tag()
    checksum = 0
    for byte in bytes.fromhex(guest.value):
        checksum ^= byte
    frame = b"\x02%s%02X\x03" % (guest.value.encode(), checksum)
    for part in (frame[:5], frame[5:9], frame[9:]):
        await reader.do("raw", hex=part.hex())
    await venue.observer.event("entry.granted", since=mark, holder=guest.holder)
    assert not venue.observer.events("entry.denied", since=mark)


async def test_noise_on_the_boards_lines_opens_nothing_and_the_gates_go_on(venue: Venue) -> None:
    mark, board = venue.observer.mark, await venue.device("south-board")
    before = await venue.pulses("south-board")
    for _ in range(20):
        await board.do("raw", hex=random.Random(3).randbytes(200).hex())
        await (await venue.device("north-relay")).do("raw", hex=GARBAGE.hex())
    await venue.observer.state("devices/south-board/state", state="online")
    assert not venue.observer.events("gate.forced", since=mark)
    guest = venue.guests.code()
    await (await venue.device("south-scanner")).do("scan", text=guest.value)
    await venue.observer.event("gate.released", since=mark, gate="south")
    await venue.closed("south-board", before + 1)
    await venue.observer.event("entry.returned", since=mark, gate="south")


async def test_a_line_that_never_stops_is_told_of_in_few_words(venue: Venue) -> None:
    log, reader = venue.daemon.mark, await venue.device("north-reader")
    for _ in range(150):
        await reader.do("raw", hex=GARBAGE.hex())
    await venue.daemon.logged("device_noise", since=log, device="north-reader")
    assert sum(line["event"] == "device_noise" for line in venue.daemon.lines[log:]) <= 20

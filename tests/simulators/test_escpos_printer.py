from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import qrcode
from PIL import Image

CUT = bytes.fromhex("1D5600")
FEED_AND_CUT = b"\x1bd\x05" + CUT
CP858 = b"\x1b@\x1bt\x13"


@pytest.fixture
async def printer(start):
    return await start("escpos_printer", tcp="127.0.0.1:0")


async def receive(reader, count):
    async with asyncio.timeout(10):
        return await reader.readexactly(count)


async def ask(stream, request, count=1):
    reader, writer = stream
    writer.write(request)
    return await receive(reader, count)


async def printed(printer, number=1):
    state = await printer.control.until(lambda s: s["receipt_count"] >= number)
    return state["receipts"][number - 1]


def picture_of(receipt):
    return Path(receipt["png"]).read_bytes()


def text_of(receipt):
    return Path(receipt["txt"]).read_text(encoding="utf-8")


async def statuses(stream):
    return (await ask(stream, b"\x10\x04\x01\x10\x04\x02\x10\x04\x03\x10\x04\x04", 4)).hex()


@pytest.mark.parametrize(
    ("command", "parameters", "expected"),
    [
        ("flush", {}, "12121212"),
        ("paper", {"state": "near_end"}, "1212121e"),
        ("paper", {"state": "out"}, "1a32127e"),
        ("cover", {"open": True}, "1a161212"),
        ("drawer", {"open": True}, "16121212"),
        ("error", {"kind": "cutter"}, "3a521a12"),
        ("error", {"kind": "mechanical"}, "3a521612"),
        ("error", {"kind": "unrecoverable"}, "1a523212"),
        ("error", {"kind": "auto_recoverable"}, "1a525212"),
    ],
)
async def test_dle_eot_tells_what_the_sensors_say(printer, command, parameters, expected):
    stream = await printer.connect()
    await printer.control.do(command, **parameters)
    assert await statuses(stream) == expected


async def test_automatic_status_is_sent_once_enabled_and_at_each_change(printer):
    stream = await printer.connect()
    assert await ask(stream, b"\x1da\x0f", 4) == bytes.fromhex("10000000")
    for command, parameters, expected in (
        ("paper", {"state": "near_end"}, "10000300"),
        ("paper", {"state": "out"}, "18000f00"),
        ("paper", {"state": "ok"}, "10000000"),
        ("cover", {"open": True}, "38000000"),
        ("cover", {"open": False}, "10000000"),
        ("drawer", {"open": True}, "14000000"),
        ("error", {"kind": "cutter"}, "1c080000"),
    ):
        await printer.control.do(command, **parameters)
        assert (await receive(stream[0], 4)).hex() == expected


async def test_only_what_was_enabled_is_sent_by_itself(printer):
    stream = await printer.connect()
    await ask(stream, b"\x1da\x08", 4)
    await printer.control.do("drawer", open=True)
    await printer.control.do("paper", state="near_end")
    assert (await receive(stream[0], 4)).hex() == "14000300"


@pytest.mark.parametrize(
    ("page", "codec"), [(0, "cp437"), (2, "cp850"), (16, "cp1252"), (19, "cp858")]
)  # Epson's numbers
async def test_german_text_prints_right_in_every_code_page(printer, page, codec):
    text = "Größe: ÄÖÜ äöüß" + ("" if codec in ("cp437", "cp850") else " 12,50 €")
    _, writer = await printer.connect()
    writer.write(b"\x1b@\x1bt" + bytes((page,)) + text.encode(codec) + b"\n" + FEED_AND_CUT)
    receipt = await printed(printer)
    assert text_of(receipt) == text + "\n"
    assert receipt["clear_of_cutter"]
    assert not (await printer.control.state())["unknown_commands"]


async def test_a_line_breaks_at_48_characters_and_at_24_of_double_width(printer):
    _, writer = await printer.connect()
    writer.write(CP858 + b"x" * 50 + b"\n\x1d!\x10" + b"y" * 25 + b"\n" + CUT)
    receipt = await printed(printer)
    assert text_of(receipt).split("\n") == ["x" * 48, "xx", "y" * 24, "y", ""]
    assert not receipt["clear_of_cutter"]


async def test_the_qr_code_is_in_the_picture(printer):
    data, size = b"https://example.org/r/4711", 4
    _, writer = await printer.connect()
    writer.write(
        bytes.fromhex("1D286B0400314132001D286B03003143") + bytes((size,)) + bytes.fromhex("1D286B0300314530")
        + b"\x1d(k" + (len(data) + 3).to_bytes(2, "little") + b"1P0" + data + bytes.fromhex("1D286B0300315130")
        + FEED_AND_CUT
    )  # fmt: skip
    receipt = await printed(printer)
    assert text_of(receipt) == "[QR https://example.org/r/4711]\n"

    code = qrcode.QRCode(border=0, error_correction=qrcode.constants.ERROR_CORRECT_L)
    code.add_data(data, optimize=0)
    with Image.open(receipt["png"]) as picture:
        seen = picture.convert("L").point([255 * (value < 128) for value in range(256)])
        # The desk is lighter than ink, so the first dark dot is the code's corner.
        left, top, right, bottom = seen.getbbox()
        modules = code.get_matrix()
        assert (right - left, bottom - top) == (size * len(modules), size * len(modules))
        middle = size // 2
        read = [
            [seen.getpixel((left + size * x + middle, top + size * y + middle)) > 0 for x in range(len(modules))]
            for y in range(len(modules))
        ]
    assert read == modules


async def test_images_of_all_three_commands_and_barcodes_are_printed(printer):
    _, writer = await printer.connect()
    square = b"\xff" * 8
    writer.write(
        b"\x1dv0\x00\x01\x00\x08\x00" + square
        + b"\x1d(L\x12\x000p0\x01\x011\x08\x00\x08\x00" + square + b"\x1d(L\x02\x0002"
        + b"\x1b*\x21\x08\x00" + b"\xff" * 24 + b"\n"
        + b"\x1dk\x02400638133393\x00" + b"\x1dk\x49\x0b{BTICKET-42" + FEED_AND_CUT
    )  # fmt: skip
    receipt = await printed(printer)
    assert text_of(receipt) == "[image]\n[ean13 4006381333931]\n[code128 TICKET-42]\n"
    state = await printer.control.state()
    assert (state["printed_lines"], state["unknown_commands"]) == (5, [])


async def test_the_picture_is_the_same_whether_bytes_come_whole_or_one_by_one(printer):
    job = CP858 + "Größe\n".encode("cp858") + b"\x1dv0\x00\x01\x00\x08\x00" + b"\xa5" * 8 + b"\x1dk\x49\x04{Bxy" + CUT
    _, writer = await printer.connect()
    writer.write(job)
    first = await printed(printer, 1)
    for byte in job:
        writer.write(bytes((byte,)))
        await writer.drain()
    second = await printed(printer, 2)
    assert picture_of(first) == picture_of(second)
    assert text_of(first) == text_of(second)


async def test_the_drawer_opens_on_a_kick_and_reports_it(printer):
    stream = await printer.connect()
    await ask(stream, b"\x1da\x01", 4)
    assert (await ask(stream, bytes.fromhex("1B700019FA"), 4)).hex() == "14000000"
    state = await printer.control.until(lambda s: s["drawer_open"])
    assert [(kick["pin"], kick["on_ms"]) for kick in state["kicks"]] == [(2, 50)]
    await printer.control.do("drawer", open=False)
    assert (await ask(stream, bytes.fromhex("1014010101"), 8)).hex() == "1000000014000000"
    assert (await printer.control.state())["kicks"][1]["pin"] == 5


async def test_pin_3_may_be_wired_the_other_way(start):
    printer = await start("escpos_printer", tcp="127.0.0.1:0", drawer_open_is_low=True)
    stream = await printer.connect()
    assert (await statuses(stream))[:2] == "16"
    await printer.control.do("drawer", open=True)
    assert (await statuses(stream))[:2] == "12"


async def test_without_paper_it_keeps_the_job_answers_status_and_goes_on_once(printer):
    stream = await printer.connect()
    await printer.control.do("paper", state="out")
    stream[1].write(CP858 + b"held\n" + CUT + bytes.fromhex("1B700019FA"))
    assert await statuses(stream) == "1a32127e"
    state = await printer.control.state()
    assert (state["receipt_count"], state["kick_count"], state["online"]) == (0, 0, False)

    await printer.control.do("paper", state="ok")
    assert text_of(await printed(printer)) == "held\n"
    state = await printer.control.state()
    assert (state["receipt_count"], state["kick_count"], state["buffered_bytes"]) == (1, 1, 0)


async def test_offline_it_stops_reading_when_its_buffer_is_full(printer):
    _, writer = await printer.connect()
    await printer.control.do("cover", open=True)
    writer.write(b"x" * 4_000_000)
    state = await printer.control.until(lambda s: s["buffered_bytes"] == 4096)
    assert writer.transport.get_write_buffer_size() > 0
    assert state["received_bytes"] == 4096
    await printer.control.do("cover", open=False)
    await printer.control.until(lambda s: s["received_bytes"] > 4096)


async def test_paper_may_end_in_the_middle_of_a_job(printer):
    stream = await printer.connect()
    await printer.control.do("paper", state="out", after_lines=2)
    stream[1].write(b"one\ntwo\nthree\n" + CUT)
    state = await printer.control.until(lambda s: s["paper"] == "out")
    assert (state["printed_lines"], state["receipt_count"]) == (2, 0)
    await printer.control.do("paper", state="ok")
    assert text_of(await printed(printer)) == "one\ntwo\nthree\n"


@pytest.mark.parametrize(("enquiry", "receipts"), [(1, 1), (2, 0)])
async def test_dle_enq_recovers_with_or_without_the_waiting_data(printer, enquiry, receipts):
    stream = await printer.connect()
    await printer.control.do("error", kind="cutter")
    stream[1].write(b"waiting\n" + CUT)
    stream[1].write(bytes((0x10, 0x05, enquiry)))
    assert await ask(stream, b"\x1dr\x01") == b"\x00"
    state = await printer.control.state()
    assert (state["error"], state["receipt_count"]) == ("none", receipts)


async def test_a_process_id_is_answered_after_everything_before_it_is_printed(printer):
    stream = await printer.connect()
    answer = await ask(stream, b"done\n" + CUT + b"\x1d(H\x06\x0000A001", 7)
    assert answer == b"\x37\x22A001\x00"
    assert (await printer.control.state())["receipt_count"] == 1


async def test_a_muted_printer_prints_and_says_nothing(printer):
    stream = await printer.connect()
    await printer.control.do("mute")
    stream[1].write(b"\x10\x04\x01\x1da\x0fquiet\n" + CUT)
    await printed(printer)
    await printer.control.do("mute", on=False)
    assert await ask(stream, b"\x10\x04\x04") == b"\x12"


async def test_a_stalled_printer_reads_no_further(printer):
    stream = await printer.connect()
    await printer.control.do("stall", after_bytes=3)
    stream[1].write(b"abcdef\n" + CUT)
    state = await printer.control.until(lambda s: s["stalled"])
    assert state["received_bytes"] == 3
    await printer.control.do("stall", on=False)
    assert text_of(await printed(printer)) == "abcdef\n"


async def test_a_connection_may_be_cut_in_the_middle_of_a_job(printer):
    reader, writer = await printer.connect()
    await printer.control.do("drop", after_bytes=6)
    writer.write(b"first\nsecond\n" + CUT)
    with pytest.raises(ConnectionResetError):
        await receive(reader, 1)
    await printer.control.until(lambda s: not s["opened"] and s["received_bytes"] == 6)
    assert (await printer.control.do("flush"))["flushed"] == 1
    receipt = await printed(printer)
    assert (text_of(receipt), receipt["cut"]) == ("first\n", False)
    assert await statuses(await printer.connect()) == "12121212"


async def test_refused_and_unplugged_printers_take_no_connection(printer):
    stream = await printer.connect()
    await printer.control.do("refuse")
    with pytest.raises(ConnectionRefusedError):
        await printer.connect()
    assert await statuses(stream) == "12121212"
    await printer.control.do("refuse", on=False)

    await printer.control.do("unplug")
    with pytest.raises(ConnectionRefusedError):
        await printer.connect()
    await printer.control.do("plug")
    assert await statuses(await printer.connect()) == "12121212"


async def test_a_second_connection_waits_for_the_first_to_end(printer):
    first = await printer.connect()
    assert await statuses(first) == "12121212"
    second = await printer.connect()
    second[1].write(b"\x10\x04\x01")
    await printer.control.do("paper", state="near_end")
    assert await statuses(first) == "1212121e"
    first[1].close()
    assert await receive(second[0], 1) == b"\x12"


async def test_a_printer_on_a_pty_does_the_same(start, open_line):
    printer = await start("escpos_printer")
    peer = open_line(printer.link)
    peer.write(b"\x10\x04\x01")
    assert await peer.read(1) == b"\x12"
    peer.write(CP858 + "Straße\n".encode("cp858") + CUT)
    assert text_of(await printed(printer)) == "Straße\n"


async def test_switched_off_it_forgets_what_it_had_not_printed(printer):
    _, writer = await printer.connect()
    await printer.control.do("paper", state="out")
    writer.write(b"lost\n" + CUT)
    await printer.control.until(lambda s: s["buffered_bytes"] == 8)
    await printer.control.do("power_cycle")
    await printer.control.do("paper", state="ok")
    stream = await printer.connect()
    assert await ask(stream, b"\x1dr\x01") == b"\x00"
    assert (await printer.control.state())["receipt_count"] == 0

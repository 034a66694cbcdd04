from __future__ import annotations

import pytest


@pytest.mark.parametrize(("terminator", "ending"), [("cr", b"\r"), ("lf", b"\n"), ("crlf", b"\r\n")])
async def test_a_code_ends_with_the_terminator_that_was_set(start, open_line, terminator, ending):
    scanner = await start("scanner", terminator=terminator)
    peer = open_line(scanner.link)
    await scanner.control.until(lambda s: s["opened"])
    await scanner.control.do("scan", text="TICKET-Ä-42")
    expected = "TICKET-Ä-42".encode() + ending
    assert await peer.read(len(expected)) == expected


@pytest.mark.parametrize(
    ("symbology", "identifier"), [("code39", b"]A0"), ("code128", b"]C0"), ("qr", b"]Q1"), ("ean13", b"]E0")]
)
async def test_the_aim_identifier_stands_before_the_code(start, open_line, symbology, identifier):
    scanner = await start("scanner", aim=True)
    peer = open_line(scanner.link)
    await scanner.control.until(lambda s: s["opened"])
    await scanner.control.do("scan", text="42", symbology=symbology)
    assert await peer.read(6) == identifier + b"42\r"

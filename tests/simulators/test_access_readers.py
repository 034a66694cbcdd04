"""The simulators of OSDP, TWN4 and Wiegand readers as processes of their own."""

from __future__ import annotations

import pytest

from drivers.codecs import osdp
from drivers.codecs import osdp_messages as m
from drivers.codecs.osdp import Frame
from simulators.control import ControlError


async def test_osdp_answers_the_golden_acknowledgement(start, open_line):
    bus = await start("osdp", address=0x65)
    peer = open_line(bus.link)
    await bus.control.until(lambda s: s["opened"])
    for sequence, code in ((0, m.ID), (1, m.POLL), (2, m.POLL)):
        peer.write(osdp.encode(Frame(0x65, reply=False, sequence=sequence, code=code)))
    await peer.read(21 + 9)
    assert await peer.read(9) == bytes.fromhex("FF53E5080006 40B0F0".replace(" ", ""))
    with pytest.raises(ControlError, match="no reader 1"):
        await bus.control.do("present", address=1, bits="1")


async def test_twn4_answers_version_and_tag(start, open_line):
    reader = await start("twn4")
    peer = open_line(reader.link)
    await reader.control.until(lambda s: s["opened"])
    await reader.control.do("hold", uid="04DE5F1EACC040")
    peer.write(b"050010\r0004FF\r")
    assert await peer.read(25) == b"0001803807" + b"04DE5F1EACC040\r"
    assert (await peer.read(10)).startswith(b"0019")


async def test_wiegand_writes_a_card_as_told(start, open_line):
    bridge = await start("wiegand", form="bits", bits=26)
    peer = open_line(bridge.link)
    await bridge.control.until(lambda s: s["opened"])
    await bridge.control.do("present", data="D41B81")
    assert await peer.read(28) == b"11101010000011011100000010\r\n"
    with pytest.raises(ControlError, match="24 bits"):
        await bridge.control.do("present", data="FFFFFFFF")

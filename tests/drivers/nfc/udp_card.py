"""A card at the other end of nfcpy's UDP device: one datagram a frame, `106A` and hex digits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from simulators.cards.card import Card

CASCADE = 0x88


class _UdpCard(asyncio.DatagramProtocol):
    """Silent on whatever it does not know, as a card is."""

    def __init__(self, card: Card) -> None:
        self._card = card
        parts = [bytes([CASCADE]) + card.uid[:3], card.uid[3:]] if len(card.uid) == 7 else [card.uid]
        self._parts = [part + bytes([part[0] ^ part[1] ^ part[2] ^ part[3]]) for part in parts]
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address) -> None:
        words = data.split()
        if words[:1] != [b"106A"] or len(words) != 2:
            return
        answer = self._answer(bytes.fromhex(words[1].decode()))
        if answer is not None:
            self._transport.sendto(b"106A " + answer.hex().encode(), address)

    def _answer(self, frame: bytes) -> bytes | None:
        if frame == b"\x26":
            self._card.select()
            return self._card.sens_res
        level = {0x93: 0, 0x95: 1}.get(frame[0])
        if level is not None and level < len(self._parts):
            if frame[1] == 0x20:
                return self._parts[level]
            return bytes([self._card.sak | (0x04 if level + 1 < len(self._parts) else 0)])
        return self._card.exchange(frame)


@asynccontextmanager
async def udp_card(card: Card) -> AsyncIterator[int]:
    """Serve a card on a free port of this machine."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _UdpCard(card), local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()

"""What answers at addresses on the network: printers and Modbus boards, told apart by harmless questions."""

from __future__ import annotations

import asyncio

from drivers.codecs.modbus_rtu import Bits, ModbusException, read_coils
from drivers.codecs.modbus_tcp import TcpAnswerDecoder
from gateway.devices.discovery import Found

PRINTER_PORT, MODBUS_PORT = 9100, 502
CONNECT_S, ANSWER_S = 2.0, 1.0
DLE_EOT_1 = b"\x10\x04\x01"
RELAYS_ASKED = (16, 8, 4, 2, 1)


async def ask_addresses(addresses: list[str]) -> list[Found]:
    """Return what answers at each `HOST` or `HOST:PORT`; an address at which nothing does is told too."""
    finds = await asyncio.gather(*(_ask(address) for address in addresses))
    return [found for several in finds for found in several]


async def _ask(address: str) -> list[Found]:
    host, _, port = address.rpartition(":") if address.count(":") == 1 else (address, "", "")
    ports = [int(port)] if port.isdigit() else [PRINTER_PORT, MODBUS_PORT]
    found = [one for number in ports if (one := await _ask_port(host, number)) is not None]
    return found or [Found("nothing answers", address, "certain", hint="check its power, its cable and the address")]


async def _ask_port(host: str, port: int) -> Found | None:
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError, UnicodeError):
        return None
    where = f"tcp://{host}:{port}"
    try:
        # A printer would print a Modbus frame, so a port that is not Modbus's own is asked as a printer only.
        return await (_modbus if port == MODBUS_PORT else _printer)(where, reader, writer)
    except (OSError, TimeoutError):
        return Found("something", where, "possible", hint="it takes a connection and does not answer")
    finally:
        writer.close()


async def _printer(where: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Found:
    writer.write(DLE_EOT_1)
    async with asyncio.timeout(ANSWER_S):
        reply = await reader.read(1)
    # Every reply has b0=0, b1=1, b4=1 and b7=0 (Epson's reference, DLE EOT).
    if reply and reply[0] & 0x93 == 0x12:
        return Found("ESC/POS printer", where, "certain", "escpos", {"connect": where})
    return Found("something", where, "possible", hint="it answers, but not as an ESC/POS printer does")


async def _modbus(where: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Found:
    decoder = TcpAnswerDecoder()
    for count in RELAYS_ASKED:
        writer.write(decoder.begin(read_coils(1, count)))
        async with asyncio.timeout(ANSWER_S):
            answer = await _answer(decoder, reader)
        if isinstance(answer, Bits):
            options = {"port": where, "relays": count, "inputs": 0}
            hint = "set relays and inputs as on the board"
            return Found("Modbus TCP board", where, "likely", "modbus-tcp", options, hint)
    return Found("Modbus TCP device", where, "likely", hint="unit 1 has no relays; ask its maker for its unit number")


async def _answer(decoder: TcpAnswerDecoder, reader: asyncio.StreamReader) -> Bits | ModbusException | None:
    while data := await reader.read(260):
        decoder.receive_data(data)
        for event in decoder:
            if isinstance(event, Bits | ModbusException):
                return event
    return None

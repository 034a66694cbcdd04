"""Serial ports: USB adapters, built-in UARTs and ptys, by serialx."""

from __future__ import annotations

import asyncio
import logging
import termios

import serialx

from drivers.transports.errors import cannot_open_serial
from drivers.transports.transport import OnBytes, Transport

# serialx logs every byte it reads at debug level, and those bytes are card numbers and codes.
logging.getLogger("serialx").setLevel(logging.INFO)


async def open_serial(port: str, on_bytes: OnBytes, *, baud: int = 9600) -> Transport:
    """Open serial device `port` for this process alone, 8N1 at `baud`, and return it.

    What was received before it was opened is thrown away. Raises DeviceOffline when it cannot be opened, DeviceFault
    when it is no serial port or cannot do this speed.
    """
    transport = Transport(port, on_bytes)
    loop = asyncio.get_running_loop()
    try:
        await serialx.create_serial_connection(loop, lambda: transport, port, baudrate=baud, exclusive=True)
    except (OSError, termios.error, serialx.SerialException, ValueError) as error:
        raise await asyncio.to_thread(cannot_open_serial, port, error) from error
    transport.start_reading()
    return transport

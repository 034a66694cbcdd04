"""A Modbus bus, serial or TCP, seen from its master: one request at a time, the urgent ones first."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from drivers.api import DeviceFault, DeviceOffline, DeviceTimeout, DriverError
from drivers.codecs.decoder import Refused
from drivers.codecs.modbus_rtu import Answer, AnswerDecoder, Request
from drivers.codecs.modbus_tcp import TcpAnswerDecoder
from drivers.noise import NoiseReport
from drivers.transports import Transport

MAX_WAITING = 16


class _Exchange:
    """One request and the future of its answer."""

    def __init__(self, request: Request, *, urgent: bool) -> None:
        self.request = request
        self.urgent = urgent
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()


class ModbusMaster:
    """Sends requests over `transport` and finds their answers in what `receive_data` is given.

    `frame_gap_s` is the silence that ends a frame on the line: no request goes out sooner after the last byte came in.
    `decoder` is how frames look: those of a serial line, or of Modbus TCP.
    """

    def __init__(
        self,
        transport: Transport,
        noise: NoiseReport,
        *,
        answer_timeout_s: float,
        frame_gap_s: float,
        decoder: AnswerDecoder | TcpAnswerDecoder | None = None,
    ) -> None:
        self._transport = transport
        self._noise = noise
        self._answer_timeout_s = answer_timeout_s
        self._frame_gap_s = frame_gap_s
        self._loop = asyncio.get_running_loop()
        self._decoder = decoder or AnswerDecoder()
        self._current: _Exchange | None = None
        self._urgent: deque[_Exchange] = deque()
        self._others: deque[_Exchange] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._quiet_from_s = 0.0
        transport.closed.add_done_callback(self._on_closed)

    async def ask(self, request: Request, *, urgent: bool = False) -> Answer:
        """Send `request` as soon as the bus is free, at once if it is, and return the answer.

        Urgent requests go before all others that wait. Raises DeviceTimeout when no answer came, in time or before the
        connection broke (the board may have done it all the same), DeviceOffline when the connection broke before it
        was sent, DeviceFault when too many wait already.
        """
        if len(self._urgent) + len(self._others) >= MAX_WAITING:
            raise DeviceFault(f"{self._transport.name} is busy: too many commands wait for the board to answer")
        exchange = _Exchange(request, urgent=urgent)
        queue = self._urgent if urgent else self._others
        queue.append(exchange)
        self._start_next()
        try:
            return await exchange.answer
        finally:
            # A caller that went away takes its request back, unless it is on the line already.
            if exchange in queue:
                queue.remove(exchange)

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the line; an answer that they complete is handed out."""
        self._quiet_from_s = self._loop.time() + self._frame_gap_s
        self._decoder.receive_data(data)
        for event in self._decoder:
            if isinstance(event, Refused):
                self._noise.add(event.byte_count, event.why)
            else:
                self._finish(event)

    def _start_next(self) -> None:
        queue = self._urgent or self._others
        if self._current is not None or not queue:
            return
        gap_s = self._quiet_from_s - self._loop.time()
        if gap_s > 0:
            self._set_timer(gap_s, self._start_next)
        else:
            self._send(queue.popleft())

    def _send(self, exchange: _Exchange) -> None:
        self._current = exchange
        try:
            self._transport.write(self._decoder.begin(exchange.request))
        except DriverError as error:
            self._finish(error)
        else:
            self._set_timer(self._answer_timeout_s, self._on_timeout)

    def _finish(self, outcome: Answer | DriverError) -> None:
        exchange, self._current = self._current, None
        self._set_timer(None)
        if exchange is not None:
            _settle(exchange, outcome)
        self._start_next()

    def _on_timeout(self) -> None:
        is_command = self._current is not None and self._current.urgent
        if self._transport.undelivered_bytes if is_command else self._transport.unsent_bytes:
            # A command that is stuck here, or on a network that is down, must not move a gate later, when nobody
            # expects it.
            self._transport.abort()
        self._decoder.expect(None)
        self._finish(
            DeviceTimeout(f"no answer on {self._transport.name} within {self._answer_timeout_s * 1000:.0f} ms")
        )

    def _on_closed(self, closed: asyncio.Future[DeviceOffline]) -> None:
        self._set_timer(None)
        current, self._current = self._current, None
        waiting = [*self._urgent, *self._others]
        self._urgent.clear()
        self._others.clear()
        if current is not None:
            # It is on the line: only its answer could have told whether the board did it.
            _settle(current, DeviceTimeout(f"the link broke before the board answered: {closed.result()}"))
        for exchange in waiting:
            _settle(exchange, closed.result())

    def _set_timer(self, delay_s: float | None, callback: Callable[[], None] | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if delay_s is None or callback is None else self._loop.call_later(delay_s, callback)


def _settle(exchange: _Exchange, outcome: Answer | DriverError) -> None:
    if exchange.answer.done():
        return
    if isinstance(outcome, DriverError):
        exchange.answer.set_exception(outcome)
    else:
        exchange.answer.set_result(outcome)

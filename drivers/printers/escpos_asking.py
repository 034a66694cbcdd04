"""The return channel of an ESC/POS printer: asks how it is, listens to what it says by itself, keeps the last word."""

from __future__ import annotations

import asyncio

from drivers.api import Emit, Noise, PrinterStatus
from drivers.codecs import escpos
from drivers.codecs.escpos_status import Reply, StatusBlock, StatusDecoder, from_block, with_reply
from drivers.noise import NoiseReport
from drivers.transports import Transport


class StatusChannel:
    """One printer's status over all its links. Emits a `PrinterStatus` whenever it changes.

    Requests go out one at a time, because a reply does not say what it answers. `answers` is True once the printer
    has ever replied: from then on silence is a fault, not a lack of the feature.
    """

    def __init__(self, emit: Emit, timeout_s: float) -> None:
        self._emit = emit
        self._noise = NoiseReport(emit)
        self._timeout_s = timeout_s
        self._decoder = StatusDecoder()
        self._current = PrinterStatus()
        self._published: PrinterStatus | None = None
        self._reply: asyncio.Future[None] | None = None
        self._mute: set[int] = set()
        self._announced = False
        self.answers = False

    def restart(self) -> None:
        """The device is opened anew: nothing is emitted before `announced()`, and then even what was known before."""
        self._published = None
        self._announced = False

    def announced(self) -> None:
        """`Online` has been emitted, so the status may follow."""
        self._announced = True
        self.publish()

    def new_link(self) -> None:
        """Forget what the last link left unfinished."""
        self._decoder = StatusDecoder()
        self._current = PrinterStatus()
        self._mute.clear()

    def receive(self, data: bytes) -> None:
        """Bytes from the printer."""
        for event in self._decoder.receive(data):
            match event:
                case Reply():
                    self._current = with_reply(self._current, event)
                    if self._reply is not None and not self._reply.done():
                        self._reply.set_result(None)
                case StatusBlock():
                    self._current = from_block(event)
                    self.publish()
                case Noise():
                    self._noise.add(event.byte_count, event.why)

    def close(self) -> None:
        """Report the noise that is still to be reported."""
        self._noise.close()

    def publish(self) -> None:
        """Emit the status if it is news."""
        if self._announced and self._current != self._published:
            self._published = self._current
            self._emit(self._current)

    def cannot_say(self) -> None:
        """The printer fell silent: what it said before no longer counts."""
        self._current = PrinterStatus()
        self.publish()

    async def ask(self, link: Transport) -> PrinterStatus | None:
        """Ask everything; None when the printer does not answer. The caller sees to it that no job is under way.

        A request that a printer leaves open while it answers the first is one it does not know: it is not asked
        again on this link. Raises DeviceOffline when the link is gone.
        """
        for n in escpos.STATUS_REQUESTS:
            if n in self._mute or await self._answered(link, n):
                continue
            if n == 1:
                return None
            self._mute.add(n)
            # A late answer must come now, while nothing is asked, and not be taken for that of the next request.
            await asyncio.sleep(self._timeout_s)
        self.answers = True
        self.publish()
        return self._current

    async def _answered(self, link: Transport, n: int) -> bool:
        self._reply = asyncio.get_running_loop().create_future()
        self._decoder.asked(n)
        try:
            link.write(escpos.status_request(n))
            async with asyncio.timeout(self._timeout_s):
                await self._reply
        except TimeoutError:
            return False
        finally:
            self._decoder.forget()
        return True

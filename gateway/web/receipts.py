"""Pictures of receipts: drawn one at a time in a thread, and the last few kept."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict

import msgspec

from drivers.document import Document, problems
from drivers.printers.preview import document_picture, raw_picture
from gateway.domain.events import PrintQueued

KEPT_BYTES_MAX = 4 * 1024 * 1024
WAITING_MAX = 12
"""A page of receipts at once; whoever comes then is told to try again (I9)."""
COPY_LABEL = "KOPIE"


class TooBusy(Exception):
    """More pictures are asked for than are drawn in good time."""


class Receipts:
    """Draws receipts as PNG files."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._one = asyncio.Semaphore(1)
        self._waiting = 0

    async def picture(self, queued: PrintQueued, content: bytes) -> bytes:
        """Return the PNG of a print job. Raises TooBusy when too many wait already."""
        if (known := self._kept.get(queued.job)) is not None:
            self._kept.move_to_end(queued.job)
            return known
        if self._waiting >= WAITING_MAX:
            raise TooBusy
        self._waiting += 1
        try:
            async with self._one:
                png = await asyncio.to_thread(draw, content, raw=queued.content == "raw", copy=bool(queued.copy_of))
        finally:
            self._waiting -= 1
        self._keep(queued.job, png)
        return png

    def _keep(self, job: str, png: bytes) -> None:
        self._kept_bytes += len(png) - len(self._kept.pop(job, b""))
        self._kept[job] = png
        while self._kept_bytes > KEPT_BYTES_MAX:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])


def draw(content: bytes, *, raw: bool, copy: bool) -> bytes:
    """Return the picture of a stored job as PNG; a document that cannot be read is shown as raw bytes are."""
    document = None if raw else _document(content)
    label = COPY_LABEL if copy else None
    picture = raw_picture(content) if document is None else document_picture(document, copy_label=label)
    stream = io.BytesIO()
    picture.point(_black_or_white).convert("1").save(stream, "PNG")
    return stream.getvalue()


def _document(content: bytes) -> Document | None:
    try:
        document = msgspec.json.decode(content, type=Document)
    except msgspec.DecodeError:
        return None
    return document if not problems(document) else None


def _black_or_white(grey: int) -> int:
    """As a thermal head does it: a dot is burnt or it is not."""
    return 255 if grey > 127 else 0

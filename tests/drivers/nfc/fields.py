"""What tests of contactless readers share: a simulated PN532 in this process, and cards."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from simulators.pn532 import Pn532
from simulators.pty_line import PtyLine


@asynccontextmanager
async def plugged() -> AsyncIterator[Pn532]:
    """A PN532 on a pty; its port is `device.line.link`."""
    with tempfile.TemporaryDirectory(prefix="vg-") as folder:
        device = Pn532(PtyLine(Path(folder) / "nfc"))
        device.line.plug()
        try:
            yield device
        finally:
            device.close()

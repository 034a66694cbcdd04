"""What the directory needs of the running gateway: its zones, its folder, and processes for long work."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from zoneinfo import ZoneInfo

from drivers.transports.cores import roaming
from gateway import gently
from gateway.config.schema import Configuration
from gateway.store.directory_overlay import Batch
from gateway.upstream.download import DOWNLOAD_FILE

WHY_MAX = 500


class VenueAtWork:
    """`configuration` returns the one in force; `file_changed` and `changed` are called in the loop."""

    def __init__(
        self,
        config_path: Path,
        configuration: Callable[[], Configuration],
        file_changed: Callable[[], None],
        changed: Callable[[Batch], None],
    ) -> None:
        self._config_path = config_path
        self._configuration = configuration
        self.directory_file_changed = file_changed
        self.directory_changed = changed

    @property
    def zone_info(self) -> ZoneInfo:
        """The venue's time zone."""
        return self._configuration().venue.zone_info

    @property
    def known_zones(self) -> Collection[str]:
        """The zones of the configuration."""
        return self._configuration().zones

    async def import_snapshot(self, cursor: int) -> str:
        """Import the downloaded file; returns why that was refused, or an empty text."""
        file = self._configuration().state_dir / DOWNLOAD_FILE
        return await self._run("import", str(file), "--cursor", str(cursor))

    async def fold(self) -> str:
        """Build a new file of what is in force; returns why that failed, or an empty text."""
        return await self._run("fold")

    async def _run(self, verb: str, *arguments: str) -> str:
        # A process of its own lets the kernel put taps first; a thread would take turns with them.
        with roaming():
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", gently.__name__, "gateway", "directory", verb, *arguments),
                *("--config", str(self._config_path)),
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
        try:
            _, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode == 0:
            return ""
        first = said.decode(errors="replace").strip().split("\n", 1)[0]
        return first[:WHY_MAX] or f"venue-gateway directory {verb} ended with status {process.returncode}"

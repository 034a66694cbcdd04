"""The processes beside the simulators: a private Mosquitto, the gateway, and single commands of its command line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from simulators.venue import environment

READY_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 30.0
RETRY_S = 0.02
PORT_ATTEMPTS = 5
LOG_TAIL_LINES = 15
# Debian puts mosquitto where a plain user's PATH does not look.
SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"))


class StageError(Exception):
    """Something the demonstration needs does not work. The message says what to do."""


async def command(*arguments: str | Path) -> str:
    """Run `venue-gateway ARGUMENTS` and return what it printed. Raises StageError when it is refused."""
    status, output = await try_command(*arguments)
    if status:
        raise StageError(f"venue-gateway {' '.join(map(str, arguments))} ended with status {status}:\n{output}")
    return output


async def try_command(*arguments: str | Path) -> tuple[int, str]:
    """Run `venue-gateway ARGUMENTS`; its exit status and what it printed, both streams together."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", *map(str, arguments), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=environment(),
    )  # fmt: skip
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            output, _ = await process.communicate()
    except TimeoutError:
        name = " ".join(map(str, arguments))
        raise StageError(f"venue-gateway {name} did not end within {COMMAND_TIMEOUT_S:g} s") from None
    finally:
        await _end(process)
    return process.returncode or 0, output.decode(errors="replace")


class Child:
    """A long-running process with a log file of its own; it ends with this process, however this one ends."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def ended(self) -> int | None:
        """The exit status once it has ended by itself or was ended, None while it runs."""
        return self._process.returncode if self._process is not None else None

    async def start(self, arguments: Sequence[str | Path]) -> None:
        """Start it, in a session of its own: Ctrl-C is for the demonstration, which then ends things in order."""
        guard = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *guard, *map(str, arguments), stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
                env=environment(), start_new_session=True,
            )  # fmt: skip

    def signal(self, number: signal.Signals) -> None:
        """Send a signal. Raises StageError when the process has ended."""
        if self._process is None or self._process.returncode is not None:
            raise StageError(f"{self.name} is not running; its last words:\n{self.last_words()}")
        self._process.send_signal(number)

    async def kill(self) -> None:
        """End it as kill -9 does."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def stop(self) -> int:
        """Ask it to end, and end it if it does not. Returns its exit status."""
        return await _end(self._process) if self._process is not None else 0

    def last_words(self) -> str:
        """The end of its log."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return "(nothing)"
        return "\n".join(lines[-LOG_TAIL_LINES:]) or "(nothing)"


async def _end(process: asyncio.subprocess.Process) -> int:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
    return await process.wait()


class Broker(Child):
    """A private Mosquitto on a free port, from the files that `venue-gateway broker write` makes."""

    def __init__(self, folder: Path) -> None:
        super().__init__("mosquitto", folder / "mosquitto.log")
        self._folder = folder
        self.port = 0

    async def open(self, config: Path) -> None:
        """Write its files and start it. Raises StageError."""
        program = find_mosquitto()
        for _ in range(PORT_ATTEMPTS):
            self.port = _free_port()
            # Started as root, Mosquitto would become a user who cannot read a private folder.
            user = pwd.getpwuid(os.geteuid()).pw_name
            listen = f"127.0.0.1:{self.port}"
            files = self._folder / "broker"
            await command("broker", "write", files, "--listen", listen, "--user", user, "--config", config)
            await self.start([program, "-c", files / "mosquitto.conf"])
            if await self._answers():
                return
        raise StageError(f"Mosquitto does not start; its last words:\n{self.last_words()}")

    async def _answers(self) -> bool:
        """Whether it listens; False when it ended, most likely because somebody took the port meanwhile."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                while self.ended is None:
                    with contextlib.suppress(OSError):
                        _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                        writer.close()
                        return True
                    await asyncio.sleep(RETRY_S)
        except TimeoutError:
            await self.stop()
        return False


def find_mosquitto() -> str:
    """The path of Mosquitto. Raises StageError when it is not installed."""
    program = shutil.which("mosquitto", path=SEARCH_PATH)
    if program is None:
        raise StageError("Mosquitto is not installed, and the demonstration needs a broker: run `make setup`")
    return program


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Gateway(Child):
    """The daemon: `venue-gateway run --config FILE`."""

    def __init__(self, folder: Path, config: Path) -> None:
        super().__init__("the gateway", folder / "gateway.log")
        self._config = config

    async def run(self) -> None:
        """Start it; it says itself over MQTT when it is ready."""
        await self.start([sys.executable, "-m", "gateway", "run", "--config", self._config])

    def reload(self) -> None:
        """Make it read its configuration again."""
        self.signal(signal.SIGHUP)

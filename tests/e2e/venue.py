"""A whole venue: simulated devices, Mosquitto, an imported directory, the daemon, and an onlooker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from pathlib import Path
from typing import Any, Self

from simulators.control import Control
from simulators.venue import SimulatedVenue
from tests.e2e import settings
from tests.e2e.broker import Broker
from tests.e2e.bulletin import WAIT_S, poll
from tests.e2e.checks import contract_problems
from tests.e2e.daemon import Daemon, Finished, command
from tests.e2e.guests import Guests
from tests.e2e.observer import Observer
from tests.e2e.tablet import Conversation, Tablet
from tests.ports import free_port

Change = Callable[[dict[str, Any]], object]


class Venue:
    """Started as a context manager. `change` edits the configuration first; `start` tells what is to run at once."""

    def __init__(
        self,
        parts: Collection[str] = settings.ALL_PARTS,
        *,
        change: Change = lambda _: None,
        guests: int = 120,
        start: Collection[str] = ("broker", "directory", "daemon"),
        state_dir: Path | None = None,
    ) -> None:
        # A path of a Unix socket has at most 107 bytes, so pytest's own folders are too deep.
        self.directory = Path(tempfile.mkdtemp(prefix="vg-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.guests = Guests(guests)
        self.settings = settings.configuration(self.directory, parts, printer_port := free_port())
        if state_dir is not None:
            self.settings["state_dir"] = str(state_dir)
        change(self.settings)
        self.config = self.directory / "venue.yaml"
        self.write_config()
        self.simulators = SimulatedVenue(self.directory, settings.simulators(parts, printer_port))
        self.broker = Broker(self.directory / "broker" / "mosquitto.conf", self.directory / "m.sock", free_port())
        self.daemon = Daemon(self.config)
        self.observer = Observer(self.broker.socket, self.state_dir / "journal.db")
        self._start = start
        self._text_checked = 0
        self._open = contextlib.AsyncExitStack()

    @property
    def state_dir(self) -> Path:
        """Where the daemon keeps what it knows."""
        return Path(self.settings["state_dir"])

    def write_config(self) -> None:
        """Write `settings` as the configuration file; the daemon reads it when told."""
        self.config.write_text(settings.as_yaml(self.settings))

    # The start and the end.

    async def __aenter__(self) -> Self:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._open.enter_async_context(self.simulators))
                group.create_task(self._start_broker())
                if "directory" in self._start:
                    group.create_task(self.import_directory())
            if "broker" in self._start:
                await self._open.enter_async_context(self.observer)
            if "daemon" in self._start:
                await self.start_daemon()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End everything; the files stay until `remove()`, so that they can be looked at."""
        if self.daemon.running:
            await self.daemon.stop()
        await self._open.aclose()
        await self.broker.kill()

    def remove(self) -> None:
        """Delete the files."""
        shutil.rmtree(self.directory, ignore_errors=True)

    async def _start_broker(self) -> None:
        folder = self.broker.configuration.parent
        listen = f"127.0.0.1:{self.broker.port}"
        finished = await self.command("broker", "write", folder, "--user", "root", "--listen", listen)
        assert finished.status == 0, finished.err
        if "broker" in self._start:
            await self.broker.start()

    async def import_directory(self) -> Finished:
        """Import the guests by the command, as a technician does."""
        file = self.directory / "directory.ndjson"
        file.write_text("\n".join(self.guests.rows()) + "\n")
        finished = await self.command("directory", "import", file)
        assert finished.status == 0, finished.out + finished.err
        return finished

    async def command(self, *arguments: str | Path) -> Finished:
        """Run one command of `venue-gateway` on this venue's configuration."""
        return await command(*arguments, "--config", self.config)

    # The daemon.

    async def start_daemon(self, *, online: bool = True, wait_s: float = WAIT_S) -> None:
        """Start it and wait until it serves requests and, with `online`, every device that is plugged in works."""
        mark = self.daemon.mark
        await self.daemon.start()
        await self.daemon.logged("gateway_ready", since=mark, wait_s=wait_s)
        if "broker" in self._start:
            await self.daemon.logged("mqtt.connected", since=mark, wait_s=wait_s)
        for name in self.simulators.devices if online else ():
            await self.daemon.logged("device_status", since=mark, device=name, status="online")

    # Who takes part.

    async def device(self, name: str) -> Control:
        """The control of one simulated device."""
        return await self.simulators.control(name)

    @contextlib.asynccontextmanager
    async def client(self, name: str) -> AsyncIterator[Tablet]:
        """A client with the password that the gateway made for it."""
        password = (self.state_dir / "clients" / f"{name}.password").read_text().strip()
        async with Tablet(name, password, self.broker.port) as tablet:
            yield tablet

    @contextlib.asynccontextmanager
    async def insider(self, name: str) -> AsyncIterator[Tablet]:
        """Somebody who got past the broker's ACL and speaks as the client `name`."""
        async with Tablet(name, None, self.broker.socket) as tablet:
            yield tablet

    async def pulses(self, board: str, channel: int = 1) -> int:
        """How often a relay has been closed so far. Waits for its rest: a pulse within a pulse would not count."""
        state = await (await self.device(board)).until(lambda s: not s["relays"][channel - 1]["on"])
        return int(state["relays"][channel - 1]["switched_on"])

    async def closed(self, board: str, times: int, channel: int = 1) -> None:
        """Wait until a relay has been closed this often, and not once more."""
        await (await self.device(board)).until(lambda s: s["relays"][channel - 1]["switched_on"] >= times)
        assert await self.pulses(board, channel) == times

    async def admits(self, gate: str) -> None:
        """Wait until a gate would let someone in: whoever went through before has left its contact."""
        async with self.client("entrance") as entrance:

            async def ready() -> bool:
                answer = await (await entrance.ask(gate, "status")).final()
                return bool(answer["data"]["admits"])

            await poll(ready, f"the gate {gate} is free")

    async def authenticate(self, tablet: Tablet, gate: str, guest: Any, **options: Any) -> Conversation:
        """Ask for a guest at a gate."""
        return await tablet.ask(gate, "authenticate", {"credential": guest.credential}, **options)

    # What is on disk.

    def journal(self, after_seq: int = 0) -> list[dict[str, Any]]:
        """Every journal entry that is on disk, read as an auditor would who trusts nobody."""
        file = self.state_dir / "journal.db"
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT seq, body FROM journal WHERE seq > ? ORDER BY seq", (after_seq,)).fetchall()
        return [{"seq": seq, **json.loads(body)} for seq, body in rows]

    # What must hold after every test.

    def problems(self, *, stored: bool = False) -> list[str]:
        """Whatever was seen since the last call that breaks the contract, tells a secret or shows a mistake.

        With `stored` the databases are searched too.
        """
        seen, self.observer.seen = self.observer.seen, []
        text, self._text_checked = self.daemon.text[self._text_checked :], len(self.daemon.text)
        places = {
            "the log": text,
            "a message": [one.payload.decode("utf-8", "replace") for one in seen if "/requests/" not in one.topic],
        }
        if stored:
            files = self.state_dir.glob("*.db*")
            places["a database"] = [file.read_bytes().decode("latin-1") for file in files]
        found = [problem for message in seen for problem in contract_problems(message.topic, message.payload)]
        found += self.observer.feed_problems()
        found += [f"in the log: {line}" for line in self.daemon.bugs()]
        found += [f"a secret in {where}: {told}" for where, texts in places.items() for told in self.secrets_in(texts)]
        return found

    def secrets_in(self, texts: Iterable[str]) -> list[str]:
        """Every card number, code, password and key of this venue that stands in `texts`."""
        text = "\n".join(texts)
        hidden = {file.name: file.read_text().strip() for file in self.state_dir.glob("clients/*.password")}
        key = self.state_dir / "credential.key"
        if key.exists():
            hidden |= {"credential.key": key.read_bytes().decode("latin-1"), "its hex form": key.read_bytes().hex()}
        return self.guests.found_in(text) + [name for name, secret in hidden.items() if secret in text]

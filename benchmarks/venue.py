"""The venue under test: its configuration, a private broker, the daemon, and the processes it is compared with.

Everything runs on loopback and is ended by `close()`, whatever went wrong before.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from benchmarks.crowd import Crowd
from benchmarks.floors import ECHO_BASE, NAIVE_BASE, PEER_BASE
from benchmarks.local import LocalGate
from benchmarks.people import KEPT, ROOT

BASE = "venue/bench"
CLIENT = "bench"
GATES = tuple(f"gate-{number:02d}" for number in range(64))
"""Gates whose readers ask over MQTT and move their own barrier."""
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
PULSE_MS = 200
"""Longer than any tap takes: in a row of taps the relay then stays closed until the last."""
_MEMORY = "/dev/shm"  # noqa: S108 - made by mkdtemp inside it


class Venue:
    """One private venue in a folder of its own on the disk of the project."""

    def __init__(self, guests: Path) -> None:
        """Write every file for the guests of a folder from `people.directory_for`; nothing runs yet."""
        self.folder = Path(tempfile.mkdtemp(prefix="run-", dir=KEPT))
        # A path to a socket has room for 107 bytes, which the folder of a clone may exceed.
        self._sockets = Path(tempfile.mkdtemp(prefix="bench-"))
        self._memory = Path(tempfile.mkdtemp(prefix="bench-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
        self.socket_path = str(self._sockets / "mqtt.sock")
        self.state_dir = self.folder / "state"
        self.config = self.folder / "venue.yaml"
        self.crowded_config = self.folder / "crowd.yaml"
        self.port, self.open_port = free_ports(2)
        self.local = LocalGate()
        self.crowd = Crowd()
        self.naive_directory = guests / "naive.db"
        self._processes: list[subprocess.Popen[str]] = []
        self.daemon: subprocess.Popen[str]
        self._take_guests(guests)
        self.config.write_text(self._yaml())
        self.crowded_config.write_text(_yaml_of(self.socket_path, {"local": self.local, **self.crowd.gates}))

    @property
    def password(self) -> str:
        """The benchmark client's password at the broker."""
        return (self.state_dir / "clients" / f"{CLIENT}.password").read_text().strip()

    @property
    def wal(self) -> Path:
        """The journal's write-ahead log."""
        return self.state_dir / "journal.db-wal"

    @property
    def log(self) -> Path:
        """What the daemon logs; in memory, so that it does not count as bytes written for a tap."""
        return self._memory / "gateway.log"

    def start_broker(self) -> None:
        """Write Mosquitto's files with the gateway's own command, and start it on them."""
        folder = self.folder / "broker"
        root = ["--user", "root"] if os.geteuid() == 0 else []
        listen = ["--listen", f"127.0.0.1:{self.port}"]
        command = [sys.executable, "-m", "gateway", "broker", "write", str(folder), "--config", str(self.config)]
        subprocess.run([*command, *listen, *root], cwd=ROOT, check=True, timeout=60, stdout=subprocess.DEVNULL)
        self._grant_comparison(folder)
        with (self.folder / "broker.log").open("w") as log:
            self._start(["mosquitto", "-c", str(folder / "mosquitto.conf")], stderr=log)
        wait_for(lambda: Path(self.socket_path).exists() and listens(self.port), "the broker")

    def start_daemon(self, config: Path | None = None, environment: Mapping[str, str] | None = None) -> None:
        """Start the gateway, on another configuration or in another environment if one is given; returns at once."""
        self.local.restarted()
        self.crowd.restarted()
        with self.log.open("a") as log:
            command = [sys.executable, "-m", "gateway", "run", "--config", str(config or self.config)]
            self.daemon = self._start(command, stderr=log, environment=environment)

    def kill_daemon(self) -> None:
        """Kill the gateway without a chance to tidy up."""
        self.daemon.kill()
        self.daemon.wait(STOP_TIMEOUT_S)
        self._processes.remove(self.daemon)
        # The log of a daemon that worked is of no use, and memory is what it is kept in.
        self.log.unlink()

    def start_comparison(self) -> None:
        """Start the echo and the naive service, and wait until they serve."""
        echo = ["echo", "--socket", self.socket_path]
        journal = self.folder / "naive-journal.db"
        naive = ["naive", "--port", str(self.open_port), "--journal", str(journal), "--directory"]
        for options in (echo, [*naive, str(self.naive_directory)]):
            service = self._start([sys.executable, "-m", "benchmarks.floors", *options], stdout=subprocess.PIPE)
            if service.stdout is None or service.stdout.readline() != "ready\n":
                raise RuntimeError(f"{options[0]} did not start")

    def resident_mb(self, field: str = "VmRSS") -> float:
        """Return the daemon's resident memory in MB of 10**6 bytes (proc(5), /proc/pid/status)."""
        for line in Path(f"/proc/{self.daemon.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise RuntimeError(f"no {field} in /proc/{self.daemon.pid}/status")

    def cpu_s(self) -> float:
        """Return the processor time the daemon has used, all threads, user and system (proc(5), /proc/pid/stat)."""
        # The name in parentheses may hold spaces; utime and stime are the 12th and 13th field after it.
        fields = Path(f"/proc/{self.daemon.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log_tail(self) -> str:
        """Return the last lines of the daemon's log, for the report of a failure."""
        return "\n".join(self.log.read_text().splitlines()[-10:]) if self.log.exists() else ""

    def close(self) -> None:
        """End every process that was started here, and remove every file."""
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self.local.close()
        self.crowd.close()
        for folder in (self.folder, self._sockets, self._memory):
            shutil.rmtree(folder, ignore_errors=True)

    def _start(
        self,
        command: Sequence[str],
        stdout: int = subprocess.DEVNULL,
        stderr: IO[str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        # In a session of its own, so that Ctrl-C reaches this process only, which then ends the others in order.
        process = subprocess.Popen(
            [*with_us(), *command],
            cwd=ROOT,
            env=environment,
            text=True,
            start_new_session=True,
            stdout=stdout,
            stderr=stderr,
        )
        self._processes.append(process)
        return process

    def _take_guests(self, guests: Path) -> None:
        """Share the imported directory: it is only ever read, and replaced by renaming."""
        self.state_dir.mkdir(mode=0o750)
        for name in ("directory.db", "credential.key"):
            os.link(guests / name, self.state_dir / name)

    def _yaml(self) -> str:
        return _yaml_of(self.socket_path, {"local": self.local})

    def _grant_comparison(self, folder: Path) -> None:
        """Let the same client ask the echo, the naive service and the peer, and these answer.

        The rest of the ACL stays as generated, so every request passes the same checks, whoever answers it.
        """
        acl, conf = folder / "mosquitto.acl", folder / "mosquitto.conf"
        user = f"user {CLIENT}\n"
        more = "".join(f"topic readwrite {base}/#\n" for base in (ECHO_BASE, NAIVE_BASE, PEER_BASE))
        text = acl.read_text()
        if user not in text:
            raise RuntimeError(f"{acl} does not name the user {CLIENT}")
        acl.write_text(text.replace(user, user + more))
        with conf.open("a") as file:
            file.write(f"\nlistener {self.open_port} 127.0.0.1\nallow_anonymous true\n")


def with_us() -> list[str]:
    """Return what to put before a command so that its process ends also when this one is killed (util-linux)."""
    return ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def _yaml_of(socket_path: str, wired: Mapping[str, LocalGate]) -> str:
    """Return the configuration of a venue whose gates ask over MQTT, but for these, which have devices on a wire."""
    devices, gates = "", ""
    for name, gate in wired.items():
        devices += f"  {name}-reader: {{driver: rdm6300, port: {gate.reader.port}}}\n"
        devices += f"  {name}-relay: {{driver: lcus, port: {gate.relay.port}}}\n"
        gates += f"  {name}: {{to: hall, readers: [{name}-reader], lock: {name}-relay.1, pulse_ms: {PULSE_MS}}}\n"
    asking = "".join(f"  {gate}: {{to: hall}}\n" for gate in GATES)
    grants = ", ".join(f"{gate}: [authenticate]" for gate in GATES)
    return (
        "venue: {id: bench, timezone: Europe/Berlin, currency: EUR}\n"
        f"broker: unix://{socket_path}\n"
        "state_dir: state\n"
        "zones: {hall: {}}\n"
        f"devices:\n{devices}"
        f"gates:\n{gates}{asking}"
        f"clients: {{{CLIENT}: {{may: {{{grants}}}}}}}\n"
    )


def free_ports(count: int) -> list[int]:
    """Return free ports on loopback; all are held until all are found, so that they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def listens(port: int) -> bool:
    """Return whether a server answers on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds. Raises TimeoutError, which names `what` did not come up."""
    until = time.monotonic() + START_TIMEOUT_S
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"{what} did not come up within {START_TIMEOUT_S:g} s")
        time.sleep(0.02)

"""How the gateway is, in figures: where each one comes from. `gateway.web.metrics` serves them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import __version__
from gateway.config.schema import Configuration
from gateway.flows.recorder import Committed
from gateway.ops.files import days_left
from gateway.store.buckets import Buckets
from gateway.web.metrics import Family, MetricsServer, Sample, Timing, counter, gauge
from gateway.web.tally import Tally

if TYPE_CHECKING:
    from gateway.app import Gateway

LAG_EVERY_S = 1.0
SECTOR_BYTES = 512
WRITTEN_FIELD = 6
"""Sectors written, in the stat file of a block device: Documentation/block/stat.rst of Linux."""
FEED = "mqtt-feed"


class Metering:
    """Counts while somebody may ask, and does nothing at all where the YAML has no `metrics`."""

    def __init__(self, gateway: Gateway) -> None:
        """Measure `gateway`."""
        self._gateway = gateway
        self._tally = Tally()
        self._lag = Buckets()
        self._server = MetricsServer(self.sample)
        self._on = False
        self._timer: asyncio.TimerHandle | None = None
        self._began_s = time.monotonic()

    async def configure(self, configuration: Configuration) -> None:
        """Serve the figures where the configuration says, or not at all."""
        self._on = configuration.metrics is not None
        if self._on and self._timer is None:
            self._look_later()
        await self._server.configure(configuration.metrics.address if configuration.metrics is not None else None)

    async def close(self) -> None:
        """Stop."""
        self._on = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._server.close()

    def committed(self, entries: Sequence[Committed]) -> None:
        """Follow the recorder."""
        if self._on:
            self._tally.committed(entries)

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(loop.time() + LAG_EVERY_S, self._look, loop.time() + LAG_EVERY_S)

    def _look(self, due_s: float) -> None:
        """See how late the loop is: so long a tap would have waited."""
        self._timer = None
        self._lag.took(max(0.0, asyncio.get_running_loop().time() - due_s))
        if self._on:
            self._look_later()

    def sample(self) -> Sample:
        """Return every figure as it stands now."""
        return (*self._daemon(), *self._happened(), *self._disk(), *self._queues(), *self._devices())

    def _daemon(self) -> Iterator[Family | Timing]:
        gateway = self._gateway
        labels = (__version__, gateway.configuration.venue.id)
        yield Family("info", "Which version serves which venue.", "gauge", ("version", "venue"), {labels: 1})
        yield gauge("uptime_seconds", "Since the start of the daemon.", time.monotonic() - self._began_s)
        troubles = len(gateway.reporter.troubles())
        yield gauge("troubles", "How many things are wrong; the state on MQTT names them.", troubles)
        clock_s = gateway.recorder.clock_behind_ms / 1000
        yield gauge("clock_behind_seconds", "How far the clock is behind the newest journal entry.", clock_s)
        yield Timing("loop_lag_seconds", "How late the loop was: so long a tap would have waited.", (), {(): self._lag})
        as_of_ms = gateway.directory.as_of_ms
        age_s = time.time() - as_of_ms / 1000 if as_of_ms else float("inf")
        yield gauge("directory_age_seconds", "Since the directory was made; infinite without one.", age_s)
        credentials = gateway.directory.counts.credentials
        yield gauge("directory_credentials", "Cards and codes in the directory.", credentials)
        days = {(file,): left for file, left in days_left(gateway.configuration, time.time()).items()}
        text = "For how many days each certificate still holds; below zero it has ended."
        yield Family("certificate_remaining_days", text, "gauge", ("certificate",), days)
        guests = {(zone,): float(count) for zone, count in gateway.recorder.state.occupancy.items()}
        yield Family("zone_guests", "Who is inside.", "gauge", ("zone",), guests)

    def _happened(self) -> Iterator[Family | Timing]:
        tally = self._tally
        stages = {(stage,): buckets for stage, buckets in tally.stages.items()}
        yield Timing("stage_seconds", "From one fact to the next, as the journal tells them.", ("stage",), stages)
        yield counter("decisions_total", "Entry decisions; the reason is `granted` or why not.", _GATE, tally.decisions)
        yield counter("payments_total", "Wallet movements; the result is `done` or why not.", _ACTION, tally.payments)
        redemptions = {(result,): float(count) for result, count in tally.redemptions.items()}
        yield counter("redemptions_total", "Redemptions; the result is `done` or why not.", ("result",), redemptions)
        yield counter("prints_total", "Print jobs by how they ended.", ("printer", "result"), tally.prints)
        yield counter("drawer_openings_total", "Openings by how they ended.", ("drawer", "result"), tally.drawers)
        alarms = {(kind,): float(count) for kind, count in tally.alarms.items()}
        yield counter("alarms_total", "Alarms and unknown outcomes, by the kind of event.", ("kind",), alarms)

    def _disk(self) -> Iterator[Family | Timing]:
        journal, state_dir = self._gateway.recorder.journal, self._gateway.configuration.state_dir
        commits = {(): journal.committer.times}
        yield Timing("commit_seconds", "One commit, from the first byte to the end of its sync.", (), commits)
        yield counter("written_bytes_total", "Sent to the disk by the daemon.", (), {(): float(_written())})
        if (all_bytes := _written_by_all(state_dir)) is not None:
            name, text = "disk_written_bytes_total", "Written to the card or disk of the state folder, by anybody."
            yield counter(name, text, (), {(): float(all_bytes)})
        disk = os.statvfs(state_dir)
        yield gauge("disk_free_bytes", "Room for the journal.", disk.f_bavail * disk.f_frsize)
        lost = self._gateway.recorder.lost is not None
        yield gauge("storage_lost", "1 while nothing can be stored, so that nobody is let in.", lost)

    def _queues(self) -> Iterator[Family | Timing]:
        gateway = self._gateway
        journal, state = gateway.recorder.journal, gateway.recorder.state
        yield gauge("journal_seq", "The newest row of the journal.", journal.last_seq)
        yield gauge("journal_pending_rows", "Rows that wait for the disk.", journal.pending)
        yield gauge("state_unfolded_rows", "Rows that a start would have to replay.", len(state.dirty))
        read = {**journal.cursors, FEED: gateway.mqtt.feed.acknowledged_seq}
        behind = {(name,): float(max(0, journal.last_seq - seq)) for name, seq in read.items()}
        yield Family("behind_rows", "Backlog of each reader of the journal.", "gauge", ("reader",), behind)
        yield gauge("answers_waiting", "Answers that wait for the broker.", gateway.mqtt.answers.kept)
        yield gauge("broker_connected", "1 while the broker is there.", gateway.mqtt.session.connected)
        jobs = dict.fromkeys(((name,) for name in gateway.wiring.printers), 0.0)
        for job in state.jobs.values():
            if job.open and (job.queued.printer,) in jobs:
                jobs[job.queued.printer,] += 1
        yield Family("print_queue_jobs", "Receipts that wait or print.", "gauge", ("printer",), jobs)
        yield gauge("wallet_holds_open", "Amounts held and not taken yet.", len(state.ledger.holds))
        yield gauge("readers_waiting", "Readers that wait for a card to pay.", len(state.ledger.armed))

    def _devices(self) -> Iterator[Family | Timing]:
        slots = self._gateway.supervisor.slots.values()
        up = {(slot.name,): float(slot.online) for slot in slots}
        yield Family("device_up", "1 while a device works.", "gauge", ("device",), up)
        restarts = {(slot.name,): float(slot.restarts) for slot in slots}
        yield counter("device_restarts_total", "How often a device was lost.", ("device",), restarts)
        faults = {(slot.name, str(fault)): float(count) for slot in slots for fault, count in slot.faults.items()}
        yield counter("device_faults_total", "How often a driver misbehaved.", ("device", "fault"), faults)


_GATE, _ACTION = ("gate", "reason"), ("action", "result")


def _written() -> int:
    """Return the bytes that this process has sent to a disk: proc_pid_io(5)."""
    with suppress(OSError, ValueError, KeyError):
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
        return int(dict(line.split(": ") for line in lines)["write_bytes"])
    return 0


def _written_by_all(folder: Path) -> int | None:
    """Return the bytes written to the disk under a folder, None where it is no block device."""
    device = folder.stat().st_dev
    stat = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    try:
        return int(stat.read_text(encoding="ascii").split()[WRITTEN_FIELD]) * SECTOR_BYTES
    except (OSError, ValueError, IndexError):
        return None

"""The composition root: a configuration becomes objects, and the objects run in one TaskGroup.

This is the only file that knows everyone. `run()` is the daemon's life from the first line of the log to the last;
`Gateway.configure()` brings a configuration into force, at the start and again at every SIGHUP.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import msgspec
import structlog
import uvloop

from drivers.api import DeviceEvent
from drivers.transports.cores import settle
from gateway import __version__
from gateway.config.loading import ConfigurationError, load
from gateway.config.schema import Configuration
from gateway.console import Console
from gateway.devices.registry import DRIVERS, DriverEntry, kinds
from gateway.devices.supervisor import DeviceSlot, Supervisor
from gateway.domain import bench, drawers, gates, printing, purchases, redemptions
from gateway.domain import events as e
from gateway.domain.ids import RandomPool, Uuid7
from gateway.domain.state import VenueState
from gateway.fleet import Fleet
from gateway.flows.allowances import AllowanceFlow, terms
from gateway.flows.clock import ClockFlow
from gateway.flows.desk import Desk
from gateway.flows.entry import EntryFlow
from gateway.flows.feedback import FeedbackFlow
from gateway.flows.purchase import PurchaseFlow
from gateway.flows.recorder import SET_BACK_MS, Recorder
from gateway.flows.venue_clock import VenueClock
from gateway.housekeeping import CALM_AFTER_S, EXIT_STORAGE, Housekeeping, calm_collector, end_all
from gateway.mqtt.device_bus import DeviceBus
from gateway.mqtt.face import MqttFace
from gateway.mqtt.requests import keyed_digest
from gateway.ops.metering import Metering
from gateway.reporting import Reporter, memory_max_kb
from gateway.service import Lifeline
from gateway.staging import go_back
from gateway.store.credentials import CredentialKey
from gateway.store.directory import DIRECTORY_FILE, Directory
from gateway.store.history import History
from gateway.store.journal import Journal, StorageUnavailable
from gateway.store.locking import lock_state_dir
from gateway.system_clock import LinuxClock, VouchFile
from gateway.trials import Trials
from gateway.upstream.face import UpstreamFace
from gateway.wiring import Wiring

log = structlog.get_logger(__name__)

EXIT_OK, EXIT_REFUSED = 0, 1


def run(config_path: Path) -> int:
    """Serve the venue of a configuration file until told to stop; returns the exit status."""
    try:
        configuration = read_configuration(config_path)
    except ConfigurationError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return EXIT_REFUSED
    try:
        lock = lock_state_dir(configuration.state_dir)
    except PermissionError:
        raise  # the command line says who may
    except OSError as error:
        print(f"{configuration.state_dir}: {error}", file=sys.stderr)
        return EXIT_REFUSED
    with lock:
        # No trial changes the state folder, so the lock is the same for the one before.
        if go_back(config_path):
            configuration = read_configuration(config_path)
        return uvloop.run(_serve(configuration, config_path))


def read_configuration(path: Path) -> Configuration:
    """Read a configuration for the drivers there are. Raises ConfigurationError."""
    return load(path, kinds())


async def _serve(configuration: Configuration, config_path: Path) -> int:
    state_dir = configuration.state_dir
    settle()  # before the journal's writer begins, which then stays on the same core
    try:
        key = CredentialKey.load_or_create(state_dir)
    except StorageUnavailable as error:
        log.error("credential_key_not_usable", why=str(error))
        return EXIT_STORAGE
    try:
        journal = Journal.open(state_dir / "journal.db")
    except StorageUnavailable as error:
        log.error("journal_not_opened", why=str(error))
        return EXIT_STORAGE
    clock = VenueClock(LinuxClock())
    recorder = Recorder(VenueState(configuration.zone_map), journal, clock.now_ms, Uuid7(RandomPool(os.urandom).take))
    _reload(directory := Directory(state_dir / DIRECTORY_FILE))
    gateway = Gateway(configuration, config_path, recorder, directory, key, Outside(clock))
    loop = asyncio.get_running_loop()
    for number, act in ((signal.SIGTERM, gateway.stop), (signal.SIGINT, gateway.stop), (signal.SIGHUP, gateway.reload)):
        loop.add_signal_handler(number, act)
    loop.call_later(CALM_AFTER_S, calm_collector)  # once the state is rebuilt and the first links are up
    await gateway.trials.open(state_dir)
    return await gateway.run()


def _reload(directory: Directory) -> bool:
    """Take the newest directory; a damaged one is a cache that can be imported again, and no reason not to run."""
    try:
        directory.reload()
    except StorageUnavailable as error:
        log.error("directory_not_loaded", why=str(error))
        return False
    return True


class Outside(msgspec.Struct, frozen=True):
    """What comes from outside, and all that a simulation has to hold in its hand besides the recorder and its ids.

    Time comes from `clock`, devices are made by `drivers`, a reload reads by `read`; `memory_kb` is what it took.
    """

    clock: VenueClock
    drivers: Mapping[str, DriverEntry] = msgspec.field(default_factory=lambda: DRIVERS)
    random: Random = msgspec.field(default_factory=SystemRandom)
    read: Callable[[Path], Configuration] = read_configuration
    memory_kb: Callable[[], int] = memory_max_kb


class Gateway:
    """The running venue."""

    def __init__(
        self,
        configuration: Configuration,
        path: Path,
        recorder: Recorder,
        directory: Directory,
        key: CredentialKey,
        outside: Outside,
    ) -> None:
        """Put the parts together; nothing runs yet."""
        self.configuration = configuration
        self.drivers = drivers = outside.drivers
        self.config_path = path
        self.read = outside.read
        self.random = outside.random
        # In the order in which they began, so that a run can be repeated exactly.
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._exit_status = EXIT_OK
        self.recorder = recorder
        self.key = key
        self.directory = directory
        self.history = History(configuration.state_dir / "journal.db")
        self.desk = Desk(recorder)
        self.entry = EntryFlow(recorder, directory, key, self.spawn)
        self.mqtt = MqttFace(
            configuration.venue.id,
            configuration.broker,
            recorder.journal,
            self.desk.handle,
            digest=keyed_digest(key.secret),
            now_ms=recorder.now_ms,
            random=self.random,
        )
        bus = DeviceBus(configuration.broker, f"venue-gateway-{configuration.venue.id}", self.spawn, self.random)
        self.supervisor = Supervisor(self.spawn, self.random, self._device_said, self._device_changed, drivers, bus)
        self.purchase = PurchaseFlow(recorder, directory, key)
        self.allowances = AllowanceFlow(recorder)
        self.wiring = Wiring(recorder, self.entry, self.purchase, self.spawn, drivers)
        self.feedback = FeedbackFlow(self.spawn, recorder.now_ms)
        self.wiring.tap_refused = self.feedback.storage_refused
        self.fleet = Fleet(self)
        self.upstream = UpstreamFace(self, path, self._record_quietly)
        self.reporter = Reporter(self, outside)
        self.metering = Metering(self)
        self.console = Console(self)
        self.clock = ClockFlow(
            recorder, outside.clock, self.reporter.clock_changed, VouchFile(configuration.state_dir).take
        )
        self.trials = Trials(self, Uuid7(RandomPool(os.urandom).take))
        self.housekeeping = Housekeeping(self)
        self.lifeline = Lifeline(self)

    async def run(self) -> int:
        """Recover from disk, serve until stopped, and leave everything in order. Returns the exit status."""
        try:
            self._recover_from_disk()
        except StorageUnavailable as error:
            log.error("state_not_restored", why=str(error))
            return EXIT_STORAGE
        self.recorder.listeners += [self.mqtt.answers.committed, self.wiring.outputs.committed]
        self.recorder.followers += [self.feedback.committed, self.mqtt.feed.committed, self.reporter.committed]
        self.recorder.followers += [self.allowances.committed, self.upstream.committed, self.metering.committed]
        self.recorder.failure_listeners += [self.mqtt.answers.storage_failed, self.housekeeping.storage_failed]
        async with self._reloading:
            await self.configure(self.configuration)
        session = self.spawn(self.mqtt.session.run())
        self.spawn(self.housekeeping.run())
        log.info("gateway_ready", venue=self.configuration.venue.id, config=str(self.config_path), version=__version__)
        self.lifeline.ready()
        watchdog = self.spawn(self.lifeline.run())
        await self._stopping.wait()
        await self._shut_down(session, watchdog)
        return self._exit_status

    def _recover_from_disk(self) -> None:
        """Rebuild the state and say of everything a crash cut short that its outcome is unknown (I2)."""
        began = time.monotonic()
        newest = self.recorder.journal.read(self.recorder.journal.last_seq - 1, 1)
        clean = not newest or b'"kind":"gateway.stopped"' in newest[-1].body
        self.recorder.restore()
        self.clock.start(self.configuration.clock)
        unknown = self._cut_short()
        ledger, redeemed = self.recorder.state.ledger, self.recorder.state.redemptions
        waited: list[e.AnyEvent] = [*purchases.after_restart(ledger), *redemptions.after_restart(redeemed)]
        started = e.GatewayStarted(version=__version__, clean=clean, config_digest=self.configuration.digest)
        self.recorder.record(started, *unknown, *waited)
        self.fleet.after_start()
        took_ms, seq = round((time.monotonic() - began) * 1000), self.recorder.journal.last_seq
        log.info("state_restored", seq=seq, clean=clean, unknown=len(unknown), took_ms=took_ms)

    def _cut_short(self) -> list[e.AnyEvent]:
        state = self.recorder.state
        tried = bench.after_restart(state.bench)
        return [*gates.after_restart(state), *printing.after_restart(state), *drawers.after_restart(state), *tried]

    def storage_recovered(self) -> None:
        """Go on from what the disk says, as after a restart: what was under way has an outcome that nobody stored."""
        if unknown := self._cut_short():
            self.recorder.record(*unknown, follow_up=True)
        self.clock.storage_recovered()
        self.wiring.storage_recovered()
        self.allowances.storage_recovered()
        self.reporter.announce_everything()

    async def configure(self, configuration: Configuration) -> None:
        """Bring a configuration into force. Only the devices that changed restart."""
        self.configuration = configuration
        self.clock.configure(configuration.clock)
        expiry_max_ms = round(configuration.limits.request_expiry_max_s * 1000)
        self.recorder.set_back_ms = max(SET_BACK_MS, expiry_max_ms)
        self.recorder.state.set_zones(self._zone_map(configuration))
        self.mqtt.requests.payload_bytes_max = configuration.limits.request_max_kb * 1024
        runnable = {name: one for name, one in configuration.devices.items() if not self.wiring.is_part(one)}
        await self.supervisor.reconcile(runnable)
        self.wiring.configure(configuration, self.supervisor.slots)
        self._configure_feedback(configuration)
        self.allowances.configure(configuration.wallet_policy, terms(configuration.wallet))
        self.upstream.configure(configuration.upstream)
        self._end_what_was_removed()
        own = {**self.reporter.handlers(), **self.wiring.orders.handlers(), **self.clock.handlers()}
        handlers = {**self.wiring.handlers(), "gateway": own}
        grants = {name: client.may for name, client in configuration.clients.items()}
        self.desk.configure(handlers, grants, expiry_max_ms)
        await self.metering.configure(configuration)
        await self.console.configure(configuration)
        self.reporter.announce_everything()

    def _configure_feedback(self, configuration: Configuration) -> None:
        self.feedback.configure(configuration.feedback.book, configuration.feedback.show_s, self.wiring.readers)
        self.mqtt.answers.book = self.feedback.book

    def _end_what_was_removed(self) -> None:
        """Jobs of a printer and alarms of a drawer that are no longer configured would stand for ever."""
        state = self.recorder.state
        ended = [
            *printing.after_removal(state, self.wiring.printers),
            *drawers.after_removal(state, self.wiring.drawers),
        ]
        if ended:
            self._record_quietly(*ended)

    def _zone_map(self, configuration: Configuration) -> Any:  # noqa: ANN401
        zones = configuration.zone_map
        return type(zones)({**self.directory.zones, **zones.within}, zones.capacity)

    def directory_changed(self) -> None:
        """Take a newly imported directory into use."""
        if not _reload(self.directory):
            return
        self.directory_names_changed()
        version, counts = self.directory.version, self.directory.counts
        log.info("directory_loaded", version=version, credentials=counts.credentials)
        fact = e.DirectoryLoaded(version=version, credentials=counts.credentials, entitlements=counts.entitlements)
        self._record_quietly(fact)
        self.purchase.upstream_spoke()
        self.reporter.announce_everything()

    def directory_names_changed(self) -> None:
        """Follow the zones that the directory names."""
        self.recorder.state.set_zones(self._zone_map(self.configuration))
        self.wiring.orders.follow()

    def reload(self) -> None:
        """Read the configuration again; a bad one is refused and the last good one runs on (I11)."""
        self.spawn(self.reloaded())

    async def reloaded(self) -> None:
        """Likewise, and return once that is done."""
        # One at a time: a second SIGHUP during a reload reads the file again after it.
        async with self._reloading:
            self.lifeline.reloading()
            try:
                await self._reload_now()
            finally:
                self.lifeline.ready()

    async def _reload_now(self) -> None:
        try:
            fresh = await asyncio.to_thread(self.read, self.config_path)
        except ConfigurationError as error:
            for problem in error.problems:
                log.error("configuration_problem", problem=str(problem))
            self.reporter.configuration_refused = f"{error.problems[0]} ({len(error.problems)} in all)"
            self._record_quietly(e.ConfigurationRefused(problems=len(error.problems), first=str(error.problems[0])))
            self.reporter.announce_everything()
            return
        if fixed := self.configuration.needs_restart(fresh):
            log.error("configuration_needs_restart", changed=fixed)
            self.reporter.configuration_refused = f"{fixed} cannot change while running; restart the service"
            self._record_quietly(e.ConfigurationRefused(problems=1, first=self.reporter.configuration_refused))
            self.reporter.announce_everything()
            return
        self.reporter.configuration_refused = ""
        await self.configure(fresh)
        self._record_quietly(e.ConfigurationLoaded(config_digest=fresh.digest))
        log.info("configuration_loaded", digest=fresh.digest)

    def stop(self, exit_status: int = EXIT_OK) -> None:
        """Begin to shut down."""
        self._exit_status = max(self._exit_status, exit_status)
        self._stopping.set()

    async def _shut_down(self, *last: asyncio.Task[None]) -> None:
        log.info("gateway_stopping")
        self.lifeline.stopping()
        self.desk.close()
        await self.metering.close()
        await self.console.close()
        self.trials.close()
        self.wiring.close()
        self.allowances.close()
        await self.supervisor.close()
        # What they say of their own end comes before `gateway.stopped`, the last word of a clean run.
        await end_all([task for task in self._tasks if task not in last])
        if self._exit_status == EXIT_OK:
            self._record_quietly(e.GatewayStopped())
            await self.housekeeping.fold_everything()
        self.recorder.tell_followers()
        await self.mqtt.say_goodbye("stopped")
        await end_all(list(self._tasks))
        self.recorder.journal.close()
        log.info("gateway_stopped", exit_status=self._exit_status)

    def _device_said(self, slot: DeviceSlot, event: DeviceEvent) -> None:
        self.wiring.device_said(slot, event)
        self.trials.device_said(slot, event)
        # A decision that was just made goes to the disk first.
        asyncio.get_running_loop().call_soon(self.reporter.device_said, slot, event)

    def _device_changed(self, slot: DeviceSlot) -> None:
        self.wiring.device_changed(slot)
        self.reporter.device_changed(slot)
        if slot.status == "online":
            self._record_quietly(e.DeviceOnline(device=slot.name, detail=slot.detail))
        elif slot.status == "offline":
            self._record_quietly(e.DeviceOffline(device=slot.name, why=slot.detail))

    def _record_quietly(self, *events: e.AnyEvent) -> None:
        """Record what is told for the record only; a full disk must not stop the work."""
        try:
            self.recorder.record(*events, urgent=False, follow_up=True)
        except StorageUnavailable as error:
            log.warning("event_not_stored", events=[type(event).__name__ for event in events], why=str(error))

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` until it ends or the gateway stops; a failure in it is logged, never swallowed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task_failed", task=task.get_name(), exc_info=error)

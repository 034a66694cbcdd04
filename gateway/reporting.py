"""How the venue is, told to those who look: retained state, live device events, health figures, and the log."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import msgspec

from drivers.api import DeviceEvent, InputChanged, PrinterStatus
from gateway import __version__, logs
from gateway.devices.supervisor import DeviceSlot
from gateway.domain import zones
from gateway.domain.answers import Answer, denied, failed
from gateway.domain.input_events import InputActive, InputIdle
from gateway.domain.reasons import Reason
from gateway.flows.desk import Handler, Request, read_data
from gateway.flows.recorder import Committed
from gateway.mqtt import messages as m
from gateway.store.errors import StorageUnavailable
from gateway.store.rows import StoredRow, id_text
from gateway.telling import TELLING, status_fields, told_of

if TYPE_CHECKING:
    from gateway.app import Gateway, Outside

PAGE_BYTES_MAX = 256 * 1024
"""Of events in one page of history: what each gets besides must find room in one answer too."""
REPLAYS_MAX = 4
"""Pages of history read at once; whoever comes then hears `busy` (I9)."""

CLOCK_BEHIND_MAX_MS = 5_000
ANNOUNCE_S = 0.05
"""Changes of gates and drawers within this time are announced together."""
COUNT_S = 0.5
"""Who is inside is announced this often at most: with sixty gates a count at each tap would be most of all messages."""


def memory_max_kb() -> int:
    """Return the most memory that this process has had at once, in KB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _fitting(rows: Sequence[StoredRow]) -> Sequence[StoredRow]:
    """Return the first of these rows, as many as one answer holds and one at least."""
    sizes_bytes = accumulate(len(row.body) for row in rows)
    return rows[: max(1, sum(size <= PAGE_BYTES_MAX for size in sizes_bytes))]


class Reporter:
    """Everything the gateway says of itself without being asked, and the queries about it."""

    def __init__(self, gateway: Gateway, outside: Outside) -> None:
        """Report on `gateway`."""
        self._gateway = gateway
        self._outside = outside
        self._started_ms = gateway.recorder.now_ms()
        self._began_ms = outside.clock.system.elapsed_ms()
        self.configuration_refused = ""
        self.last_said: dict[str, m.DeviceEvent] = {}
        self._replays = 0
        self._changed = False
        self._announcing: asyncio.TimerHandle | None = None
        self._told: dict[str, tuple[object, object]] = {}
        self._counting: asyncio.TimerHandle | None = None
        self._count_again_s = 0.0

    # Listening.

    def committed(self, entries: Sequence[Committed]) -> None:
        """Follow the recorder: log each fact, and announce gates and drawers when more may have changed."""
        for one in entries:
            event = one.entry.event
            telling = TELLING[type(event)]
            if telling.level:
                logs.fact(telling.level, telling.kind, {"seq": one.entry.seq, **telling.logged(event)})
            self._changed |= telling.changes_gates
            if isinstance(event, InputActive | InputIdle):
                self.announce_state()
        if self._changed and self._announcing is None:
            self._announcing = asyncio.get_running_loop().call_later(ANNOUNCE_S, self._announce_changed)

    def _announce_changed(self) -> None:
        """A guest who came in changed the count at every gate into that zone, so all of them are looked at."""
        self._announcing, self._changed = None, False
        counts = self._may_count()
        for gate in self._gateway.wiring.gates:
            self._announce_gate(gate, counts=counts)
        for drawer in self._gateway.wiring.drawers:
            self._announce_drawer(drawer)
        self._announce_zones(counts=counts)

    def _may_count(self) -> bool:
        """Return True when counts may be announced now; if not, they are looked at again when it is time."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._count_again_s:
            if self._counting is None:
                self._counting = loop.call_at(self._count_again_s, self._announce_changed)
            return False
        self._counting, self._count_again_s = None, loop.time() + COUNT_S
        return True

    def device_said(self, slot: DeviceSlot, event: DeviceEvent) -> None:
        """Tell live what a device told; of a credential only that one was read (I12)."""
        if (told := told_of(event)) is not None:
            said = self.last_said[slot.name] = m.DeviceEvent(kind=told[0], at=self._now(), data=told[1])
            self._gateway.mqtt.announcer.device_event(slot.name, said)
        if isinstance(event, PrinterStatus):
            self.device_changed(slot)
        elif isinstance(event, InputChanged):
            for drawer in self._gateway.wiring.drawers_at(slot.name):
                self._announce_drawer(drawer)

    def device_changed(self, slot: DeviceSlot) -> None:
        """Announce how a device is now, and with a printer the drawers plugged into it."""
        for drawer in self._gateway.wiring.drawers_at(slot.name):
            self._announce_drawer(drawer)
        for gate in self._gateway.wiring.gates_at(slot):
            self._announce_gate(gate)
        if slot.name in self._gateway.wiring.inputs.boards():
            self.announce_state()
        if slot.status == "stopped":
            self._gateway.mqtt.announcer.device_gone(slot.name)
            return
        state = m.DeviceState(
            state=slot.status,
            at=self._now(),
            why=slot.detail if slot.status == "offline" else "",
            detail=slot.detail if slot.status == "online" else "",
            status={**status_fields(self._gateway.wiring.printer_status(slot.name)), **slot.fault_counts},
        )
        self._gateway.mqtt.announcer.device_state(slot.name, state)

    def clock_changed(self) -> None:
        """The clock jumped, or is believed now, or no longer."""
        if self._told:
            self.announce_state()
            self.announce_health()

    # Announcing.

    def announce_everything(self) -> None:
        """Announce all that is retained: at the start, and after every change of configuration or directory."""
        self._told.clear()
        configuration = self._gateway.configuration
        info = m.GatewayInfo(
            venue=configuration.venue.id,
            version=__version__,
            timezone=configuration.venue.timezone,
            currency=configuration.venue.currency,
            config_digest=configuration.digest,
            started_at=m.timestamp(self._started_ms),
            name=configuration.venue.name,
            directory_version=self._gateway.directory.version,
        )
        announcer = self._gateway.mqtt.announcer
        announcer.keep_only({*configuration.devices, *configuration.gates})
        announcer.gateway_info(info)
        announcer.gateway_devices(m.GatewayDevices(devices=tuple(self._listed()), at=self._now()))
        for slot in self._gateway.supervisor.slots.values():
            self.device_changed(slot)
        for gate in configuration.gates:
            self._announce_gate(gate)
        for drawer in self._gateway.wiring.drawers:
            self._announce_drawer(drawer)
        self._announce_zones()
        self.announce_state()
        self.announce_health()

    def announce_state(self) -> None:
        """Announce whether the gateway works, and what is wrong if not all of it does."""
        why = self.troubles()
        state = m.GatewayState(state="degraded" if why else "online", why=tuple(why), at=self._now())
        self._gateway.mqtt.announcer.gateway_state(state)

    def announce_health(self) -> None:
        """Announce the figures."""
        self._gateway.mqtt.announcer.gateway_health(m.GatewayHealth(at=self._now(), figures=self._figures()))

    def _announce_gate(self, name: str, *, counts: bool = True) -> None:
        gate = self._gateway.wiring.gates.get(name)
        if gate is None:
            return
        state = self._gateway.recorder.state.gate(name)
        status: dict[str, bool | int | str] = {}
        if gate.rule.to_zone is not None:
            status["inside"] = self._gateway.recorder.state.occupancy.get(gate.rule.to_zone, 0)
            capacity = self._gateway.recorder.state.zones.capacity.get(gate.rule.to_zone)
            if capacity is not None:
                status["capacity"] = capacity
        shown = gate.shown
        why = "ordered by staff" if shown in {"emergency", "locked_down"} else state.fault or gate.why_offline
        if self._is_news(name, (shown, why), status if counts else None):
            announced = m.DeviceState(state=shown, at=self._now(), why=why, status=status)
            self._gateway.mqtt.announcer.device_state(name, announced)

    def _announce_zones(self, *, counts: bool = True) -> None:
        state = self._gateway.recorder.state
        found = tuple(self._zone(name, within) for name, within in sorted(state.zones.within.items()))
        venue = state.closures.get(zones.VENUE)
        ordered = venue.kind if venue is not None else ""
        # No device and no gate can have a slash in its name.
        closures = tuple(zone.closure for zone in found)
        if self._is_news("gateway/zones", (ordered, closures), found if counts else None):
            self._gateway.mqtt.announcer.gateway_zones(m.GatewayZones(zones=found, at=self._now(), venue=ordered))

    def _zone(self, name: str, within: str | None) -> m.ZoneState:
        state = self._gateway.recorder.state
        return m.ZoneState(
            name=name,
            inside=max(0, state.occupancy.get(name, 0)),
            within=within or "",
            capacity=state.zones.capacity.get(name),
            closure=zones.closure_of(name, state.zones, state.closures) or "",
        )

    def _announce_drawer(self, name: str) -> None:
        drawer = self._gateway.wiring.drawers.get(name)
        if drawer is not None:
            alarm = self._gateway.recorder.state.drawer(name).alarm
            status: dict[str, bool | int | str] = {"contact": drawer.contact, **({"alarm": alarm} if alarm else {})}
            online = self._gateway.wiring.drawer_online(name)
            if self._is_news(name, online, status):
                state = m.DeviceState(state="online" if online else "offline", at=self._now(), status=status)
                self._gateway.mqtt.announcer.device_state(name, state)

    def _is_news(self, name: str, what: object, details: object) -> bool:
        """Return True when this is not what was announced last; `details` are None while they may wait."""
        told, told_details = self._told.get(name, (None, None))
        if told == what and (details is None or told_details == details):
            return False
        self._told[name] = what, details
        return True

    def troubles(self) -> list[str]:
        """Return what is wrong with the gateway, each with what to do; empty when all is well."""
        gateway = self._gateway
        troubles: list[str] = []
        if gateway.recorder.lost is not None:
            troubles.append(f"storage: {gateway.recorder.lost}")
        if not gateway.directory.loaded:
            troubles.append("directory: none loaded; import one with `venue-gateway directory import`")
        elif gateway.directory.made_with != gateway.key.fingerprint:
            troubles.append("directory: made with another credential key, so every guest is unknown; import it again")
        if apart_minor := gateway.recorder.state.ledger.imbalance_minor:
            troubles.append(f"wallets: all accounts add up to {apart_minor} and not to 0; keep a copy of the journal")
        if not gateway.clock.trusted:
            how = "until then what depends on it is handled as `clock.untrusted` says"
            troubles.append(f"clock: {gateway.clock.why}; vouch for it with `venue-gateway clock vouch`, {how}")
        elif apart_s := gateway.clock.off_ms // 1000:
            troubles.append(
                f"clock: the system's clock was set and is {apart_s} s ahead of the venue's time; correct it"
            )
        if gateway.recorder.clock_behind_ms > CLOCK_BEHIND_MAX_MS:
            behind_s = gateway.recorder.clock_behind_ms // 1000
            troubles.append(f"clock: {behind_s} s behind the newest journal entry; check the time synchronisation")
        troubles += gateway.upstream.troubles()
        slots = gateway.supervisor.slots
        troubles += gateway.wiring.inputs.troubles(lambda board: board in slots and slots[board].online)
        if self.configuration_refused:
            troubles.append(f"configuration: {self.configuration_refused}")
        return troubles

    def _figures(self) -> dict[str, int | float]:
        gateway = self._gateway
        slots = gateway.supervisor.slots.values()
        return {
            "uptime_s": round((self._outside.clock.system.elapsed_ms() - self._began_ms) / 1000),
            "journal_seq": gateway.recorder.journal.last_seq,
            "feed_behind": max(0, gateway.recorder.journal.last_seq - gateway.mqtt.feed.acknowledged_seq),
            "answers_waiting": gateway.mqtt.answers.kept,
            "devices_online": sum(slot.online for slot in slots),
            "devices_offline": sum(not slot.online for slot in slots),
            "device_restarts": sum(slot.restarts for slot in slots),
            "device_crashes": sum(slot.faults["crash"] for slot in slots),
            "device_hangs": sum(slot.faults["hang"] for slot in slots),
            "device_floods": sum(slot.faults["flood"] for slot in slots),
            "print_jobs_open": sum(job.open for job in gateway.recorder.state.jobs.values()),
            "wallet_accounts": len(gateway.recorder.state.ledger.accounts),
            "wallet_holds_open": len(gateway.recorder.state.ledger.holds),
            "allowances_unsettled": gateway.allowances.open_statements,
            "readers_waiting": len(gateway.recorder.state.ledger.armed),
            "directory_credentials": gateway.directory.counts.credentials,
            "state_rows_unfolded": len(gateway.recorder.state.dirty),
            **gateway.upstream.figures(),
            "clock_trusted": int(gateway.clock.trusted),
            "clock_jumps": gateway.clock.jumps,
            "clock_off_ms": gateway.clock.off_ms,
            "rss_max_kb": self._outside.memory_kb(),
        }

    def _listed(self) -> list[m.ListedDevice]:
        configuration, verbs = self._gateway.configuration, self._gateway.wiring.handlers()
        drivers = self._gateway.drivers
        devices = [
            m.ListedDevice(
                name=one.name,
                kind="board" if drivers[one.driver].kind == "gate" else drivers[one.driver].kind,
                driver=one.driver,
                verbs=tuple(verbs.get(one.name, ())),
            )
            for one in configuration.devices.values()
        ]
        # Amid a reload the configuration can be ahead of what is wired.
        return [
            *devices,
            *(m.ListedDevice(name=one, kind="gate", verbs=tuple(verbs.get(one, ()))) for one in configuration.gates),
            *(m.ListedDevice(name=one, kind="till", verbs=tuple(verbs.get(one, ()))) for one in configuration.tills),
        ]

    def _now(self) -> str:
        return m.timestamp(self._gateway.recorder.now_ms())

    # Queries.

    def handlers(self) -> Mapping[str, Handler]:
        """Return what can be asked of the target `gateway`."""
        return {
            "replay": Handler(self._take_replay, repeatable=True),
            "status": Handler(self._take_status, repeatable=True),
        }

    def _take_status(self, _: Request) -> Answer:
        troubles = self.troubles()
        data = {"state": "degraded" if troubles else "online", "why": troubles, "figures": self._figures()}
        return Answer("done", None, "; ".join(troubles) or "All is well.", data)

    def _take_replay(self, request: Request) -> Answer | None:
        """Give a page of the journal, for a client that missed some of the feed."""
        asked = read_data(request, m.Replay)
        if self._replays >= REPLAYS_MAX:
            return denied(Reason.BUSY)
        self._replays += 1
        after = asked.after_seq if asked.after_seq is not None else (asked.from_seq or 1) - 1
        self._gateway.spawn(self._replay(request, after, asked.limit))
        return None

    async def _replay(self, request: Request, after: int, limit: int) -> None:
        try:
            answer = await self._page(after, limit)
        except StorageUnavailable as error:
            answer = failed(Reason.STORAGE_UNAVAILABLE, str(error))
        finally:
            self._replays -= 1
        self._gateway.mqtt.answers.answer(request.ref, answer)

    async def _page(self, after: int, limit: int) -> Answer:
        rows = _fitting(await self._gateway.history.page(after, limit))
        entries = [
            {"seq": row.seq, "id": id_text(row.id), "at": m.timestamp(row.at_ms), **msgspec.json.decode(row.body)}
            for row in rows
        ]
        last = rows[-1].seq if rows else after
        # A commit may have come in while the page was read; then there is more.
        more = last < self._gateway.recorder.journal.last_seq
        return Answer("done", None, "", {"entries": entries, "last_seq": last, "more": more})

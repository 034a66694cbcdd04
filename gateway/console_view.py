"""The venue as the console shows it: each part of the page as plain values, without a name of any guest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gateway import __version__
from gateway.domain import zones
from gateway.domain.state import Job
from gateway.telling import status_fields

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.flows.gate import GateFlow
    from gateway.flows.printing import PrintFlow

JOBS_SHOWN = 24


class ConsoleView:
    """Reads the parts of the page off the gateway; some hundred microseconds for a large venue."""

    def __init__(self, gateway: Gateway, abilities: Callable[[str], list[str]]) -> None:
        """Show `gateway`; `abilities` tells what the bench can try at a device."""
        self._gateway = gateway
        self._abilities = abilities
        self._began_ms = gateway.recorder.now_ms()

    def parts(self) -> dict[str, Callable[[], Any]]:
        """Return what makes each part."""
        wiring = self._gateway.wiring
        return {
            "gateway": self._gateway_part,
            "devices": self._devices,
            "gates": lambda: [self._gate(flow) for flow in wiring.gates.values()],
            "zones": self._zones,
            "printers": lambda: [self._printer(flow) for flow in wiring.printers.values()],
            "drawers": lambda: [self._drawer(name) for name in wiring.drawers],
            "sync": self._sync,
        }

    def gauges(self) -> dict[str, int]:
        """Return the figures that stand at this moment, for the charts."""
        gateway = self._gateway
        state = gateway.recorder.state
        outermost = (name for name, within in state.zones.within.items() if within is None)
        return {
            "inside": sum(max(0, state.occupancy.get(name, 0)) for name in outermost),
            "backlog": self._backlog(),
            "exposure": state.ledger.contact.venue_minor,
            "offline": sum(not slot.online for slot in gateway.supervisor.slots.values()),
        }

    def _gateway_part(self) -> dict[str, Any]:
        gateway = self._gateway
        venue = gateway.configuration.venue
        troubles = gateway.reporter.troubles()
        return {
            "venue": venue.id,
            "name": venue.name or venue.id,
            "version": __version__,
            "timezone": venue.timezone,
            "currency": venue.currency,
            "state": "degraded" if troubles else "online",
            "why": troubles,
            "broker": gateway.mqtt.session.connected,
            "since_ms": self._began_ms,
            "venue_closure": self._closure(zones.VENUE),
            "config_digest": gateway.configuration.digest[:12],
        }

    def _closure(self, zone: str) -> str:
        closure = self._gateway.recorder.state.closures.get(zone)
        return closure.kind if closure is not None else ""

    def _devices(self) -> list[dict[str, Any]]:
        gateway, found = self._gateway, []
        for name, device in gateway.configuration.devices.items():
            kind = gateway.drivers[device.driver].kind
            if kind == "drawer":
                continue
            slot = gateway.supervisor.slots.get(name)
            said = gateway.reporter.last_said.get(name)
            status = status_fields(gateway.wiring.printer_status(name)) if kind == "printer" else {}
            found.append({
                "name": name,
                "kind": "board" if kind == "gate" else kind,
                "driver": device.driver,
                "state": slot.status if slot is not None else "stopped",
                "detail": slot.detail if slot is not None else "",
                "restarts": slot.restarts if slot is not None else 0,
                "can": self._abilities(name),
                "channels": _channels(slot.driver) if slot is not None and kind == "gate" else 0,
                "status": status,
                "last": said,
            })  # fmt: skip
        return found

    def _gate(self, flow: GateFlow) -> dict[str, Any]:
        state, rule = self._gateway.recorder.state, flow.rule
        refusal = flow.refusal()
        zone = rule.to_zone or ""
        return {
            "name": flow.name,
            "from": rule.from_zone or "",
            "to": zone,
            "state": flow.shown,
            "why": state.gate(flow.name).fault or "",
            "admits": refusal is None,
            "reason": refusal or "",
            "inside": max(0, state.occupancy.get(zone, 0)) if zone else None,
            "capacity": state.zones.capacity.get(zone) if zone else None,
        }

    def _zones(self) -> list[dict[str, Any]]:
        state = self._gateway.recorder.state
        return [
            {
                "name": name,
                "within": within or "",
                "inside": max(0, state.occupancy.get(name, 0)),
                "capacity": state.zones.capacity.get(name),
                "closure": zones.closure_of(name, state.zones, state.closures) or "",
            }
            for name, within in sorted(state.zones.within.items())
        ]

    def _printer(self, flow: PrintFlow) -> dict[str, Any]:
        gateway = self._gateway
        slot = gateway.supervisor.slots.get(flow.name)
        jobs = [job for job in gateway.recorder.state.jobs.values() if job.queued.printer == flow.name]
        newest = sorted(jobs, key=lambda job: job.queued.job, reverse=True)
        open_jobs = [job for job in newest if job.open]
        shown = {job.queued.job: job for job in [*open_jobs[-JOBS_SHOWN:], *newest[:JOBS_SHOWN]]}
        return {
            "name": flow.name,
            "online": slot is not None and slot.online,
            "detail": slot.detail if slot is not None else "",
            "status": status_fields(gateway.wiring.printer_status(flow.name)),
            "waiting": len(open_jobs),
            "jobs": [_job(shown[key]) for key in sorted(shown, reverse=True)],
        }

    def _drawer(self, name: str) -> dict[str, Any]:
        gateway = self._gateway
        flow, state = gateway.wiring.drawers[name], gateway.recorder.state.drawer(name)
        return {
            "name": name,
            "online": gateway.wiring.drawer_online(name),
            "contact": flow.contact,
            "alarm": state.alarm,
            "opening": bool(state.openings),
        }

    def _sync(self) -> dict[str, Any]:
        gateway = self._gateway
        ledger, policy = gateway.recorder.state.ledger, gateway.configuration.wallet_policy
        directory = gateway.directory
        return {
            "directory_loaded": directory.loaded,
            "directory_version": directory.version[:12],
            "directory_as_of_ms": directory.as_of_ms,
            "credentials": directory.counts.credentials,
            "entitlements": directory.counts.entitlements,
            "backlog": self._backlog(),
            "answers_waiting": gateway.mqtt.answers.kept,
            "journal_seq": gateway.recorder.journal.last_seq,
            "upstream_wallets": policy.upstream,
            "exposure_minor": ledger.contact.venue_minor,
            "exposure_max_minor": policy.venue_total_max_minor,
            "accounts": len(ledger.accounts),
            "holds": len(ledger.holds),
            "unsettled": gateway.allowances.open_statements,
        }

    def _backlog(self) -> int:
        return max(0, self._gateway.recorder.journal.last_seq - self._gateway.mqtt.feed.acknowledged_seq)


def _channels(driver: object) -> int:
    channels = getattr(driver, "channels", 0)
    return channels if isinstance(channels, int) else 0


def _job(job: Job) -> Mapping[str, Any]:
    queued = job.queued
    return {
        "job": queued.job,
        "at_ms": _made_ms(queued.job),
        "status": job.status,
        "why": job.why,
        "client": queued.client,
        "content": queued.content,
        "size_bytes": queued.size_bytes,
        "copy": queued.copy_of is not None,
    }


def _made_ms(job: str) -> int:
    """Return when an id was made: the first 48 bits of a UUIDv7 (RFC 9562, 5.7)."""
    try:
        return int(job.replace("-", "")[:12], 16)
    except ValueError:
        return 0

"""What staff order for zones and credentials: lockdown, emergency release, the way back, and the block list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import time
from typing import Annotated
from zoneinfo import ZoneInfo

import structlog
from msgspec import Meta, Struct

from gateway.domain import zone_events as z
from gateway.domain import zones
from gateway.domain.answers import denied
from gateway.domain.reasons import Reason
from gateway.flows.desk import Handler, RefusedRequest, Request, read_data
from gateway.flows.entry import Holder, StaffReason
from gateway.flows.gate import GateFlow
from gateway.flows.lookup import Lookup, Presented
from gateway.flows.recorder import Commit, Recorder
from gateway.store.journal import StorageUnavailable

log = structlog.get_logger(__name__)

Spawn = Callable[..., object]


class ZoneData(Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of `lock_down`, `emergency_release` and `restore`; without `zone` the whole venue is meant."""

    reason: StaffReason
    zone: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class BlockData(Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of `block` and `unblock`: one credential, by what it is or by its reference, or all of one holder."""

    reason: StaffReason
    credential: Presented | None = None
    ref: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")] | None = None
    holder: Holder | None = None


class OrdersFlow:
    """Takes orders, records them, and lets the gates follow once they are on disk (I1)."""

    def __init__(self, recorder: Recorder, lookup: Lookup, gates: Mapping[str, GateFlow], spawn: Spawn) -> None:
        """Order `gates`, a mapping that its owner keeps up to date; `spawn(coroutine)` runs what follows a commit."""
        self._recorder = recorder
        self._lookup = lookup
        self._gates = gates
        self._spawn = spawn
        self._resets: dict[str, time] = {}
        self._timezone = ZoneInfo("UTC")
        self._reset_done_ms: dict[str, int] = {}
        self.emergency_inputs: Callable[[str], tuple[str, ...]] = lambda _zone: ()
        """Names the inputs that hold an emergency in a zone."""

    def configure(self, resets: Mapping[str, time], timezone: ZoneInfo) -> None:
        """Empty these zones at these times of the venue's clock."""
        self._resets, self._timezone, self._reset_done_ms = dict(resets), timezone, {}

    def handlers(self) -> Mapping[str, Handler]:
        """Return what the target `gateway` takes of these."""
        return {
            "lock_down": Handler(self._take_lock_down),
            "emergency_release": Handler(self._take_release, moves_metal=True),
            "restore": Handler(self._take_restore, moves_metal=True),
            "block": Handler(self._take_block),
            "unblock": Handler(self._take_unblock),
        }

    def follow(self) -> None:
        """Let every gate be what the state says of it: after a start, a reload, or a disk that works again."""
        for gate in self._gates.values():
            gate.follow_closure()

    def reset_due(self) -> None:
        """Empty each zone whose reset time has come. Cheap; to be called about once a second."""
        now_ms = self._recorder.now_ms()
        for zone, reset_at in self._resets.items():
            due_ms = zones.last_reset_ms(reset_at, now_ms, self._timezone)
            if self._reset_done_ms.get(zone) == due_ms:
                continue
            facts = zones.reset(self._recorder.state, zone, due_ms, now_ms)
            try:
                if facts:
                    self._recorder.record(*facts)
            except StorageUnavailable as error:
                log.error("zone_reset_not_stored", zone=zone, why=str(error))
            else:
                self._reset_done_ms[zone] = due_ms

    def _take_lock_down(self, request: Request) -> None:
        zone, reason = self._zone(request)
        closure = self._recorder.state.closures.get(zone)
        if closure is not None and closure.kind == "emergency":
            note = "An emergency release is in force there. Restore it first."
            raise RefusedRequest(denied(Reason.EMERGENCY, note))
        self.order(z.ZoneLockedDown(zone=zone, client=request.client, reason=reason, request=request.ref))

    def _take_release(self, request: Request) -> None:
        zone, reason = self._zone(request)
        self.order(z.ZoneReleased(zone=zone, client=request.client, reason=reason, request=request.ref))

    def _take_restore(self, request: Request) -> None:
        zone, reason = self._zone(request)
        if holding := self.emergency_inputs(zone):
            note = f"The emergency input {holding[0]} is still active. Reset what it is wired to first."
            raise RefusedRequest(denied(Reason.EMERGENCY, note))
        still = zones.closures_around(zone, self._recorder.state.zones, self._recorder.state.closures)
        self.order(z.ZoneRestored(zone=zone, client=request.client, reason=reason, still=still, request=request.ref))

    def _take_block(self, request: Request) -> None:
        ref, holder, reason = self._whom(request)
        if len(self._recorder.state.blocks) >= zones.BLOCKS_MAX:
            raise RefusedRequest(denied(Reason.BUSY, "The block list is full. Put the blocks into the directory."))
        self._recorder.record(
            z.CredentialBlocked(
                credential=ref, holder=holder, client=request.client, reason=reason, request=request.ref
            )
        )

    def _take_unblock(self, request: Request) -> None:
        ref, holder, reason = self._whom(request)
        self._recorder.record(
            z.CredentialUnblocked(
                credential=ref, holder=holder, client=request.client, reason=reason, request=request.ref
            )
        )

    def _zone(self, request: Request) -> tuple[str, str]:
        asked = read_data(request, ZoneData)
        zone = asked.zone if asked.zone is not None else zones.VENUE
        # What was ordered for a zone can be taken back also when the configuration has it no longer.
        ordered = self._recorder.state.closures
        if zone != zones.VENUE and zone not in self._recorder.state.zones.within and zone not in ordered:
            known = ", ".join(_some(self._recorder.state.zones.within))
            note = f"There is no zone {zone[:64]!r}. Known: {known or 'none'}."
            raise RefusedRequest(denied(Reason.UNKNOWN_ZONE, note))
        return zone, asked.reason

    def _whom(self, request: Request) -> tuple[str, str, str]:
        asked = read_data(request, BlockData)
        if sum(one is not None for one in (asked.credential, asked.ref, asked.holder)) != 1:
            note = "Name one of `credential`, `ref` and `holder`."
            raise RefusedRequest(denied(Reason.MALFORMED, note))
        ref = self._lookup.ref(asked.credential) if asked.credential is not None else asked.ref or ""
        return ref, asked.holder or "", asked.reason

    def order(self, event: z.ZoneLockedDown | z.ZoneReleased | z.ZoneRestored) -> None:
        """Record an order; the gates follow once it is on disk. Raises StorageUnavailable."""
        commit = self._recorder.record(event)
        log.warning("zone_ordered", zone=event.zone or "(all)", order=type(event).__name__, client=event.client)
        self._spawn(self._follow_after(commit))

    async def _follow_after(self, commit: Commit) -> None:
        try:
            await commit
        except StorageUnavailable:
            # Whoever asked is told so; the state is rebuilt and the gates follow that.
            return
        self.follow()


def _some(names: Iterable[str]) -> list[str]:
    return sorted(names)[:20]

"""Carries out what upstream orders: each order is on disk before it begins, and what became of it after.

What may be ordered is named in `upstream.fleet.orders`. The trial of a configuration is in `trial`; see
docs/decisions/0007-a-fleet.md for what protects a venue from whoever sits upstream.
"""

from __future__ import annotations

import asyncio
import errno
import math
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import msgspec
import structlog
from msgspec import Meta

from gateway import logs
from gateway.config.loading import ConfigurationError
from gateway.domain import fleet_events as f
from gateway.domain import orders as o
from gateway.domain.above import ORDERS
from gateway.flows.desk import RefusedRequest, Request
from gateway.flows.recorder import Commit
from gateway.staging import Staging
from gateway.store.errors import StorageUnavailable
from gateway.upstream.identity import Identity, NotEnrolled, Trust
from gateway.upstream.sinks import FAILED, SinkUnavailable

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.config.schema import Configuration
    from gateway.upstream.fleet import FleetLink

log = structlog.get_logger(__name__)

MESSAGE_MAX = 500
LOOK_EVERY_S = 1.0
RESTART_AFTER_S = 1.0
"""Between the word and the end, so that upstream hears that the order was taken."""
DIAGNOSTICS_BYTES_MAX = 32 << 20
MAY_NOT_WRITE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
"""The service manager shows the service a read-only file system where it may not write."""
CHANGED_MEANWHILE = "the configuration was changed at the venue during the trial and is left as it is there"
RESTART_AGAIN_AFTER_S = 600.0
"""Between two restarts by order; the service manager gives a service up that restarts all the time."""
DIAGNOSTICS_WITHIN_S = 180.0
BUNDLE = "diagnostics.tar.gz"


class ConfigurationData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of `configuration`: the whole file, and how long it has to show that it is good."""

    yaml: Annotated[str, Meta(min_length=1, max_length=512 << 10)]
    healthy_within_s: Annotated[float, Meta(ge=5, le=600)] = 60.0


class LogLevelData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of `log_level`."""

    level: Literal["debug", "info", "warning", "error"]
    for_s: Annotated[float, Meta(ge=1, le=86_400)] = 3600.0


class KeysData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of `keys`: all that count from here on."""

    keys: Annotated[list[o.KeyGiven], Meta(min_length=1, max_length=8)]


class NothingData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`data` of `diagnostics` and `restart`."""


class OrderFailed(Exception):
    """It could not be done; the message says why, and nothing of it stays."""


class RolledBack(OrderFailed):
    """It was done, was no good, and is undone."""


class Fleet:
    """The `Carrier` of orders."""

    def __init__(self, gateway: Gateway) -> None:
        """Carry out orders for `gateway`."""
        self._gateway = gateway
        self._staging = Staging(gateway.config_path)
        self._level_ends: asyncio.TimerHandle | None = None
        self._under_way: dict[str, str] = {}
        self._trust: Trust | None = None
        self._restarted_s = -math.inf
        self.identity = Identity(gateway.configuration.state_dir)
        self.link: FleetLink | None = None
        """The way to upstream while this venue is enrolled."""

    # What an order is judged by.

    def keys(self) -> Mapping[str, bytes]:
        """Return upstream's pinned keys; none where this gateway is not enrolled."""
        if self._trust is None:
            try:
                self._trust = self.identity.trust()
            except (NotEnrolled, OSError):
                return {}
        return self._trust.by_id

    def forget_trust(self) -> None:
        """Read the pinned keys again: somebody may have enrolled the gateway anew."""
        self._trust = None

    def situation(self) -> o.Situation:
        """Return what an order is judged by now."""
        gateway = self._gateway
        upstream = gateway.configuration.upstream
        fleet = upstream.fleet if upstream is not None else None
        return o.Situation(
            venue=gateway.configuration.venue.id,
            now_ms=gateway.recorder.now_ms(),
            keys=self.keys(),
            allowed=fleet.orders if fleet is not None else (),
            versions=gateway.recorder.state.above.versions,
            since_ms=self._trust.since_ms if self._trust is not None else 0,
            doubt=gateway.recorder.doubt,
        )

    def check_free(self, order: o.Order) -> None:
        """Raise RefusedOrder when an order cannot be begun now."""
        if order.id in self._gateway.recorder.state.above.orders:
            raise o.RefusedOrder("busy", f"{order.id} is being carried out; give this one another id", order)
        if order.kind in self._under_way:
            message = f"another order of this kind is being carried out: {self._under_way[order.kind]}"
            raise o.RefusedOrder("busy", message, order)
        if order.kind == "restart" and (wait_s := self._restarted_s + RESTART_AGAIN_AFTER_S - _now_s()) > 0:
            raise o.RefusedOrder("busy", f"it restarted by order just now; order it again in {wait_s:.0f} s", order)

    @property
    def cursor(self) -> int:
        """The number of the last order that was looked at."""
        return self._gateway.recorder.state.above.told.get(ORDERS, 0)

    def record(self, fact: f.FleetEvent) -> Commit:
        """Record a fact. Raises StorageUnavailable."""
        return self._gateway.recorder.record(fact, follow_up=True)

    # Carrying out.

    def carry_out(self, order: o.Order) -> None:
        """Begin; what became of it is a fact later."""
        self._under_way[order.kind] = order.id
        self._gateway.spawn(self._carry_out(order))

    async def _carry_out(self, order: o.Order) -> None:
        outcome: f.Outcome = "done"
        try:
            message = await self._done(order)
        except RolledBack as error:
            outcome, message = "rolled_back", str(error)
        except (OrderFailed, SinkUnavailable, StorageUnavailable, OSError) as error:
            outcome, message = "failed", str(error)
        except RefusedRequest as error:
            outcome, message = "failed", error.answer.message
        except Exception:
            # Whatever one order runs into, upstream hears that it was not carried out.
            log.exception("upstream_failed", part="orders")
            outcome, message = "failed", FAILED
        finally:
            self._under_way.pop(order.kind, None)
        if message is not None:
            self._end(order.id, outcome, message)

    async def _done(self, order: o.Order) -> str | None:
        """Do it; returns what to say of it, or None where that is on record, or the next start will say."""
        match order.kind:
            case "configuration":
                return await self._configuration(order)
            case "log_level":
                return self._log_level(_data(order, LogLevelData))
            case "diagnostics":
                return await self._diagnostics(order)
            case "restart":
                _data(order, NothingData)
                self._restarted_s = _now_s()
                asyncio.get_running_loop().call_later(RESTART_AFTER_S, self._gateway.stop)
                return None
            case "keys":
                return await self._change_keys(_data(order, KeysData))
            case _:
                return await self._close_gates(order)

    def _end(self, order_id: str, outcome: f.Outcome, message: str) -> None:
        try:
            self.record(f.OrderEnded(order_id=order_id, outcome=outcome, message=message[:MESSAGE_MAX]))
        except StorageUnavailable as error:
            log.warning("order_end_not_stored", order=order_id, outcome=outcome, why=str(error))
        self._gateway.reporter.announce_state()

    def after_start(self) -> None:
        """Say what became of orders that an end of the gateway cut short, wanted or not."""
        mark = self._staging.marked()
        for order in list(self._gateway.recorder.state.above.orders.values()):
            outcome, message = _after_start(order, mark.stage if mark and mark.order_id == order.order_id else "")
            self._end(order.order_id, outcome, message)
            if order.order_kind == "restart":
                self._restarted_s = _now_s()
        if mark is not None:
            self._staging.unmark()

    # One kind each.

    async def _configuration(self, order: o.Order) -> str | None:
        data = _data(order, ConfigurationData)
        try:
            fresh = await self._checked(data.yaml)
            before = self._online()
            await asyncio.to_thread(self._staging.swap_in, order.id)
        except OSError as error:
            if error.errno not in MAY_NOT_WRITE:
                raise
            message = f"{error.filename} may not be written; see docs/operations.md, orders from above"
            raise OrderFailed(message) from error
        finally:
            # What could not be written there cannot be removed there either.
            with suppress(OSError):
                self._staging.drop()
        if missing := await self._trial(order.id, fresh.digest, before, data.healthy_within_s):
            undone = await asyncio.to_thread(self._staging.swap_back, order.id)
            await self._gateway.reloaded()
            await asyncio.to_thread(self._staging.unmark)
            if not undone:
                raise OrderFailed(f"{CHANGED_MEANWHILE}: {missing}")
            raise RolledBack(f"not healthy within {data.healthy_within_s:g} s, the one before is in force: {missing}")
        try:
            await self.record(f.OrderEnded(order_id=order.id, outcome="done", message=f"digest {fresh.digest[:12]}"))
        except StorageUnavailable as error:
            # It is marked as kept, and the next start says so.
            log.warning("order_end_not_stored", order=order.id, outcome="done", why=str(error))
            return None
        await asyncio.to_thread(self._staging.unmark)
        return None

    async def _trial(self, order_id: str, digest: str, before: frozenset[str], within_s: float) -> str:
        """Try what was swapped in, and mark it as kept; or return what is missing, whatever it ran into."""
        try:
            await self._gateway.reloaded()
            if missing := await self._watch(digest, before, within_s):
                return missing
            # The mark goes last: whatever happens in between, the next start knows that the new one is to stay.
            await asyncio.to_thread(self._staging.mark, order_id, "kept")
        except Exception as error:
            log.exception("upstream_failed", part="orders")
            return str(error) or FAILED
        return ""

    async def _checked(self, text: str) -> Configuration:
        gateway = self._gateway
        await asyncio.to_thread(self._staging.stage, text)
        try:
            fresh = await asyncio.to_thread(gateway.read, self._staging.staged)
        except ConfigurationError as error:
            first, count = error.problems[0], len(error.problems)
            raise OrderFailed(f"{first} ({count} in all)") from error
        if fixed := gateway.configuration.needs_restart(fresh):
            raise OrderFailed(f"{fixed} cannot change while running; change it at the venue and restart the service")
        if fresh.upstream != gateway.configuration.upstream:
            # Else whoever may order a configuration could allow themselves everything, or cut the venue off.
            raise OrderFailed("`upstream` can only be changed at the venue, and this configuration has another one")
        return fresh

    async def _watch(self, digest: str, before: frozenset[str], within_s: float) -> str:
        """Return what is missing for a healthy gateway once time is over; empty as soon as nothing is."""
        began_s, missing = _now_s(), "upstream is not reached"
        while _now_s() - began_s < within_s:
            missing = await self._missing(digest, before, began_s)
            if not missing:
                return ""
            await asyncio.sleep(LOOK_EVERY_S)
        return missing

    async def _missing(self, digest: str, before: frozenset[str], began_s: float) -> str:
        gateway = self._gateway
        if gateway.configuration.digest != digest:
            return gateway.reporter.configuration_refused or "it is not in force"
        if gateway.recorder.lost is not None:
            return f"storage: {gateway.recorder.lost}"
        away = sorted((before & gateway.configuration.devices.keys()) - self._online())
        if away:
            return f"offline since: {', '.join(away)}"
        if self.link is None:
            return "the way to upstream is gone"
        await self.link.poll.look()
        return "" if self.link.poll.reached_s >= began_s else f"upstream is not reached: {self.link.poll.why}"

    def _online(self) -> frozenset[str]:
        return frozenset(name for name, slot in self._gateway.supervisor.slots.items() if slot.online)

    def _log_level(self, data: LogLevelData) -> str:
        if self._level_ends is not None:
            self._level_ends.cancel()
        logs.set_level(data.level)
        self._level_ends = asyncio.get_running_loop().call_later(data.for_s, self._log_level_over)
        return f"{data.level} for {data.for_s:g} s"

    def _log_level_over(self) -> None:
        self._level_ends = None
        logs.set_level(None)
        log.info("log_level_restored")

    async def _diagnostics(self, order: o.Order) -> str:
        _data(order, NothingData)
        if self.link is None:
            raise OrderFailed("the way to upstream is gone")
        file = self.identity.folder / BUNDLE
        try:
            if refused := await _bundle(file, self._gateway.config_path):
                raise OrderFailed(refused)
            content = await asyncio.to_thread(file.read_bytes)
        finally:
            file.unlink(missing_ok=True)
        if len(content) > DIAGNOSTICS_BYTES_MAX:
            raise OrderFailed(f"the bundle has {len(content)} bytes, more than {DIAGNOSTICS_BYTES_MAX}")
        await self.link.send_diagnostics(order.id, content)
        return f"{len(content)} bytes"

    async def _change_keys(self, data: KeysData) -> str:
        trust = await asyncio.to_thread(self.identity.trust)
        await asyncio.to_thread(self.identity.pin, msgspec.structs.replace(trust, keys=tuple(data.keys)))
        self.forget_trust()
        return ", ".join(one.id for one in data.keys)

    async def _close_gates(self, order: o.Order) -> str:
        """Take it as an order of staff is taken, under the name of whoever gave it above."""
        handler = self._gateway.wiring.orders.handlers()[order.kind]
        client = f"upstream/{order.by}"
        handler.take(Request(client, order.id, "gateway", order.kind, bytes(order.data), order.expires_at_ms, ""))
        return "on record; the gates follow"

    # Certificates.

    async def renew_if_due(self) -> None:
        """Ask for a new certificate while there is time. Raises SinkUnavailable, NotEnrolled and OSError."""
        if self.link is None or not self.identity.renewal_due(datetime.now(UTC)):
            return
        venue = self._gateway.configuration.venue.id
        certificate = await self.link.renew(await asyncio.to_thread(self.identity.request_pem, venue))
        until = await asyncio.to_thread(self.identity.take_certificate, certificate, venue)
        self.record(f.CertificateRenewed(valid_until_ms=round(until.timestamp() * 1000)))


def _now_s() -> float:
    return asyncio.get_running_loop().time()


Data = TypeVar("Data", bound=msgspec.Struct)


def _data(order: o.Order, kind: type[Data]) -> Data:
    try:
        return msgspec.json.decode(order.data, type=kind)
    except (ValueError, RecursionError) as error:
        raise OrderFailed(f"`data` of {order.kind}: {error}") from error


def _after_start(order: f.OrderTaken, stage: str) -> tuple[f.Outcome, str]:
    if order.order_kind == "restart":
        return "done", "restarted"
    if order.order_kind == "configuration":
        if stage == "kept":
            return "done", "in force since before a restart"
        if stage == "left":
            return "failed", CHANGED_MEANWHILE
        if stage == "rolled_back":
            return "rolled_back", "the gateway stopped before it was known to be good; the one before is in force"
        return "failed", "the gateway stopped before it was tried; nothing has changed"
    return "unknown", "the gateway stopped in the middle of it"


async def _bundle(file: Path, config_path: Path) -> str:
    """Make a bundle in a process of its own; returns why not, or an empty text."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "diagnostics", str(file), "--config", str(config_path),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(DIAGNOSTICS_WITHIN_S):
            _, said = await process.communicate()
    except TimeoutError:
        return f"the bundle was not made within {DIAGNOSTICS_WITHIN_S:g} s; make it at the venue"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return "" if process.returncode == 0 else said.decode(errors="replace").strip()[:MESSAGE_MAX] or "it failed"

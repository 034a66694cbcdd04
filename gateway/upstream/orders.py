"""Orders from above: asked for by long poll, judged one by one, on disk before anything of them is done.

An order that is refused is a fact as well, with the one word for it; upstream hears of both with the events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Protocol

import msgspec
import structlog

from gateway.domain import orders as o
from gateway.domain.fleet_events import OrderRefused, OrderTaken
from gateway.upstream.contract import ORDERS
from gateway.upstream.http import Answer, Client
from gateway.upstream.polling import AGAIN_S, ANSWER_S, POLL_S, Polling
from gateway.upstream.sinks import SinkUnavailable

log = structlog.get_logger(__name__)

ORDERS_MAX = 100
WHY_MAX = 300


class Carrier(Protocol):
    """Who carries orders out."""

    def situation(self) -> o.Situation:
        """Return what an order is judged by now. Raises NotEnrolled, and OSError."""
        ...

    def check_free(self, order: o.Order) -> None:
        """Raise RefusedOrder when an order cannot be begun now, because another is under way."""
        ...

    def carry_out(self, order: o.Order) -> None:
        """Begin to carry out an order that is on disk."""
        ...


class _Told(msgspec.Struct, frozen=True):
    """`Orders`, with each order as it came: one that is none refuses itself and no other."""

    after: int
    cursor: int
    orders: list[msgspec.Raw]


class OrdersPoll:
    """Asks for orders. `run` is its task."""

    def __init__(
        self,
        client: Client,
        cursor: Callable[[], int],
        record: Callable[[OrderTaken | OrderRefused], asyncio.Future[None]],
        carrier: Carrier,
        random: Random,
    ) -> None:
        """Prepare; `cursor` is the number of the last order that was looked at."""
        self._client = client
        self._cursor = cursor
        self._record = record
        self._carrier = carrier
        self._polling = Polling(client, random, "orders", lambda why: log.warning("orders_unavailable", why=why))
        self._busy = asyncio.Lock()
        self.reached_s = 0.0
        """When upstream last answered, by the loop's clock."""

    @property
    def why(self) -> str:
        """Why the last round failed; empty when it did not."""
        return self._polling.why

    def try_now(self) -> None:
        """The network has changed: whatever pause is on is over."""
        self._polling.try_now()

    async def run(self) -> None:
        """Go on until cancelled."""
        await self._polling.run(partial(self._asked, POLL_S))

    async def look(self) -> None:
        """Ask now, beside the poll that waits; afterwards `reached_s` tells whether upstream answered."""
        await self._polling.round(partial(self._asked, 0.0))

    async def _asked(self, wait_s: float) -> float:
        query = {"after": str(self._cursor()), "wait_s": f"{wait_s:g}"}
        answer = await self._client.ask("GET", ORDERS, query=query, answer_s=ANSWER_S)
        if answer.status != 204:
            async with self._busy:
                await self._take(_read(answer))
        self.reached_s = asyncio.get_running_loop().time()
        return AGAIN_S

    async def _take(self, told: _Told) -> None:
        """Take what is new; the same answer may have come by both ways."""
        if told.after > self._cursor() or told.cursor != told.after + len(told.orders):
            message = f"orders after {told.after} up to {told.cursor} do not follow those up to {self._cursor()}"
            raise SinkUnavailable(message)
        for number, raw in enumerate(told.orders, start=told.after + 1):
            if number > self._cursor():
                await self._judge(number, raw)

    async def _judge(self, number: int, raw: msgspec.Raw) -> None:
        try:
            signed = msgspec.json.decode(raw, type=o.SignedOrder)
            order = o.opened(signed, self._carrier.situation())
            self._carrier.check_free(order)
        except (ValueError, RecursionError) as error:
            await self._refuse(number, o.RefusedOrder("malformed", f"this is no order: {error}"))
        except o.RefusedOrder as refused:
            await self._refuse(number, refused)
        else:
            await self._record(
                OrderTaken(
                    order_id=order.id,
                    cursor=number,
                    order_kind=order.kind,
                    version=order.version,
                    by=order.by,
                    reason=order.reason,
                    signed_with=signed.key,
                    expires_at_ms=order.expires_at_ms,
                )
            )
            self._carrier.carry_out(order)

    async def _refuse(self, number: int, refused: o.RefusedOrder) -> None:
        order = refused.order
        known: Mapping[str, str | int] = {} if order is None else {"order_kind": order.kind, "version": order.version}
        why = str(refused)[:WHY_MAX]
        fact = OrderRefused(
            order_id=order.id if order is not None else "", cursor=number, refusal=refused.refusal, why=why
        )
        await self._record(msgspec.structs.replace(fact, **known))


def _read(answer: Answer) -> _Told:
    if answer.status != 200:
        raise SinkUnavailable(f"upstream answers {answer.status} for orders, which means nothing here")
    try:
        told = msgspec.json.decode(answer.body, type=_Told)
    except (ValueError, RecursionError) as error:
        raise SinkUnavailable(f"upstream answers with what are no orders ({error})") from error
    if len(told.orders) > ORDERS_MAX:
        raise SinkUnavailable(f"{len(told.orders)} orders in one answer are more than {ORDERS_MAX}")
    return told

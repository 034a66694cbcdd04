"""The way between an enrolled gateway and upstream: orders down, bundles and renewals up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import msgspec
import structlog

from gateway.domain.fleet_events import OrderRefused, OrderTaken
from gateway.upstream import contract as c
from gateway.upstream.http import Answer, Client
from gateway.upstream.identity import NotEnrolled
from gateway.upstream.orders import Carrier, OrdersPoll
from gateway.upstream.sinks import SinkUnavailable

log = structlog.get_logger(__name__)

RENEWAL_EVERY_S = 3600.0
JSON = {"Content-Type": "application/json"}
GZIP = {"Content-Type": "application/gzip"}
WHY_MAX = 300


class FleetLink:
    """One enrolled gateway's way to upstream. `run` is its task."""

    def __init__(
        self,
        client: Client,
        cursor: Callable[[], int],
        record: Callable[[OrderTaken | OrderRefused], asyncio.Future[None]],
        carrier: Carrier,
        renew: Callable[[], Awaitable[None]],
        random: Random,
    ) -> None:
        """Prepare; `renew` is called once an hour."""
        self._client = client
        self._renew = renew
        self.poll = OrdersPoll(client, cursor, record, carrier, random)
        self.renewal_why = ""

    def try_now(self) -> None:
        """The network has changed."""
        self.poll.try_now()

    def trouble(self) -> str:
        """Return what is wrong, in words; empty while all is well."""
        if self.renewal_why:
            return f"fleet: the certificate is not renewed: {self.renewal_why}"
        return f"fleet: upstream cannot be asked for orders: {self.poll.why}" if self.poll.why else ""

    async def run(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.poll.run())
            group.create_task(self._keep_certificate())

    async def _keep_certificate(self) -> None:
        while True:
            try:
                await self._renew()
                self.renewal_why = ""
            except (SinkUnavailable, NotEnrolled, OSError, ValueError) as error:
                if str(error) != self.renewal_why:
                    log.warning("certificate_not_renewed", why=str(error))
                self.renewal_why = str(error)
            await asyncio.sleep(RENEWAL_EVERY_S)

    async def send_diagnostics(self, order_id: str, content: bytes) -> None:
        """Bring a bundle up. Raises SinkUnavailable."""
        path = c.DIAGNOSTICS.format(order=order_id)
        answer = await self._client.ask("PUT", path, body=content, headers=GZIP)
        if answer.status not in {200, 201, 204}:
            raise SinkUnavailable(f"upstream answers {answer.status} for the bundle: {why_of(answer)}")

    async def renew(self, request: str) -> str:
        """Return a new certificate. Raises SinkUnavailable."""
        body = msgspec.json.encode(c.Renewal(request))
        answer = await self._client.ask("POST", c.RENEWAL, body=body, headers=JSON)
        if answer.status != 200:
            raise SinkUnavailable(f"upstream answers {answer.status} for a renewal: {why_of(answer)}")
        try:
            return msgspec.json.decode(answer.body, type=c.Renewed).certificate
        except (ValueError, RecursionError) as error:
            raise SinkUnavailable(f"upstream answers with what is no certificate ({error})") from error


async def enrol(client: Client, enrolment: c.Enrolment) -> c.Enrolled:
    """Ask to be known; the client shows no certificate yet. Raises SinkUnavailable."""
    body = msgspec.json.encode(enrolment)
    answer = await client.ask("POST", c.ENROLMENT, body=body, headers=JSON)
    if answer.status != 200:
        raise SinkUnavailable(f"upstream answers {answer.status}: {why_of(answer)}")
    try:
        return msgspec.json.decode(answer.body, type=c.Enrolled)
    except (ValueError, RecursionError) as error:
        raise SinkUnavailable(f"upstream answers with what is no enrolment ({error})") from error


def why_of(answer: Answer) -> str:
    """Return why upstream refuses, in its own words where it has any."""
    try:
        return msgspec.json.decode(answer.body, type=c.Refusal).why
    except (ValueError, RecursionError):
        return answer.body[:WHY_MAX].decode(errors="replace").strip() or "it says no more"

"""The venue as a program sees it: a method for each thing to ask, a type for each answer, an error for each refusal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

import msgspec

from gateway.client.connection import Connection, Pending
from gateway.client.errors import Denied, Failed, NoAnswer, OutcomeUnknown, VenueError
from gateway.client.events import Feed
from gateway.client.invitation import Invitation, trust
from gateway.client.messages import (
    Admission,
    Answer,
    Armed,
    Balance,
    Entry,
    GatewayState,
    Opened,
    Paid,
    Printed,
    ReplayPage,
    Transfer,
)

log = logging.getLogger("gateway.client")

ANSWER_S = 10.0
"""How long an answer may take that waits for nobody."""
CARD_S = 120.0
"""How long a guest may look for the card; the gateway gives up sooner, and says so."""
PAPER_S = 300.0
"""How long a receipt may wait for paper."""
METAL_S = 5.0
"""How long a request may be under way that moves metal; later it does nothing."""
PAGE = 500
_ENDED = {"payment_ended", "unknown_transfer"}
"""Why there is nothing to cancel: it has ended already, or never came."""
_ERRORS = {"denied": Denied, "failed": Failed, "unknown": OutcomeUnknown}

Shape = TypeVar("Shape")


class Waiting:
    """A reader that waits for the guest's card. Await `paid`, or `cancel`."""

    def __init__(self, client: VenueClient, pending: Pending, armed: Armed) -> None:
        """Carry what the reader waits for."""
        self.id, self.armed = pending.id, armed
        self._client, self._pending = client, pending

    async def paid(self, timeout_s: float = CARD_S) -> Answer:
        """Return the last word when it is `done`. Raises Denied, Failed (nobody came), NoAnswer.

        Whoever waits no longer, by `timeout_s` or because the task was cancelled, lets the reader wait no more either.
        """
        try:
            with self._client.letting_go(self.id):
                return await self._client.last_word(self._pending, timeout_s)
        finally:
            self._client.connection.forget(self._pending)

    async def cancel(self) -> None:
        """Let the reader wait no more. Raises Denied when the card was quicker: then look at `paid`."""
        await self._client.ask("wallet", "cancel", {"request": self.id})


class VenueClient:
    """A login at a venue, for `async with`. Interruptions are mended by itself; what was asked then is asked again."""

    def __init__(
        self,
        venue: str,
        user: str,
        password: str,
        host: str,
        port: int = 8883,
        *,
        tls_context: ssl.SSLContext | None,
    ) -> None:
        """Prepare; `tls_context` is None only for a broker on this very computer."""
        self.connection = Connection(venue, user, password, host, port, tls_context)
        self._background: set[asyncio.Task[None]] = set()

    @classmethod
    async def join(cls, invitation: str | Invitation) -> Self:
        """Return a client for what `venue-gateway client add` shows. Raises WrongInvitation, NotConnected."""
        known = invitation if isinstance(invitation, Invitation) else Invitation.parse(invitation)
        context = await asyncio.to_thread(trust, known)
        return cls(known.venue, known.user, known.password, *known.address, tls_context=context)

    async def __aenter__(self) -> Self:
        await self.connection.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._background:
            await asyncio.wait(self._background, timeout=ANSWER_S)
        await self.connection.stop()

    @property
    def state(self) -> GatewayState:
        """Whether the gateway works, as it said last."""
        return self.connection.state

    # Money.

    async def charge(
        self,
        amount_minor: int,
        *,
        reader: str | None = None,
        credential: Mapping[str, str] | str | None = None,
        tip_minor: int = 0,
        deposit_minor: int = 0,
        request_id: str | None = None,
    ) -> Transfer:
        """Take money from the wallet of the next card held to `reader`, or from that of `credential`.

        Raises Denied (`insufficient_funds`, …), Failed (`payment_timed_out`, …), NoAnswer. A caller that is cancelled
        meanwhile, or hears nothing, lets the reader wait no more.
        """
        more = {"tip_minor": tip_minor, "deposit_minor": deposit_minor}
        data = {"amount_minor": amount_minor, **_payer(reader, credential), **{k: v for k, v in more.items() if v}}
        return _typed(await self._by_card("charge", data, request_id), Transfer)

    async def begin_charge(self, amount_minor: int, *, reader: str, request_id: str | None = None) -> Waiting:
        """Let a reader wait for a card and return at once, for a program with a button to cancel. Raises Denied."""
        data = {"amount_minor": amount_minor, "reader": reader}
        request_id = request_id or _new_id()
        with self.letting_go(request_id):
            pending = await self._send("wallet", "charge", data, None, request_id)
            answer = await self.first_word(pending, ANSWER_S)
        return Waiting(self, pending, _typed(answer, Armed))

    async def top_up(
        self,
        amount_minor: int,
        *,
        by: Paid,
        reader: str | None = None,
        credential: Mapping[str, str] | str | None = None,
        request_id: str | None = None,
    ) -> Transfer:
        """Put money into a wallet that the guest gave `by` cash, card or voucher. Raises as `charge` does."""
        data = {"amount_minor": amount_minor, "by": by, **_payer(reader, credential)}
        return _typed(await self._by_card("top_up", data, request_id), Transfer)

    async def refund(
        self, transfer: str, amount_minor: int | None = None, *, request_id: str | None = None
    ) -> Transfer:
        """Give back what an earlier charge took, all of it or a part. Raises Denied (`over_charged_amount`, …)."""
        data: dict[str, Any] = {"transfer": transfer}
        if amount_minor is not None:
            data["amount_minor"] = amount_minor
        return _typed(await self.ask("wallet", "refund", data, request_id=request_id), Transfer)

    async def balance(self, *, reader: str | None = None, credential: Mapping[str, str] | str | None = None) -> Balance:
        """Return what is in the wallet of the next card held to `reader`, or in that of `credential`."""
        return _typed(await self._by_card("balance", _payer(reader, credential), None), Balance)

    # Paper, metal, gates.

    async def print(
        self,
        printer: str,
        lines: Sequence[Mapping[str, Any]],
        *,
        title: str | None = None,
        timeout_s: float = PAPER_S,
        request_id: str | None = None,
    ) -> Printed:
        """Print a document and return when it is out. Raises Denied (`busy`, …), Failed, OutcomeUnknown, NoAnswer."""
        data: dict[str, Any] = {"document": {"lines": list(lines)}} | ({} if title is None else {"title": title})
        answer = await self.ask(printer, "print", data, timeout_s=timeout_s, request_id=request_id)
        return _typed(answer, Printed)

    async def open_drawer(self, drawer: str, reason: str, *, request_id: str | None = None) -> Opened:
        """Open a cash drawer; the reason stands in the journal. Raises Denied, Failed, OutcomeUnknown, NoAnswer."""
        answer = await self.ask(drawer, "open", {"reason": reason}, expires_in_s=METAL_S, request_id=request_id)
        return _typed(answer, Opened)

    async def authenticate(self, gate: str, technology: str, value: str, *, request_id: str | None = None) -> Admission:
        """Let a guest in by what they showed. Raises Denied with the one reason why not, and `answer.feedback`."""
        data = {"credential": {"technology": technology, "value": value}}
        answer = await self.ask(gate, "authenticate", data, expires_in_s=METAL_S, request_id=request_id)
        return _typed(answer, Admission)

    # The journal.

    async def events(self, after_seq: int | None = None) -> AsyncIterator[Entry]:
        """Yield the journal's entries after `after_seq` (None: from now on), in order, without gaps, for ever.

        Keep the `seq` of what was dealt with, and begin after it next time. Takes the grant `gateway: [replay]`.
        """
        async with contextlib.aclosing(Feed(self.connection, self._replay, after_seq).entries()) as entries:
            async for one in entries:
                yield one

    async def _replay(self, after_seq: int) -> ReplayPage:
        answer = await self.ask("gateway", "replay", {"after_seq": after_seq, "limit": PAGE})
        return _typed(answer, ReplayPage)

    # Anything.

    async def ask(
        self,
        target: str,
        verb: str,
        data: Mapping[str, Any] | None = None,
        *,
        expires_in_s: float | None = None,
        timeout_s: float = ANSWER_S,
        request_id: str | None = None,
    ) -> Answer:
        """Ask anything of the contract and return its last word when it is `done`; else raises, as told above.

        Whoever repeats a request gives it the same `request_id`: it has one effect, however often it is asked.
        """
        pending = await self._send(target, verb, data or {}, expires_in_s, request_id)
        try:
            return await self.last_word(pending, timeout_s)
        finally:
            self.connection.forget(pending)

    async def first_word(self, pending: Pending, timeout_s: float) -> Answer:
        """Return the first answer, `accepted` or `done`; raises for any other."""
        try:
            return await _in_time(pending.accepted, pending.id, timeout_s)
        except BaseException:
            self.connection.forget(pending)
            raise

    async def last_word(self, pending: Pending, timeout_s: float) -> Answer:
        """Return the last answer when it is `done`; raises for any other."""
        return await _in_time(pending.last, pending.id, timeout_s)

    async def _by_card(self, verb: str, data: Mapping[str, Any], request_id: str | None) -> Answer:
        request_id = request_id or _new_id()
        with self.letting_go(request_id) if "reader" in data else contextlib.nullcontext():
            return await self.ask("wallet", verb, data, timeout_s=CARD_S, request_id=request_id)

    @contextlib.contextmanager
    def letting_go(self, request_id: str) -> Iterator[None]:
        """Cancel a request at its reader when nobody waits for the answer any more.

        Nobody would see that the guest has paid, so the reader must not take a card for it.
        """
        try:
            yield
        except (asyncio.CancelledError, NoAnswer):
            task = asyncio.create_task(self._cancel(request_id), name="cancel at the reader")
            self._background.add(task)
            task.add_done_callback(self._background.discard)
            raise

    async def _cancel(self, request_id: str) -> None:
        try:
            await self.ask("wallet", "cancel", {"request": request_id}, timeout_s=CARD_S)
        except VenueError as error:
            if not (isinstance(error, Denied) and error.reason in _ENDED):
                # Whoever asked has gone, so nobody else could be told.
                log.warning("the reader may still wait for a card for %s: %s", request_id, error)

    async def _send(
        self,
        target: str,
        verb: str,
        data: Mapping[str, Any],
        expires_in_s: float | None,
        request_id: str | None,
    ) -> Pending:
        request_id = request_id or _new_id()
        message: dict[str, Any] = {"id": request_id, "data": data}
        if expires_in_s is not None:
            message["expires_at"] = round((time.time() + expires_in_s) * 1000)
        pending = self.connection.begin(request_id, target, verb, msgspec.json.encode(message))
        try:
            await self.connection.send(pending)
        except BaseException:
            # Nobody waits for it, so no later connection may begin with it.
            self.connection.forget(pending)
            raise
        return pending


def _new_id() -> str:
    return uuid.uuid4().hex


def _payer(reader: str | None, credential: Mapping[str, str] | str | None) -> dict[str, Any]:
    if (reader is None) == (credential is None):
        raise ValueError("say whose wallet: by `reader` or by `credential`, one of them")
    return {"credential": credential} if reader is None else {"reader": reader}


async def _in_time(future: asyncio.Future[Answer], request_id: str, timeout_s: float) -> Answer:
    try:
        async with asyncio.timeout(timeout_s):
            answer = await asyncio.shield(future)
    except TimeoutError:
        raise NoAnswer(request_id) from None
    if answer.status in _ERRORS:
        raise _ERRORS[answer.status](answer)
    return answer


def _typed(answer: Answer, shape: type[Shape]) -> Shape:
    return msgspec.convert(answer.data, shape)

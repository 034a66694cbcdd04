"""Changes of the directory: where they come from, and what is checked before one of them counts."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Protocol

import msgspec

from gateway.store.directory_batch import Ground, RawChange, read_batch
from gateway.store.directory_overlay import Batch
from gateway.store.importing import ImportRefused
from gateway.upstream.contract import CHANGES
from gateway.upstream.download import CURSOR_MAX, DirectoryRefused, sha256_of
from gateway.upstream.http import Client
from gateway.upstream.polling import ANSWER_S, POLL_S
from gateway.upstream.seal import HEADER, Seal, Unsealed
from gateway.upstream.sinks import SinkUnavailable

CHANGES_MAX = 5_000
KIND = "directory.changes"
"""What the seal says that it is for."""


class Arrived(msgspec.Struct, frozen=True):
    """Changes as they came: `body` is a `DirectoryChanges`, `digest` its SHA-256 as RFC 9530 writes it.

    `signature` is the header with the seal, where there is one.
    """

    body: bytes
    digest: str | None
    signature: str | None = None


class NothingNew(msgspec.Struct, frozen=True):
    """Nothing has changed; with `is_said` it was upstream itself that said so, under a seal of the time `sealed_ms`.

    That is None where nothing is sealed. `is_asked` where it answers what was asked just now.
    """

    is_said: bool = True
    is_asked: bool = False
    sealed_ms: int | None = None


class Forgotten(msgspec.Struct, frozen=True):
    """Nobody knows any more what came after the cursor: only a snapshot helps."""


class Changes(Protocol):
    """Where changes come from. Every method raises SinkUnavailable."""

    @property
    def goes_on(self) -> bool:
        """Whether what was refused is behind it once it is settled; otherwise the same is asked for again."""
        ...

    async def after(self, cursor: int) -> Arrived | NothingNew | Forgotten:
        """Wait for what comes after `cursor`. Raises DirectoryRefused for a word without the seal that it needs."""
        ...

    async def settle(self, *, taken: bool) -> None:
        """What arrived last is in force or was refused for good, and shall not come again."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class HttpsChanges:
    """Asks upstream by long poll."""

    goes_on = False

    def __init__(self, client: Client) -> None:
        """Ask by `client`."""
        self._client = client

    async def after(self, cursor: int) -> Arrived | NothingNew | Forgotten:
        """Wait for what comes after `cursor`. Raises SinkUnavailable, and DirectoryRefused for an unsealed 204."""
        query = {"after": str(cursor), "wait_s": f"{POLL_S:g}"}
        answer = await self._client.ask("GET", CHANGES, query=query, answer_s=ANSWER_S)
        if answer.status == 410:
            return Forgotten()
        if answer.status == 204:
            sealed_ms = _sealed_ms(self._client.seal, cursor, answer.body, answer.headers.get(HEADER))
            return NothingNew(is_asked=True, sealed_ms=sealed_ms)
        if answer.status == 200:
            return Arrived(answer.body, answer.headers.get("Content-Digest"), answer.headers.get(HEADER))
        raise SinkUnavailable(f"upstream answers {answer.status} for changes, which means nothing here")

    async def settle(self, *, taken: bool) -> None:
        """Do nothing: the next poll says what is in force."""

    async def close(self) -> None:
        """Do nothing: the client is its owner's."""


class _Changes(msgspec.Struct, frozen=True):
    after: int
    cursor: int
    changes: list[RawChange]


class _Cursor(msgspec.Struct, frozen=True):
    cursor: int = 0


class Changed(msgspec.Struct, frozen=True):
    """What follows on the directory in force; `sealed_ms` as that of `NothingNew`."""

    batch: Batch
    sealed_ms: int | None = None


async def read_changes(arrived: Arrived, own: int, ground: Ground, seal: Seal | None) -> Changed | NothingNew | None:
    """Return what arrived; None when it came before, NothingNew when upstream says that this is all.

    With a `seal` it must bear that, whichever way it came. Raises DirectoryRefused for all that is not right. The work
    is done in a thread.
    """
    return await asyncio.to_thread(_checked, arrived, own, ground, seal)


def _checked(arrived: Arrived, own: int, ground: Ground, seal: Seal | None) -> Changed | NothingNew | None:
    sealed_ms = _sealed_ms(seal, _cursor_of(arrived.body), arrived.body, arrived.signature)
    read = _read(arrived, own, ground)
    if isinstance(read, NothingNew):
        return NothingNew(sealed_ms=sealed_ms)
    return Changed(read, sealed_ms) if read is not None else None


def _sealed_ms(seal: Seal | None, cursor: int, body: bytes, signature: str | None) -> int | None:
    if seal is None:
        return None
    try:
        return seal.check(KIND, cursor, hashlib.sha256(body).digest(), signature)
    except Unsealed as error:
        raise DirectoryRefused(str(error)) from error


def _cursor_of(body: bytes) -> int:
    """Return what the seal must be for; 0 where nobody can say, for which there is none."""
    try:
        return msgspec.json.decode(body, type=_Cursor).cursor
    except (ValueError, RecursionError):
        return 0


def _read(arrived: Arrived, own: int, ground: Ground) -> Batch | NothingNew | None:
    if hashlib.sha256(arrived.body).digest() != sha256_of(arrived.digest):
        raise DirectoryRefused("these changes are not what upstream meant: their digest does not fit")
    try:
        sent = msgspec.json.decode(arrived.body, type=_Changes)
    except (ValueError, RecursionError) as error:
        raise DirectoryRefused(f"these are no changes: {error}") from error
    if sent.after == sent.cursor == own and not sent.changes:
        return NothingNew()
    if sent.after <= sent.cursor <= own and sent.after < own:
        return None
    if sent.after != own or not sent.after < sent.cursor <= CURSOR_MAX:
        message = f"changes after {sent.after} up to {sent.cursor} do not follow those up to {own}"
        raise DirectoryRefused(f"{message}: out of order")
    if len(sent.changes) > CHANGES_MAX:
        raise DirectoryRefused(f"{len(sent.changes)} changes in one answer are more than {CHANGES_MAX}")
    try:
        return read_batch(sent.changes, sent.after, sent.cursor, ground)
    except ImportRefused as refused:
        line, message = refused.problems[0]
        raise DirectoryRefused(f"change {line} of those up to {sent.cursor}: {message}") from refused

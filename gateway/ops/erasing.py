"""`venue-gateway erase HOLDER --reason …`: a guest's name leaves every file here, and the journal keeps its chain."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from gateway.config.schema import Configuration
from gateway.domain.erasure import Aliases, HolderErased
from gateway.domain.ids import RandomPool, Uuid7
from gateway.domain.ledger import wallet
from gateway.domain.state import VenueState
from gateway.flows.recorder import Recorder
from gateway.store import erasing
from gateway.store.credentials import PACKAGED_STATE
from gateway.store.errors import StorageUnavailable
from gateway.store.journal import Journal
from gateway.store.locking import lock_state_dir
from gateway.store.reading import Reader
from gateway.store.rows import Row
from gateway.store.snapshot import known_schema, schema_of

JOURNAL = "journal.db"
PACKAGED_BACKUPS = Path("/var/backups/venue-gateway")
ROWS_PER_EVENT = 200
ALIAS_BYTES, REF_BYTES = 8, 16
MS_PER_DAY = 24 * 3600 * 1000
NOTE_MAX = 200


class EraseRefused(Exception):
    """Nothing was changed; the message says why and what to do first."""


class Erased(msgspec.Struct, frozen=True):
    """What was done: how many guests, rows of the journal, and other rows, those of the directory among them.

    `copies` are older journals on this machine that were not rewritten.
    """

    guests: int
    rows: int
    others: int
    copies: tuple[Path, ...] = ()


class _Seen(msgspec.Struct):
    holder: str | None = None
    credential: str | None = None


def erase(configuration: Configuration, holder: str, note: str, now_ms: int) -> Erased:
    """Erase one guest. Raises EraseRefused, and StorageUnavailable."""
    _check(holder, note)
    with _alone(configuration):
        state = _state(configuration)
        if why := _why_not(state, holder, configuration):
            raise EraseRefused(f"{holder}: {why}")
        done = _erase(configuration, [holder], note, now_ms, state)
    if not done.rows and not done.others:
        raise EraseRefused(f"{holder}: nobody of this name is in the journal or the directory")
    return done


def erase_unseen(configuration: Configuration, note: str, now_ms: int) -> Erased:
    """Erase every guest whom nobody saw for `retention.guests_days`; who is inside or has money here stays."""
    days = configuration.retention.guests_days
    if days is None:
        raise EraseRefused("the configuration does not say how long guests are kept: set `retention.guests_days`")
    _check("", note)
    with _alone(configuration):
        state = _state(configuration)
        before_ms = now_ms - round(days * MS_PER_DAY)
        seen = _last_seen(configuration)
        old = [name for name, at_ms in seen.items() if at_ms < before_ms and not name.startswith("erased-")]
        gone = [name for name in old if name not in state.where and not _why_not(state, name, configuration)]
        return _erase(configuration, gone, note, now_ms, state) if gone else Erased(0, 0, 0)


def _check(holder: str, note: str) -> None:
    if holder and holder in note:
        raise EraseRefused("the reason stays in the journal, so it must not name the guest; write a number of the case")
    if not note.strip() or len(note) > NOTE_MAX or not note.isprintable():
        raise EraseRefused(f"a reason of at most {NOTE_MAX} letters is needed, such as `request 2026-17`")


def _alone(configuration: Configuration) -> IO[str]:
    try:
        return lock_state_dir(configuration.state_dir)
    except OSError as error:
        raise EraseRefused(f"{configuration.state_dir}: {error.strerror or error}") from None


def _why_not(state: VenueState, holder: str, configuration: Configuration) -> str:
    """Return why a guest cannot be erased now, or an empty text."""
    account = state.ledger.accounts.get(wallet(holder))
    if any(hold.holder == holder for hold in state.ledger.holds.values()):
        return "an amount is held in the wallet; capture or release it first"
    if account is not None and account.balance_minor and configuration.wallet.authority == "venue":
        return f"{account.balance_minor} minor units are in the wallet; pay them out first (close_out)"
    allowance = state.ledger.allowances.get(holder)
    if allowance is not None and (allowance.left_minor or not allowance.settled):
        return "upstream has not heard of all that the wallet spent; connect to it first"
    if any(entry.granted.holder == holder for entry in state.entries.values()):
        return "an entry is under way; start the gateway once, so that it ends"
    if state.is_blocked("", holder):
        return "a ban stands under this name, and without the name it would not hold; lift it first"
    return ""


def _state(configuration: Configuration) -> VenueState:
    """Return the venue's state as a start would rebuild it."""

    async def restored() -> VenueState:
        journal = Journal.open(configuration.state_dir / JOURNAL)
        try:
            recorder = Recorder(
                VenueState(configuration.zone_map), journal, lambda: 0, Uuid7(RandomPool(os.urandom).take)
            )
            recorder.restore()
        finally:
            journal.close()
        return recorder.state

    return asyncio.run(restored())


def _rows(configuration: Configuration) -> list[tuple[int, _Seen]]:
    """Return who was seen when, row by row."""
    return _seen_in(configuration.state_dir / JOURNAL)


def _seen_in(journal: Path) -> list[tuple[int, _Seen]]:
    reader = Reader(journal)
    decode = msgspec.json.Decoder(_Seen).decode
    try:
        return [(row.at_ms, decode(row.body)) for row in reader.all_rows() if b'"holder":' in row.body]
    finally:
        reader.close()


def _last_seen(configuration: Configuration) -> dict[str, int]:
    return {seen.holder: at_ms for at_ms, seen in _rows(configuration) if seen.holder}


def _erase(configuration: Configuration, holders: Sequence[str], note: str, now_ms: int, state: VenueState) -> Erased:
    names = {holder: f"erased-{secrets.token_hex(ALIAS_BYTES)}" for holder in holders}
    aliases = Aliases(names, _references(configuration, names))
    ids = Uuid7(RandomPool(os.urandom).take)

    kept = {name for name, job in state.jobs.items() if job.open}

    def tell(seq: int, marks: Sequence[str]) -> list[Row]:
        # Time never goes backwards in the journal, whatever the clock does.
        at_ms = max(now_ms, _newest_ms(configuration))
        events = _events(list(names.values()), note, marks)
        return [Row(seq + number, ids(at_ms), at_ms, body) for number, body in enumerate(events, start=1)]

    def rewrite(journal: Path) -> tuple[int, int]:
        return erasing.rewrite_journal(journal, aliases.rewritten, aliases.row, tell, aliases.concern, kept)

    rows, others = rewrite(configuration.state_dir / JOURNAL)
    others += erasing.forget_in_directory(configuration.state_dir, holders)
    copies = []
    for journal in _kept_journals(configuration):
        try:
            if schema_of(journal) == known_schema():
                others += sum(rewrite(journal))
            else:
                # One from before a migration is of use to an older version, and only as it is.
                copies.append(journal)
        except StorageUnavailable:
            # Damaged, or of another version: a person has to decide.
            copies.append(journal)
    return Erased(len(holders), rows, others, (*copies, *_backups(configuration)))


def _kept_journals(configuration: Configuration) -> list[Path]:
    """Return the journals that `restore --replace` and migrations have left beside the one in use."""
    kept = configuration.state_dir.glob(f"{JOURNAL}.before-*")
    return sorted(one for one in kept if not one.name.endswith(("-wal", "-shm", "-journal")))


def _backups(configuration: Configuration) -> list[Path]:
    """Return the copies that the package made before upgrades, or their folder where only root may look."""
    if configuration.state_dir != PACKAGED_STATE or not PACKAGED_BACKUPS.exists():
        return []
    try:
        return sorted(PACKAGED_BACKUPS.iterdir())
    except PermissionError:
        return [PACKAGED_BACKUPS]


def _events(aliases: Sequence[str], note: str, marks: Sequence[str]) -> list[bytes]:
    """Return the facts: one for each guest, and the marks over as many as they need."""
    pieces = [tuple(marks[start : start + ROWS_PER_EVENT]) for start in range(0, len(marks), ROWS_PER_EVENT)]
    count = max(len(aliases), len(pieces))
    named = [*aliases, *([aliases[-1]] * (count - len(aliases)))]
    told = [*pieces, *([()] * (count - len(pieces)))]
    facts = [HolderErased(alias=alias, note=note, rows=rows) for alias, rows in zip(named, told, strict=True)]
    return [msgspec.json.encode(fact) for fact in facts]


def _references(configuration: Configuration, holders: Collection[str]) -> Mapping[str, str]:
    """Return the references of the guests' cards, each with a made-up one."""
    found = {seen.credential for _, seen in _rows(configuration) if seen.holder in holders and seen.credential}
    for journal in _kept_journals(configuration):
        with suppress(StorageUnavailable):
            found.update(one.credential for _, one in _seen_in(journal) if one.holder in holders and one.credential)
    for holder in holders:
        found.update(erasing.refs_in_directory(configuration.state_dir, holder))
    return {ref: secrets.token_hex(REF_BYTES) for ref in found}


def _newest_ms(configuration: Configuration) -> int:
    reader = Reader(configuration.state_dir / JOURNAL)
    try:
        newest = reader.newest(1)
    finally:
        reader.close()
    return newest[-1].at_ms if newest else 0

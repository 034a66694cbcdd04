"""Changes of a directory as upstream sends them, checked as an import is, and made into a batch. All or nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from gateway.domain.schedules import Schedule
from gateway.domain.tickets import IssuerKey
from gateway.store.credentials import CredentialKey
from gateway.store.directory_overlay import Batch, CredentialValues, Named, WalletValues, with_names
from gateway.store.directory_rows import Name
from gateway.store.directory_types import StoredEntitlement, Summary
from gateway.store.importing import ISSUER_KEYS_MAX, NAMES_MAX, NO_LINE, Import, ImportRefused


class CredentialGone(msgspec.Struct, tag_field="type", tag="credential", frozen=True):
    """The key of a credential."""

    technology: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9_.-]{0,30}$")]
    value: Name

    def __repr__(self) -> str:
        return f"CredentialGone(technology={self.technology!r}, value=…)"


class EntitlementGone(msgspec.Struct, tag_field="type", tag="entitlement", frozen=True):
    """The key of an entitlement."""

    holder: Name
    id: Name


class WalletGone(msgspec.Struct, tag_field="type", tag="wallet", frozen=True):
    """The key of a wallet."""

    holder: Name


class ScheduleGone(msgspec.Struct, tag_field="type", tag="schedule", frozen=True):
    """The key of a schedule."""

    id: Name


class ZoneGone(msgspec.Struct, tag_field="type", tag="zone", frozen=True):
    """The key of a zone."""

    id: Name


class IssuerKeyGone(msgspec.Struct, tag_field="type", tag="issuer_key", frozen=True):
    """The key of an issuer key."""

    id: Name


RowGone: TypeAlias = CredentialGone | EntitlementGone | WalletGone | ScheduleGone | ZoneGone | IssuerKeyGone
_decode_gone = msgspec.json.Decoder(RowGone).decode
_decode_entitlement = msgspec.msgpack.Decoder(StoredEntitlement).decode


class RawChange(msgspec.Struct, frozen=True):
    """A change whose row has not been looked at."""

    row: msgspec.Raw
    op: Literal["put", "delete"]


@dataclass(frozen=True)
class Ground:
    """What changes are checked against: the directory in force, and the venue."""

    summary: Summary
    key: CredentialKey
    known_zones: Collection[str]
    timezone: ZoneInfo


def read_batch(changes: Iterable[RawChange], after: int, cursor: int, ground: Ground) -> Batch:
    """Return the changes as a batch; of one row changed twice the last word counts.

    Raises ImportRefused, with the places of the changes as lines, counted from 1.
    """
    return _Reading(ground).read(changes, after, cursor)


class _Reading(Import):
    def __init__(self, ground: Ground) -> None:
        zones = {*ground.known_zones, *ground.summary.zones}
        super().__init__(Path(), ground.key, zones, ground.timezone, 0)
        self._ground = ground
        self._known_schedules = ground.summary.schedules
        self._new_credentials: dict[bytes, CredentialValues | None] = {}
        self._new_entitlements: dict[tuple[str, str], StoredEntitlement | None] = {}
        self._new_wallets: dict[str, WalletValues | None] = {}
        self._new_zones: dict[str, Named[str]] = {}
        self._new_schedules: dict[str, Named[Schedule]] = {}
        self._new_keys: dict[str, Named[IssuerKey]] = {}

    def read(self, changes: Iterable[RawChange], after: int, cursor: int) -> Batch:
        for number, change in enumerate(changes, start=1):
            if change.op == "put":
                self._take(number, bytes(change.row))
                self._put()
            else:
                self._delete(number, bytes(change.row))
        self._schedules = {one.id: one.value for one in self._new_schedules.values() if one.value is not None}
        self._zones = {one.id: one.value for one in self._new_zones.values() if one.kept}
        self._check_names()
        self._refuse_if_wrong()
        batch = Batch(
            after,
            cursor,
            self._ground.summary.origin,
            tuple(self._new_credentials.items()),
            tuple((holder, key, stored) for (holder, key), stored in self._new_entitlements.items()),
            tuple(self._new_wallets.items()),
            tuple(self._new_zones.values()),
            tuple(self._new_schedules.values()),
            tuple(self._new_keys.values()),
        )
        self._check_whole(with_names(self._ground.summary, batch))
        return batch

    def _put(self) -> None:
        """Take what a row has become out of the reader, so that the same row may come again."""
        for ref, holder, state, valid_until_ms, kind, _ in self._credentials:
            self._new_credentials[ref] = (holder, state, valid_until_ms, kind)
        for entitlement_id, (holder, stored, _) in zip(self._ids, self._entitlements, strict=True):
            self._new_entitlements[holder, entitlement_id] = _decode_entitlement(stored)
        for holder, balance_minor, currency, counted_minor, _ in self._wallets:
            self._new_wallets[holder] = (balance_minor, currency, counted_minor)
        self._new_zones |= {name: Named(name, True, within) for name, within in self._zones.items()}
        self._new_schedules |= {name: Named(name, True, one) for name, one in self._schedules.items()}
        self._new_keys |= {name: Named(name, True, one) for name, one in self._issuer_keys.items()}
        for taken in (self._credentials, self._entitlements, self._ids, self._wallets):
            taken.clear()
        for named in (self._zones, self._schedules, self._issuer_keys):
            named.clear()

    def _delete(self, number: int, line: bytes) -> None:
        try:
            gone = _decode_gone(line)
        except (ValueError, RecursionError) as error:
            # What msgspec says names the field and never a value.
            self._problem(number, str(error))
            return
        match gone:
            case CredentialGone():
                self._new_credentials[self._key.ref_bytes(gone.technology, gone.value)] = None
            case EntitlementGone():
                self._new_entitlements[gone.holder, gone.id] = None
            case WalletGone():
                self._new_wallets[gone.holder] = None
            case ScheduleGone():
                self._new_schedules[gone.id] = Named(gone.id, False)
            case ZoneGone():
                self._new_zones[gone.id] = Named(gone.id, False)
            case IssuerKeyGone():
                self._new_keys[gone.id] = Named(gone.id, False)

    def _check_whole(self, summary: Summary) -> None:
        """Refuse what no single row shows."""
        keys = summary.issuer_keys
        if len({key.public_key for key in keys}) < len(keys):
            raise ImportRefused([(NO_LINE, "two issuer keys are the same key; a key has one id and one state")], 1)
        if max(len(summary.zones), len(summary.schedules)) > NAMES_MAX or len(keys) > ISSUER_KEYS_MAX:
            raise ImportRefused([(NO_LINE, "there are too many zones, schedules or issuer keys")], 1)

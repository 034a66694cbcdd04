"""What a guest holds to a reader, looked up: in the directory, or on the signed ticket itself."""

from __future__ import annotations

from typing import Annotated, Literal

import structlog
from msgspec import Meta, Struct, structs

from gateway.domain import tickets
from gateway.domain.access import Credential, Entitlement
from gateway.domain.clock import Doubt
from gateway.domain.reasons import Reason
from gateway.store.credentials import CredentialKey
from gateway.store.directory import Directory

log = structlog.get_logger(__name__)


class Presented(Struct, frozen=True, forbid_unknown_fields=True):
    """What a guest holds to a networked reader.

    `value` is upper-case hex for a tag, the exact characters for a code.
    """

    technology: Literal["em4100", "barcode", "nfc", "wiegand", "keypad"]
    value: Annotated[str, Meta(min_length=1, max_length=tickets.TOKEN_CHARS_MAX)]

    def __repr__(self) -> str:
        return f"Presented(technology={self.technology!r}, value=<hidden>)"


Carried = tuple[Credential, tuple[Entitlement, ...]]


class Found(Struct, frozen=True):
    """What is known of a credential: whose it is and what it entitles to, or the one reason why nothing can be said."""

    ref: str = ""
    credential: Credential | None = None
    entitlements: tuple[Entitlement, ...] = ()
    fault: Reason | None = None

    @property
    def holder(self) -> str:
        """Who carries it; empty where nobody knows."""
        return self.credential.holder if self.credential is not None else ""


class Lookup:
    """Finds credentials by what is presented, and holders by name."""

    def __init__(self, directory: Directory, key: CredentialKey, venue_id: str = "") -> None:
        """Take the directory and the key that makes references; `venue_id` is what a signed ticket may name."""
        self.directory = directory
        self.venue_id = venue_id
        self._key = key
        self._keys: tuple[tickets.IssuerKey, ...] | None = None
        self._keyring = tickets.Keyring(())

    def ref(self, presented: Presented) -> str:
        """Return the reference of what is presented; the number itself goes no further (I12)."""
        return self._key.ref(presented.technology, presented.value)

    def find(self, technology: str, value: str, now_ms: int, doubt: Doubt | None = None) -> Found:
        """Return what is known of this card or code at `now_ms`. Raises StorageUnavailable.

        `doubt` is there while nobody vouches for the time.
        """
        ref = self._key.ref(technology, value)
        carried = self.directory.carried(ref)
        if not self.directory.loaded:
            return Found(ref, fault=Reason.DIRECTORY_UNAVAILABLE)
        if technology == "barcode" and tickets.is_signed(value):
            return self._signed(ref, carried, value, now_ms, doubt)
        return Found(ref, *carried) if carried is not None else Found(ref, fault=Reason.UNKNOWN_CREDENTIAL)

    def by_ref(self, ref: str) -> Found:
        """Return what is known of a credential by the reference from an earlier answer. Raises StorageUnavailable.

        A signed ticket that the directory does not list has to be shown itself.
        """
        if not self.directory.loaded:
            return Found(ref, fault=Reason.DIRECTORY_UNAVAILABLE)
        carried = self.directory.carried(ref)
        return Found(ref, *carried) if carried is not None else Found(ref, fault=Reason.UNKNOWN_CREDENTIAL)

    def shown(self, shown: Presented | str, now_ms: int, doubt: Doubt | None = None) -> Found:
        """Return what is known of a card or code, or of the reference of one. Raises StorageUnavailable."""
        if isinstance(shown, str):
            return self.by_ref(shown)
        return self.find(shown.technology, shown.value, now_ms, doubt)

    def holder(self, holder: str) -> Found:
        """Return what a holder is entitled to, whichever of their credentials they would show."""
        if not self.directory.loaded:
            return Found(fault=Reason.DIRECTORY_UNAVAILABLE)
        entitlements = self.directory.entitlements(holder)
        return Found("", Credential("", holder), entitlements)

    def _signed(self, ref: str, carried: Carried | None, value: str, now_ms: int, doubt: Doubt | None) -> Found:
        """A signed ticket counts under its own id, known to the directory or not, so that it counts once (I4)."""
        known, listed = carried or (None, ())
        try:
            ticket = self._current_keyring().open(value, now_ms, doubt)
        except tickets.NotAuthentic as error:
            log.warning("ticket_not_authentic", why=str(error))
            return Found(ref, known, fault=Reason.AUTHENTICITY_FAILED)
        own = ticket.entitlement
        credential = known or Credential(ref, own.holder, "active", own.valid_until_ms, "qr_code")
        credential = _no_longer_than_its_key(credential, ticket)
        if fault := tickets.venue_fault(ticket, self.venue_id):
            return Found(ref, credential, fault=fault)
        # Where the directory has the ticket itself it may have changed it since; any other ticket has its own code.
        at_gates = tuple(one for one in listed if one.id == own.id) or (own,)
        return Found(ref, credential, at_gates + _redeemable(listed, ticket))

    def _current_keyring(self) -> tickets.Keyring:
        if self._keys is not self.directory.issuer_keys:
            self._keys = self.directory.issuer_keys
            self._keyring = tickets.Keyring(self._keys)
        return self._keyring


def _no_longer_than_its_key(credential: Credential, ticket: tickets.Ticket) -> Credential:
    """A code is worth what its key is: where the key depends on the time, so does the code."""
    ends_ms = [end_ms for end_ms in (credential.valid_until_ms, ticket.key_until_ms) if end_ms is not None]
    return structs.replace(credential, valid_until_ms=min(ends_ms, default=None))


def _redeemable(listed: tuple[Entitlement, ...], ticket: tickets.Ticket) -> tuple[Entitlement, ...]:
    """Return what its holder may redeem by the directory, and what stands on the ticket itself."""
    items = tuple(one for one in listed if one.item)
    known = {one.id for one in items}
    return items + tuple(one for one in ticket.vouchers if one.id not in known)

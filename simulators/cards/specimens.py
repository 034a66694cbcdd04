"""Cards by name, as a control command asks for them."""

from __future__ import annotations

import secrets

import msgspec

from simulators.cards.card import Card, ClassicCard, FelicaCard
from simulators.cards.nxp import NxpCard, SunCard
from simulators.cards.type2 import PAGES, Type2Card


class Specimen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One card: its chip, its number, and what it holds. `key` and `meta_key` are 32 hex digits."""

    chip: str
    uid: str
    key: str = "00" * 16
    meta_key: str = "00" * 16
    key_number: int = 0
    application: str = ""
    ndef: str = ""
    counter: int = 0
    counts: bool = True


def make(one: Specimen) -> Card:
    """Make the card. Raises ValueError for a chip or number that is none."""
    uid, key = bytes.fromhex(one.uid), bytes.fromhex(one.key)
    if one.chip in {*PAGES, "ultralight", "ultralight_ev1", "ultralight_c", "ultralight_aes"}:
        return Type2Card(one.chip, uid, bytes.fromhex(one.ndef), key, secrets.token_bytes)
    if one.chip == "sun":
        card = SunCard(uid, bytes.fromhex(one.meta_key), key, counter=one.counter)
        card.counts = one.counts
        return card
    if one.chip in {"desfire_ev1", "desfire_ev2", "desfire_ev3", "ntag424"}:
        return NxpCard(one.chip, uid, {one.key_number: key}, bytes.fromhex(one.application), secrets.token_bytes)
    if one.chip == "classic_1k":
        return ClassicCard(uid)
    if one.chip == "felica":
        return FelicaCard(uid)
    raise ValueError(f"no chip is called {one.chip!r}")

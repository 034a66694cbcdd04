"""Asking a card to prove that it is no copy: the dialogue of each chip, over whoever carries its bytes.

Facts: NXP AN12196 and NT4H2421Gx (NTAG 424 DNA), AN12752 (DESFire EV2/EV3 authentication), MF0ICU2 (Ultralight C),
MF0AES(H)20 (Ultralight AES).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from drivers.codecs.card_auth import ChainedAuth, Ev2FirstAuth
from drivers.codecs.ndef import NdefText
from drivers.codecs.nfc_chips import Chip, is_random_uid
from drivers.codecs.nxp_crypto import CardCipher
from drivers.codecs.sdm import Layout, PiccData, parse_url
from drivers.nfc.card import NATIVE_MORE, NATIVE_OK, OK, SELECT_NDEF, Card, CardGone, CardSilent, read_texts
from drivers.nfc.keys import LoadedRule

RandomBytes = Callable[[int], bytes]
_EV1: frozenset[Chip] = frozenset({"desfire_ev1", "desfire_ev2", "desfire_ev3", "desfire"})
_CHIPS: dict[str, frozenset[Chip]] = {
    "desfire": _EV1 | {"desfire_light"},
    "ntag424": frozenset({"ntag424"}),
    "sun": frozenset({"ntag424"}),
    "ultralight_aes": frozenset({"ultralight_aes"}),
    "ultralight_c": frozenset({"ultralight_c"}),
}


class Proof(msgspec.Struct, frozen=True):
    """What came of it. `proven` None: no rule is for this chip. `uid` is what the card proved to be."""

    proven: bool | None
    uid: bytes
    counter: int | None = None

    def __repr__(self) -> str:
        return f"Proof(proven={self.proven})"


def prove(card: Card, chip: Chip, rules: Sequence[LoadedRule], random_bytes: RandomBytes) -> Proof:
    """Try the rules for this chip until one holds. Raises CardGone when the card leaves meanwhile."""
    asked = [rule for rule in rules if chip in _CHIPS[rule.rule.card]]
    for rule in asked:
        proof = _try_twice(card, chip, rule, random_bytes)
        if proof is not None:
            return proof
    return Proof(proven=False if asked else None, uid=card.uid)


def _try_twice(card: Card, chip: Chip, rule: LoadedRule, random_bytes: RandomBytes) -> Proof | None:
    """Try again where a card fell silent in the middle, as one does that is held badly."""
    for _ in range(2):
        try:
            proof = _try(card, chip, rule, random_bytes)
        except CardSilent:
            if card.kind == "iso_dep":
                # By ISO 14443-4 a card that is there answers.
                raise CardGone from None
            card.wake()
            continue
        except ValueError:
            # No key can be made of its number.
            return None
        if proof is None and card.kind == "type2":
            card.wake()
        return proof
    return None


def _try(card: Card, chip: Chip, rule: LoadedRule, random_bytes: RandomBytes) -> Proof | None:
    if rule.rule.card == "sun":
        return _prove_by_url(card, rule, read_texts(card))
    cipher = rule.cipher(card.uid)
    if _has_key(card, chip, rule, cipher, random_bytes):
        return Proof(proven=True, uid=card.uid)
    return None


def _has_key(card: Card, chip: Chip, rule: LoadedRule, cipher: CardCipher, random_bytes: RandomBytes) -> bool:
    number = rule.rule.key_number
    match rule.rule.card:
        case "ultralight_c":
            return _type2_auth(card, ChainedAuth(cipher, random_bytes(8)), 0)
        case "ultralight_aes":
            return _type2_auth(card, ChainedAuth(cipher, random_bytes(16), chained=False), number)
        case "ntag424":
            return card.exchange(SELECT_NDEF)[-2:] == OK and _ev2_first(card, cipher, number, random_bytes)
        case _:
            return _desfire(card, chip, rule, cipher, random_bytes)


def _desfire(card: Card, chip: Chip, rule: LoadedRule, cipher: CardCipher, random_bytes: RandomBytes) -> bool:
    """EV2 and later can be set to refuse the older command, and EV1 does not know the newer one."""
    application = bytes.fromhex(rule.rule.application or "000000")
    if card.exchange(_native(0x5A, application))[-2:] != NATIVE_OK:
        return False
    number = rule.rule.key_number
    if chip != "desfire_ev1" and _ev2_first(card, cipher, number, random_bytes):
        return True
    return chip in _EV1 and _three_pass(card, ChainedAuth(cipher, random_bytes(16)), _native(0xAA, bytes([number])))


def _ev2_first(card: Card, cipher: CardCipher, number: int, random_bytes: RandomBytes) -> bool:
    # The second byte is the length of the reader's capabilities: none.
    return _three_pass(card, Ev2FirstAuth(cipher, random_bytes(16)), _native(0x71, bytes([number, 0])))


def _three_pass(card: Card, auth: ChainedAuth | Ev2FirstAuth, first: bytes) -> bool:
    challenge = card.exchange(first)
    if challenge[-2:] != NATIVE_MORE:
        return False
    answer = auth.answer(challenge[:-2])
    if answer is None:
        return False
    response = card.exchange(_native(0xAF, answer))
    return response[-2:] == NATIVE_OK and auth.proves(response[:-2])


def _type2_auth(card: Card, auth: ChainedAuth, number: int) -> bool:
    challenge = card.exchange(bytes([0x1A, number]))
    answer = auth.answer(challenge[1:]) if challenge[:1] == b"\xaf" else None
    if answer is None:
        return False
    response = card.exchange(b"\xaf" + answer)
    return response[:1] == b"\x00" and auth.proves(response[1:])


def _native(command: int, data: bytes) -> bytes:
    """Return a native command in the frame of an APDU (ISO/IEC 7816-4; AN12752, 4.2)."""
    return bytes([0x90, command, 0, 0, len(data)]) + data + b"\x00"


def _prove_by_url(card: Card, rule: LoadedRule, found: Sequence[NdefText]) -> Proof | None:
    """Look for the signed address; the card that shows it must be the one that it names."""
    for text in found:
        if text.kind != "uri":
            continue
        picc = opened(text.value, rule)
        if picc is not None and (picc.uid == card.uid or is_random_uid(card.uid)):
            return Proof(proven=True, uid=picc.uid, counter=picc.counter)
    return None


def opened(url: str, rule: LoadedRule) -> PiccData | None:
    """Return who signed a URL, and at which count; None where nobody with this rule's key did."""
    layout = Layout(
        picc=rule.rule.picc,
        uid=rule.rule.uid,
        counter=rule.rule.counter,
        mac=rule.rule.mac,
        mac_from=rule.rule.mac_from,
    )
    sun = parse_url(url, layout)
    picc = sun.card(rule.picc_cipher) if sun is not None else None
    if sun is None or picc is None or not sun.is_signed_by(rule.cipher(picc.uid), picc):
        return None
    return picc

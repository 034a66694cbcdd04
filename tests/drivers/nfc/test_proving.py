"""The dialogue with each chip, against cards that compute with ciphers of their own; no process, no port."""

from __future__ import annotations

import itertools
import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.codecs.ndef import NdefText
from drivers.codecs.nfc_chips import chip_by_atr, chip_by_sak, chip_by_type2_version, chip_by_version
from drivers.nfc.card import CardGone, CardSilent, identify, read_texts
from drivers.nfc.keys import LoadedRule
from drivers.nfc.options import ProofRule
from drivers.nfc.proving import prove
from simulators.cards.crypto import card_key
from simulators.cards.iso_dep import IsoDepCard
from simulators.cards.nxp import NxpCard, SunCard
from simulators.cards.type2 import Type2Card

UID = bytes.fromhex("04782E21801D80")
SYSTEM = "3042F54E585020416275"
MASTER = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
OWN = card_key(MASTER, UID + bytes.fromhex(SYSTEM))
APPLICATION = bytes.fromhex("3042F5")
AES_CHIPS = ["desfire_ev1", "desfire_ev2", "desfire_ev3", "ntag424", "ultralight_aes"]


def noise(seed: int = 7):
    return random.Random(seed).randbytes


class Field:
    """A simulated card, reached without radio: APDUs go in as they are."""

    def __init__(self, card, *, gone_after: int | None = None) -> None:
        self.card, self.uid, self.chip = card, card.uid, None
        self.kind = "iso_dep" if isinstance(card, IsoDepCard) else "type2"
        self.wakes = 0
        self._left = itertools.count() if gone_after is None else iter(range(gone_after))

    def exchange(self, data: bytes) -> bytes:
        if next(self._left, None) is None:
            raise CardGone
        answer = self.card.apdu(data) if self.kind == "iso_dep" else self.card.exchange(data)
        if answer is None:
            raise CardSilent
        return answer

    def wake(self) -> None:
        self.wakes += 1
        self.card.select()


def card(chip: str, key: bytes = OWN, uid: bytes = UID):
    if chip.startswith("ultralight"):
        return Type2Card(chip, uid, key=key, random_bytes=noise(1))
    return NxpCard(chip, uid, {1: key}, APPLICATION if chip.startswith("desfire") else b"", noise(1))


def rule(chip: str, *, key: bytes = MASTER, diversified: str | None = SYSTEM, **options) -> LoadedRule:
    kind = "desfire" if chip.startswith("desfire") else chip
    application = APPLICATION.hex() if kind == "desfire" else None
    number = 0 if kind == "ultralight_c" else 1
    one = ProofRule(
        card=kind, key_file="k", key_number=number, application=application, diversified_with=diversified, **options
    )
    return LoadedRule(one, key)


def proven(field: Field, *rules: LoadedRule):
    return prove(field, identify(field), rules, noise()).proven


@pytest.mark.parametrize("chip", AES_CHIPS)
def test_a_card_with_its_own_key_is_authentic_and_any_other_is_not(chip):
    assert proven(Field(card(chip)), rule(chip)) is True
    assert proven(Field(card(chip, key=bytes(16))), rule(chip)) is False
    # Another card's key under this card's number: a copy of the number alone.
    other = card_key(MASTER, bytes(7) + bytes.fromhex(SYSTEM))
    assert proven(Field(card(chip, key=other)), rule(chip)) is False


def test_ultralight_c_by_3des():
    key = bytes.fromhex("49454D4B41455242214E4143554F5946")
    assert proven(Field(card("ultralight_c", key=key)), rule("ultralight_c", key=key, diversified=None)) is True
    wrong = rule("ultralight_c", key=bytes(16), diversified=None)
    assert proven(Field(card("ultralight_c", key=key)), wrong) is False


def test_a_venue_that_changes_its_keys_takes_the_old_and_the_new():
    rules = (rule("ultralight_aes", key=b"n" * 16), rule("ultralight_aes"))
    field = Field(card("ultralight_aes"))
    assert proven(field, *rules) is True
    # The chip falls silent after the first key, and is woken.
    assert field.wakes >= 1


def test_an_ultralight_aes_is_no_ultralight_c_though_it_answers_alike():
    assert identify(Field(card("ultralight_aes"))) == "ultralight_aes"
    assert identify(Field(card("ultralight_c"))) == "ultralight_c"


def test_nobody_asks_a_chip_that_no_rule_is_for():
    assert proven(Field(card("desfire_ev2")), rule("ntag424")) is None
    assert proven(Field(Type2Card("ntag213", UID)), rule("desfire"), rule("ultralight_c", diversified=None)) is None


def test_a_desfire_that_knows_only_the_older_command_is_asked_by_it():
    late = card("desfire_ev2")
    late.chip = "desfire_ev1"
    assert prove(Field(late), "desfire_ev2", (rule("desfire"),), noise()).proven is True


def test_a_signed_address_counts_and_names_its_card():
    meta, file_key = b"m" * 16, b"f" * 16
    sun = SunCard(UID, meta, file_key)
    loaded = LoadedRule(ProofRule(card="sun", key_file="k", picc_key_file="m"), file_key, meta)
    first, second = (prove(Field(sun), "ntag424", (loaded,), noise()) for _ in range(2))
    assert (first.proven, first.uid, first.counter, second.counter) == (True, UID, 1, 2)
    copy = SunCard(bytes(7), meta, file_key)
    copy.file = sun.file
    assert prove(Field(copy), "ntag424", (loaded,), noise()).proven is False
    stranger = SunCard(UID, meta, b"x" * 16)
    assert prove(Field(stranger), "ntag424", (loaded,), noise()).proven is False
    # A card that makes up its number at each reading is who its address says it is.
    shy = SunCard(UID, meta, file_key)
    shy.uid = UID
    field = Field(shy)
    field.uid = bytes.fromhex("08123456")
    assert prove(field, "ntag424", (loaded,), noise()).uid == UID


@pytest.mark.parametrize("chip", AES_CHIPS)
def test_a_card_that_leaves_in_the_middle_has_proven_nothing_yet(chip):
    for steps in range(3):
        with pytest.raises(CardGone):
            proven(Field(card(chip), gone_after=steps), rule(chip))


def test_texts_of_both_kinds_of_tags():
    message = b"\xd1\x01\x09T\x02enTicket"
    assert read_texts(Field(Type2Card("ntag213", UID, message))) == [NdefText("text", "Ticket")]
    long = b"\xc1\x01" + (303).to_bytes(4, "big") + b"T\x02en" + b"x" * 300
    assert read_texts(Field(Type2Card("ntag216", UID, long))) == [NdefText("text", "x" * 300)]
    assert read_texts(Field(Type2Card("ntag213", UID))) == []
    assert read_texts(Field(SunCard(UID, bytes(16), bytes(16))))[0].value.startswith("https://v.example/t?picc_data=")
    assert read_texts(Field(card("desfire_ev1"))) == []


def test_chips_by_what_they_say():
    versions = {
        "0004040201000F03": "ntag213",
        "0004030101000B03": "ultralight_ev1",
        "0004030104000F03": "ultralight_aes",
    }
    assert {version: chip_by_type2_version(bytes.fromhex(version)) for version in versions} == versions
    assert chip_by_version(bytes.fromhex("04010133001A05")) == "desfire_ev3"
    assert chip_by_version(bytes.fromhex("04040230001105")) == "ntag424"
    assert (chip_by_sak(0x08), chip_by_sak(0x18), chip_by_sak(0x00)) == ("classic_1k", "classic_4k", None)
    classic = bytes.fromhex("3B8F8001804F0CA000000306030001000000006A")
    assert chip_by_atr(classic) == "classic_1k"
    assert chip_by_atr(bytes.fromhex("3B8180018080")) is None


class Shaky(Field):
    """A card that is held badly: it misses one exchange."""

    def __init__(self, card, misses: int) -> None:
        super().__init__(card)
        self._misses, self._count = misses, 0

    def exchange(self, data: bytes) -> bytes:
        self._count += 1
        if self._count == self._misses:
            self.card.mute = True
            raise CardSilent
        return super().exchange(data)


def test_a_genuine_card_that_misses_a_word_is_asked_again():
    for misses in (1, 2):
        shaky = Shaky(card("ultralight_aes"), misses)
        assert prove(shaky, "ultralight_aes", (rule("ultralight_aes"),), noise()).proven is True
        with pytest.raises(CardGone):
            prove(Shaky(card("ntag424"), misses), "ntag424", (rule("ntag424"),), noise())


class Babbler:
    """A card that answers anything at all."""

    def __init__(self, kind: str, answers: list[bytes]) -> None:
        self.uid, self.chip, self.kind = UID, None, kind
        self._answers = itertools.cycle(answers)

    def exchange(self, data: bytes) -> bytes:
        answer = next(self._answers)
        if not answer:
            raise CardSilent
        return answer

    def wake(self) -> None:
        pass


pieces = st.sampled_from([b"\x91\xaf", b"\x91\x00", b"\x90\x00", b"\xaf", b"\x00", b"\xe1\x10\x06\x00", b"\x04\x06"])
answers = st.lists(st.binary(max_size=40) | st.builds(bytes.__add__, st.binary(max_size=33), pieces), min_size=1)


@settings(max_examples=150)
@given(st.sampled_from(["type2", "iso_dep"]), answers)
def test_whatever_a_card_answers_nothing_is_raised_and_nothing_proven(kind, said):
    rules = [rule(chip) for chip in ["desfire", "ntag424", "ultralight_aes"]]
    rules += [rule("ultralight_c", diversified=None), LoadedRule(ProofRule(card="sun", key_file="k"), MASTER)]
    babbler = Babbler(kind, said)
    with suppress(CardGone):
        assert prove(babbler, identify(babbler), rules, noise()).proven is not True
    read_texts(babbler)
    chip_by_type2_version(said[0])
    chip_by_version(said[0])
    chip_by_atr(said[0])

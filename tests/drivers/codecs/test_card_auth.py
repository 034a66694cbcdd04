"""Golden vectors of NXP's notes, and a card of the simulators' own making on the other side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.card_auth import ChainedAuth, Ev2FirstAuth
from drivers.codecs.nxp_crypto import CardCipher, diversified, truncated
from simulators.cards.crypto import aes_cmac, card_key

ZERO = bytes(16)
MASTER = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
ABOUT = bytes.fromhex("04782E21801D803042F54E585020416275")
RND_A = bytes.fromhex("13C5DB8A5930439FC3DEF9A4C675360F")
ENC_RND_B = bytes.fromhex("A04C124213C186F22399D33AC2A30215")
PART_2 = bytes.fromhex("35C3E05A752E0144BAC0DE51C1F22C56B34408A23D8AEA266CAB947EA8E0118D")
RESPONSE = bytes.fromhex("3FA64DB5446D1F34CD6EA311167F5E4985B89690C04A05F17FA7AB2F08120663")


def test_an10922_aes_key():
    assert diversified(MASTER, ABOUT).hex().upper() == "A8DD63A3B89D54B37CA802473FDA9175"
    assert card_key(MASTER, ABOUT) == diversified(MASTER, ABOUT)


def test_an10922_two_key_3des_key():
    """The note's example before a key version is written into the parity bits, which no cipher looks at."""
    key = diversified(MASTER, ABOUT[:15], tdes=True)
    versioned = bytes.fromhex("16F9587D9E8910C96B9648D006107DD7")
    assert [byte & 0xFE for byte in key] == [byte & 0xFE for byte in versioned]


def test_an10922_pads_a_short_input_to_two_blocks():
    """Otherwise than CMAC: the one input byte is followed by 80 and zeros up to 32 bytes, under the second subkey."""
    cipher = CardCipher(MASTER)
    assert diversified(MASTER, b"\x04") == cipher.cmac(b"\x01\x04", at_least_bytes=32)
    assert diversified(MASTER, b"\x04") != cipher.cmac(b"\x01\x04")


@pytest.mark.parametrize(("size", "tdes"), [(0, False), (32, False), (0, True), (16, True)])
def test_an10922_refuses_inputs_it_has_no_room_for(size, tdes):
    with pytest.raises(ValueError, match="diversification input has"):
        diversified(MASTER, bytes(size), tdes=tdes)


def test_an_empty_message_truncated_as_in_an12196():
    session = CardCipher(bytes.fromhex("3FB5F6E3A807A03D5E3570ACE393776F"))
    assert truncated(session.cmac(b"")).hex().upper() == "94EED9EE65337086"


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=80))
def test_cmac_is_the_one_of_the_library(key, message):
    assert CardCipher(key).cmac(message) == aes_cmac(key, message)


def test_authenticate_ev2_first():
    auth = Ev2FirstAuth(CardCipher(ZERO), RND_A)
    assert auth.answer(ENC_RND_B) == PART_2
    assert auth.proves(RESPONSE)
    assert auth.transaction.hex().upper() == "9D00C4DF"
    assert auth.session_enc.hex().upper() == "1309C877509E5A215007FF0ED19CA564"
    assert auth.session_mac.hex().upper() == "4C6626F5E72EA694202139295C7A7FC7"


def test_a_wrong_card_proves_nothing_to_ev2_first():
    auth = Ev2FirstAuth(CardCipher(ZERO), RND_A)
    assert not auth.proves(RESPONSE)
    auth.answer(ENC_RND_B)
    assert not auth.proves(RESPONSE[:-1] + b"\x00\x00")
    assert not auth.proves(bytes([RESPONSE[0], RESPONSE[1] ^ 1, *RESPONSE[2:]]))
    assert auth.session_mac == b""
    assert auth.answer(ENC_RND_B[:-1]) is None


def test_the_cipher_tells_nothing_of_its_key():
    assert MASTER.hex() not in repr(CardCipher(MASTER)).lower()


@given(st.binary(max_size=80), st.binary(max_size=80), st.sampled_from(["aes", "tdes", "unchained", "ev2"]))
def test_whatever_a_card_sends_nothing_is_raised_and_nothing_proven(challenge, response, how):
    tdes = how == "tdes"
    cipher = CardCipher(MASTER, tdes=tdes)
    rnd_a = bytes(range(8 if tdes else 16))
    auth = Ev2FirstAuth(cipher, rnd_a) if how == "ev2" else ChainedAuth(cipher, rnd_a, chained=how != "unchained")
    answer = auth.answer(challenge)
    assert (answer is None) == (len(challenge) != len(rnd_a))
    assert not auth.proves(response)

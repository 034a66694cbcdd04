"""Secure Dynamic Messaging of NTAG 424 DNA: a URL that the card signs anew at each reading ("SUN").

Facts: NXP AN12196, 3.4 (PICCData, session keys, SDMMAC); NT4H2421Gx, 9.3. Nothing here knows a card or a clock, and
whatever stands in a URL, the answer is a value: an address that is not right is None.
"""

from __future__ import annotations

import hmac
import re
from urllib.parse import unquote_to_bytes

import msgspec

from drivers.codecs.nxp_crypto import AES_BLOCK, CardCipher, truncated

URL_CHARS_MAX = 1024
"""No NTAG 424 DNA holds a longer one: its NDEF file has 256 bytes."""
_UID_BYTES, _COUNTER_BYTES, _MAC_BYTES = 7, 3, 8
_SV_MAC, _SV_ENC = bytes.fromhex("3CC300010080"), bytes.fromhex("C33C00010080")
_UID_MIRRORED, _COUNTER_MIRRORED, _UID_LENGTH = 0x80, 0x40, 0x0F


class PiccData(msgspec.Struct, frozen=True):
    """Who the card says it is, and how often it has been read so far."""

    uid: bytes
    counter: int

    @property
    def vector(self) -> bytes:
        """The part of a session vector that is the card's: its UID, then the counter, lowest byte first."""
        return self.uid + self.counter.to_bytes(_COUNTER_BYTES, "little")

    def __repr__(self) -> str:
        return "PiccData(<hidden>)"


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How a venue's URLs are laid out: the names of their parameters.

    `picc` carries UID and counter encrypted; where it is empty they stand in clear in `uid` and `counter`. The MAC is
    over what stands between the value of `mac_from` and that of `mac`; over nothing where `mac_from` is empty.
    """

    picc: str = "picc_data"
    uid: str = "uid"
    counter: str = "ctr"
    mac: str = "cmac"
    mac_from: str = ""


def open_picc_data(meta_read: CardCipher, encrypted: bytes) -> PiccData | None:
    """Return what 16 encrypted bytes say of the card; None where they do not hold both UID and counter."""
    if len(encrypted) != AES_BLOCK:
        return None
    plain = meta_read.decrypt(encrypted)
    wanted = _UID_MIRRORED | _COUNTER_MIRRORED
    if plain[0] & wanted != wanted or plain[0] & _UID_LENGTH != _UID_BYTES:
        return None
    uid, counter = plain[1 : 1 + _UID_BYTES], plain[1 + _UID_BYTES : 1 + _UID_BYTES + _COUNTER_BYTES]
    return PiccData(uid, int.from_bytes(counter, "little"))


def session_mac_key(file_read: CardCipher, picc: PiccData) -> bytes:
    """Return KSesSDMFileReadMAC."""
    return file_read.cmac(_SV_MAC + picc.vector)


def session_enc_key(file_read: CardCipher, picc: PiccData) -> bytes:
    """Return KSesSDMFileReadENC."""
    return file_read.cmac(_SV_ENC + picc.vector)


def signature(file_read: CardCipher, picc: PiccData, signed: bytes) -> bytes:
    """Return the eight bytes that the card puts into its URL over `signed`."""
    return truncated(CardCipher(session_mac_key(file_read, picc)).cmac(signed))


def open_file_data(file_read: CardCipher, picc: PiccData, encrypted: bytes) -> bytes | None:
    """Return the part of the file that the card encrypted; None where it is not in whole blocks."""
    if not encrypted or len(encrypted) % AES_BLOCK:
        return None
    session = CardCipher(session_enc_key(file_read, picc))
    counter = picc.counter.to_bytes(_COUNTER_BYTES, "little")
    return session.decrypt(encrypted, session.encrypt(counter + bytes(AES_BLOCK - _COUNTER_BYTES)))


class SunUrl(msgspec.Struct, frozen=True):
    """The parts of a URL that matter, found by a layout; hex digits as bytes."""

    picc: bytes
    uid: bytes
    counter: int | None
    mac: bytes
    signed: bytes

    def __repr__(self) -> str:
        return "SunUrl(<hidden>)"

    def card(self, meta_read: CardCipher | None) -> PiccData | None:
        """Return who the URL says the card is: by the encrypted part, or in clear where there is no key for that."""
        if meta_read is not None:
            return open_picc_data(meta_read, self.picc)
        if len(self.uid) != _UID_BYTES or self.counter is None:
            return None
        return PiccData(self.uid, self.counter)

    def is_signed_by(self, file_read: CardCipher, picc: PiccData) -> bool:
        """Return whether the MAC in the URL is the one that this card makes at this count."""
        return hmac.compare_digest(signature(file_read, picc, self.signed), self.mac)


def parse_url(url: str, layout: Layout) -> SunUrl | None:
    """Return the parts of a URL by its layout; None for one that is too long or has no MAC."""
    if len(url) > URL_CHARS_MAX or not url.isascii():
        return None
    mac_at = _value_at(url, layout.mac)
    mac = _hex(url, mac_at)
    if mac_at is None or len(mac) != _MAC_BYTES:
        return None
    begin = _value_at(url, layout.mac_from) if layout.mac_from else mac_at
    if begin is None or begin > mac_at:
        return None
    counter = _hex(url, _value_at(url, layout.counter))
    return SunUrl(
        picc=_hex(url, _value_at(url, layout.picc)),
        uid=_hex(url, _value_at(url, layout.uid)),
        # In clear the counter stands highest byte first (AN12196, 3.3).
        counter=int.from_bytes(counter, "big") if len(counter) == _COUNTER_BYTES else None,
        mac=mac,
        signed=url[begin:mac_at].encode(),
    )


def _value_at(url: str, name: str) -> int | None:
    """Return where the value of a parameter begins."""
    found = re.search(rf"[?&]{re.escape(name)}=", url) if name else None
    return found.end() if found is not None else None


def _hex(url: str, at: int | None) -> bytes:
    """Return the hex digits from a place up to the end of the parameter as bytes; none where they are no pairs."""
    if at is None:
        return b""
    text = unquote_to_bytes(re.split(r"[&#]", url[at:], maxsplit=1)[0])
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError:
        return b""

"""DESFire EV1 to EV3 and NTAG 424 DNA, as far as proving themselves and showing a signed address goes."""

from __future__ import annotations

from simulators.cards.card import RandomBytes
from simulators.cards.crypto import aes_cmac, aes_decrypt, aes_encrypt, turned
from simulators.cards.iso_dep import IsoDepCard

HARDWARE = {
    "desfire_ev1": "04010101001A05", "desfire_ev2": "04010112001A05", "desfire_ev3": "04010133001A05",
    "ntag424": "04040230001105",
}  # fmt: skip
SOFTWARE = bytes.fromhex("04010101001A05")
NDEF_NAME = bytes.fromhex("D2760000850101")
_CONTAINER = bytes.fromhex("001720010000FF0406E104010000000506E10500808283")
_REFUSED, _MORE, _OK, _ISO_OK = b"\x91\xae", b"\x91\xaf", b"\x91\x00", b"\x90\x00"


class NxpCard(IsoDepCard):
    """A chip with AES keys: `keys` by number. `ndef` is what stands in its NDEF file, for an NTAG 424 DNA."""

    def __init__(self, chip: str, uid: bytes, keys: dict[int, bytes], application: bytes = b"",
                 random_bytes: RandomBytes = bytes) -> None:  # fmt: skip
        super().__init__(uid, random_bytes)
        self.chip, self.keys, self.application = chip, keys, application
        self.deselected()

    def deselected(self) -> None:
        """Forget what was under way."""
        self._selected, self._file = b"\x00\x00\x00", b""
        self._rnd_b, self._key, self._mode, self._version_left = b"", b"", 0, 0

    def apdu(self, command: bytes) -> bytes:
        """Answer a native command in its frame, or one of ISO 7816-4."""
        if len(command) < 5:
            return b"\x67\x00"
        if command[0] == 0x90:
            return self._native(command[1], command[5 : 5 + command[4]] if len(command) > 5 else b"")
        return self._iso(command) if self.chip == "ntag424" else b"\x6d\x00"

    def file(self) -> bytes:
        """What the NDEF file holds at this reading."""
        return b"\x00\x00"

    def _iso(self, command: bytes) -> bytes:
        if command[1:4] == b"\xa4\x04\x00":
            found = command[5:12] == NDEF_NAME
            self._file = b""
            return _ISO_OK if found else b"\x6a\x82"
        if command[1:4] == b"\xa4\x00\x0c":
            self._file = _CONTAINER if command[5:7] == b"\xe1\x03" else self.file()
            return _ISO_OK
        if command[1] == 0xB0:
            at = int.from_bytes(command[2:4], "big")
            return self._file[at : at + (command[4] or 256)] + _ISO_OK
        return b"\x6d\x00"

    def _native(self, code: int, data: bytes) -> bytes:
        if code == 0xAF and self._version_left:
            self._version_left -= 1
            return SOFTWARE + _MORE if self._version_left else self.uid.ljust(14, b"\x00") + _OK
        if code == 0xAF and self._rnd_b:
            return self._finish(data)
        self._rnd_b = b""
        if code == 0x60:
            self._version_left = 2
            return bytes.fromhex(HARDWARE[self.chip]) + _MORE
        if code == 0x5A:
            self._selected = data
            return _OK if data in {b"\x00\x00\x00", self.application} else b"\x91\xa0"
        if code in {0xAA, 0x71} and data and data[0] in self.keys:
            return self._begin(code, self.keys[data[0]])
        return b"\x91\x1c"

    def _begin(self, code: int, key: bytes) -> bytes:
        ev1_only, ev2_only = self.chip == "desfire_ev1", self.chip == "ntag424"
        if (code == 0x71 and ev1_only) or (code == 0xAA and ev2_only):
            return b"\x91\x1c"
        if self.application and self._selected != self.application:
            return _REFUSED
        self._mode, self._key, self._rnd_b = code, key, self.random_bytes(16)
        return aes_encrypt(key, self._rnd_b) + _MORE

    def _finish(self, data: bytes) -> bytes:
        rnd_b, self._rnd_b = self._rnd_b, b""
        if len(data) != 32:
            return _REFUSED
        chained = self._mode == 0xAA
        plain = aes_decrypt(self._key, data, aes_encrypt(self._key, rnd_b) if chained else bytes(16))
        if plain[16:] != turned(rnd_b):
            return _REFUSED
        if chained:
            return aes_encrypt(self._key, turned(plain[:16]), data[-16:]) + _OK
        return aes_encrypt(self._key, self.random_bytes(4) + turned(plain[:16]) + bytes(12)) + _OK


class SunCard(NxpCard):
    """An NTAG 424 DNA whose address is signed anew, and counted, at each reading."""

    def __init__(self, uid: bytes, meta_key: bytes, file_key: bytes, base: str = "https://v.example/t",
                 counter: int = 0) -> None:  # fmt: skip
        super().__init__("ntag424", uid, {0: bytes(16)})
        self.meta_key, self.file_key, self.base, self.counter = meta_key, file_key, base, counter
        self.counts = True

    def file(self) -> bytes:
        """Count, sign, and lay the address out as a URI record."""
        self.counter += self.counts
        picc = b"\xc7" + self.uid + self.counter.to_bytes(3, "little")
        session = aes_cmac(self.file_key, bytes.fromhex("3CC300010080") + picc[1:])
        mac = aes_cmac(session, b"")[1::2]
        hidden = aes_encrypt(self.meta_key, picc + bytes(5))
        url = f"{self.base}?picc_data={hidden.hex().upper()}&cmac={mac.hex().upper()}"
        payload = b"\x04" + url.removeprefix("https://").encode()
        record = b"\xd1\x01" + bytes([len(payload)]) + b"U" + payload
        return len(record).to_bytes(2, "big") + record

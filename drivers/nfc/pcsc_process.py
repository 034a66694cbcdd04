"""pyscard in its own process: any reader that pcscd serves, by its name.

Facts: PC/SC part 3 (pseudo-APDUs, ATR of storage cards); ACS ACR122U API 2.04, 6.2 (LED and buzzer) and 6.1 (direct
transmit). Run as `python -m drivers.nfc.pcsc_process` by `drivers.readers.pcsc`.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from drivers.codecs.nfc_chips import chip_by_atr
from drivers.nfc import line
from drivers.nfc.acr122 import Signals
from drivers.nfc.card import OK, CardGone, CardSilent
from drivers.nfc.child import Channel, Desk, Stopped, main

try:
    from smartcard import scard
except ImportError as missing:
    _MISSING: ImportError | None = missing
else:
    _MISSING = None

Context: TypeAlias = Any
Handle: TypeAlias = Any
"""Numbers that pcscd gives out."""

WAIT_MS = 200
"""How long pcscd is waited for before this process says again that it is alive; a card is told at once."""
GET_UID = bytes.fromhex("FFCA000000")
_TYPE2_CHIPS = frozenset({"ultralight", "ultralight_c"})
_ESCAPE_CODE = 3500
"""CCID escape by libccid (ifd-ccid README, "Vendor commands"): SCARD_CTL_CODE(3500)."""


class PcscCard:
    """A card in a PC/SC reader."""

    def __init__(self, handle: Handle, protocol: int, atr: bytes, *, direct: bool) -> None:
        """Take an open connection; `direct` says that the reader passes commands of Type 2 chips on."""
        self._handle, self._protocol, self._direct = handle, protocol, direct
        named = chip_by_atr(atr)
        is_type2 = named in _TYPE2_CHIPS or named == "unknown"
        self.kind: Literal["type2", "iso_dep", "other"] = (
            "iso_dep" if named is None else "type2" if direct and is_type2 else "other"
        )
        self.chip = None if self.kind != "other" else named
        answer = self._transmit(GET_UID)
        if answer[-2:] != OK or len(answer) < 6:
            raise CardGone
        self.uid = answer[:-2]

    def exchange(self, data: bytes) -> bytes:
        """Send an APDU, or a Type 2 command through the reader's PN532 (InCommunicateThru)."""
        if self.kind == "iso_dep":
            return self._transmit(data)
        answer = self._transmit(b"\xff\x00\x00\x00" + bytes([len(data) + 2]) + b"\xd4\x42" + data)
        if answer[:3] != b"\xd5\x43\x00" or answer[-2:] != OK:
            raise CardSilent
        return answer[3:-2]

    def wake(self) -> None:
        """Reset the card, which selects it again."""
        result, self._protocol = scard.SCardReconnect(
            self._handle, scard.SCARD_SHARE_SHARED, _protocols(), scard.SCARD_RESET_CARD
        )
        if result != scard.SCARD_S_SUCCESS:
            raise CardGone

    def _transmit(self, data: bytes) -> bytes:
        result, answer = scard.SCardTransmit(self._handle, self._protocol, list(data))
        if result != scard.SCARD_S_SUCCESS:
            raise CardGone
        return bytes(byte & 0xFF for byte in answer)


def _protocols() -> int:
    return int(scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1)


def serve(setup: line.Setup, channel: Channel, desk: Desk) -> None:
    """Watch one reader until it is gone, which raises Stopped."""
    if _MISSING is not None:
        raise Stopped(f"pyscard is not installed here ({_MISSING}): install venue-gateway with its extra `pcsc`")
    result, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    if result != scard.SCARD_S_SUCCESS:
        raise Stopped(f"pcscd does not answer ({_words(result)}): install it, and run systemctl start pcscd.socket")
    reader = _find(context, setup.connect)
    channel.say(line.Ready(reader))
    state = scard.SCARD_STATE_UNAWARE
    signals = Signals(channel.signals, lambda command: _send(context, reader, command))
    while True:
        channel.alive()
        result, states = scard.SCardGetStatusChange(context, WAIT_MS, [(reader, state)])
        if result not in {scard.SCARD_S_SUCCESS, scard.SCARD_E_TIMEOUT}:
            raise Stopped(f"{reader} is gone ({_words(result)}): check its cable, and that pcscd runs")
        _, state, atr = states[0]
        if state & (scard.SCARD_STATE_UNKNOWN | scard.SCARD_STATE_UNAVAILABLE):
            raise Stopped(f"{reader} is gone: check its cable, and that pcscd runs")
        if state & scard.SCARD_STATE_PRESENT and not state & scard.SCARD_STATE_MUTE:
            _take(context, reader, bytes(byte & 0xFF for byte in atr), desk)
        signals.show()


def _find(context: Context, wanted: str) -> str:
    """Return the full name of the only reader whose name holds what is wanted."""
    result, names = scard.SCardListReaders(context, [])
    known = list(names) if result == scard.SCARD_S_SUCCESS else []
    found = [name for name in known if wanted.lower() in name.lower()]
    if len(found) == 1 or (found and wanted in known):
        return str(wanted if wanted in known else found[0])
    there = ", ".join(known) or "none"
    raise Stopped(f"pcscd knows {len(found) or 'no'} readers whose name holds {wanted!r}; it knows: {there}")


def _take(context: Context, reader: str, atr: bytes, desk: Desk) -> None:
    result, handle, protocol = scard.SCardConnect(context, reader, scard.SCARD_SHARE_SHARED, _protocols())
    if result != scard.SCARD_S_SUCCESS:
        # It was taken away in this moment, or another program holds it alone.
        return
    try:
        desk.take(PcscCard(handle, protocol, atr, direct="ACR122" in reader))
    except CardGone:
        return
    finally:
        scard.SCardDisconnect(handle, scard.SCARD_LEAVE_CARD)


def _send(context: Context, reader: str, command: bytes) -> None:
    """Send a command to the reader; with no card there it goes past it, which libccid must be set to allow."""
    result, handle, protocol = scard.SCardConnect(context, reader, scard.SCARD_SHARE_SHARED, _protocols())
    if result == scard.SCARD_S_SUCCESS:
        scard.SCardTransmit(handle, protocol, list(command))
    else:
        result, handle, _ = scard.SCardConnect(context, reader, scard.SCARD_SHARE_DIRECT, 0)
        if result != scard.SCARD_S_SUCCESS:
            return
        scard.SCardControl(handle, scard.SCARD_CTL_CODE(_ESCAPE_CODE), list(command))
    scard.SCardDisconnect(handle, scard.SCARD_LEAVE_CARD)


def _words(result: int) -> str:
    return str(scard.SCardGetErrorMessage(result)).rstrip(".")


if __name__ == "__main__":
    main(serve)

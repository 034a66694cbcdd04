"""nfcpy in its own process: PN532 over UART or USB, ACR122U, RC-S380, and nfcpy's UDP device for tests.

nfcpy 1.0.4 is used as it is: its drivers and its ISO-DEP; what a card is and what it proves is decided here, because
nfcpy takes an Ultralight AES for an Ultralight C. Run by `drivers.readers.nfcpy`.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias

from drivers.codecs.nfc_chips import Chip, chip_by_sak
from drivers.nfc import line
from drivers.nfc.acr122 import Signals
from drivers.nfc.card import CardGone, CardSilent
from drivers.nfc.child import Channel, Desk, Stopped, main

try:
    import nfc
    import nfc.clf.pn532
    import nfc.clf.transport
    import nfc.tag.tt4
except ImportError as missing:
    _MISSING: ImportError | None = missing
else:
    _MISSING = None

USB_DEVICES = Path("/sys/bus/usb/devices")
TYPE2_TIMEOUT_S = 0.1
SIGNAL_TIMEOUT_S = 3.0
"""An ACR122U answers a beep when the last one is over."""
_BIT_RATES = {"A": "106A", "B": "106B", "F": "212F"}
_ISO_DEP = 0x20
_FELICA_LITE = b"\x88\xb4"


Frontend: TypeAlias = Any
Target: TypeAlias = Any
"""nfcpy carries no types: its open device, and what it found there."""


class NfcpyCard:
    """A card that nfcpy found."""

    def __init__(self, clf: Frontend, target: Target) -> None:
        """Take the open device and what it sensed."""
        self._clf, self._target, self._tag = clf, target, None
        self.uid, self.chip, self.kind = describe(target)

    def exchange(self, data: bytes) -> bytes:
        """Send bytes to the card and return its answer."""
        try:
            if self.kind == "iso_dep":
                return bytes(self._iso_dep().transceive(bytearray(data)))
            return bytes(self._clf.exchange(bytearray(data), TYPE2_TIMEOUT_S))
        except _card_errors() as error:
            raise CardSilent(type(error).__name__) from None

    def wake(self) -> None:
        """Select this very card again."""
        wanted = nfc.clf.RemoteTarget("106A")
        wanted.sel_req = bytearray(self.uid)
        self._tag = None
        try:
            self._target = self._clf.sense(wanted)
        except nfc.clf.CommunicationError:
            self._target = None
        if self._target is None:
            raise CardGone

    def _iso_dep(self) -> Target:
        if self._tag is None:
            try:
                self._tag = nfc.tag.tt4.activate(self._clf, self._target)
            except _card_errors():
                # It gave no answer to RATS, or one that nfcpy cannot read: it has to be found again.
                raise CardGone from None
        return self._tag


def _card_errors() -> tuple[type[Exception], ...]:
    """What nfcpy raises when a card says nothing or nonsense: its own errors, and those of miscounted bytes."""
    own = (nfc.clf.CommunicationError, nfc.tag.TagCommandError)
    return (*own, LookupError, ValueError, AssertionError, struct.error)


def describe(target: Target) -> tuple[bytes, Chip | None, Literal["type2", "iso_dep", "other"]]:
    """Return a found target's number, its chip where no question is needed, and how it is spoken to."""
    if target.sensf_res:
        lite = bytes(target.sensf_res[17:19]) == _FELICA_LITE
        return bytes(target.sensf_res[1:9]), "felica_lite" if lite else "felica", "other"
    if target.sensb_res:
        return bytes(target.sensb_res[1:5]), "iso14443_4b", "other"
    if target.rid_res:
        return bytes(target.rid_res[2:6]), "topaz", "other"
    uid, sak = bytes(target.sdd_res), target.sel_res[0]
    if sak & _ISO_DEP:
        return uid, None, "iso_dep"
    chip = chip_by_sak(sak)
    return uid, chip, "other" if chip is not None else "type2"


def open_device(connect: str) -> Frontend:
    """Return nfcpy's frontend on the device. Raises Stopped with what a technician can do."""
    clf = nfc.ContactlessFrontend()
    try:
        if connect.startswith("/"):
            clf.device = _open_uart(connect)
        elif not clf.open(_nfcpy_path(connect)):
            raise Stopped(f"{connect}: no reader that nfcpy knows is there; check cable and rights (see lsusb)")
    except OSError as error:
        raise Stopped(_why_not(connect, error)) from None
    return clf


def _open_uart(port: str) -> Frontend:
    """Open a PN532 on any port: nfcpy's own search knows only names right under /dev."""
    tty = nfc.clf.transport.TTY(port)
    try:
        return nfc.clf.pn532.init(tty)
    except Exception:
        tty.close()
        raise


def _nfcpy_path(connect: str) -> str:
    """Return nfcpy's name of a USB device that is named by its place or its serial number, which last."""
    if not connect.startswith("usb:") or connect.count(":") not in {1, 3}:
        return connect.replace("://", ":")
    for device in sorted(USB_DEVICES.glob("*")):
        if _is(device, connect.split(":")[1:]):
            bus, number = (int((device / name).read_text()) for name in ("busnum", "devnum"))
            return f"usb:{bus:03}:{number:03}"
    raise Stopped(f"{connect} is not plugged in; `lsusb -t` shows places, `lsusb -v` serial numbers")


def _is(device: Path, wanted: list[str]) -> bool:
    if len(wanted) == 1:
        return device.name == wanted[0]
    try:
        names = [(device / name).read_text().strip().lower() for name in ("idVendor", "idProduct", "serial")]
    except OSError:
        return False
    return names == [part.lower() for part in wanted]


def _why_not(connect: str, error: OSError) -> str:
    words = {
        2: "it does not exist: check cable and name",
        13: "it may not be opened: add the service's user to the group dialout, or a udev rule for USB readers",
        16: "another program has it: stop pcscd, and blacklist the kernel modules pn533_usb and pn533",
        19: "no PN532 answers there: check the wiring (UART mode, TX to RX) and the power",
    }
    return f"{connect}: {words.get(error.errno or 0, os.strerror(error.errno or 0))}"


def serve(setup: line.Setup, channel: Channel, desk: Desk) -> None:
    """Open the device and look for cards until the device breaks, which raises Stopped."""
    if _MISSING is not None:
        raise Stopped(f"nfcpy is not installed here ({_MISSING}): install venue-gateway with its extra `nfc`")
    clf = open_device(setup.connect)
    device = clf.device
    known = (device.vendor_name, device.product_name, device.chipset_name)
    channel.say(line.Ready(" ".join(part for part in known if part)))
    targets = [nfc.clf.RemoteTarget(_BIT_RATES[one]) for one in setup.technologies]
    signals = Signals(channel.signals, sender(clf))
    try:
        while True:
            began = time.monotonic()
            _look(clf, targets, channel, desk)
            signals.show()
            time.sleep(max(0.0, setup.poll_ms / 1000 - (time.monotonic() - began)))
    except OSError as error:
        raise Stopped(_why_lost(setup.connect, error)) from None


def _look(clf: Frontend, targets: list[Target], channel: Channel, desk: Desk) -> None:
    """Sense each kind of card once; one that was found ends the round."""
    for target in targets:
        channel.alive()
        try:
            found = clf.sense(target)
            if found is not None:
                desk.take(NfcpyCard(clf, found))
                return
        except (nfc.clf.UnsupportedTargetError, *_card_errors()):
            # Half an answer of a card that is on its way in or out, or a kind that this device cannot look for.
            continue
        except CardGone:
            return


def sender(clf: Frontend) -> Callable[[bytes], None]:
    """Return how a light or a sound gets to the device; of those that nfcpy knows, only the ACR122U has them.

    nfcpy itself would light it red with every beep, also for a guest who may go in.
    """
    escape = getattr(getattr(clf.device, "chipset", None), "ccid_xfr_block", None)
    if escape is None:
        return lambda _command: None
    return lambda command: escape(bytearray(command), timeout=SIGNAL_TIMEOUT_S)


def _why_lost(connect: str, error: OSError) -> str:
    return f"{connect} does not answer any more ({os.strerror(error.errno or 0)}): check cable and power"


if __name__ == "__main__":
    main(serve)

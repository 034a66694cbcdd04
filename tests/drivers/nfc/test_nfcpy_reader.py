"""Unmodified nfcpy in its own process, against a PN532 that speaks the chip's bytes."""

from __future__ import annotations

import pytest

from drivers.api import Online, Reading
from drivers.readers.nfcpy import NfcpyOptions, NfcpyReader
from simulators.cards.specimens import Specimen, make
from tests.drivers.nfc.fields import plugged
from tests.drivers.pty_device import Events, running

pytest.importorskip("nfc", reason="nfcpy is not installed: it comes with the extra `nfc`")

UID = "04A1B2C3D4E5F6"


def reader(device, events, **options):
    return NfcpyReader(NfcpyOptions(connect=str(device.line.link), **options), events)


async def test_the_number_and_the_chip_of_every_card():
    chips = {
        "ntag213": "ntag213",
        "ntag216": "ntag216",
        "ultralight": "ultralight",
        "ultralight_ev1": "ultralight_ev1",
        "ultralight_c": "ultralight_c",
        "ultralight_aes": "ultralight_aes",
        "classic_1k": "classic_1k",
        "desfire_ev1": "desfire_ev1",
        "desfire_ev2": "desfire_ev2",
        "desfire_ev3": "desfire_ev3",
        "ntag424": "ntag424",
    }
    async with plugged() as device:
        events = Events()
        async with running(reader(device, events, poll_ms=10, gone_after_ms=100), events):
            assert "PN532" in events.of(Online)[0].detail
            for number, (chip, expected) in enumerate(chips.items()):
                uid = f"04A1B2C3D4E5{number:02X}"
                device.present(make(Specimen(chip=chip, uid=uid)))
                found = (await events.wait_for(Reading, number + 1))[number]
                assert (found.technology, found.value, found.chip, found.proven) == ("nfc", uid, expected, None)
            device.present(make(Specimen(chip="felica", uid="0102030405060708")))
            found = (await events.wait_for(Reading, len(chips) + 1))[-1]
            assert (found.value, found.chip) == ("0102030405060708", "felica")

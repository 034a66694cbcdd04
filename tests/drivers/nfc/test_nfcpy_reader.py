"""Unmodified nfcpy in its own process, against a PN532 that speaks the chip's bytes."""

from __future__ import annotations

import asyncio
import statistics
import time

import pytest

from drivers.api import DeviceOffline, DriverFailed, Online, Reading
from drivers.nfc.options import ProofRule
from drivers.readers.nfcpy import NfcpyOptions, NfcpyReader
from simulators.cards.crypto import card_key
from simulators.cards.iso_dep import IsoDepCard
from simulators.cards.specimens import Specimen, make
from tests.drivers.nfc.fields import plugged
from tests.drivers.nfc.udp_card import udp_card
from tests.drivers.pty_device import Events, running

pytest.importorskip("nfc", reason="nfcpy is not installed: it comes with the extra `nfc`")

UID = "04A1B2C3D4E5F6"
SYSTEM = "3042F54E585020416275"
MASTER = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
OWN = card_key(MASTER, bytes.fromhex(UID + SYSTEM)).hex()
TICKET = b"\xd1\x01\x09T\x02enTicket".hex()
TAPS = 12


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


@pytest.fixture
def keys(tmp_path):
    """Key files as a technician makes them; their names by what they are for."""
    for name, key in {"master": MASTER, "meta": b"m" * 16, "file": b"f" * 16}.items():
        (tmp_path / name).write_text(key.hex())
        (tmp_path / name).chmod(0o600)
    return tmp_path


def rules(keys) -> tuple[ProofRule, ...]:
    master = str(keys / "master")
    return (
        ProofRule(card="desfire", key_file=master, application="3042F5", key_number=1, diversified_with=SYSTEM),
        ProofRule(card="sun", key_file=str(keys / "file"), picc_key_file=str(keys / "meta")),
        ProofRule(card="ntag424", key_file=master, key_number=1, diversified_with=SYSTEM),
        ProofRule(card="ultralight_aes", key_file=master, diversified_with=SYSTEM),
        ProofRule(card="ultralight_c", key_file=master),
    )


async def test_cards_prove_themselves_through_nfcpy_and_copies_do_not(keys):
    cards = [
        Specimen(chip=chip, uid=UID, key=OWN, key_number=1, application="3042F5" if chip.startswith("desfire") else "")
        for chip in ("desfire_ev1", "desfire_ev2", "desfire_ev3", "ntag424", "ultralight_aes")
    ]
    cards.append(Specimen(chip="ultralight_c", uid=UID, key=MASTER.hex()))
    cards.append(Specimen(chip="sun", uid=UID, key=(b"f" * 16).hex(), meta_key=(b"m" * 16).hex(), counter=40))
    async with plugged() as device:
        events = Events()
        async with running(reader(device, events, poll_ms=10, gone_after_ms=100, prove=rules(keys)), events):
            for number, genuine in enumerate(cards):
                for turn, key in enumerate((genuine.key, "ff" * 16)):
                    await away(device)
                    one = Specimen(
                        **{name: getattr(genuine, name) for name in Specimen.__struct_fields__} | {"key": key}
                    )
                    device.present(make(one))
                    found = (await events.wait_for(Reading, 2 * number + turn + 1))[-1]
                    assert (one.chip, found.value, found.proven) == (one.chip, UID, turn == 0)
            assert [found.counter for found in events.of(Reading)][-2:] == [41, None]


async def poll(condition) -> None:
    async with asyncio.timeout(5):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def away(device) -> None:
    """Take the card away for longer than it takes to count as gone."""
    device.present(None)
    await asyncio.sleep(0.15)


async def test_i02_a_held_card_is_one_tap_and_one_that_comes_back_another(keys):
    async with plugged() as device:
        events = Events()
        async with running(reader(device, events, poll_ms=10, gone_after_ms=100), events):
            device.present(make(Specimen(chip="ntag213", uid=UID)))
            await events.wait_for(Reading)
            before = device.state()["found"]
            await poll(lambda: device.state()["found"] >= before + 20)
            assert len(events.of(Reading)) == 1
            await away(device)
            device.present(make(Specimen(chip="ntag213", uid=UID)))
            assert len(await events.wait_for(Reading, 2)) == 2


async def test_a_ticket_written_on_a_tag_is_the_same_as_one_in_print():
    async with plugged() as device:
        events = Events()
        async with running(reader(device, events, identify_by="ndef", poll_ms=10), events):
            device.present(make(Specimen(chip="ntag213", uid=UID, ndef=TICKET)))
            found = (await events.wait_for(Reading))[0]
            assert (found.technology, found.value, found.text) == ("barcode", "Ticket", "Ticket")
            assert "Ticket" not in repr(found)


async def test_a_card_is_found_within_150_ms_in_the_median():
    took_ms = []
    async with plugged() as device:
        events = Events()
        async with running(reader(device, events, gone_after_ms=100, read_ndef=True), events):
            for number in range(TAPS):
                # At another moment of the reader's round each time.
                await asyncio.sleep(0.007 * (number % 8))
                began = time.monotonic()
                device.present(make(Specimen(chip="ntag213", uid=f"04A1B2C3D4E5{number:02X}", ndef=TICKET)))
                await events.wait_for(Reading, number + 1)
                took_ms.append((time.monotonic() - began) * 1000)
    assert statistics.median(took_ms) <= 150, took_ms


async def test_i08_a_chip_that_falls_silent_ends_its_own_link_and_comes_back():
    async with plugged() as device:
        events = Events()
        driver = reader(device, events, poll_ms=10, hang_after_ms=2000)
        async with running(driver, events) as task:
            device._deaf = True
            with pytest.raises((DeviceOffline, DriverFailed)):
                await task
        device._deaf = False
        async with running(driver, events):
            device.present(make(Specimen(chip="ntag213", uid=UID)))
            assert (await events.wait_for(Reading))[0].value == UID


async def test_what_a_device_cannot_show_does_no_harm():
    async with plugged() as device:
        events = Events()
        driver = reader(device, events, poll_ms=10)
        with pytest.raises(DeviceOffline, match="being started"):
            await driver.beep(1, 100, 0)
        async with running(driver, events):
            await driver.beep(2, 50, 50)
            await driver.light("green", 10)
            device.present(make(Specimen(chip="ntag213", uid=UID)))
            await events.wait_for(Reading)


async def test_unplugged_is_offline_at_once():
    async with plugged() as device:
        events = Events()
        async with running(reader(device, events, poll_ms=10), events) as task:
            device.line.unplug()
            began = time.monotonic()
            with pytest.raises((DeviceOffline, DriverFailed), match=r"cable|crashed"):
                await task
            assert time.monotonic() - began < 2


async def test_what_cannot_be_opened_says_what_to_do(tmp_path):
    for connect, told in {str(tmp_path / "none"): "check cable and name", "usb:9-9.9": "is not plugged in"}.items():
        with pytest.raises(DeviceOffline, match=told):
            await NfcpyReader(NfcpyOptions(connect=connect), Events()).run()
    bad = (ProofRule(card="ntag424", key_file=str(tmp_path / "missing")),)
    with pytest.raises(DeviceOffline, match="missing cannot be read: No such file"):
        await NfcpyReader(NfcpyOptions(connect="usb", prove=bad), Events()).run()


async def test_nfcpy_s_udp_device():
    async with udp_card(make(Specimen(chip="ntag215", uid=UID, ndef=TICKET))) as port:
        events = Events()
        options = NfcpyOptions(connect=f"udp:127.0.0.1:{port}", technologies=("A",), read_ndef=True)
        async with running(NfcpyReader(options, events), events):
            found = (await events.wait_for(Reading))[0]
            assert (found.value, found.chip, found.text) == (UID, "ntag215", "Ticket")
        assert events.of(Online)


class Terse(IsoDepCard):
    """A card whose answer to RATS is the shortest there is, which nfcpy reads beyond its end."""

    def exchange(self, frame: bytes) -> bytes | None:
        return b"\x01" if frame[:1] == b"\xe0" else super().exchange(frame)


async def test_i08_a_card_that_nfcpy_stumbles_over_is_read_by_its_number():
    async with plugged() as device:
        events = Events()
        async with running(reader(device, events, poll_ms=10), events) as task:
            device.present(Terse(bytes.fromhex(UID)))
            found = (await events.wait_for(Reading))[0]
            assert (found.value, found.proven) == (UID, False)
            assert not task.done()


def test_i08_nonsense_from_the_process_is_a_fault_of_its_device():
    driver = NfcpyReader(NfcpyOptions(connect="usb"), Events())
    for junk in (b"hello\n", b"\xff\n", b'{"type":"seen"}\n', b"[" * 5000):
        with pytest.raises(DriverFailed, match="nobody understands"):
            driver._on_line(junk)

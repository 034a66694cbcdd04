"""pyscard in its own process, under a pcscd of the test's own with vsmartcard's virtual reader."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from drivers.api import DeviceOffline, Online, Reading
from drivers.nfc.options import ProofRule
from drivers.nfc.pcsc_process import PcscCard
from drivers.readers.pcsc import PcscOptions, PcscReader
from simulators.cards.crypto import card_key
from simulators.cards.nxp import NxpCard
from tests.drivers.nfc.virtual_pcsc import GET_UID, missing, private_pcscd
from tests.drivers.pty_device import Events, running

pytest.importorskip("smartcard", reason="pyscard is not installed: it comes with the extra `pcsc`")

UID = bytes.fromhex("04782E21801D80")
SYSTEM = "3042F54E585020416275"
MASTER = bytes.fromhex("00112233445566778899AABBCCDDEEFF")


def desfire(key: bytes) -> NxpCard:
    return NxpCard("desfire_ev3", UID, {1: key}, bytes.fromhex("3042F5"), random.Random(3).randbytes)


@pytest.mark.skipif(bool(missing()), reason=missing())
async def test_a_genuine_card_and_a_copy_under_pcscd(tmp_path, monkeypatch):
    (tmp_path / "master").write_text(MASTER.hex())
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    rule = ProofRule(card="desfire", key_file="master", key_number=1, application="3042F5", diversified_with=SYSTEM)
    genuine, copy = desfire(card_key(MASTER, UID + bytes.fromhex(SYSTEM))), desfire(bytes(16))
    async with private_pcscd(genuine, copy) as (first, second, path):
        monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(path))
        for slot, name, proven in ((first, "Virtual PCD 00 00", True), (second, "virtual pcd 00 01", False)):
            events = Events()
            reader = PcscReader(PcscOptions(reader=name, prove=(rule,)), events)
            async with running(reader, events):
                assert "Virtual PCD" in events.of(Online)[0].detail
                found = (await events.wait_for(Reading))[0]
                assert (found.technology, found.value, found.chip) == ("nfc", UID.hex().upper(), "desfire_ev3")
                assert found.proven is proven
            assert GET_UID in slot.apdus
        with pytest.raises(
            DeviceOffline, match=r"knows 2 readers whose name holds 'Virtual'; it knows: Virtual PCD 00 00"
        ):
            await PcscReader(PcscOptions(reader="Virtual"), Events()).run()


@pytest.mark.skipif(bool(missing()), reason=missing())
async def test_a_reader_that_goes_with_its_service_is_offline_in_two_seconds_and_back_in_three(tmp_path, monkeypatch):
    events = Events()
    driver = PcscReader(PcscOptions(reader="Virtual PCD 00 00"), events)
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as there:
        _, _, path = await there.enter_async_context(private_pcscd(desfire(bytes(16)), desfire(bytes(16))))
        monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(path))
        async with running(driver, events) as task:
            await events.wait_for(Reading)
            began_s = loop.time()
            await there.aclose()
            with pytest.raises(DeviceOffline, match="check its cable, and that pcscd runs"):
                await task
            assert loop.time() - began_s < 2
    async with private_pcscd(desfire(bytes(16)), desfire(bytes(16))) as (_, _, path):
        monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(path))
        began_s = loop.time()
        async with running(driver, events):
            assert loop.time() - began_s < 3
            assert len(await events.wait_for(Reading, 2)) == 2


async def test_without_pcscd_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(tmp_path / "none"))
    with pytest.raises(DeviceOffline, match=r"pcscd does not answer .*systemctl start pcscd\.socket"):
        await PcscReader(PcscOptions(reader="ACR122U"), Events()).run()


class Acr122:
    """As much of pyscard as a card in an ACR122U needs, with a Type 2 chip in it."""

    SCARD_S_SUCCESS = 0

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def SCardTransmit(self, handle, protocol, command):  # noqa: N802 - the library's own name
        self.sent.append(bytes(command))
        if bytes(command) == GET_UID:
            return 0, [*UID, 0x90, 0x00]
        return 0, [0xD5, 0x43, 0x00, *bytes.fromhex("0004040201000F03"), 0x90, 0x00]


def test_a_type_2_chip_is_reached_through_an_acr122u(monkeypatch):
    library = Acr122()
    monkeypatch.setattr("drivers.nfc.pcsc_process.scard", library)
    atr = bytes.fromhex("3B8F8001804F0CA0000003060300030000000068")
    card = PcscCard(1, 2, atr, direct=True)
    assert (card.uid, card.kind, card.chip) == (UID, "type2", None)
    assert card.exchange(b"\x60").hex().upper() == "0004040201000F03"
    assert library.sent[-1] == bytes.fromhex("FF00000003D44260")
    assert PcscCard(1, 2, atr, direct=False).kind == "other"

"""Every codec that is told something from outside, each as a function of bytes, and how long its memory may be.

What a codec holds between two pieces of input is looked at after each piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from drivers.codecs import (
    card_auth,
    escpos_status,
    hid_keyboard,
    hid_relay,
    hid_reports,
    modbus_rtu,
    modbus_tcp,
    mqtt_relay,
    ndef,
    nfc_chips,
    osdp,
    osdp_messages,
    osdp_panel,
    osdp_secure,
    rdm6300,
    scanner_line,
    sdm,
    shelly,
    tasmota,
    tspl,
    twn4,
    wedge,
    wiegand,
    zpl,
)
from drivers.codecs.decoder import Decoder
from drivers.codecs.nxp_crypto import CardCipher

WRITE_ONLY = frozenset({"decoder", "escpos", "label", "lcus", "nxp_crypto"})
"""Modules that are told nothing from outside: they make what is sent, or are what others here are built on."""
PIECE_BYTES = 64 * 1024
WEDGE_STATE_MAX = 16
"""Keys that are held down, digits of a character's number and accents that wait for their letter."""
KEY = bytes(16)
REQUESTS = (
    modbus_rtu.write_coil(1, 1, closed=True),
    modbus_rtu.flash_on(1, 1, 700),
    modbus_rtu.read_coils(1, 8),
    modbus_rtu.read_discrete_inputs(1, 8),
)
FRAMINGS = (
    wiegand.Framing(),
    wiegand.Framing(form="decimal", bits=24, parity=False),
    wiegand.Framing(form="bits", bits=34),
    wiegand.Framing(form="binary", bits=26, left_aligned=True, start=b"\x02", end=b"\x03"),
)
RELAYS: tuple[mqtt_relay.Dialect, ...] = (shelly.ShellyGen1("a"), shelly.ShellyGen2("a"), tasmota.Tasmota("a", 4))


def pieces(data: bytes) -> Iterable[bytes]:
    """Cut the input up: a short one into a few bytes at a time, a long one as a line delivers it."""
    size = PIECE_BYTES if len(data) > PIECE_BYTES else len(data) % 67 + 1
    for at in range(0, len(data), size):
        yield data[at : at + size]


def fed(decoder: Decoder[Any], data: bytes) -> list[Any]:
    """Feed a decoder; returns what it told, or the last thousand of it."""
    told: list[Any] = []
    for piece in pieces(data):
        decoder.receive_data(piece)
        told += decoder
        assert len(decoder._buffer) <= decoder.LIMIT_BYTES
        del told[:-1000]
    return told


def _card_auth(data: bytes) -> None:
    half = len(data) // 2
    for cipher, size in ((CardCipher(KEY), 16), (CardCipher(KEY, tdes=True), 8)):
        for chained in (True, False):
            auth = card_auth.ChainedAuth(cipher, bytes(size), chained=chained)
            auth.answer(data[:half])
            auth.answer(data[:size])
            assert not auth.proves(data[half:])
    first = card_auth.Ev2FirstAuth(CardCipher(KEY), bytes(16))
    first.answer(data[:16])
    first.proves(data[16:48])


def _escpos_status(data: bytes) -> None:
    decoder, status = escpos_status.StatusDecoder(), escpos_status.PrinterStatus()
    for number, piece in enumerate(pieces(data)):
        with suppress(OverflowError):
            decoder.asked(number % 4 + 1)
        for event in decoder.receive(piece):
            if isinstance(event, escpos_status.Reply):
                status = escpos_status.with_reply(status, event)
            elif isinstance(event, escpos_status.StatusBlock):
                status = escpos_status.from_block(event)
        assert len(decoder._block) < escpos_status.BLOCK_BYTES
        assert decoder.pending <= escpos_status.MAX_PENDING


def _hid_keyboard(data: bytes) -> None:
    """Reports of every length, each as long as its first byte says."""
    keyboard, rest = hid_keyboard.BootKeyboard(), data[:PIECE_BYTES]
    while rest:
        length, rest = rest[0] % 16, rest[1:]
        assert all(value in {0, 1} for _, value in keyboard.report(rest[:length]))
        assert len(keyboard._held) <= WEDGE_STATE_MAX
        rest = rest[length:]


def _hid_relay(data: bytes) -> None:
    hid_relay.read_state(data)
    hid_relay.read_product(data.decode("utf-8", "replace"))


def _modbus_rtu(data: bytes) -> None:
    for request in REQUESTS:
        decoder = modbus_rtu.AnswerDecoder()
        decoder.begin(request)
        fed(decoder, data)


def _modbus_tcp(data: bytes) -> None:
    for request in REQUESTS:
        decoder = modbus_tcp.TcpAnswerDecoder()
        decoder.begin(request)
        fed(decoder, data)


def _mqtt_relay(data: bytes) -> None:
    said = data[:80].decode("utf-8", "replace")
    for dialect in RELAYS:
        for topic in (*dialect.topics, "shellies/a/relay/0", "shellies/a/input/0", said):
            for told in dialect.read(topic, data):
                assert len(getattr(told, "why", "")) < 1000


def _ndef(data: bytes) -> None:
    assert len(ndef.texts(data)) <= ndef.RECORDS_MAX
    ndef.message_length(data)


def _nfc_chips(data: bytes) -> None:
    nfc_chips.chip_by_sak(data[0] if data else 0)
    nfc_chips.chip_by_type2_version(data)
    nfc_chips.chip_by_version(data)
    nfc_chips.chip_by_atr(data)
    nfc_chips.is_random_uid(data)


def _osdp(data: bytes) -> None:
    channel = osdp_secure.SecureSession(osdp_secure.Keys(KEY, bytes(8), bytes(8)), panel=True)
    for frame in fed(osdp.OsdpDecoder(), data):
        if isinstance(frame, osdp.Frame):
            osdp_messages.read_reply(frame.code, frame.data)
            channel.open(frame)
    if data:
        osdp_messages.read_reply(data[0], data[1:])


def _osdp_panel(data: bytes) -> None:
    """The panel hears this from a reader: frames that were sent to it, and every frame's reading as its own reply."""
    for key in (None, KEY):
        panel = osdp_panel.Panel(1, bytes, key=key, install_key=key is not None)
        for frame in fed(osdp.OsdpDecoder(), data):
            panel.frame()
            if not isinstance(frame, osdp.Frame) or panel.take(frame) is None:
                panel.silent()


def _scanner_line(data: bytes) -> None:
    stripping = scanner_line.ScannerLineDecoder(prefix="#", suffix=";", aim=False)
    for decoder in (scanner_line.ScannerLineDecoder(), stripping):
        fed(decoder, data)
        decoder.forget()


def _sdm(data: bytes) -> None:
    url = data.decode("utf-8", "replace")
    for layout in (sdm.Layout(), sdm.Layout(picc="e", mac="c"), sdm.Layout(mac_from="enc")):
        for key in (None, CardCipher(KEY)):
            sun = sdm.parse_url(url, layout)
            picc = sun.card(key) if sun is not None else None
            if sun is not None and picc is not None:
                sun.is_signed_by(CardCipher(KEY), picc)
                sdm.open_file_data(CardCipher(KEY), picc, sun.signed)
    sdm.open_picc_data(CardCipher(KEY), data[:16])


def _tspl(data: bytes) -> None:
    for byte in set(data):
        tspl.status_of(tspl.StatusByte(byte))


def _twn4(data: bytes) -> None:
    for answer in fed(twn4.Twn4Decoder(), data):
        if isinstance(answer, twn4.Answer):
            twn4.read_version(answer)
            twn4.read_tag(answer)


def _wedge(data: bytes) -> None:
    """Each byte is a key that goes down, comes up or repeats; an hour of them at most, for a keyboard is slow."""
    for layout in ("us", "de"):
        decoder = wedge.WedgeDecoder(layout)
        for number, byte in enumerate(data[: 4 * PIECE_BYTES]):
            told = decoder.key(byte & 0x7F, number % 3, number * 0.01)
            assert len(told) <= 2
            assert len(decoder._lines._buffer) <= scanner_line.ScannerLineDecoder.LIMIT_BYTES
            assert len(decoder._held) + len(decoder._alt_code) + len(decoder._dead) <= WEDGE_STATE_MAX
        decoder.lost()


def _wiegand(data: bytes) -> None:
    for framing in FRAMINGS:
        for card in fed(wiegand.WiegandDecoder(framing), data):
            if isinstance(card, wiegand.Card):
                assert all(card.value(form) for form in ("hex", "number"))
    bits = "".join(f"{byte:08b}" for byte in data[:8])
    wiegand.read_frame(bits)


def _zpl(data: bytes) -> None:
    lines = [line for line in fed(zpl.HostStatusDecoder(), data) if isinstance(line, zpl.HostStatus)]
    zpl.status_of(lines)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "card_auth": _card_auth,
    "escpos_status": _escpos_status,
    "hid_keyboard": _hid_keyboard,
    "hid_relay": _hid_relay,
    "hid_reports": lambda data: void(hid_reports.is_boot_layout(data)),
    "modbus_rtu": _modbus_rtu,
    "modbus_tcp": _modbus_tcp,
    "mqtt_relay": _mqtt_relay,
    "ndef": _ndef,
    "nfc_chips": _nfc_chips,
    "osdp": _osdp,
    "osdp_panel": _osdp_panel,
    "rdm6300": lambda data: void(fed(rdm6300.Rdm6300Decoder(), data)),
    "scanner_line": _scanner_line,
    "sdm": _sdm,
    "tspl": _tspl,
    "twn4": _twn4,
    "wedge": _wedge,
    "wiegand": _wiegand,
    "zpl": _zpl,
}
COVERED_WITH = {"osdp_messages": "osdp", "osdp_secure": "osdp", "shelly": "mqtt_relay", "tasmota": "mqtt_relay"}
"""Modules that are tried together with another one, because they read what it has found."""


def void(_: object) -> None:
    """Nothing is wanted of it."""

"""One OSDP reader as its control panel sees it: what to send next, and what a reply means. Sans-I/O.

`frame()` gives the bytes to send; then either `take()` is given the reply, or `silent()` says that none came. The order
of things is: who are you, a secure channel where there is a key, what can you do, is your housing closed, polls until
there is nothing left to tell from before, and then polls for ever, with commands between them. Source: SIA OSDP 2.2
(IEC 60839-11-5), clause 5.

A reader keeps cards and keys until somebody polls for them, also those of an hour ago. Whoever held the card then has
gone, so what comes before the first answer that tells of nothing is thrown away.
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec

from drivers.codecs import osdp
from drivers.codecs import osdp_messages as m
from drivers.codecs.osdp import Frame, SecurityBlock
from drivers.codecs.osdp_secure import (
    CHALLENGE,
    CLIENT,
    CONFIRMED,
    DEFAULT_KEY,
    NONCE_BYTES,
    SERVER,
    Keys,
    SecureSession,
)

ATTEMPTS = 3
"""A reader that did not answer the same frame so often in a row is lost."""
MAX_BUSY = 100
MAX_ORDERS = 8
SETTLED = 20
"""A reader that has answered so many frames may begin anew without being lost."""
MAX_HELD = 100
"""A reader that still has more to tell, after so many answers about what was before, is given up and begun again."""
WANTS_KEY = "takes nothing without a secure channel: give its key as `key_file`"

TELLS_ON = "tells of cards on and on: take away what lies on it, or switch its power off and on"
OUT_OF_STEP = frozenset({m.WRONG_SEQUENCE, m.NO_SECURITY, m.NEEDS_SECURITY})
"""Refusals of a reader that has another idea of the session than the panel."""

_Order = tuple[int, int, bytes]
_Step = Literal["identify", "challenge", "prove", "install", "capabilities", "status", "forget", "online"]


class CameOnline(msgspec.Struct, frozen=True):
    """The reader answers, and its channel is secure where `secure` says so; `again` is why it had to begin anew.

    `forgotten` is how many cards and keys it had kept from while nobody asked it; nobody is told of them.
    """

    identity: m.Identity
    secure: bool
    again: str = ""
    display_rows: int = 0
    forgotten: int = 0


class Lost(msgspec.Struct, frozen=True):
    """The reader is gone, or cannot be used as configured; `why` is for a technician."""

    why: str


class KeyInstalled(msgspec.Struct, frozen=True):
    """The reader took the venue's key in place of the one from its factory."""


class OrderDone(msgspec.Struct, frozen=True):
    """An order was carried out, or refused with `refusal`."""

    token: int
    refusal: m.Refusal | None = None


PanelEvent = CameOnline | Lost | KeyInstalled | OrderDone | m.RawCard | m.FormattedCard | m.Keys | m.LocalStatus


class _Sent(msgspec.Struct):
    code: int
    wire: bytes
    sequence: int
    token: int | None = None


class Panel:
    """The panel's side of one reader. With a `key`, only the secure channel is believed."""

    _step: _Step
    _sent: _Sent | None
    _keys: Keys | None
    _session: SecureSession | None
    _ordered: _Order | None
    _default_key: bool
    _display_rows: int
    _housing: m.LocalStatus | None
    _forgotten: int
    _answered: int

    def __init__(
        self,
        address: int,
        nonce: Callable[[int], bytes],
        *,
        key: bytes | None = None,
        install_key: bool = False,
        crc: bool = True,
    ) -> None:
        """Take the reader's address (0 to 126) and its base key of 16 bytes.

        `nonce(n)` returns n unpredictable bytes. `install_key` lets a reader that still has the key from its factory be
        given `key`.
        """
        self.address = address
        self._nonce = nonce
        self._key = key
        self._install_key = install_key
        self._crc = crc
        self._orders: deque[_Order] = deque()
        self._again = ""
        self._next_token = 0
        self._begin()

    @property
    def online(self) -> bool:
        """True while the reader answers and everything that was asked for is in place."""
        return self._step == "online"

    @property
    def present(self) -> bool:
        """True while the reader answers, whether or not it has come online yet."""
        return self._step != "identify"

    @property
    def in_a_hurry(self) -> bool:
        """True while there is more to send than the next poll."""
        return bool(self._orders) or self._step != "online" or self._sent is not None

    def order(self, code: int, data: bytes) -> int | None:
        """Send a command before the next poll; returns the token of its `OrderDone`, None when too many wait."""
        if len(self._orders) >= MAX_ORDERS:
            return None
        self._next_token += 1
        self._orders.append((self._next_token, code, data))
        return self._next_token

    def frame(self) -> bytes:
        """Return the bytes to send now: the next command, or once more the one without an answer."""
        if self._sent is None:
            self._sent = self._next()
            self._attempts = 0
        self._attempts += 1
        return self._sent.wire

    def silent(self) -> list[PanelEvent]:
        """Note that no reply came in time."""
        if self._attempts < ATTEMPTS:
            return []
        return self._lose("does not answer: check its power, the A and B wires, its address and its baud rate")

    def take(self, frame: Frame) -> list[PanelEvent] | None:
        """Take a reply. None: it is none to what was sent, and the wait for one goes on."""
        sent = self._sent
        if sent is None or not frame.reply or frame.address != self.address:
            return None
        if frame.code == m.BUSY and frame.block is None:
            return self._busy()
        if frame.sequence != sent.sequence:
            return self._refused_in_clear(frame)
        data = self._open(frame)
        if data is None:
            return self._refused_in_clear(frame)
        self._sent, self._busy_count = None, 0
        self._sequence = sent.sequence % 3 + 1
        if self._step != "online":
            return self._climb(frame, m.read_reply(frame.code, data), data)
        return self._hear(sent, m.read_reply(frame.code, data))

    # --- what is sent

    def _next(self) -> _Sent:
        match self._step:
            case "identify":
                return self._plain(m.ID, b"\0")
            case "challenge":
                self._panel_nonce = self._nonce(NONCE_BYTES)
                return self._plain(m.CHLNG, self._panel_nonce, CHALLENGE)
            case "prove":
                return self._plain(m.SCRYPT, self._require_keys().server_cryptogram, SERVER)
            case "install":
                return self._command(m.KEYSET, m.set_key(self._key or b""))
            case "capabilities":
                return self._command(m.CAP, b"\0")
            case "status":
                return self._command(m.LSTAT, b"")
        if self._orders and self._step == "online":
            self._ordered = token, code, data = self._orders.popleft()
            return self._command(code, data, token)
        return self._command(m.POLL, b"")

    def _command(self, code: int, data: bytes, token: int | None = None) -> _Sent:
        frame = Frame(self.address, reply=False, sequence=self._sequence, code=code, data=data, crc=self._crc)
        wire = osdp.encode(frame) if self._session is None else self._session.seal(frame)
        return _Sent(code, wire, self._sequence, token)

    def _plain(self, code: int, data: bytes, kind: int | None = None) -> _Sent:
        block = None if kind is None else SecurityBlock(kind, bytes([not self._default_key]))
        frame = Frame(self.address, False, self._sequence, code, data, block, crc=self._crc)
        return _Sent(code, osdp.encode(frame), self._sequence)

    # --- what is answered

    def _open(self, frame: Frame) -> bytes | None:
        if self._session is not None:
            return self._session.open(frame)
        expected = {"challenge": CLIENT, "prove": CONFIRMED}.get(self._step)
        if frame.code == m.NAK or expected is None:
            return frame.data if frame.block is None else None
        return frame.data if frame.block is not None and frame.block.kind == expected else None

    def _refused_in_clear(self, frame: Frame) -> list[PanelEvent] | None:
        """A reader that lost its power has forgotten sequence and channel and says so outside of both."""
        if frame.code != m.NAK or frame.block is not None or not frame.data:
            return None
        return self._begin_again(m.Refusal(frame.data[0]))

    def _busy(self) -> list[PanelEvent]:
        self._attempts = 0
        self._busy_count += 1
        if self._busy_count < MAX_BUSY:
            return []
        return self._lose("says that it is busy, and nothing else: switch its power off and on")

    def _climb(self, frame: Frame, message: m.Message, data: bytes) -> list[PanelEvent]:
        match self._step:
            case "identify":
                return self._identified(message)
            case "challenge":
                return self._challenged(frame, data)
            case "prove":
                return self._proved(frame, data)
            case "install":
                return self._installed(message)
            case "capabilities":
                return self._capable(message)
            case "status":
                return self._stated(message)
            case _:
                return self._emptied(message)

    def _identified(self, message: m.Message) -> list[PanelEvent]:
        if _wants_security(message):
            return self._lose(WANTS_KEY)
        if isinstance(message, m.Identity):
            self._identity = message
        self._step = "challenge" if self._key is not None else "capabilities"
        return []

    def _challenged(self, frame: Frame, data: bytes) -> list[PanelEvent]:
        key = DEFAULT_KEY if self._default_key else self._key or b""
        if frame.code == m.CCRYPT and len(data) == 32:
            keys = Keys(key, self._panel_nonce, data[8:16])
            if hmac.compare_digest(keys.client_cryptogram, data[16:32]):
                self._keys, self._step = keys, "prove"
                return []
        elif frame.code != m.NAK:
            return self._lose("answers the challenge of the secure channel with something else")
        if self._install_key and not self._default_key:
            self._default_key = True
            return []
        return self._lose("has another key, or none: put the venue's key into it, or set `install_key` for once")

    def _proved(self, frame: Frame, data: bytes) -> list[PanelEvent]:
        keys = self._require_keys()
        if frame.code != m.RMAC_I or not hmac.compare_digest(data, keys.first_mac):
            return self._lose("did not open the secure channel: is its key the one of `key_file`?")
        self._session = SecureSession(keys, panel=True)
        self._step = "install" if self._default_key else "capabilities"
        return []

    def _installed(self, message: m.Message) -> list[PanelEvent]:
        if not isinstance(message, m.Acknowledged):
            return self._lose("did not take the venue's key: set it into installation mode")
        self._begin()
        return [KeyInstalled()]

    def _capable(self, message: m.Message) -> list[PanelEvent]:
        """Go on whether or not the reader can tell what it can do."""
        if _wants_security(message):
            return self._lose(WANTS_KEY)
        if isinstance(message, m.Capabilities):
            self._display_rows = message.display_rows
        self._step = "status"
        return []

    def _stated(self, message: m.Message) -> list[PanelEvent]:
        """Go on whether or not the reader can tell of its housing."""
        if _wants_security(message):
            return self._lose(WANTS_KEY)
        if isinstance(message, m.LocalStatus):
            self._housing = message
        self._step = "forget"
        return []

    def _emptied(self, message: m.Message) -> list[PanelEvent]:
        """Throw away what the reader kept, and come online with the first answer that tells of nothing."""
        if isinstance(message, m.Refusal) and message.code in OUT_OF_STEP:
            return self._lose(f"has to begin again: {message.meaning}")
        if isinstance(message, m.LocalStatus):
            self._housing = message
        if isinstance(message, m.RawCard | m.FormattedCard | m.Keys):
            self._forgotten += 1
        if not isinstance(message, m.Acknowledged | m.Refusal):
            self._answered += 1
            return [] if self._answered < MAX_HELD else self._lose(TELLS_ON)
        self._step, self._answered = "online", 0
        came = CameOnline(
            self._identity, self._session is not None, self._again, self._display_rows, forgotten=self._forgotten
        )
        self._again = ""
        return [came] if self._housing is None else [came, self._housing]

    def _hear(self, sent: _Sent, message: m.Message) -> list[PanelEvent]:
        refusal = message if isinstance(message, m.Refusal) else None
        if refusal is not None and refusal.code in OUT_OF_STEP:
            return self._begin_again(refusal)
        self._answered += 1
        self._ordered = None
        events: list[PanelEvent] = [] if sent.token is None else [OrderDone(sent.token, refusal)]
        if isinstance(message, m.RawCard | m.FormattedCard | m.Keys | m.LocalStatus):
            events.append(message)
        return events

    # --- beginning again

    def _begin_again(self, refusal: m.Refusal) -> list[PanelEvent]:
        """Renew the session of a reader that lost it, by a power cut or an answer that got lost; its orders wait."""
        if self._answered < SETTLED:
            return self._lose(f"has to begin again: {refusal.meaning}")
        if self._ordered is not None:
            self._orders.appendleft(self._ordered)
        self._begin()
        self._again = refusal.meaning
        return []

    def _lose(self, why: str) -> list[PanelEvent]:
        self._orders.clear()
        self._again = ""
        self._begin()
        return [Lost(why)]

    def _begin(self) -> None:
        """Sequence number 0 tells a reader to forget what was before."""
        self._step = "identify"
        self._sequence = 0
        self._sent = None
        self._attempts = 0
        self._busy_count = 0
        self._answered = 0
        self._ordered = None
        self._default_key = False
        self._identity = m.Identity("", 0, 0, 0, "")
        self._display_rows = 0
        self._housing = None
        self._forgotten = 0
        self._panel_nonce = b""
        self._keys = None
        self._session = None

    def _require_keys(self) -> Keys:
        if self._keys is None:
            raise RuntimeError("the secure channel is proved before it was challenged")
        return self._keys


def _wants_security(message: m.Message) -> bool:
    return isinstance(message, m.Refusal) and message.code in {m.NO_SECURITY, m.NEEDS_SECURITY}

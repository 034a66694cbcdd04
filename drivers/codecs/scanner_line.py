"""Serial barcode and QR scanners: one code a line.

A line ends in CR, LF or both, as the scanner is set up. The scanner may put an AIM identifier before the code, `]`, a
letter for the symbology and a modifier (ISO/IEC 15424), and its own prefix and suffix around everything.
"""

from __future__ import annotations

import re

import msgspec

from drivers.codecs.decoder import Decoder

_END = re.compile(rb"[\r\n]+")
_AIM = re.compile(r"\]([A-Za-z])[0-9A-Za-z]")
# Tab, EOT and the separators FS to US stand in GS1 and ISO 15434 codes; other control characters come of a wrong speed.
_CONTROL = re.compile(rb"[\x00-\x03\x05-\x08\x0b\x0c\x0e-\x1b\x7f]")

_SYMBOLOGIES = {
    "A": "code39", "C": "code128", "E": "ean", "F": "codabar", "G": "code93", "I": "interleaved-2of5",
    "L": "pdf417", "Q": "qr", "d": "datamatrix", "e": "gs1-databar", "z": "aztec",
}  # fmt: skip


class ScannedLine(msgspec.Struct, frozen=True):
    """One code: its exact characters, and the symbology where the scanner told it, else an empty text."""

    text: str
    symbology: str = ""

    def __repr__(self) -> str:
        return f"ScannedLine(text=<hidden>, symbology={self.symbology!r})"


class ScannerLineDecoder(Decoder[ScannedLine]):
    """Splits into lines, and strips `prefix`, `suffix` and, if `aim`, the AIM identifier where they are present.

    Empty lines are nothing; lines over `max_bytes` and lines with control characters are refused.
    """

    LIMIT_BYTES = 8 * 1024

    def __init__(self, *, prefix: str = "", suffix: str = "", aim: bool = True, max_bytes: int = 4096) -> None:
        super().__init__()
        self._prefix = prefix.encode()
        self._suffix = suffix.encode()
        self._aim = aim
        self._max_bytes = max_bytes
        self._skipping = False

    def forget(self) -> None:
        """Forget a line that has begun: its end will not come."""
        self._buffer.clear()
        self._skipping = False

    def _next_frame(self) -> ScannedLine | None:
        while end := _END.search(self._buffer):
            line = bytes(self._buffer[: end.start()])
            del self._buffer[: end.end()]
            if (event := self._line(line)) is not None:
                return event
        if self._skipping or len(self._buffer) > self._max_bytes:
            self._skipping = True
            self._drop(len(self._buffer), "no end of line")
        return None

    def _line(self, line: bytes) -> ScannedLine | None:
        skipping, self._skipping = self._skipping, False
        if skipping or len(line) > self._max_bytes:
            self._refuse(len(line) + 1, "line too long")
            return None
        code = line.removeprefix(self._prefix).removesuffix(self._suffix)
        if _CONTROL.search(code):
            self._refuse(len(line) + 1, "control characters: is the baud rate right?")
            return None
        return self._code(_text(code))

    def _code(self, text: str) -> ScannedLine | None:
        symbology = ""
        if self._aim and (match := _AIM.match(text)):
            symbology = _SYMBOLOGIES.get(match[1], f"aim-{match[1]}")
            text = text[match.end() :]
        return ScannedLine(text, symbology) if text else None


def _text(code: bytes) -> str:
    try:
        return code.decode()
    except UnicodeDecodeError:
        return code.decode("latin-1")

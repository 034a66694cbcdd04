"""What one printer model can do: line width, code pages, and which commands it knows.

The facts come from escpos-printer-db as shipped with python-escpos; a model that is not in it takes `default`, which is
an Epson, or the one it is compatible with.
"""

from __future__ import annotations

import difflib
import functools
import unicodedata
from typing import Any

import msgspec

from drivers.printers import escpos_library

FONT_A_DOTS = 12
"""How wide a character of the normal font is, in dots, where the database does not know the paper's width."""

# What every printer has comes first, then what has the euro sign; the rest follows by number.
_PREFERRED = ("CP437", "CP858", "CP1252", "CP850")
# Sent in these, Hebrew and Arabic would print in the wrong order and unjoined: their lines are drawn instead.
_RIGHT_TO_LEFT = ("CP720", "CP856", "CP862", "CP864", "CP1098", "CP1255", "CP1256", "ISO_8859-6", "ISO_8859-8")


class CodePage(msgspec.Struct, frozen=True):
    """One character table of a printer: `ESC t slot` selects it; `codes` has its characters above 7F."""

    slot: int
    name: str
    codes: dict[str, int]

    def encode(self, text: str) -> bytes:
        """The text in this page; raises KeyError for a character it does not have."""
        return bytes(ord(char) if char < "\x80" else self.codes[char] for char in text)


class Profile(msgspec.Struct, frozen=True):
    """A printer model as the renderer needs it. `data` is its entry in the database."""

    name: str
    width_chars: int
    width_dots: int
    pages: tuple[CodePage, ...]
    data: dict[str, Any]
    font: str | None = None
    cancel_kanji: bool = False

    def can(self, feature: str) -> bool:
        """Whether the model has a feature of the database, such as `qrCode` or `barcodeB`."""
        return bool(self.data["features"].get(feature))


def load_profile(
    name: str = "default", *, width_chars: int | None = None, font: str | None = None, cancel_kanji: bool = False
) -> Profile:
    """The profile of printer model `name`; `width_chars` overrides its characters a line.

    `font` is a TrueType file for lines that no code page can print. `cancel_kanji` is for printers of the Asian market.
    Raises ValueError for an unknown model, with the nearest known names.
    """
    profiles = escpos_library.database()["profiles"]
    if name not in profiles:
        near = difflib.get_close_matches(name, profiles, n=3, cutoff=0.4)
        advice = f"did you mean {', '.join(near)}?" if near else "use 'default' for an Epson-compatible printer"
        raise ValueError(f"no printer profile {name!r}; {advice}")
    data = profiles[name]
    columns = width_chars or data["fonts"]["0"]["columns"]
    dots = data["media"]["width"].get("pixels")
    width_dots = dots if isinstance(dots, int) else columns * FONT_A_DOTS
    return Profile(name, columns, width_dots, _pages(name), data, font, cancel_kanji)


@functools.cache
def _pages(name: str) -> tuple[CodePage, ...]:
    """The model's usable code pages, the one to try first in front."""
    slots = escpos_library.database()["profiles"][name]["codePages"]
    pages = [
        CodePage(int(slot), page, codes)
        for slot, page in slots.items()
        if page not in _RIGHT_TO_LEFT and (codes := _codes(page))
    ]
    return tuple(sorted(pages, key=_preference))


def _preference(page: CodePage) -> tuple[int, int]:
    return (_PREFERRED.index(page.name) if page.name in _PREFERRED else len(_PREFERRED), page.slot)


@functools.cache
def _codes(name: str) -> dict[str, int]:
    """Characters of an encoding and their bytes from 80 to FF; empty for one the database cannot spell out."""
    encoding = escpos_library.database()["encodings"].get(name, {})
    if "data" in encoding:
        chars = list("".join(encoding["data"]))
    elif "python_encode" in encoding:
        chars = [bytes((code,)).decode(encoding["python_encode"], "replace") for code in range(0x80, 0x100)]
    else:
        return {}
    return {char: 0x80 + place for place, char in enumerate(chars[:128]) if _is_mark(char)}


def _is_mark(char: str) -> bool:
    """Whether a table entry prints something; unassigned, control and private entries do not."""
    return len(char) == 1 and char > "\x7f" and char != "\ufffd" and unicodedata.category(char)[0] not in "CZ"


def encode_runs(profile: Profile, text: str, current: CodePage | None) -> list[tuple[CodePage | None, bytes]] | None:
    """The text in as few code page changes as possible, as (page, bytes); None when a character has no page.

    `current` is the page the printer has selected now. It stays where it can; plain ASCII needs none.
    """
    if text.isascii():
        return [(current, text.encode())]
    runs = []
    while text:
        page = _page_for(profile.pages, frozenset(char for char in text if char > "\x7f"), current)
        length = len(text) if page else 0
        if page is None:
            page = max(profile.pages, key=lambda each: _encodable(each, text), default=None)
            length = _encodable(page, text) if page else 0
        if page is None or length == 0:
            return None
        runs.append((page, page.encode(text[:length])))
        text, current = text[length:], page
    return list(runs)


def _page_for(pages: tuple[CodePage, ...], chars: frozenset[str], current: CodePage | None) -> CodePage | None:
    """A page that has all the characters, the current one if it does."""
    tried = (current, *pages) if current else pages
    return next((page for page in tried if chars <= page.codes.keys()), None)


def _encodable(page: CodePage, text: str) -> int:
    """How many characters from the start the page has."""
    return next((i for i, char in enumerate(text) if char > "\x7f" and char not in page.codes), len(text))

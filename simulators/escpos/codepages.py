"""Epson's numbering of character code tables (ESC t n) and the international sets (ESC R n)."""

from __future__ import annotations

CODE_PAGES = {
    0: "cp437", 2: "cp850", 3: "cp860", 4: "cp863", 5: "cp865", 13: "cp857", 14: "cp737", 15: "iso8859_7",
    16: "cp1252", 17: "cp866", 18: "cp852", 19: "cp858", 33: "cp775", 34: "cp855", 35: "cp861", 36: "cp862",
    37: "cp864", 38: "cp869", 39: "iso8859_2", 40: "iso8859_15", 45: "cp1250", 46: "cp1251", 47: "cp1253",
    48: "cp1254", 49: "cp1255", 50: "cp1256", 51: "cp1257", 52: "cp1258",
}  # fmt: skip
_PLACES = "#$@[\\]^`{|}~"
_INTERNATIONAL = {0: _PLACES, 1: "#$à°ç§^`éùè¨", 2: "#$§ÄÖÜ^`äöüß", 3: "£$@[\\]^`{|}~"}
INTERNATIONAL = {number: str.maketrans(_PLACES, signs) for number, signs in _INTERNATIONAL.items()}


def decode(data: bytes, code_page: int, international: int) -> str:
    """The characters a printer would print for `data`; a byte without one becomes U+FFFD.

    The international set changes twelve places of ASCII only, whatever the code page has above.
    """
    codec = CODE_PAGES[code_page]
    table = INTERNATIONAL[international]
    return "".join(
        bytes((byte,)).decode("ascii").translate(table)
        if byte < 0x80
        else bytes((byte,)).decode(codec, errors="replace")
        for byte in data
    )

"""How wide a barcode prints, in dots."""

from __future__ import annotations


def width_dots(symbology: str, data: str, module_dots: int) -> int:
    """How wide the code prints, by the module counts of its standard; a wide bar is 2.5 to 2.7 narrow ones."""
    narrow, wide = module_dots, {2: 5, 3: 8}[module_dots]
    match symbology:
        case "code128":
            return (11 * (len(data) + 2) + 13) * narrow
        case "code39":
            return (len(data) + 2) * (3 * wide + 7 * narrow)
        case "itf":
            return len(data) // 2 * (4 * wide + 6 * narrow) + wide + 6 * narrow
    return {"ean13": 95, "upca": 95, "ean8": 67}[symbology] * narrow

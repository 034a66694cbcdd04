"""The folder where receipts land."""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path
from typing import Any

from simulators.escpos.paper import CUTTER_DOTS, Receipt

MAX_REMEMBERED = 50


class ReceiptFolder:
    """Numbers receipts from the highest that is already there, so that a restart overwrites none."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path
        numbers = (re.fullmatch(r"receipt-(\d+)\.png", entry.name) for entry in path.iterdir())
        self._number = max((int(found[1]) for found in numbers if found), default=0)
        self.count = 0
        self.last: deque[dict[str, Any]] = deque(maxlen=MAX_REMEMBERED)

    def add(self, receipt: Receipt, *, cut: bool) -> int:
        """Save a receipt; its number. `clear_of_cutter` tells whether the last line was fed past the blade."""
        self._number += 1
        self.count += 1
        picture = self._path / f"receipt-{self._number:04d}.png"
        text = picture.with_suffix(".txt")
        receipt.save(picture, text)
        self.last.append({
            "number": self._number,
            "png": str(picture),
            "txt": str(text),
            "cut": cut,
            "clear_of_cutter": receipt.fed_dots >= CUTTER_DOTS,
        })  # fmt: skip
        return self._number

"""Receipts read by an ESC/POS interpreter that this project did not write: escpos-tools, in PHP.

It is in no package index that the tests draw on. To run this: php with mbstring and intl from Debian, a checkout of
receipt-print-hq/escpos-tools with its composer packages, and `ESCPOS_TOOLS` naming that folder.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from drivers.document import Cell, Columns, Cut, Document, Feed, Image, Qr, Rule, Text
from drivers.printers.escpos import EscposOptions, EscposPrinter

TOOLS = os.environ.get("ESCPOS_TOOLS", "")

pytestmark = [
    pytest.mark.skipif(not TOOLS, reason="ESCPOS_TOOLS names no checkout of receipt-print-hq/escpos-tools"),
    pytest.mark.skipif(
        not shutil.which("php"), reason="there is no php: apt-get install php-cli php-mbstring php-intl"
    ),
]


def interpreted(document: Document, folder: Path, **options: str) -> list[str]:
    """The lines that the interpreter reads from a receipt. It knows code page 437 only."""
    driver = EscposPrinter(EscposOptions(connect="tcp://printer:9100", profile="TM-T88III", **options), lambda _: None)
    receipt = folder / "receipt.bin"
    receipt.write_bytes(driver.render(document))
    # Written for an older PHP, which warned of less.
    command = ["php", "-d", "error_reporting=E_ERROR", f"{TOOLS}/esc2text.php", str(receipt)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_another_interpreter_reads_every_line_and_nothing_else(tmp_path: Path) -> None:
    document = Document(
        lines=(
            Text(text="Club Café", align="center", bold=True, double_width=True, double_height=True),
            Rule(),
            Columns(cells=(Cell(text="2 Weißbier"), Cell(text="11,00", align="right"))),
            Text(text="Grüße", underline=True),
            Feed(lines=2),
            Text(text="Danke!"),
            Cut(),
        )
    )
    lines = [line for line in interpreted(document, tmp_path) if line.strip()]
    assert lines == ["Club Café", "-" * 42, f"{'2 Weißbier':<37}11,00", "Grüße", "Danke!"]


def test_pictures_and_codes_leave_the_interpreter_in_step(tmp_path: Path) -> None:
    """Their bytes are taken as data: a wrong length would spill into the text."""
    file = io.BytesIO()
    PillowImage.effect_noise((300, 100), 200).save(file, "PNG")
    document = Document(
        lines=(
            Text(text="before"),
            Image(png=file.getvalue()),
            Text(text="between"),
            Qr(data="https://example.org/beleg/1"),
            Text(text="咖啡 مرحبا"),
            Text(text="after"),
            Cut(mode="partial"),
        )
    )
    lines = [line.strip() for line in interpreted(document, tmp_path) if line.strip()]
    assert lines == ["before", "between", "after"]

"""What the tablets print: documents as they go over MQTT, and what must then stand on the paper."""

from __future__ import annotations

from typing import Any

TICKET_URL = "https://example.org/beleg/2026-0815"


def bar_receipt() -> dict[str, Any]:
    """A sale at the bar: umlauts, the euro sign, columns, a rule and a QR code."""
    return _document(
        {"type": "text", "text": "Stadthalle Demo", "align": "center", "bold": True, "double_height": True},
        {"type": "text", "text": "Theke im Foyer · Größte Auswahl", "align": "center"},
        {"type": "rule"},
        _item("2 × Weißbier 0,5 l", "11,00 €"),
        _item("1 × Käsespätzle", "12,50 €"),
        _item("1 × Crème brûlée", "6,80 €"),
        {"type": "rule", "char": "="},
        _item("Summe", "30,30 €", bold=True),
        _item("Bar gegeben", "40,00 €"),
        _item("Rückgeld", "9,70 €"),
        {"type": "feed"},
        {"type": "qr", "data": TICKET_URL},
        {"type": "text", "text": "Danke für Ihren Besuch!", "align": "center"},
    )


ON_THE_BAR_RECEIPT = ("Größte Auswahl", "Käsespätzle", "Crème brûlée", "30,30 €", "Rückgeld", "Danke für Ihren Besuch!")


def office_receipt(number: int = 1) -> dict[str, Any]:
    """A ticket sold at the office."""
    return _document(
        {"type": "text", "text": "Eintrittskarte", "align": "center", "bold": True, "double_width": True},
        {"type": "rule"},
        _item("1 × Saal, Reihe 7, Platz 12", "49,00 €"),
        {"type": "barcode", "symbology": "code128", "data": f"SAAL-{number:04d}"},
    )


def quick_receipt(number: int) -> dict[str, Any]:
    """A short one, for whoever presses a key."""
    return _document(
        {"type": "text", "text": f"Beleg Nr. {number}", "align": "center", "bold": True},
        _item("1 × Apfelschorle", "3,90 €"),
    )


def _document(*lines: dict[str, Any]) -> dict[str, Any]:
    return {"document": {"lines": [*lines, {"type": "cut"}]}}


def _item(what: str, price: str, *, bold: bool = False) -> dict[str, Any]:
    cells = [{"text": what}, {"text": price, "align": "right", "chars": 10}]
    return {"type": "columns", "cells": cells, "bold": bold}

"""What a person can type into a second terminal while the demonstration runs."""

from __future__ import annotations

from rich.console import Console

from simulators.demo.stage import Stage

COMMANDS = """\
mosquitto_sub $VG -t venue/demo/clients/bar-tablet/responses &

mosquitto_pub $VG -t venue/demo/clients/bar-tablet/requests/bar-printer/print -s <<EOF
{"id": "$(date +%s%N)", "data": {"document": {"lines": [
  {"type": "text", "text": "Grüße aus dem Terminal!", "align": "center", "bold": true},
  {"type": "columns", "cells": [{"text": "1 × Weißbier"}, {"text": "5,50 €", "align": "right"}]},
  {"type": "qr", "data": "https://example.org/beleg/1"},
  {"type": "cut"}]}}}
EOF

mosquitto_pub $VG -t venue/demo/clients/bar-tablet/requests/bar-drawer/open -s <<EOF
{"id": "$(date +%s%N)", "expires_at": $(date +%s000 -d +20sec), "data": {"reason": "change for a fifty"}}
EOF
"""
"""Mosquitto's own clients, as a tablet: hear the answers, print, open the drawer. The README has the same lines."""


def how_to_try(stage: Stage, console: Console) -> None:
    """Print the bar tablet's login and what can be done with it, to be copied as it is."""
    tablet = stage.bar_tablet
    login = f'export VG="-V 5 -h 127.0.0.1 -p {stage.port} -u {tablet.name} -P {tablet.password} -q 1"'
    console.print("\nBe the bar's tablet, in a second terminal (the README has these lines too):\n", style="bold")
    console.print(f"{login}\n{COMMANDS}", soft_wrap=True, markup=False, highlight=False)

"""Labels in two languages, and a drawer on a relay, from a tablet's request to what the simulated devices did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.venue import Venue

pytestmark = pytest.mark.asyncio(loop_scope="module")
DOCUMENT = {
    "lines": [
        {"type": "text", "text": "GARDEROBE 17", "double_width": True},
        {"type": "text", "text": "Grüße"},
        {"type": "qr", "data": "https://example.org/g/17"},
    ]
}


def shop(settings: dict[str, Any]) -> None:
    """Two label printers on serial lines, and a drawer on the board of the south gate."""
    dev = Path(settings["state_dir"]).parent / "dev"
    label = {"width_mm": 56, "height_mm": 60, "status_timeout_ms": 500, "heartbeat_s": 0.5}
    drawer = {"driver": "drawer-relay", "relay": "south-board.3", "contact": "south-board.4", "open_is_active": True}
    settings["devices"] |= {
        "shop-labels": {"driver": "zpl", "connect": f"serial://{dev / 'shop-labels'}?baud=115200", **label},
        "shop-tags": {"driver": "tspl", "connect": f"serial://{dev / 'shop-tags'}?baud=115200", **label},
        "shop-drawer": drawer,
    }
    printing = ["print", "reprint", "status"]
    may = {"shop-labels": printing, "shop-tags": printing, "shop-drawer": ["open", "status"]}
    settings["clients"]["shop-tablet"] = {"may": may}


VENUE = {"parts": ("south", "shop"), "change": shop}


@pytest.mark.parametrize("printer", ["shop-labels", "shop-tags"])
async def test_a_label_comes_out_and_the_printer_confirms_it(venue: Venue, printer: str) -> None:
    await venue.observer.state(f"devices/{printer}/state", state="online")
    async with venue.client("shop-tablet") as tablet:
        done = await (await tablet.ask(printer, "print", {"document": DOCUMENT})).final()
    assert (done["status"], done["data"]["confirmed"]) == ("done", True)
    simulated = await venue.device(printer)
    state = await simulated.until(lambda state: state["label_count"] == 1)
    assert state["unknown_commands"] == []
    words = Path(state["last_label"]).with_suffix(".txt").read_text().splitlines()
    assert [words[0], words[2]] == ["GARDEROBE 17", "[qr https://example.org/g/17]"]


@pytest.mark.parametrize("printer", ["shop-labels", "shop-tags"])
async def test_a_label_waits_for_labels_and_comes_out_once(venue: Venue, printer: str) -> None:
    simulated = await venue.device(printer)
    before = (await simulated.state())["label_count"]
    await simulated.do("labels", out=True)
    mark = venue.observer.mark
    async with venue.client("shop-tablet") as tablet:
        asked = await tablet.ask(printer, "print", {"document": DOCUMENT})
        await venue.observer.event("print.held", since=mark, why="paper_out")
        await simulated.do("labels", out=False)
        assert (await asked.final())["status"] == "done"
    await simulated.until(lambda state: state["label_count"] == before + 1)


async def test_a_drawer_on_a_relay_opens_for_a_client_and_its_contact_confirms_it(venue: Venue) -> None:
    board = await venue.device("south-board")
    await venue.observer.state("devices/shop-drawer/state", contact="closed")
    mark = venue.observer.mark
    async with venue.client("shop-tablet") as tablet:
        asked = await tablet.ask("shop-drawer", "open", {"reason": "Wechselgeld"})
        await board.until(lambda state: state["relays"][2]["pulses"])
        await board.do("input", channel=4, active=True)
        done = await asked.final()
    assert (done["status"], done["data"]["confirmed"]) == ("done", True)
    await venue.observer.state("devices/shop-drawer/state", contact="open")
    await board.do("input", channel=4, active=False)
    await venue.observer.event("drawer.closed", since=mark, drawer="shop-drawer")
    assert not venue.observer.events("drawer.forced", since=mark)


async def test_a_drawer_on_a_relay_that_opens_unasked_is_an_alarm(venue: Venue) -> None:
    board, mark = await venue.device("south-board"), venue.observer.mark
    await board.do("input", channel=4, active=True)
    await venue.observer.event("drawer.forced", since=mark, drawer="shop-drawer")
    await board.do("input", channel=4, active=False)
    await venue.observer.event("drawer.closed", since=mark, drawer="shop-drawer")

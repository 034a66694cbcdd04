"""The console in a real Chromium: signing in, a live tap, a receipt, the bench; dark and light, phone and screen.

The pictures that it takes are those of the docs.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.console import Browser, address, chromium, with_console
from tests.e2e.tablet import Tablet
from tests.e2e.venue import Venue

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(shutil.which("chromedriver") is None, reason="Debian's chromium-driver is not installed"),
]
IN_SIGHT = """\
const link = document.querySelector("nav [aria-current]").getBoundingClientRect();
return link.left >= 0 && link.right <= innerWidth;"""
HOSTILE = "<img src=x onerror=document.title='gotcha'><script>alert(1)</script>"


def changed(settings: dict[str, Any]) -> None:
    with_console(settings)
    settings["venue"]["name"] = "Stadthalle"
    settings["zones"] = {"hall": {"capacity": 8}}
    settings["clients"]["bar-tablet"]["may"]["wallet"] = ["top_up", "charge"]


VENUE = {"parts": ("north", "south", "bar"), "change": changed}
RECEIPT = {
    "lines": [
        {
            "type": "text",
            "text": "Stadthalle",
            "align": "center",
            "bold": True,
            "double_height": True,
            "double_width": True,
        },
        {"type": "text", "text": "Bar im Foyer", "align": "center"},
        {"type": "rule"},
        {"type": "columns", "cells": [{"text": "2 × Weißbier"}, {"text": "8,40 €", "align": "right"}]},
        {"type": "columns", "cells": [{"text": "1 × Käsespätzle"}, {"text": "12,50 €", "align": "right"}]},
        {"type": "rule", "char": "="},
        {"type": "columns", "bold": True, "cells": [{"text": "Summe"}, {"text": "20,90 €", "align": "right"}]},
        {"type": "feed"},
        {"type": "qr", "data": "https://example.org/beleg/1"},
        {"type": "barcode", "symbology": "ean13", "data": "4006381333931"},
        {"type": "cut"},
    ]
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all tests here; each signs in for itself."""
    profile = Path(tempfile.mkdtemp(prefix="vg-chromium-", dir="/tmp"))
    open_one = chromium(profile)
    try:
        yield await asyncio.to_thread(open_one.__enter__)
        await asyncio.to_thread(open_one.__exit__, None, None, None)
    finally:
        shutil.rmtree(profile, ignore_errors=True)


async def an_evening(venue: Venue) -> None:
    """Guests and receipts, so that there is something to see."""
    async with venue.client("entrance") as entrance, venue.client("bar-tablet") as tablet:
        for guest in [*(venue.guests.tag() for _ in range(5)), *(venue.guests.stranger() for _ in range(2))]:
            await (await venue.authenticate(entrance, "turnstile", guest)).final()
        for _ in range(3):
            await (await tablet.ask("bar-printer", "print", {"document": RECEIPT})).final()
        await pay(venue, tablet)


async def pay(venue: Venue, tablet: Tablet) -> None:
    guest = venue.guests.tag(None)
    credential = {"credential": guest.credential}
    await (await tablet.ask("wallet", "top_up", {**credential, "amount_minor": 2000, "by": "cash"})).final()
    await (await tablet.ask("wallet", "charge", {**credential, "amount_minor": 840})).final()


async def in_browser(what: Any, *arguments: Any) -> Any:
    return await asyncio.to_thread(what, *arguments)


async def test_an_operator_signs_in_and_sees_a_tap_as_it_happens(venue: Venue, browser: Browser) -> None:
    await an_evening(venue)

    def begin() -> None:
        browser.colours("light")
        browser.open(address(venue))
        browser.find("#login")
        browser.picture("console-login")
        browser.find("#login input[name=user]").send_keys("ada")
        browser.find("#login input[name=password]").send_keys("wrong password")
        browser.find("#login button.primary").click()
        browser.sees("#login [role=alert]", "wrong")
        browser.find("#language").click()
        browser.find("#login input[name=user]").send_keys("ada")
        browser.find("#login input[name=password]").send_keys("wrong password")
        browser.find("#login button.primary").click()
        browser.sees("#login [role=alert]", "Name oder Passwort ist falsch.")
        browser.find("#language").click()
        browser.sign_in(address(venue), "ada")
        browser.view("taps")
        browser.sees("#events", "let in")

    await in_browser(begin)
    await (await venue.device("north-reader")).do("tap", uid=(guest := venue.guests.tag()).value)
    await in_browser(browser.sees, "#events", guest.holder)
    await in_browser(browser.picture, "console-events")
    await in_browser(lambda: browser.script("document.querySelector('#events a').click()"))
    await in_browser(browser.sees, "#found", guest.holder)
    assert not await in_browser(browser.complaints, "401")


async def test_the_overview_is_good_by_day_and_night(venue: Venue, browser: Browser) -> None:
    def look() -> None:
        browser.view("overview")
        browser.sees("main", "All is well")
        browser.picture("console-overview-light")
        light = browser.script("return getComputedStyle(document.documentElement).backgroundColor")
        browser.colours("dark")
        browser.until(lambda: browser.script("return document.documentElement.dataset.theme") == "dark")
        browser.picture("console-overview-dark")
        dark = browser.script("return getComputedStyle(document.documentElement).backgroundColor")
        assert light != dark
        for view in ("gates", "devices", "sync"):
            browser.view(view)
            browser.until(lambda: len(browser.text("main")) > 40)
            browser.picture(f"console-{view}")

    await in_browser(look)
    assert not await in_browser(browser.complaints)


async def test_a_receipt_is_a_picture_and_is_printed_again(venue: Venue, browser: Browser) -> None:
    def look() -> None:
        browser.colours("light")
        browser.view("printing")
        browser.find(".receipt img")
        assert browser.until(lambda: browser.script("return document.querySelector('.receipt img').naturalWidth")) > 500
        browser.picture("console-printing")
        browser.find(".receipt").click()
        browser.find("dialog.paper img")
        browser.picture("console-receipt")
        browser.find("dialog.paper").click()
        browser.until(lambda: not browser.all("dialog"))
        browser.find(".job .small").click()
        browser.sees("#printers", "COPY")

    await in_browser(look)
    assert [row["client"] for row in venue.journal() if row.get("copy_of")] == ["console/ada"]


async def test_the_bench_and_the_configuration(venue: Venue, browser: Browser) -> None:
    before = await venue.pulses("north-relay", 2)
    await (await venue.device("bar-printer")).do("drawer", open=False)

    def work() -> None:
        browser.view("bench")
        browser.find("article[data-name=north-relay] button[data-verb=pulse]:nth-of-type(2)").click()
        browser.sees("#toasts", "done")
        browser.find("article[data-name=bar-drawer] button[data-verb=calibrate]").click()
        browser.sees("article[data-name=bar-drawer]", "Shut it reads low, open high.")
        browser.picture("console-bench")
        browser.find("article[data-name=bar-printer] button[data-verb=print]").click()
        browser.view("configuration")
        browser.sees("#configuration", "north-reader")
        browser.sees(".verdict", "in force")

    await in_browser(work)
    await venue.closed("north-relay", before + 1, 2)
    text = venue.config.read_text()
    try:
        venue.config.write_text(text.replace("capacity: 8", "capacity: many"))

        def wrong() -> None:
            browser.find(".bar button").click()
            browser.sees("#configuration .note.bad", "capacity")
            browser.script("document.querySelector('.note.bad').scrollIntoView({block: 'center'})")
            browser.picture("console-configuration")

        await in_browser(wrong)
    finally:
        venue.config.write_text(text)
    assert not await in_browser(browser.complaints)


# A port that has the place of the longest sentence's words in it, and a sentence of nobody's.
SENTENCES = ("/dev/ttyUSB0 cannot be opened: a: b", "OSDP reader 3 is gone", "it is closed, she said: so?")
TRANSLATED = ["/dev/ttyUSB0 lässt sich nicht öffnen: a: b", "der OSDP-Leser 3 ist weg", "it is closed, she said: so?"]
IN_GERMAN = """\
const [texts, done] = arguments;
import("/static/details.js").then((details) => done(texts.map(details.inGerman)), (error) => done(String(error)));"""


async def test_what_a_driver_says_is_told_in_german(venue: Venue, browser: Browser) -> None:
    def ask() -> None:
        browser.view("devices")
        assert browser.driver.execute_async_script(IN_GERMAN, SENTENCES) == TRANSLATED

    await in_browser(ask)


async def test_a_guest_is_looked_up_in_german_on_a_phone(venue: Venue, browser: Browser) -> None:
    guest = venue.guests.tag()

    def ask() -> None:
        browser.size(390, 844)
        browser.find("#language").click()
        browser.view("guests")
        browser.find("#lookup option[value=em4100]").click()
        browser.find("#lookup input").send_keys(guest.value)
        browser.find("#lookup button").click()
        browser.sees("#found", guest.holder)
        assert browser.script("return document.querySelector('#lookup input').value") == ""
        browser.sees("#found", "käme durch")
        assert guest.value not in browser.driver.page_source
        browser.picture("console-guest-phone")
        browser.colours("dark")
        for view in ("overview", "taps"):
            browser.view(view)
            browser.until(lambda: len(browser.text("main")) > 40)
            wide = browser.script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{view} is {wide} pixels wider than the phone"
            assert browser.script(IN_SIGHT), f"the strip of views does not show {view}"
            browser.picture(f"console-{view}-phone")
        browser.find("#language").click()
        browser.size(1280, 900)
        browser.colours("light")

    await in_browser(ask)


async def test_hostile_text_stays_text(venue: Venue, browser: Browser) -> None:
    async with venue.client("bar-tablet") as tablet:
        await (await tablet.ask("bar-drawer", "open", {"reason": HOSTILE})).final()
        document = {"lines": [{"type": "text", "text": HOSTILE}, {"type": "cut"}]}
        await (await tablet.ask("bar-printer", "print", {"document": document, "title": HOSTILE})).final()
    # A card or a code may hold anything, too: the page is told of its reference alone.
    mark = venue.observer.mark
    await (await venue.device("south-scanner")).do("scan", text=HOSTILE)
    await venue.observer.event("entry.denied", since=mark, gate="south")

    def look() -> None:
        browser.view("taps")
        browser.sees("#events", HOSTILE)
        assert not browser.all("#events img")
        browser.view("printing")
        browser.find("main .receipt img")
        assert not browser.all("main img[src=x]")
        browser.view("guests")
        browser.find("#lookup input[name=what]").send_keys(HOSTILE)
        browser.find("#lookup button").click()
        browser.until(lambda: browser.text("#found"))
        assert not browser.all("#found img")
        assert "gotcha" not in browser.driver.title

    await in_browser(look)
    assert not await in_browser(browser.complaints)


async def test_signing_out_empties_the_page_and_the_end_of_a_login_shows(venue: Venue, browser: Browser) -> None:
    def leave() -> None:
        browser.find("#sign-out").click()
        browser.find("#login")
        browser.open(address(venue) + "/#taps")
        browser.find("#login")
        assert not browser.all("#events")

    await in_browser(leave)

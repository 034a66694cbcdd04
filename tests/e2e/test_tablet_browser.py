"""The thin tablet in a real Chromium, against the real daemon, broker and simulated devices.

The pictures that it takes are those of the docs.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from gateway.client import Denied, VenueClient
from tests.e2e import joined
from tests.e2e.bulletin import poll
from tests.e2e.console import Browser, address, chromium, with_console
from tests.e2e.paper import newest
from tests.e2e.venue import Venue

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(shutil.which("chromedriver") is None, reason="Debian's chromium-driver is not installed"),
]
READER, PRINTER, DRAWER = "north-reader", "bar-printer", "bar-drawer"
PASTE = """
const field = document.getElementById("invitation");
field.value = arguments[0];
field.dispatchEvent(new Event("input"));
"""
SMALL = "return [...document.querySelectorAll('button')].filter((b) => b.offsetHeight && b.offsetHeight < 40).length"
HOSTILE = "<img src=x onerror=document.title='gotcha'>"


def changed(settings: dict[str, Any]) -> None:
    with_console(settings)
    joined.with_till(settings)
    settings["venue"]["name"] = "Stadthalle"


class Bar(NamedTuple):
    """A venue, a browser that shows its tablet, and what joins the two."""

    venue: Venue
    browser: Browser
    code: str

    async def do(self, what: Any, *arguments: Any) -> Any:
        return await asyncio.to_thread(what, *arguments)

    async def tap(self, guest: Any) -> None:
        await (await self.venue.device(READER)).do("tap", uid=guest.value)

    async def fund(self, guest: Any, amount_minor: int) -> None:
        async with self.venue.insider("bar-tablet") as insider:
            data = {"amount_minor": amount_minor, "by": "cash", "credential": guest.credential}
            assert (await (await insider.ask("wallet", "top_up", data)).final())["status"] == "done"

    def press(self, *selectors: str) -> None:
        for selector in selectors:
            self.browser.click(f"{selector}:not([disabled])")

    def paste(self, text: str) -> None:
        self.browser.find("#invitation")
        self.browser.script(PASTE, text)

    def amount(self, digits: str) -> None:
        self.press(*(f"[data-key='{digit}']" for digit in digits))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bar() -> AsyncIterator[Bar]:
    venue = Venue(("north", "south", "bar"), guests=40, change=changed, start=("directory",))
    profile = Path(tempfile.mkdtemp(prefix="vg-chromium-", dir="/tmp"))
    try:
        async with venue:
            told = await joined.begin(venue)
            pin = joined.key_pin(venue.broker.configuration.parent)
            # A technician installs the venue's authority on the tablet; here the browser is told of the one key.
            open_one = chromium(profile, 1180, 820, f"--ignore-certificate-errors-spki-list={pin}")
            browser = await asyncio.to_thread(open_one.__enter__)
            try:
                yield Bar(venue, browser, joined.text(told))
            finally:
                await asyncio.to_thread(open_one.__exit__, None, None, None)
        assert not venue.problems(stored=True)
    finally:
        shutil.rmtree(profile, ignore_errors=True)
        venue.remove()


async def test_it_joins_by_the_code_and_is_set_up_once(bar: Bar) -> None:
    browser = bar.browser

    def join() -> None:
        browser.colours("light")
        browser.open(address(bar.venue) + "/tablet")
        browser.sees("main", "Join this tablet")
        browser.picture("tablet-join")
        browser.find("#invitation").send_keys("hello")
        bar.press("#join")
        browser.sees("main", "no joining code")
        bar.paste(bar.code)
        browser.sees("#line", "Ready")
        bar.press(
            f"[data-choose='reader/{READER}']", f"[data-choose='printer/{PRINTER}']", f"[data-choose='drawer/{DRAWER}']"
        )
        browser.picture("tablet-place")
        bar.press("#placed")
        browser.sees("main", "Stadthalle")
        browser.find("#charge")

    await bar.do(join)
    assert not await bar.do(browser.complaints)


async def test_a_card_pays_and_gets_a_receipt(bar: Bar) -> None:
    browser, guest = bar.browser, bar.venue.guests.tag(None)
    await bar.fund(guest, 2000)

    def begin() -> None:
        bar.amount("1250")
        browser.sees("#amount", "€12.50")
        browser.picture("tablet-work")
        bar.press("#charge")
        browser.sees("#over", "Hold the card")
        browser.sees("#over", "s left")
        browser.picture("tablet-waiting")

    await bar.do(begin)
    await bar.tap(guest)
    await bar.do(browser.sees, "#result", "Paid")
    assert "Left on the card: €7.50" in await bar.do(browser.text, "#over")
    await bar.do(browser.picture, "tablet-paid")
    await bar.do(bar.press, "#print")
    await bar.do(browser.sees, "#note", "Receipt printed")
    paper = await newest(bar.venue, PRINTER)
    assert "€12.50" in paper
    assert "Stadthalle" in paper
    await bar.do(bar.press, "#next")
    await bar.do(browser.sees, "#answers", "Paid")
    assert not await bar.do(browser.complaints)


async def test_a_refusal_says_why_in_plain_words_and_in_german(bar: Bar) -> None:
    browser, guest = bar.browser, bar.venue.guests.tag(None)
    await bar.fund(guest, 100)

    def begin(digits: str) -> None:
        bar.amount(digits)
        bar.press("#charge")
        browser.sees("#over", "s left" if digits == "500" else "noch")

    await bar.do(begin, "500")
    await bar.tap(guest)
    await bar.do(browser.sees, "#result", "Not paid")
    assert "There is not enough in the wallet." in await bar.do(browser.text, "#over")
    await bar.do(bar.press, "#next")
    await bar.do(browser.colours, "dark")
    await bar.do(bar.press, "#language")
    # What was asked for stays on the display: staff take another card, or another way to pay.
    await bar.do(browser.sees, "#amount", "5,00")
    await bar.do(begin, "")
    await bar.tap(other := bar.venue.guests.stranger())
    told = await bar.do(browser.sees, "#over", "Diese Karte ist hier nicht bekannt.")
    assert other.value not in told
    await bar.do(browser.picture, "tablet-refused-dark")
    await bar.do(bar.press, "#next", "#language")
    assert not await bar.do(browser.complaints)


async def test_staff_cancel_and_nobody_is_charged(bar: Bar) -> None:
    browser, mark = bar.browser, bar.venue.observer.mark
    await bar.do(bar.press, "#charge")
    await bar.do(browser.sees, "#over", "s left")
    await bar.do(bar.press, "#cancel")
    await bar.do(browser.sees, "#over", "Nothing was charged")
    await bar.venue.observer.event("wallet.cancelled", since=mark)
    assert bar.venue.observer.events("wallet.transferred", since=mark) == []
    await bar.do(bar.press, "#next")


async def test_balance_and_top_up(bar: Bar) -> None:
    browser, guest = bar.browser, bar.venue.guests.tag(None)
    await bar.do(bar.press, *["[data-key='⌫']"] * 3)
    await bar.do(bar.amount, "2000")
    await bar.do(bar.press, "#top_up")
    await bar.do(browser.sees, "#over", "s left")
    await bar.tap(guest)
    await bar.do(browser.sees, "#result", "Topped up")
    await bar.do(bar.press, "#next", "#balance")
    await bar.do(browser.sees, "#over", "s left")
    # A tag that is still held there is no second tap.
    await bar.tap(bar.venue.guests.tag(None))
    await bar.do(browser.sees, "#result", "On the card")
    await bar.do(bar.press, "#next")


async def test_the_drawer_opens_with_a_reason_and_hostile_text_stays_text(bar: Bar) -> None:
    browser, mark = bar.browser, bar.venue.observer.mark

    def ask(reason: str) -> None:
        bar.press("#drawer")
        browser.sees("#over", "Why is it opened?")
        browser.picture("tablet-drawer")
        browser.find("#reason").send_keys(reason)
        browser.find("#over form button").click()
        browser.sees("#over", "The drawer is open")

    await bar.do(ask, HOSTILE)
    await bar.venue.observer.event("drawer.opening", since=mark, reason=HOSTILE, client="bar-tablet")
    assert await bar.do(browser.script, "return document.title") == "Till"
    await bar.do(lambda: browser.until(lambda: not browser.text("#over").strip()))


async def test_i02_a_page_that_is_loaded_anew_and_a_gateway_that_dies_charge_once(bar: Bar) -> None:
    browser, guest, venue = bar.browser, bar.venue.guests.tag(None), bar.venue
    await bar.fund(guest, 1000)

    def begin() -> None:
        bar.amount("300")
        bar.press("#charge")
        browser.sees("#over", "s left")
        browser.driver.refresh()
        browser.sees("#over", "s left")

    await bar.do(begin)
    mark = venue.observer.mark
    await bar.tap(guest)
    await bar.do(browser.sees, "#result", "Paid")
    assert len(venue.observer.events("wallet.transferred", since=mark)) == 1
    await bar.do(bar.press, "#next")
    # Now the gateway dies while a reader waits: nothing was charged, and the page says so once it is back.
    await bar.do(bar.amount, "300")
    await bar.do(bar.press, "#charge")
    await bar.do(browser.sees, "#over", "s left")
    await venue.daemon.kill()
    await bar.do(browser.sees, "#line", "The gateway is away")
    await bar.do(browser.picture, "tablet-waiting-alone")
    await venue.start_daemon()
    await bar.do(browser.sees, "#over", "Nothing was charged")
    await bar.do(bar.press, "#next")


async def test_without_a_connection_nothing_can_be_charged_and_it_comes_back_by_itself(bar: Bar) -> None:
    browser = bar.browser
    await bar.venue.broker.kill()
    await bar.do(browser.sees, "#line", "No connection")
    assert await bar.do(browser.script, "return document.getElementById('charge').disabled")
    await bar.do(browser.colours, "light")
    await bar.do(browser.picture, "tablet-offline")
    await bar.venue.broker.start()
    await bar.do(browser.sees, "#line", "Ready", 20.0)
    assert not await bar.do(browser.complaints, "WebSocket")


async def test_it_fits_a_phone(bar: Bar) -> None:
    browser = bar.browser

    def look() -> None:
        browser.size(390, 844)
        wide = browser.script("return document.documentElement.scrollWidth")
        assert wide <= 390
        browser.picture("tablet-phone")
        assert browser.script(SMALL) == 0
        browser.size(1180, 820)

    await bar.do(look)


async def test_i07_what_was_not_granted_is_said_by_the_broker_and_shown(bar: Bar) -> None:
    venue = bar.venue
    venue.settings["clients"]["bar-tablet"]["may"]["wallet"] = ["charge", "cancel"]
    venue.write_config()
    websockets = int(json.loads(bar.code)["wss"].rpartition(":")[2])
    await joined.apply(venue, websockets, "--pid", str(venue.broker.pid))
    async with await VenueClient.join(bar.code) as other:
        await poll(lambda: refused(other, venue.guests.tag(None)), "the broker has read its new grants")
    await bar.do(bar.press, "#balance")
    await bar.do(bar.browser.sees, "#result", "Not read")
    assert "may not do that" in await bar.do(bar.browser.text, "#over")
    await bar.do(bar.press, "#next")


async def refused(client: VenueClient, guest: Any) -> bool:
    try:
        await client.balance(credential=guest.credential)
    except Denied as denied:
        return denied.reason == "not_granted"
    return False


async def test_a_wrong_password_says_join_again_and_the_tablet_can_be_signed_out(bar: Bar) -> None:
    browser = bar.browser

    def out() -> None:
        bar.press("#settings", "#forget")
        browser.driver.switch_to.alert.accept()
        browser.sees("main", "Join this tablet")
        assert browser.script("return JSON.stringify(Object.entries(localStorage))").find("password") == -1
        wrong = bar.code.replace('"password":"', '"password":"x')
        bar.paste(wrong)
        browser.sees("#line", "no longer right")

    await bar.do(out)


async def test_a_broker_that_is_no_host_of_the_console_is_not_reached_and_named(bar: Bar) -> None:
    def join_elsewhere() -> None:
        bar.press("#forget")
        bar.browser.driver.switch_to.alert.accept()
        bar.browser.sees("main", "Join this tablet")
        bar.paste(json.dumps({**json.loads(bar.code), "wss": "broker.example:8884"}))
        said = bar.browser.sees("#line", "may not reach the broker broker.example:8884")
        assert "console: hosts" in said

    await bar.do(join_elsewhere)

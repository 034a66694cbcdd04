"""Nothing happens late or unseen: orders to a drawer and charges that an outage holds up, and an Enter too many.

In a real Chromium, against the real daemon and broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.e2e.broker import Broker
from tests.e2e.console import address
from tests.e2e.test_tablet_browser import DRAWER, PRINTER, READER, Bar, bar

__all__ = ["bar"]
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(shutil.which("chromedriver") is None, reason="Debian's chromium-driver is not installed"),
]
LATER = "const late = arguments[0], now = Date.now; Date.now = () => now() + late;"
"""Lets the page believe that so many milliseconds have passed."""
CAMERA = """
(async (done) => {
const seen = [], looks = [];
globalThis.BarcodeDetector = class { detect() { return new Promise((see) => looks.push(see)); } };
navigator.mediaDevices.getUserMedia = async () => {
  const canvas = document.createElement("canvas");
  canvas.getContext("2d").fillRect(0, 0, 9, 9);
  const stream = canvas.captureStream(20);
  setInterval(() => canvas.getContext("2d").fillRect(0, 0, 9, 9), 20);
  return stream;
};
const looked = async () => {
  while (!looks.length) await new Promise((go) => setTimeout(go, 10));
  return looks.shift();
};
const { scan } = await import("/tablet/scan.js");
const camera = await scan.start((text) => { seen.push(text); camera.stop(); });
const first = await looked();
await new Promise((go) => setTimeout(go, 700));
looks.unshift(first);
looks.splice(0).forEach((see) => see([{ rawValue: "code" }]));
await new Promise((go) => setTimeout(go, 50));
done(seen);
})(arguments[0]);
"""


@contextlib.contextmanager
def halted(broker: Broker) -> Iterator[None]:
    """A broker that keeps its connections and moves nothing."""
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker.pid, signal.SIGCONT)


async def begin_drawer(bar: Bar) -> None:
    await bar.do(bar.press, "#drawer")
    await bar.do(bar.browser.sees, "#over", "Why is it opened?")
    await bar.do(bar.press, "[data-reason='sale']")
    await bar.do(bar.browser.sees, "#over", "The drawer opens")


async def balance_of(bar: Bar, guest: Any) -> int:
    async with bar.venue.insider("bar-tablet") as insider:
        answer = await (await insider.ask("wallet", "balance", {"credential": guest.credential})).final()
        return int(answer["data"]["balance_minor"])


async def test_set_up(bar: Bar) -> None:
    browser = bar.browser

    def join() -> None:
        browser.open(address(bar.venue) + "/tablet")
        bar.paste(bar.code)
        browser.sees("#line", "Ready")
        bar.press(
            f"[data-choose='reader/{READER}']", f"[data-choose='printer/{PRINTER}']", f"[data-choose='drawer/{DRAWER}']"
        )
        bar.press("#placed")
        browser.find("#charge")

    await bar.do(join)


async def test_i06_an_order_that_an_outage_held_up_opens_no_drawer(bar: Bar) -> None:
    mark = bar.venue.observer.mark
    with halted(bar.venue.broker):
        await begin_drawer(bar)
        # As long as the order lives, by the gateway's clock.
        await asyncio.sleep(5.2)
    await bar.do(bar.browser.sees, "#over", "The drawer stays shut")
    assert "It arrived too late" in await bar.do(bar.browser.text, "#over")
    await bar.do(bar.press, "#next")
    await still(bar)
    assert bar.venue.observer.events("drawer.opening", since=mark) == []


async def test_i06_an_order_from_before_the_page_was_loaded_anew_opens_no_drawer(bar: Bar) -> None:
    browser, mark = bar.browser, bar.venue.observer.mark
    with halted(bar.venue.broker):
        await begin_drawer(bar)
        await bar.do(browser.driver.refresh)
        await asyncio.sleep(5.2)
    await bar.do(browser.sees, "#answers", "The drawer stays shut", 20.0)
    await still(bar)
    assert bar.venue.observer.events("drawer.opening", since=mark) == []


async def test_a_tablet_whose_clock_is_slow_opens_the_drawer_at_once(bar: Bar) -> None:
    mark = bar.venue.observer.mark
    await bar.do(bar.browser.script, LATER, -600_000)
    await begin_drawer(bar)
    await bar.do(bar.browser.sees, "#over", "The drawer is open")
    await bar.do(lambda: bar.browser.until(lambda: not bar.browser.text("#over").strip()))
    assert len(bar.venue.observer.events("drawer.opening", since=mark)) == 1
    await bar.do(bar.browser.driver.refresh)
    await bar.do(bar.browser.sees, "#line", "Ready", 20.0)


async def test_what_staff_closed_is_cancelled_and_the_next_card_does_not_pay(bar: Bar) -> None:
    browser, guest = bar.browser, bar.venue.guests.tag(None)
    await bar.fund(guest, 1000)
    mark = bar.venue.observer.mark

    def give_up() -> None:
        bar.amount("300")
        bar.press("#charge")
        browser.sees("#over", "One moment")
        browser.script(LATER, 21_000)
        bar.press("#close")

    with halted(bar.venue.broker):
        await bar.do(give_up)
    # It still lives, so the gateway takes it; and the cancelling comes right behind.
    await bar.do(browser.sees, "#answers", "Nothing was charged", 20.0)
    await bar.tap(guest)
    await still(bar)
    assert bar.venue.observer.events("wallet.transferred", since=mark) == []
    assert await balance_of(bar, guest) == 1000
    await bar.do(browser.driver.refresh)
    await bar.do(browser.sees, "#line", "Ready", 20.0)


async def test_once_a_reader_waits_and_the_line_is_lost_staff_can_close(bar: Bar) -> None:
    browser = bar.browser

    def charge() -> None:
        bar.amount("300")
        bar.press("#charge")
        browser.sees("#over", "s left")

    await bar.do(charge)
    assert not await bar.do(browser.all, "#close")
    mark = bar.venue.observer.mark
    await bar.venue.broker.kill()
    await bar.do(browser.sees, "#over", "No connection")
    await bar.do(browser.script, LATER, 21_000)
    await bar.do(bar.press, "#close")
    await bar.venue.broker.start()
    await bar.do(browser.sees, "#answers", "Nothing was charged", 20.0)
    await bar.venue.observer.event("wallet.cancelled", since=mark)
    await bar.do(browser.driver.refresh)
    await bar.do(browser.sees, "#line", "Ready", 20.0)


async def test_a_request_that_lets_a_reader_wait_lives_no_longer_than_the_screen_shows_it(bar: Bar) -> None:
    browser, mark = bar.browser, bar.venue.observer.mark
    await bar.do(bar.press, "#balance")
    await bar.do(browser.sees, "#over", "s left")
    armed = await bar.venue.observer.event("wallet.armed", since=mark)
    kept = "return JSON.parse(localStorage.getItem('vg.open')).map((one) => JSON.parse(one.payload).expires_at)"
    [expires_at] = await bar.do(browser.script, kept)
    assert armed["until_ms"] == expires_at
    await bar.do(bar.press, "#cancel")
    await bar.do(bar.press, "#next")


async def test_an_enter_on_the_waiting_screen_charges_nobody_again(bar: Bar) -> None:
    browser, guest = bar.browser, bar.venue.guests.tag(None)
    await bar.fund(guest, 1000)
    mark = bar.venue.observer.mark

    def charge() -> None:
        bar.amount("300")
        browser.find("#charge:not([disabled])").send_keys(Keys.ENTER)
        browser.sees("#over", "s left")
        for _ in range(3):
            ActionChains(browser.driver).send_keys(Keys.ENTER).perform()
        assert browser.script("return document.getElementById('page').inert")
        assert browser.script("return document.activeElement.id") == "over"
        browser.sees("#over", "s left")

    await bar.do(charge)
    await still(bar)
    assert len(bar.venue.observer.events("wallet.armed", since=mark)) == 1
    await bar.tap(guest)
    await bar.do(browser.sees, "#result", "Paid")
    assert await balance_of(bar, guest) == 700
    # And none on the result goes on to the next guest, or charges once more.
    await bar.do(lambda: ActionChains(browser.driver).send_keys(Keys.ENTER).perform())
    await bar.do(browser.sees, "#result", "Paid")
    await bar.do(bar.press, "#next")
    assert not await bar.do(browser.script, "return document.getElementById('page').inert")


async def test_a_code_that_two_pictures_show_is_read_once(bar: Bar) -> None:
    assert await bar.do(bar.browser.driver.execute_async_script, CAMERA) == ["code"]


async def still(bar: Bar) -> None:
    """Whatever the tablet had asked before is decided by now: the desk takes one request after the other."""
    async with bar.venue.insider("bar-tablet") as insider:
        for _ in range(2):
            await (await insider.ask("wallet", "cancel", {"request": "none"})).final()

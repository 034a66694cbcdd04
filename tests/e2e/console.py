"""The console as its users have it: a browser's session over HTTP, and a real Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Self

import aiohttp
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from gateway.web.users import Role, Users
from tests.e2e.bulletin import WAIT_S
from tests.e2e.venue import Venue
from tests.ports import free_port

PASSWORDS: dict[str, tuple[Role, str]] = {
    "ada": ("technician", "correct horse battery"),
    "bea": ("staff", "wet paint on tuesday"),
    "vic": ("viewer", "looking is for free"),
}
PICTURES = os.environ.get("CONSOLE_PICTURES")
"""Where `make pictures` keeps what the browser saw; a test run alone changes no file of the docs."""


def with_console(settings: dict[str, Any]) -> None:
    """Give a configuration a console, and its users' file."""
    settings["console"] = {"listen": f"127.0.0.1:{free_port()}"}
    users = Users(Path(settings["state_dir"]) / "console-users.json")
    for name, (role, password) in PASSWORDS.items():
        users.put(name, role, password)


def address(venue: Venue) -> str:
    """Where the console of a venue is."""
    return f"http://{venue.settings['console']['listen']}"


class Visitor:
    """Somebody with a browser, before and after signing in."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.csrf = ""

    async def __aenter__(self) -> Self:
        self.http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        """Status and JSON (or bytes) of a page."""
        async with self.http.get(self.base + path, allow_redirects=False, **options) as response:
            body = await response.read()
            return response.status, json.loads(body) if response.content_type == "application/json" else body

    async def post(self, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """Status and answer of a request, with the token of the session."""
        headers = {"X-CSRF-Token": self.csrf, **options.pop("headers", {})}
        sent = {"json": body} if "data" not in options else {}
        async with self.http.post(self.base + path, headers=headers, **sent, **options) as response:
            data = await response.read()
            return response.status, json.loads(data) if response.content_type == "application/json" else data

    async def sign_in(self, name: str, password: str | None = None) -> int:
        """Sign in, by default with the right password; returns the status."""
        given = {"user": name, "password": PASSWORDS[name][1] if password is None else password}
        status, told = await self.post("/api/login", given)
        self.csrf = told.get("csrf", "")
        return status

    async def ask(self, target: str, verb: str, data: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """The desk's first answer."""
        asked = {"id": secrets.token_hex(12), "target": target, "verb": verb, "data": data or {}, **more}
        _, answer = await self.post("/api/ask", asked)
        return answer

    @contextlib.asynccontextmanager
    async def stream(self) -> AsyncIterator[Stream]:
        """The live stream."""
        timeout = aiohttp.ClientTimeout(total=None, sock_read=30)
        async with self.http.get(self.base + "/api/stream", timeout=timeout) as response:
            yield Stream(response)


class Stream:
    """Server-sent events as they come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.seen: list[tuple[str, Any]] = []

    async def until(self, wanted: Callable[[str, Any], bool], wait_s: float = WAIT_S) -> Any:
        """The first event from here on for which `wanted(event, data)` says so."""
        async with asyncio.timeout(wait_s):
            async for event, data in self.events():
                self.seen.append((event, data))
                if wanted(event, data):
                    return data
        raise AssertionError("the stream ended")

    async def events(self) -> AsyncIterator[tuple[str, Any]]:
        """Each event and its data."""
        event = ""
        async for raw in self._lines():
            if raw.startswith("event: "):
                event = raw.removeprefix("event: ")
            elif raw.startswith("data: "):
                yield event, json.loads(raw.removeprefix("data: "))

    async def _lines(self) -> AsyncIterator[str]:
        """A whole state can be one line longer than aiohttp's own reader takes."""
        rest = b""
        while chunk := await self.response.content.readany():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode()


@contextlib.contextmanager
def chromium(profile: Path, width: int = 1280, height: int = 900, *options: str) -> Iterator[Browser]:
    """A Chromium of its own, with an empty profile."""
    wanted = webdriver.ChromeOptions()
    wanted.binary_location = "/usr/bin/chromium"
    arguments = (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en-GB",
        "--disable-background-networking", "--no-first-run", f"--user-data-dir={profile}", *options,
    )  # fmt: skip
    for argument in arguments:
        wanted.add_argument(argument)
    wanted.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=wanted, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    try:
        browser = Browser(driver)
        browser.size(width, height)
        yield browser
    finally:
        driver.quit()


class Browser:
    """What a person does with it. Everything blocks: call it in a thread."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def size(self, width: int, height: int) -> None:
        """Make the page this large, as a phone or a screen is."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def colours(self, scheme: str) -> None:
        """Prefer `dark` or `light`, as the system does."""
        wanted = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)

    def open(self, url: str) -> None:
        """Go there."""
        self.driver.get(url)

    def until(self, what: Callable[[], Any], wait_s: float = WAIT_S) -> Any:
        """Wait until `what()` is true, and return it."""
        return WebDriverWait(self.driver, wait_s, poll_frequency=0.05, ignored_exceptions=(Exception,)).until(
            lambda _: what()
        )

    def find(self, selector: str) -> Any:
        """The first element that is there and seen, awaited."""
        return self.until(lambda: next((e for e in self.all(selector) if e.is_displayed()), None))

    def click(self, selector: str) -> None:
        """Click the first that is seen; where the page drew itself anew in between, click what stands there now."""

        def clicked() -> bool:
            seen = next((e for e in self.all(selector) if e.is_displayed()), None)
            if seen is not None:
                seen.click()
            return seen is not None

        self.until(clicked)

    def all(self, selector: str) -> list[Any]:
        """Every element there is now."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def script(self, code: str, *arguments: Any) -> Any:
        """What a piece of JavaScript returns."""
        return self.driver.execute_script(code, *arguments)

    def text(self, selector: str) -> str:
        """What is read there."""
        return str(self.script("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def sees(self, selector: str, words: str, wait_s: float = WAIT_S) -> str:
        """Wait until these words stand there."""
        return str(self.until(lambda: words in self.text(selector) and self.text(selector), wait_s))

    def sign_in(self, base: str, name: str) -> None:
        """Type name and password."""
        self.open(base)
        self.find("#login input[name=user]").send_keys(name)
        self.find("#login input[name=password]").send_keys(PASSWORDS[name][1])
        self.find("#login button.primary").click()
        self.find("main#main")

    def view(self, name: str) -> None:
        """Go to one view of the page."""
        self.script("location.hash = arguments[0]", name)
        self.until(lambda: self.script("return document.getElementById('main').dataset.view") == name)

    def picture(self, name: str) -> None:
        """Keep what is seen among the pictures of the docs."""
        if PICTURES:
            self.script("document.getAnimations().forEach((one) => one.finish())")
            Path(PICTURES).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(str(Path(PICTURES) / f"{name}.png"))

    def complaints(self, *but_of: str) -> list[str]:
        """What the browser complained of since the last call: a script that fails, anything its policy refused."""
        lines = [line["message"] for line in self.driver.get_log("browser") if line["level"] == "SEVERE"]
        return [line for line in lines if not any(words in line for words in but_of)]

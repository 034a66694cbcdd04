"""The tablet's page as it is served: its own policy, its words, and the one file that is not ours."""

from __future__ import annotations

import re
from hashlib import sha256
from importlib import resources

import pytest

from gateway.domain.reasons import Reason
from gateway.web.static_files import TABLET_TYPES

FOLDER = resources.files("gateway.web") / "static" / "tablet"
OURS = sorted(name for name in TABLET_TYPES if name.endswith(".js") and name != "mqtt.esm.js")
# `npm pack mqtt@5.16.0`, dist/mqtt.esm.js, byte for byte.
MQTT_JS = "6e009e77fc644cbf7b46ea37ba77fbdaf5780452389a57f2b4a676437c2defdd"


@pytest.mark.parametrize("path", ["/tablet", *(f"/tablet/{name}" for name in TABLET_TYPES)])
async def test_every_file_is_served_with_a_policy_that_reaches_the_broker_by_tls_and_nothing_else(house, path):
    answer = await house.client.get(path)
    assert answer.status == 200
    policy = answer.headers["Content-Security-Policy"]
    # By the console's own names, on whatever port; a page that was tampered with sends a password nowhere else.
    assert "connect-src 'self' wss://127.0.0.1:* wss://gateway.local:*;" in policy
    assert "unsafe" not in policy
    assert " ws:" not in policy
    assert "camera=(self)" in answer.headers["Permissions-Policy"]
    again = await house.client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    # What the browser kept takes its headers from this answer.
    assert (again.status, again.headers["Content-Security-Policy"]) == (304, policy)


@pytest.mark.parametrize(
    "path", ["/tablet/nothing.js", "/tablet/", "/tablets", "/tablet/mqtt.LICENSE.txt/..", "/static/tablet.js"]
)
async def test_there_is_nothing_else(house, path):
    assert (await house.client.get(path)).status == 404


async def test_the_consoles_own_policy_is_as_strict_as_before(house):
    answer = await house.client.get("/")
    assert "wss:" not in answer.headers["Content-Security-Policy"]
    assert "camera=()" in answer.headers["Permissions-Policy"]


@pytest.mark.parametrize("name", OURS)
def test_our_scripts_make_no_markup_of_text_and_load_nothing_from_elsewhere(name):
    text = (FOLDER / name).read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|https?://", text)


def test_every_reason_has_a_german_sentence():
    text = (FOLDER / "reasons.js").read_text()
    table = text[text.index("export const REASONS_DE") :]
    table = table[: table.index("\n};")]
    told = dict(re.findall(r"(\w+): \"([^\"]+)\"", table))
    assert told.keys() == {reason.value for reason in Reason}
    assert all(sentence.endswith(".") for sentence in told.values())


def test_no_english_of_ours_is_for_a_reason_that_is_none():
    text = (FOLDER / "words.js").read_text()
    table = text[text.index("export const REASONS_EN") :].split("\n};")[0]
    assert set(re.findall(r"(\w+): \"", table)) <= {reason.value for reason in Reason}


@pytest.mark.parametrize("folder", [FOLDER, FOLDER.parent], ids=["tablet", "console"])
def test_both_languages_have_the_same_words(folder):
    text = (folder / "words.js").read_text()
    german, english = (text[text.index(f"  {one}: {{") :].split("\n  },")[0] for one in ("de", "en"))
    words = [set(re.findall(r"([\w.]+)\"?: \"", part)) for part in (german, english)]
    assert words[0] == words[1]
    scripts = [one for one in folder.iterdir() if one.name.endswith(".js") and one.name != "mqtt.esm.js"]
    used = set(re.findall(r"\bt\(\"(\w+)\"", "".join(one.read_text() for one in scripts)))
    assert used <= words[0]


def test_mqtt_js_is_as_it_was_published_and_its_licence_lies_beside_it():
    assert sha256((FOLDER / "mqtt.esm.js").read_bytes()).hexdigest() == MQTT_JS
    assert "MIT" in (FOLDER / "mqtt.LICENSE.txt").read_text()

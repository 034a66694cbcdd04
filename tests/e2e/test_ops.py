"""An operator's year on a running venue: figures, backup, diagnosis and the doctor, amid taps."""

from __future__ import annotations

import json
import tarfile
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.venue import Venue
from tests.gateway.web.test_metrics import asked_for, names_in
from tests.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")
PORT = free_port()


def with_metrics(settings: dict[str, Any]) -> None:
    settings["metrics"] = {"listen": f"127.0.0.1:{PORT}"}


VENUE = {"parts": ("north", "bar"), "change": with_metrics}


async def figures() -> tuple[str, dict[str, dict[tuple[str, ...], float]]]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{PORT}/metrics") as answer:
        assert answer.status == 200
        text = await answer.text()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return text, found


async def test_the_daemon_exposes_all_that_dashboard_and_alerts_ask_for_and_nobody_in_it(venue: Venue) -> None:
    guest = venue.guests.tag()
    await (await venue.device("north-reader")).do("tap", uid=guest.value)
    await venue.observer.event("entry.granted", gate="north", holder=guest.holder)
    text, told = await figures()
    asked = {name for _, expression in asked_for() for name in names_in(expression)} - {"up"}
    # A counter with labels has no line before its first event, and a venue without TLS has no certificate that ends.
    quiet = {"payments_total", "redemptions_total", "prints_total", "drawer_openings_total", "alarms_total"}
    quiet |= {"device_faults_total", "certificate_remaining_days"}
    missing = asked - set(told) - {f"venue_gateway_{name}" for name in quiet}
    assert missing <= {"venue_gateway_disk_written_bytes_total"}
    assert told["venue_gateway_commit_seconds_count"][()] >= 1
    assert told["venue_gateway_device_up"]["north-reader",] == 1
    assert told["venue_gateway_written_bytes_total"][()] > 0
    assert venue.secrets_in([text]) == []
    assert guest.holder not in text


async def test_backup_diagnostics_and_doctor_beside_the_running_daemon(venue: Venue) -> None:
    file, bundle = venue.directory / "hall.backup", venue.directory / "hall.tar.gz"
    done = await venue.command("backup", file)
    assert done.status == 0, done.err
    refused = await venue.command("restore", file, "--replace")
    assert (refused.status, "stop it first" in refused.err) == (1, True)
    erased = await venue.command("erase", "somebody", "--reason", "case 1")
    assert (erased.status, "stop it first" in erased.err) == (1, True)
    log = venue.directory / "gateway.log"
    log.write_text("".join(venue.daemon.text))
    made = await venue.command("diagnostics", bundle, "--log", log)
    assert made.status == 0, made.err
    with tarfile.open(bundle) as tar:
        texts = [tar.extractfile(one).read().decode() for one in tar]
    assert venue.secrets_in(texts) == []
    assert not any(row["holder"] in text for text in texts for row in map(json.loads, venue.guests.rows()))
    looked = await venue.command("doctor", "--json")
    found = {one["check"]: one for one in json.loads(looked.out)["findings"]}
    for check in ("daemon", "journal", "directory", "keys", "broker", "devices"):
        assert found[check]["level"] == "ok", found[check]

"""Opens what a power cut left with the gateway's own store, and says what is wrong with it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from gateway.domain.ids import RandomPool, Uuid7
from gateway.domain.state import VenueState
from gateway.flows.recorder import Recorder
from gateway.store import audit
from gateway.store.credentials import CredentialKey
from gateway.store.directory import DIRECTORY_FILE, Directory
from gateway.store.journal import Journal, StorageUnavailable
from tests.faults.evening import ZONES, make_small
from tests.faults.images import Image, cuts
from tests.gateway.fakes import START_MS
from tests.gateway.flows.house import CLIENT
from tests.simulation.running import workplace

WORKERS = 2
FOUND_MAX = 20
"""One mistake breaks many images; the first ones are enough to find it."""


class Verdict(NamedTuple):
    """The different images that were opened, how many of each kind, and what was found wrong."""

    images: frozenset[bytes]
    policies: Counter[str]
    found: tuple[str, ...]


def problems(folder: Path, image: Image) -> Iterator[str]:
    """Open the image as the gateway would at its next start, and yield all that was promised and does not hold."""
    try:
        CredentialKey.load_or_create(folder)
        yield from _directory_problems(folder, image)
        # The gateway opens first: whoever looks at a journal from outside must not be what mends it.
        journal = Journal.open(folder / "journal.db")
    except StorageUnavailable as error:
        yield f"it does not open: {error}"
        return
    try:
        yield from _journal_problems(journal, image)
    finally:
        journal.close()
    verdict = audit.verify(folder / "journal.db")
    if verdict.bad_seq is not None or verdict.rows != journal.last_seq:
        yield f"the chain is broken: {verdict}"


def _directory_problems(folder: Path, image: Image) -> Iterator[str]:
    directory = Directory(folder / DIRECTORY_FILE)
    directory.reload()
    if image.told and not directory.loaded:
        yield "the directory is gone"
    directory.close()


def _journal_problems(journal: Journal, image: Image) -> Iterator[str]:
    recorder = Recorder(VenueState(ZONES), journal, lambda: START_MS, Uuid7(RandomPool(bytes).take))
    recorder.restore()
    bodies = {row.seq: row.body for row in journal.read(0, 1_000_000)}
    for told in image.told:
        if bodies.get(told.seq) != told.body:
            yield f"event {told.seq} was acknowledged and is not there"
    answers = {told.request: told.status for told in image.told if told.request}
    for request, status in answers.items():
        stored = recorder.answered(CLIENT, request)
        # What came after the last word that was told may be on disk too.
        if stored is None or status not in ("accepted", stored.answer.status):
            yield f"request {request} was answered {status} and its answer is {stored}"
    ledger = recorder.state.ledger
    if ledger.imbalance_minor:
        yield f"{ledger.imbalance_minor} minor units were made or lost"
    if held := ledger.held_minor() - sum(account.held_minor for account in ledger.accounts.values()):
        yield f"{held} minor units are held for nobody"
    if journal.cursor("feed") > journal.last_seq or journal.fold_seq > journal.last_seq:
        yield f"a reader is ahead of the journal, which ends at {journal.last_seq}"


def judge(trace: Path, seed: int, rounds: int, part: int, parts: int, small: bool) -> Verdict:
    """Judge one part of all images of a trace, in this process."""
    if small:
        make_small()
    with workplace() as folder:
        return asyncio.run(judge_images(folder, cuts(trace, seed, rounds, part, parts)))


async def judge_images(folder: Path, images: Iterator[Image]) -> Verdict:
    """Judge images, each of which is put into `folder`."""
    policies: Counter[str] = Counter()
    different: set[bytes] = set()
    found: list[str] = []
    for image in images:
        if (digest := _digest(image)) in different:
            continue
        different.add(digest)
        policies[image.policy] += 1
        put(folder, image)
        wrong = list(problems(folder, image))
        found += [f"cut at {image.point}, {image.policy}: {one}" for one in wrong[:2]]
        if len(found) >= FOUND_MAX:
            break
    return Verdict(frozenset(different), policies, tuple(found))


def _digest(image: Image) -> bytes:
    """Name what was left and what had been promised: the same files under more promises are another case."""
    digest = hashlib.blake2b(b"%d " % len(image.told), digest_size=16)
    for path, content in sorted(image.files.items()):
        digest.update(b"%s %d " % (path.encode(), len(content)) + content)
    return digest.digest()


def put(folder: Path, image: Image) -> None:
    """Put the image where it can be opened."""
    for old in folder.iterdir():
        old.unlink()
    for path, content in image.files.items():
        target = folder / path
        target.write_bytes(content)
        target.chmod(0o600)


def judge_all(trace: Path, seed: int, rounds: int, *, small: bool = True) -> Verdict:
    """Judge all images of a trace, on two cores."""
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        parts = [pool.submit(judge, trace, seed, rounds, part, WORKERS, small) for part in range(WORKERS)]
        verdicts = [part.result() for part in parts]
    return Verdict(
        frozenset().union(*(one.images for one in verdicts)),
        sum((one.policies for one in verdicts), Counter()),
        tuple(found for one in verdicts for found in one.found),
    )

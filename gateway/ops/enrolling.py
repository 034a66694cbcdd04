"""`venue-gateway enroll URL --code CODE`: this gateway becomes known upstream as this venue, by a key of its own."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import msgspec

from gateway import __version__
from gateway.config.schema import Configuration
from gateway.config.upstream import Endpoint, url_fault
from gateway.domain.orders import KeyGiven
from gateway.upstream.contract import Enrolment
from gateway.upstream.fleet import enrol
from gateway.upstream.http import Client
from gateway.upstream.identity import Identity, NotEnrolled, Trust
from gateway.upstream.sinks import SinkUnavailable

CODE_MAX = 200


class EnrolRefused(Exception):
    """The gateway is known as before; the message says why and what to do."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Where to enrol, and with what. With `replace` an identity that is there is given up first."""

    url: str
    code: str
    ca_file: str | None = None
    replace: bool = False


class Done(msgspec.Struct, frozen=True):
    """Where the files are, until when the certificate holds, and which keys of upstream are pinned."""

    folder: Path
    until: datetime
    keys: tuple[KeyGiven, ...]
    key_is_apart: bool = False


def enroll(configuration: Configuration, wanted: Wanted) -> Done:
    """Make a key, have upstream sign it, and pin upstream's keys. Raises EnrolRefused."""
    if fault := url_fault(wanted.url):
        raise EnrolRefused(f"URL: {fault}")
    if not wanted.code or len(wanted.code) > CODE_MAX or not wanted.code.isprintable():
        raise EnrolRefused("the code is what upstream shows for this venue, once")
    identity = Identity(configuration.state_dir)
    if identity.enrolled and not wanted.replace:
        raise EnrolRefused(f"this gateway is enrolled already ({identity.folder}); say --replace to give that up")
    venue = configuration.venue.id
    try:
        fresh = identity.draft()
        fresh.make_key()
        done = asyncio.run(_enrol(fresh, venue, wanted))
        # Only now is the one before given up, and its key with it.
        identity.become(fresh)
    except (SinkUnavailable, NotEnrolled) as error:
        raise EnrolRefused(str(error)) from error
    except OSError as error:
        raise EnrolRefused(f"{error.filename or identity.folder}: {error.strerror or error}") from error
    return msgspec.structs.replace(done, folder=identity.folder, key_is_apart=identity.key_is_apart)


async def _enrol(identity: Identity, venue: str, wanted: Wanted) -> Done:
    since_ms = 0

    def heard(at_ms: int, uncertain_ms: int) -> None:
        nonlocal since_ms
        # By upstream's own clock, because it is by that that orders are issued.
        since_ms = at_ms - uncertain_ms

    client = Client(Endpoint(url=wanted.url, ca_file=wanted.ca_file), venue, heard)
    try:
        asked = Enrolment(wanted.code, identity.request_pem(venue), __version__)
        got = await enrol(client, asked)
    finally:
        await client.close()
    until = identity.take_certificate(got.certificate, venue)
    identity.pin(Trust(wanted.url, venue, tuple(got.keys), since_ms))
    return Done(identity.folder, until, tuple(got.keys))

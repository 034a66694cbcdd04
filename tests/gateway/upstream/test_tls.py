"""Certificates that are not right are refused, each with a sentence a technician can act on."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.upstream.sinks import SinkUnavailable, Taken
from simulators.authority import FAULTS, Authority
from simulators.upstream import Upstream
from tests.gateway.upstream.served import https, ready_folder, venue


@asynccontextmanager
async def serving(folder: Path, tls: ssl.SSLContext) -> AsyncIterator[str]:
    upstream = Upstream(ready_folder(folder))
    port = await upstream.start(0, tls)
    try:
        yield f"https://127.0.0.1:{port}"
    finally:
        await upstream.stop()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def deliver(folder: Path, tls: ssl.SSLContext, **options: str) -> object:
    async with venue(folder / "venue", 3) as made, serving(folder / "upstream", tls) as url:
        pack = await made.outbox.pack(0)
        assert pack is not None
        sink = https(url, **options)
        try:
            return await sink.deliver(pack)
        finally:
            await sink.close()


async def test_a_right_certificate_is_taken(tmp_path: Path, authority: Authority):
    assert await deliver(tmp_path, authority.server(), ca_file=str(authority.file)) == Taken()


WRONG: dict[str, str] = {
    "expired": (
        "the certificate of 127.0.0.1 has expired; have it renewed there, and look whether the clock is right here"
    ),
    "not_yet": "the certificate of 127.0.0.1 does not count yet; look whether the clock is right here",
    "self_signed": (
        "the certificate of 127.0.0.1 is signed by itself; "
        "if it is the right one, name its authority's file in `ca_file`"
    ),
    "wrong_host": (
        "the certificate of 127.0.0.1 is for another host; "
        "write the name that stands in it into `url`, or have it made anew"
    ),
}


def test_every_wrong_certificate_of_the_reference_has_its_sentence():
    assert set(WRONG) == set(FAULTS)


@pytest.mark.parametrize("wrong", WRONG)
async def test_a_wrong_certificate_is_refused_in_words(tmp_path: Path, authority: Authority, wrong: str):
    with pytest.raises(SinkUnavailable) as refused:
        await deliver(tmp_path, authority.server(wrong), ca_file=str(authority.file))
    assert str(refused.value) == WRONG[wrong]


async def test_an_authority_that_nobody_knows_is_refused_in_words(tmp_path: Path, authority: Authority):
    with pytest.raises(SinkUnavailable) as refused:
        await deliver(tmp_path, authority.server())
    assert str(refused.value) == (
        "nobody here knows who signed the certificate of 127.0.0.1; name that authority's file in `ca_file`"
    )


async def test_a_ca_file_that_is_none_is_said_so(tmp_path: Path, authority: Authority):
    (tmp_path / "none.pem").write_text("nothing")
    with pytest.raises(SinkUnavailable, match=r"none\.pem cannot be used as `ca_file`"):
        await deliver(tmp_path, authority.server(), ca_file=str(tmp_path / "none.pem"))


async def test_plain_http_behind_https_is_said_so(tmp_path: Path):
    upstream = Upstream(ready_folder(tmp_path / "upstream"))
    port = await upstream.start(0)
    async with venue(tmp_path / "venue", 1) as made:
        pack = await made.outbox.pack(0)
        assert pack is not None
        sink = https(f"https://127.0.0.1:{port}")
        with pytest.raises(SinkUnavailable, match="is there an https server on this port"):
            await sink.deliver(pack)
        await sink.close()
    await upstream.stop()

"""Fetches a snapshot of the directory: streamed to a file, resumed where it broke off, and checked as a whole."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from base64 import b64decode
from pathlib import Path

import aiohttp
import msgspec
import structlog

from gateway.store.errors import from_os
from gateway.upstream.contract import SNAPSHOT
from gateway.upstream.http import Client
from gateway.upstream.seal import HEADER, Unsealed
from gateway.upstream.sinks import WHY_MAX, SinkUnavailable

log = structlog.get_logger(__name__)

DOWNLOAD_FILE = "directory.download"
SNAPSHOT_BYTES_MAX = 4 << 30
DISK_KEPT_BYTES = 64 << 20
PIECE_BYTES = 256 << 10
REST_S = 0.003
"""Between two pieces taps get their turn at disk and core; 70 MB a second are more than a venue's line brings."""
PROGRESS_EVERY_S = 5.0
CURSOR_MAX = 2**53


class DirectoryRefused(Exception):
    """What upstream sent is not taken, and why; the directory in force stays."""

    def __init__(self, why: str) -> None:
        super().__init__(why[:WHY_MAX])


class Meta(msgspec.Struct, frozen=True):
    """What upstream says of a snapshot. `etag` tells it from any other, `digest` is that of the whole content."""

    etag: str
    cursor: int
    digest: str


class Download:
    """The snapshot in the making, in the state folder. `got_bytes` of `all_bytes` are there."""

    def __init__(self, client: Client, state_dir: Path) -> None:
        self._client = client
        self.path = state_dir / DOWNLOAD_FILE
        self._meta_path = state_dir / f"{DOWNLOAD_FILE}.json"
        self.got_bytes = 0
        self.all_bytes = 0
        self.sealed_ms: int | None = None
        """When upstream sealed what was fetched last; None where nothing is sealed."""

    async def fetch(self) -> Meta:
        """Return what is known of the snapshot once all of it is in `path` and is what upstream meant.

        Raises SinkUnavailable when it broke off, to go on with it later, and DirectoryRefused.
        """
        known = await asyncio.to_thread(self._known)
        self.got_bytes = await asyncio.to_thread(_size, self.path) if known is not None else 0
        headers = {"Accept": "application/x-ndjson", "Accept-Encoding": "identity"}
        if known is not None and self.got_bytes:
            headers |= {"Range": f"bytes={self.got_bytes}-", "If-Range": known.etag}
        async with self._client.open("GET", SNAPSHOT, headers=headers, answer_s=None) as answer:
            if answer.status == 416:
                await asyncio.to_thread(self.forget)
                raise SinkUnavailable("upstream has another snapshot by now; beginning anew")
            if answer.status not in {200, 206}:
                raise SinkUnavailable(f"upstream answers {answer.status} for the snapshot")
            meta = _meta(answer)
            self.sealed_ms = self._check_seal(meta, answer)
            if answer.status == 200 or meta != known:
                self.got_bytes = 0
                await asyncio.to_thread(self._begin, meta)
            await self._receive(answer)
        await self._check(meta)
        return meta

    def forget(self) -> None:
        """Remove what was fetched."""
        self.path.unlink(missing_ok=True)
        self._meta_path.unlink(missing_ok=True)

    def _check_seal(self, meta: Meta, answer: aiohttp.ClientResponse) -> int | None:
        seal = self._client.seal
        if seal is None:
            return None
        try:
            return seal.check("directory.snapshot", meta.cursor, sha256_of(meta.digest), answer.headers.get(HEADER))
        except Unsealed as error:
            raise DirectoryRefused(str(error)) from error

    async def _receive(self, answer: aiohttp.ClientResponse) -> None:
        self.all_bytes = self.got_bytes + (answer.content_length or 0)
        await asyncio.to_thread(self._check_room, answer.content_length or 0)
        told_s = time.monotonic()
        log.info("directory_download", bytes=self.got_bytes, of=self.all_bytes)
        async for piece in answer.content.iter_chunked(PIECE_BYTES):
            await asyncio.to_thread(self._write, piece)
            self.got_bytes += len(piece)
            if self.got_bytes > SNAPSHOT_BYTES_MAX:
                await asyncio.to_thread(self.forget)
                raise DirectoryRefused(f"the snapshot is larger than {SNAPSHOT_BYTES_MAX} bytes")
            if time.monotonic() - told_s > PROGRESS_EVERY_S:
                told_s = time.monotonic()
                log.info("directory_download", bytes=self.got_bytes, of=self.all_bytes)
            await asyncio.sleep(REST_S)

    def _known(self) -> Meta | None:
        try:
            return msgspec.json.decode(self._meta_path.read_bytes(), type=Meta)
        except (OSError, ValueError, RecursionError):
            return None

    def _begin(self, meta: Meta) -> None:
        self.path.write_bytes(b"")
        self.path.chmod(0o600)
        self._meta_path.write_bytes(msgspec.json.encode(meta))

    def _check_room(self, more_bytes: int) -> None:
        """Refuse what would leave the journal no room: a venue lives on an old directory, and not without a disk."""
        disk = os.statvfs(self.path.parent)
        room_bytes = disk.f_bavail * disk.f_frsize
        if room_bytes - more_bytes < DISK_KEPT_BYTES:
            self.forget()
            message = f"the snapshot has no room: {more_bytes} bytes are to come, and the disk has {room_bytes}"
            raise DirectoryRefused(f"{message}, of which {DISK_KEPT_BYTES} are kept for the journal; make room there")

    def _write(self, piece: bytes) -> None:
        try:
            with self.path.open("ab") as file:
                file.write(piece)
        except OSError as error:
            # It must not be taken for a failure of the network.
            raise from_os(error, self.path) from error
        self._check_room(0)

    async def _check(self, meta: Meta) -> None:
        found = hashlib.sha256()
        with await asyncio.to_thread(self.path.open, "rb") as file:
            while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                await asyncio.to_thread(found.update, piece)
                await asyncio.sleep(REST_S)
        if found.digest() != sha256_of(meta.digest):
            await asyncio.to_thread(self.forget)
            raise DirectoryRefused("the snapshot is not what upstream meant: its digest does not fit")


def sha256_of(field: str | None) -> bytes:
    """Return the SHA-256 of a digest field (RFC 9530). Raises DirectoryRefused without one."""
    for part in (field or "").split(","):
        name, _, value = part.strip().partition("=")
        if name == "sha-256" and value.startswith(":") and value.endswith(":"):
            try:
                return b64decode(value[1:-1], validate=True)
            except ValueError:
                break
    raise DirectoryRefused("upstream sends no SHA-256 of the content, so nobody can say whether it is whole")


def _meta(answer: aiohttp.ClientResponse) -> Meta:
    cursor, etag = answer.headers.get("Directory-Cursor", ""), answer.headers.get("ETag", "")
    digest = answer.headers.get("Repr-Digest", "")
    sha256_of(digest)
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 16 and 0 < int(cursor) <= CURSOR_MAX):
        raise DirectoryRefused("the snapshot has no Directory-Cursor, a whole number from 1")
    if not etag.startswith('"'):
        raise DirectoryRefused("the snapshot has no strong ETag, so it could not be resumed")
    return Meta(etag, int(cursor), digest)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

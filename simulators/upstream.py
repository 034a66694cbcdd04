"""The reference upstream: implements the contract of docs/upstream.md, and fails in every way that it is told to.

Run it as `python -m simulators.upstream --port 8443 --folder FOLDER`; with `--certificate` and `--private-key` it
speaks TLS. What it should do besides its work is posted to `/control/…`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import time
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from simulators import process
from simulators.allowances import Treasury
from simulators.authority import FAULTS
from simulators.upstream_directory import DirectoryOfAll, Gone, digest
from simulators.upstream_events import EventStore, Missing, Refused
from simulators.upstream_findings import FindingsOfAll
from simulators.upstream_fleet import FleetOfAll, NotKnown

BODY_BYTES_MAX = 16 << 20
WAIT_S_MAX = 60.0
PIECE_BYTES = 64 << 10
MS_PER_S = 1000


class Faults(msgspec.Struct):
    """What goes wrong with the next `times` requests whose path contains `path`; all of them when it is negative."""

    path: str = "/v1/"
    times: int = -1
    slow_s: float = 0.0
    status: int = 0
    retry_after_s: int = 0
    cut_after_bytes: int | None = None
    """Break the connection after so much of the answer; the work itself was done."""
    refuse: bool = False
    """Break the connection before anything is read."""
    twice: bool = False
    """Answer with the changes that were sent before."""
    reordered: bool = False
    """Leave a batch of changes out, so that the next one does not follow."""
    tampered: bool = False
    """Change a byte on the way, as someone in between would."""
    unsigned: bool = False
    """Leave the signature out."""
    for_other: bool = False
    """Sign what is for another venue."""
    sealed_ago_s: float = 0.0
    """Sign as it was done so long ago: what somebody recorded then, or a clock that is wrong."""


_FAULT: ContextVar[Faults] = ContextVar("fault")
"""The fault of the request at hand."""


class Upstream:
    """One upstream, for any number of venues that all see the same directory."""

    def __init__(self, folder: Path, token: str = "") -> None:
        """Begin with what a former run left in `folder`."""
        self.events = EventStore(folder / "events.ndjson")
        self.directory = DirectoryOfAll()
        self.treasury = Treasury({})
        self.findings = FindingsOfAll(self.directory.single_use)
        self.findings.saw(self.events.lines)
        self.events.on_new = self.findings.saw
        self.fleet = FleetOfAll(folder)
        self.faults: list[Faults] = []
        self.requests: list[str] = []
        self.token = token
        self._sent: dict[str, Any] | None = None
        self._runner: web.AppRunner | None = None

    async def start(self, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Serve on this port of the loopback, or any when it is 0; returns it."""
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[self._around])
        root = "/v1/venues/{venue}"
        app.add_routes(
            [
                web.post(f"{root}/events", self._take_events),
                web.get(f"{root}/directory/snapshot", self._give_snapshot),
                web.get(f"{root}/directory/changes", self._give_changes),
                web.post(f"{root}/allowances", self._take_allowances),
                web.get(f"{root}/findings", self._give_findings),
                web.post(f"{root}/enrolment", self._enrol),
                web.post(f"{root}/enrolment/renewal", self._renew),
                web.get(f"{root}/orders", self._give_orders),
                web.put(f"{root}/diagnostics/{{order}}", self._take_bundle),
                web.post("/control/{what}", self._control),
                web.get("/control/events", self._events_so_far),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=tls, reuse_address=True)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self.events.close()

    # Faults.

    @web.middleware
    async def _around(self, request: web.Request, handler: Any) -> web.StreamResponse:  # noqa: ANN401
        if request.path.startswith("/control/"):
            answer: web.StreamResponse = await handler(request)
            return answer
        self.requests.append(f"{request.method} {request.path_qs}")
        fault = self._fault(request.path)
        if fault.refuse:
            _break(request)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"why": "who are you?"}, status=401)
        if not self._is_known(request):
            return web.json_response({"why": "this venue is enrolled; show its certificate"}, status=403)
        if fault.status:
            headers = {"Retry-After": str(fault.retry_after_s)} if fault.retry_after_s else {}
            return web.json_response({"why": "told to"}, status=fault.status, headers=headers)
        await asyncio.sleep(fault.slow_s)
        _FAULT.set(fault)
        answer = await handler(request)
        if fault.cut_after_bytes is not None and isinstance(answer, web.Response):
            await _send_part(request, answer, fault.cut_after_bytes)
        return answer

    def _fault(self, path: str) -> Faults:
        found = next((fault for fault in self.faults if fault.times and fault.path in path), None)
        if found is None:
            return Faults()
        found.times -= found.times > 0
        return found

    # The contract.

    async def _take_events(self, request: web.Request) -> web.Response:
        query = request.query
        try:
            after, through = int(query["after"]), int(query["through"])
            through = self.events.take(
                await request.read(), query["source"], after, through, gap=query.get("gap") == "true"
            )
        except (KeyError, ValueError):
            return web.json_response({"why": "it takes source, after and through"}, status=400)
        except Missing as missing:
            return web.json_response({"through_seq": missing.through_seq}, status=409)
        except Refused as refused:
            return web.json_response({"why": str(refused), "id": refused.event_id}, status=422)
        return web.json_response({"through_seq": through})

    async def _give_snapshot(self, request: web.Request) -> web.StreamResponse:
        snapshot = self.directory.snapshot()
        fault = _FAULT.get()
        start = 0
        if request.headers.get("If-Range") == snapshot.etag:
            start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        content = _changed(snapshot.content) if fault.tampered else snapshot.content
        headers = {
            "ETag": snapshot.etag,
            "Directory-Cursor": str(snapshot.cursor),
            "Repr-Digest": digest(snapshot.content),
            "Content-Length": str(len(content) - start),
            **self._seal(request, "directory.snapshot", snapshot.cursor, snapshot.content),
        }
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        answer = web.StreamResponse(status=206 if start else 200, headers=headers)
        answer.content_type = "application/x-ndjson"
        await answer.prepare(request)
        end = len(content) if fault.cut_after_bytes is None else min(len(content), start + fault.cut_after_bytes)
        for place in range(start, end, PIECE_BYTES):
            await answer.write(content[place : min(end, place + PIECE_BYTES)])
        if end < len(content):
            _break(request)
        await answer.write_eof()
        return answer

    async def _give_changes(self, request: web.Request) -> web.Response:
        try:
            after, wait_s = _polled(request)
        except (KeyError, ValueError):
            return web.json_response({"why": "it takes after and wait_s"}, status=400)
        try:
            changes = await self.directory.since(after, wait_s)
        except Gone:
            return web.json_response({"why": "these changes are no longer known"}, status=410)
        if changes is None:
            return web.Response(status=204, headers=self._seal(request, "directory.changes", after, b""))
        fault = _FAULT.get()
        if fault.twice and self._sent is not None:
            changes = self._sent
        if fault.reordered:
            changes = {**changes, "after": after + 1, "cursor": changes["cursor"] + 1}
        self._sent = changes
        content = json.dumps(changes).encode()
        seal = self._seal(request, "directory.changes", changes["cursor"], content)
        headers = {"Content-Digest": digest(content), **seal}
        body = _changed(content) if fault.tampered else content
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def _take_allowances(self, request: web.Request) -> web.Response:
        try:
            statements = json.loads(await request.read())["statements"]
            now_ms = time.time_ns() // 1_000_000
            grants = [self.treasury.heard(statement, now_ms) for statement in statements]
        except (KeyError, TypeError, ValueError):
            return web.json_response({"why": "it takes statements"}, status=400)
        content = json.dumps({"grants": grants}).encode()
        headers = self._seal(request, "allowances", 0, content)
        return web.Response(body=content, content_type="application/json", headers=headers)

    async def _give_findings(self, request: web.Request) -> web.Response:
        try:
            after, wait_s = _polled(request)
        except (KeyError, ValueError):
            return web.json_response({"why": "it takes after and wait_s"}, status=400)
        found = await self.findings.since(request.match_info["venue"], after, wait_s)
        if found is None:
            return web.Response(status=204)
        content = json.dumps(found).encode()
        headers = self._seal(request, "findings", found["cursor"], content)
        return web.Response(body=content, content_type="application/json", headers=headers)

    # The fleet.

    def sealed_changes(self, venue: str, changes: dict[str, Any], ago_s: float = 0.0) -> tuple[bytes, dict[str, str]]:
        """Return changes as they go to a venue by a stream: a message's content, and its headers."""
        content = json.dumps(changes).encode()
        seal = self.fleet.seal(venue, "directory.changes", changes["cursor"], sha256(content).hexdigest(), ago_s)
        return content, {"Content-Digest": digest(content), "Upstream-Signature": seal}

    def _seal(self, request: web.Request, kind: str, version: int, content: bytes) -> dict[str, str]:
        fault = _FAULT.get()
        if fault.unsigned:
            return {}
        venue = "another" if fault.for_other else request.match_info["venue"]
        digest_hex = sha256(content).hexdigest()
        return {"Upstream-Signature": self.fleet.seal(venue, kind, version, digest_hex, fault.sealed_ago_s)}

    def _is_known(self, request: web.Request) -> bool:
        """Return whether a venue has shown its certificate, where it must; plain http is for this machine only."""
        venue = request.match_info.get("venue", "")
        transport = request.transport
        if request.path.endswith("/enrolment") or request.scheme != "https" or venue not in self.fleet.enrolled:
            return True
        shown = transport.get_extra_info("peercert") if transport is not None else None
        names = [value for part in (shown or {}).get("subject", ()) for name, value in part if name == "commonName"]
        return names == [venue]

    async def _enrol(self, request: web.Request) -> web.Response:
        try:
            asked = await request.json()
            made = self.fleet.enrol(request.match_info["venue"], str(asked["code"]), str(asked["request"]))
        except (KeyError, TypeError, ValueError):
            return web.json_response({"why": "it takes code and request"}, status=400)
        except NotKnown as error:
            return web.json_response({"why": str(error)}, status=422)
        return web.json_response(made)

    async def _renew(self, request: web.Request) -> web.Response:
        try:
            made = self.fleet.renew(request.match_info["venue"], str((await request.json())["request"]))
        except (KeyError, TypeError, ValueError):
            return web.json_response({"why": "it takes request"}, status=400)
        except NotKnown as error:
            return web.json_response({"why": str(error)}, status=422)
        return web.json_response(made)

    async def _give_orders(self, request: web.Request) -> web.Response:
        try:
            after, wait_s = _polled(request)
        except (KeyError, ValueError):
            return web.json_response({"why": "it takes after and wait_s"}, status=400)
        given = await self.fleet.since(request.match_info["venue"], after, wait_s)
        return web.Response(status=204) if given is None else web.json_response(given)

    async def _take_bundle(self, request: web.Request) -> web.Response:
        self.fleet.bundles[request.match_info["order"]] = await request.read()
        return web.Response(status=204)

    # What a test tells it.

    async def _control(self, request: web.Request) -> web.Response:
        told = await request.json()
        match request.match_info["what"]:
            case "faults":
                self.faults = msgspec.convert(told, list[Faults])
            case "directory":
                self.directory.set(told)
            case "changes":
                self.directory.change(told)
            case "poison":
                self.events.poison = frozenset(told)
            case "findings":
                self.findings.add(told["venue"], told["finding"])
            case "wallets":
                self.treasury.free_minor.update(told)
            case "invite":
                return web.json_response({"code": self.fleet.invite(told)})
            case "order":
                return web.json_response(self.fleet.order(told.pop("venue"), told.pop("kind"), **told))
            case "bundles":
                return web.json_response({name: len(content) for name, content in self.fleet.bundles.items()})
            case _:
                return web.Response(status=404)
        return web.Response(status=204)

    async def _events_so_far(self, _: web.Request) -> web.Response:
        return web.Response(body=b"".join(line + b"\n" for line in self.events.lines))


def _polled(request: web.Request) -> tuple[int, float]:
    """Return after what, and how long to wait. Raises KeyError and ValueError."""
    after, wait_s = int(request.query["after"]), float(request.query.get("wait_s", "0"))
    if not (after >= 0 and wait_s >= 0):
        raise ValueError(after)
    return after, min(WAIT_S_MAX, wait_s)


def _break(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError


async def _send_part(request: web.Request, answer: web.Response, count: int) -> None:
    body = answer.body if isinstance(answer.body, bytes) else b""
    part = web.StreamResponse(status=answer.status, headers={"Content-Length": str(len(body))})
    await part.prepare(request)
    await part.write(body[:count])
    _break(request)


def _changed(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def main() -> None:
    """Run until told to end."""
    parser = argparse.ArgumentParser(prog="python -m simulators.upstream", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True, help="what it has been told stays there")
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--private-key", type=Path)
    parser.add_argument("--tls", choices=("right", *FAULTS), help="with a certificate of its own, right or wrong")
    options = parser.parse_args()

    async def serve() -> None:
        token = options.token_file.read_text().strip() if options.token_file else ""
        upstream = Upstream(options.folder, token)
        tls = None
        if options.tls:
            tls = upstream.fleet.authority.server("" if options.tls == "right" else options.tls)
        elif options.certificate:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(options.certificate, options.private_key)
        port = await upstream.start(options.port, tls)
        print(json.dumps({"ready": f"http{'s' if tls else ''}://127.0.0.1:{port}"}), flush=True)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await upstream.stop()

    process.run(serve)


if __name__ == "__main__":
    main()

"""An upstream that takes everything and keeps nothing: `python -m benchmarks.counting ROWS DIGEST COUNT_FILE`.

Each line of its input says what it does from then on: with `events` it answers posts of events, with `snapshot` it
sends the directory, and with neither it withholds both, so that whoever waits for it has nothing to do. It takes only
the processor time that nobody else wants, because a real one is on another machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from aiohttp import web

PIECE_BYTES = 256 << 10
ROOT = "/v1/venues/bench"
POLL_S = 20.0


class Counting:
    """The upstream. How far the events go stands in `counted`."""

    def __init__(self, rows: Path, digest: str, counted: Path) -> None:
        """Serve the snapshot `rows`, whose SHA-256 is `digest` in base64."""
        self._rows = rows
        self._digest = digest
        self._counted = counted
        self._through = 0
        self._gives = {"events": asyncio.Event(), "snapshot": asyncio.Event()}

    async def obey(self) -> None:
        """Do what the lines of the input say, until it ends."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            for name, gives in self._gives.items():
                if name in line.decode().split():
                    gives.set()
                else:
                    gives.clear()
            print(flush=True)

    async def events(self, request: web.Request) -> web.Response:
        """Take a batch, and say so when it may."""
        await request.read()
        await self._gives["events"].wait()
        self._through = max(self._through, int(request.query["through"]))
        self._counted.write_text(str(self._through))
        return web.json_response({"through_seq": self._through})

    async def snapshot(self, request: web.Request) -> web.StreamResponse:
        """Send the directory, piece by piece while it may."""
        headers = {"ETag": '"rows"', "Directory-Cursor": "1", "Repr-Digest": f"sha-256=:{self._digest}:"}
        answer = web.StreamResponse(headers=headers)
        answer.content_length = self._rows.stat().st_size
        await self._gives["snapshot"].wait()
        await answer.prepare(request)
        with self._rows.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                await self._gives["snapshot"].wait()
                await answer.write(piece)
        await answer.write_eof()
        return answer

    async def changes(self, _: web.Request) -> web.Response:
        """Tell of none."""
        await asyncio.sleep(POLL_S)
        return web.Response(status=204)


async def serve(upstream: Counting) -> None:
    """Serve until the input ends."""
    app = web.Application(client_max_size=16 << 20)
    app.add_routes(
        [
            web.post(f"{ROOT}/events", upstream.events),
            web.get(f"{ROOT}/directory/snapshot", upstream.snapshot),
            web.get(f"{ROOT}/directory/changes", upstream.changes),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"ready": f"http://127.0.0.1:{runner.addresses[0][1]}"}), flush=True)
    await upstream.obey()


if __name__ == "__main__":
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    rows, digest, counted = sys.argv[1:]

    async def _main() -> None:
        await serve(Counting(Path(rows), digest, Path(counted)))

    asyncio.run(_main())

"""An upstream that takes everything and keeps nothing: `python -m benchmarks.counting ROWS DIGEST COUNT_FILE`.

It runs with the lowest priority there is, because a real one is on another machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from aiohttp import web


async def serve(rows: Path, digest: str, counted: Path) -> None:
    """Serve until ended; how far the events go stands in `counted`."""
    through = 0

    async def events(request: web.Request) -> web.Response:
        nonlocal through
        await request.read()
        through = max(through, int(request.query["through"]))
        counted.write_text(str(through))  # noqa: ASYNC240 - some bytes in memory
        return web.json_response({"through_seq": through})

    async def snapshot(_: web.Request) -> web.StreamResponse:
        headers = {"ETag": '"rows"', "Directory-Cursor": "1", "Repr-Digest": f"sha-256=:{digest}:"}
        return web.FileResponse(rows, headers=headers)

    async def changes(_: web.Request) -> web.Response:
        await asyncio.sleep(20)
        return web.Response(status=204)

    app = web.Application(client_max_size=16 << 20)
    root = "/v1/venues/bench"
    app.add_routes(
        [
            web.post(f"{root}/events", events),
            web.get(f"{root}/directory/snapshot", snapshot),
            web.get(f"{root}/directory/changes", changes),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"ready": f"http://127.0.0.1:{runner.addresses[0][1]}"}), flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    os.nice(19)
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))

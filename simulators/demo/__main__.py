"""Tell the story of a venue with simulated devices, then show it live until Ctrl-C.

It starts a private Mosquitto, the simulated devices and the gateway in a folder of its own, and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import shutil
import signal
import sys
from pathlib import Path

from rich.console import Console

from simulators.demo.acting import pictures
from simulators.demo.live import live
from simulators.demo.processes import StageError
from simulators.demo.stage import Stage
from simulators.demo.story import tell_story
from simulators.demo.telling import PAUSE_S, Teller
from simulators.demo.trying import how_to_try

OK, FAILED, INTERRUPTED = 0, 1, 130


def main() -> int:
    """Run the demonstration and return the exit status: 0 when every step came out as told."""
    options = _parser().parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a check mark gets a question mark, not a stack trace.
        sys.stdout.reconfigure(errors="replace", line_buffering=True)
    console = Console(emoji=False)
    try:
        return asyncio.run(_run(options, console))
    except StageError as error:
        console.print(f"demo: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return FAILED
    except asyncio.CancelledError:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="venue-gateway demo", description=__doc__)
    parser.add_argument(
        "--exit", action="store_true", help="end after the story; status 0 only if all came out as told"
    )
    parser.add_argument("--live", action="store_true", help="skip the story and begin with the live view")
    parser.add_argument("--receipts", type=Path, metavar="DIR", help="keep the receipts there; else they go in the end")
    return parser


async def _run(options: argparse.Namespace, console: Console) -> int:
    _end_on_signals()
    tell = Teller(console, pause_s=PAUSE_S if console.is_terminal and not options.exit else 0.0)
    tell.title("A venue in a box: simulated devices, a real broker, the real gateway.")
    stage = Stage(tell)
    async with stage:
        try:
            if not options.live:
                await tell_story(stage, tell)
                _sum_up(stage, tell, options)
            if not options.exit:
                await _show(stage, console)
        finally:
            if options.receipts is not None:
                _keep(stage, options.receipts)
    if not options.exit:
        tell.note("Everything is stopped, and nothing is left behind.")
    if stage.stop_status:
        tell.broke(f"The gateway ended with status {stage.stop_status} when it was told to stop.")
    return FAILED if tell.failures else OK


def _end_on_signals() -> None:
    """End in order at the first signal; cleaning up is not interrupted by a second one."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    asked = False

    def end() -> None:
        nonlocal asked
        if not asked and task is not None:
            task.cancel()
        asked = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end)


def _sum_up(stage: Stage, tell: Teller, options: argparse.Namespace) -> None:
    tell.note("")
    tell.note("Receipts, as pictures:", "bold")
    for picture in pictures(stage):
        kept = options.receipts / picture.parent.name / picture.name if options.receipts else picture
        tell.note(f"   {kept}")
    if options.exit and options.receipts is None:
        tell.note("   They go with everything else now; `venue-gateway demo --receipts DIR` keeps them.")
    tell.note("")
    if tell.failures:
        told = f"{tell.checks} checks were made, and {tell.failures} times it did not come out as told."
        tell.note(f"{told} The gateway's last words:", "red")
        tell.note(stage.gateway.last_words())
    else:
        tell.note(f"All {tell.checks} checks came out as told, in {tell.elapsed_s:.0f} s.", "bold green")


async def _show(stage: Stage, console: Console) -> None:
    how_to_try(stage, console)
    try:
        await live(stage, console)
    except asyncio.CancelledError:
        # Ctrl-C is how the live view ends, not a failure.
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()


def _keep(stage: Stage, folder: Path) -> None:
    shutil.copytree(stage.receipts, folder, dirs_exist_ok=True)


if __name__ == "__main__":
    sys.exit(main())

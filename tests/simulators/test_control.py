from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

import pytest

from simulators.control import Control, ControlError
from simulators.venue import environment

ROOT = Path(__file__).resolve().parents[2]


async def spawn(*arguments, stdin=asyncio.subprocess.DEVNULL):
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=stdin, stdout=asyncio.subprocess.PIPE, env=environment()
    )


def scanner_arguments(directory):
    return ("-m", "simulators.scanner", "--link", str(directory / "it"), "--control", str(directory / "it.sock"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "truncated"),
        (b'{"do" 1}', "malformed"),
        (b"[]", "Expected `object`"),
        (b'{"do":"fly"}', "a scanner can do: plug, raw, scan, state, unplug, watch"),
        (b'{"do":"scan"}', "missing required field `text`"),
        (b'{"do":"scan","text":7}', "Expected `str`"),
        (b'{"do":"scan","text":"a","colour":1}', "unknown field `colour`"),
        (b'{"do":"raw","hex":"0"}', "pairs of hex digits"),
    ],
)
async def test_a_bad_command_is_refused_with_what_would_be_right(start, line, words):
    scanner = await start("scanner")
    reader, writer = await asyncio.open_unix_connection(scanner.device.control)
    with contextlib.closing(writer):
        writer.write(line + b"\n" + b'{"do":"state"}\n')
        refusal = json.loads(await reader.readline())
        assert refusal["ok"] is False
        assert words in refusal["error"]
        assert json.loads(await reader.readline())["ok"] is True


async def test_a_watch_begins_with_the_present_and_misses_no_change(start):
    scanner = await start("scanner")
    await scanner.control.do("scan", text="before")
    states = scanner.control.watch()
    with contextlib.suppress(StopAsyncIteration):
        first = await anext(states)
        for number in range(5):
            await scanner.control.do("scan", text=str(number))
        later = [await anext(states) for _ in range(5)]
    await states.aclose()
    assert first["scans"] == 1
    assert [state["scans"] for state in later] == [2, 3, 4, 5, 6]
    assert [state["at"] for state in later] == sorted(state["at"] for state in later)


async def test_waiting_for_what_never_comes_ends_with_the_last_state(start):
    scanner = await start("scanner")
    with pytest.raises(ControlError, match=r"not within 0\.05 s; its last state is .*'scans': 0"):
        await scanner.control.until(lambda s: s["scans"] == 1, timeout_s=0.05)


async def test_nobody_at_the_socket_is_said_so(tmp_path):
    with pytest.raises(ControlError, match="no simulator answers"):
        await Control.connect(tmp_path / "none.sock", timeout_s=0.05)


async def test_a_path_longer_than_a_socket_address_works(start, tmp_path):
    long = tmp_path / ("d" * 120)
    long.mkdir()
    process = await spawn(*scanner_arguments(long))
    assert json.loads(await process.stdout.readline())["ready"]
    async with await Control.connect(long / "it.sock") as control:
        assert (await control.state())["device"] == "scanner"
    process.terminate()
    await process.communicate()


async def test_sigterm_removes_link_and_socket(tmp_path):
    process = await spawn(*scanner_arguments(tmp_path))
    ready = json.loads(await process.stdout.readline())
    assert (ready["link"], ready["control"], ready["pid"]) == (
        str(tmp_path / "it"), str(tmp_path / "it.sock"), process.pid,
    )  # fmt: skip
    watched = await Control.connect(tmp_path / "it.sock")
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        await process.communicate()
    await watched.close()
    assert (process.returncode, list(tmp_path.iterdir())) == (0, [])


async def test_the_end_of_standard_input_ends_it_when_asked(tmp_path):
    process = await spawn(*scanner_arguments(tmp_path), "--exit-with-stdin", stdin=asyncio.subprocess.PIPE)
    await process.stdout.readline()
    process.stdin.close()
    async with asyncio.timeout(10):
        await process.communicate()
    assert (process.returncode, list(tmp_path.iterdir())) == (0, [])


async def test_it_does_not_outlive_its_parent(tmp_path):
    program = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]])"
    parent = await spawn("-c", program, *scanner_arguments(tmp_path))
    await parent.stdout.readline()
    parent.kill()
    # The simulator has inherited standard output, so its end is the end of both.
    async with asyncio.timeout(10):
        await parent.communicate()
    assert list(tmp_path.iterdir()) == []


async def test_what_a_killed_one_left_behind_is_replaced_and_other_files_are_not(tmp_path):
    killed = await spawn(*scanner_arguments(tmp_path))
    await killed.stdout.readline()
    killed.kill()
    await killed.communicate()
    assert len(list(tmp_path.iterdir())) == 2

    again = await spawn(*scanner_arguments(tmp_path))
    assert json.loads(await again.stdout.readline())["ready"]
    again.terminate()
    await again.communicate()

    (tmp_path / "it").write_text("precious")
    refused = await spawn(*scanner_arguments(tmp_path))
    await refused.communicate()
    assert (refused.returncode, (tmp_path / "it").read_text()) == (1, "precious")

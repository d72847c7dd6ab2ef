"""The example of a fleet, as a user runs it: to its end, and stopped in the middle."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import until

if TYPE_CHECKING:
    from asyncio.subprocess import Process

pytestmark = [pytest.mark.anyio, pytest.mark.real]

ROOT = Path(__file__).parents[2]


async def start(*arguments: str) -> Process:
    """Start the example."""
    command = (sys.executable, "-W", "error", "-m", "examples.fleet", *arguments)
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=PIPE)


def lives(pid: int) -> bool:
    """Tell whether a process exists, other than as a zombie."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Return the processes that a process has started: workers, and whoever ends its database."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(child) for child in text.split()]


def contents(folder: Path) -> list[bytes]:
    """Return what is in the files of a folder."""
    return [path.read_bytes() for path in folder.glob("*.mp4")]


async def test_a_worker_is_killed_and_nothing_is_lost(tmp_path: Path) -> None:
    """Every prompt ends in a file of its own and one task, though a worker was killed; stderr stays empty."""
    said, errors = await (process := await start("--count", "8", "--out", str(tmp_path))).communicate()
    assert (process.returncode, errors) == (0, b"")
    text = said.decode()
    assert "8 of 8 videos" in text and "8 created once, 0 more than once;\n0 lost, " in text
    assert re.search(r"SIGKILL for worker \d+: \d tasks run on without it; \d+ takes its place", text)
    assert [content[4:8] for content in contents(tmp_path)] == [b"ftyp"] * 8


@pytest.mark.skipif(not Path("/proc").exists(), reason="no /proc to look for processes in")
async def test_interrupted_it_leaves_no_process(tmp_path: Path) -> None:
    """After Ctrl-C the workers and the database are gone, and one line says so."""
    process = await start("--out", str(tmp_path))
    assert process.stdout is not None
    pids = list[int]()
    async for line in process.stdout:
        if b"three workers" in line:
            pids = [int(pid) for pid in re.findall(rb"\d+", line.partition(b":")[2])]
        if b".mp4" in line:
            break
    assert len(pids) == 3 and all(map(lives, pids))
    pids += children(process.pid)
    process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert (process.returncode, errors.splitlines()[-1:]) == (1, [b"Stopped. No worker is left."])
    await until(lambda: not any(map(lives, pids)), 20)

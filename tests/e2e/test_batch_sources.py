"""Test batches whose input blocks, in real processes: the rest goes on, and signals end them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kling_async.testing import Emulator
from tests.support import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.anyio, pytest.mark.real]

if sys.platform == "win32":
    pytest.skip("named pipes and signals of POSIX", allow_module_level=True)


class Child:
    """The program of `sourced`, under way."""

    def __init__(self, process: asyncio.subprocess.Process, emu: Emulator) -> None:
        self.process = process
        self.emu = emu

    def say(self, text: str) -> None:
        """Write to the program's standard input, which stays open."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())

    async def line(self) -> str:
        """Return the next line of its output."""
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), 30)).decode().strip()

    async def heard(self) -> None:
        """Wait until the program has told that it heard a signal."""
        assert self.process.stderr is not None
        while b"Send it again" not in (line := await asyncio.wait_for(self.process.stderr.readline(), 30)):
            assert line

    async def end(self) -> tuple[int | None, str]:
        """Return the exit code, and what it wrote to its standard error meanwhile; its input stays open."""
        assert self.process.stderr is not None
        code = await asyncio.wait_for(self.process.wait(), 30)
        return code, (await self.process.stderr.read()).decode()


@asynccontextmanager
async def child(
    kind: str, folder: Path, *, thread: str = "thread", seconds: float = 0.05
) -> AsyncIterator[Child]:
    """Start the program with an emulator whose tasks take ``seconds``."""
    async with Emulator(slots={"video": 5, "image": 9}) as emu:
        emu.set_duration(seconds)
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-W", "error", "-m", "tests.e2e.sourced"]
        process = await asyncio.create_subprocess_exec(
            *(*command, emu.url, str(emu.api_key), kind, str(folder), thread),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            cwd=Path(__file__).parents[2],
        )
        try:
            yield Child(process, emu)
        finally:
            if process.returncode is None:
                process.kill()
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()


@pytest.mark.parametrize("kind", ["stdin", "bytes"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_standard_input_that_stays_open(tmp_path: Path, kind: str, number: signal.Signals) -> None:
    """Each line is made as it comes, while the next one is waited for; one signal ends all in good order."""
    async with child(kind, tmp_path) as program:
        assert await program.line() == "begun"
        for n in range(2):
            program.say(f"no {n}\n")
            assert await program.line() == f"{n} True"
        program.process.send_signal(number)
        await program.heard()
        assert await program.line() == f"stopped {number.name} 0"
        assert await program.end() == (0, "")


async def test_lines_that_are_no_requests_fail_one_by_one(tmp_path: Path) -> None:
    """A file itself as input: each line is a failed outcome, and the end of the file ends the batch."""
    async with child("bare", tmp_path) as program:
        assert await program.line() == "begun"
        for n in range(2):
            program.say(f"no {n}\n")
            assert await program.line() == f"{n} False"
        assert program.process.stdin is not None
        program.process.stdin.close()
        assert await program.line() == "stopped  0"
        assert await program.end() == (0, "")


async def test_a_named_pipe_that_nobody_writes_to(tmp_path: Path) -> None:
    """A source that blocks before its first value is ended by one signal as well."""
    os.mkfifo(tmp_path / "pipe")
    async with child("pipe", tmp_path) as program:
        assert await program.line() == "begun"
        program.process.send_signal(signal.SIGINT)
        await program.heard()
        assert await program.line() == "stopped SIGINT 0"
        assert await program.end() == (0, "")


async def test_the_second_signal_waits_for_no_task(tmp_path: Path) -> None:
    """The first signal waits for the running task, the second does not, though the input blocks."""
    async with child("stdin", tmp_path, seconds=1000) as program:
        assert await program.line() == "begun"
        program.say("slow\n")
        await until(lambda: program.emu.tasks, 30, step=0.01)
        program.process.send_signal(signal.SIGINT)
        await program.heard()
        program.process.send_signal(signal.SIGINT)
        assert await program.line() == "stopped SIGINT 1"
        assert await program.end() == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_second_signal_ends_a_blocked_loop(tmp_path: Path, number: signal.Signals) -> None:
    """An input read in the loop blocks that: nobody hears the first signal, the next one ends the process."""
    async with child("stdin", tmp_path, thread="loop") as program:
        assert await program.line() == "begun"
        for _ in range(2):
            await asyncio.sleep(0.5)  # real: the program's loop must have had the time to hear the first
            program.process.send_signal(number)
        code, said = await program.end()
        assert code == -number
        assert ("KeyboardInterrupt" in said) is (number is signal.SIGINT)


async def test_a_cursor_is_read_in_the_loop_on_request(tmp_path: Path) -> None:
    """A sqlite3 cursor of the main thread is read with source_thread=False, and names that without."""
    async with child("rows", tmp_path, thread="loop") as program:
        lines = [await program.line() for _ in range(4)]
        assert sorted(lines[1:3]) == ["0 True", "1 True"] and lines[3] == "stopped  0"
        assert await program.end() == (0, "")
    async with child("rows", tmp_path) as program:
        code, said = await program.end()
        assert code == 1 and "sqlite3.ProgrammingError" in said and "source_thread=False" in said

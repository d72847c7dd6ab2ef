"""Real worker processes, killed and told to end: every job is created once, and ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fleet.support import film, rows, wait_until
from tests.fleet.working import read, site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kling_async.testing import Emulator

pytestmark = [pytest.mark.real, pytest.mark.anyio]

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """A worker process, and what it logs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log = ""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.log += line.decode()

    async def said(self, text: str, seconds: float = 30.0) -> None:
        """Wait until it has logged something."""
        async with asyncio.timeout(seconds):
            while text not in self.log:
                assert self.process.returncode is None, self.log
                await asyncio.sleep(0.05)

    async def ended(self, seconds: float = 30.0) -> int:
        """Wait for its end; return its exit code."""
        async with asyncio.timeout(seconds):
            await self._reading
            return await self.process.wait()


@contextlib.asynccontextmanager
async def workers(dsn: str, emu: Emulator, number: int, **order: Any) -> AsyncIterator[list[Process]]:
    """Start workers; kill those that are left at the end."""
    told = {"dsn": dsn, "url": emu.url, "key": emu.api_key, "slots": None, "options": {}, **order}
    started: list[Process] = []
    try:
        for _ in range(number):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.fleet.plain_worker", json.dumps(told)),
                cwd=ROOT,
                stderr=asyncio.subprocess.PIPE,
            )
            started.append(Process(process))
        yield started
    finally:
        for each in started:
            if each.process.returncode is None:
                each.process.kill()
            await each.ended()


async def test_a_killed_worker_costs_nothing(dsn: str, tmp_path: Path) -> None:
    """Of two workers one is killed midway: all jobs are created once and have results, soon."""
    async with site(dsn, slots=6, seconds=1.0) as (fleet, emu):
        await fleet.submit([film(f"shot {n}") for n in range(60)], batch="films")
        shared = dsn
        async with workers(dsn, emu, 2, slots=shared) as (first, second):
            reading = asyncio.create_task(read(fleet))
            await wait_until(lambda: len(emu.tasks) >= 15)
            victim = first if "takes jobs" in first.log else second
            victim.process.kill()
            outcomes = await reading
            survivor = second if victim is first else first
            survivor.process.send_signal(signal.SIGTERM)
            assert await survivor.ended() == 0
        assert Counter(outcome.status for outcome in outcomes) == {"succeeded": 60}, survivor.log
        assert len({outcome.record.task_id for outcome in outcomes if outcome.record}) == 60
        assert len(emu.tasks) == 60
        assert emu.ledger.peak("video") <= 6
        assert "of workers that are gone" in survivor.log
        assert await rows(dsn, "SELECT count(*) FROM procrastinate_jobs") == [(0,)]


async def test_signals_drain_a_worker_and_then_end_it(dsn: str) -> None:
    """The first SIGTERM gives back what is not sent; the second one leaves what runs to others."""
    async with site(dsn, slots=2, seconds=30.0) as (fleet, emu):
        await fleet.submit([film(f"shot {n}") for n in range(6)], batch="films")
        async with workers(dsn, emu, 1) as (worker,):
            await wait_until(lambda: len(emu.tasks) == 2)
            await worker.said("takes jobs")
            worker.process.send_signal(signal.SIGTERM)
            await worker.said("drains (SIGTERM): takes nothing new, waits for 2 tasks")
            assert worker.process.returncode is None
            worker.process.send_signal(signal.SIGTERM)
            assert await worker.ended(10.0) == 0
        assert "leaves (SIGTERM); 2 tasks run on, for other workers" in worker.log
        queued = (
            "SELECT queue_name, count(*) FROM procrastinate_jobs WHERE status='todo' GROUP BY 1 ORDER BY 1"
        )
        assert await rows(dsn, queued) == [("kling/begun", 2), ("kling/video", 4)]
        assert len(emu.tasks) == 2

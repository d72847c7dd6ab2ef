"""Rule 19, for real: workers as processes of their own, killed and stopped, on one account."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from kling_async.testing import emulator

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async.testing import Emulator

pytestmark = [pytest.mark.anyio, pytest.mark.real]

SLOTS = 5


class Workers:
    """Worker processes on the account of an emulator, with what they say."""

    def __init__(self, emu: Emulator, place: Path | str) -> None:
        self._emu = emu
        self._slots = place if isinstance(place, str) else f"sqlite://{place / 'slots.db'}"
        self.processes: list[asyncio.subprocess.Process] = []
        self._said: list[asyncio.Task[bytes]] = []

    async def start(
        self, names: list[str], *, begin: float = 0.0, if_exists: str = "error"
    ) -> asyncio.subprocess.Process:
        """Start a worker that runs tasks of these names, all submitted at once when the time has come."""
        order = {
            "url": self._emu.url,
            "key": self._emu.api_key,
            "slots": self._slots,
            "limit": SLOTS,
            "names": names,
            "begin": begin,
            "if_exists": if_exists,
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.orchestrator.ledger.worker", json.dumps(order)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        self.processes.append(process)
        self._said.append(asyncio.create_task(process.stdout.read()))
        return process

    async def said(self) -> list[list[dict[str, Any]]]:
        """Wait for all workers, and return what each has said."""
        said = await asyncio.gather(*self._said)
        await asyncio.gather(*(process.wait() for process in self.processes))
        return [[json.loads(line) for line in lines.splitlines()] for lines in said]

    async def end(self) -> None:
        """Leave no process behind."""
        for process in self.processes:
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
        await self.said()


def names_of(worker: int, count: int) -> list[str]:
    return [f"w{worker}-{number}" for number in range(count)]


def ended(said: list[dict[str, Any]]) -> set[str]:
    return {line["ended"] for line in said if "ended" in line}


def check_account(emu: Emulator, names: list[str]) -> None:
    """Check what the account saw: never above the limit, no refusal, and one task for each name."""
    assert emu.ledger.peak("video") <= SLOTS
    assert Counter(row.code for row in emu.ledger.creates) == {0: len(names)}
    assert sorted(task.external_task_id or "" for task in emu.tasks.values()) == sorted(names)


@pytest.mark.parametrize("seed", range(2))
async def test_killed_and_stopped_workers_lose_nothing(tmp_path: Path, seed: int) -> None:
    """One worker is killed, one is stopped for a while; every name has exactly one task in the end.

    The killed worker's tasks hold their slots until they are seen ended: the account refuses no create.
    Whoever starts its work anew, under the same ids, finds what exists.
    """
    rng = random.Random(seed)
    async with emulator(slots={"video": SLOTS, "image": 9}) as emu:
        emu.set_duration(lambda _: rng.lognormvariate(0, 0.2))
        workers = Workers(emu, tmp_path)
        try:
            begin = time.time() + 1.5
            for number in range(3):
                await workers.start(names_of(number, 8), begin=begin)
            killed, stopped = workers.processes[:2]
            await asyncio.sleep(begin - time.time() + rng.uniform(0.5, 2.5))
            killed.kill()
            os.kill(stopped.pid, signal.SIGSTOP)
            await workers.start(names_of(0, 8), if_exists="attach")
            await asyncio.sleep(rng.uniform(3.0, 7.0))
            os.kill(stopped.pid, signal.SIGCONT)
            said = await asyncio.wait_for(workers.said(), 60)
        finally:
            await workers.end()
        assert [len(ended(lines)) for lines in said[1:]] == [8, 8, 8]
        check_account(emu, [name for number in range(3) for name in names_of(number, 8)])


async def test_nobody_starves_and_one_asks_for_all(tmp_path: Path) -> None:
    """Four workers that queue 40 tasks each are served side by side, with one's questions about tasks."""
    async with emulator(slots={"video": SLOTS, "image": 9}) as emu:
        emu.set_duration(0.3)
        workers = Workers(emu, tmp_path)
        try:
            begin = time.time() + 2.0
            for number in range(4):
                await workers.start(names_of(number, 40), begin=begin)
            said = await asyncio.wait_for(workers.said(), 120)
        finally:
            await workers.end()
        assert [len(ended(lines)) for lines in said] == [40] * 4
        check_account(emu, [name for number in range(4) for name in names_of(number, 40)])
        order = [(task.external_task_id or "").split("-")[0] for task in emu.tasks.values()]
        last = {worker: place for place, worker in enumerate(order)}
        assert min(last.values()) >= 0.9 * 160, last

"""Worker processes of one fleet on the account of an emulator, and what they did to it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

from tests.support import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from kling_async.testing import Emulator

__all__ = ["Crew", "Worker", "check_account", "prompts"]


class Worker:
    """One process, with the lines that it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self._times: dict[str, float] = {}
        self._reader = asyncio.create_task(self._read())

    @property
    def ready(self) -> bool:
        """Whether it has begun to work."""
        return any("ready" in line for line in self.lines)

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(json.loads(line))
            self._times.update(dict.fromkeys(self.lines[-1], asyncio.get_running_loop().time()))

    def seconds(self, first: str, last: str) -> float:
        """Return the time between two of its lines."""
        return self._times[last] - self._times[first]

    async def ended(self) -> int:
        """Wait for its end; return its exit status."""
        await self._reader
        return await self.process.wait()


class Crew:
    """Starts workers of one fleet, and leaves none behind.

    Args:
        emu: Plays the API.
        dsn: The database.
        limit: Slots for videos; None: the workers find out.
    """

    def __init__(self, emu: Emulator, dsn: str, limit: int | None = None) -> None:
        self._emu, self._dsn = emu, dsn
        self._limits = None if limit is None else {"video": limit}
        self.workers: list[Worker] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            if worker.process.returncode is None:
                worker.process.kill()
        await asyncio.gather(*(worker.ended() for worker in self.workers))

    async def start(self, *, dsn: str | None = None, shift: float = 0.0, **options: Any) -> Worker:
        """Start a worker of the fleet.

        Args:
            dsn: Its own way to the database.
            shift: Seconds by which its wall clock is off.
            options: Those of `Fleet.work`.
        """
        return await self._begin({"dsn": dsn or self._dsn, "shift": shift, "options": options})

    async def start_alone(self, prompts: Iterable[str]) -> Worker:
        """Start a process that runs all prompts by itself, with its slots in memory."""
        return await self._begin({"prompts": list(prompts)})

    async def _begin(self, order: Mapping[str, Any]) -> Worker:
        about = {"url": self._emu.url, "key": self._emu.api_key, "limits": self._limits, "polling": {}}
        command = (sys.executable, "-m", "tests.fleet.worker_process", json.dumps({**about, **order}))
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        worker = Worker(process)
        self.workers.append(worker)
        return worker

    async def ready(self, seconds: float = 30.0) -> None:
        """Wait until all workers that live have begun to work."""
        await until(lambda: all(w.ready or w.process.returncode is not None for w in self.workers), seconds)


def prompts(count: int, seconds: float, spread: float = 1.0) -> list[str]:
    """Make prompts whose tasks take so many seconds on the emulator, up to ``spread`` more."""
    steps = [spread * (number * 7 % 11) / 10 for number in range(count)]
    return [f"Study {n} of a boat, emulator:seconds={seconds + more:g}" for n, more in enumerate(steps)]


def check_account(emu: Emulator, count: int, limit: int) -> None:
    """Check what the account saw: so many creates, none for a second time, and never above the limit."""
    names = Counter(task.external_task_id for task in emu.tasks.values())
    assert [name for name, times in names.items() if times > 1] == []
    assert len(names) == count
    assert emu.ledger.peak("video") <= limit
    assert Counter(row.code for row in emu.ledger.creates) == {0: count}

"""Measure a batch's memory over 200,000 jobs that end at once, with and without a journal.

The API is played within the process, so that nothing but the batch is measured. The process's resident
memory (RSS) is read at every tenth of the way; its growth from the first tenth on counts.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kling_async import Client, Polling, v1
from kling_async.core.verdict import Accepted, Answer, Got
from kling_async.records import decode_task

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = 200_000
TARGET = 30.0
"""MB by which memory may grow."""


class Instant:
    """Plays the API within the process: every task has ended by its first query."""

    def __init__(self) -> None:
        self._made: dict[str, str] = {}
        self._number = 10**17

    def _task(self, task_id: str, status: str) -> dict[str, Any]:
        video = {"id": task_id, "url": "https://a.example/x.mp4", "duration": "5"}
        return {
            "task_id": task_id,
            "task_status": status,
            "task_info": {"external_task_id": self._made[task_id]},
            "created_at": 1,
            "updated_at": 2,
            "task_result": {"videos": [video]} if status == "succeed" else None,
        }

    async def create(
        self, _path: str, _body: bytes, *, endpoint: str, external_task_id: str, **_: Any
    ) -> Any:
        """Accept a create."""
        self._number += 1
        self._made[str(self._number)] = external_task_id
        task = self._task(str(self._number), "submitted")
        return Accepted(decode_task(endpoint, json.dumps(task).encode()))

    async def read(self, _method: str, path: str, *, params: Any = None, **_: Any) -> Any:
        """Report every task asked about as succeeded."""
        found: Any
        if path == "/tasks":
            names = params["task_ids"].split(",")
            found = [
                {"id": n, "status": "succeeded", "external_id": self._made[n], "outputs": []} for n in names
            ]
        elif "pageSize" in (params or {}):
            names = list(self._made)[-int(params["pageSize"]) :]
            found = [self._task(name, "succeed") for name in names]
        else:
            found = self._task(path.rpartition("/")[2], "succeed")
        while len(self._made) > 2000:  # long ended
            del self._made[next(iter(self._made))]
        return Got(json.dumps(found).encode(), Answer(200, 0, "SUCCEED", "", b""))


def rss() -> float:
    """Return the resident memory of this process, in MB."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def held(jobs: int, journal: str | None) -> tuple[list[float], float]:
    """Run a batch; return the memory at each tenth of the way, and jobs per second."""
    polling = Polling(min_interval=0, requests_per_second=1000, request_cost=0.01)
    client = Client(api_key="x", base_url="http://127.0.0.1:1", limits={"video": 50}, polling=polling)
    instant = Instant()
    transport: Any = client._engine.transport  # noqa: SLF001 - a benchmark
    transport.create, transport.read = instant.create, instant.read

    def requests() -> Iterator[Any]:
        yield from (v1.TextToVideo(prompt=f"a paper boat, study {n}") for n in range(jobs))

    found: list[float] = []
    start = time.perf_counter()
    async with client, client.batch(requests(), journal=journal) as results:
        count = 0
        async for outcome in results:
            assert outcome.ok
            count += 1
            if count % (jobs // 10) == 0:
                found.append(rss())
    return found, jobs / (time.perf_counter() - start)


def measure(jobs: int, *, journal: bool) -> tuple[list[float], float]:
    """Measure in a fresh process."""
    code = f"from benchmarks.batch import one; one({jobs}, {journal})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, pace = json.loads(done.stdout)
    return found, pace


def one(jobs: int, journal: bool) -> None:
    """Measure in this process and print the numbers as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "jobs.sqlite") if journal else None
        print(json.dumps(asyncio.run(held(jobs, path))))


def main(jobs: int = JOBS) -> None:
    """Print the table."""
    print(f"\nA batch's memory: {jobs:,} jobs that end at once, MB held after the first tenth, half, all")
    for journal in (False, True):
        found, pace = measure(jobs, journal=journal)
        growth = found[-1] - found[0]
        mark = "" if growth <= TARGET else f"  missed: {TARGET:g}"
        name = "with a journal" if journal else "without"
        print(
            f"{name:<16}{found[0]:8.1f}{found[4]:8.1f}{found[-1]:8.1f}"
            f"   grew by {growth:.1f} (target {TARGET:g}), {pace:.0f} jobs a second{mark}"
        )


if __name__ == "__main__":
    main()

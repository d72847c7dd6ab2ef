"""Measure the cost of storing files whole: time and CPU of downloads, against a loop of bare aiohttp.

Many small files and few large ones, four at a time, from the emulator in another process. The first rival
writes the chunks into files of the final names; the second one also makes each file durable as ours does
(fsync, rename, fsync of the folder). CPU is that of this process, threads included.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import aiohttp

from kling_async import Client, Polling, v1
from kling_async.runtime.loop import DOWNLOADS_AT_ONCE
from kling_async.testing import emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from multiprocessing.connection import Connection

    from kling_async.tasks import Task

    Way = Callable[[list[Task[v1.Videos]], Path], Awaitable[object]]

REPEATS = 5
SLOTS = 50


class Case(NamedTuple):
    """A number of files of one size."""

    name: str
    files: int
    size: int
    """Bytes, at least."""


CASES = (Case("many small", 400, 0), Case("few large", 8, 64 * 1024**2))


class Run(NamedTuple):
    """Seconds that one way takes."""

    time: float
    cpu: float


class Row(NamedTuple):
    """Measurements of ours and the rivals, in the same repetitions."""

    case: Case
    megabytes: float
    ours: list[Run]
    bare: list[Run]
    durable: list[Run]

    def ratios(self, what: str, rival: list[Run]) -> list[float]:
        """Return the ratios of ours to a rival's, sorted."""
        pairs = zip(self.ours, rival, strict=True)
        return sorted(getattr(mine, what) / getattr(other, what) for mine, other in pairs)


def serve(pipe: Connection, size: int) -> None:
    """Run an emulator with files of that size, in a process of its own, until the pipe says to end."""

    async def run() -> None:
        async with emulator(slots={"video": 2 * SLOTS}) as emu:
            emu.set_duration(0)
            emu.pad_files(size)
            pipe.send((emu.url, emu.api_key))
            await asyncio.get_running_loop().run_in_executor(None, pipe.recv)

    asyncio.run(run())


@asynccontextmanager
async def finished(case: Case) -> AsyncIterator[list[Task[v1.Videos]]]:
    """Yield tasks that have ended, each with one file to fetch."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there, case.size))
    process.start()
    try:
        url, key = here.recv()
        eager = Polling(min_interval=0, requests_per_second=1000)
        async with Client(base_url=url, api_key=key, limits={"video": SLOTS}, polling=eager) as client:
            requests = [v1.TextToVideo(prompt=f"A paper boat {n}") for n in range(case.files)]
            tasks = await asyncio.gather(*(client.submit(request) for request in requests))
            await asyncio.gather(*(task.wait() for task in tasks))
            yield tasks
        here.send("end")
    finally:
        process.join(10)
        process.kill()


async def ours(tasks: list[Task[v1.Videos]], folder: Path) -> None:
    """Download with this package."""
    await asyncio.gather(*(task.download(folder) for task in tasks))


async def bare(tasks: list[Task[v1.Videos]], folder: Path, *, durable: bool = False) -> None:
    """Download with bare aiohttp, without any check."""
    loop = asyncio.get_running_loop()
    todo = iter(tasks)

    async def worker(session: aiohttp.ClientSession) -> None:
        for task in todo:
            path = folder / f"{task.id}.mp4"
            assert task.result is not None
            async with session.get(task.result.videos[0].url) as response:
                response.raise_for_status()
                with path.with_suffix(".part").open("wb") if durable else path.open("wb") as file:
                    async for chunk in response.content.iter_chunked(256 * 1024):
                        file.write(chunk)
                    if durable:
                        await loop.run_in_executor(None, publish, file.fileno(), path)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(worker(session) for _ in range(DOWNLOADS_AT_ONCE)))


async def durable(tasks: list[Task[v1.Videos]], folder: Path) -> None:
    """Download with bare aiohttp into files that survive a power cut."""
    await bare(tasks, folder, durable=True)


def publish(file: int, path: Path) -> None:
    """Flush a part to the disk and give it its final name."""
    os.fsync(file)
    path.with_suffix(".part").replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def cpu() -> float:
    """Return the CPU seconds of this process so far, all threads and the kernel included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def run(way: Way, tasks: list[Task[v1.Videos]]) -> tuple[Run, int]:
    """Fetch all files once; return the measurement and the bytes."""
    with tempfile.TemporaryDirectory() as name:
        start, used = time.perf_counter(), cpu()
        await way(tasks, Path(name))
        took = Run(time.perf_counter() - start, cpu() - used)
        sizes = [file.stat().st_size for file in os.scandir(name)]
        assert len(sizes) == len(tasks)
        return took, sum(sizes)


async def measure(case: Case, repeats: int = REPEATS) -> Row:
    """Let each way fetch the same files, in turn."""
    row = Row(case, 0.0, [], [], [])
    async with finished(case) as tasks:
        for repeat in range(-1, repeats):  # the first is for warming up
            for way, runs in ((ours, row.ours), (bare, row.bare), (durable, row.durable)):
                took, size = await run(way, tasks)
                row = row._replace(megabytes=size / 1e6)
                if repeat >= 0:
                    runs.append(took)
    return row


def main() -> None:
    """Print the table."""
    print(
        f"\nDownloads, {DOWNLOADS_AT_ONCE} at a time, {REPEATS} repetitions: ours over a loop of bare aiohttp"
    )
    print(f"{'':<12}{'files':>6}{'MB':>7}{'ours s':>8}{'over':>18}{'time':>21}{'CPU':>21}")
    for case in CASES:
        row = asyncio.run(measure(case))
        seconds = statistics.median(run.time for run in row.ours)
        for name, rival in (("bare", row.bare), ("bare, durable", row.durable)):
            line = f"{case.name:<12}{case.files:6}{row.megabytes:7.0f}{seconds:8.2f}{name:>18}"
            for found in (row.ratios("time", rival), row.ratios("cpu", rival)):
                line += f"{statistics.median(found):8.2f} {f'({found[0]:.2f}..{found[-1]:.2f})':>12}"
            print(line, flush=True)


if __name__ == "__main__":
    main()

"""Measure the cost of waiting: of submits that queue for a full pool, and of waits for tasks.

Each figure comes from a fresh process: first the memory by tracemalloc, then, without tracing, by how much
the process grows and how long it takes to cancel them all. The figures count from a bare asyncio task that
awaits an event. The submits share one request: the memory of separate requests is their callers'.
"""

from __future__ import annotations

import asyncio
import gc
import math
import multiprocessing
import os
import statistics
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kling_async import Client, Polling, v1
from kling_async.testing import emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

SUBMITS, WAITS = 100_000, 10_000
REPEATS = 3
REQUEST = v1.TextToVideo(prompt="emulator:seconds=86400")


class Kind(NamedTuple):
    """One way of waiting, and its targets."""

    name: str
    number: int
    bytes: int | None = None
    """Most bytes beyond a bare task."""


class Cost(NamedTuple):
    """The cost of one waiter."""

    traced: float
    """Bytes that Python allocated, by tracemalloc."""
    resident: float
    """Bytes by which the process grew."""
    cancel: float
    """Seconds to cancel one; the median of several processes."""


KINDS = (
    Kind("submit", SUBMITS, 1536),
    Kind("submit, queue_timeout=", SUBMITS, 3584),
    Kind("wait", WAITS),
    Kind("wait, timeout=", WAITS),
)
CANCEL_TARGET = 3.0
"""Greatest time to cancel, relative to bare tasks."""


@asynccontextmanager
async def waiting(kind: str, number: int) -> AsyncIterator[list[Callable[[], Coroutine[Any, Any, Any]]]]:
    """Prepare that many waiters; yield the functions that make each of them wait."""
    if kind == "bare":
        event = asyncio.Event()
        yield [event.wait] * number
        return
    running = number if kind.startswith("wait") else 1
    never = Polling(min_interval=86400, max_interval=86400)  # status queries are no part of waiting
    async with (
        emulator(slots={"video": running}) as emu,
        Client(base_url=emu.url, api_key=emu.api_key, limits={"video": running}, polling=never) as client,
    ):
        tasks = [await client.submit(REQUEST) for _ in range(running)]
        match kind:
            case "submit":
                yield [partial(client.submit, REQUEST)] * number
            case "submit, queue_timeout=":
                yield [partial(client.submit, REQUEST, queue_timeout=3600.0)] * number
            case "wait":
                yield [task.wait for task in tasks]
            case _:
                yield [partial(task.wait, 3600.0) for task in tasks]


async def begin(makers: list[Callable[[], Coroutine[Any, Any, Any]]]) -> list[asyncio.Task[Any]]:
    """Start all waiters, and let each begin to wait."""
    tasks = [asyncio.create_task(make()) for make in makers]
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    return tasks


async def end(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel all waiters."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)


async def traced(kind: str, number: int) -> float:
    """Return the bytes that Python allocates for one waiter."""
    async with waiting(kind, number) as makers:
        await end(await begin(makers[:100]))  # warm up: caches and pools are filled by now
        gc.collect()
        tracemalloc.start()
        tasks = await begin(makers)
        gc.collect()
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        await end(tasks)
    return size / number


async def timed(kind: str, number: int) -> tuple[float, float]:
    """Return by how many bytes one waiter makes the process grow, and the seconds to cancel it."""
    async with waiting(kind, number) as makers:
        await end(await begin(makers[:100]))
        gc.collect()
        before = _resident()
        tasks = await begin(makers)
        gc.collect()
        grown = _resident() - before
        start = time.perf_counter()
        await end(tasks)
        return grown / number, (time.perf_counter() - start) / number


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure(kind: str, number: int, repeats: int = REPEATS) -> Cost:
    """Return the cost of one waiter, each measurement in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, max_tasks_per_child=1) as executor:
        size = executor.submit(_run, "traced", kind, number).result()
        runs = [executor.submit(_run, "timed", kind, number).result() for _ in range(repeats)]
    return Cost(size, statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs))


def _run(what: str, kind: str, number: int) -> Any:
    return asyncio.run({"traced": traced, "timed": timed}[what](kind, number))


def main() -> None:
    """Print the table."""
    print("\nWhat waiting costs, each, beyond an asyncio task that awaits an event")
    print(f"{'':<24}{'number':>8}{'bytes':>7}{'resident':>10}{'target':>8}{'cancel':>9}{'target':>8}")
    bare = {number: measure("bare", number) for number in (SUBMITS, WAITS)}
    for kind in KINDS:
        base, cost = bare[kind.number], measure(kind.name, kind.number)
        size, times = cost.traced - base.traced, cost.cancel / base.cancel
        missed = size > (kind.bytes or math.inf) or times > CANCEL_TARGET
        print(
            f"{kind.name:<24}{kind.number:8}{size:7.0f}{cost.resident - base.resident:10.0f}"
            f"{kind.bytes or '':>8}{times:8.2f}x{CANCEL_TARGET:7.0f}x{'  missed' if missed else ''}",
            flush=True,
        )


if __name__ == "__main__":
    main()

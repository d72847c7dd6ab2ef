"""Measure slots that several processes share: pace of the ledger, wake-ups, and workers side by side.

Pace: a ticket enters, is granted, used and freed, in memory and in the file, one ticket at a time. Wake-up:
from the step that frees a slot in one client to the admission of a ticket in another. Workers: processes that
queue all their tasks at once on one account of five slots, the emulator in a process of its own, against one
client that queues all of them with slots in memory.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from kling_async import Client, v1
from kling_async.core.admission import Pool, Ticket
from kling_async.orchestrator.ledger.facts import TaskFacts
from kling_async.orchestrator.ledger.places import boot_id
from kling_async.orchestrator.ledger.steps import Confirm, Ended, Enter, TaskMade
from kling_async.orchestrator.ledger.store import LedgerFile
from kling_async.testing import emulator

SLOTS = 5
TASKS = 160
SECONDS = 3.0
"""Median of the tasks' durations; their sigma is 0.2."""
TARGET_MAKESPAN, TARGET_SPREAD = 1.05, 0.10


class Run(NamedTuple):
    """What came of some workers."""

    makespan: float
    spread: float
    """Of the workers' last ends: the first over the last, from 1."""
    requests: float
    """For each task, creates included."""
    refused: int
    peak: int


def pace_in_memory(rounds: int) -> float:
    """Return how many tickets a second go through a pool in memory."""
    pool, began = Pool("video", SLOTS, source="caller"), time.perf_counter()
    for _ in range(rounds):
        ticket = Ticket(1)
        pool.enter(ticket, 0.0)
        pool.admit(0.0)
        pool.accepted(ticket, 0.0)
        pool.release(ticket, 0.0)
    return rounds / (time.perf_counter() - began)


def pace_in_a_file(folder: Path, rounds: int) -> float:
    """Return how many tickets a second go through the ledger, in four transactions each."""
    limits = {"video": SLOTS}
    options: dict[str, Any] = {
        "label_limits": {},
        "life": 7200.0,
        "clock": time.monotonic,
        "boot": boot_id(),
    }
    file = LedgerFile(folder / "pace.db", "https://a.example", "me", limits=limits, **options)
    began = time.perf_counter()
    for number in range(1, rounds + 1):
        about = TaskFacts("/v1/videos/text2video", str(number))
        file.sync([Enter("video", number, 1, 0, "", about)], demand=True)
        assert file.sync([Confirm(number)], demand=True).confirmed[number]
        file.sync([TaskMade(number, about)], demand=True)
        file.sync([Ended(number)], demand=True)
    found = rounds / (time.perf_counter() - began)
    file.leave([])
    return found


async def wake_up(folder: Path, rounds: int) -> float:
    """Return the median of the seconds from a release in one client to the create in another."""
    found: list[float] = []
    async with emulator(slots={"video": 1, "image": 9}) as emu:
        emu.set_duration(1e6)
        slots, limits = f"sqlite://{folder}/wake.db", {"video": 1}
        first = Client(base_url=emu.url, api_key=emu.api_key, slots=slots, limits=limits)
        admitted: list[float] = []

        def note(event: Any) -> None:
            if event.kind == "admitted":
                admitted.append(time.perf_counter())

        second = Client(base_url=emu.url, api_key=emu.api_key, slots=slots, limits=limits, on_event=note)
        async with first, second:
            for number in range(rounds):
                task = await first.submit(v1.TextToVideo(prompt="a"))
                waiting = await second.enqueue(v1.TextToVideo(prompt="b"))
                await asyncio.sleep(0.3 + 0.011 * number)
                emu.finish(task.id)
                await asyncio.wait_for(task.refresh(), 10)
                began = time.perf_counter()
                await waiting.accepted()
                found.append(admitted[-1] - began)
                emu.finish(waiting.id)
                await waiting.refresh()
    return statistics.median(found)


async def work(order: dict[str, Any]) -> None:
    """Run a worker's share, and say when it was done and what it sent."""
    client = Client(
        base_url=order["url"], api_key=order["key"], slots=order["slots"], limits={"video": SLOTS}
    )
    async with client:
        await asyncio.sleep(max(0.0, order["begin"] - time.time()))
        requests = [v1.TextToVideo(prompt=f"{order['worker']} {n}") for n in range(order["tasks"])]
        await asyncio.gather(*map(client.run, requests))
        ended, stats = time.time() - order["begin"], client.stats()
    print(json.dumps({"ended": ended, "requests": sum(stats.requests.values())}))


async def measure(folder: Path, workers: int, tasks: int, seconds: float, *, shared: bool = True) -> Run:
    """Run all tasks by so many workers."""
    rng = random.Random(7)
    async with emulator(slots={"video": SLOTS, "image": 9}) as emu:
        emu.set_duration(lambda _: seconds * rng.lognormvariate(0, 0.2))
        begin, processes = time.time() + 1.0 + 0.4 * workers, []
        for worker in range(workers):
            order = {
                "url": emu.url,
                "key": emu.api_key,
                "slots": f"sqlite://{folder}/{workers}.db" if shared else None,
                "begin": begin,
                "worker": worker,
                "tasks": tasks // workers,
            }
            command = (sys.executable, "-m", "benchmarks.ledger", json.dumps(order))
            processes.append(await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE))
        said = [json.loads((await process.communicate())[0]) for process in processes]
        ends = [line["ended"] for line in said]
        refused = sum(row.code == 1303 for row in emu.ledger.creates)
        requests = sum(line["requests"] for line in said) / tasks
        peak = emu.ledger.peak("video")
        return Run(max(ends), 1 - min(ends) / max(ends), requests, refused, peak)


def main() -> None:
    """Print all figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        memory, file = pace_in_memory(20_000), pace_in_a_file(folder, 1000)
        print(f"pace, tickets a second: {memory:,.0f} in memory, {file:,.0f} in the file")
        print(f"wake-up of another client: {asyncio.run(wake_up(folder, 15)) * 1000:.0f} ms")
        alone = asyncio.run(measure(folder, 1, TASKS, SECONDS, shared=False))
        print(
            f"{'workers':20} {'makespan':>9} {'over one':>9} {'spread':>7} {'requests/task':>16} {'1303':>5}"
        )
        print(f"{'1, in memory':20} {alone.makespan:9.1f} {1:9.3f} {0:7.1%} {alone.requests:16.2f} {0:5}")
        for workers in (1, 2, 4):
            run = asyncio.run(measure(folder, workers, TASKS, SECONDS))
            over = run.makespan / alone.makespan
            met = over <= TARGET_MAKESPAN and run.spread <= TARGET_SPREAD and run.peak <= SLOTS
            figures = (
                f"{run.makespan:9.1f} {over:9.3f} {run.spread:7.1%} {run.requests:16.2f} {run.refused:5}"
            )
            print(f"{f'{workers}, in a ledger':20} {figures} {'' if met else 'missed'}")


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith("{"):
        asyncio.run(work(json.loads(sys.argv[1])))
    else:
        main()

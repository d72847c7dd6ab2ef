"""Measure slots that several processes share: pace of the ledgers, wake-ups, and workers side by side.

Pace: a ticket enters, is granted, used and freed, in memory, in a file and in a PostgreSQL, one ticket at a
time. Wake-up: from the step that frees a slot in one process to the admission of a ticket in another; in
memory within one. Workers: processes that queue all their tasks at once on one account of five slots, the
emulator in a process of its own, against one client that queues all of them with slots in memory.

The PostgreSQL is an embedded one with its settings as they come, so that a commit waits for the disk
(``fsync``), or any other: ``KLING_FLEET_DSN``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kling_async import Client, v1
from kling_async.core.admission import Pool, Ticket
from kling_async.fleet.embedded import EmbeddedPostgres
from kling_async.orchestrator.ledger.facts import TaskFacts
from kling_async.orchestrator.ledger.places import boot_id
from kling_async.orchestrator.ledger.postgres import Joining, PostgresLedger
from kling_async.orchestrator.ledger.server_time import SteeredClock
from kling_async.orchestrator.ledger.steps import Confirm, Ended, Enter, TaskMade
from kling_async.orchestrator.ledger.store import LedgerFile
from kling_async.testing import emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from kling_async import Task
    from kling_async.orchestrator.ledger.errands import SharedFile

SLOTS = 5
TASKS = 160
SECONDS = 3.0
"""Median of the tasks' durations; their sigma is 0.2."""
TARGET_MAKESPAN, TARGET_SPREAD = 1.05, 0.10
OWN: Final = ("https://a.example", "me")
LIMITS: Final[dict[str, Any]] = {"limits": {"video": SLOTS}, "label_limits": {}, "life": 7200.0}


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


def pace_in(ledger: SharedFile, rounds: int) -> float:
    """Return how many tickets a second go through a ledger, in four transactions each."""
    began = time.perf_counter()
    for number in range(1, rounds + 1):
        about = TaskFacts("/v1/videos/text2video", str(number))
        ledger.sync([Enter("video", number, 1, 0, "", about)], demand=True)
        assert ledger.sync([Confirm(number)], demand=True).confirmed[number]
        ledger.sync([TaskMade(number, about)], demand=True)
        ledger.sync([Ended(number)], demand=True)
    found = rounds / (time.perf_counter() - began)
    ledger.leave([])
    return found


def pace_in_a_file(folder: Path, rounds: int) -> float:
    """Return how many tickets a second go through a file."""
    return pace_in(
        LedgerFile(folder / "pace.db", *OWN, clock=time.monotonic, boot=boot_id(), **LIMITS), rounds
    )


def pace_in_postgres(dsn: str, rounds: int) -> float:
    """Return how many tickets a second go through a PostgreSQL."""
    return pace_in(PostgresLedger(dsn, Joining(*OWN, **LIMITS), SteeredClock()), rounds)


def client_of(order: Mapping[str, Any], **more: Any) -> Client:
    """Make the client of a process."""
    return Client(base_url=order["url"], api_key=order["key"], slots=order["slots"], **more)


class Here:
    """Holds the slot in this process, with slots in memory."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._task: Task[Any] | None = None

    async def hold(self) -> str:
        """Take the slot; return the id of the task that holds it."""
        self._task = await self._client.submit(v1.TextToVideo(prompt="a"))
        return self._task.id

    async def free(self) -> float:
        """Find out that the task has ended; return when its slot was free."""
        assert self._task is not None
        await self._task.refresh()
        return time.monotonic()


class There:
    """The same in a process of its own, which takes the slot again by itself."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._lines, self._tell = process.stdout, process.stdin

    async def hold(self) -> str:
        """Let it take the slot; return the id of the task that holds it."""
        self._tell.write(b"hold\n")
        return (await self._lines.readline()).decode().strip()

    async def free(self) -> float:
        """Let it find out that the task has ended; return when its slot was free, by the common clock."""
        self._tell.write(b"free\n")
        return float(await self._lines.readline())


async def hold(order: dict[str, Any]) -> None:
    """Be the other process of `There`."""
    async with client_of(order, limits={"video": 1}) as client:
        here = Here(client)
        while await asyncio.to_thread(sys.stdin.readline):
            print(await here.hold(), flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            print(await here.free(), flush=True)


async def wake_up(slots: str | None, rounds: int) -> float:
    """Return the median of the seconds from a release to the admission of a ticket, in another process."""
    found: list[float] = []
    admitted: list[float] = []

    def note(event: Any) -> None:
        if event.kind == "admitted":
            admitted.append(time.monotonic())

    async with contextlib.AsyncExitStack() as stack:
        emu = await stack.enter_async_context(emulator(slots={"video": 1, "image": 9}))
        emu.set_duration(1e6)
        order = {"url": emu.url, "key": emu.api_key, "slots": slots, "kind": "hold"}
        client = await stack.enter_async_context(client_of(order, limits={"video": 1}, on_event=note))
        other = Here(client) if slots is None else There(await stack.enter_async_context(process_of(order)))
        for number in range(rounds):
            held = await other.hold()
            waiting = await client.enqueue(v1.TextToVideo(prompt="b"))
            await asyncio.sleep(0.3 + 0.011 * number)
            emu.finish(held)
            began = await other.free()
            await waiting.accepted()
            found.append(max(0.0, admitted[-1] - began))
            emu.finish(waiting.id)
            await waiting.refresh()
    return statistics.median(found)


@contextlib.asynccontextmanager
async def process_of(
    order: Mapping[str, Any], module: str = "ledger"
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a module as another process."""
    pipe, command = asyncio.subprocess.PIPE, (sys.executable, "-m", f"benchmarks.{module}", json.dumps(order))
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def work(order: dict[str, Any]) -> None:
    """Run a worker's share, and say when it was done and what it sent."""
    async with client_of(order, limits={"video": SLOTS}) as client:
        await asyncio.sleep(max(0.0, order["begin"] - time.time()))
        requests = [v1.TextToVideo(prompt=f"{order['worker']} {n}") for n in range(order["tasks"])]
        await asyncio.gather(*map(client.run, requests))
        ended, stats = time.time() - order["begin"], client.stats()
    print(json.dumps({"ended": ended, "requests": sum(stats.requests.values())}))


async def measure(slots: str | None, workers: int, tasks: int, seconds: float) -> Run:
    """Run all tasks by so many workers."""
    rng = random.Random(7)
    async with emulator(slots={"video": SLOTS, "image": 9}) as emu:
        emu.set_duration(lambda _: seconds * rng.lognormvariate(0, 0.2))
        about: dict[str, Any] = {"url": emu.url, "key": emu.api_key, "slots": slots, "kind": "work"}
        about |= {"begin": time.time() + 1.0 + 0.4 * workers, "tasks": tasks // workers}
        async with contextlib.AsyncExitStack() as stack:
            processes = [
                await stack.enter_async_context(process_of({**about, "worker": worker}))
                for worker in range(workers)
            ]
            said = [json.loads((await process.communicate())[0]) for process in processes]
        ends = [line["ended"] for line in said]
        refused = sum(row.code == 1303 for row in emu.ledger.creates)
        requests = sum(line["requests"] for line in said) / tasks
        peak = emu.ledger.peak("video")
        return Run(max(ends), 1 - min(ends) / max(ends), requests, refused, peak)


@contextlib.contextmanager
def database() -> Iterator[Callable[[], str]]:
    """Yield what makes empty databases of an embedded PostgreSQL, unless the environment names another."""
    given = os.environ.get("KLING_FLEET_DSN")
    if given:
        yield lambda: given
        return
    server = EmbeddedPostgres()
    try:
        yield server.new_database
    finally:
        server.close()


def main() -> None:
    """Print all figures."""
    with tempfile.TemporaryDirectory() as name, database() as new_dsn:
        folder = Path(name)
        memory = pace_in_memory(20_000)
        for kind, pace in (
            ("file", pace_in_a_file(folder, 1000)),
            ("PostgreSQL", pace_in_postgres(new_dsn(), 300)),
        ):
            print(f"{kind}: {pace:,.0f} tickets a second; {memory / pace:,.0f} times as long as in memory")
        for kind, slots in (
            ("memory", None),
            ("file", f"sqlite://{folder}/wake.db"),
            ("PostgreSQL", new_dsn()),
        ):
            print(f"wake-up, {kind}: {asyncio.run(wake_up(slots, 15)) * 1000:.1f} ms")
        alone = asyncio.run(measure(None, 1, TASKS, SECONDS))
        print(
            f"{'workers':20} {'makespan':>9} {'over one':>9} {'spread':>7} {'requests/task':>16} {'1303':>5}"
        )
        print(f"{'1, in memory':20} {alone.makespan:9.1f} {1:9.3f} {0:7.1%} {alone.requests:16.2f} {0:5}")
        for workers, kind in itertools.product((1, 2, 4), ("file", "PostgreSQL")):
            slots = f"sqlite://{folder}/{workers}.db" if kind == "file" else new_dsn()
            run = asyncio.run(measure(slots, workers, TASKS, SECONDS))
            over = run.makespan / alone.makespan
            met = over <= TARGET_MAKESPAN and run.spread <= TARGET_SPREAD and run.peak <= SLOTS
            figures = (
                f"{run.makespan:9.1f} {over:9.3f} {run.spread:7.1%} {run.requests:16.2f} {run.refused:5}"
            )
            print(f"{f'{workers}, in a {kind}':20} {figures} {'' if met else 'missed'}")


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith("{"):
        given = json.loads(sys.argv[1])
        asyncio.run({"work": work, "hold": hold}[given["kind"]](given))
    else:
        main()

"""Measure a fleet: workers on one account, the queue at 100,000 jobs, and what a task costs the database.

Workers: 1, 2, 4 and 8 processes on one account of eight slots; the makespan over the ideal, which fills a
slot in the moment that it is free and knows of an end at once. Queue: enqueueing, fetching, a worker's
memory, the size of the database. Cost: transactions, rows and WAL for each task. The PostgreSQL is an
embedded one, or any other: ``KLING_FLEET_DSN``.

On paper: 1,000 accounts and 10 million jobs a day, which is 116 a second. The figures come from single runs
on a busy machine of two cores. Those of tasks are of two workers (256 tasks); other runs, of 64 tasks, gave
7 to 9 commits a task with one worker and 17 with eight, and 12 to 19 kB of WAL. A commit takes about 0.6 ms
there, as 1,700 fetches a second of one connection tell. Estimates, not measured, are marked as such.

- Slots: a task of 90 s holds one for 90 s, so 116 x 90 = 10,400 are always busy, 10.4 an account. That is
  about what accounts have (5 to 20 for videos). No software adds to it: it limits first.
- Connections: 4 for each worker (slots, jobs, journal, heartbeat). Two workers an account, lest one machine
  be missed, are 8,000. They listen (LISTEN) and hold session locks that show them as alive, so that a pooler
  in transaction mode must not stand between; a server that forks for each connection takes some hundreds
  (estimate).
  This limits second. Accounts have nothing in common, hence 20 databases of 50 accounts and 400 connections.
- Heartbeats: a worker that waits makes 5 to 7 commits a second, most of which read only, and about 1 kB of
  WAL: 14,000 commits a second for all, 700 for each of 20 servers.
- Tasks: 12 commits, 13 rows written and 13 kB of WAL each: 1,400 commits a second for all, 70 a server, less
  than the heartbeats. WAL is 130 GB a day, and 170 GB that of 2,000 heartbeats: 15 GB a day and server.
- NOTIFY: commits that notify take one lock of their server, one after the other, each for as long as the disk
  takes. A task had 0.74 notifications beside its submit (160 tasks, counted by a listener, not by this
  program), so at most 87 such commits a second for all: 5 % of that lock at 0.6 ms, 44 % at 5 ms, and 2 % on
  each of 20 servers. Submits notify once for each job, but 10,000 of them in one commit.
- One account: each ledger transaction locks the account's row, and a ticket has four in 20 ms: 47 tasks a
  second. An account of 20 slots needs 0.2; one of 4,000 slots would wait here.
- Queue: 1.1 kB a job, 11 GB for 10 million; one program writes them in 40 minutes (4,300 a second), and one
  connection could take 1,900 jobs a second, if statistics are kept up to date: without, 10 a second
  (procrastinate's tables alone).
- Storage: an ended job is a row of 0.7 kB, and takes 1.9 with indexes and the versions that a vacuum has not
  removed yet; 1 kB after it (estimate). The vendor keeps files for 30 days; rows kept as long are 300 to
  570 GB, 15 to 28 a server.
  Rows of the queue and addresses are gone by then: at the end of a job, and when its result is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
import random
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from benchmarks.batch import rss
from benchmarks.ledger import client_of, database, process_of
from kling_async import v1
from kling_async.fleet import Fleet
from kling_async.testing import emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator

    from kling_async.testing import Emulator

SLOTS = 8
TASKS = 64
SECONDS = 8.0
"""Median of the tasks' durations; their sigma is 0.2."""
QUEUED = 100_000
FETCHES = 1000
IDLE = 10.0
"""Seconds for which workers are watched that have nothing to do."""
CONNECTED = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
REPORTED = 1.5
"""Seconds after which a session has reported to the statistics what it has done."""


class Run(NamedTuple):
    """What came of some workers."""

    makespan: float
    """Seconds from the first create to the last result, over the ideal."""
    requests: float
    """For each task, creates included."""
    refused: int
    peak: int


class Queue(NamedTuple):
    """What a long queue costs."""

    enqueued: float
    """Jobs a second that are submitted."""
    fetched: float
    """Jobs a second that one connection takes."""
    size: float
    """Bytes of the database for each job."""
    memory: float
    """MB of a worker beside that queue."""


class Cost(NamedTuple):
    """What the database has to do: for each task, for each worker."""

    commits: float
    wal: float
    """Bytes."""
    rows: float
    """Inserted, updated, deleted."""
    connections: float
    """Of each worker."""
    idle_commits: float
    """Of each worker in a second, while it has nothing to do."""
    idle_wal: float


def requests(count: int) -> Iterator[v1.TextToVideo]:
    """Make requests that differ."""
    return (v1.TextToVideo(prompt=f"a paper boat, study {number}") for number in range(count))


def ideal(durations: list[float], slots: int) -> float:
    """Return the makespan of tasks in this order where every slot is filled as soon as it is free."""
    free = [0.0] * slots
    for seconds in durations:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


async def work(order: dict[str, Any]) -> None:
    """Be a worker, until the order's process ends."""
    async with client_of(order, limits=order["limits"]) as client, Fleet(order["slots"]) as fleet:
        print("ready", flush=True)
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
        working = asyncio.create_task(fleet.work(client))
        await asyncio.wait((ended, working), return_when=asyncio.FIRST_COMPLETED)
        print(json.dumps({"rss": rss()}), flush=True)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


@contextlib.asynccontextmanager
async def workers(emu: Emulator, dsn: str, count: int, limit: int) -> AsyncIterator[list[Any]]:
    """Run so many workers; yield their processes once all are ready."""
    order = {"url": emu.url, "key": emu.api_key, "slots": dsn, "limits": {"video": limit}}
    async with contextlib.AsyncExitStack() as stack:
        found = [await stack.enter_async_context(process_of(order, "fleet")) for _ in range(count)]
        for process in found:
            assert process.stdout is not None
            await process.stdout.readline()
        yield found


async def measure(dsn: str, count: int, tasks: int, seconds: float) -> Run:
    """Run all tasks by so many workers."""
    rng, durations = random.Random(7), list[float]()

    def duration(_: Any) -> float:
        durations.append(seconds * rng.lognormvariate(0, 0.2))
        return durations[-1]

    await Fleet(dsn).init()
    async with emulator(slots={"video": SLOTS, "image": 9}) as emu, Fleet(dsn) as fleet:
        began = time.monotonic()
        emu.set_duration(duration)
        async with workers(emu, dsn, count, SLOTS):
            await fleet.submit(requests(tasks), batch="all")
            async for outcome in fleet.results("all"):
                assert outcome.ok
            ended = time.monotonic() - began
        first = min(task.created for task in emu.tasks.values())
        over = (ended - first) / ideal(durations, SLOTS)
        refused = sum(row.code == 1303 for row in emu.ledger.creates)
        return Run(over, len(emu.ledger.rows) / tasks, refused, emu.ledger.peak("video"))


async def queue(dsn: str, jobs: int, fetches: int) -> Queue:
    """Queue so many jobs, and take some."""
    await Fleet(dsn).init()
    async with emulator(slots={"video": SLOTS, "image": 9}) as emu, Fleet(dsn) as fleet:
        emu.set_duration(1e6)
        with psycopg.connect(dsn, autocommit=True) as db:
            empty = one(db, "SELECT pg_database_size(current_database())")
            began = time.perf_counter()
            await fleet.submit(requests(jobs), batch="long")
            enqueued = jobs / (time.perf_counter() - began)
            size = (one(db, "SELECT pg_database_size(current_database())") - empty) / jobs
            db.execute("SET search_path TO kling_fleet")
            worker = one(db, "SELECT procrastinate_register_worker_v1()")
            began = time.perf_counter()
            for _ in range(fetches):
                db.execute("SELECT id FROM procrastinate_fetch_job_v2(NULL, %s)", (worker,))
            fetched = fetches / (time.perf_counter() - began)
        async with workers(emu, dsn, 1, SLOTS) as (process,):
            while emu.ledger.used("video") < SLOTS:  # noqa: ASYNC110 - the emulator tells of no create
                await asyncio.sleep(0.2)
            process.stdin.write(b"end\n")
            memory = json.loads(await process.stdout.readline())["rss"]
        return Queue(enqueued, fetched, size, memory)


async def cost(dsn: str, count: int, tasks: int) -> Cost:
    """Return what a task costs the database, beyond what workers cost that have nothing to do."""
    await Fleet(dsn).init()
    async with emulator(slots={"video": SLOTS, "image": 9}) as emu, Fleet(dsn) as fleet:
        emu.set_duration(1.0)
        with psycopg.connect(dsn, autocommit=True) as db:
            before = one(db, CONNECTED)
            async with workers(emu, dsn, count, SLOTS):
                await asyncio.sleep(3.0)
                idle = await spent(db, asyncio.sleep(IDLE))
                connections = (one(db, CONNECTED) - before) / count
                began = time.perf_counter()
                all_in_all = await spent(db, run_all(fleet, tasks))
                seconds = time.perf_counter() - began
    a_second = [figure / IDLE for figure in idle]
    commits, wal, rows = (
        (found - rest * seconds) / tasks for found, rest in zip(all_in_all, a_second, strict=True)
    )
    return Cost(commits, wal, rows, connections, a_second[0] / count, a_second[1] / count)


async def run_all(fleet: Fleet, tasks: int) -> None:
    """Submit so many jobs, and wait for all."""
    await fleet.submit(requests(tasks), batch="all")
    async for outcome in fleet.results("all"):
        assert outcome.ok


async def spent(db: psycopg.Connection[Any], doing: Awaitable[object]) -> list[float]:
    """Return commits, bytes of WAL, and changed rows while something was done."""
    query = (
        "SELECT xact_commit, pg_current_wal_insert_lsn() - '0/0', tup_inserted + tup_updated + tup_deleted"
        " FROM pg_stat_database WHERE datname = current_database()"
    )
    await asyncio.sleep(REPORTED)
    before = db.execute(query).fetchone() or ()
    await doing
    await asyncio.sleep(REPORTED)
    after = db.execute(query).fetchone() or ()
    return [float(late - early) for early, late in zip(before, after, strict=True)]


def one(db: psycopg.Connection[Any], query: str) -> Any:
    """Return the one value of a query."""
    found = db.execute(query.encode()).fetchone()
    assert found is not None
    return found[0]


def main() -> None:
    """Print all figures."""
    with database() as new_dsn:
        print(f"{'workers':8} {'makespan/ideal':>15} {'requests/task':>14} {'1303':>5}")
        for count in (1, 2, 4, 8):
            run = asyncio.run(measure(new_dsn(), count, TASKS, SECONDS))
            print(f"{count:<8} {run.makespan:15.3f} {run.requests:14.2f} {run.refused:5}")
        print(f"{'queued':8} {'enqueued/s':>11} {'fetched/s':>10} {'bytes a job':>12} {'MB a worker':>12}")
        for jobs in (1000, QUEUED):
            found = asyncio.run(queue(new_dsn(), jobs, min(FETCHES, jobs // 2)))
            sizes = f"{found.size:12,.0f} {found.memory:12.0f}"
            print(f"{jobs:<8} {found.enqueued:11,.0f} {found.fetched:10,.0f} {sizes}")
        columns = ("commits/task", "WAL/task", "rows/task", "connections", "idle commits/s", "idle WAL/s")
        print(" ".join(["workers ", *map("{:>14}".format, columns)]))
        for count in (1, 8):
            spending = asyncio.run(cost(new_dsn(), count, TASKS))
            print(f"{count:<8}", " ".join(f"{figure:14,.1f}" for figure in spending))


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith("{"):
        asyncio.run(work(json.loads(sys.argv[1])))
    else:
        main()

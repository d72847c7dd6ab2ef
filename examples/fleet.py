"""Run a fleet: three workers share an account, one is killed in the middle, and nothing is lost or doubled.

``python3 -m examples fleet`` needs neither key nor database: an emulator plays the vendor, and a PostgreSQL
comes from a wheel. ``--dsn`` names a database of yours, ``--live`` takes the account of the key in the
environment. All is in the database, so a run that was interrupted goes on when it is started again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from kling_async import Client, ConfigurationError, v1
from kling_async.fleet import Fleet
from kling_async.fleet.embedded import embedded_postgres
from kling_async.prices import estimate
from kling_async.testing import emulator

if TYPE_CHECKING:
    from asyncio.subprocess import Process

SCENES = ("A paper boat in a gutter", "A fox in fresh snow", "Bread rising in an oven", "A tram in the fog")
MOODS = ("at dawn", "in the rain", "in black and white", "from above", "close up", "at night")
PROMPTS = [f"{scene} {mood}" for mood in MOODS for scene in SCENES]
SLOTS, SPEED = 6, 10
"""Of the emulator: its slots for videos, and how many times as fast as the vendor it is."""


async def work(dsn: str, folder: Path) -> None:
    """Be a worker until SIGTERM, as ``kling fleet worker`` is; the slots are shared by the database."""
    async with Fleet(dsn) as fleet, Client(slots=dsn) as client:
        await fleet.work(client, out=folder, grace=2)


class Workers:
    """Workers as processes of their own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._command = ("-m", "examples.fleet", "--worker", "--out", str(folder))
        self._environment = {**os.environ, **environment}
        self.alive: list[Process] = []

    async def start(self) -> Process:
        """Start one; Ctrl-C is for this program alone, which then ends its workers."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *self._command), env=self._environment, start_new_session=True
        )
        self.alive.append(process)
        return process

    async def end(self) -> None:
        """End all: by SIGTERM they leave what runs to others; whoever does not end in time is killed."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for process in self.alive:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(sign)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(6):
                    await asyncio.gather(*(process.wait() for process in self.alive))


async def kill_one(workers: Workers, dsn: str) -> int:
    """Kill the worker with most tasks, and start another; return how many tasks ran on without it."""
    busiest = (
        "SELECT split_part(worker, ':', 2)::int, count(*) FROM kling_fleet.jobs"  # a worker is host:pid
        " WHERE worker IS NOT NULL AND state = 1 GROUP BY worker ORDER BY count(*) DESC LIMIT 1"
    )
    async with await psycopg.AsyncConnection.connect(dsn) as db:
        pid, left = await (await db.execute(busiest)).fetchone() or (workers.alive[0].pid, 0)
    victim = next(process for process in workers.alive if process.pid == pid)
    victim.kill()
    await victim.wait()
    workers.alive.remove(victim)
    other = await workers.start()
    print(f"         SIGKILL for worker {pid}: {left} tasks run on without it; {other.pid} takes its place")
    return int(left)


async def run(options: argparse.Namespace) -> int:
    """Run the batch; return the exit status."""
    requests = [v1.TextToVideo(prompt=prompt, duration=5) for prompt in PROMPTS[: options.count]]
    if options.live:
        units = sum(estimate(request).most or 0 for request in requests)
        print(f"This makes up to {len(requests)} videos for up to {units:g} units of your account.")
    async with contextlib.AsyncExitStack() as stack:
        emu, environment = None, dict[str, str]()
        if not options.live:
            emu = await stack.enter_async_context(emulator(slots={"video": SLOTS, "image": 9}, speed=SPEED))
            environment = emu.env()
            print(f"An emulator plays the vendor, {SPEED} times as fast, {SLOTS} slots. Nothing is paid.")
        # what has been paid for must outlive this program
        kept = options.out / "postgres" if options.live else None
        dsn = options.dsn or stack.enter_context(embedded_postgres(kept))
        await Fleet(dsn).init()
        fleet = await stack.enter_async_context(Fleet(dsn))
        batch = "example" if options.live else f"example-{time.time_ns()}"
        await fleet.submit(requests, batch=batch)
        workers = Workers(options.out, {**environment, "KLING_FLEET_DSN": dsn})
        stack.push_async_callback(workers.end)
        pids = [(await workers.start()).pid for _ in range(3)]
        print(f"{len(requests)} jobs are queued; three workers: {', '.join(map(str, pids))}\n", flush=True)
        began, outcomes, adopted = time.monotonic(), [], 0
        async for outcome in fleet.results(batch, folder=options.out):
            outcomes.append(outcome)
            what = ", ".join(map(str, outcome.files)) or outcome.error
            print(f"{time.monotonic() - began:5.0f} s  {PROMPTS[outcome.position]}: {what}", flush=True)
            if len(outcomes) == max(1, len(requests) // 4):
                adopted = await kill_one(workers, dsn)
        failed = sum(not outcome.ok for outcome in outcomes)
        print(f"\n{len(outcomes) - failed} of {len(requests)} videos are in {options.out}/, {failed} failed.")
        if emu is not None:
            made = Counter(task.external_task_id for task in emu.tasks.values())
            once, lost = sum(times == 1 for times in made.values()), len(requests) - len(outcomes)
            print(
                f"Proof, by the vendor's own record: {once} created once, {len(made) - once} more than once;"
            )
            print(f"{lost} lost, {adopted} adopted; never more than {emu.ledger.peak('video')} at a time.")
    print(HOW_TO)
    return 1 if failed else 0


HOW_TO = """
The same with your own account (costs units) and database, on as many machines as you like:
  export KLING_API_KEY=...  KLING_FLEET_DSN=postgresql://user@host/database     # password: ~/.pgpass
  kling fleet submit jobs.jsonl       # once, from anywhere
  kling fleet worker --out videos     # on each machine
  kling fleet status
or try this program with it: python3 -m examples fleet --live --count 2"""


def main() -> int | str:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(prog="python3 -m examples fleet", description=__doc__.partition("\n")[0])
    parser.add_argument("--dsn", default=os.environ.get("KLING_FLEET_DSN"), help="a PostgreSQL 14 or newer")
    parser.add_argument("--live", action="store_true", help="use the account of KLING_API_KEY; costs units")
    parser.add_argument("--count", type=int, default=len(PROMPTS), help="prompts (default: all, %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the files (default: out)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        return asyncio.run(work(options.dsn, options.out) if options.worker else run(options)) or 0
    except ConfigurationError as error:
        return f"{error}"
    except KeyboardInterrupt:
        return "\nStopped. No worker is left."


if __name__ == "__main__":
    sys.exit(main())

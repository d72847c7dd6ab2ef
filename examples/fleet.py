"""Run a fleet: three workers share one account, one of them is killed in the middle, and nothing is lost.

``python3 -m examples fleet`` needs neither key nor database: an emulator plays the vendor, and a PostgreSQL
comes from a wheel. ``--dsn`` names a database of yours, ``--live`` takes the account of the key in the
environment.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kling_async import Client, estimate, v1
from kling_async.errors import ConfigurationError
from kling_async.fleet import Fleet
from kling_async.fleet.embedded import embedded_postgres
from kling_async.testing import emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kling_async.batch import Outcome
    from kling_async.testing import Emulator

SCENES = ("A paper boat in a gutter", "A fox in fresh snow", "Bread rising in an oven", "A tram in the fog")
MOODS = ("at dawn", "in the rain", "in black and white", "from above", "close up", "at night")
PROMPTS = [f"{scene} {mood}" for mood in MOODS for scene in SCENES]
BATCH = "examples"
SLOTS, SPEED = 6, 10
"""Of the emulator: its slots for videos, and how many times as fast as the vendor it is."""


class Workers:
    """Runs ``kling fleet worker`` in processes of their own; on your machines you start it by hand.

    Args:
        environment: Names the account and the database.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = {**os.environ, **environment}
        self.alive: list[asyncio.subprocess.Process] = []

    async def start(self) -> asyncio.subprocess.Process:
        """Start one more."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kling_async", "fleet", "worker"),
            env=self._environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this program, which then ends its workers
        )
        self.alive.append(process)
        return process

    async def kill(self, process: asyncio.subprocess.Process) -> None:
        """End one as a power cut would: SIGKILL, so that it can put nothing in order."""
        self.alive.remove(process)
        process.kill()
        await process.wait()

    async def end(self) -> None:
        """End all: SIGTERM, after which a worker takes nothing new and leaves what runs to others."""
        for process in self.alive:
            process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.gather(*(process.wait() for process in self.alive))
        for process in tuple(self.alive):
            if process.returncode is None:
                await self.kill(process)


async def show(fleet: Fleet) -> None:
    """Print a line for each change of what runs and waits."""
    before = ""
    while True:
        status = await fleet.status()
        line = f"{status.succeeded} done, {status.running} running, {status.queued} queued"
        if line != before:
            print(f"  {line}", flush=True)
        before = line
        await asyncio.sleep(1)


async def run(options: argparse.Namespace) -> int:
    """Run the batch; return the exit status."""
    requests = [v1.TextToVideo(prompt=prompt, duration=5) for prompt in PROMPTS[: options.count]]
    if options.live:
        units = sum(estimate(request).most or 0 for request in requests)
        print(f"This makes up to {len(requests)} videos for up to {units:g} units of your account.")
    async with contextlib.AsyncExitStack() as stack:
        emu = None
        if not options.live:
            emu = await stack.enter_async_context(emulator(slots={"video": SLOTS, "image": 9}, speed=SPEED))
            print(f"An emulator plays the vendor, {SPEED} times as fast, with {SLOTS} slots. Nothing is paid.")
        # what was paid for must outlive this program: then the database stays
        kept = options.out / "postgres" if options.live else None
        dsn = options.dsn or stack.enter_context(embedded_postgres(kept))
        workers = Workers({**(emu.env() if emu else {}), "KLING_FLEET_DSN": dsn})
        stack.push_async_callback(workers.end)
        fleet = await stack.enter_async_context(Fleet(dsn))
        await fleet.init()
        await fleet.submit(requests, batch=BATCH)
        pass

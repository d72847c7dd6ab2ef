"""Run a fleet: three workers share an account, one is killed in the middle, and nothing is lost or doubled.

``python3 -m examples fleet`` needs neither key nor database: an emulator plays the vendor, and a PostgreSQL
comes from a wheel. ``--dsn`` names a database of yours, ``--live`` takes the account of the key in the
environment. What is queued stands in the database: run again, an interrupted live run goes on.
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
from typing import TYPE_CHECKING, Any

from kling_async import ConfigurationError, v1
from kling_async.cli.fleet_words import status_lines
from kling_async.fleet import Fleet
from kling_async.fleet.embedded import embedded_postgres
from kling_async.prices import estimate
from kling_async.testing import emulator

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Callable

SCENES = ("A paper boat in a gutter", "A fox in fresh snow", "Bread rising in an oven", "A tram in the fog")
MOODS = ("at dawn", "in the rain", "in black and white", "from above", "close up", "at night")
PROMPTS = [f"{scene} {mood}" for mood in MOODS for scene in SCENES]
SLOTS, SPEED = 6, 10
"""Of the emulator: its slots for videos, and how many times as fast as the vendor it is."""


class Workers:
    """``kling fleet worker`` in processes of their own, which share the account's slots by the database."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = (folder / "workers.log").open("ab")
        arguments = ("fleet", "worker", "--out", str(folder), "--grace", "2")
        self._command = (sys.executable, "-m", "kling_async", *arguments)
        self._options: Any = {"env": {**os.environ, **environment}, "stdout": self._log, "stderr": self._log}
        self.alive: dict[int, Process] = {}

    async def start(self) -> int:
        """Start one; Ctrl-C is for this program alone, which then ends its workers. Return its process id."""
        process = await asyncio.create_subprocess_exec(
            *self._command, **self._options, start_new_session=True
        )
        self.alive[process.pid] = process
        return process.pid

    async def kill_busiest(self, fleet: Fleet) -> tuple[str, int]:
        """Kill the worker with most tasks, start another; say so, and how many tasks run on without it."""
        held = {
            int(m.name.rpartition(":")[2]): m.slots.get("video", 0) for m in (await fleet.status()).members
        }
        pid = max(self.alive, key=lambda pid: held.get(pid, 0))
        victim, left = self.alive.pop(pid), held.get(pid, 0)
        victim.kill()
        await victim.wait()
        other = await self.start()
        return f"SIGKILL for worker {pid}: {left} tasks run on without it; {other} takes its place", left

    async def end(self) -> None:
        """End all: by SIGTERM they leave what runs to others; whoever does not end in time is killed."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for process in self.alive.values():
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(sign)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(6):
                    await asyncio.gather(*(process.wait() for process in self.alive.values()))
        self._log.close()


@contextlib.asynccontextmanager
async def live_status(fleet: Fleet) -> AsyncIterator[Callable[[str], object]]:
    """Show on a terminal what ``kling fleet status`` shows; yield what prints a line above it."""
    if not sys.stdout.isatty():
        yield lambda line: print(line, flush=True)
        return
    from rich.live import Live  # noqa: PLC0415 - for terminals only
    from rich.text import Text  # noqa: PLC0415 - as above

    async def draw(live: Live) -> None:
        while True:
            lines = status_lines(await fleet.status(), live.console.width)
            live.update(Text("\n".join(["", *lines]), no_wrap=True), refresh=True)
            await asyncio.sleep(1)

    with Live(auto_refresh=False, transient=True) as live:
        drawing = asyncio.create_task(draw(live))
        try:
            yield lambda line: live.console.print(Text(line))
        finally:
            drawing.cancel()
            await asyncio.wait([drawing])


async def run(options: argparse.Namespace) -> int:
    """Run the batch; return the exit status."""
    requests = [v1.TextToVideo(prompt=prompt, duration=5) for prompt in PROMPTS[: options.count]]
    async with contextlib.AsyncExitStack() as stack:
        emu, environment = None, dict[str, str]()
        if options.live:
            units = sum(estimate(request).most or 0 for request in requests)
            print(f"This makes up to {len(requests)} videos for up to {units:g} units of your account.")
        else:
            emu = await stack.enter_async_context(emulator(slots={"video": SLOTS, "image": 9}, speed=SPEED))
            environment = emu.env()
            print(f"An emulator plays the vendor, {SPEED} times as fast, {SLOTS} slots. Nothing is paid.")
        # what has been paid for must outlive this program
        kept = options.out / "postgres" if options.live else None
        dsn = options.dsn or stack.enter_context(embedded_postgres(kept))
        await Fleet(dsn).init()
        fleet = await stack.enter_async_context(Fleet(dsn))
        batch = "example" if options.live else f"example-{time.strftime('%H%M%S')}"
        await fleet.submit(requests, batch=batch)
        workers = Workers(options.out, {**environment, "KLING_FLEET_DSN": dsn})
        stack.push_async_callback(workers.end)
        pids = [await workers.start() for _ in range(3)]
        print(f"{len(requests)} jobs are queued; three workers: {', '.join(map(str, pids))}\n", flush=True)
        began, done, failed, adopted = time.monotonic(), 0, 0, 0
        async with live_status(fleet) as say:
            async for outcome in fleet.results(batch, folder=options.out):
                done, failed = done + 1, failed + (not outcome.ok)
                what = ", ".join(map(str, outcome.files)) or outcome.error
                say(f"{time.monotonic() - began:5.0f} s  {PROMPTS[outcome.position]}: {what}")
                if done == max(1, len(requests) // 4):
                    line, adopted = await workers.kill_busiest(fleet)
                    say(f"         {line}")
        print(f"\n{done - failed} of {len(requests)} videos are in {options.out}/, {failed} failed.")
        if emu is not None:
            made = Counter(task.external_task_id for task in emu.tasks.values())
            once, peak = sum(times == 1 for times in made.values()), emu.ledger.peak("video")
            print(
                f"Proof, by the vendor's own record: {once} created once, {len(made) - once} more than once;"
            )
            print(f"{len(requests) - done} lost, {adopted} adopted; never more than {peak} at a time.")
    print(HOW_TO)
    return 1 if failed else 0


HOW_TO = """
The same with your own account (costs units) and database, on as many machines as you like:
  export KLING_API_KEY=... KLING_FLEET_DSN=postgresql://user@host/database  # the password: in ~/.pgpass
  kling fleet init
  kling fleet submit jobs.jsonl       # once, from anywhere
  kling fleet worker --out videos     # on each machine
  kling fleet status --watch
or this program with it: python3 -m examples fleet --live --count 2"""


def main() -> int | str:
    """Read the command line, and run."""
    parser = argparse.ArgumentParser(
        prog="python3 -m examples fleet", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--dsn", default=os.environ.get("KLING_FLEET_DSN"), help="a PostgreSQL 14 or newer")
    parser.add_argument("--live", action="store_true", help="use the account of KLING_API_KEY; costs units")
    parser.add_argument("--count", type=int, default=len(PROMPTS), help="prompts (default: all, %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the files (default: out)")
    try:
        return asyncio.run(run(parser.parse_args()))
    except ConfigurationError as error:
        return f"{error}"
    except KeyboardInterrupt:
        return "\nStopped. No worker is left."


if __name__ == "__main__":
    sys.exit(main())

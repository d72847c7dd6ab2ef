"""A worker as a process of its own; `tests.fleet.crew` starts it with an order as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any


def shift_wall_clock(seconds: float) -> None:
    """Set this process's wall clock off, before anything of the package has seen it."""
    right = time.time
    time.time = lambda: right() + seconds


async def work(order: dict[str, Any]) -> None:
    """Work for a fleet, or run all requests alone; print what happens as lines of JSON."""
    from kling_async import Client, Polling, v1  # noqa: PLC0415 - after the clock was set

    client = Client(
        base_url=order["url"],
        api_key=order["key"],
        slots=order.get("dsn"),
        limits=order["limits"],
        polling=Polling(**order["polling"]),
    )
    async with client:
        if "dsn" in order:
            from kling_async.fleet import Fleet  # noqa: PLC0415 - as above

            async with Fleet(order["dsn"]) as fleet:
                say({"ready": True})
                await fleet.work(client, **order["options"])
        else:
            requests = [v1.TextToVideo(prompt=prompt) for prompt in order["prompts"]]
            say({"ready": True})
            await asyncio.gather(*map(client.run, requests))
        say({"requests": dict(client.stats().requests), "refused": client.stats().refused})


def say(line: dict[str, Any]) -> None:
    """Print a line at once."""
    print(json.dumps(line), flush=True)  # noqa: T201 - the test reads it


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    shift_wall_clock(given.get("shift", 0.0))
    asyncio.run(work(given))

"""A process that shares slots with others; see test_workers.py. It prints a line for each task that ends."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from kling_async import Client, Polling, v1


async def work(order: dict[str, Any]) -> None:
    """Run all tasks of an order, submitted at once when the time has come."""
    client = Client(
        base_url=order["url"],
        api_key=order["key"],
        slots=order["slots"],
        limits={"video": order["limit"]} if order["limit"] else None,
        polling=Polling(min_interval=0.2, max_interval=1.0),
    )

    async def one(name: str) -> None:
        request = v1.TextToVideo(prompt=f"a boat named {name}")
        result = await client.run(request, external_task_id=name, if_exists=order["if_exists"])
        say({"ended": name, "at": time.time(), "files": len(result.videos)})

    async with client:
        say({"ready": True})
        await asyncio.sleep(max(0.0, order["begin"] - time.time()))
        await asyncio.gather(*map(one, order["names"]))
        stats = client.stats()
        say({"requests": dict(stats.requests), "refused": stats.refused})


def say(line: dict[str, Any]) -> None:
    """Print a line at once."""
    print(json.dumps(line), flush=True)  # noqa: T201 - the test reads it


if __name__ == "__main__":
    asyncio.run(work(json.loads(sys.argv[1])))

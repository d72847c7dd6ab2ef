"""A worker in a process of its own, as `kling fleet worker` runs one; see test_worker_processes.py."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

from kling_async import Client, Polling
from kling_async.fleet import Fleet


async def work(order: dict[str, Any]) -> None:
    """Work until a signal ends it."""
    client = Client(
        base_url=order["url"],
        api_key=order["key"],
        slots=order["slots"],
        polling=Polling(min_interval=0.1, max_interval=0.3),
    )
    async with client, Fleet(order["dsn"]) as fleet:
        await fleet.work(client, **order["options"])


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(name)s %(levelname)s %(message)s")
    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    asyncio.run(work(json.loads(sys.argv[1])))

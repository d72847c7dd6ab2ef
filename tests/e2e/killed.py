"""Run a batch in a process that kills itself at a scripted point; see test_batch_killed.py."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any, Final

from kling_async import Client, Polling, Retry, v1
from kling_async.batch.journal import Journal
from kling_async.downloads import fetch, result_files
from kling_async.http.transport import Transport
from kling_async.orchestrator import recovery

JOBS: Final = 150
POINTS: Final = ("before put", "after put", "before create", "after create", "in a file", "after a file")


def requests() -> list[Any]:
    """Return clips and images, each prompt twice."""
    made: list[Any] = []
    for n in range(JOBS):
        prompt = f"no {n // 2}; emulator:seconds=0.02"  # every prompt twice
        made.append(v1.ImageGeneration(prompt=prompt) if n % 5 == 4 else v1.TextToVideo(prompt=prompt))
    return made


class Killer:
    """Ends this process, as a power cut would, when a point is passed for the n-th time."""

    def __init__(self, point: str, times: int) -> None:
        self.point, self.left = point, times

    def passes(self, point: str) -> None:
        """Note that a point is passed."""
        if point == self.point:
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Watch all points."""
        put, create, _fetch = Journal.put, Transport.create, fetch.fetch

        async def watched_put(journal: Any, entry: Any) -> None:
            self.passes("before put")
            await put(journal, entry)
            self.passes("after put")

        async def watched_create(transport: Any, *args: Any, **more: Any) -> Any:
            self.passes("before create")
            verdict = await create(transport, *args, **more)
            self.passes("after create")
            return verdict

        journal_type: Any = Journal
        transport_type: Any = Transport
        journal_type.put, transport_type.create = watched_put, watched_create
        self._watch_files()

    def _watch_files(self) -> None:
        real = fetch.fetch

        async def watched(*args: Any, **more: Any) -> Any:
            asyncio.get_running_loop().call_later(0.002, self.passes, "in a file")
            found = await real(*args, **more)
            self.passes("after a file")
            return found

        module: Any = result_files
        module.fetch = watched


def main(url: str, key: str, folder: str, point: str, times: int) -> None:
    """Run the batch until it is killed, or ends."""
    module: Any = recovery
    module.PAUSE = 0.05
    Killer(point, times).install()

    async def run() -> None:
        polling = Polling(min_interval=0.01, max_interval=0.05, requests_per_second=500)
        client = Client(
            api_key=key,
            base_url=url,
            polling=polling,
            limits={"video": 5, "image": 9},
            retry=Retry(base=0.02),
        )
        where = Path(folder)
        async with (
            client,
            client.batch(
                requests(), journal=where / "jobs.sqlite", download_to=where / "out", name="{index}"
            ) as results,
        ):
            outcomes = [outcome async for outcome in results]
        said = "\n".join(
            sorted(f"{o.position} {o.ok} {len(o.files)} {o.units:g} {o.error}" for o in outcomes)
        )
        (where / "said").write_text(said)

    asyncio.run(run())

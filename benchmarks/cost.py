"""Measure the cost of the client itself: CPU time and pace, against a loop of bare aiohttp and json.

Tasks end at once and 50 slots are free, so there is little to wait for. The emulator runs in another process,
a fresh one for each run; the rival sends the same creates and one GET each, 50 at a time. Our client submits
all at once, for submitting is queueing. Its pace is bound by the default of 10 status queries a second, so a
second row lifts that bound. CPU is that of this process.
"""

from __future__ import annotations

import asyncio
import json
import re
import statistics
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import aiohttp

from kling_async import Client, Polling, v1
from kling_async.v1 import DEFAULT_VIDEO_MODEL

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    Way = Callable[["Server", int], Coroutine[None, None, None]]

TASKS, REPEATS = 5000, 5
SLOTS = 50
PROMPT = "A paper boat; emulator:seconds=0"
PATH = "/v1/videos/text2video"
TARGET = 1.3
"""Greatest CPU time, relative to the rival's."""

DEFAULT = Polling(min_interval=0)
EAGER = Polling(min_interval=0, requests_per_second=1000, request_cost=0.01)


class Server(NamedTuple):
    """Address and key of the emulator."""

    url: str
    api_key: str


class Run(NamedTuple):
    """Measurements of one way."""

    cpu: float
    """CPU seconds per task."""
    pace: float
    """Tasks per second."""


class Row(NamedTuple):
    """One line of the table; the rival ran in the same repetitions."""

    name: str
    ours: list[Run]
    bare: list[Run]

    @property
    def cpu(self) -> list[float]:
        """Our CPU time over the rival's, sorted."""
        return sorted(mine.cpu / other.cpu for mine, other in zip(self.ours, self.bare, strict=True))

    @property
    def pace(self) -> list[float]:
        """Our pace over the rival's, sorted."""
        return sorted(mine.pace / other.pace for mine, other in zip(self.ours, self.bare, strict=True))


@contextmanager
def serving() -> Iterator[Server]:
    """Run the emulator in another process."""
    program = [sys.executable, "-m", "kling_async", "emulator", "--slots", f"video={2 * SLOTS}"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            said = ""
            while "Ctrl-C" not in said:
                line = running.stdout.readline()
                assert line, said
                said += line
            env = dict(re.findall(r"^export (\w+)=(\S+)$", said, re.MULTILINE))
            yield Server(env["KLING_BASE_URL"], env["KLING_API_KEY"])
        finally:
            running.kill()


async def ours(polling: Polling, server: Server, tasks: int) -> None:
    """Run all tasks with our client, by ``run()`` alone."""
    async with Client(
        base_url=server.url, api_key=server.api_key, limits={"video": SLOTS}, polling=polling
    ) as client:

        async def one(place: int) -> None:
            result = await client.run(v1.TextToVideo(prompt=f"{PROMPT} {place}"))
            assert result.videos[0].url

        await asyncio.gather(*(one(place) for place in range(tasks)))


async def bare(server: Server, tasks: int) -> None:
    """Run all tasks with bare aiohttp: a create and a GET each, whatever the answers say."""
    headers = {"Authorization": f"Bearer {server.api_key}", "Content-Type": "application/json"}
    path = server.url + PATH
    todo = iter(range(tasks))

    async def worker(session: aiohttp.ClientSession) -> None:
        for place in todo:
            body = {
                "model_name": DEFAULT_VIDEO_MODEL,
                "prompt": f"{PROMPT} {place}",
                "external_task_id": str(uuid.uuid4()),
            }
            async with session.post(path, data=json.dumps(body)) as response:
                made = json.loads(await response.read())["data"]
            async with session.get(f"{path}/{made['task_id']}") as response:
                seen = json.loads(await response.read())["data"]
            assert seen["task_id"] == made["task_id"]

    async with aiohttp.ClientSession(headers=headers) as session:
        await asyncio.gather(*(worker(session) for _ in range(SLOTS)))


def run(way: Way, tasks: int) -> Run:
    """Run that many tasks one way; return its measurements."""
    with serving() as server:
        start, cpu = time.perf_counter(), time.process_time()
        asyncio.run(way(server, tasks))
        return Run((time.process_time() - cpu) / tasks, tasks / (time.perf_counter() - start))


def table(tasks: int = TASKS, repeats: int = REPEATS) -> list[Row]:
    """Measure everything, our client and the rival in turn."""
    ways = {
        "Polling(min_interval=0)": partial(ours, DEFAULT),
        "the same, polling freely": partial(ours, EAGER),
    }
    warm: tuple[Way, ...] = (*ways.values(), bare)
    for way in warm:  # warm up: imports and caches are filled by now
        run(way, max(1, tasks // 20))
    rows = [Row(name, [], []) for name in ways]
    for _ in range(repeats):
        for row, way in zip(rows, ways.values(), strict=True):
            row.ours.append(run(way, tasks))
            row.bare.append(run(bare, tasks))
    return rows


def main() -> None:
    """Print the table."""
    print(f"\nWhat the client costs: {TASKS} tasks that end at once, {SLOTS} slots, {REPEATS} pairs of runs")
    print(
        f"{'over bare aiohttp and json':<26}{'CPU':>7}{'min..max':>13}{'pace':>7}{'us a task':>11}{'bare':>6}"
    )
    for row in table():
        cpu, mine, other = statistics.median(row.cpu), _cpu(row.ours), _cpu(row.bare)
        mark = "" if cpu <= TARGET else f"  missed: {TARGET}"
        print(
            f"{row.name:<26}{cpu:7.2f}{row.cpu[0]:7.2f}..{row.cpu[-1]:.2f}"
            f"{statistics.median(row.pace):7.2f}{mine:11.0f}{other:6.0f}{mark}"
        )


def _cpu(runs: list[Run]) -> float:
    return statistics.median(run.cpu for run in runs) * 1e6


if __name__ == "__main__":
    main()

"""Run a batch whose input blocks, in a process of its own; see test_batch_sources.py."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kling_async import Client, Polling, v1

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def clips(lines: Iterable[Any]) -> Iterator[v1.TextToVideo]:
    """Make a request of each line."""
    for line in lines:
        text = line.decode() if isinstance(line, bytes) else line
        yield v1.TextToVideo(prompt=text.strip())


def pipe(path: Path) -> Iterator[str]:
    """Read the lines of a named pipe; to open it waits for its writer."""
    with path.open() as lines:
        yield from lines


def rows(folder: Path) -> Iterator[Any]:
    """Read prompts of a database by a cursor that was made in the main thread."""
    return (v1.TextToVideo(prompt=text) for (text,) in cursor(folder))


def cursor(folder: Path) -> sqlite3.Cursor:
    """Return a cursor over two prompts; its connection lives as long."""
    connection = sqlite3.connect(folder / "prompts.sqlite")
    connection.execute("CREATE TABLE IF NOT EXISTS prompts (text)")
    connection.executemany("INSERT INTO prompts VALUES (?)", [("one",), ("two",)])
    return connection.execute("SELECT text FROM prompts")


def say(text: str) -> None:
    """Write a line at once, whoever reads it."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def source(kind: str, folder: Path) -> Any:
    """Return the input to read."""
    match kind:
        case "stdin":
            return clips(sys.stdin)
        case "bytes":
            return clips(sys.stdin.buffer)
        case "bare":  # the lines themselves: none is a request
            return sys.stdin
        case "pipe":
            return clips(pipe(folder / "pipe"))
        case _:
            return rows(folder)


async def run(url: str, key: str, kind: str, folder: Path, *, in_thread: bool) -> None:
    """Run the batch, and say what happens."""
    polling = Polling(min_interval=0.01, max_interval=0.05, requests_per_second=500)
    async with Client(api_key=key, base_url=url, polling=polling, limits={"video": 5}) as client:
        async with client.batch(source(kind, folder), source_thread=in_thread) as results:
            say("begun")
            async for outcome in results:
                say(f"{outcome.position} {outcome.ok}")
        say(f"stopped {results.report.stopped} {results.report.running}")


if __name__ == "__main__":
    _, address, api_key, what, where, thread = sys.argv
    asyncio.run(run(address, api_key, what, Path(where), in_thread=thread == "thread"))

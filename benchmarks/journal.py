"""Measure the cost of a journal: rows written per second, and the time to resume 100,000 finished jobs.

Writing is compared with a plain loop that commits every row by itself, with the same settings of SQLite;
resuming, with only reading the input. Times are medians; each pair runs one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from kling_async import Client, v1
from kling_async.batch.entry import Entry, JobState, JournaledFile, Times, advance, pack
from kling_async.batch.identity import external_id, fingerprint, identity
from kling_async.batch.journal import Journal
from kling_async.wire.checks import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROWS, JOBS, PAIRS = 10_000, 100_000, 5
AT_ONCE = (1, 10, 100, 1000)
SIZE = 12_345_678
"""Size of a stored file, in bytes; sparse, so that it takes no room on the disk."""
WRITE_TARGET, RESUME_TARGET = 5.0, 2.0

_requests = msgspec.json.Decoder(v1.TextToVideo)


class Ratio(NamedTuple):
    """Two rates or times, and their ratio."""

    ours: float
    other: float
    ratio: float


def line(number: int) -> bytes:
    """Return one line of a jobs file."""
    prompt = f"A paper boat, number {number}, sails along a rainy street; the camera follows it slowly"
    job = {"prompt": prompt, "mode": "pro", "duration": 10, "aspect_ratio": "9:16"}
    return json.dumps(job).encode() + b"\n"


def requests(path: Path) -> Iterator[v1.TextToVideo]:
    """Read a jobs file."""
    with path.open("rb") as lines:
        yield from map(_requests.decode, lines)


def planned(number: int, name: str, journal_id: str) -> Entry:
    """Return the entry of a job before its create."""
    return Entry(
        identity=name,
        position=number,
        endpoint="text_to_video",
        external_task_id=external_id(journal_id, name, 0),
        account="0123456789abcdef",
        defaults={"model_name": "kling-v3"},
        times=Times(planned=1.8e9 + number),
    )


def finished(entry: Entry) -> Entry:
    """Return the entry of a finished job."""
    task_id = str(800_000_000_000_000_000 + entry.position)
    return advance(
        entry,
        JobState.DONE,
        task_id=task_id,
        units="5",
        files=(JournaledFile(f"{task_id}.mp4", SIZE),),
        times=Times(1.8e9, 1.8e9 + 0.25, 1.8e9 + 95.5, 1.8e9 + 99.75),
    )


# -- writing


def alone(folder: Path, entries: Sequence[Entry]) -> float:
    """Commit every row by itself; return rows per second."""
    with contextlib.closing(sqlite3.connect(folder / "alone.sqlite", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute(
            "CREATE TABLE jobs (identity BLOB PRIMARY KEY, position INTEGER, state INTEGER, entry BLOB)"
        )
        start = time.perf_counter()
        for entry in entries:
            row = (bytes.fromhex(entry.identity), entry.position, entry.state, pack(entry))
            db.execute("INSERT INTO jobs VALUES (?, ?, ?, ?)", row)
        return len(entries) / (time.perf_counter() - start)


async def together(folder: Path, entries: Sequence[Entry], at_once: int) -> float:
    """Put all rows, so many at once; return rows per second."""
    async with Journal(folder / "together.sqlite") as journal:
        todo = iter(entries)

        async def work() -> None:
            for entry in todo:
                await journal.put(entry)

        start = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(at_once)))
        return len(entries) / (time.perf_counter() - start)


def writing(at_once: int, rows: int = ROWS, pairs: int = PAIRS) -> Ratio:
    """Compare rows per second."""
    entries = [planned(n, identity(None, str(n), 0), "journal") for n in range(rows)]
    found = []
    for _ in range(pairs):
        with tempfile.TemporaryDirectory() as name:
            other = alone(Path(name), entries)
            ours = asyncio.run(together(Path(name), entries, at_once))
            found.append(Ratio(ours, other, ours / other))
    return _median(found)


# -- resuming


def stored(folder: Path, entry: Entry) -> None:
    """Create the files that an entry names."""
    for file in entry.files or ():
        with (folder / file.name).open("wb") as empty:
            empty.truncate(file.size)


async def fill(path: Path, jobs: Path) -> None:
    """Write a journal in which every job of a file is done, and their files."""
    out = path.parent / "out"
    out.mkdir()
    async with Journal(path) as journal:
        batch: list[Entry] = []
        for number, request in enumerate(requests(jobs)):
            name = identity(None, fingerprint("text_to_video", request, {}), 0)
            batch.append(finished(planned(number, name, journal.id)))
            stored(out, batch[-1])
            if len(batch) == 1000:
                await asyncio.gather(*map(journal.put, batch))
                batch.clear()
        await asyncio.gather(*map(journal.put, batch))


async def batch_on(path: Path, jobs: Path) -> int:
    """Run a whole batch over finished jobs and their files; return how many outcomes it remembered."""
    async with Client(api_key="x", base_url="http://127.0.0.1:1") as client:
        batch = client.batch(requests(jobs), journal=path, download_to=path.parent / "out")
        async with batch as results:
            return len([None async for outcome in results if outcome.resumed])


async def read_all(path: Path) -> int:
    """Read every row of a journal; return how many there are."""
    async with Journal(path) as journal:
        return len([None async for _ in journal.entries()])


def just_read(jobs: Path, *, checked: bool) -> None:
    """Read a jobs file: only parse it, or check each request too, as before a submit."""
    for request in requests(jobs):
        if checked:
            check(request)


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


class Resuming(NamedTuple):
    """The time that a new run of finished jobs takes, in seconds."""

    ratios: dict[str, Ratio]
    size: float
    """Bytes of the file per finished row."""


def resuming(count: int = JOBS, pairs: int = PAIRS) -> Resuming:
    """Compare with only reading the input."""
    found: dict[str, list[Ratio]] = {}
    with tempfile.TemporaryDirectory() as name:
        path, jobs = Path(name) / "jobs.sqlite", Path(name) / "jobs.jsonl"
        with jobs.open("wb") as file:
            file.writelines(map(line, range(count)))
        asyncio.run(fill(path, jobs))
        size = path.stat().st_size / count
        ways = (batch_on(path, jobs), read_all(path))
        if [asyncio.run(way) for way in ways] != [count] * len(ways):
            raise RuntimeError("not all jobs were found done")
        for _ in range(pairs):
            checked = seconds(lambda: just_read(jobs, checked=True))
            parsed = seconds(lambda: just_read(jobs, checked=False))
            rows = seconds(lambda: asyncio.run(read_all(path)))
            batch = seconds(lambda: asyncio.run(batch_on(path, jobs)))
            for what, ours, other in (
                ("going on / parse and check", batch, checked),
                ("going on / parse alone", batch, parsed),
                ("read all rows / parse alone", rows, parsed),
            ):
                found.setdefault(what, []).append(Ratio(ours, other, ours / other))
    return Resuming({what: _median(ratios) for what, ratios in found.items()}, size)


def _median(found: list[Ratio]) -> Ratio:
    return Ratio(*(statistics.median(column) for column in zip(*found, strict=True)))


def main() -> None:
    """Print the tables."""
    print("\nThe journal: rows per second, every one flushed to the disk (synchronous=FULL)")
    print(f"{'puts at once':<24}{'ours':>10}{'one commit a row':>18}{'ratio':>8}  target")
    for at_once in AT_ONCE:
        row = writing(at_once)
        target = f"{WRITE_TARGET:g}" if at_once == AT_ONCE[-1] else ""
        print(f"{at_once:<24}{row.ours:>10,.0f}{row.other:>18,.0f}{row.ratio:>8.2f}  {target}".rstrip())
    found = resuming()
    print(f"\nGoing on: seconds in which a batch hands out {JOBS:,} outcomes of finished jobs, looking at")
    print("their files, against only reading the input: with the checks that whatever is sent needs, or not")
    print(f"{'':<30}{'ours':>10}{'only reading':>14}{'ratio':>8}  target")
    for place, (what, row) in enumerate(found.ratios.items()):
        target = f"{RESUME_TARGET:g}" if place == 0 else ""
        print(f"{what:<30}{row.ours:>10.2f}{row.other:>14.2f}{row.ratio:>8.2f}  {target}".rstrip())
    print(f"{'bytes of a finished row':<30}{found.size:>10.0f}")


if __name__ == "__main__":
    main()

"""A process that uses a journal and is killed: ``python -m tests.victim journal point number``.

Whatever the journal reported as stored is printed to standard output, a line each: identity and state. The
``number``-th time the process comes to the given point it kills itself, as by ``kill -9``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kling_async.batch.entry import Entry, JobState, JournaledFile, advance
from kling_async.batch.identity import external_id, identity
from kling_async.batch.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS, JOBS = 8, 40
POINTS = ("BEGIN", "INSERT INTO jobs", "UPDATE jobs", "COMMIT", "committed", "told")
"""Before a statement of SQL; after a commit, before anybody knows of it; after a caller was told."""
STATES = (JobState.PLANNED, JobState.CREATED, JobState.SUCCEEDED, JobState.DONE)


async def entry_of(journal: Journal, identity: str) -> Entry | None:
    """Return the entry of one job."""
    (entry,) = await journal.several([identity])
    return entry


def job(number: int, journal_id: str = "journal") -> Entry:
    """Make a job whose entry is so large that a commit of several fills pages."""
    name = identity(None, str(number), 0)
    external = external_id(journal_id, name, 0)
    return Entry(
        identity=name, position=number, endpoint="e", external_task_id=external, label=f"{number} " * 400
    )


def killer(point: str, number: int) -> Callable[[str], None]:
    """Make a callback that kills this process when it reaches ``point`` for the ``number``-th time."""
    left = [number]

    def come_to(where: str) -> None:
        if where.startswith(point):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    return come_to


async def work(journal: Journal, numbers: list[int], come_to: Callable[[str], None]) -> None:
    """Take jobs through all their states."""
    while numbers:
        entry = job(numbers.pop(0), journal.id)
        for state in STATES:
            files = (JournaledFile("a.mp4", 1),) if state is JobState.DONE else None
            entry = advance(entry, state, files=files)
            await journal.put(entry)
            os.write(1, f"{entry.identity} {state.value}\n".encode())
            come_to("told")


async def run(path: Path, come_to: Callable[[str], None]) -> None:
    """Fill a journal until killed."""
    async with Journal(path) as journal:
        store: Any = journal._store
        store._db.execute("PRAGMA cache_size=2")  # so that pages reach the disk before the commit
        store._db.set_trace_callback(come_to)
        write = store.write

        def watched(*batch: Any) -> Any:
            refused = write(*batch)
            come_to("committed")
            return refused

        store.write = watched
        numbers = list(range(JOBS))
        await asyncio.gather(*(work(journal, numbers, come_to) for _ in range(WORKERS)))


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), killer(sys.argv[2], int(sys.argv[3]))))

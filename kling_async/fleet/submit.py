"""Submit jobs to a fleet: rows first, each job once; only new ones are handed to the queue.

A chunk of jobs is one transaction: its rows, and what procrastinate is to know of those that are new. A
submit that was cut short can be repeated, and so can one that two programs make at the same time: a job has
the identity, the fingerprint and the external id that `batch.identity` gives it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kling_async.batch.digests import InputDigests
from kling_async.batch.options import BatchOptions
from kling_async.batch.planner import JournaledJobs
from kling_async.batch.source import RequestSource
from kling_async.errors import Problem, RequestInvalid
from kling_async.fleet.rows import new_row, with_contents
from kling_async.fleet.writing import BatchRow, write_chunk
from kling_async.redaction import Serializable
from kling_async.runtime.input_files import read_regular, why_unreadable
from kling_async.wire.checks import media_fields, wrong_with
from kling_async.wire.endpoints import RawTask

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from psycopg import AsyncConnection

    from kling_async.batch.entry import Entry
    from kling_async.batch.planned import PlannedJob
    from kling_async.batch.source import Requests
    from kling_async.fleet.rows import NewRow
    from kling_async.wire.media import Media
    from kling_async.wire.requests import TaskRequest

__all__ = ["CHUNK", "Submitted", "submit"]

CHUNK: Final = 10_000
"""Most jobs that are written at once."""
_FILE_MAX: Final = 1 << 30
"""Most bytes of a file; its field's own limit was judged when its digest was computed."""
_CHUNK_BYTES: Final = 32 << 20
"""Bytes of requests from which on a chunk is written at once: files lie in them."""


class Submitted(Serializable, frozen=True, kw_only=True):
    """The jobs of one submit."""

    batch: str
    """Id of the batch: 32 hexadecimal digits, part of the external ids of its tasks."""
    name: str
    """The batch's name, as given."""
    new: int
    """Jobs that were not there before; they wait in the queue."""
    known: int
    """Jobs that an earlier submit, or this one before, had written."""
    bad: int = 0
    """Requests that were left out because they are wrong."""


class _Table:
    """Stand for a batch in `JournaledJobs`; which jobs are there already shows when rows are written."""

    def __init__(self, batch: BatchRow, *, positions_differ: bool) -> None:
        self._batch = batch
        self._positions_differ = positions_differ
        self.digests = InputDigests(_no_digest, time.time)

    @property
    def id(self) -> str:
        """The batch's id."""
        return self._batch.id

    async def several(self, identities: Sequence[str]) -> list[Entry | None]:
        """Return that all may be new."""
        return [None for _ in identities]

    async def has_position(self, position: int) -> bool:  # noqa: ARG002 - as `KnownJobs` says
        """Tell whether files need more than the position in their names: the batch has jobs already."""
        return self._positions_differ

    async def unfinished(self) -> list[Entry]:
        """Return nothing: nobody compares the input with the batch."""
        return []

    async def extent(self) -> tuple[int, int]:
        """Return that no jobs are known."""
        return 0, -1


async def _no_digest(path: str) -> str | None:  # noqa: ARG001 - each file is read once for each submit
    return None


class _Chunk(NamedTuple):
    rows: list[NewRow]
    bad: list[RequestInvalid]


async def submit(
    db: AsyncConnection[Any],
    requests: Requests[Any],
    batch: BatchRow,
    *,
    priority: int = 0,
    label: str | Callable[[TaskRequest[Any]], str] = "",
    on_bad: Callable[[RequestInvalid], object] | None = None,
) -> Submitted:
    """Write the jobs of an input that are not there yet.

    Args:
        db: A connection of its own.
        requests: Requests, or pairs of a key and a request; any iterable or async iterable.
        batch: The batch that they belong to.
        priority: Jobs of higher priority go first.
        label: The label, or a function of the request that returns it.
        on_bad: Called with the error of each wrong request, which is left out; None: the first one is raised.

    Raises:
        RequestInvalid: A request is wrong. Nothing of its chunk was written, nor, where the input is a
            sequence, of any other.
    """
    if isinstance(requests, Sequence) and on_bad is None:
        for request in requests:
            _need_good(request[1] if isinstance(request, tuple) else request)
    new = known = bad = 0
    chunks = _chunks(requests, batch, BatchOptions(priority=priority, label=label, name="{index}"))
    async with aclosing(chunks):
        async for chunk in chunks:
            for error in chunk.bad:
                if on_bad is None:
                    raise error
                on_bad(error)
                bad += 1
            written = await write_chunk(db, batch.id, chunk.rows)
            new += written
            known += len(chunk.rows) - written
    return Submitted(batch=batch.id, name=batch.name, new=new, known=known, bad=bad)


def _need_good(request: Any) -> None:
    """Check a request, where it is one: what is none is told with its place later."""
    error = wrong_with(request) if hasattr(request, "rules") else None
    if error is not None:
        raise error


async def _chunks(
    requests: Requests[Any], batch: BatchRow, options: BatchOptions
) -> AsyncGenerator[_Chunk, None]:
    """Yield rows of the input's jobs, as many as are written at once."""
    source = RequestSource(requests)
    finder = JournaledJobs(_Table(batch, positions_differ=batch.total > 0), options, "", time.time)
    chunk, size = _Chunk([], []), 0
    source.adapt(grow=True)
    try:
        async with aclosing(source.chunks()) as reading:
            async for items in reading:
                source.adapt(grow=True)
                for job in await finder.find(items):
                    row = await _row(job, options.priority)
                    if isinstance(row, RequestInvalid):
                        chunk.bad.append(row)
                        continue
                    chunk.rows.append(row)
                    size += len(row.request or b"")
                    if len(chunk.rows) >= CHUNK or size >= _CHUNK_BYTES:
                        yield chunk
                        chunk, size = _Chunk([], []), 0
        if chunk.rows or chunk.bad:
            yield chunk
    finally:
        finder.restart()


async def _row(job: PlannedJob, priority: int) -> NewRow | RequestInvalid:
    """Return the row of a job, or why it cannot be submitted."""
    request = job.item.request
    if (wrong := job.refusal()) is not None:
        return _placed(job, wrong)
    if isinstance(request, RawTask):
        text = "RawTask cannot be stored: a fleet takes requests of known endpoints"
        return _placed(job, RequestInvalid("fleet", [Problem("request", text)]))
    try:
        contents = await asyncio.get_running_loop().run_in_executor(None, _contents, request)
    except (OSError, ValueError) as error:
        text = f"cannot be read: {why_unreadable(error)}"
        return _placed(job, RequestInvalid("fleet", [Problem("files", text)]))
    return new_row(job.entry, with_contents(request, contents) if contents else request, priority)


def _contents(request: TaskRequest[Any]) -> dict[Media, bytes]:
    """Read the files of a request: its job may run on another machine."""
    return {
        media: read_regular(media.path, _FILE_MAX)
        for _, media, _ in media_fields(request)
        if media.path is not None
    }


def _placed(job: PlannedJob, error: RequestInvalid) -> RequestInvalid:
    """Return an error that says which request of the input is wrong."""
    where = f"requests[{job.item.position}]" + (f" ({job.item.key})" if job.item.key else "")
    if all(problem.field.startswith("requests[") for problem in error.problems):
        return error
    problems = [Problem(f"{where}.{problem.field}", problem.text) for problem in error.problems]
    return RequestInvalid(type(job.item.request).__name__, problems)

"""Read the input of a submit: check its requests, and turn them into rows, as many as are written at once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from kling_async.batch.digests import InputDigests
from kling_async.batch.planner import JournaledJobs
from kling_async.batch.readers import JobReader
from kling_async.batch.source import RequestSource
from kling_async.batch.source_thread import may_block
from kling_async.errors import Problem, RequestInvalid
from kling_async.fleet.rows import new_row, wrong_texts
from kling_async.orchestrator.bodies import check_media_here, embed_files
from kling_async.runtime.loop import in_thread
from kling_async.wire.checks import has_files, wrong_with
from kling_async.wire.endpoints import RawTask

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from kling_async.batch.entry import Entry
    from kling_async.batch.options import BatchOptions
    from kling_async.batch.planned import PlannedJob
    from kling_async.batch.source import Item, Requests
    from kling_async.fleet.rows import NewRow
    from kling_async.fleet.writing import BatchRow
    from kling_async.wire.requests import TaskRequest

__all__ = ["CHUNK", "Chunk", "chunks", "first_wrong"]

CHUNK: Final = 10_000
"""Most jobs that are written at once."""
_CHUNK_BYTES: Final = 32 << 20
"""Bytes of requests from which on a chunk is written at once: files lie in them."""
_PAUSE: Final = 0.5
"""Seconds without a request after which those read so far are written: the input may be endless."""
_AGE: Final = 10.0
"""Seconds after which a chunk is written that a slow input does not fill."""


class Chunk:
    """Rows to be written at once, and the errors of the requests between them."""

    def __init__(self) -> None:
        self.rows: list[NewRow] = []
        self.bad: list[RequestInvalid] = []
        self._size = 0
        self._began = time.monotonic()

    def __len__(self) -> int:
        return len(self.rows) + len(self.bad)

    def add(self, row: NewRow | RequestInvalid) -> None:
        """Add a row, or why there is none."""
        if not self:
            self._began = time.monotonic()
        if isinstance(row, RequestInvalid):
            self.bad.append(row)
        else:
            self.rows.append(row)
            self._size += len(row.request or b"")

    @property
    def full(self) -> bool:
        """Whether the chunk is to be written before more is read."""
        return len(self) >= CHUNK or self._size >= _CHUNK_BYTES or (bool(self) and self._old)

    @property
    def _old(self) -> bool:
        return time.monotonic() - self._began >= _AGE


async def first_wrong(requests: Requests[Any], options: BatchOptions) -> RequestInvalid | None:
    """Check all requests of an input that can be read twice; return the error of the first wrong one.

    What is no collection in memory, nor a file of `read_jsonl` or `read_csv`, is left alone: it may be
    readable once.
    """
    if not isinstance(requests, Iterable):
        return None
    is_file = isinstance(requests, JobReader) and requests.can_be_rehearsed
    if may_block(requests) and not is_file:
        return None
    source = RequestSource(requests)
    async with aclosing(source.chunks()) as reading:
        async for items in reading:
            source.adapt(grow=True)
            for item in items:
                if (error := item.error or await _wrong(item, options.label_of)) is not None:
                    return _placed(item, error)
    return None


async def chunks(
    requests: Requests[Any], batch: BatchRow, options: BatchOptions
) -> AsyncGenerator[Chunk, None]:
    """Yield rows of the input's jobs, as many as are written at once; fewer where the input pauses."""
    finder = JournaledJobs(_Table(batch, positions_differ=batch.total > 0), options, "", time.time)
    source, chunk = RequestSource(requests), Chunk()
    source.adapt(grow=True)
    reader = _Reader(source.chunks())
    try:
        while (items := await reader.next(_PAUSE if chunk else None)) is not None:
            if not items:
                yield chunk
                chunk = Chunk()
                continue
            source.adapt(grow=True)
            for job in await finder.find(items):
                chunk.add(await _row(job, options.priority))
                if chunk.full:
                    yield chunk
                    chunk = Chunk()
        if chunk:
            yield chunk
    finally:
        await reader.close()
        finder.restart()


class _Reader:
    """Reads an asynchronous generator with limits of time that do not end the reading under way."""

    def __init__(self, reading: AsyncGenerator[list[Item], None]) -> None:
        self._reading = reading
        self._next: asyncio.Task[list[Item] | None] | None = None

    async def next(self, seconds: float | None) -> Sequence[Item] | None:
        """Return the next items; none at all: none came in that time; None: the input has ended."""
        if self._next is None:
            self._next = asyncio.create_task(_next_of(self._reading), name="kling_async fleet input")
        await asyncio.wait([self._next], timeout=seconds)
        if not self._next.done():
            return ()
        done, self._next = self._next, None
        return done.result()

    async def close(self) -> None:
        """End the reading, wherever it stands."""
        if self._next is not None:
            self._next.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._next
        await self._reading.aclose()


async def _next_of(reading: AsyncGenerator[list[Item], None]) -> list[Item] | None:
    return await anext(reading, None)


# -- one request


async def _row(job: PlannedJob, priority: int) -> NewRow | RequestInvalid:
    """Return the row of a job, or why it cannot be submitted."""
    if (error := job.error or await _wrong(job.item, job.entry.label)) is not None:
        return _placed(job.item, error)
    request = job.item.request
    if not has_files(request):
        return new_row(job.entry, request, priority)
    try:  # its job may run on another machine
        whole = await in_thread(asyncio.get_running_loop(), embed_files, request, job.digests)
    except RequestInvalid as wrong:
        return _placed(job.item, wrong)
    return new_row(job.entry, whole, priority)


async def _wrong(item: Item, label: str | Callable[[TaskRequest[Any]], str]) -> RequestInvalid | None:
    """Return why a request cannot be submitted; None if it can be."""
    request = item.request
    error = wrong_with(request) or _unstorable(item, label)
    if error is None and has_files(request):
        error = await in_thread(asyncio.get_running_loop(), _wrong_media, request)
    return error


def _unstorable(item: Item, label: str | Callable[[TaskRequest[Any]], str]) -> RequestInvalid | None:
    """Return why a request cannot stand in the table."""
    if isinstance(item.request, RawTask):
        text = "RawTask cannot be stored: a fleet takes requests of known endpoints"
        return RequestInvalid("fleet", [Problem("request", text)])
    try:
        problems = wrong_texts(item.key, label if isinstance(label, str) else label(item.request))
    except RequestInvalid as error:
        return error
    return RequestInvalid(type(item.request).__name__, problems) if problems else None


def _wrong_media(request: TaskRequest[Any]) -> RequestInvalid | None:
    """Check the files of a request, their first bytes included."""
    try:
        # whether the API can reach an address depends on where the API is, which the worker knows
        check_media_here(request, local=True)
    except RequestInvalid as error:
        return error
    return None


def _placed(item: Item, error: RequestInvalid) -> RequestInvalid:
    """Return an error that says which request of the input is wrong."""
    if all(problem.field.startswith("requests[") for problem in error.problems):
        return error
    where = f"requests[{item.position}]" + (f" ({item.key!r:.60})" if item.key else "")
    problems = [Problem(f"{where}.{problem.field}", problem.text) for problem in error.problems]
    return RequestInvalid(type(item.request).__name__, problems)


# -- the batch as the planner sees it


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

"""Read a batch's input: any iterable or async iterable of requests or (key, request), as fast as needed.

While the journal knows every job as finished, chunks double in size, so that a run resumes after 100,000 jobs
within seconds. Once a job is to be made, chunks hold one request, so that none is read before it can begin.
What is in memory is read in the event loop, any other synchronous input in a thread: it may block.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sized
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar, cast

from kling_async.batch.source_thread import ThreadReader, may_block
from kling_async.errors import Problem, RequestInvalid
from kling_async.wire.plain import plain
from kling_async.wire.requests import CallRequest, TaskRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

__all__ = ["Item", "RequestSource", "Requests", "wrong_key"]

_CHUNK_MAX: Final = 1000
"""Most requests in a chunk."""
_CHUNK_SECONDS: Final = 0.01
"""Seconds that reading a chunk may take before its first part is yielded; it blocks the event loop."""

R = TypeVar("R")

Requests: TypeAlias = (
    Iterable[TaskRequest[R] | tuple[str | None, TaskRequest[R]]]
    | AsyncIterable[TaskRequest[R] | tuple[str | None, TaskRequest[R]]]
)
"""A batch's input, by the type of its results."""


class Item(NamedTuple):
    """One request and its place in the input."""

    position: int
    key: str | None
    request: TaskRequest[Any]
    """The request; where `error` says that there is none, the value in its place."""
    error: RequestInvalid | None = None
    """Why the value is no request, or the key cannot be used."""


class RequestSource:
    """Reads the input in chunks, from its beginning each time.

    Args:
        requests: The caller's iterable.
        in_thread: Whether to read what may block in a thread of its own.
    """

    def __init__(self, requests: Requests[Any], *, in_thread: bool = True) -> None:
        self._requests = requests
        self._in_thread = in_thread
        self._position = 0
        self._size = 1
        self._read_whole = False

    @property
    def has_length(self) -> bool:
        """Whether the input has a length, so that it is known to end."""
        return isinstance(self._requests, Sized)

    @property
    def total(self) -> int | None:
        """How many requests the input holds; None while that is not known."""
        if self._read_whole:
            return self._position
        return len(self._requests) if isinstance(self._requests, Sized) else None

    def adapt(self, *, grow: bool) -> None:
        """Double the size of the next chunk, or set it back to one request."""
        self._size = min(_CHUNK_MAX, self._size * 2) if grow else 1

    async def chunks(self) -> AsyncGenerator[list[Item], None]:
        """Yield the input in order; an error of the input comes after the requests read before it."""
        self._position, self._read_whole = 0, False
        requests = self._requests
        if isinstance(requests, AsyncIterable):
            reading = self._from_async(aiter(requests))
        elif not isinstance(requests, Iterable) or isinstance(requests, Mapping | str | bytes | bytearray):
            advice = "; its items() are pairs of key and request" if isinstance(requests, Mapping) else ""
            raise TypeError(f"a batch takes an iterable of requests, not {type(requests).__name__}{advice}")
        elif self._in_thread and may_block(requests):
            reading = self._from_thread(requests)
        else:
            reading = self._from_sync(iter(requests))
        async with aclosing(reading) as chunks:
            async for chunk in chunks:
                yield chunk
        self._read_whole = True

    async def _from_sync(self, values: Iterator[Any]) -> AsyncGenerator[list[Item], None]:
        clock = asyncio.get_running_loop().time
        chunk, began = list[Item](), clock()
        broken: Exception | None = None
        while True:
            try:
                chunk.append(self._item(next(values)))
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001 - raised below, after the requests read before it
                broken = error
                break
            if len(chunk) >= self._size or clock() - began > _CHUNK_SECONDS:
                yield chunk
                chunk, began = [], clock()
        if chunk:
            yield chunk
        if broken is not None:
            raise broken

    async def _from_thread(self, values: Iterable[Any]) -> AsyncGenerator[list[Item], None]:
        """Yield requests as they arrive from a thread."""
        reader = ThreadReader(values)
        try:
            while found := await reader.read(self._size):
                yield [self._item(value) for value in found]
        finally:
            await reader.close()

    async def _from_async(self, values: AsyncIterator[Any]) -> AsyncGenerator[list[Item], None]:
        """Yield requests as they arrive; a slow source does not hold back those that are there."""
        chunk: list[Item] = []
        broken: Exception | None = None
        reader = _Reader(values)
        try:
            while broken is None:
                coming = reader.ask()
                if len(chunk) < self._size:
                    # with requests at hand wait for none, but take those that the source has ready
                    await asyncio.wait([coming], timeout=0 if chunk else None)
                if chunk and (len(chunk) >= self._size or not coming.done()):
                    yield chunk
                    chunk = []
                try:
                    value = await coming
                    if value is _END:
                        break
                    chunk.append(self._item(value))
                except Exception as error:  # noqa: BLE001 - raised below, after the requests read before it
                    broken = error
        finally:
            await reader.close()
        if chunk:
            yield chunk
        if broken is not None:
            raise broken

    async def longest(self, seconds: Callable[[TaskRequest[Any]], float]) -> AsyncGenerator[list[Item], None]:
        """Read the whole input, then yield it in chunks, the longest tasks first.

        Args:
            seconds: Returns how long a request's task may take.
        """
        # no job can begin before the whole input is read, so read it in the largest chunks
        size, self._size = self._size, _CHUNK_MAX
        items = [item async for chunk in self.chunks() for item in chunk]
        items.sort(key=lambda item: -_seconds_of(item, seconds))
        self._size, at = size, 0
        while at < len(items):
            chunk = items[at : at + self._size]
            at += len(chunk)
            yield chunk

    def _item(self, value: Any) -> Item:
        """Return the item of a value; one that cannot be used has an error, and concerns no other."""
        key, request = value if isinstance(value, tuple) and len(value) == 2 else (None, value)
        position, self._position = self._position, self._position + 1
        bad_key = "" if key is None else wrong_key(key)
        where = f"requests[{position}]"
        problems = [Problem(f"{where} key", bad_key)] if bad_key else []
        if not isinstance(request, TaskRequest):
            problems.insert(0, Problem(where, _wrong_request(key, request)))
        error = RequestInvalid("batch", problems) if problems else None
        good_key = None if bad_key or key is None else plain(key)
        return Item(position, good_key, cast("TaskRequest[Any]", request), error)


def _seconds_of(item: Item, seconds: Callable[[TaskRequest[Any]], float]) -> float:
    """Return how long an item's task may take; 0 for one that is refused when its turn comes."""
    if item.error is not None:
        return 0.0
    try:
        return seconds(item.request)
    except Exception:  # noqa: BLE001 - fields that are not checked yet hold anything
        return 0.0


def _wrong_request(key: object, value: object) -> str:
    text = f"must be a request or (key, request), not {type(value).__name__}"
    if isinstance(key, TaskRequest):
        return f"{text}; the key comes first"
    if isinstance(value, tuple):
        return f"{text} of {len(value)} values"
    if isinstance(value, type):
        return f"must be a request or (key, request), not the class {value.__name__}"
    return f"{text}, which client.call() takes" if isinstance(value, CallRequest) else text


def wrong_key(key: object) -> str:
    """Return why a key cannot be used; empty if it can be."""
    text = plain(key)
    if not isinstance(text, str):
        return f"must be a text that is not empty, not {type(key).__name__}; use str(...)"
    if not text:
        return "must be a text that is not empty, not ''"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half a character (a lone surrogate); keys must be valid Unicode"
    return ""


_END: Final = object()
"""Marks the end of an async source; a StopAsyncIteration would leave an async generator as a RuntimeError."""


class _Reader:
    """Reads an async source on demand, all in one task, so that it may hold a cancel scope between items.

    Closed early, it leaves the source where it stands: its owner may read on or close it.
    """

    def __init__(self, values: AsyncIterator[Any]) -> None:
        self._values = values
        self._asked = asyncio.Event()
        self._answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._read(), name="kling_async batch input")
        self._task.add_done_callback(self._ended)

    def ask(self) -> asyncio.Future[Any]:
        """Return the future of the next value; `_END` once the source is exhausted."""
        self._answer = asyncio.get_running_loop().create_future()
        self._asked.set()
        return self._answer

    async def _read(self) -> None:
        value: object = None
        while value is not _END:
            await self._asked.wait()
            self._asked.clear()
            try:
                value = await anext(self._values, _END)
            except asyncio.CancelledError as error:
                # the source raises this too, if something that it awaits was cancelled: an error of the input
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
                raise RuntimeError("the batch's input awaited something that was cancelled") from error
            if not self._answer.done():
                self._answer.set_result(value)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Fail the pending answer, however the reading ended."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, Exception):  # set on a future, KeyboardInterrupt would end the event loop
            lost = RuntimeError(f"the batch's input ended with {type(error).__name__}")
            lost.__cause__ = error
            error = lost
        if not self._answer.done():
            self._answer.set_exception(error)

    async def close(self) -> None:
        """End the reading; return after the source has cleaned up."""
        self._task.cancel()
        await asyncio.wait([self._task])
        # marked as retrieved, or asyncio logs an error that came when no one asked any more
        if self._answer.done() and not self._answer.cancelled():
            self._answer.exception()

"""A batch's input: any iterable or async iterable of requests or (key, request), read no faster than needed.

What the journal has finished is looked up in growing chunks, so that going on after 100,000 jobs is quick; as
soon as something is to be made the chunks are of one, so nothing is read that cannot be begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from kling_async.errors import Problem, RequestInvalid
from kling_async.wire import TaskRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

__all__ = ["Intake", "Item", "Requests"]

_CHUNK_MAX: Final = 1000
_PATIENCE: Final = 0.01
"""Seconds that reading a chunk may take before what was read is passed on."""

Requests: TypeAlias = (
    Iterable[TaskRequest[Any] | tuple[str, TaskRequest[Any]]]
    | AsyncIterable[TaskRequest[Any] | tuple[str, TaskRequest[Any]]]
)


class Item(NamedTuple):
    """One request and its place in the input."""

    position: int
    key: str | None
    request: TaskRequest[Any]
    error: RequestInvalid | None = None
    """What is wrong with the key."""


class Intake:
    """Reads the input in chunks."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._position = 0
        self._size = 1

    def familiar(self, *, all_of_it: bool) -> None:
        """Say whether the whole last chunk was known to the journal: if so, the next one is twice as long."""
        self._size = min(_CHUNK_MAX, self._size * 2) if all_of_it else 1

    async def chunks(self) -> AsyncGenerator[list[Item], None]:
        """Yield what comes, in order, from the input's beginning."""
        self._position = 0
        if isinstance(self._requests, AsyncIterable):
            async with aclosing(self._from_async(aiter(self._requests))) as chunks:
                async for several in chunks:
                    yield several
            return
        if not isinstance(self._requests, Iterable):
            raise TypeError(f"a batch takes an iterable of requests, not {type(self._requests).__name__}")
        clock = asyncio.get_running_loop().time
        chunk: list[Item] = []
        began = clock()
        for value in self._requests:
            chunk.append(self._item(value))
            if len(chunk) >= self._size or clock() - began > _PATIENCE:
                yield chunk
                chunk, began = [], clock()
        if chunk:
            yield chunk

    async def _from_async(self, values: AsyncIterator[Any]) -> AsyncGenerator[list[Item], None]:
        """Yield what is there without waiting for more; the source may be as slow as it likes."""
        chunk: list[Item] = []
        coming: asyncio.Future[Any] | None = None
        try:
            while True:
                coming = asyncio.ensure_future(_next(values))
                if len(chunk) < self._size:
                    await asyncio.wait([coming], timeout=0 if chunk else None)
                if chunk and (len(chunk) >= self._size or not coming.done()):
                    yield chunk
                    chunk = []
                value = await coming
                if value is _END:
                    break
                chunk.append(self._item(value))
        finally:
            if coming is not None and not coming.done():
                coming.cancel()
                await asyncio.wait([coming])  # the source may have something to clean up
                if not coming.cancelled():
                    coming.exception()  # nobody is left to be told
        if chunk:
            yield chunk

    async def longest(self, seconds: Callable[[TaskRequest[Any]], float]) -> AsyncGenerator[list[Item], None]:
        """Read the whole input, then yield it in chunks, what takes longest first."""
        size, self._size = self._size, _CHUNK_MAX
        items = [item async for chunk in self.chunks() for item in chunk]
        items.sort(key=lambda item: -seconds(item.request))
        self._size, at = size, 0
        while at < len(items):
            chunk = items[at : at + self._size]
            at += len(chunk)
            yield chunk

    def _item(self, value: Any) -> Item:
        key, request = value if isinstance(value, tuple) and len(value) == 2 else (None, value)
        position, self._position = self._position, self._position + 1
        if not isinstance(request, TaskRequest):
            what = f"must be a request or (key, request), not {type(request).__name__}"
            raise RequestInvalid("batch", [Problem(f"requests[{position}]", what)])
        if key is None:
            return Item(position, None, request)
        if wrong := _wrong_key(key):
            problem = Problem(f"requests[{position}] key", wrong)
            return Item(position, None, request, RequestInvalid("batch", [problem]))
        return Item(position, key, request)


def _wrong_key(key: object) -> str:
    if not isinstance(key, str) or not key:
        return "must be a text that is not empty"
    try:
        key.encode()
    except UnicodeEncodeError:
        return "holds half a character (a lone surrogate)"
    return ""


_END: Final = object()


async def _next(values: AsyncIterator[Any]) -> Any:
    """The next value, or the end: a task cannot raise StopAsyncIteration."""
    try:
        return await anext(values)
    except StopAsyncIteration:
        return _END
    except asyncio.CancelledError as error:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        raise RuntimeError("something that the batch's input waited for was cancelled") from error

"""A batch's input: any iterable or async iterable of requests or (key, request), read no faster than needed.

What the journal has finished is looked up in growing chunks, so that going on after 100,000 jobs is quick; as
soon as something is to be made the chunks are of one, so nothing is read that cannot be begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

from kling_async.errors import Problem, RequestInvalid
from kling_async.wire.requests import TaskRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

__all__ = ["Item", "RequestSource", "Requests"]

_CHUNK_MAX: Final = 1000
_PATIENCE: Final = 0.01
"""Seconds that reading a chunk may take before what was read is passed on."""

R = TypeVar("R")

Requests: TypeAlias = (
    Iterable[TaskRequest[R] | tuple[str, TaskRequest[R]]]
    | AsyncIterable[TaskRequest[R] | tuple[str, TaskRequest[R]]]
)
"""A batch's input; R is the type of the results."""


class Item(NamedTuple):
    """One request and its place in the input."""

    position: int
    key: str | None
    request: TaskRequest[Any]
    error: RequestInvalid | None = None
    """What is wrong with the key."""


class RequestSource:
    """Reads the input in chunks."""

    def __init__(self, requests: Requests[Any]) -> None:
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
        values, chunk, began = iter(self._requests), list[Item](), clock()
        broken: Exception | None = None
        while True:
            try:
                chunk.append(self._item(next(values)))
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001 - raised below, after what came before it
                broken = error
                break
            if len(chunk) >= self._size or clock() - began > _PATIENCE:
                yield chunk
                chunk, began = [], clock()
        if chunk:
            yield chunk
        if broken is not None:
            raise broken

    async def _from_async(self, values: AsyncIterator[Any]) -> AsyncGenerator[list[Item], None]:
        """Yield what is there without waiting for more; the source may be as slow as it likes."""
        chunk: list[Item] = []
        broken: Exception | None = None
        reader = _Reader(values)
        try:
            while broken is None:
                coming = reader.ask()
                if len(chunk) < self._size:
                    await asyncio.wait([coming], timeout=0 if chunk else None)
                if chunk and (len(chunk) >= self._size or not coming.done()):
                    yield chunk
                    chunk = []
                try:
                    value = await coming
                    if value is _END:
                        break
                    chunk.append(self._item(value))
                except Exception as error:  # noqa: BLE001 - raised below, after what came before it
                    broken = error
        finally:
            await reader.close()
        if chunk:
            yield chunk
        if broken is not None:
            raise broken

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


class _Reader:
    """Reads an async source when asked, all of it in one task: it may hold a cancel scope between items.

    Left early, the source stays where it is, so that it can be read on, or closed, by its owner.
    """

    def __init__(self, values: AsyncIterator[Any]) -> None:
        self._values = values
        self._asked = asyncio.Event()
        self._answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._read(), name="kling_async batch input")
        self._task.add_done_callback(self._ended)

    def ask(self) -> asyncio.Future[Any]:
        """Return what will be the next value, or `_END`."""
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
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
                raise RuntimeError("something that the batch's input waited for was cancelled") from error
            if not self._answer.done():
                self._answer.set_result(value)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Leave nobody waiting, whatever ended the reading."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, Exception):  # which would not be told, but end this loop
            lost = RuntimeError(f"the batch's input ended with {type(error).__name__}")
            lost.__cause__ = error
            error = lost
        if not self._answer.done():
            self._answer.set_exception(error)

    async def close(self) -> None:
        """End the reading; the source may have something to clean up."""
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._answer.done() and not self._answer.cancelled():
            self._answer.exception()

"""Read a blocking iterator in a daemon thread of its own, so that the event loop goes on meanwhile.

The event loop's default executor would not do: ``asyncio.run`` waits for its threads, and one that waits for
a line of standard input may never come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import re
import sys
import threading
from collections import abc, deque
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TextIO, TypeVar

from kling_async.events import facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["SourceThread", "ThreadReader", "may_block"]

log = logging.getLogger("kling_async.batch")

P = ParamSpec("P")
T = TypeVar("T")

_GATHER_SECONDS: Final = 0.01
"""Seconds that a value which is there waits for others of its chunk."""
_CLOSE_SECONDS: Final = 1.0
"""Seconds that a generator gets for its ``finally``, before it is left to do that in its thread alone."""
_BLOCKED_SECONDS: Final = 0.2
"""Seconds that a source gets to come back from its next value, which may never come."""

_AFFINITY: Final = re.compile(r"\bthreads?\b|\bno (running|current) event loop\b", re.IGNORECASE)
"""Words of errors of objects that may be used in one thread only: those of sqlite3, tkinter, greenlet."""
_ADVICE: Final = (
    "; a batch reads such an input in a thread of its own: open it within a generator function, "
    "or let the event loop read it by client.batch(..., source_thread=False)"
)


def may_block(values: Iterable[Any]) -> bool:
    """Tell whether iterating may wait for something: true unless the values are in memory."""
    return not isinstance(values, abc.Sequence | abc.Set | abc.MappingView)


class SourceThread(Executor):
    """An executor of one daemon thread; no process waits for its end."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call a function in the thread, after those submitted before."""
        future = Future[T]()
        future.set_running_or_notify_cancel()  # nothing cancels it from now on: each call is made

        def call() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - belongs to who waits for the future
                future.set_exception(error)

        self._calls.put(call)
        if self._thread is None:
            arguments = self._calls, (sys.stdin, sys.__stdin__)
            name = "kling_async batch input"
            self._thread = threading.Thread(target=_make_calls, args=arguments, name=name, daemon=True)
            self._thread.start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - the base has these
        """End the thread after the calls submitted so far; never wait for that."""
        self._calls.put(None)


def _make_calls(calls: SimpleQueue[Callable[[], None] | None], _kept: tuple[TextIO | None, ...]) -> None:
    """Make calls until None comes.

    Args:
        calls: The calls.
        _kept: Files that must outlive the thread: Python aborts at its end where it closes a file in which a
            thread still waits.
    """
    while (call := calls.get()) is not None:
        call()
        del call  # or the thread would keep the last values alive while it waits


class ThreadReader:
    """Reads an iterable on demand, all of it in one daemon thread, in a copy of the caller's context.

    Args:
        values: Is iterated over in the thread, ``iter()`` included.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        self._iterable = values
        self._iterator: Iterator[Any] | None = None
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._thread = SourceThread()
        self._filling: asyncio.Future[None] | None = None
        """The latest demand; the thread reads until it is met."""
        self._values: deque[Any] = deque()
        """Values on their way from the thread to the loop."""
        self._arrival: asyncio.Future[None] | None = None
        """Set by the loop while it has no value and waits for one."""
        self._over = self._closed = False
        self._error: Exception | None = None

    async def read(self, most: int) -> list[Any]:
        """Return the next values, about ``most``, or fewer where the source makes them wait; none at its end.

        An error of the source comes after the values read before it.
        """
        while not (self._values or self._over):
            if self._filling is None or self._filling.done():
                self._filling = self._call(self._fill, most)
            await self._first(self._filling)
        if most > 1 and self._filling is not None and not self._filling.done():
            await asyncio.wait([self._filling], timeout=_GATHER_SECONDS)
        found: list[Any] = []
        while self._values:
            found.append(self._values.popleft())
        if not found and self._error is not None:
            raise self._error
        return found

    def _call(self, function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[None]:
        return self._loop.run_in_executor(self._thread, lambda: self._context.run(function, *args, **kwargs))

    async def _first(self, filling: asyncio.Future[None]) -> None:
        """Wait until a value is there, or the thread has met the demand."""
        self._arrival = arrival = self._loop.create_future()
        try:
            # looked at after `_arrival` is set: the thread adds a value first, then looks for that
            if not self._values and not filling.done():
                await asyncio.wait([filling, arrival], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._arrival = None

    async def close(self) -> None:
        """Close the source, if it is a generator, in its thread; do not wait where it blocks."""
        self._closed = True
        filling, self._filling = self._filling, None
        closing = self._call(self._close)
        self._thread.shutdown()
        try:
            if filling is not None:
                await asyncio.wait([filling], timeout=_BLOCKED_SECONDS)
            if filling is None or filling.done():
                await asyncio.wait([closing], timeout=_CLOSE_SECONDS)
        finally:
            # the calls are made all the same, but report to no loop that is closed by then
            for future in (closing, filling):
                if future is not None:
                    future.cancel()

    # -- in the thread

    def _fill(self, most: int) -> None:
        """Read values until there are enough, or no more."""
        told: object = None
        try:
            iterator = self._iterator = iter(self._iterable) if self._iterator is None else self._iterator
            for left in range(most - 1, -1, -1):
                if self._closed:
                    return
                self._values.append(next(iterator))
                # the end of the demand wakes the loop by itself
                if left and (arrival := self._arrival) is not None and arrival is not told:
                    told = arrival
                    self._wake(arrival)
        except StopIteration:
            self._over = True
        except BaseException as error:  # noqa: BLE001 - raised in the loop, after the values read before it
            self._error = _explained(error)
            self._over = True

    def _wake(self, arrival: asyncio.Future[None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(_arrived, arrival)

    def _close(self) -> None:
        iterator, self._iterator = self._iterator, None
        if not isinstance(iterator, abc.Generator):
            return
        try:
            iterator.close()
        except BaseException as error:
            log.warning("the batch's input raised while it was closed", exc_info=error, extra=facts())


def _arrived(arrival: asyncio.Future[None]) -> None:
    if not arrival.done():
        arrival.set_result(None)


def _explained(error: BaseException) -> Exception:
    """Return the error to raise in the loop; one of an object that is bound to a thread says what to do."""
    if not isinstance(error, Exception):  # in the loop, KeyboardInterrupt would end that
        lost = RuntimeError(f"the batch's input ended with {type(error).__name__}")
        lost.__cause__ = error
        return lost
    if _AFFINITY.search(str(error)):
        if error.args and isinstance(error.args[0], str):
            error.args = (f"{error.args[0]}{_ADVICE}", *error.args[1:])
        if _ADVICE not in str(error):  # its class makes its words of something else
            error.add_note(_ADVICE.removeprefix("; "))
    return error

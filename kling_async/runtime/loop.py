"""The event loop a client lives in: its clock, its background work, and what happens when it ends.

A client may outlive its loop (two ``asyncio.run`` in a row, a restarted notebook). Its clock then goes on
from where it stood, by wall time; work of the old loop is gone, and ``on_loop_replaced`` tells whoever asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import math
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio

from kling_async.errors import ClientClosed, ConfigurationError, KlingError
from kling_async.events import facts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["LoopScope", "Timer", "in_thread", "is_pending", "within"]

T = TypeVar("T")

log = logging.getLogger("kling_async")

DOWNLOADS_AT_ONCE: Final = 4
"""Files that a client fetches at once, unless told."""

GRACE: Final = 5.0
"""Seconds that creates in flight get when the client is closed."""


class LoopScope:
    """Where a client's work runs. Times are seconds of a clock that never goes back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        """The wall clock, seconds since 1970; for the wire only."""
        self.closed = False
        self.on_loop_replaced: list[Callable[[], None]] = []
        """Called when a new loop replaces one that ended."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._offset = 0.0
        self._seen = (0.0, 0.0)
        self._told = self._look = -math.inf
        self._work: dict[asyncio.Task[None], bool] = {}

    def enter(self) -> asyncio.AbstractEventLoop:
        """Make the running loop this client's scope.

        Raises:
            ClientClosed: The client was closed.
            ConfigurationError: It lives in another loop that still runs.
        """
        if self.closed:
            raise ClientClosed("this client is closed")
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return loop
        if self._loop is not None and self._loop.is_running():
            raise ConfigurationError(
                "this client is in use in another event loop that still runs (another thread?); "
                "make one Client per running loop"
            )
        first = self._loop is None
        self._settle(loop)
        if not first:
            for callback in self.on_loop_replaced:
                callback()
        return loop

    def refresh(self) -> None:
        """Notice that the loop was replaced, if this is called in one; for what is asked without waiting."""
        if not self.closed:
            with contextlib.suppress(RuntimeError):  # no loop runs: nothing to notice
                self.enter()

    def _settle(self, loop: asyncio.AbstractEventLoop) -> None:
        stood, wall = self._seen
        if self._loop is not None:
            stood = max(self._told, stood + self.now() - wall)
        self._loop, self._offset = loop, stood - loop.time()
        self._work = {}
        self.time()

    def time(self) -> float:
        """Return the client's time. It is the loop's, moved so that it goes on over the loops."""
        if self._loop is None:
            return 0.0
        time = self._loop.time() + self._offset
        if time > self._told:
            self._told = time
            if time > self._look:  # the wall clock costs a system call
                self._seen, self._look = (time, self.now()), time + 1.0
        return time

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle | None:
        """Call back at a client time; None where the loop has ended (see `on_loop_replaced`).

        Called between two runs of the loop it counts in the next; ``client.abandon()`` needs no running loop.
        """
        loop = self._loop
        if asyncio._get_running_loop() is not None or loop is None or loop.is_running():  # noqa: SLF001
            loop = self.enter()
        elif loop.is_closed():
            return None
        return loop.call_at(when - self._offset, callback, context=contextvars.Context())

    def spawn(
        self, work: Coroutine[Any, Any, None], name: str, *, lasting: bool = False
    ) -> asyncio.Task[None]:
        """Run work that belongs to the client, not to the caller, whose context it does not inherit.

        ``lasting`` work gets a few seconds to end when the client is closed.
        """
        try:
            loop = self.enter()
        except KlingError:
            work.close()
            raise
        task = loop.create_task(work, name=f"kling_async {name}", context=contextvars.Context())
        self._work[task] = lasting
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._work.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            text = "background work of the client broke: %s"
            log.error(text, task.get_name(), exc_info=error, extra=facts())

    async def close(self) -> None:
        """End all work: what lasts gets `GRACE` seconds, the rest none."""
        self.closed = True
        if self._loop is not asyncio.get_running_loop():
            return
        lasting = [task for task, lasts in self._work.items() if lasts and task is not asyncio.current_task()]
        for task in [task for task, lasts in self._work.items() if not lasts]:
            task.cancel()
        if lasting:
            await asyncio.wait(lasting, timeout=GRACE)
        remaining = [task for task in self._work if task is not asyncio.current_task()]
        for task in remaining:
            task.cancel()
        await asyncio.gather(*remaining, return_exceptions=True)


def is_pending(future: asyncio.Future[Any] | None) -> bool:
    """Tell whether somebody may still wait for a future: not if its loop was closed under it."""
    return future is not None and not future.done() and not future.get_loop().is_closed()


def within(timeout: float | None) -> contextlib.AbstractContextManager[object]:
    """Leave the block after that many seconds; None costs nothing."""
    return contextlib.nullcontext() if timeout is None else anyio.move_on_after(timeout)


class Timer:
    """One timer of a driver: it rings at the earliest time asked for, and tells the time it was set to.

    Timers may fire a rounding error early; the driver is then told the time it asked for, or it would ask
    again for ever.
    """

    def __init__(self, scope: LoopScope, ring: Callable[[float], None]) -> None:
        self._scope = scope
        self._ring = ring
        self._when = math.inf
        self._handle: asyncio.TimerHandle | None = None

    def set(self, when: float) -> None:
        """Ring at ``when`` and not at the time set before; inf, or a closed client: do not ring."""
        if when == self._when:
            return
        self.clear()
        if when < math.inf and not self._scope.closed:
            self._when = when
            self._handle = self._scope.call_at(when, self._fire)

    def advance(self, when: float) -> None:
        """Ring at ``when`` if that is earlier than what is set."""
        if when < self._when:
            self.set(when)

    def clear(self) -> None:
        """Do not ring."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._when = None, math.inf

    def _fire(self) -> None:
        when, self._handle, self._when = self._when, None, math.inf
        self._ring(max(self._scope.time(), when))


class DownloadSlots:
    """So many downloads at once, in whatever loop the client lives."""

    def __init__(self, scope: LoopScope, number: int = DOWNLOADS_AT_ONCE) -> None:
        self._number = number
        self._forget()
        scope.on_loop_replaced.append(self._forget)

    def _forget(self) -> None:
        self.semaphore = asyncio.Semaphore(self._number)


async def in_thread(loop: asyncio.AbstractEventLoop, work: Callable[..., T], *arguments: Any) -> T:
    """Do work on files in a thread; cancelled meanwhile, end only after it: nobody else may touch them."""
    running = loop.run_in_executor(None, work, *arguments)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            while not running.done():
                await _ended(running)
        raise


async def _ended(running: asyncio.Future[Any]) -> None:
    try:
        await asyncio.wait([running])
    except asyncio.CancelledError:
        return  # told already
    if not running.cancelled():
        running.exception()  # nobody is left to be told

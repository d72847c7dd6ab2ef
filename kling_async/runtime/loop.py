"""The event loop of a client: its clock, its timers, and its background work.

A client may outlive its loop (two ``asyncio.run`` in a row, a restarted notebook). Its clock then continues
from its last value, by wall time; work of the old loop is gone, and the listeners are called.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import contextvars
import logging
import math
import weakref
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import anyio

from kling_async.errors import ClientClosed, ConfigurationError, KlingError
from kling_async.events import facts
from kling_async.runtime.kernels import keep_awake

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["LOOP_REPLACED", "LoopListener", "LoopScope", "Timer", "in_thread", "is_pending", "within"]

T = TypeVar("T")

log = logging.getLogger("kling_async")

DOWNLOADS_AT_ONCE: Final = 4
"""Most files that a client fetches at once by default."""

GRACE: Final = 5.0
"""Seconds that creates in flight get when the client is closed."""


_HAND_OVER: Final = 0.1
"""Seconds after which a thread that waits for the loop looks whether that still runs."""

LOOP_REPLACED: Final = (
    "the client went on in another event loop while this call waited in one that had stopped; call again"
)
"""Message of the errors for callers in a loop that was replaced."""

_WALL_CHECK: Final = 1.0
"""Seconds for which a reading of the wall clock serves: it costs a system call, and is only needed to tell
how much time passed between two loops."""


class LoopListener(Protocol):
    """A part of the client that holds objects of the running loop: futures, timers, sessions."""

    def on_loop_replaced(self) -> None:
        """Drop all objects of the loop that ended; a new one runs."""


class LoopScope:
    """The loop in which a client's work runs. Times are seconds of a clock that never goes back.

    Args:
        now: The wall clock, seconds since 1970.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        """The wall clock; for the wire only."""
        self.closed = False
        self.closing = asyncio.Lock()
        """Held while all work is ended: whoever closes next waits."""
        self._listeners: list[LoopListener] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._offset = 0.0
        """The client's time when the loop's clock shows 0."""
        self._wall = (0.0, 0.0)
        """(client's time, wall time) at the last reading of the wall clock."""
        self._latest = self._next_reading = -math.inf
        self._handed: collections.deque[Callable[[], object]] = collections.deque()
        """Steps that were asked for outside the loop, to be taken in it."""
        self._work: dict[asyncio.Task[None], bool] = {}
        """Running tasks, each with whether it gets `GRACE` seconds at the end."""

    @property
    def running(self) -> bool:
        """Whether a loop runs in this thread: between two runs no work can be started."""
        return asyncio._get_running_loop() is not None  # noqa: SLF001 - get_running_loop() raises instead

    def subscribe(self, listener: LoopListener) -> None:
        """Call this listener whenever a new loop has replaced one that ended, in order of subscription."""
        self._listeners.append(listener)

    def enter(self) -> asyncio.AbstractEventLoop:
        """Make the running loop this client's scope.

        Raises:
            ClientClosed: The client was closed.
            ConfigurationError: The client is in use in another loop that still runs.
        """
        if self.closed:
            raise ClientClosed("this client is closed; make a new Client")
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            self._take_handed()
            return loop
        if self._loop is not None and self._loop.is_running():
            raise ConfigurationError(
                "this client is in use in another event loop that still runs (another thread?); "
                "make one Client per running loop"
            )
        first = self._loop is None
        self._settle(loop)
        if not first:
            for listener in self._listeners:
                listener.on_loop_replaced()
        self._take_handed()
        return loop

    def act(self, step: Callable[[], object], *, needs_loop: bool = True) -> None:
        """Take a step in the client's loop: at once if called there, else soon, or when one runs again.

        Works from any thread: a step taken outside the loop would race with the work in it.

        Args:
            step: The function to call.
            needs_loop: False: if no loop runs, take the step at once, since no work can race with it.
        """
        running, loop = asyncio._get_running_loop(), self._loop  # noqa: SLF001
        elsewhere = loop is not None and loop is not running and loop.is_running()
        if self.closed or (not elsewhere and (running is not None or not needs_loop)):
            self.refresh()
            step()
            return
        self._handed.append(step)
        if loop is not None and elsewhere:
            with contextlib.suppress(RuntimeError):  # the loop has just ended: the next one takes the step
                loop.call_soon_threadsafe(self._take_handed, context=contextvars.Context())

    def result_of(self, step: Callable[[], T]) -> T:
        """Take a step as `act` does, and return its result; another thread waits for the loop to take it.

        Where no loop runs the step is taken at once: no work can race with it.
        """
        taken: concurrent.futures.Future[T] = concurrent.futures.Future()

        def take() -> None:
            try:
                taken.set_result(step())
            except BaseException as error:  # noqa: BLE001 - it is raised where the result is wanted
                taken.set_exception(error)

        self.act(take, needs_loop=False)
        while not taken.done():  # in another thread: the loop takes it soon, or has just ended
            with contextlib.suppress(concurrent.futures.TimeoutError):
                return taken.result(_HAND_OVER)
            if self._loop is None or not self._loop.is_running():
                self._take_handed()
        return taken.result()

    def _take_handed(self) -> None:
        while self._handed:
            self._handed.popleft()()

    def refresh(self) -> None:
        """Notice that the loop was replaced, if one runs; for methods that are called without ``await``."""
        if not self.closed:
            with contextlib.suppress(RuntimeError):  # no loop runs: nothing to notice
                self.enter()

    def _settle(self, loop: asyncio.AbstractEventLoop) -> None:
        stood, wall = self._wall
        if self._loop is not None:  # a wall clock that was set back must not set the client's back
            stood = max(self._latest, stood + self.now() - wall)
        self._loop, self._offset = loop, stood - loop.time()
        work, self._work = self._work, {}
        for task in work:
            if not task.get_loop().is_closed():  # should it run again, its work must not go on
                task.cancel()
        self.time()
        keep_awake(loop, self)

    def time(self) -> float:
        """Return the client's time: the loop's, moved so that it goes on from one loop to the next."""
        if self._loop is None:
            return 0.0
        time = self._loop.time() + self._offset
        if time > self._latest:
            self._latest = time
            if time > self._next_reading:
                self._wall, self._next_reading = (time, self.now()), time + _WALL_CHECK
        return time

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.TimerHandle | None:
        """Call back at a client time; return None where the loop has ended (see `LoopListener`).

        Between two runs of the same loop this works too: ``client.account.reopen()`` needs no running loop.
        """
        loop = self._loop
        # unlike get_running_loop() this raises nothing where no loop runs
        if asyncio._get_running_loop() is not None or loop is None or loop.is_running():  # noqa: SLF001
            loop = self.enter()
        elif loop.is_closed():
            return None
        # an empty context: a timer outlives the request whose trace or user it would carry along
        return loop.call_at(when - self._offset, callback, context=contextvars.Context())

    def spawn(
        self, work: Coroutine[Any, Any, None], name: str, *, lasting: bool = False
    ) -> asyncio.Task[None]:
        """Start work that belongs to the client, not to the caller, whose context it does not inherit.

        Args:
            work: The coroutine to run.
            name: Name of its task, for logs.
            lasting: Whether the work gets `GRACE` seconds to end when the client is closed.

        Raises:
            ClientClosed: The client was closed; the work was not started.
        """
        try:
            loop = self.enter()
        except KlingError:
            work.close()  # or Python warns that the coroutine was never awaited
            raise
        task = loop.create_task(work, name=f"kling_async {name}", context=contextvars.Context())
        self._work[task] = lasting
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._work.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            text = "background work of the client failed: %s"
            log.error(text, task.get_name(), exc_info=error, extra=facts())

    async def close(self) -> None:
        """End all work: lasting work gets `GRACE` seconds, the rest is cancelled at once."""
        self.closed = True
        # tasks of another loop cannot be awaited here; those of a loop that ended are gone with it
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
    """Tell whether a future may still be awaited: not if its loop was closed meanwhile."""
    return future is not None and not future.done() and not future.get_loop().is_closed()


def within(timeout: float | None) -> contextlib.AbstractContextManager[object]:
    """Return a context manager that leaves its block after that many seconds; None: never, at no cost."""
    return contextlib.nullcontext() if timeout is None else anyio.move_on_after(timeout)


class Timer:
    """One timer of a driver, set to one time at most, by the client's clock.

    Args:
        scope: The client's loop and clock.
        callback: Called with the time when the timer fires. A loop may fire a rounding error early; the time
            is then the one that was asked for, or the driver would find nothing due and ask again for ever.
    """

    def __init__(self, scope: LoopScope, callback: Callable[[float], None]) -> None:
        self._scope = scope
        self._callback = callback
        self._when = math.inf
        self._idle = False
        self._handle: asyncio.TimerHandle | None = None

    def set(self, when: float, *, idle: bool = False) -> None:
        """Fire at ``when`` and not at the time set before; inf, or a closed client: do not fire.

        Args:
            when: A time of the client's clock.
            idle: Whether there is nothing to do if nobody holds the client any more: the loop then does not
                keep it alive, as it does for all other timers.
        """
        if when == self._when and idle == self._idle:
            return
        self.clear()
        if when < math.inf and not self._scope.closed:
            self._when, self._idle = when, idle
            self._handle = self._scope.call_at(when, _unless_dropped(self) if idle else self._fire)

    def advance(self, when: float) -> None:
        """Fire at ``when`` if that is earlier than the time set before."""
        if when < self._when:
            self.set(when)

    def clear(self) -> None:
        """Do not fire."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._when = None, math.inf

    def _fire(self) -> None:
        when, self._handle, self._when = self._when, None, math.inf
        self._callback(max(self._scope.time(), when))


def _unless_dropped(timer: Timer) -> Callable[[], None]:
    """Return what fires a timer, and does not keep it alive."""
    held = weakref.ref(timer)

    def fire() -> None:
        if (timer := held()) is not None:
            timer._fire()  # noqa: SLF001 - the class above

    return fire


class DownloadSlots:
    """A semaphore that bounds downloads, made anew in each loop of the client."""

    def __init__(self, scope: LoopScope, number: int = DOWNLOADS_AT_ONCE) -> None:
        self._number = number
        self.streams: weakref.WeakSet[object] = weakref.WeakSet()
        """Streams of files under way, which take no slot."""
        self.on_loop_replaced()
        scope.subscribe(self)

    @property
    def busy(self) -> bool:
        """Whether a file is being fetched, or streamed."""
        taken = self.semaphore._value < self._number  # noqa: SLF001 - locked() tells only whether all are
        return taken or bool(self.streams)

    def on_loop_replaced(self) -> None:
        """Forget the holders of the loop that ended."""
        self.streams.clear()
        self.semaphore = asyncio.Semaphore(self._number)


async def in_thread(loop: asyncio.AbstractEventLoop, work: Callable[..., T], *arguments: Any) -> T:
    """Do work on files in a thread. When cancelled, return only after the work has ended.

    The caller may then touch the same files without racing the thread.
    """
    running = loop.run_in_executor(None, work, *arguments)
    try:
        # shielded: a cancelled future would show as done while its thread works on
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        # the shield holds off a cancelled scope, the loop further cancels of the task
        with anyio.CancelScope(shield=True):
            while not running.done():
                await _ended(running)
        raise


async def _ended(running: asyncio.Future[Any]) -> None:
    try:
        await asyncio.wait([running])
    except asyncio.CancelledError:
        return  # the caller raises the first cancellation already
    if not running.cancelled():
        running.exception()  # marks it as retrieved: the caller raises the cancellation instead

"""Callers: everybody who wants the task of one submission, and what they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from kling_async.runtime.loop import is_pending

if TYPE_CHECKING:
    import asyncio

    from kling_async.errors import KlingError

__all__ = ["Callers"]

T = TypeVar("T")


class Callers(Generic[T]):
    """The calls that wait for a submission's task, and whether a handle wants it besides.

    A call *holds* the submission if nobody else wants it once that call leaves: so do ``submit`` and ``run``.
    Others (``Task.wait``, ``Task.accepted``) only listen. T is the type of the task.
    """

    __slots__ = ("_holding", "_listening", "counted", "kept")

    def __init__(self) -> None:
        self._holding: dict[asyncio.Future[T], None] = {}
        self._listening: dict[asyncio.Future[T], None] = {}
        self.kept = False
        """Whether it is wanted though no call waits: it was enqueued, and not withdrawn."""
        self.counted = False
        """Whether its end without a task was counted: once, however many calls learn of it."""

    @property
    def wanted(self) -> bool:
        """Whether anybody still wants the task."""
        # a call that is being cancelled has left, although its own code has not run yet
        return self.kept or any(map(is_pending, self._holding))

    @property
    def waiting(self) -> bool:
        """Whether any call waits at this moment."""
        return bool(self._pending())

    def _pending(self) -> list[asyncio.Future[T]]:
        """Return the futures of all calls that wait at this moment."""
        return [*filter(is_pending, (*self._holding, *self._listening))]

    @property
    def leaving(self) -> bool:
        """Whether all calls that hold it are being cancelled, and will tell so themselves."""
        return bool(self._holding) and not self.wanted

    def join(self, loop: asyncio.AbstractEventLoop, *, holds: bool) -> asyncio.Future[T]:
        """Return a future of the task for one more call, to be given to `leave` at its end."""
        future: asyncio.Future[T] = loop.create_future()
        (self._holding if holds else self._listening)[future] = None
        return future

    def leave(self, future: asyncio.Future[T]) -> None:
        """Forget a call that waits no more."""
        self._holding.pop(future, None)
        self._listening.pop(future, None)

    def hand_over(self, task: T) -> None:
        """Hand the task to every call that waits."""
        for future in self._pending():
            future.set_result(task)

    def interrupt(self, error: BaseException) -> None:
        """Raise what is no `Exception`, such as SystemExit, to every call that waits."""
        for future in self._pending():
            future.set_exception(error)
            future.exception()

    def fail(self, error: KlingError) -> None:
        """Raise an error to every call that waits, each with a copy of its own after the first."""
        told = error
        for future in self._pending():
            future.set_exception(told)
            future.exception()  # marks it as retrieved: a caller that is being cancelled will not look
            told = error.again()

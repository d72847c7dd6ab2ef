"""Refreshes: queries about one task that a caller wants at once, within the rate of status queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kling_async.errors import ClientClosed, KlingError, TransportError
from kling_async.http.retry import read_patiently
from kling_async.orchestrator.status_reader import record_about
from kling_async.runtime.loop import LOOP_REPLACED, is_pending

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable

    from kling_async.core.verdict import ReadVerdict
    from kling_async.events import Hooks
    from kling_async.options import Retry, Timeouts
    from kling_async.orchestrator.status_reader import StatusReader
    from kling_async.orchestrator.tracked import TrackedTask
    from kling_async.orchestrator.turns import ReadTurns
    from kling_async.records import TaskRecord
    from kling_async.runtime.loop import LoopScope

__all__ = ["Refreshes"]


class Refreshes:
    """Joins refreshes of one task in one request, and queues the requests behind the due status queries.

    Args:
        scope: The loop; the requests are work of the client's.
        hooks: Takes events.
        reader: Sends the requests.
        rng: Source of jitter.
        turns: Where requests wait for their turn.
        observe: Takes the record of a task that came.
    """

    def __init__(
        self,
        scope: LoopScope,
        hooks: Hooks,
        reader: StatusReader,
        rng: random.Random,
        turns: ReadTurns,
        observe: Callable[[TrackedTask, TaskRecord], None],
    ) -> None:
        self._scope = scope
        self._hooks = hooks
        self._reader = reader
        self._rng = rng
        self.turns = turns
        self._observe = observe
        self._callers: dict[TrackedTask, list[asyncio.Future[None]]] = {}
        """Who waits for each refresh under way."""

    async def ask(self, task: TrackedTask, retry: Retry, timeouts: Timeouts) -> None:
        """Refresh a task, or wait for the refresh of it under way. Cancelling a caller cancels no request.

        Raises:
            KlingError: No answer came, as often as ``retry`` allows, or the task does not exist.
        """
        caller: asyncio.Future[None] = self._scope.enter().create_future()
        callers = self._callers.setdefault(task, [])
        callers.append(caller)
        if len(callers) == 1:
            work = self._scope.spawn(self._run(task, retry, timeouts), f"refresh {task.id}")
            work.add_done_callback(lambda _: self._end(task, callers, _CUT_SHORT))
        await caller

    async def _run(self, task: TrackedTask, retry: Retry, timeouts: Timeouts) -> None:
        async def read() -> ReadVerdict:
            await self.turns.refresh()
            self._hooks.emit("asked", task, detail="one: 1")
            return await self._reader.get(task, timeouts)

        callers = self._callers[task]
        try:
            got = await read_patiently(read, retry=retry, rng=self._rng, what=task.id)
            self._observe(task, record_about(task, got))
        except KlingError as error:
            self._end(task, callers, error)
        else:
            self._end(task, callers, None)

    def _end(self, task: TrackedTask, callers: list[asyncio.Future[None]], error: KlingError | None) -> None:
        """Tell the callers how a refresh ended; only the first call for a refresh counts."""
        if self._callers.get(task) is callers:
            del self._callers[task]
        for caller in callers:
            if not is_pending(caller):
                continue
            if error is None:
                caller.set_result(None)
            else:
                caller.set_exception(error.again())
                caller.exception()  # marked as seen: a caller that is being cancelled will not look
        callers.clear()

    def on_loop_replaced(self) -> None:
        """Fail who waited in the loop that has ended, or that stopped while another one runs."""
        for task, callers in list(self._callers.items()):
            self._end(task, callers, ClientClosed(LOOP_REPLACED))


_CUT_SHORT: Final = TransportError("the refresh was cut short", sent=True)

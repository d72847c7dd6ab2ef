"""The messenger: carries steps to the ledger's file in a thread of its own, and brings back what it says.

One errand at a time; steps that come meanwhile go together with the next. While this process wants anything
it looks every 50 ms whether others have changed the file, which costs no transaction, and shows a sign of
life every second. A database server tells by itself that there are news, and in time: see `LedgerPace`.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import math
import sqlite3
import weakref
from typing import TYPE_CHECKING, Final, Protocol

from kling_async.errors import ConfigurationError
from kling_async.events import facts
from kling_async.orchestrator.ledger.connection import LedgerLost, LedgerUnreachable
from kling_async.orchestrator.ledger.errands import Errands
from kling_async.orchestrator.ledger.facts import BEAT, LedgerPace
from kling_async.orchestrator.ledger.listening import Watch
from kling_async.runtime.loop import Timer

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Sequence

    from kling_async.orchestrator.ledger.errands import SharedFile
    from kling_async.orchestrator.ledger.steps import Step, Synced
    from kling_async.runtime.loop import LoopScope

__all__ = ["Messenger", "Recipient"]

log = logging.getLogger("kling_async.orchestrator")

_SOON: Final = 0.025
"""Least seconds until something that falls due in the ledger is done."""
_LOOK_SELDOM: Final = 1.0
"""Seconds between two looks while nobody here waits, so that `Account.limits` tells the truth."""
_CURRENT: Final = 1.5
"""Seconds after a look for which what it brought counts as known."""
_RETRY: Final = 1.0
"""Seconds until the next try after the file could not be written."""


class Recipient(Protocol):
    """Takes what the ledger says (`ledger.shared.SharedLimiter`)."""

    def demand(self) -> bool:
        """Tell whether anybody here waits for slots or for the end of a task."""
        ...

    def curious(self) -> bool:
        """Tell whether what others do may change what this process shows."""
        ...

    def hear(self, synced: Synced, /) -> None:
        """Act on what the ledger says."""

    def restore(self) -> Sequence[Step]:
        """Return the steps that write all that this process queues and holds into a new file."""
        ...

    def unusable(self, error: ConfigurationError, /) -> None:
        """Fail what waits: the file cannot be used."""


class Messenger:
    """Between the loop of this process and the file that it shares with others.

    Args:
        scope: The client's loop and clock.
        open_file: Opens the ledger; called in the thread when first needed, so after any ``fork``.
        recipient: Takes what the ledger says.
        pace: How often to go there.
    """

    def __init__(
        self,
        scope: LoopScope,
        open_file: Callable[[], SharedFile],
        recipient: Recipient,
        pace: LedgerPace = LedgerPace(),  # noqa: B008 - a tuple
    ) -> None:
        self._scope = scope
        self._watch = Watch(pace, weakref.WeakMethod(self.start))
        self._errands = Errands(open_file)
        self._recipient = recipient
        self._steps: list[Step] = []
        self._work: concurrent.futures.Future[None] | None = None
        """The errand under way, in the thread."""
        self._errand: asyncio.Future[None] | None = None
        """The same, as this loop sees it."""
        self._left = False
        self._failed = False
        self._looked = math.inf
        """When the last errand came back that reached the file; inf: none has, so far."""
        self._next_sync = -math.inf
        self._timer = Timer(scope, lambda _: self._go())
        self._finalizer: weakref.finalize[..., Messenger] | None = None

    @property
    def current(self) -> bool:
        """Whether what is known is as new as it gets: the file was looked at lately, or never yet."""
        return self._scope.time() - self._looked <= _CURRENT

    def send_by(self) -> float | None:
        """Return until when, by the client's clock, a create may send its first byte; None: at any time.

        Others must not take its slots for an orphan's, and ask about its task, before that is on its way.
        """
        return self._watch.send_by()

    def post(self, step: Step) -> None:
        """Take a step soon."""
        self._steps.append(step)
        self.start()

    def start(self) -> None:
        """Go to the ledger at once, or as soon as the errand under way is back."""
        self._next_sync = -math.inf
        self._go()

    def stop_timers(self) -> None:
        """Set no more timers: the client is closed. What is posted is still carried."""
        self._timer.clear()

    def _go(self) -> None:
        """Set out, unless an errand is under way; without a running loop the next call does."""
        if self._errand is not None or self._left:
            return
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop()
            now, steps = self._scope.time(), None
            self._watch.end()
            if now >= self._next_sync or self._steps or not self._errands.is_open:
                steps, self._steps, self._next_sync = self._steps, [], now + BEAT
            self._await(self._errands.submit(steps, demand=self._recipient.demand()))

    def _await(self, work: concurrent.futures.Future[None]) -> None:
        """Take what an errand brings in the loop that runs now."""
        loop = asyncio.get_running_loop()
        self._work, self._errand = work, asyncio.wrap_future(work)
        self._watch.begin(loop, self._scope.time(), self._errands.interrupt)
        if self._finalizer is None:
            self._finalizer = weakref.finalize(self, _leave_dropped, loop, self._errands, self._watch)
            self._finalizer.atexit = False
        self._errand.add_done_callback(self._back, context=contextvars.Context())

    def _back(self, errand: asyncio.Future[None]) -> None:
        """Take what an errand has brought, and plan the next."""
        error = None if errand.cancelled() else errand.exception()
        if self._errand is not errand or self._left:  # of a loop that was replaced; `leave` has the steps
            return
        self._work = self._errand = None
        loop = asyncio.get_running_loop()
        self._watch.listen(loop, self._errands.fileno(), reached=error is None)
        self._steps = self._errands.take_back() + self._steps
        if isinstance(error, LedgerLost):
            log.warning("%s", error, extra=facts())
            self._steps = [*self._recipient.restore(), *self._steps]
            self._go()
        elif isinstance(error, ConfigurationError):
            self._steps.clear()
            self._recipient.unusable(error)
        elif error is not None:
            self._unwritten(error)
            self._timer.set(self._scope.time() + _RETRY)
        else:
            self._recovered()
            self._looked = self._scope.time()
            try:
                self._deliver()
            except Exception:  # a bug must not leave all others waiting for ever
                log.exception("news of the slot ledger could not be taken", extra=facts())
            self._plan()

    def _deliver(self) -> None:
        for synced in self._errands.take_results():
            due = min((pool.next_time for pool in synced.pools.values()), default=math.inf)
            if synced.stale:
                self._next_sync = -math.inf
            elif due < math.inf:
                soon = self._scope.time() + max(_SOON, due - synced.now)
                self._next_sync = min(self._next_sync, soon)
            self._recipient.hear(synced)

    def _plan(self) -> None:
        """Set the timer for the next errand, if anybody wants anything."""
        now = self._scope.time()
        if self._steps or self._next_sync == -math.inf:
            self._go()
        elif self._recipient.demand():
            self._timer.set(min(now + self._watch.pace.look, max(now, self._next_sync)))
        elif self._recipient.curious() and self._watch.pace.lease is not None:
            self._timer.set(max(now, self._next_sync), idle=True)  # who holds slots must be seen alive
        elif self._recipient.curious():
            self._next_sync = math.inf  # no sign of life is needed
            self._timer.set(now + _LOOK_SELDOM, idle=True)
        else:
            self._timer.clear()

    def _unwritten(self, error: BaseException) -> None:
        if not self._failed:
            text = "the slot ledger cannot be written, nothing is created meanwhile: %s"
            log.warning(text, error, extra=facts())
            if not isinstance(error, sqlite3.Error | OSError | LedgerUnreachable):
                log.error("a step of the slot ledger failed", exc_info=error, extra=facts())
        self._failed = True

    def _recovered(self) -> None:
        if self._failed:
            log.warning("the slot ledger can be written again", extra=facts())
        self._failed = False

    # -- ends

    def on_loop_replaced(self) -> None:
        """Take what an errand brings to the loop that ended; one that is under way comes back to this one."""
        self._timer.clear()
        self._detach()
        self._next_sync = -math.inf
        if self._work is not None and not self._left:
            self._await(self._work)

    async def leave(self) -> None:
        """Take the last steps to the ledger, and leave it; cut short, this goes on in the thread."""
        self._timer.clear()
        self._detach()
        self._left = True
        self._watch.begin(asyncio.get_running_loop(), self._scope.time(), self._errands.interrupt)
        try:
            await self._errands.depart(self._steps)
        finally:
            self._watch.end()

    def _detach(self) -> None:
        self._watch.end()
        if self._finalizer is not None:
            self._finalizer.detach()
        self._finalizer = None


def _leave_dropped(loop: asyncio.AbstractEventLoop, errands: Errands, watch: Watch) -> None:
    """Leave the ledger for a client of which nothing is left; called in any thread, by the collector."""

    def leave() -> None:
        watch.end()
        task = loop.create_task(errands.depart([]), name="kling_async leave the slot ledger")
        _leaving.add(task)
        task.add_done_callback(_leaving.discard)

    try:
        # not at once: the collector may run within a lock that the thread's queue needs
        loop.call_soon_threadsafe(leave, context=contextvars.Context())
    except RuntimeError:  # the loop was closed: others find out that nobody holds the lock
        errands.give_up()


_leaving: Final[set[asyncio.Task[None]]] = set()
"""Tasks in which the files of dropped clients are left: a loop holds its tasks weakly."""

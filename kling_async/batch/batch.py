"""Many requests through one account: as many at a time as fit, each result as it comes, nothing twice.

A batch holds little: what is in flight, and what was not yet taken. With a journal it goes on after any
end, be it a kill, where it stood.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

import anyio

from kling_async.batch.entry import ResumeAction
from kling_async.batch.failures import FailureAction
from kling_async.batch.job import Abandoned, JobRun, remembered
from kling_async.batch.journal import Journal
from kling_async.batch.keeping import NullJournal
from kling_async.batch.options import BatchOptions, check_options, ready_folder, template_of
from kling_async.batch.planner import Planner
from kling_async.batch.purse import Purse
from kling_async.batch.report import Accounts, plan_of
from kling_async.batch.source import Requests, RequestSource
from kling_async.errors import DownloadError, JournalError, Problem, RequestInvalid
from kling_async.runtime.signals import SignalWatcher
from kling_async.wire.caller import pointing_here
from kling_async.wire.checks import wrong_with

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kling_async.batch.options import OnError, Order
    from kling_async.batch.outcomes import Outcome, Report
    from kling_async.batch.outcomes import Plan as DryRun
    from kling_async.batch.planner import PlannedJob
    from kling_async.orchestrator.engine import Engine
    from kling_async.prices import Estimate
    from kling_async.wire.requests import TaskRequest

__all__ = ["Batch"]

R = TypeVar("R")

_AHEAD_MIN: Final = 16
_GROWN: Final = 1000
"""How many requests may have come before those that the journal knows."""
_REMEMBERED_MAX: Final = 1000
"""Outcomes out of the journal that may wait to be taken: they hold little, and cost nothing."""


class Batch(Generic[R]):
    """Many requests under way: enter it with ``async with``, then iterate over its outcomes.

    Leaving early loses nothing: what was created runs on, and a journal knows of it.
    """

    def __init__(
        self,
        engine: Engine,
        requests: Requests[R],
        *,
        journal: str | Path | None = None,
        download_to: str | Path | None = None,
        name: str = "{index}-{task_id}",
        watermarked: bool = False,
        sidecar: bool = False,
        refetch: bool = True,
        max_units: float | Mapping[str, float] | None = None,
        price: Callable[[TaskRequest[Any]], float | None] | None = None,
        on_error: OnError = "collect",
        retries: int = 0,
        order: Order = "given",
        priority: int = 0,
        label: str | Callable[[TaskRequest[Any]], str] = "",
        ahead: int | None = None,
        downloads: int | None = None,
        signals: bool = True,
    ) -> None:
        check_options(on_error, order, max_units, retries=retries, ahead=ahead, downloads=downloads)
        self._engine = engine
        self._journal = None if journal is None else Journal(journal, now=engine.scope.now)
        self._keeping = NullJournal(self._journal)
        self._intake = RequestSource(requests)
        self._wishes = BatchOptions(
            folder=None if download_to is None else Path(download_to),
            template=template_of(name),
            watermarked=watermarked,
            sidecar=sidecar,
            refetch=refetch,
            retries=retries,
            priority=priority,
            places=None if downloads is None else asyncio.Semaphore(downloads),
        )
        self._on_error = on_error
        self._order: Order = order
        self._register = Planner(engine, self._journal, self._wishes, label)
        self._most_ahead = ahead
        self._purse = Purse(max_units, price)
        self._accounts = Accounts()
        self._interrupts = SignalWatcher(self._heard, enabled=signals)
        self._feeding: asyncio.Task[None] | None = None
        self._workers: dict[asyncio.Task[None], JobRun] = {}
        self._ready: deque[Outcome[R]] = deque()
        self._news = asyncio.Event()
        """Something may be taken, or it is over."""
        self._room = asyncio.Event()
        """Something was taken, or ended."""
        self._left_running = 0
        """Tasks that were left while they ran."""
        self._stopped = ""
        self._closed = False
        """Whether not even what is begun may make a task any more."""
        self._dry = False
        """Whether there are no units for more."""
        self._old = (0, -1)
        """How many jobs the journal knows, and the last position of one."""
        self._interrupted = False
        self._fatal: Exception | None = None

    # -- its life

    async def __aenter__(self) -> Self:
        self._engine.scope.enter()
        if self._feeding is not None:
            raise RuntimeError("a batch is entered once; make another one to go on")
        await ready_folder(self._wishes.folder)
        if self._journal is not None:
            async with contextlib.AsyncExitStack() as stack:
                journal = await stack.enter_async_context(self._journal)
                await self._purse.recall(journal)
                self._old = await journal.extent()
                stack.pop_all()
        self._accounts.begin(self._engine.scope.time())
        self._interrupts.start()
        with pointing_here():
            self._feeding = asyncio.create_task(self._feed(), name="kling_async batch")
        self._feeding.add_done_callback(self._fed)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._interrupts.stop()
        self._stop("closed")
        tasks = [*self._workers, *([self._feeding] if self._feeding is not None else [])]
        for task in tasks:
            task.cancel()
        with anyio.CancelScope(shield=True):  # a scope that was cancelled cancels every await in it
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                await self._close_journal()

    async def _close_journal(self) -> None:
        if self._journal is not None:
            await self._journal.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[R]:
        while not self._ready:
            if self._feeding is None:
                raise RuntimeError("a batch is entered first: async with client.batch(...) as results")
            if self._is_over:
                if self._fatal is not None:
                    error, self._fatal = self._fatal, None
                    raise error
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        outcome = self._ready.popleft()
        self._room.set()
        if outcome.error is not None and not outcome.resumed and self._on_error == "raise":
            raise outcome.error
        return outcome

    @property
    def _is_over(self) -> bool:
        fed = self._feeding is not None and self._feeding.done()
        return fed and all(run.told for run in self._workers.values())

    def stop(self) -> None:
        """Make no more tasks; those that run are waited for, their outcomes come."""
        self._stop("stop()")

    @property
    def report(self) -> Report:
        """How it stands, or ended."""
        runs = [run for run in self._workers.values() if not run.told]
        running = self._left_running + sum(run.running for run in runs)
        path = None if self._journal is None else self._journal.path
        return self._accounts.report(
            stopped=self._stopped,
            running=running,
            waiting=sum(not run.running for run in runs),
            units=self._purse.spent,
            now=self._engine.scope.time(),
            journal=path,
        )

    async def dry_run(self) -> DryRun:
        """Say what it will cost and how long it will take, by the input and the journal; nothing is made.

        It reads the whole input (an iterator is used up by that), checks every request, and asks once for
        the account's packs unless its limits are known.

        Raises:
            RuntimeError: The batch was entered.
            JournalError: The journal cannot be used.
        """
        if self._feeding is not None:
            raise RuntimeError("a batch that was entered has no dry run; make another one for that")
        self._engine.scope.enter()
        async with contextlib.AsyncExitStack() as stack:
            if self._journal is not None:
                await stack.enter_async_context(self._journal)
            looked_up = self._register.look_up(self._intake, self._order, lambda: True)
            chunks = await stack.enter_async_context(aclosing(looked_up))
            return await plan_of(self._engine, chunks, self._purse.priced)

    # -- feeding

    async def _feed(self) -> None:
        try:
            looked_up = self._register.look_up(self._intake, self._order, lambda: self._dry)
            async with aclosing(looked_up) as chunks:
                async for jobs in chunks:
                    for job in jobs:
                        if job.over and len(self._ready) < _REMEMBERED_MAX:
                            self._remember(job)
                        elif not await self._may_begin(job):
                            return
                        if not self._goes_on:
                            return
                    if self._dry and self._knows_no_more(jobs[-1]):
                        return
        except Exception as error:  # noqa: BLE001 - of the input, or of the journal: told to who iterates
            reason = "journal" if isinstance(error, JournalError) else "input"
            self._stopped, self._fatal = self._stopped or reason, error

    @property
    def _goes_on(self) -> bool:
        return not self._closed and (self._dry or not self._stopped)

    def _knows_no_more(self, job: PlannedJob) -> bool:
        """Whether nothing behind this one was ever paid for: an input may be endless, money is not."""
        jobs, last = self._old
        far = self._order == "given" and job.item.position > last + _GROWN
        return far or self._register.known >= jobs

    async def _may_begin(self, job: PlannedJob) -> bool:
        """Begin with a request when there is room and money for it; False: no more may be begun."""
        most = _REMEMBERED_MAX if job.over else self._ahead()
        while len(self._workers) + len(self._ready) >= most:
            if not await self._change():
                return False
        if job.over:
            self._remember(job)
            return self._goes_on
        new = job.plan in (ResumeAction.CREATE, ResumeAction.RETRY)
        if new and self._dry:
            return True
        run = JobRun(self._engine, self, self._keeping, self._wishes, job)
        if (wrong := job.error or (wrong_with(job.item.request) if new else None)) is not None:
            self._tell(run, run.refused(wrong))
            return self._goes_on
        run.price, run.reserved = self._purse.priced(job.item.request), job.entry.reserved
        if new and not await self._afford(run, run.price):
            return self._goes_on
        task = asyncio.create_task(self._work(run), name=f"kling_async batch {job.item.position}")
        self._workers[task] = run
        task.add_done_callback(self._over)
        return self._goes_on

    def _ahead(self) -> int:
        if self._most_ahead is not None:
            return self._most_ahead
        return max(_AHEAD_MIN, 2 * sum(pool.limit for pool in self._engine.limiter.pools.values()))

    async def _change(self) -> bool:
        """Return when something was taken or has ended; False if no more is to be begun."""
        self._room.clear()
        await self._room.wait()
        return self._goes_on

    # -- money

    async def _afford(self, run: JobRun, price: Estimate) -> bool:
        """Set aside what it may cost, when there is enough; False: there never will be, or nobody knows."""
        if price.most is None and self._purse.limit(price.pool) is not None:
            problem = Problem("max_units", f"{price.why}: give price= to say what it may cost at most")
            self._tell(run, run.refused(RequestInvalid("batch", [problem])))
            return False
        most = price.most or 0.0
        while not self._purse.fits(price.pool, most):
            if not (self._gives_back(price.pool) and self._purse.may_fit_later(price.pool, most)):
                self._run_dry()
                return False
            if not await self._change():
                return False
        self._purse.reserve(price.pool, most)
        run.reserved = most
        return True

    def _run_dry(self) -> None:
        """No more may be set aside. What queues has its units: it is made; what was paid is still told."""
        self._dry, self._stopped = True, self._stopped or "max_units"

    def _gives_back(self, pool: str) -> bool:
        """Whether anything under way may free units of a pool; what is of unknown fate will not."""
        runs = self._workers.values()
        return any(run.reserved > 0 and run.price is not None and run.price.pool == pool for run in runs)

    # -- one request

    async def _work(self, run: JobRun) -> None:
        try:
            outcome = await run.outcome()
        except Abandoned:
            self._purse.settle_run(run)
            self._left_running += run.running
            run.told = True
            return
        if run.fate is FailureAction.ACCOUNT:
            self._stop(_reason(outcome.error), outcome.error)
        self._tell(run, outcome)

    def _tell(self, run: JobRun, outcome: Outcome[R]) -> None:
        """Hand an outcome to who iterates, and settle its bill."""
        self._purse.settle_run(run)
        self._left_running += run.running
        run.told = True
        self._accounts.add(run, outcome)
        self._ready.append(outcome)
        self._news.set()
        if outcome.error is not None and not outcome.resumed and self._on_error != "collect":
            self._stop("error")

    def _remember(self, job: PlannedJob) -> None:
        """Hand out what the journal knows of a job that is finished; it costs nothing now."""
        outcome: Outcome[R] = remembered(job, self._wishes.folder)
        self._accounts.remembered(ok=outcome.ok)
        self._ready.append(outcome)
        self._news.set()

    def _over(self, task: asyncio.Task[None]) -> None:
        run = self._workers.pop(task)
        self._left_running += task.cancelled() and run.running and not run.told
        if not task.cancelled() and (error := task.exception()) is not None:
            self._stopped = self._stopped or "error"
            self._fatal = self._fatal or (error if isinstance(error, Exception) else None)
            self._stop("error")
        self._changed()

    def _fed(self, feeding: asyncio.Task[None]) -> None:
        """The input is at its end, or something ended it that is no error of a request."""
        error = (
            RuntimeError("the batch's input was cancelled") if feeding.cancelled() else feeding.exception()
        )
        if error is not None and not self._closed:
            lost = (
                error
                if isinstance(error, Exception)
                else RuntimeError(f"the batch's input ended with {error!r}")
            )
            self._stopped, self._fatal = self._stopped or "input", self._fatal or lost
        self._changed()

    def _changed(self) -> None:
        self._news.set()
        self._room.set()
        if self._is_over:
            self._interrupts.stop()  # there is nothing left that a signal could end in good order

    # -- the book of its runs

    @property
    def closed(self) -> bool:
        """Whether no more tasks may be made; for `JobRun`."""
        return self._closed

    def may_send(self, run: JobRun) -> bool:
        """Tell whether a task may be made for it now, though it was begun; for `JobRun`."""
        if not self._closed and run.price is not None and not self._purse.holds(run.price.pool):
            self._run_dry()  # less may be spent than an earlier run set aside
            return False
        return not self._closed

    def attempt_failed(self, run: JobRun) -> None:
        """Settle an attempt that another one follows; for `JobRun`."""
        self._purse.settle_attempt(run)

    # -- stopping

    def _stop(self, reason: str, error: Exception | None = None) -> None:
        """Begin nothing more; what queues has cost nothing and is let go."""
        if self._is_over:
            return
        self._closed = True
        if not self._stopped:
            self._stopped, self._fatal = reason, error
        for task, run in self._workers.items():
            if run.idle:
                task.cancel()
        if self._feeding is not None and self._feeding is not asyncio.current_task():
            self._feeding.cancel()
        self._room.set()
        self._news.set()

    def _heard(self, signal: str) -> None:
        """A signal came: the first ends the batch in good order, the next at once."""
        if self._interrupted:
            self._interrupts.stop()  # who comes a third time means somebody else
            for task in self._workers:
                task.cancel()
            return
        self._interrupted = True
        self._stop(signal)
        sys.stderr.write(f"\n{signal}: {self.report.advice}\nOnce more, to wait for nothing.\n")


def _reason(error: Exception | None) -> str:
    if isinstance(error, JournalError):
        return "journal"
    return "disk" if isinstance(error, DownloadError) else "account"

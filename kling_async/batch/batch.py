"""Run many requests through one account: as many at a time as fit, results as they come, nothing twice.

A batch holds only what is in flight and what was not yet taken. With a journal, the same call resumes it
after any end, also after a kill.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

import anyio
import msgspec

from kling_async.batch.budget import BatchControl, Budget, price_of
from kling_async.batch.dry_run import dry_run
from kling_async.batch.entry import JobState, settled
from kling_async.batch.exclusions import Exclusions
from kling_async.batch.failures import FailureAction
from kling_async.batch.feeder import Feeder
from kling_async.batch.job import Abandoned, JobContext, JobRun
from kling_async.batch.job_outcomes import refused_outcome, remembered_outcome
from kling_async.batch.journal import Journal, NullJournal
from kling_async.batch.journal_planner import planner_of
from kling_async.batch.lifecycle import BatchLife, RunLife
from kling_async.batch.observing import Observing
from kling_async.batch.options import ready_folder
from kling_async.batch.outcomes import OutcomeQueue
from kling_async.batch.pace import JobPace, Load, load_of, task_seconds
from kling_async.batch.planner import Planner
from kling_async.batch.report import ReportBuilder
from kling_async.batch.steering import Steering
from kling_async.errors import DownloadError, JournalError, ResultExpired
from kling_async.runtime.signals import SignalWatcher
from kling_async.wire.caller import pointing_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kling_async.batch.budget import Reservation
    from kling_async.batch.options import BatchOptions
    from kling_async.batch.outcomes import Outcome, Plan, StopReason
    from kling_async.batch.planned import PlannedJob
    from kling_async.batch.source import Requests
    from kling_async.core.queue import Kind
    from kling_async.errors import KlingError, RequestInvalid
    from kling_async.orchestrator.engine import Engine

__all__ = ["Batch"]

R = TypeVar("R")

_AHEAD_MIN: Final = 16
"""Fewest requests that a batch holds by default, however few slots the account has."""


class Batch(Steering[R], Observing["_Jobs[R]"]):
    """Many requests under way: enter it with ``async with``, then iterate over its outcomes.

    Leaving early loses nothing: created tasks run on, and a journal knows of them.

    Args:
        engine: Of the client.
        requests: The input.
        options: Of the batch.
        journal_only: Whether the unfinished jobs of the journal take the place of the input.
    """

    def __init__(
        self, engine: Engine, requests: Requests[R], options: BatchOptions, *, journal_only: bool = False
    ) -> None:
        super().__init__(engine)
        self._engine = engine
        self._options = options
        self._life = BatchLife()
        self._budget = Budget(options.max_units)
        self._outcomes: OutcomeQueue[R] = OutcomeQueue()
        self._report = ReportBuilder(journal_only=journal_only)
        self._journal: Journal | NullJournal = NullJournal()
        if options.journal is not None:
            self._journal = Journal(options.journal, now=engine.scope.now, make=not journal_only)
        slots = None if options.downloads is None else asyncio.Semaphore(options.downloads)
        exclusions = Exclusions(
            options.stop_after_refusals, everything_limited=self._budget.everything_limited
        )
        control = BatchControl(self._life, self._budget, exclusions)
        self._jobs: _Jobs[R] = _Jobs(
            JobContext(engine, options, self._journal, control, slots, self._pauses),
            self._outcomes,
            self._report,
            counts_only=journal_only,
            stop=self._stop,
            changed=self._changed,
        )
        self._planner = planner_of(engine, requests, options, self._journal, journal_only=journal_only)
        self._feeder = Feeder(self._planner, options.price, control, self._outcomes, self._jobs)
        self._signals = SignalWatcher(self._heard, enabled=options.signals)

    # -- entering and leaving

    async def __aenter__(self) -> Self:
        self._engine.scope.enter()
        if self._feeding is not None:
            raise RuntimeError("a batch is entered once; make another one to resume")
        await ready_folder(self._options.folder)
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._journal)
            if self._budget.limited:
                # max_units holds for all runs together, so earlier costs count before any task is made
                async for entry in self._journal.entries():
                    self._budget.recall(settled(entry, self._engine.scope.now()))
            stack.pop_all()  # from here on __aexit__ closes the journal
        self._report.start(self._engine.scope.time())
        self._signals.start()
        if self._options.stop_after_refusals is not None:
            self._engine.limiter.holds.subscribe(self._jobs)
        # the feeder checks requests in a task of its own, where the user's frames are not on the stack
        with pointing_here():
            self._feeder.task = asyncio.create_task(self._feeder.run(), name="kling_async batch")
        self._feeder.task.add_done_callback(self._fed)
        self._start_reports()
        return self

    async def __aexit__(self, _: object, error: BaseException | None, *__: object) -> None:
        self._note_running(error)
        self._signals.stop()
        self._engine.limiter.holds.unsubscribe(self._jobs)
        # closed before anything is cancelled: by its state `_fed` tells this cancel from one by the input
        self._life.close()
        self._jobs.cancel()
        tasks = self._jobs.tasks()
        if self._feeding is not None:
            self._feeding.cancel()
            tasks.append(self._feeding)
        # a cancelled scope of the caller's would cancel each of these awaits too
        with anyio.CancelScope(shield=True):
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                self._pauses.resume()
                await self._journal.close()
                await self._end_reports()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[R]:
        while not self._outcomes:
            if self._feeding is None:
                raise RuntimeError("a batch is entered first: async with client.batch(...) as results")
            if self._life.ended:
                if (error := self._life.take_error()) is not None:
                    raise error
                raise StopAsyncIteration
            await self._outcomes.arrival()
        outcome = self._outcomes.take()
        if outcome.error is not None and not outcome.resumed and self._options.on_error == "raise":
            raise outcome.error
        return outcome

    def stop(self) -> None:
        """Make no more tasks; running ones are waited for, and their outcomes come. Works from any thread."""
        self._engine.scope.act(lambda: self._stop("stop()"), needs_loop=False)

    async def dry_run(self) -> Plan:
        """Estimate what the batch will cost and how long it will take, by input and journal; make nothing.

        The whole input is read (an iterator is used up by that) and every request checked. The account's
        packs are asked for once, unless its limits are known.

        Raises:
            RuntimeError: The batch was entered.
            JournalError: The journal cannot be used.
        """
        if self._feeding is not None:
            raise RuntimeError("a batch that was entered has no dry run; make another one for that")
        self._engine.scope.enter()
        journal, planner = self._journal, self._planner
        if isinstance(planner, Planner) and not await journal.exists():  # opened, it would be made
            journal, planner = NullJournal(), planner.without_journal(self._engine.account)
        async with journal, aclosing(planner.chunks(lambda: True)) as chunks:
            plan = await dry_run(self._engine, chunks, lambda request: price_of(request, self._options.price))
        return msgspec.structs.replace(plan, unclaimed=planner.unclaimed)

    # -- callbacks

    def _fed(self, feeding: asyncio.Task[None]) -> None:
        """Note that nothing more is read; the feeder has noted errors of the input and the journal itself."""
        lost: BaseException | None = (
            RuntimeError("the batch's input was cancelled") if feeding.cancelled() else feeding.exception()
        )
        if lost is None or not self._life.may_create:  # the batch itself has cancelled it
            self._life.input_ended()
        elif isinstance(lost, Exception):
            self._life.input_ended("input", lost)
        else:
            self._life.input_ended("input", RuntimeError(f"the batch's input ended with {lost!r}"))
        self._changed()

    def _changed(self) -> None:
        """Note that a job or the input has ended."""
        fed = self._feeding is not None and self._feeding.done() and not self._life.reads
        if fed and not self._jobs.unfinished() and not self._life.ended:
            if (error := self._jobs.exclusions.fatal()) is not None:
                self._life.fault("account", error)
            self._life.end()
            self._signals.stop()  # nothing is left that a signal could stop
        self._outcomes.notify()

    def _stop(self, reason: StopReason, error: Exception | None = None) -> None:
        """Make no more tasks; drop the jobs that have none."""
        self._life.stop(reason, error)
        self._drop_unsent()

    def _drop_unsent(self) -> None:
        """Cancel the reading of the input and the jobs without a task."""
        if self._life.ended:
            return
        self._jobs.drop_idle()
        self._pauses.resume()
        if self._feeding is not None and self._feeding is not asyncio.current_task():
            self._feeding.cancel()
        self._outcomes.notify()

    def _heard(self, signal: str) -> None:
        """Handle SIGINT or SIGTERM: the first lets running tasks come in, the next waits for nothing."""
        if not self._life.interrupt("SIGTERM" if signal == "SIGTERM" else "SIGINT"):
            self._signals.stop()  # a third signal is left to the process's own handlers
            self._jobs.cancel()
            if self._feeding is not None:
                self._feeding.cancel()  # once more: an input's own cleaning up may take for ever
            return
        self._drop_unsent()
        sys.stderr.write(f"\n{signal}: {self.report.advice}\nSend it again to leave without waiting.\n")


class _Jobs(Generic[R]):
    """The jobs of a batch that are under way.

    Args:
        context: The parts that all jobs share.
        outcomes: Takes their outcomes.
        report: Counts them.
        counts_only: Whether the outcomes of jobs that an earlier run finished are counted, not handed out.
        stop: Stops the batch, for a reason, with an error to raise at its end.
        changed: Called whenever a job is over.
    """

    def __init__(
        self,
        context: JobContext,
        outcomes: OutcomeQueue[R],
        report: ReportBuilder,
        *,
        counts_only: bool,
        stop: Callable[[StopReason, Exception | None], None],
        changed: Callable[[], None],
    ) -> None:
        self._context = context
        self.exclusions = context.control.exclusions
        self._outcomes = outcomes
        self._report = report
        self._counts_only = counts_only
        self._stop = stop
        self._changed = changed
        self._runs: dict[asyncio.Task[None], JobRun] = {}
        self.pace = JobPace()
        self._began = context.engine.scope.now()

    def __len__(self) -> int:
        return len(self._runs)

    def tasks(self) -> list[asyncio.Task[Any]]:
        """Return the asyncio tasks that carry the jobs."""
        return list(self._runs)

    def unfinished(self) -> int:
        """Return how many jobs have no outcome yet."""
        return sum(not run.life.over for run in self._runs.values())

    def running(self) -> int:
        """Return how many jobs under way have a task that runs, or may run."""
        return sum(run.life.running for run in self._runs.values())

    def loads(self) -> Iterator[Load]:
        """Yield the jobs that have no outcome yet, as far as their time is concerned."""
        return (self._load(run) for run in self._runs.values() if not run.life.over)

    def _load(self, run: JobRun) -> Load:
        now = self._context.engine.scope.now() if run.life.running else None
        return load_of(run.kind, run.item.request, run.entry, now)

    def capacity(self) -> int:
        """Return how many jobs may be under way or wait to be taken: enough to keep all slots busy."""
        if self._context.options.ahead is not None:
            return self._context.options.ahead
        pools = self._context.engine.limiter.pools.values()
        return max(_AHEAD_MIN, 2 * sum(pool.limit for pool in pools))

    def start(self, job: PlannedJob, reservation: Reservation) -> None:
        """Begin a job in an asyncio task of its own."""
        self._report.add_spent_earlier(job.entry)
        run = JobRun(self._context, job, reservation)
        self.pace.begin(run.kind.pool)
        task = asyncio.create_task(self._carry(run), name=f"kling_async batch {job.item.position}")
        self._runs[task] = run
        task.add_done_callback(self._carried)

    def refuse(self, job: PlannedJob, error: RequestInvalid) -> None:
        """Hand out the outcome of a job that cannot begin."""
        now = self._context.engine.scope.now()
        outcome = refused_outcome(job, self._context.options.folder, error, now=now)
        self._report.add_left_running(RunLife(job.action).running)
        self._report.add(outcome, finished=False, charge=None)
        self._hand_out(outcome)

    def remember(self, job: PlannedJob) -> None:
        """Hand out the outcome of a job that an earlier run finished."""
        outcome = remembered_outcome(job, self._context.options.folder)
        self._report.add_spent_earlier(job.entry)
        self._report.add_remembered(ok=outcome.ok, expired=isinstance(outcome.error, ResultExpired))
        if not self._counts_only:
            self._outcomes.put(outcome)

    def on_hold(self, kind: Kind, error: KlingError) -> None:
        """Make no more tasks of an endpoint and model whose creates the client holds."""
        if self._context.control.may_create:
            self.exclusions.hold(kind, error)
            self._drop_excluded()
            self._outcomes.notify()

    def drop_idle(self) -> None:
        """Cancel the jobs without a task: nothing was paid for them."""
        self._dropped(lambda _: True)

    def _dropped(self, which: Callable[[JobRun], bool]) -> list[JobRun]:
        """Cancel some of the jobs without a task, and return these."""
        # the job that called this has ended; it must not cancel its own task
        current = asyncio.current_task()
        idle = [
            (task, run)
            for task, run in self._runs.items()
            if task is not current and run.may_be_dropped and which(run)
        ]
        return [run for task, run in idle if task.cancel()]

    def cancel(self) -> None:
        """Cancel all jobs; their tasks run on at the vendor's."""
        for task in self._runs:
            task.cancel()

    async def _carry(self, run: JobRun) -> None:
        try:
            outcome = await run.outcome()
        except Abandoned:
            self._settle(run)
            return
        self._draw_conclusions(run, outcome)
        finished = run.entry.state is JobState.FAILED or isinstance(outcome.error, ResultExpired)
        self._report.add(outcome, finished=finished, charge=run.charge(outcome))
        if (seconds := task_seconds(run.entry, self._began)) is not None:
            self.pace.end(self._load(run), seconds)
        self._settle(run)
        self._hand_out(outcome)

    def _draw_conclusions(self, run: JobRun, outcome: Outcome[R]) -> None:
        """Stop the batch, or one kind of its requests, if a job's end shows that others would fail too."""
        exclusions, error = self.exclusions, outcome.error
        if outcome.files and error is None:
            exclusions.stored()
        if run.failure_action is FailureAction.ACCOUNT:
            self._stop(_reason(error), error)
        elif error is None:
            return
        elif run.failure_action is FailureAction.POOL:
            exclusions.close_pool(run.kind.pool, error)
            self._drop_excluded()
        elif exclusions.reason(run.kind) is not None:
            self._drop_excluded()
        elif isinstance(error, DownloadError) and error.fault != "file" and exclusions.unstored():
            self._report.explain(str(error))
            self._stop("storage", None)

    def _drop_excluded(self) -> None:
        """Drop the jobs without a task whose kind is skipped from now on."""
        for run in self._dropped(lambda run: self.exclusions.reason(run.kind) is not None):
            if (reason := self.exclusions.reason(run.kind)) is not None:
                run.skip(reason)

    def _settle(self, run: JobRun) -> None:
        """Note that a job is over: settle its units, count its task if it runs on."""
        self._context.control.budget.close(run.reservation, run.cost())
        self._report.add_left_running(run.life.running)
        run.life.finish()

    def _hand_out(self, outcome: Outcome[R]) -> None:
        self._outcomes.put(outcome)
        self._changed()  # first: after the last job there is nothing to stop
        failed = outcome.error is not None and not outcome.resumed
        if failed and self._context.options.on_error != "collect":
            self._stop("error", None)

    def _carried(self, task: asyncio.Task[None]) -> None:
        run = self._runs.pop(task)
        if task.cancelled():
            if not run.life.over:
                self._settle(run)
        elif (error := task.exception()) is not None:  # a bug: the batch must not end as if all were well
            self._context.control.life.fault("error", error if isinstance(error, Exception) else None)
            self._stop("error", None)
        self._changed()


def _reason(error: Exception | None) -> StopReason:
    if isinstance(error, JournalError):
        return "journal"
    return "disk" if isinstance(error, DownloadError) else "account"

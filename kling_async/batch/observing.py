"""Look at a batch while it runs, or at its end: the report, and the progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kling_async.batch.feeder import JobPlanner
from kling_async.batch.progress import Progress, ProgressReporter
from kling_async.orchestrator.pool_states import pool_states

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kling_async.batch.budget import Budget
    from kling_async.batch.exclusions import Exclusions
    from kling_async.batch.journal import Journal, NullJournal
    from kling_async.batch.lifecycle import BatchLife
    from kling_async.batch.options import BatchOptions
    from kling_async.batch.outcomes import Report
    from kling_async.batch.pace import Load, Pace
    from kling_async.batch.report import ReportBuilder
    from kling_async.orchestrator.engine import Engine

__all__ = ["JobsUnderWay", "Observing", "PlannedInput"]


class JobsUnderWay(Protocol):
    """The jobs of a batch that are under way."""

    pace: Pace
    """How long tasks take."""
    exclusions: Exclusions
    """The requests that are skipped."""

    def unfinished(self) -> int:
        """Return how many jobs have no outcome yet."""
        ...

    def running(self) -> int:
        """Return how many jobs under way have a task that runs, or may run."""
        ...

    def loads(self) -> Iterable[Load]:
        """Return the jobs that have no outcome yet, as far as their time is concerned."""
        ...


class PlannedInput(JobPlanner, Protocol):
    """The input of a batch, as far as it was compared with the journal."""

    unclaimed: int
    """How many jobs of the journal the input did not name; known once it has ended."""
    unclaimed_running: tuple[str, ...]
    """The ids of those that are not finished."""

    @property
    def total(self) -> int | None:
        """How many requests the input holds; None while that is not known."""
        ...


class Observing:
    """The views of a batch."""

    _engine: Engine
    _options: BatchOptions
    _life: BatchLife
    _budget: Budget
    _report: ReportBuilder
    _journal: Journal | NullJournal
    _planner: PlannedInput
    _jobs: JobsUnderWay
    _reporter: ProgressReporter | None = None

    @property
    def paused(self) -> bool:
        """Whether the batch is paused."""
        raise NotImplementedError

    @property
    def report(self) -> Report:
        """The counts and costs so far, and how to resume."""
        running = self._jobs.running()
        return self._report.report(
            stopped=self._life.reason or self._jobs.exclusions.stopped,
            skipped=self._jobs.exclusions.lines(),
            running=running,
            waiting=self._jobs.unfinished() - running,
            budget=self._budget,
            now=self._engine.scope.time(),
            journal=self._journal.path,
            unclaimed=self._planner.unclaimed,
            unclaimed_running=self._planner.unclaimed_running,
        )

    def progress(self) -> Progress:
        """Return how far the batch has come; cheap enough for a display that is drawn ten times a second."""
        loads = list(self._jobs.loads())
        running = sum(load.age is not None for load in loads)
        report = self._report.counts(self._engine.scope.time())
        skipped = sum(line.requests for line in self._jobs.exclusions.lines())
        begun = len(loads) + report.done + report.failed + skipped
        total = self._planner.total
        if total is not None:
            total = max(total, begun)  # an input may hold more than its length says
        unread = 0 if total is None else total - begun
        slots = pool_states(self._engine.limiter)
        left = None
        if total is not None:
            usable = {name: state.limit - state.foreign for name, state in slots.items()}
            left = self._jobs.pace.seconds_left(loads, unread, usable)
        finished = report.done + report.failed - report.resumed
        return Progress(
            total=total,
            queued=len(loads) - running + unread,
            running=running,
            done=report.done,
            failed=report.failed,
            skipped=skipped,
            resumed=report.resumed,
            units=self._budget.spent_now,
            seconds=report.seconds,
            rate=60 * finished / report.seconds if report.seconds else 0.0,
            seconds_left=left,
            slots=slots,
            last_file=report.last_file,
            paused=self.paused,
            stopping=not (self._life.may_create or self._life.ended),
        )

    def _start_reports(self) -> None:
        if self._options.progress is not None:
            self._reporter = ProgressReporter(self.progress, self._options.progress)
            self._reporter.start()

    async def _end_reports(self) -> None:
        if self._reporter is not None:
            await self._reporter.stop()

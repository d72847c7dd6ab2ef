"""Feed a batch: read its input as fast as jobs may begin, and reserve units for their tasks."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Protocol

from kling_async.batch.budget import Reservation, price_of
from kling_async.errors import JournalError, Problem, RequestInvalid

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Callable

    from kling_async.batch.budget import BatchControl
    from kling_async.batch.exclusions import SkipReason
    from kling_async.batch.outcomes import OutcomeQueue
    from kling_async.batch.planned import PlannedJob
    from kling_async.prices import Estimate
    from kling_async.wire.requests import TaskRequest

__all__ = ["Feeder", "JobPlanner", "JobStarter"]

_REMEMBERED_MAX: Final = 1000
"""Outcomes of earlier runs that may wait to be taken; they hold little, and cost nothing."""


class JobPlanner(Protocol):
    """Yields planned jobs; see `batch.planner.Planner`."""

    def chunks(self, in_a_hurry: Callable[[], bool]) -> AsyncGenerator[list[PlannedJob], None]:
        """Yield the planned input from its beginning."""
        ...

    @property
    def has_length(self) -> bool:
        """Whether the input is known to end."""
        ...

    def is_past_known_jobs(self, job: PlannedJob) -> bool:
        """Tell whether no later request can be one that an earlier run paid for."""
        ...


class JobStarter(Protocol):
    """Takes jobs from the feeder."""

    def __len__(self) -> int:
        """Return how many jobs are under way."""
        ...

    def capacity(self) -> int:
        """Return how many jobs may be under way or wait to be taken."""
        ...

    def start(self, job: PlannedJob, reservation: Reservation) -> None:
        """Begin a job."""
        ...

    def refuse(self, job: PlannedJob, error: RequestInvalid) -> None:
        """Hand out the outcome of a job that cannot begin."""
        ...

    def remember(self, job: PlannedJob) -> None:
        """Hand out the outcome of a job that an earlier run finished."""
        ...


class Feeder:
    """Reads, plans and begins the jobs of one batch.

    Args:
        planner: Reads the input and compares it with the journal.
        price: The caller's own prices.
        control: State and budget of the batch.
        outcomes: Queue of the outcomes; those that the caller has not taken yet hold the input back.
        starter: Begins the jobs.
    """

    def __init__(
        self,
        planner: JobPlanner,
        price: Callable[[TaskRequest[Any]], float | None] | None,
        control: BatchControl,
        outcomes: OutcomeQueue[Any],
        starter: JobStarter,
    ) -> None:
        self._planner = planner
        self._price = price
        self._life, self._budget, self._exclusions = control
        self._outcomes = outcomes
        self._starter = starter
        self.task: asyncio.Task[None] | None = None
        """The task that runs `run`; None before the batch is entered."""

    async def run(self) -> None:
        """Feed until the input ends or the batch makes no more tasks; an error is noted, not raised."""
        try:
            async with aclosing(self._planner.chunks(lambda: self._exclusions.skipping)) as chunks:
                async for jobs in chunks:
                    if not await self._feed(jobs):
                        return
        except Exception as error:  # noqa: BLE001 - of the input or the journal: raised to the caller at the end
            self._life.fault("journal" if isinstance(error, JournalError) else "input", error)

    async def _feed(self, jobs: list[PlannedJob]) -> bool:
        """Begin jobs as there is room and money for them; return whether to read on."""
        for job in jobs:
            # a resumed batch comes here 100,000 times; without an await its state cannot have changed
            if job.is_finished and len(self._outcomes) < _REMEMBERED_MAX:
                self._starter.remember(job)
                continue
            await self._offer(job)
            if not self._life.reads:
                return False
        endless = self._exclusions.hopeless and not self._planner.has_length
        return self._life.reads and not (endless and self._planner.is_past_known_jobs(jobs[-1]))

    async def _offer(self, job: PlannedJob) -> None:
        """Begin a job once there is room and money for it, unless the batch stops meanwhile."""
        most = _REMEMBERED_MAX if job.is_finished else self._starter.capacity()
        while len(self._starter) + len(self._outcomes) >= most:
            if not await self._wait_for_room():
                return
        if job.is_finished:
            self._starter.remember(job)
        elif (reason := self._skip_reason(job)) is not None:
            self._exclusions.skip(job.kind, reason)
        elif (error := job.refusal()) is not None:
            self._starter.refuse(job, error)
        else:
            try:
                price = self._price_of(job)
            except RequestInvalid as wrong:
                self._starter.refuse(job, wrong)
                return
            if not job.is_new:
                self._start(job, Reservation(price, job.entry.reserved))
            elif price.most is None and self._budget.limit(price.pool) is not None:
                problem = Problem("max_units", f"{price.why}: give price= to say what it may cost at most")
                self._starter.refuse(job, RequestInvalid("batch", [problem]))
            elif await self._reserve(job, price):
                self._start(job, Reservation(price, price.most or 0.0, sent=False))

    def _skip_reason(self, job: PlannedJob) -> SkipReason | None:
        """Return why no task is made for a job that needs one; None if one may be."""
        if job.error is not None or not job.is_new:
            return None
        return self._exclusions.reason(job.kind) if job.sendable else "unsent"

    def _price_of(self, job: PlannedJob) -> Estimate:
        try:
            return price_of(job.item.request, self._price)
        except RequestInvalid:
            if job.is_new:
                raise
            return price_of(job.item.request)  # its task may exist: it costs what it costs

    def _start(self, job: PlannedJob, reservation: Reservation) -> None:
        self._exclusions.started(job.kind)
        self._budget.open(reservation)
        self._starter.start(job, reservation)

    async def _reserve(self, job: PlannedJob, price: Estimate) -> bool:
        """Reserve what a task may cost; False: the batch stopped, or the job is skipped."""
        if not self._life.reads:  # the input or the caller's price has stopped the batch, within this task
            return False
        pool, most = price.pool, price.most or 0.0
        while not self._budget.fits(pool, most):
            # wait only for units that a job of this run may return: the others may never come back
            if not (self._budget.gives_back(pool) and self._budget.may_fit_later(pool, most)):
                self._exclusions.skip(job.kind, "max_units")
                return False
            if not await self._wait_for_room():
                return False
            if (reason := self._exclusions.reason(job.kind)) is not None:
                self._exclusions.skip(job.kind, reason)
                return False
        self._budget.reserve(pool, most)
        return True

    async def _wait_for_room(self) -> bool:
        """Wait until an outcome is taken or a job ends; return whether to go on."""
        await self._outcomes.departure()
        return self._life.reads

"""Carry one request of a batch to its outcome: created once, waited for, stored, each step journaled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from kling_async.batch.entry import (
    JobState,
    JournaledFile,
    Times,
    advance,
    cost_of,
    dump_record,
    failure_of,
    mark_missing,
    mark_unsent,
    next_attempt,
    results_expired,
    settled,
)
from kling_async.batch.failures import FailureAction, action_for
from kling_async.batch.job_files import store_files
from kling_async.batch.job_outcomes import outcome_of
from kling_async.batch.lifecycle import RunLife
from kling_async.batch.report import Charge
from kling_async.errors import (
    AmbiguousCreate,
    BadResponse,
    DownloadError,
    JournalError,
    ResultExpired,
    TaskFailed,
    TaskNotFound,
    TaskTimeout,
    TaskWithdrawn,
)
from kling_async.orchestrator.attempts import EarlierAttempt
from kling_async.orchestrator.handles import attach
from kling_async.orchestrator.submission import SubmissionHooks
from kling_async.tasks import Task, still_runs

if TYPE_CHECKING:
    from kling_async.batch.budget import BatchControl, Reservation
    from kling_async.batch.exclusions import SkipReason
    from kling_async.batch.journal import JobJournal
    from kling_async.batch.options import BatchOptions
    from kling_async.batch.outcomes import Outcome
    from kling_async.batch.pausing import PauseSwitch
    from kling_async.batch.planned import PlannedJob
    from kling_async.batch.source import Item
    from kling_async.core.queue import Kind
    from kling_async.orchestrator.engine import Engine
    from kling_async.orchestrator.submission import Submission
    from kling_async.records import TaskRecord
    from kling_async.wire.requests import Result

__all__ = ["Abandoned", "JobContext", "JobRun"]

_PAUSE: Final = 15.0
"""Seconds until a create that could not be sent is tried again; doubles each time. By then the client's own
tries, `Retry.max_tries` in about a minute, have all failed."""
_PAUSE_MAX: Final = 300.0


class JobContext(NamedTuple):
    """The parts of a batch that all of its jobs share."""

    engine: Engine
    options: BatchOptions
    journal: JobJournal
    control: BatchControl
    download_slots: asyncio.Semaphore | None
    """Bounds how many files come at once; None: the client's own bound."""
    pauses: PauseSwitch


class Abandoned(Exception):
    """The batch was stopped before a task of this job existed: the job has no outcome."""


class JobRun(SubmissionHooks):
    """One job under way, from its entry to its outcome; as hooks of its submission it journals the create.

    Args:
        context: Shared with the batch's other jobs.
        planned: What is left to do.
        reservation: The units set aside for its task.
    """

    def __init__(self, context: JobContext, planned: PlannedJob, reservation: Reservation) -> None:
        self._context = context
        self._planned = planned
        self.digests = planned.digests
        self.reservation = reservation
        self.entry = planned.entry
        self.life = RunLife(planned.action)
        self.attempts = 1
        """How many tasks this run made, or tried to make, for the job."""
        self.failure_action: FailureAction | None = None
        """The consequence of the latest failure."""
        self._skipped = False
        self._task: Task[Any] | None = None
        self._submission: Submission | None = None
        self._worker: asyncio.Task[Any] | None = None
        begun = self.life.running or planned.entry.ended
        self._other_account = begun and planned.entry.account not in ("", context.engine.account)
        """Whether an earlier run began the job under another key, which may be another account's."""

    @property
    def item(self) -> Item:
        """The request and its place in the input."""
        return self._planned.item

    @property
    def kind(self) -> Kind:
        """The endpoint, model and pool of the request."""
        return self._planned.kind

    @property
    def record(self) -> TaskRecord | None:
        """The task as last described, with the addresses of its files; None: nothing is known of it."""
        return self._task.record if self._task is not None else None

    @property
    def may_be_dropped(self) -> bool:
        """Whether the job waits until its create is sent: to cancel it loses no task and no outcome."""
        if self._task is not None or self.entry.state is not JobState.PLANNED:
            return False
        return self._submission is None or self._submission.waiting

    def cost(self) -> float | None:
        """Return the units to count as spent; None: nothing is known yet, or an earlier run counted them."""
        # a journaled end settles a job though its task may run: the vendor answers no query about it
        may_cost = self._counted_earlier or (self.life.may_cost_yet and not self.entry.ended)
        return None if may_cost else cost_of(self.entry)

    def charge(self, outcome: Outcome[Any]) -> Charge | None:
        """Return what to add to this run's bill; None if an earlier run added it, or there is no task."""
        if self._counted_earlier or self.entry.task_id is None:
            return None
        units = (outcome.units or self.entry.earlier_units) - self._planned.entry.earlier_units
        return Charge(self.item.request, self.entry.label, self.reservation.price, units, self.attempts)

    @property
    def _counted_earlier(self) -> bool:
        """Whether an earlier run saw the task end, and counted its cost."""
        return self._planned.entry.ended

    async def outcome(self) -> Outcome[Any]:
        """Do all that is left to do for the job; every failure is an outcome.

        Raises:
            Abandoned: The batch was stopped, and no task exists.
        """
        self._worker = asyncio.current_task()
        pause = _PAUSE
        while True:
            pauses = self._context.pauses.count
            try:
                return await self._attempt()
            except TaskWithdrawn:
                held = pauses != self._context.pauses.count  # by a pause that came meanwhile
                if not (held and self._context.control.may_create) or self._skipped:
                    raise Abandoned from None
                continue
            except Exception as error:  # noqa: BLE001 - one request's failure must not end the others
                self.failure_action, failure = action_for(error), error
                # before any await, or other jobs of an excluded kind are sent meanwhile
                if self.entry.state is JobState.PLANNED:
                    exclusions = self._context.control.exclusions
                    exclusions.refused(self.kind, self.entry.identity, error)
            may_create = self._context.control.may_create
            if self.failure_action is FailureAction.LATER and may_create:
                self._submission = None
                await asyncio.sleep(pause)
                pause = min(_PAUSE_MAX, 2 * pause)
            elif self.failure_action is FailureAction.LATER and self.entry.state is JobState.PLANNED:
                raise Abandoned
            elif self._may_retry:
                self._begin_next_attempt()
            else:
                return await self._failed(failure)

    @property
    def _may_retry(self) -> bool:
        allowed = self.entry.attempt < self._context.options.retries and self._context.control.may_create
        return self.failure_action is FailureAction.RETRY and allowed

    def _begin_next_attempt(self) -> None:
        """Settle the failed task; the next attempt keeps the reservation."""
        context, units = self._context, None if self.record is None else self.record.units
        self.entry = msgspec.structs.replace(self.entry, units=units, state=JobState.FAILED)
        context.control.budget.settle(self.reservation.pool, 0.0, cost_of(self.entry))
        self.entry = next_attempt(
            self.entry, context.journal.id, account=context.engine.account, defaults=self.entry.defaults
        )
        self.attempts += 1
        self._task = self._submission = None
        self._other_account = False
        self.life.retried()

    async def _attempt(self) -> Outcome[Any]:
        context = self._context
        if self.entry.state is JobState.PLANNED:
            task = await self._create()
        else:
            name = self.entry.task_id
            task = Task[Any](*attach(context.engine, self.item.request, task_id=name, confirmed=True))
        self._task = task
        try:
            result = await self._wait(task)
        except BadResponse:
            if task.done:  # the task is paid, whatever its result looks like
                await self._note_success()
            raise
        finally:
            if task.done:
                self.life.ended()
        files: tuple[JournaledFile, ...] | None = None
        if context.options.folder is not None:
            await self._note_success()
            try:
                job = self.item, self.entry, task.tracked, result
                files = await store_files(context.engine, context.options, *job, slots=context.download_slots)
            except DownloadError as error:
                self.failure_action = action_for(error)
                return await self._failed(error, result)  # the task is paid: its outcome has the result
        await self._note(JobState.DONE, files=files)
        return self._outcome(result=result, record=task.record)

    async def _wait(self, task: Task[Any]) -> Any:
        """Wait for the end of the task for ``job_timeout``, by default for as long as its slots count.

        Raises:
            TaskTimeout: The task runs on.
        """
        given = self._context.options.job_timeout
        while True:
            try:
                return await task.wait(self._context.engine.limiter.life if given is None else given)
            except TaskTimeout:
                if given is not None or await still_runs(task):
                    raise

    # -- the create

    async def _create(self) -> Task[Any]:
        """Create the task, or find the one that an earlier run created."""
        engine = self._context.engine
        earlier = None
        if self.life.sent:
            earlier = EarlierAttempt(self.entry.times.planned or 0.0, elsewhere=self._other_account)
        self._submission = submission = await engine.new_submission(
            self.item.request,
            external_task_id=self.entry.external_task_id,
            generated=True,
            checked=self._planned.is_new or self._submission is not None or not self._planned.sendable,
            hooks=self,
            earlier=earlier,
            priority=self._context.options.priority,
            label=self.entry.label,
        )
        try:
            await self._context.pauses.clearance()
            with self._context.pauses.withdrawable(submission):
                tracked = await engine.queue.submit(submission)
        except BaseException as error:  # a cancellation too: nothing may have been sent when it came
            if not (submission.may_exist or isinstance(error, AmbiguousCreate)):
                self._mark_unsent()
            raise
        task: Task[Any] = Task(engine, tracked)
        self._task = task
        self._other_account = False
        self.life.created()
        self._context.control.exclusions.accepted(self.kind)
        await self._note(JobState.CREATED, task_id=task.id, account=engine.account)
        return task

    def may_send(self) -> bool:
        """Tell whether a create of this job may be sent now."""
        control = self._context.control
        if not self._planned.sendable:
            self.skip("unsent")
            return False
        if control.may_create and (reason := control.obstacle(self.kind, self.reservation)) is not None:
            self.skip(reason)
            return False
        return control.may_create and not self._context.pauses.paused

    def skip(self, reason: SkipReason) -> None:
        """Count the job as skipped, once."""
        if not self._skipped:
            self._skipped = True
            self._context.control.exclusions.skip(self.kind, reason)

    async def before_send(self) -> None:
        """Commit the entry before the create's first byte: from here on the task may exist."""
        self.life.sending()
        self.reservation = self._context.control.budget.send(self.reservation)
        self.entry = msgspec.structs.replace(
            self.entry,
            times=Times(planned=self._context.engine.scope.now()),
            reserved=self.reservation.units,
            account=self._context.engine.account,
        )
        await self._context.journal.put(self.entry)

    async def before_repeat(self) -> None:
        """Check that the job is nobody else's by now."""
        await self._context.journal.confirm(self.entry)

    def is_late(self) -> bool:
        """Tell whether others may have the job by now."""
        return self._context.journal.is_late()

    def on_refused(self) -> None:
        """Note that the vendor surely refused the create; it queues again unless the batch was stopped."""
        self._mark_unsent()
        if not self._context.control.may_create and self._worker is not None:
            self._worker.cancel()

    def _mark_unsent(self) -> None:
        """Journal that no task exists, so that a later run need not search for one."""
        if self.life.sent:
            self.life.refused()
            self.entry = mark_unsent(self.entry)
            self._context.journal.put_soon(self.entry)

    # -- the end

    async def _note_success(self) -> None:
        if self.entry.state in (JobState.PLANNED, JobState.CREATED):
            await self._note(JobState.SUCCEEDED)

    async def _note(self, state: JobState, **facts: Any) -> None:
        """Journal that the job has reached a state; return when that is committed."""
        now, times, record = self._context.engine.scope.now(), self.entry.times, self.record
        if state is JobState.CREATED:
            times = msgspec.structs.replace(times, created=now)
        elif record is not None:
            facts |= {"record": dump_record(record), "units": record.units, "task_id": record.task_id}
            times = msgspec.structs.replace(times, ended=times.ended or now)
        if state in (JobState.DONE, JobState.FAILED):
            times = msgspec.structs.replace(times, done=now)
        self.entry = advance(self.entry, state, times=times, **facts)
        await self._context.journal.put(self.entry)

    async def _failed(self, error: Exception, result: Result | None = None) -> Outcome[Any]:
        """Journal a failure that is final; any other is left for the next run."""
        if isinstance(error, TaskNotFound):
            error = self._explained(error)
        final = self.failure_action in (FailureAction.FINAL, FailureAction.RETRY)
        if self.entry.task_id is not None and not isinstance(error, TaskFailed | ResultExpired):
            final = False  # a task that was accepted is not ended by a query that fails
        try:
            await self._note_failure(error, final=final)
        except JournalError as broken:  # ends the batch; the failure is still an outcome
            self.failure_action, error = FailureAction.ACCOUNT, broken
        if self.entry.state is JobState.DONE:  # only its files are missing, which an earlier run had
            return self._outcome(error=error, record=self.record, result=result, resumed=True, files=())
        return self._outcome(error=error, record=self.record, result=result)

    async def _note_failure(self, error: Exception, *, final: bool) -> None:
        """Journal a failure that the next run needs to know."""
        if isinstance(error, TaskNotFound) and self.entry.state is JobState.CREATED:
            if self._other_account:
                return
            now = self._context.engine.scope.now()
            self.entry = settled(mark_missing(self.entry, failure_of(error)), now)
            if self.entry.ended:
                self.life.ended()
            await self._context.journal.put(self.entry)
        elif final and self.entry.state is not JobState.DONE:
            if self.life.sent:  # a refusal is final only after a search has found no task
                self.life.refused()
            retryable = self.failure_action is FailureAction.RETRY
            await self._note(JobState.FAILED, error=failure_of(error), retryable=retryable)

    def _explained(self, error: TaskNotFound) -> TaskNotFound | ResultExpired:
        """Return a clearer error for a task that the journal knows and the vendor does not."""
        if self._other_account:
            text = "it was made under another key; if that belongs to another account, resume with that key"
            return TaskNotFound(f"{error.message}; {text}", id=error.id, request_id=error.request_id)
        expired = results_expired(self.entry, self._context.engine.scope.now())
        if self.entry.state is JobState.DONE or (self.entry.ended and expired):
            text = (
                f"the files of task {error.id} are gone from the folder and from the vendor, who keeps them"
                " for 30 days; with refetch=False missing files are not fetched again"
            )
            return ResultExpired(text, task_id=error.id)
        text = "nothing of it can be left" if expired else "the next run asks again"
        text = f"{text}, since the vendor accepted it and keeps results for 30 days"
        return TaskNotFound(f"{error.message}; {text}", id=error.id, request_id=error.request_id)

    def _outcome(self, **facts: Any) -> Outcome[Any]:
        ended = self.entry.times.done or self._context.engine.scope.now()
        return outcome_of(self.item, self.entry, self._context.options.folder, ended=ended, **facts)

"""One request of a batch on its way: created once, waited for, stored, and written down at every step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from kling_async.batch.entry import (
    Entry,
    JobState,
    JournaledFile,
    ResumeAction,
    Times,
    advance,
    dump_record,
    failure_of,
    load_record,
    mark_unsent,
)
from kling_async.batch.failures import FailureAction, action_for
from kling_async.batch.outcomes import Outcome
from kling_async.catalog import endpoint_of
from kling_async.downloads.result_files import fetch_all
from kling_async.errors import (
    AmbiguousCreate,
    BadResponse,
    JobFailed,
    JournalError,
    ResultExpired,
    TaskNotFound,
)
from kling_async.orchestrator.attempts import EarlierAttempt
from kling_async.orchestrator.results import result_of
from kling_async.orchestrator.submission import SubmissionHooks, Withdrawn
from kling_async.tasks import Task, attach

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async.batch.keeping import NullJournal
    from kling_async.batch.options import BatchOptions
    from kling_async.batch.planner import PlannedJob
    from kling_async.batch.source import Item
    from kling_async.orchestrator.engine import Engine
    from kling_async.orchestrator.submission import Submission
    from kling_async.prices import Estimate
    from kling_async.wire.requests import Result

__all__ = ["Abandoned", "BatchControl", "JobRun", "remembered"]

_PAUSE: Final = 15.0
_PAUSE_MAX: Final = 300.0
"""Seconds between attempts while the API cannot be reached; they double."""


class BatchControl(Protocol):
    """What a run asks of its batch."""

    @property
    def closed(self) -> bool:
        """Whether no more tasks may be made."""
        ...

    def may_send(self, run: JobRun) -> bool:
        """Tell whether a task may be made for it now."""
        ...

    def attempt_failed(self, run: JobRun) -> None:
        """Settle an attempt that another one follows."""
        ...


class Abandoned(Exception):
    """The batch was stopped before anything of this request existed: it has no outcome."""


class JobRun:
    """The way of one request, from its entry to its outcome."""

    def __init__(
        self,
        engine: Engine,
        book: BatchControl,
        keeping: NullJournal,
        wishes: BatchOptions,
        known: PlannedJob,
    ) -> None:
        self._engine = engine
        self._book = book
        self._keeping = keeping
        self._wishes = wishes
        self.item = known.item
        self.entry = known.entry
        self.paid = known.entry.ended
        """Whether an earlier run saw its task end: what it cost is counted there."""
        self.job: Submission | None = None
        """Its create, from when it queues."""
        self.fate: FailureAction | None = None
        """What followed from its last failure."""
        self.price: Estimate | None = None
        self.reserved = 0.0
        """Units set aside for it."""
        self.tasks = 1
        """How many were made for it in this run, or tried to be."""
        self.earlier = known.entry.earlier
        """What attempts of earlier runs took."""
        self.told = False
        """Whether its outcome was handed out: all that is left is to end."""
        self._task: Task[Any] | None = None
        self._worker: asyncio.Task[Any] | None = None
        self._digests = known.digests
        self._checked = known.plan in (ResumeAction.CREATE, ResumeAction.RETRY)
        """Whether the batch has checked the request already."""
        begun = known.plan in (ResumeAction.CREATE_DOUBTFUL, ResumeAction.WAIT, ResumeAction.FETCH)
        self._sent = begun
        """Whether its create may have been sent."""
        self._strange = begun and known.entry.account not in ("", engine.account)
        """Whether it was begun under another key, maybe of another account."""

    @property
    def idle(self) -> bool:
        """Whether nothing was sent that is not answered: to stop it now costs nothing."""
        if self._task is not None or self.entry.state is not JobState.PLANNED:
            return False
        return self.job is None or not self.job.holds_slots

    @property
    def running(self) -> bool:
        """Whether its task exists, or may, and was not seen ended."""
        if self._task is not None:
            return not self._task.done
        return self.entry.state is JobState.CREATED or (self._sent and not self.entry.ended)

    @property
    def may_cost_yet(self) -> bool:
        """Whether its task may run, unseen, and be billed: what was set aside for it stays so."""
        if self.entry.state is JobState.CREATED:
            return self._task is None or not self._task.done
        return self.entry.state is JobState.PLANNED and self._sent

    async def outcome(self) -> Outcome[Any]:
        """Do all that is left to do for it; every failure is an outcome.

        Raises:
            LetGo: The batch was stopped, and nothing of it exists.
        """
        self._worker = asyncio.current_task()
        pause = _PAUSE
        while True:
            try:
                return await self._once()
            except Withdrawn:
                raise Abandoned from None
            except Exception as error:  # noqa: BLE001 - one request's failure must not end the others
                self.fate, failure = action_for(error), error
            if self.fate is FailureAction.LATER and not self._book.closed:
                await asyncio.sleep(pause)
                pause = min(_PAUSE_MAX, 2 * pause)
            elif self.fate is FailureAction.LATER and self.entry.state is JobState.PLANNED:
                raise Abandoned
            elif self._may_retry:
                self._begin_again()
            else:
                return await self._failed(failure)

    def _begin_again(self) -> None:
        """Its task failed: the next one begins, with what was set aside for it."""
        units = self._task.record.units if self._task is not None and self._task.record is not None else None
        self.entry = msgspec.structs.replace(self.entry, units=units, state=JobState.FAILED)
        self._book.attempt_failed(self)
        self.entry = self._keeping.next_attempt(self.entry, self._engine.account)
        self.tasks += 1
        self._task = self.job = None
        self._sent = self._strange = False

    @property
    def _may_retry(self) -> bool:
        asked = self.entry.attempt < self._wishes.retries
        return self.fate is FailureAction.RETRY and asked and not self._book.closed

    async def _once(self) -> Outcome[Any]:
        if self.entry.state is JobState.PLANNED:
            task: Task[Any] = await self._create()
        else:
            task = attach(self._engine, self.item.request, task_id=self.entry.task_id, confirmed=True)
        self._task = task
        try:
            result = await task.wait()
        except BadResponse:
            if task.done:  # it is paid, whatever its result looks like
                await self._note_success()
            raise
        files: tuple[JournaledFile, ...] | None = None
        if self._wishes.folder is not None:
            await self._note_success()
            files = await self._fetch(task, result)
        await self._note(JobState.DONE, files=files)
        return self._outcome(result=result, record=task.record)

    async def _create(self) -> Task[Any]:
        """Create its task, or find the one that an earlier run created."""
        self.job = job = await self._engine.new_submission(
            self.item.request,
            external_task_id=self.entry.external_task_id,
            generated=True,
            checked=self._checked,
            hooks=_Hooks(self),
            earlier=EarlierAttempt(self.entry.times.planned or 0.0, self._strange) if self._sent else None,
            priority=self._wishes.priority,
            label=self.entry.label,
        )
        self._checked = True
        try:
            live = await self._engine.submitter.submit(job)
        except BaseException as error:
            if self._sent and not (job.may_exist or isinstance(error, AmbiguousCreate)):
                self._unsay()
            raise
        task: Task[Any] = Task(self._engine, live)
        self._task = task
        self._strange = False
        await self._note(JobState.CREATED, task_id=task.id, account=self._engine.account)
        return task

    async def _before(self) -> None:
        """Before the first byte: from here on the task may exist."""
        self._sent = True
        self.entry = msgspec.structs.replace(
            self.entry,
            times=Times(planned=self._engine.scope.now()),
            reserved=self.reserved,
            account=self._engine.account,
        )
        await self._keeping.put(self.entry)

    def _put_off(self) -> None:
        """What was sent was surely refused, and it queues again; in a batch that was stopped it need not."""
        self._unsay()
        if self._book.closed and self._worker is not None:
            self._worker.cancel()

    def _unsay(self) -> None:
        """Write down that nothing of it exists: to go on with it later needs no search."""
        self._sent = False
        self.entry = mark_unsent(self.entry)
        self._keeping.put_soon(self.entry)

    async def _note_success(self) -> None:
        if self.entry.state in (JobState.PLANNED, JobState.CREATED):
            await self._note(JobState.SUCCEEDED)

    async def _note(self, state: JobState, **facts: Any) -> None:
        """Write down that it has come so far."""
        now, times = self._engine.scope.now(), self.entry.times
        record = self._task.record if self._task is not None else None
        if state is JobState.CREATED:
            times = msgspec.structs.replace(times, created=now)
        elif record is not None:
            facts |= {"record": dump_record(record), "units": record.units, "task_id": record.task_id}
            times = msgspec.structs.replace(times, ended=times.ended or now)
        if state in (JobState.DONE, JobState.FAILED):
            times = msgspec.structs.replace(times, done=now)
        self.entry = advance(self.entry, state, times=times, **facts)
        await self._keeping.put(self.entry)

    async def _fetch(self, task: Task[Any], result: Result) -> tuple[JournaledFile, ...]:
        """Store its files; results of some kinds name none."""
        wishes = self._wishes
        assert wishes.folder is not None  # noqa: S101 - it is asked before
        if not result.has_files:
            return ()
        entry = self.entry
        index = f"{entry.position}-{entry.identity[:12]}" if entry.apart else str(entry.position)
        values = {"key": self.item.key or index, "index": index}
        stored = await fetch_all(
            self._engine,
            task._tracked,  # noqa: SLF001 - of this package
            wishes.folder,
            wishes.template,
            values,
            watermarked=wishes.watermarked,
            sidecar=wishes.sidecar,
            slots=wishes.places,
        )
        return tuple(JournaledFile(str(file.path.relative_to(wishes.folder)), file.size) for file in stored)

    async def _failed(self, error: Exception) -> Outcome[Any]:
        """Write down what will not change; whatever may is left for the next run."""
        if isinstance(error, TaskNotFound):
            error = self._not_found(error)
        if self.fate in (FailureAction.FINAL, FailureAction.RETRY) and self.entry.state is not JobState.DONE:
            try:
                await self._note(
                    JobState.FAILED, error=failure_of(error), again=self.fate is FailureAction.RETRY
                )
            except JournalError as broken:  # which ends the batch; the failure is still an outcome
                self.fate, error = FailureAction.ACCOUNT, broken
        record = self._task.record if self._task is not None else None
        if self.entry.state is JobState.DONE:  # only its files are missing, which an earlier run had
            return self._outcome(error=error, record=record, resumed=True, files=())
        return self._outcome(error=error, record=record)

    def _not_found(self, error: TaskNotFound) -> TaskNotFound | ResultExpired:
        """Say more of a task that the journal knows and the vendor does not."""
        if self._strange:
            text = "it was made under another key: if of another account, go on with a key of that one"
            return TaskNotFound(f"{error.message}; {text}", id=error.id, request_id=error.request_id)
        if self.entry.ended:
            text = (
                f"the files of task {error.id} are gone, here and there: the vendor keeps them for 30 days;"
                " refetch=False leaves it at that"
            )
            return ResultExpired(text, task_id=error.id)
        return error

    def refused(self, error: Exception) -> Outcome[Any]:
        """The outcome of what is not even begun."""
        return self._outcome(error=error)

    def _outcome(self, **facts: Any) -> Outcome[Any]:
        ended = self.entry.times.done or self._engine.scope.now()
        return outcome_of(self.item, self.entry, self._wishes.folder, ended=ended, **facts)


class _Hooks(SubmissionHooks):
    """Hooks of one attempt of a run."""

    def __init__(self, run: JobRun) -> None:
        self._run = run
        self.digests = run._digests  # noqa: SLF001 - of this module

    def may_send(self) -> bool:
        return self._run._book.may_send(self._run)  # noqa: SLF001 - of this module

    async def before_send(self) -> None:
        await self._run._before()  # noqa: SLF001 - of this module

    def on_refused(self) -> None:
        self._run._put_off()  # noqa: SLF001 - of this module


def remembered(known: PlannedJob, folder: Path | None) -> Outcome[Any]:
    """Return what the journal says of a job that is finished; ``folder``: of its files."""
    entry = known.entry
    ended = entry.times.done or entry.times.ended or 0.0
    if entry.error is None and entry.record is None:
        return outcome_of(known.item, entry, folder, ended=ended, resumed=True)
    facts: dict[str, Any] = {}
    if entry.error is not None:
        facts["error"] = JobFailed(entry.error.kind, entry.error.message)
    elif (record := load_record(entry)) is not None:
        facts["record"] = record
        try:
            facts["result"] = result_of(endpoint_of(known.item.request), record)
        except BadResponse as error:
            facts["error"] = error
    return outcome_of(known.item, entry, folder, ended=ended, resumed=True, **facts)


def outcome_of(
    item: Item,
    entry: Entry,
    folder: Path | None,
    *,
    ended: float,
    resumed: bool = False,
    files: tuple[Path, ...] | None = None,
    **facts: Any,
) -> Outcome[Any]:
    """Return the outcome of a job: what its entry holds, and more facts."""
    if files is None:
        files = tuple([folder / file.name for file in entry.files]) if folder and entry.files else ()
    return Outcome(
        position=item.position,
        key=item.key,
        request=item.request,
        files=files,
        units=None if entry.units is None else float(entry.units) + entry.earlier,
        attempts=entry.attempt + 1,
        resumed=resumed,
        started=entry.times.planned or 0.0,
        ended=ended,
        **facts,
    )

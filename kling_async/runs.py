"""One request of a batch on its way: created once, waited for, stored, and written down at every step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import msgspec

from kling_async.catalog import endpoint_of
from kling_async.core.admission import Phase
from kling_async.core.failures import Fate, fate_of
from kling_async.core.record import (
    Entry,
    Plan,
    State,
    StoredFile,
    Times,
    advance,
    failure_of,
    kept,
    record_of,
    resume,
)
from kling_async.downloads import fetch_all
from kling_async.errors import JobFailed
from kling_async.outcomes import Outcome
from kling_async.results import result_of
from kling_async.submits import handle_on, job_of
from kling_async.tasks import Task

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async.engine import Engine
    from kling_async.jobs import Job
    from kling_async.names import Template
    from kling_async.prices import Estimate
    from kling_async.register import Known

__all__ = ["Book", "Run", "Wishes"]

_PAUSE: Final = 15.0
_PAUSE_MAX: Final = 300.0
"""Seconds between attempts while the API cannot be reached; they double."""


class Wishes(NamedTuple):
    """What a batch was asked for, of every one of its requests."""

    folder: Path | None
    template: Template
    watermarked: bool
    sidecar: bool
    retries: int
    priority: int
    places: asyncio.Semaphore | None
    """Bounds how many files come at once."""


class Book(Protocol):
    """Where entries are kept: the journal, or nothing."""

    async def put(self, entry: Entry) -> None:
        """Return when the entry is safe."""
        ...

    def retried(self, entry: Entry, now: float) -> Entry:
        """Return the entry of one more attempt, with an id of its own."""
        ...


class Run:
    """The way of one request, from its entry to its outcome."""

    def __init__(self, engine: Engine, book: Book, wishes: Wishes, known: Known) -> None:
        self._engine = engine
        self._book = book
        self._wishes = wishes
        self._old = known.old
        """Whether an earlier run had begun it."""
        self.paid = known.old and known.entry.ended
        """Whether an earlier run saw its task end: what it cost is counted there."""
        self.item = known.item
        self.entry = known.entry
        self.job: Job | None = None
        """Its create, from when it queues."""
        self.fate: Fate | None = None
        """What followed from its last failure."""
        self.price: Estimate | None = None
        self.reserved = 0.0
        """Units set aside for it."""
        self._task: Task[Any] | None = None
        self._sent = known.old

    @property
    def idle(self) -> bool:
        """Whether nothing was sent that is not answered: to stop it now costs nothing."""
        if self._task is not None or self.entry.state is not State.PLANNED:
            return False
        return self.job is None or self.job.ticket.phase in (Phase.QUEUED, Phase.ASIDE, Phase.GONE)

    @property
    def running(self) -> bool:
        """Whether its task exists and was not seen ended."""
        return self._task is not None and not self._task.done

    @property
    def may_cost_yet(self) -> bool:
        """Whether its task may run, unseen, and be billed: what was set aside for it stays so."""
        if self.entry.state is State.CREATED:
            return self._task is None or not self._task.done
        return self.entry.state is State.PLANNED and self.fate is Fate.OPEN and self._sent

    async def outcome(self) -> Outcome[Any]:
        """Do all that is left to do for it; every failure is an outcome."""
        pause = _PAUSE
        while True:
            try:
                return await self._once()
            except Exception as error:  # noqa: BLE001 - one request's failure must not end the others
                self.fate, failure = fate_of(error), error
            if self.fate is Fate.LATER:
                await asyncio.sleep(pause)
                pause = min(_PAUSE_MAX, 2 * pause)
            elif self.fate is Fate.RETRY and self.entry.attempt < self._wishes.retries:
                self.entry, self._old = self._book.retried(self.entry, self._engine.home.now()), False
                self._task = self.job = None
            else:
                return await self._failed(failure)

    async def _once(self) -> Outcome[Any]:
        plan = resume(self.entry, wanted_files=self._wishes.folder is not None)
        if plan is Plan.NOTHING:
            return self.remembered()
        if plan is Plan.CREATE_DOUBTFUL:
            self._task = await self._create()
        else:
            self._task = handle_on(self._engine, self.item.request, task_id=self.entry.task_id)
        result = await self._task.wait()
        files: tuple[StoredFile, ...] | None = None
        if self._wishes.folder is not None:
            if self.entry.state is not State.DONE:
                await self._note(State.SUCCEEDED)
            files = await self._fetch(self._task)
        await self._note(State.DONE, files=files)
        return self._outcome(result=result, record=self._task.record)

    async def _create(self) -> Task[Any]:
        """Create its task, or find the one that an earlier run created."""
        job = await job_of(
            self._engine,
            self.item.request,
            external_task_id=self.entry.external_task_id,
            generated=True,
            priority=self._wishes.priority,
            label=self.entry.label,
        )
        job.doubt, job.first_sent = self._old, self.entry.times.planned or 0.0
        job.before = self._before
        self.job = job
        live = await self._engine.creates.submit(job)
        task: Task[Any] = Task(self._engine, live)
        await self._note(State.CREATED, task_id=task.id)
        return task

    async def _before(self) -> None:
        """Before the first byte: from here on the task may exist."""
        self._sent = True
        times = Times(planned=self._engine.home.now())
        self.entry = msgspec.structs.replace(self.entry, times=times, reserved=self.reserved)
        await self._book.put(self.entry)

    async def _note(self, state: State, **facts: Any) -> None:
        """Write down that it has come so far."""
        now, times = self._engine.home.now(), self.entry.times
        record = self._task.record if self._task is not None else None
        if state is State.CREATED:
            times = msgspec.structs.replace(times, created=now)
        elif record is not None:
            facts |= {"record": kept(record), "units": record.units, "task_id": record.task_id}
            times = msgspec.structs.replace(times, ended=times.ended or now)
        if state in (State.DONE, State.FAILED):
            times = msgspec.structs.replace(times, done=now)
        self.entry = advance(self.entry, state, times=times, **facts)
        await self._book.put(self.entry)

    async def _fetch(self, task: Task[Any]) -> tuple[StoredFile, ...]:
        """Store its files."""
        wishes = self._wishes
        assert wishes.folder is not None  # noqa: S101 - it is asked before
        values: dict[str, str | int] = {
            "key": self.item.key or str(self.item.position),
            "index": self.item.position,
        }
        stored = await fetch_all(
            self._engine,
            task._live,  # noqa: SLF001 - of this package
            wishes.folder,
            wishes.template,
            values,
            watermarked=wishes.watermarked,
            sidecar=wishes.sidecar,
            places=wishes.places,
        )
        return tuple(StoredFile(str(file.path.relative_to(wishes.folder)), file.size) for file in stored)

    async def _failed(self, error: Exception) -> Outcome[Any]:
        """Write down what will not change; whatever may is left for the next run."""
        if self.fate in (Fate.FINAL, Fate.RETRY) and self.entry.state is not State.DONE:
            await self._note(State.FAILED, error=failure_of(error))
        record = self._task.record if self._task is not None else None
        return self._outcome(error=error, record=record)

    def remembered(self) -> Outcome[Any]:
        """What the journal says of a job that is finished."""
        entry, record = self.entry, record_of(self.entry)
        if entry.error is not None:
            return self._outcome(error=JobFailed(entry.error.kind, entry.error.message), resumed=True)
        result = None if record is None else result_of(endpoint_of(self.item.request), record)
        return self._outcome(result=result, record=record, resumed=True)

    def refused(self, error: Exception) -> Outcome[Any]:
        """The outcome of what is not even begun."""
        return self._outcome(error=error)

    def _outcome(self, *, resumed: bool = False, **facts: Any) -> Outcome[Any]:
        entry, folder = self.entry, self._wishes.folder
        files = () if folder is None else tuple(folder / file.name for file in entry.files or ())
        return Outcome(
            position=self.item.position,
            key=self.item.key,
            request=self.item.request,
            files=files,
            units=None if entry.units is None else float(entry.units),
            attempts=entry.attempt + 1,
            resumed=resumed,
            started=entry.times.planned or 0.0,
            ended=self._engine.home.now() if entry.times.done is None else entry.times.done,
            **facts,
        )

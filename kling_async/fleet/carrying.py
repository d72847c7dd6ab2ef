"""Carry one job that this worker has taken, from its row to its end, by `batch.job`.

Its row says what is left to do, as a journal's entry does: `batch.entry.resume`. A create that an earlier
worker may have sent is looked for at once, which adopts its slots. That worker may still be about to send it,
for `LEASE` seconds; the create counts as not made only after looks over a longer time (`core.rechecks`).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kling_async.batch.budget import BatchControl, Reservation, price_of
from kling_async.batch.entry import JobState, ResumeAction, advance, failure_of, next_attempt, resume, settled
from kling_async.batch.failures import FailureAction, action_for
from kling_async.batch.job import Abandoned, JobContext, JobRun
from kling_async.batch.options import BatchOptions
from kling_async.batch.planned import PlannedJob
from kling_async.batch.source import Item
from kling_async.errors import BadResponse, JournalError, Problem, RequestInvalid
from kling_async.fleet.endings import Left
from kling_async.fleet.journal import FleetJournal, StaleFence

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from kling_async.batch.outcomes import Outcome
    from kling_async.batch.pausing import PauseSwitch
    from kling_async.core.queue import Kind
    from kling_async.fleet.endings import Ending
    from kling_async.fleet.journal import JournalWriter
    from kling_async.fleet.taking import TakenJob
    from kling_async.orchestrator.engine import Engine

__all__ = ["Carrier"]

log = logging.getLogger("kling_async.fleet")

_CLOSING: Final = (FailureAction.POOL, FailureAction.ACCOUNT)
_EXCLUDED: Final = 60.0
"""Seconds for which jobs of a kind wait after many equal refusals in a row."""


class Carrier:
    """Runs jobs of a fleet.

    Args:
        engine: Of the worker's client.
        writer: Writes the rows.
        control: Whether tasks may be made.
        pauses: Of the same worker.
        out: The folder for files; None: none are stored.
        retries: How many new tasks may be made for one that failed.
    """

    def __init__(
        self,
        engine: Engine,
        writer: JournalWriter,
        control: BatchControl,
        pauses: PauseSwitch,
        *,
        out: Path | None,
        retries: int,
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._control = control
        self._pauses = pauses
        self._options = BatchOptions(journal="fleet", download_to=out, retries=retries, signals=False)
        self._runs: dict[asyncio.Task[Outcome[Any]], JobRun] = {}
        self._dropped: dict[asyncio.Task[Outcome[Any]], Exception] = {}
        """Runs that are left because creates like theirs are held."""
        self._readmitted: dict[Kind, float] = {}
        """When jobs of a kind are tried again, after many equal refusals in a row."""

    def on_hold(self, kind: Kind, error: Exception, *, keep: int = 1) -> None:
        """Leave the jobs whose creates the client holds, but one, so that others find room."""
        held = [task for task, run in self._runs.items() if run.kind == kind and run.may_be_dropped]
        for task in held[keep:]:
            self._dropped[task] = error
            task.cancel()

    def _refusal(self, kind: Kind) -> Exception | None:
        """Return the refusal that many jobs of a kind met in a row; those that close pools do not count."""
        exclusions = self._control.exclusions
        error = exclusions.refusal(kind)
        if error is not None and action_for(error) in _CLOSING:
            exclusions.readmit(kind)
            return None
        return error

    def _excluded(self, kind: Kind) -> Exception | None:
        """Return why a job of a kind is to wait outside: many like it were refused, or are held."""
        if (error := self._refusal(kind)) is not None:
            if time.monotonic() < self._readmitted.get(kind, math.inf):
                return error
            del self._readmitted[kind]
            self._control.exclusions.readmit(kind)
        if not any(run.kind == kind and run.may_be_dropped for run in self._runs.values()):
            return None  # one waits here, to be tried
        return next((hold.error for hold in self._engine.limiter.holds if hold.kind == kind), None)

    def _note_refusals(self, kind: Kind) -> None:
        """Leave the jobs of a kind after many equal refusals in a row, and say so."""
        error = self._refusal(kind)
        if error is not None and kind not in self._readmitted:
            self._readmitted[kind] = time.monotonic() + _EXCLUDED
            text = "jobs of %s wait for %.0f s, for those before were refused alike in a row: %s"
            log.warning(text, kind, _EXCLUDED, error)
            self.on_hold(kind, error, keep=0)

    def drop_unsent(self) -> None:
        """Leave the jobs for which nothing was sent."""
        for task, run in self._runs.items():
            if run.may_be_dropped:
                task.cancel()

    def leave(self) -> None:
        """Leave all jobs; tasks run on at the vendor's."""
        for task in self._runs:
            task.cancel()

    def sent(self) -> list[str]:
        """Return the ids of tasks that run, or may."""
        runs = [run for run in self._runs.values() if run.life.running]
        return [run.entry.task_id or run.entry.external_task_id for run in runs]

    async def carry(self, taken: TakenJob) -> Ending:
        """Do what is left to do for a job.

        Args:
            taken: The job.
        """
        run: JobRun | None = None
        record = lambda: None if run is None else run.record  # noqa: E731 - the run and its journal need each other
        journal = FleetJournal(self._writer, taken.batch, taken.stored.fence, record)
        planned = self._planned(taken)
        if isinstance(error := planned.refusal(), RequestInvalid):
            return await self._refused(journal, planned, error)
        if planned.action is ResumeAction.NOTHING:
            return await _ended(journal.put(planned.entry))
        if planned.is_new and not self._control.may_create:
            return Left()
        if planned.is_new and (held := self._excluded(planned.kind)) is not None:
            return Left(held, FailureAction.LATER)
        context = JobContext(
            self._engine,
            msgspec.structs.replace(self._options, priority=taken.priority),
            journal,
            self._control,
            None,
            self._pauses,
        )
        price = price_of(planned.item.request)
        reserved = (price.most or 0.0) if planned.is_new else planned.entry.reserved
        run = JobRun(context, planned, Reservation(price, reserved, sent=not planned.is_new))
        ending = await self._run(run, journal)
        unmade = run.entry.state is JobState.PLANNED and not planned.sendable
        if ending == Left() and unmade and self._control.may_create:
            # looked for and not found: nobody can make it
            text = "its request is not at hand, only in the jobs file that it came from"
            missing = RequestInvalid("fleet", [Problem("request", text)])
            return await self._refused(journal, planned._replace(entry=run.entry), missing)
        return ending

    def _planned(self, taken: TakenJob) -> PlannedJob:
        entry, request = taken.stored.entry, taken.stored.request
        entry = settled(entry, self._engine.scope.now())
        item = Item(entry.position, entry.key, request)
        wanted = self._options.folder is not None
        action = resume(entry, wanted_files=wanted, retries=self._options.retries)
        if action is ResumeAction.RETRY:
            facts = {"account": self._engine.account, "defaults": entry.defaults}
            entry = next_attempt(entry, taken.batch, **facts)
        elif action is ResumeAction.NOTHING and entry.state is JobState.SUCCEEDED:
            # taken over from a worker that stores files, by one that hands out addresses
            action = ResumeAction.FETCH
        return PlannedJob(item, entry, action)

    async def _refused(self, journal: FleetJournal, planned: PlannedJob, error: RequestInvalid) -> Ending:
        """End a job whose request is wrong, as this version of the package judges it."""
        times = msgspec.structs.replace(planned.entry.times, done=self._engine.scope.now())
        failed = advance(planned.entry, JobState.FAILED, error=failure_of(error), times=times)
        return await _ended(journal.put(failed))

    async def _run(self, run: JobRun, journal: FleetJournal) -> Ending:
        budget = self._control.budget
        budget.open(run.reservation)
        task = asyncio.create_task(run.outcome(), name=f"kling_async fleet {run.entry.identity}")
        self._runs[task] = run
        try:
            await asyncio.wait([task])
        finally:  # cancelled itself, it leaves the job as a worker that ends does
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            del self._runs[task]
            held = self._dropped.pop(task, None)
            budget.close(run.reservation, run.cost())
            await journal.settled()
        if task.cancelled():
            return Left(held, None if held is None else FailureAction.LATER)
        error = task.exception()
        if isinstance(error, Abandoned):
            refusal = self._refusal(run.kind)
            return Left(refusal, None if refusal is None else FailureAction.LATER)
        return await self._concluded(run, journal, task.result())

    async def _concluded(self, run: JobRun, journal: FleetJournal, outcome: Outcome[Any]) -> Ending:
        error, state = outcome.error, run.entry.state
        self._note_refusals(run.kind)
        if isinstance(error, StaleFence):
            log.info("job %s/%s: another worker has it", journal.id, run.entry.identity)
            return None
        if isinstance(error, JournalError):
            return Left(error, run.failure_action)
        if state in (JobState.DONE, JobState.FAILED):
            return None
        if state is JobState.SUCCEEDED and isinstance(error, BadResponse):
            # paid, and no later query shows more: its record is the outcome
            return await _ended(journal.put(advance(run.entry, JobState.DONE)))
        return Left(error, run.failure_action)


async def _ended(put: Awaitable[None]) -> Ending:
    try:
        await put
    except StaleFence:
        return None
    except JournalError as error:
        return Left(error, FailureAction.ACCOUNT)
    return None

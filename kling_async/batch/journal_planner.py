"""Plan what is left of a journal's jobs without the batch's input: all but the making of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kling_async.batch.entry import ResumeAction, resume, settled
from kling_async.batch.journal import NullJournal
from kling_async.batch.planned import PlannedJob
from kling_async.batch.planner import FreshJobs, JournaledJobs, Planner
from kling_async.batch.refetch import refetch_missing
from kling_async.batch.source import Item, RequestSource
from kling_async.catalog import endpoint_of
from kling_async.errors import Problem, RequestInvalid
from kling_async.wire.endpoints import JournaledRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from kling_async.batch.entry import Entry
    from kling_async.batch.journal import Journal
    from kling_async.batch.options import BatchOptions
    from kling_async.batch.source import Requests
    from kling_async.orchestrator.engine import Engine

__all__ = ["JournalPlanner", "planner_of"]


class JournalPlanner:
    """Plans the jobs of a journal, page by page; it stands in for an input and its `batch.planner.Planner`.

    Args:
        journal: Of earlier runs.
        options: The batch's.
        now: The wall clock.
    """

    unclaimed = 0
    """Jobs that no input named: there is no input."""
    unclaimed_running: tuple[str, ...] = ()

    def __init__(self, journal: Journal, options: BatchOptions, now: Callable[[], float]) -> None:
        self._journal = journal
        self._now = now
        self._options = options
        self.total: int | None = None
        """How many jobs the journal holds; None while that is not known."""

    @property
    def has_length(self) -> bool:
        """Return True: a journal ends."""
        return True

    async def chunks(self, in_a_hurry: Callable[[], bool]) -> AsyncGenerator[list[PlannedJob], None]:  # noqa: ARG002 - of the protocol
        """Yield the jobs in the order in which they were first sent; each once, whatever this run writes."""
        self.total, _ = await self._journal.extent()
        last, entries = await self._journal.page(0)
        while entries:
            yield await refetch_missing([self._job(entry) for entry in entries], self._options.refetch_folder)
            last, entries = await self._journal.page(last)

    def is_past_known_jobs(self, job: PlannedJob) -> bool:  # noqa: ARG002 - of the protocol
        """Return False: every job is known."""
        return False

    def _job(self, entry: Entry) -> PlannedJob:
        entry = settled(entry, self._now())
        request = JournaledRequest(endpoint=entry.endpoint, pool=entry.pool)
        item = Item(entry.position, entry.key, request)
        try:
            endpoint_of(request)
        except (TypeError, RequestInvalid) as error:  # written by a version with other endpoints
            problem = Problem(f"position {entry.position}", str(error))
            return PlannedJob(item, entry, ResumeAction.NOTHING, RequestInvalid("resume", [problem]))
        return PlannedJob(item, entry, resume(entry, wanted_files=self._options.folder is not None))


def planner_of(
    engine: Engine,
    requests: Requests[Any],
    options: BatchOptions,
    journal: Journal | NullJournal,
    *,
    journal_only: bool,
) -> Planner | JournalPlanner:
    """Return what plans the jobs of a batch: by its input and the journal, or by the journal alone."""
    if isinstance(journal, NullJournal):
        finder: FreshJobs | JournaledJobs = FreshJobs(options, engine.account)
    elif journal_only:
        return JournalPlanner(journal, options, engine.scope.now)
    else:
        finder = JournaledJobs(journal, options, engine.account, engine.scope.now)
    source = RequestSource(requests, in_thread=options.source_thread)
    return Planner(source, finder, options, engine.expected_seconds)

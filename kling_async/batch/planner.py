"""Compare a batch's input with the journal: name each request, and find what is left to do for it."""

from __future__ import annotations

import hashlib
import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import msgspec

from kling_async.batch.counter import SpillCounter
from kling_async.batch.entry import (
    Entry,
    JobState,
    ResumeAction,
    next_attempt,
    results_expired,
    resume,
    settled,
)
from kling_async.batch.failures import again
from kling_async.batch.identity import defaults_of, external_id, fingerprint, identity
from kling_async.batch.job_outcomes import remembered_outcome
from kling_async.batch.planned import PlannedJob
from kling_async.batch.refetch import refetch_missing
from kling_async.catalog import endpoint_of
from kling_async.errors import Problem, RequestInvalid
from kling_async.wire.checks import has_files, wrong_with

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

    from kling_async.batch.digests import InputDigests
    from kling_async.batch.options import BatchOptions
    from kling_async.batch.source import Item, RequestSource
    from kling_async.wire.media import Media
    from kling_async.wire.requests import TaskRequest

__all__ = ["FreshJobs", "JobFinder", "JournaledJobs", "KnownJobs", "Planner", "new_entry"]

_NO_DIGESTS: Final[Mapping[Media, str]] = {}
_INSERTED_MAX: Final = 1000
"""How many new requests may stand in the input before those that the journal knows."""


class JobFinder(Protocol):
    """Finds the entries of requests, in order; makes one for each request that has none."""

    known: int
    """Number of entries found in a journal so far."""

    async def find(self, items: Sequence[Item]) -> list[PlannedJob]:
        """Return the jobs of these requests."""
        ...

    async def extent(self) -> tuple[int, int]:
        """Return how many jobs a journal holds, and the last position of one."""
        ...

    def unclaimed(self) -> list[str]:
        """Return the ids of unfinished jobs that were not found so far."""
        ...

    def restart(self) -> None:
        """Forget what was found: the input begins anew."""
        ...


class KnownJobs(Protocol):
    """Knows the jobs of earlier runs (`batch.journal.Journal`, or the table of a fleet)."""

    digests: InputDigests
    """Digests of the input files."""

    @property
    def id(self) -> str:
        """The journal's own name, part of every external_task_id made from it."""
        ...

    async def several(self, identities: Sequence[str], /) -> list[Entry | None]:
        """Return the entries of jobs; None for each new job."""
        ...

    async def has_position(self, position: int, /) -> bool:
        """Tell whether a job was at this position of an input."""
        ...

    async def unfinished(self) -> list[Entry]:
        """Return the entries of jobs that are not finished."""
        ...

    async def extent(self) -> tuple[int, int]:
        """Return how many jobs there are, and the last position of one."""
        ...


class Planner:
    """Plans an input, chunk by chunk.

    Args:
        source: The input.
        finder: Knows the jobs of earlier runs.
        options: The batch's.
        seconds: Returns how long a request's task may take.
    """

    def __init__(
        self,
        source: RequestSource,
        finder: JobFinder,
        options: BatchOptions,
        seconds: Callable[[TaskRequest[Any]], float],
    ) -> None:
        self._source = source
        self._finder = finder
        self._options = options
        self._seconds = seconds
        self._keys_name_files = not options.template.fields & {"index", "task_id"}
        """Whether a key alone names a job's files, so that no key may come twice."""
        self._extent = (0, -1)
        self.unclaimed = 0
        """How many jobs of the journal the input did not name; known once it has ended."""
        self.unclaimed_running: tuple[str, ...] = ()
        """The ids of those that are not finished."""

    def without_journal(self, account: str) -> Planner:
        """Return a planner of the same input that knows no earlier runs."""
        return Planner(self._source, FreshJobs(self._options, account), self._options, self._seconds)

    @property
    def has_length(self) -> bool:
        """Whether the input is known to end."""
        return self._source.has_length

    @property
    def total(self) -> int | None:
        """How many requests the input holds; None while that is not known."""
        return self._source.total

    async def chunks(self, in_a_hurry: Callable[[], bool]) -> AsyncGenerator[list[PlannedJob], None]:
        """Yield the input's requests, from its beginning, planned.

        Args:
            in_a_hurry: Whether chunks may grow though jobs in them are to be made.
        """
        self._finder.restart()
        self._extent = await self._finder.extent()
        source = self._source
        source.adapt(grow=in_a_hurry())
        longest_first = self._options.order == "longest"
        reading = source.longest(self._seconds) if longest_first else source.chunks()
        keys = SpillCounter()
        try:
            async with aclosing(reading) as chunks:
                async for items in chunks:
                    jobs = await self._finder.find(items)
                    if self._keys_name_files:
                        jobs = await _reject_duplicate_keys(jobs, keys)
                    source.adapt(grow=in_a_hurry() or all(job.is_finished for job in jobs))
                    yield jobs
            self.unclaimed = max(0, self._extent[0] - self._finder.known)
            self.unclaimed_running = tuple(self._finder.unclaimed()) if self.unclaimed else ()
        finally:
            keys.close()
            self._finder.restart()

    def is_past_known_jobs(self, job: PlannedJob) -> bool:
        """Tell whether no later request can be one that an earlier run paid for: an input may be endless."""
        jobs, last = self._extent
        is_far = self._options.order == "given" and job.item.position > last + _INSERTED_MAX
        return is_far or self._finder.known >= jobs


async def _reject_duplicate_keys(jobs: list[PlannedJob], keys: SpillCounter) -> list[PlannedJob]:
    """Refuse a job whose key came before: its files would take the place of the first one's."""
    # digests have one length, so that memory is bounded whatever the length of keys
    marks = [hashlib.blake2b((job.item.key or "").encode(), digest_size=16).digest() for job in jobs]
    counts = await keys.count_before(marks)
    return [
        job if job.error else _with_key_checked(job, times_before=count)
        for job, count in zip(jobs, counts, strict=True)
    ]


def _with_key_checked(job: PlannedJob, *, times_before: int) -> PlannedJob:
    if job.item.key is None:
        where = f"requests[{job.item.position}]"
        text = f"{{key}} alone names the files, and {where} has no key; give one, or add {{index}} to name="
        problem = Problem("name", text)
    elif times_before:
        text = f"{job.item.key!r:.60} came before; since {{key}} alone names the files, keys must differ"
        problem = Problem("key", text)
    else:
        return job
    return job._replace(error=RequestInvalid("batch", [problem]))


# -- without a journal


class FreshJobs:
    """Makes every request a new job, under random ids."""

    known: int = 0

    def __init__(self, options: BatchOptions, account: str) -> None:
        self._options = options
        self._account = account

    def unclaimed(self) -> list[str]:
        """Return that there are no earlier jobs."""
        return []

    def restart(self) -> None:
        """Do nothing: nothing is counted."""

    async def extent(self) -> tuple[int, int]:
        """Return that there are no earlier jobs."""
        return 0, -1

    async def find(self, items: Sequence[Item]) -> list[PlannedJob]:
        """Return new jobs."""
        return [self._job(item) for item in items]

    def _job(self, item: Item) -> PlannedJob:
        if item.error is not None:
            return _refused(item, item.error)
        try:
            entry = new_entry(item, uuid.uuid4().hex, uuid.uuid4().hex, self._options, self._account)
        except (RequestInvalid, TypeError) as error:
            return _refused(item, _invalid(item.request, error))
        return PlannedJob(item, entry, ResumeAction.CREATE)


# -- in a journal


class JournaledJobs:
    """Finds requests in a journal by what they ask for."""

    def __init__(
        self, journal: KnownJobs, options: BatchOptions, account: str, now: Callable[[], float]
    ) -> None:
        self._journal = journal
        self._now = now
        self._options = options
        self._account = account
        fields = options.template.fields
        self._positions_name_files = "index" in fields and "task_id" not in fields
        """Whether positions tell files apart; one position may belong to other jobs in other runs."""
        self._names = SpillCounter()
        self._unfinished: dict[str, str] = {}
        """Ids of the unfinished jobs of earlier runs that were not found yet, by identity."""
        self.known = 0

    def restart(self) -> None:
        """Count occurrences of equal requests anew."""
        self._names.close()
        self.known = 0

    async def extent(self) -> tuple[int, int]:
        """Return how many jobs the journal holds, and the last position of one."""
        self._unfinished = {
            entry.identity: entry.task_id or entry.external_task_id
            for entry in await self._journal.unfinished()
            if not (entry.missing and results_expired(entry, self._now()))
            if entry.task_id is not None or entry.times.planned is not None
        }
        return await self._journal.extent()

    def unclaimed(self) -> list[str]:
        """Return the ids of unfinished jobs that were not found so far."""
        return list(self._unfinished.values())

    async def find(self, items: Sequence[Item]) -> list[PlannedJob]:
        """Return the jobs of these requests; together they cost few trips to the journal's thread."""
        prints = [_fingerprint(item) or await self._fingerprint_with_files(item) for item in items]
        good = [one for one in prints if one.error is None]
        names = [identity(one.item.key, one.hash, 0) for one in good]
        occurrences = await self._names.count_before([bytes.fromhex(name) for name in names])
        for place, occurrence in enumerate(occurrences):
            if occurrence:
                names[place] = identity(good[place].item.key, good[place].hash, occurrence)
        found = iter(zip(names, await self._journal.several(names), strict=True))
        jobs: list[PlannedJob] = []
        for one in prints:
            if one.error is not None:
                jobs.append(_refused(one.item, one.error))
                continue
            name, entry = next(found)
            if entry is None:
                jobs.append(await self._new_job(one, name))
            else:
                jobs.append(self._known_job(one, entry))
        return await refetch_missing(jobs, self._options.refetch_folder)

    async def _fingerprint_with_files(self, item: Item) -> _Fingerprint:
        try:
            digests = await self._journal.digests.of_request(item.request)
        except RequestInvalid as error:
            return _Fingerprint(item, "", error=error)
        found = _fingerprint(item, digests)
        assert found is not None  # noqa: S101 - the files were read
        return found

    async def _new_job(self, one: _Fingerprint, name: str) -> PlannedJob:
        item, journal = one.item, self._journal
        try:
            entry = new_entry(item, name, external_id(journal.id, name, 0), self._options, self._account)
        except RequestInvalid as error:
            return _refused(item, error)
        if self._positions_name_files and await journal.has_position(item.position):
            entry = msgspec.structs.replace(entry, position_taken=True)
        return PlannedJob(item, entry, ResumeAction.CREATE, digests=one.digests)

    def _known_job(self, one: _Fingerprint, entry: Entry) -> PlannedJob:
        options = self._options
        self.known += 1
        self._unfinished.pop(entry.identity, None)
        entry = settled(entry, self._now())
        action = resume(entry, wanted_files=options.folder is not None, retries=options.retries)
        job = PlannedJob(one.item, entry, action, None, one.digests)
        if options.retry_failed and action is ResumeAction.NOTHING and entry.state is JobState.FAILED:
            return self._retried(job)
        return job._replace(entry=self._next_attempt(job)) if action is ResumeAction.RETRY else job

    def _retried(self, job: PlannedJob) -> PlannedJob:
        """Plan a failed job anew, if the caller wants that: under a new id where a new task is safe."""
        wanted = self._options.retry_failed
        try:
            if not (wanted is True or (callable(wanted) and wanted(remembered_outcome(job, None)))):
                return job
        except Exception as error:  # noqa: BLE001 - the caller's function fails one job alone
            problem = Problem("retry_failed", f"raised {type(error).__name__}: {error}")
            return job._replace(error=RequestInvalid("batch", [problem]))
        facts = {"account": self._account, "defaults": defaults_of(job.item.request)}
        now, expired_too = self._now(), wanted is not True
        entry = again(job.entry, self._journal.id, now=now, expired_too=expired_too, **facts)
        if entry is None:
            return job
        fresh = entry.attempt > job.entry.attempt
        return job._replace(entry=entry, action=ResumeAction.RETRY if fresh else ResumeAction.CREATE_DOUBTFUL)

    def _next_attempt(self, job: PlannedJob) -> Entry:
        defaults = defaults_of(job.item.request)
        return next_attempt(job.entry, self._journal.id, account=self._account, defaults=defaults)


class _Fingerprint(NamedTuple):
    """The hash of what a request asks for, or why there is none: then only this job is refused."""

    item: Item
    hash: str
    digests: Mapping[Media, str] = _NO_DIGESTS
    error: RequestInvalid | None = None


def _fingerprint(item: Item, digests: Mapping[Media, str] | None = None) -> _Fingerprint | None:
    """Return a request's fingerprint; None where its files must be read first."""
    request = item.request
    if item.error is not None:
        return _Fingerprint(item, "", error=item.error)
    try:
        if digests is None:
            if has_files(request):
                return None
            digests = _NO_DIGESTS
        return _Fingerprint(item, fingerprint(endpoint_of(request).name, request, digests), digests)
    # `extra` and RawTask's body are not checked yet: lone surrogates, deep nesting, values that are no JSON
    except (ValueError, RecursionError, OverflowError, TypeError) as error:
        return _Fingerprint(item, "", error=_invalid(request, error))


def new_entry(item: Item, name: str, external: str, options: BatchOptions, account: str) -> Entry:
    """Return the entry of a job of which nothing was sent."""
    endpoint = endpoint_of(item.request)
    return Entry(
        identity=name,
        position=item.position,
        endpoint=endpoint.name,
        pool=endpoint.pool,
        external_task_id=external,
        key=item.key,
        label=options.label_of(item.request),
        account=account,
        defaults=defaults_of(item.request),
    )


def _refused(item: Item, error: RequestInvalid) -> PlannedJob:
    """Return a job that cannot begin; its entry is not written down."""
    kind = type(item.request).__name__
    entry = Entry(identity="", position=item.position, endpoint=kind, external_task_id="", key=item.key)
    return PlannedJob(item, entry, ResumeAction.NOTHING, error)


def _invalid(request: TaskRequest[Any], error: Exception) -> RequestInvalid:
    """Return the error that a submit would raise for a request that has no fingerprint."""
    if isinstance(error, RequestInvalid):
        return error
    unknown = RequestInvalid(type(request).__name__, [Problem("request", str(error))])
    return wrong_with(request) or unknown

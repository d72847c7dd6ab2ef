"""What is known of each request of a batch: its name in the journal, how far an earlier run came with it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from kling_async.batch.counter import SpillCounter
from kling_async.batch.entry import Entry, ResumeAction, next_attempt, resume
from kling_async.batch.identity import defaults_of, external_id, fingerprint, identity
from kling_async.catalog import endpoint_of
from kling_async.errors import Problem, RequestInvalid
from kling_async.runtime.loop import in_thread
from kling_async.wire.checks import has_files, wrong_with

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
    from pathlib import Path

    from kling_async.batch.entry import JournaledFile
    from kling_async.batch.journal import Journal
    from kling_async.batch.options import BatchOptions, Order
    from kling_async.batch.source import Item, RequestSource
    from kling_async.orchestrator.engine import Engine
    from kling_async.wire.media import Media
    from kling_async.wire.requests import TaskRequest

__all__ = ["PlannedJob", "Planner"]

_NONE: Final[Mapping[Media, str]] = {}


class PlannedJob(NamedTuple):
    """One request and its entry."""

    item: Item
    entry: Entry
    plan: ResumeAction
    """What is left to do."""
    error: RequestInvalid | None = None
    """Why it cannot even be begun with."""
    digests: Mapping[Media, str] = {}
    """SHA-256 of its files, which its name stands for."""

    @property
    def over(self) -> bool:
        """Whether an earlier run finished it."""
        return self.plan is ResumeAction.NOTHING and self.error is None


class Planner:
    """Finds what is known of requests; where there is no journal, all are new."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal | None,
        wishes: BatchOptions,
        label: str | Callable[[TaskRequest[Any]], str],
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._wishes = wishes
        self._label = label
        fields = wishes.template.fields
        self._sole_keys = not fields & {"index", "task_id"}
        """Whether keys alone name the files, so that none may come twice."""
        self._by_index = "index" in fields and "task_id" not in fields
        """Whether positions tell the files apart, which differ from run to run."""
        self._keys = SpillCounter()
        self._names = SpillCounter()
        self.known = 0
        """How many were found in the journal so far."""

    async def look_up(
        self, intake: RequestSource, order: Order, in_a_hurry: Callable[[], bool]
    ) -> AsyncGenerator[list[PlannedJob], None]:
        """Yield an input's requests, from its beginning, with what is known of them.

        Args:
            intake: The input.
            order: As it comes, or what takes longest first.
            in_a_hurry: Whether to take large steps also where something is to be made.
        """
        self._keys, self._names, self.known = SpillCounter(), SpillCounter(), 0
        intake.familiar(all_of_it=in_a_hurry())
        seconds = self._engine.expected_seconds
        try:
            async with aclosing(intake.longest(seconds) if order == "longest" else intake.chunks()) as chunks:
                async for chunk in chunks:
                    found = await self.find(chunk)
                    intake.familiar(all_of_it=in_a_hurry() or all(job.over for job in found))
                    yield found
        finally:
            self._keys.close()
            self._names.close()

    async def find(self, items: Sequence[Item]) -> list[PlannedJob]:
        """Return what is known of these, in order; asked for together they cost few turns of a thread."""
        if self._journal is None:
            found = [self._without_journal(item) for item in items]
        else:
            found = await self._in_journal(self._journal, items)
        return await self._told_apart(found) if self._sole_keys else found

    def _without_journal(self, item: Item) -> PlannedJob:
        if item.error is not None:
            return _refused(item, item.error)
        try:
            return PlannedJob(item, self._new(item, uuid.uuid4().hex, uuid.uuid4().hex), ResumeAction.CREATE)
        except (RequestInvalid, TypeError) as error:
            return _refused(item, _why(item.request, error))

    # -- in a journal

    async def _in_journal(self, journal: Journal, items: Sequence[Item]) -> list[PlannedJob]:
        asked = [_asked(item) or await _asked_with_files(journal, item) for item in items]
        good = [ask for ask in asked if ask.error is None]
        names = [identity(ask.item.key, ask.print, 0) for ask in good]
        before = await self._names.before([bytes.fromhex(name) for name in names])
        for place, times in enumerate(before):
            if times:
                names[place] = identity(good[place].item.key, good[place].print, times)
        found = iter(zip(names, await journal.several(names), strict=True))
        known: list[PlannedJob] = []
        for ask in asked:
            if ask.error is not None:
                known.append(_refused(ask.item, ask.error))
                continue
            name, entry = next(found)
            if entry is None:
                known.append(await self._first_seen(journal, ask, name))
            else:
                known.append(self._seen_before(journal, ask, entry))
        return await self._looked_after(known)

    async def _first_seen(self, journal: Journal, ask: _Asked, name: str) -> PlannedJob:
        item = ask.item
        entry = self._new(item, name, external_id(journal.id, name, 0))
        apart = self._by_index and await journal.has_position(item.position)
        return PlannedJob(
            item, msgspec.structs.replace(entry, apart=apart), ResumeAction.CREATE, digests=ask.digests
        )

    def _seen_before(self, journal: Journal, ask: _Asked, entry: Entry) -> PlannedJob:
        wishes = self._wishes
        self.known += 1
        plan = resume(entry, wanted_files=wishes.folder is not None, retries=wishes.retries)
        if plan is ResumeAction.RETRY:
            defaults = defaults_of(ask.item.request)
            entry = next_attempt(entry, journal.id, account=self._engine.account, defaults=defaults)
        return PlannedJob(ask.item, entry, plan, None, ask.digests)

    async def _looked_after(self, jobs: list[PlannedJob]) -> list[PlannedJob]:
        """Send for files that an earlier run stored and that are gone, or are others."""
        folder = self._wishes.folder
        if folder is None or not self._wishes.refetch:
            return jobs
        stored = [(place, job.entry.files) for place, job in enumerate(jobs) if job.over and job.entry.files]
        if stored:
            loop = asyncio.get_running_loop()
            there = await in_thread(loop, _in_place, folder, [files for _, files in stored])
            for (place, _), whole in zip(stored, there, strict=True):
                if not whole:
                    jobs[place] = jobs[place]._replace(plan=ResumeAction.FETCH)
        return jobs

    async def _told_apart(self, jobs: list[PlannedJob]) -> list[PlannedJob]:
        """Keys that name files may come once: the second file would take the place of the first."""
        marks = [hashlib.blake2b((job.item.key or "").encode(), digest_size=16).digest() for job in jobs]
        before = await self._keys.before(marks)
        return [
            job if job.error else self._once(job, before=times)
            for job, times in zip(jobs, before, strict=True)
        ]

    @staticmethod
    def _once(job: PlannedJob, *, before: int) -> PlannedJob:
        if job.item.key is None:
            where = f"requests[{job.item.position}]"
            problem = Problem("name", f"{{key}} alone names the files, and {where} has no key")
        elif before:
            problem = Problem("key", f"{job.item.key!r:.60} came before; {{key}} alone names the files")
        else:
            return job
        return job._replace(error=RequestInvalid("batch", [problem]))

    def _new(self, item: Item, name: str, external: str) -> Entry:
        label = self._label if isinstance(self._label, str) else self._label(item.request)
        endpoint = endpoint_of(item.request)
        return Entry(
            identity=name,
            position=item.position,
            endpoint=endpoint.name,
            pool=endpoint.pool,
            external_task_id=external,
            key=item.key,
            label=label,
            account=self._engine.account,
            defaults=defaults_of(item.request),
        )


class _Asked(NamedTuple):
    """What a request asks for, as one text; or why that cannot be told: this job's affair alone."""

    item: Item
    print: str
    digests: Mapping[Media, str] = _NONE
    error: RequestInvalid | None = None


def _asked(item: Item, digests: Mapping[Media, str] | None = None) -> _Asked | None:
    """Return what is asked for; None where files must be read first."""
    request = item.request
    if item.error is not None:
        return _Asked(item, "", error=item.error)
    try:
        if digests is None:
            if has_files(request):
                return None
            digests = _NONE
        return _Asked(item, fingerprint(endpoint_of(request).name, request, digests), digests)
    except (ValueError, RecursionError, OverflowError, TypeError) as error:
        return _Asked(item, "", error=_why(request, error))


async def _asked_with_files(journal: Journal, item: Item) -> _Asked:
    try:
        digests = await journal.digests(item.request)
    except RequestInvalid as error:
        return _Asked(item, "", error=error)
    asked = _asked(item, digests)
    assert asked is not None  # noqa: S101 - the files were read
    return asked


def _refused(item: Item, error: RequestInvalid) -> PlannedJob:
    """Return a job that is not begun with; there is nothing to write down."""
    kind = type(item.request).__name__
    entry = Entry(identity="", position=item.position, endpoint=kind, external_task_id="", key=item.key)
    return PlannedJob(item, entry, ResumeAction.NOTHING, error)


def _why(request: TaskRequest[Any], error: Exception) -> RequestInvalid:
    """Return the error that a submit would raise for a request of which no fingerprint can be made."""
    if isinstance(error, RequestInvalid):
        return error
    unknown = RequestInvalid(type(request).__name__, [Problem("request", str(error))])
    return wrong_with(request) or unknown


def _in_place(folder: Path, jobs: list[tuple[JournaledFile, ...]]) -> list[bool]:
    """Tell of each job whether all of its files lie where they were stored, as long as they were."""
    return [all(_is_whole(f"{folder}{os.sep}{file.name}", file.size) for file in files) for files in jobs]


def _is_whole(path: str, size: int) -> bool:
    try:
        return os.stat(path).st_size == size  # noqa: PTH116 - a hundred thousand times
    except OSError:
        return False

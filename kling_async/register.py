"""What is known of each request of a batch: its name in the journal, how far an earlier run came with it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from kling_async.catalog import endpoint_of
from kling_async.checks import media_fields, wrong_with
from kling_async.core.identity import defaults_of, external_id, fingerprint, identity
from kling_async.core.record import Entry, Plan, resume, retried
from kling_async.errors import Problem, RequestInvalid
from kling_async.loops import in_thread
from kling_async.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from kling_async.core.record import StoredFile
    from kling_async.engine import Engine
    from kling_async.inputs import Media
    from kling_async.intake import Item
    from kling_async.journal import Journal
    from kling_async.wire import TaskRequest
    from kling_async.wishes import Wishes

__all__ = ["Known", "Register"]

_NONE: Final[Mapping[Media, str]] = {}


class Known(NamedTuple):
    """One request and its entry."""

    item: Item
    entry: Entry
    plan: Plan
    """What is left to do."""
    error: RequestInvalid | None = None
    """Why it cannot even be begun with."""
    digests: Mapping[Media, str] = {}
    """SHA-256 of its files, which its name stands for."""

    @property
    def over(self) -> bool:
        """Whether an earlier run finished it."""
        return self.plan is Plan.NOTHING and self.error is None


class Register:
    """Finds what is known of requests; where there is no journal, all are new."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal | None,
        wishes: Wishes,
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
        self._keys = Tally()
        self._names = Tally()

    def begin(self) -> None:
        """The input begins, perhaps again."""
        self.close()
        self._keys, self._names = Tally(), Tally()

    def close(self) -> None:
        """Nothing more will be looked up."""
        self._keys.close()
        self._names.close()

    async def find(self, items: Sequence[Item]) -> list[Known]:
        """Return what is known of these, in order; asked for together they cost few turns of a thread."""
        if self._journal is None:
            found = [self._without_journal(item) for item in items]
        else:
            found = await self._in_journal(self._journal, items)
        return await self._told_apart(found) if self._sole_keys else found

    def _without_journal(self, item: Item) -> Known:
        if item.error is not None:
            return _refused(item, item.error)
        try:
            return Known(item, self._new(item, uuid.uuid4().hex, uuid.uuid4().hex), Plan.CREATE)
        except (RequestInvalid, TypeError) as error:
            return _refused(item, _why(item.request, error))

    # -- in a journal

    async def _in_journal(self, journal: Journal, items: Sequence[Item]) -> list[Known]:
        digests: dict[int, Mapping[Media, str]] = {}
        prints = [await self._print(journal, item, digests) for item in items]
        good = [(item, p) for item, p in zip(items, prints, strict=True) if isinstance(p, str)]
        names = [identity(item.key, p, 0) for item, p in good]
        before = await self._names.before([bytes.fromhex(name) for name in names])
        for place, (item, p) in enumerate(good):
            if before[place]:
                names[place] = identity(item.key, p, before[place])
        found = iter(zip(names, await journal.several(names), strict=True))
        known = [
            await self._known(journal, item, *next(found)) if isinstance(p, str) else _refused(item, p)
            for item, p in zip(items, prints, strict=True)
        ]
        for place, job in enumerate(known):
            if job.item.position in digests:
                known[place] = job._replace(digests=digests[job.item.position])
        return await self._looked_after(known)

    async def _print(
        self, journal: Journal, item: Item, digests: dict[int, Mapping[Media, str]]
    ) -> str | RequestInvalid:
        """Return a request's fingerprint; what cannot be read or written is this job's affair alone.

        The digests of its files, if it has any, are added under its position.
        """
        request = item.request
        try:
            if any(media.url is None for _, media, _ in media_fields(request)):
                digests[item.position] = await journal.digests(request)
            own = digests.get(item.position, _NONE)
            return item.error or fingerprint(endpoint_of(request).name, request, own)
        except (ValueError, RecursionError, OverflowError, TypeError) as error:
            return _why(request, error)

    async def _known(self, journal: Journal, item: Item, name: str, entry: Entry | None) -> Known:
        if entry is None:
            entry = self._new(item, name, external_id(journal.id, name, 0))
            apart = self._by_index and await journal.has_position(item.position)
            return Known(item, msgspec.structs.replace(entry, apart=apart), Plan.CREATE)
        wishes = self._wishes
        plan = resume(entry, wanted_files=wishes.folder is not None, retries=wishes.retries)
        if plan is Plan.RETRY:
            entry = retried(
                entry, journal.id, account=self._engine.account, defaults=defaults_of(item.request)
            )
        return Known(item, entry, plan)

    async def _looked_after(self, jobs: list[Known]) -> list[Known]:
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
                    jobs[place] = jobs[place]._replace(plan=Plan.FETCH)
        return jobs

    async def _told_apart(self, jobs: list[Known]) -> list[Known]:
        """Keys that name files may come once: the second file would take the place of the first."""
        marks = [hashlib.blake2b((job.item.key or "").encode(), digest_size=16).digest() for job in jobs]
        before = await self._keys.before(marks)
        return [
            job if job.error else self._once(job, before=times)
            for job, times in zip(jobs, before, strict=True)
        ]

    @staticmethod
    def _once(job: Known, *, before: int) -> Known:
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


def _refused(item: Item, error: RequestInvalid) -> Known:
    """Return a job that is not begun with; there is nothing to write down."""
    kind = type(item.request).__name__
    entry = Entry(identity="", position=item.position, endpoint=kind, external_task_id="", key=item.key)
    return Known(item, entry, Plan.NOTHING, error)


def _why(request: TaskRequest[Any], error: Exception) -> RequestInvalid:
    """Return the error that a submit would raise for a request of which no fingerprint can be made."""
    if isinstance(error, RequestInvalid):
        return error
    unknown = RequestInvalid(type(request).__name__, [Problem("request", str(error))])
    return wrong_with(request) or unknown


def _in_place(folder: Path, jobs: list[tuple[StoredFile, ...]]) -> list[bool]:
    """Tell of each job whether all of its files lie where they were stored, as long as they were."""
    return [all(_is_whole(f"{folder}{os.sep}{file.name}", file.size) for file in files) for files in jobs]


def _is_whole(path: str, size: int) -> bool:
    try:
        return os.stat(path).st_size == size  # noqa: PTH116 - a hundred thousand times
    except OSError:
        return False

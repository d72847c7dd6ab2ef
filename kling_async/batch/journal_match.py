"""Find the jobs of an input in a journal, by the names that a batch gives them; nothing is changed."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from kling_async.batch.counter import SpillCounter
from kling_async.batch.digests import InputDigests
from kling_async.batch.identity import external_id, fingerprint, identity
from kling_async.batch.options import BatchOptions
from kling_async.batch.planner import new_entry
from kling_async.batch.source import Item
from kling_async.catalog import endpoint_of
from kling_async.errors import RequestInvalid
from kling_async.wire.checks import has_files

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping

    from kling_async.batch.entry import Entry
    from kling_async.batch.journal_view import JournalView
    from kling_async.wire.media import Media
    from kling_async.wire.requests import TaskRequest

__all__ = ["NamedJob", "entry_of_new_job", "named_jobs"]

_OPTIONS: Final = BatchOptions()


class NamedJob(NamedTuple):
    """A job of an input."""

    name: str
    """Within the journal, see `batch.identity`."""
    position: int
    """In the input, from 0."""
    key: str | None
    request: TaskRequest[Any]


async def named_jobs(
    view: JournalView,
    jobs: Iterable[tuple[str | None, TaskRequest[Any]]],
    on_unreadable: Callable[[], object] = lambda: None,
) -> AsyncGenerator[NamedJob, None]:
    """Yield the jobs of an input with their names within the journal.

    Args:
        view: The journal.
        jobs: The input: keys and requests.
        on_unreadable: Called for each job without a name, which is passed over: its files cannot be read.
    """
    digests = InputDigests(view.digest, time.time)
    with closing(SpillCounter()) as counter:
        for position, (key, request) in enumerate(jobs):
            try:
                known: Mapping[Media, str] = {}
                if has_files(request):
                    known = await digests.of_request(request)
                mark = fingerprint(endpoint_of(request).name, request, known)
            except (RequestInvalid, ValueError, RecursionError, OverflowError, TypeError):
                on_unreadable()
                continue
            name = identity(key, mark, 0)
            (before,) = await counter.count_before([bytes.fromhex(name)])
            name = identity(key, mark, before) if before else name
            yield NamedJob(name, position, key, request)


def entry_of_new_job(view: JournalView, job: NamedJob) -> Entry:
    """Return the entry that a batch would give to a job that the journal does not know: nothing was sent."""
    item = Item(job.position, job.key, job.request)
    entry = new_entry(item, job.name, external_id(view.id, job.name, 0), _OPTIONS, account="")
    # another job had the position in an earlier run: files of both would have one name
    return msgspec.structs.replace(entry, position_taken=True) if view.has_position(job.position) else entry

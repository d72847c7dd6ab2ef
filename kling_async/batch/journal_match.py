"""Find the jobs of an input in a journal, by the names that a batch gives them; nothing is changed."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from kling_async.batch.counter import SpillCounter
from kling_async.batch.digests import InputDigests
from kling_async.batch.identity import fingerprint, identity
from kling_async.catalog import endpoint_of
from kling_async.errors import RequestInvalid
from kling_async.wire.checks import has_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from kling_async.batch.journal_view import JournalView
    from kling_async.wire.media import Media
    from kling_async.wire.requests import TaskRequest

__all__ = ["job_names"]


async def job_names(
    view: JournalView, jobs: Iterable[tuple[str | None, TaskRequest[Any]]]
) -> AsyncIterator[tuple[str, TaskRequest[Any]]]:
    """Yield the name of each job within the journal, with its request.

    A job whose files cannot be read has no name and is passed over.
    """
    digests = InputDigests(view.digest, time.time)
    with closing(SpillCounter()) as counter:
        for key, request in jobs:
            try:
                known: Mapping[Media, str] = {}
                if has_files(request):
                    known = await digests.of_request(request)
                mark = fingerprint(endpoint_of(request).name, request, known)
            except (RequestInvalid, ValueError, RecursionError, OverflowError, TypeError):
                continue
            name = identity(key, mark, 0)
            (before,) = await counter.count_before([bytes.fromhex(name)])
            yield (identity(key, mark, before) if before else name), request

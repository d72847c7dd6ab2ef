"""Submit jobs to a fleet: rows first, each job once; only new ones are handed to the queue.

A chunk of jobs is one transaction: its rows, and what procrastinate is to know of those that are new. A
submit that was cut short can be repeated, and so can one that two programs make at the same time: a job has
the identity, the fingerprint and the external id that `batch.identity` gives it.
"""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from kling_async.batch.options import BatchOptions
from kling_async.fleet.intake import chunks, first_wrong
from kling_async.fleet.submit_options import need_priority
from kling_async.fleet.writing import batch_named, write_chunk
from kling_async.redaction import Serializable

if TYPE_CHECKING:
    from collections.abc import Callable

    from kling_async.batch.source import Requests
    from kling_async.errors import RequestInvalid
    from kling_async.fleet.link import DatabaseLink
    from kling_async.wire.requests import TaskRequest

__all__ = ["Submitted", "submit"]


class Submitted(Serializable, frozen=True, kw_only=True):
    """The jobs of one submit."""

    batch: str
    """Id of the batch: 32 hexadecimal digits, part of the external ids of its tasks."""
    name: str
    """The batch's name, as given."""
    new: int
    """Jobs that were not there before, or had been cancelled; they wait in the queue."""
    known: int
    """Jobs that were there already, or came twice in the input."""
    bad: int = 0
    """Requests that were left out because they are wrong."""


async def submit(
    link: DatabaseLink,
    requests: Requests[Any],
    name: str,
    *,
    priority: int = 0,
    label: str | Callable[[TaskRequest[Any]], str] = "",
    on_bad: Callable[[RequestInvalid], object] | None = None,
) -> Submitted:
    """Write the jobs of an input that are not there yet; wait through outages of the database.

    Args:
        link: A connection of its own.
        requests: Requests, or pairs of a key and a request; any iterable or async iterable.
        name: The name of the batch that they belong to; it is made if there is none.
        priority: Jobs of higher priority go first.
        label: The label, or a function of the request that returns it.
        on_bad: Called with the error of each wrong request, which is left out; None: the first one is raised.

    Raises:
        RequestInvalid: A request or the priority is wrong. Nothing of its chunk was written, nor, where the
            input can be read twice, of any other.
    """
    need_priority(priority)
    # files are named by the workers; {index} has the planner note positions that come twice
    options = BatchOptions(priority=priority, label=label, name="{index}")
    if on_bad is None and (wrong := await first_wrong(requests, options)) is not None:
        raise wrong
    batch = await link.patient(partial(batch_named, name=name))
    new = known = bad = 0
    async with aclosing(chunks(requests, batch, options)) as reading:
        async for chunk in reading:
            for error in chunk.bad:
                if on_bad is None:
                    raise error
                on_bad(error)
            written = await link.patient(partial(write_chunk, batch=batch.id, rows=chunk.rows))
            new += written
            known += len(chunk.rows) - written
            bad += len(chunk.bad)
    return Submitted(batch=batch.id, name=batch.name, new=new, known=known, bad=bad)

"""Try failed jobs again, and take back what no task was made for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kling_async.batch.entry import JobState, pack
from kling_async.batch.failures import again
from kling_async.batch.identity import defaults_of
from kling_async.fleet.database import server_time
from kling_async.fleet.rows import stored_job
from kling_async.fleet.tasks import queueing_lock_of
from kling_async.fleet.writing import end_jobs, hand_to_queue
from kling_async.redaction import Serializable
from kling_async.wire.endpoints import JournaledRequest

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from kling_async.batch.entry import Entry
    from kling_async.fleet.link import DatabaseLink

__all__ = ["Cancelled", "FailedJob", "Retried", "cancel_queued", "retry_failed"]

_PAGE: Final = 1000
"""Jobs that one transaction changes."""
_FAILED: Final = """
    SELECT number, identity, entry, request, priority, coalesce(units, 0), pool FROM jobs
    WHERE batch=%s AND number>%s AND state=%s AND done IS NOT NULL AND NOT cancelled
    ORDER BY number LIMIT %s FOR UPDATE"""
_AGAIN: Final = """
    UPDATE jobs SET entry=%s, state=%s, attempt=%s, done=NULL, ended_at=NULL, reason=NULL, units=NULL,
        worker=NULL, planned_at=to_timestamp(%s), fence=fence+1
    WHERE batch=%s AND identity=%s"""
_UNCOUNT: Final = "UPDATE batches SET failed=failed-%s, units=units-%s WHERE id=%s"
_QUEUED: Final = """
    SELECT identity FROM jobs
    WHERE batch=%s AND done IS NULL AND state=%s AND planned_at IS NULL
    ORDER BY number LIMIT %s FOR UPDATE"""
_CANCEL: Final = """
    UPDATE jobs SET cancelled=true, fence=fence+1, worker=NULL WHERE batch=%s AND identity = ANY(%s)"""
_UNQUEUE: Final = "DELETE FROM procrastinate_jobs WHERE status='todo' AND queueing_lock = ANY(%s)"


class Retried(Serializable, frozen=True, kw_only=True):
    """The failed jobs of a batch that are tried again."""

    retried: int
    """Jobs that wait in the queue again."""
    kept: int
    """Failed jobs that were left alone: their tasks were paid, and the vendor has deleted the results; or
    their requests are not at hand."""


class Cancelled(Serializable, frozen=True, kw_only=True):
    """The jobs of a batch that were taken back."""

    cancelled: int
    """Jobs of which nothing was sent; they end as cancelled. Submitted again, they wait again."""
    sent: int
    """Jobs that go on: their tasks run, or may run."""


class FailedJob(NamedTuple):
    """The row of a job that has failed."""

    number: int
    identity: bytes
    entry: bytes
    request: bytes | None
    priority: int
    units: float
    """Units that its attempts took; the next end counts them again."""
    pool: str = "video"

    def again(self, batch: str, now: float) -> Entry | None:
        """Return the entry with which it is tried again; None: it is left alone."""
        job = stored_job(self.entry, self.request, 0)
        sendable = not isinstance(job.request, JournaledRequest)
        facts: dict[str, Any] = {"account": job.entry.account}
        if sendable:
            facts["defaults"] = defaults_of(job.request)
        entry = again(job.entry, batch, now=now, **facts)
        return entry if sendable or entry is None or entry.attempt == job.entry.attempt else None


class _Page(NamedTuple):
    """One transaction of `retry_failed`."""

    last: int
    """Number of the last job seen; 0: there was none."""
    retried: int = 0
    kept: int = 0


async def retry_failed(link: DatabaseLink, batch: str) -> Retried:
    """Put the failed jobs of a batch back into the queue; wait through outages of the database.

    A new task is made where the failure proves that there is none; else the old one is looked up first.

    Args:
        link: A connection of its own.
        batch: The id of the batch.
    """
    last, retried, kept = 0, 0, 0
    while True:
        page = await link.patient(partial(_retry_page, batch=batch, after=last))
        if not page.last:
            return Retried(retried=retried, kept=kept)
        last = page.last
        retried += page.retried
        kept += page.kept


async def _retry_page(db: AsyncConnection[Any], batch: str, after: int) -> _Page:
    async with db.transaction():
        values = (batch, after, int(JobState.FAILED), _PAGE)
        found = [FailedJob(*row) for row in await (await db.execute(_FAILED, values)).fetchall()]
        if not found:
            return _Page(0)
        now = await server_time(db)
        jobs = [(job, job.again(batch, now)) for job in found]
        wanted = [(job, entry) for job, entry in jobs if entry is not None]
        async with db.cursor() as cursor:
            await cursor.executemany(_AGAIN, [_changes(batch, *each) for each in wanted])
        if wanted:
            queued = [((batch, job.identity.hex()), job.priority, job.pool) for job, _ in wanted]
            await hand_to_queue(db, queued)
        units = sum(job.units for job, _ in wanted)
        await db.execute(_UNCOUNT, (len(wanted), units, batch))
    return _Page(found[-1].number, len(wanted), len(found) - len(wanted))


def _changes(batch: str, job: FailedJob, entry: Entry) -> tuple[Any, ...]:
    """Return the values for `_AGAIN`."""
    return pack(entry), int(entry.state), entry.attempt, entry.times.planned, batch, job.identity


async def cancel_queued(link: DatabaseLink, batch: str) -> Cancelled:
    """Take back the jobs of a batch of which nothing was sent; a worker that holds one is refused its create.

    Outages of the database are waited through.

    Args:
        link: A connection of its own.
        batch: The id of the batch.
    """
    cancelled = 0
    while page := await link.patient(partial(_cancel_page, batch=batch)):
        cancelled += page
    return Cancelled(cancelled=cancelled, sent=await link.patient(partial(_open_jobs, batch=batch)))


async def _cancel_page(db: AsyncConnection[Any], batch: str) -> int:
    async with db.transaction():
        values = (batch, int(JobState.PLANNED), _PAGE)
        names = [row[0] for row in await (await db.execute(_QUEUED, values)).fetchall()]
        if names:
            await db.execute(_CANCEL, (batch, names))
            await db.execute(_UNQUEUE, ([queueing_lock_of(batch, name.hex()) for name in names],))
            await end_jobs(db, batch, names, cancelled=len(names))
    return len(names)


async def _open_jobs(db: AsyncConnection[Any], batch: str) -> int:
    query = "SELECT count(*) FROM jobs WHERE batch=%s AND done IS NULL"
    (count,) = await (await db.execute(query, (batch,))).fetchone() or (0,)
    return int(count)

"""Hand out the outcomes of a batch's jobs, in the order of their ends, wherever they ran.

A worker writes the end of a job under the lock of its batch's row, so that the order of ends is that in which
they become visible: a reader that has seen the n-th end has seen all before it. A notification wakes readers;
they also look by themselves every few seconds.

The addresses of results lie in a table of their own. A reader erases those of an outcome once its caller has
come back for the next one; what is read later has ids and the names of stored files, and its addresses are
renewed by one query: ``client.attach(type, task_id=...)``.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import psycopg
from psycopg import sql

from kling_async.batch.entry import ResumeAction
from kling_async.batch.job_outcomes import outcome_of, remembered_outcome
from kling_async.batch.planned import PlannedJob
from kling_async.batch.source import Item
from kling_async.catalog import endpoint_of
from kling_async.errors import BadResponse, ConfigurationError, KlingError, RequestInvalid, TaskWithdrawn
from kling_async.fleet.database import connect, telling_line
from kling_async.fleet.link import OUTAGE
from kling_async.fleet.rows import load_addresses, stored_job
from kling_async.fleet.writing import RESULTS_CHANNEL
from kling_async.orchestrator.results import whole_result_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from pathlib import Path

    from psycopg import AsyncConnection

    from kling_async.batch.outcomes import Outcome

__all__ = ["EndedJob", "FleetResults", "outcomes"]

log = logging.getLogger("kling_async.fleet")

_PAGE: Final = 100
"""Ends that are read at once."""
_LOOK: Final = 2.0
"""Seconds between two looks, if no notification comes."""
_ANSWER: Final = 10.0
"""Seconds after which a connection that does not answer is given up."""
_RETRY: Final = 1.0
"""Seconds until a connection is tried again after the database was away."""
_READ: Final = """
    SELECT j.done, j.identity, j.position, j.key, j.entry, j.request, j.cancelled, a.record,
        extract(epoch FROM j.ended_at)::double precision
    FROM jobs j LEFT JOIN addresses a USING (batch, identity)
    WHERE j.batch=%s AND j.done>%s ORDER BY j.done LIMIT %s"""
_REST: Final = "SELECT total - succeeded - failed - cancelled FROM batches WHERE id=%s"


class EndedJob(NamedTuple):
    """A job that has ended, as its row says."""

    done: int
    """Its place among the ends of the batch, from 1."""
    identity: bytes
    position: int
    key: str | None
    entry: bytes
    request: bytes | None
    cancelled: bool
    record: bytes | None
    """The record with its addresses; None: there is none, or it was erased."""
    ended: float

    def outcome(self, folder: Path | None) -> Outcome[Any]:
        """Return the job's outcome; ``folder`` holds the files that workers stored."""
        try:
            job = stored_job(self.entry, self.request, 0)
        except RequestInvalid:  # a newer version wrote it; one outcome must not hold back all others
            job = stored_job(self.entry, None, 0)
        item = Item(self.position, self.key, job.request)
        if self.cancelled:
            error: KlingError = TaskWithdrawn(job.entry.external_task_id)
            return outcome_of(item, job.entry, folder, ended=self.ended, error=error)
        if self.record is None:
            return remembered_outcome(PlannedJob(item, job.entry, ResumeAction.NOTHING), folder)
        record = load_addresses(self.record)
        facts: dict[str, Any] = {"record": record}
        try:
            facts["result"] = whole_result_of(endpoint_of(job.request), record)
        except BadResponse as error:
            facts["error"] = error
        return outcome_of(item, job.entry, folder, ended=self.ended, **facts)


class FleetResults:
    """The outcomes of a batch as its jobs end: an asynchronous iterator, of `Fleet.results`.

    Args:
        read: Yields outcomes that come after a place, with their places.
        after: That place.
    """

    def __init__(
        self, read: Callable[[int], AsyncGenerator[tuple[int, Outcome[Any]], None]], after: int
    ) -> None:
        self.place = after
        """The place of the latest outcome among the ends of the batch; with ``after=`` another reading goes
        on behind it. A job that is tried again gets a new place."""
        self._reading = read(after)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[Any]:
        self.place, outcome = await anext(self._reading)
        return outcome

    async def aclose(self) -> None:
        """End the reading."""
        await self._reading.aclose()


async def outcomes(
    dsn: str, batch: str, *, follow: bool, after: int = 0, folder: Path | None = None
) -> AsyncGenerator[tuple[int, Outcome[Any]], None]:
    """Yield the outcomes of a batch, each with its place among the ends.

    Args:
        dsn: The database.
        batch: The id of the batch.
        follow: Whether to wait for jobs that have not ended; else only those that have are yielded.
        after: The place after which to begin: the last one that was seen.
        folder: Where the files are that workers stored.
    """
    handed: EndedJob | None = None
    away = False
    while True:
        try:
            async with connect(dsn) as db:
                await _listen(db, follow=follow)
                await _erase(db, batch, handed)
                if away:
                    log.warning("the fleet's database can be read again")
                away = False
                pages = _pages(db, batch, after, follow=follow)
                async with aclosing(pages):
                    async for job in pages:
                        await _erase(db, batch, handed)
                        handed = job
                        yield job.done, job.outcome(folder)
                        after = job.done
                    await _erase(db, batch, handed)
                    return
        except (*OUTAGE, ConfigurationError) as error:
            if not away:
                log.warning("the fleet's database cannot be read: %s", telling_line(error))
            away = True
            await asyncio.sleep(_RETRY)


async def _erase(db: AsyncConnection[Any], batch: str, job: EndedJob | None) -> None:
    """Erase the addresses of an outcome that its reader has taken."""
    if job is not None and job.record is not None:
        async with _in_time(db):
            await db.execute("DELETE FROM addresses WHERE batch=%s AND identity=%s", (batch, job.identity))


async def _listen(db: AsyncConnection[Any], *, follow: bool) -> None:
    """Hear of ends, if the reader waits for them."""
    if follow:
        async with _in_time(db):
            await db.execute(sql.SQL("LISTEN {}").format(sql.Identifier(RESULTS_CHANNEL)))


async def _pages(
    db: AsyncConnection[Any], batch: str, after: int, *, follow: bool
) -> AsyncGenerator[EndedJob, None]:
    while True:
        async with _in_time(db):
            # in this order: an end between the two is read, or is known to be left
            rest = await (await db.execute(_REST, (batch,))).fetchone()
            rows = await (await db.execute(_READ, (batch, after, _PAGE))).fetchall()
        for row in rows:
            job = EndedJob(*row)
            after = job.done
            yield job
        if len(rows) == _PAGE:
            continue
        if not follow or rest is None or rest[0] <= 0:
            return
        async for _ in db.notifies(timeout=_LOOK, stop_after=1):
            pass


@asynccontextmanager
async def _in_time(db: AsyncConnection[Any]) -> AsyncIterator[None]:
    """Give up a connection whose server does not answer.

    Raises:
        psycopg.OperationalError: It does not.
    """
    try:
        async with asyncio.timeout(_ANSWER):
            yield
    except TimeoutError:
        await db.close()
        raise psycopg.OperationalError(f"no answer within {_ANSWER:g} s") from None

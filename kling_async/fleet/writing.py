"""Write jobs into the table: new ones also into the queue, ended ones in the order of their ends."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from procrastinate import PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.manager import JobManager
from psycopg.errors import SerializationFailure

from kling_async.batch.entry import JobState
from kling_async.fleet.rows import NEW_COLUMNS
from kling_async.fleet.tasks import deferred, queueing_lock_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from kling_async.fleet.rows import NewRow
    from kling_async.fleet.tasks import JobName

__all__ = [
    "RESULTS_CHANNEL",
    "BatchRow",
    "batch_named",
    "end_jobs",
    "find_batch",
    "hand_to_queue",
    "write_chunk",
]

_COLUMNS: Final = ", ".join(NEW_COLUMNS)
_INCOMING: Final = """
    CREATE TEMP TABLE incoming (
        identity bytea, position bigint, state smallint, attempt integer, priority integer, label text,
        key text, pool text, endpoint text, entry bytea, request bytea, planned_at double precision)
    ON COMMIT DROP"""
_INSERT: Final = f"""
    INSERT INTO jobs (batch, {_COLUMNS})
    SELECT %s, identity, position, state, attempt, priority, label, key, pool, endpoint, entry, request,
        to_timestamp(planned_at)
    FROM incoming ORDER BY position
    ON CONFLICT DO NOTHING RETURNING identity, state, priority, pool"""  # noqa: S608 - names of this package
_REVIVE: Final = """
    UPDATE jobs SET cancelled=false, done=NULL, ended_at=NULL FROM incoming
    WHERE jobs.batch=%s AND jobs.identity=incoming.identity AND jobs.cancelled
    RETURNING jobs.identity, jobs.state, jobs.priority, jobs.pool"""
_COUNT: Final = """
    UPDATE batches SET done=done+%(ended)s, succeeded=succeeded+%(succeeded)s, failed=failed+%(failed)s,
        cancelled=cancelled+%(cancelled)s
    WHERE id=%(batch)s RETURNING done"""
_END: Final = """
    WITH ended AS (
        SELECT identity, row_number() OVER (ORDER BY number) AS place FROM jobs
        WHERE batch=%(batch)s AND identity = ANY(%(names)s))
    UPDATE jobs SET done=%(before)s + ended.place, ended_at=clock_timestamp()
    FROM ended WHERE jobs.batch=%(batch)s AND jobs.identity=ended.identity"""
_MANY: Final = 1000
"""New jobs in the queue after which the planner's statistics are out of date; by itself the server notices
a minute later."""
RESULTS_CHANNEL: Final = "kling_fleet_results"
"""Notifies that jobs of a batch have ended; the payload is the batch's id."""


class BatchRow(NamedTuple):
    """A batch as it stands in the table."""

    id: str
    name: str
    total: int


async def batch_named(db: AsyncConnection[Any], name: str, *, batch: str | None = None) -> BatchRow:
    """Return the batch of a name, made if there is none.

    Args:
        db: Any connection.
        name: The name.
        batch: The id of a new one: that of a journal that moves; None: a random one.
    """
    new = "INSERT INTO batches (id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING"
    await db.execute(new, (batch or uuid.uuid4().hex, name))
    row = await find_batch(db, name)
    assert row is not None  # noqa: S101 - it was made above, and batches are not removed
    return row


async def find_batch(db: AsyncConnection[Any], name: str) -> BatchRow | None:
    """Return the batch of a name; None: there is none."""
    query = "SELECT id, name, total FROM batches WHERE name=%s"
    row = await (await db.execute(query, (name,))).fetchone()
    return None if row is None else BatchRow(*row)


async def write_chunk(db: AsyncConnection[Any], batch: str, rows: Sequence[NewRow]) -> int:
    """Write those of some jobs that are not there, and hand them to the queue; return how many.

    Jobs that were cancelled wait again. One transaction: a job is in the table and, unless it has ended, in
    the queue, or in neither.
    """
    if not rows:
        return 0
    async with db.transaction():
        await _enter_turn(db, batch)
        await db.execute(_INCOMING)
        async with db.cursor() as cursor:
            copying = f"COPY incoming ({_COLUMNS}) FROM STDIN"
            async with cursor.copy(copying.encode()) as copy:
                for row in rows:
                    await copy.write_row(row)
        new = await (await db.execute(_INSERT.encode(), (batch,))).fetchall()
        revived = await (await db.execute(_REVIVE, (batch,))).fetchall()
        waiting = [row for row in [*new, *revived] if row[1] not in _ENDED]
        if waiting:
            await hand_to_queue(db, [((batch, row[0].hex()), row[2], row[3]) for row in waiting])
        counts = "UPDATE batches SET total=total+%s, cancelled=cancelled-%s WHERE id=%s"
        await db.execute(counts, (len(new), len(revived), batch))
        if any(row[1] in _ENDED for row in new):
            ended = [row[0] for row in new if row[1] in _ENDED]
            failed = sum(row[1] == JobState.FAILED for row in new)
            await end_jobs(db, batch, ended, failed=failed, succeeded=len(ended) - failed)
    if len(waiting) >= _MANY:
        # a plan of before sorts the whole queue for each fetch: 10 a second at 100,000 jobs instead of 1,500
        await db.execute("ANALYZE procrastinate_jobs")
    return len(new) + len(revived)


_ENDED: Final = (int(JobState.DONE), int(JobState.FAILED))


async def _enter_turn(db: AsyncConnection[Any], batch: str) -> None:
    """Wait until no other submit writes into the batch, up to the end of the transaction.

    Two that write the same jobs in different orders would wait for each other's rows.
    """
    await db.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (batch,))


async def hand_to_queue(db: AsyncConnection[Any], jobs: Sequence[tuple[JobName, int, str]]) -> None:
    """Hand jobs with priority and pool to procrastinate, unless they wait there; within a transaction."""
    locks = [queueing_lock_of(*name) for name, _, _ in jobs]
    query = "SELECT queueing_lock FROM procrastinate_jobs WHERE status='todo' AND queueing_lock = ANY(%s)"
    there = {lock for (lock,) in await (await db.execute(query, (locks,))).fetchall()}
    queued = [deferred(*job) for job in jobs if queueing_lock_of(*job[0]) not in there]
    if not queued:
        return
    try:
        await JobManager(PsycopgConnector()).batch_defer_jobs_async(queued, connection=db)
    except AlreadyEnqueued as error:  # a rescue has put one back since: as if the server had said so
        raise SerializationFailure("a job was queued by another program meanwhile") from error
    except ConnectorException as error:
        # procrastinate hides from `DatabaseLink` that the database is away
        raise (error.__cause__ or error) from None


async def end_jobs(
    db: AsyncConnection[Any],
    batch: str,
    names: Sequence[bytes],
    *,
    succeeded: int = 0,
    failed: int = 0,
    cancelled: int = 0,
) -> None:
    """Give jobs their places among the ends of the batch, and count them; within a transaction."""
    facts = {"batch": batch, "names": list(names), "ended": len(names)}
    counts = {"succeeded": succeeded, "failed": failed, "cancelled": cancelled}
    found = await (await db.execute(_COUNT, {**facts, **counts})).fetchone()
    assert found is not None  # noqa: S101 - jobs refer to their batch
    await db.execute(_END, {**facts, "before": found[0] - len(names)})
    await db.execute("SELECT pg_notify(%s, %s)", (RESULTS_CHANNEL, batch))

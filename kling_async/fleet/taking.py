"""Take jobs out of the queue and put them back: the statements, each of which is one transaction.

A job of procrastinate is ``todo``, or ``doing`` by a worker, and gone once its row in ``jobs`` has ended. One
that goes back after something was sent for it waits in a queue of its own, before all others: its task runs
and holds slots, so that it is looked after even by workers that have no room for new jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg
from procrastinate.jobs import Job
from psycopg.rows import dict_row

from kling_async.fleet.rows import stored_job
from kling_async.fleet.tasks import QUEUE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from psycopg import AsyncConnection

    from kling_async.fleet.rows import StoredJob
    from kling_async.fleet.tasks import JobName

__all__ = [
    "BEGUN",
    "JobFetch",
    "PutBack",
    "TakenJob",
    "begun_first",
    "fetch_lost",
    "fetch_next",
    "give_back",
    "remove_ended",
    "take",
]

BEGUN: Final = f"{QUEUE}/begun"
"""The queue of jobs whose task runs, or may run."""
_FIRST: Final = 1 << 30
"""The priority of jobs in it."""
_COLUMNS: Final = """id, status, task_name, priority, lock, queueing_lock, args, scheduled_at, queue_name,
    attempts, worker_id"""
_FETCH: Final = f"SELECT {_COLUMNS} FROM procrastinate_fetch_job_v2(%s::varchar[], %s)"  # noqa: S608 - ours
_FETCH_BEGUN: Final = f"""
    UPDATE procrastinate_jobs SET status='doing', worker_id=%s WHERE id = (
        SELECT id FROM procrastinate_jobs
        WHERE status='todo' AND priority>=%s AND (scheduled_at IS NULL OR scheduled_at<=now())
        ORDER BY priority DESC, id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING {_COLUMNS}"""  # noqa: S608 - ours
"""Found by its priority, without a walk along all that waits."""
_LOST: Final = f"""
    SELECT {_COLUMNS} FROM procrastinate_jobs
    WHERE worker_id=%s AND status='doing'
    AND (id, attempts) NOT IN (SELECT * FROM unnest(%s::bigint[], %s::integer[])) ORDER BY id LIMIT 1"""  # noqa: S608
_HAS: Final = "id=%(job)s AND attempts=%(attempts)s AND worker_id=%(worker)s AND status='doing'"
"""Whether a worker has a job still, and has not fetched it anew after others had put it back."""
_FINISH: Final = f"DELETE FROM procrastinate_jobs WHERE {_HAS}"  # noqa: S608 - a part of this module
_TAKE: Final = """
    UPDATE jobs SET fence=fence+1, worker=%s, taken_at=clock_timestamp()
    WHERE batch=%s AND identity=decode(%s, 'hex') AND done IS NULL
    RETURNING entry, request, fence, priority"""
BACK: Final = """
    numbered AS (
        SELECT *, row_number() OVER (PARTITION BY queueing_lock ORDER BY id) AS place FROM found),
    gone AS (
        DELETE FROM procrastinate_jobs p USING numbered n
        WHERE p.id=n.id AND (n.place>1 OR EXISTS (
            SELECT FROM procrastinate_jobs o WHERE o.queueing_lock=n.queueing_lock AND o.status='todo'))
        RETURNING p.id),
    rows AS (
        SELECT n.id, n.batch, n.identity, coalesce(j.priority, 0) AS priority, coalesce(j.pool, '') AS pool,
            j.done IS NULL AND (j.planned_at IS NOT NULL OR j.state IN (1, 2)) AS begun
        FROM numbered n LEFT JOIN jobs j ON j.batch=n.batch AND j.identity=n.identity
        WHERE n.id NOT IN (SELECT id FROM gone)),
    freed AS (
        UPDATE jobs j SET worker=NULL FROM rows
        WHERE j.batch=rows.batch AND j.identity=rows.identity AND j.fence=coalesce(%(fence)s, j.fence)),
    told AS (
        SELECT pg_notify('procrastinate_any_queue_v1', '{"type": "job_inserted", "job_id": 0}')
        WHERE EXISTS (SELECT FROM rows))
    UPDATE procrastinate_jobs p SET status='todo', worker_id=NULL, attempts=p.attempts+1,
        abort_requested=false,
        scheduled_at = CASE WHEN %(pause)s > 0 THEN now() + make_interval(secs => %(pause)s) END,
        queue_name = CASE WHEN rows.begun THEN %(begun)s ELSE %(queue)s || '/' || rows.pool END,
        priority = CASE WHEN rows.begun THEN %(first)s ELSE rows.priority END
    FROM rows LEFT JOIN told ON true WHERE p.id=rows.id
    RETURNING rows.batch, encode(rows.identity, 'hex'), rows.begun"""
"""Put the jobs of the table ``found`` back; where another one of the same name waits already, remove them."""
FOUND: Final = "id, queueing_lock, args->>'batch' AS batch, decode(args->>'identity', 'hex') AS identity"
"""The columns of ``found``."""
_GIVE_BACK: Final = f"""
    WITH found AS (
        SELECT {FOUND} FROM procrastinate_jobs
        WHERE {_HAS} FOR UPDATE),
    {BACK}"""  # noqa: S608 - parts of this module


class JobFetch(NamedTuple):
    """One fetch of a job out of the queue."""

    job: int
    """Procrastinate's number of the job."""
    attempts: int
    """How often it had gone back before."""

    @classmethod
    def of(cls, job: Job) -> JobFetch:
        """Return which fetch a job of procrastinate comes from."""
        assert job.id is not None  # noqa: S101 - it has a row
        return cls(job.id, job.attempts)


class TakenJob(NamedTuple):
    """A job that this worker has taken."""

    batch: str
    stored: StoredJob
    priority: int


class PutBack(NamedTuple):
    """How a job goes back."""

    pause: float = 0.0
    """Seconds for which nobody takes it."""
    fence: int | None = None
    """Under which it was taken; None: it was not, or by a worker that is dead."""

    def facts(self) -> dict[str, Any]:
        """Return the values for `BACK`."""
        return {**self._asdict(), "begun": BEGUN, "first": _FIRST, "queue": QUEUE}


def begun_first(jobs: Sequence[tuple[str, str, bool]]) -> list[JobName]:
    """Return the names of jobs that went back, those with tasks first."""
    ordered = sorted(jobs, key=lambda job: not job[2])
    return [(batch, identity) for batch, identity, _ in ordered]


async def fetch_next(db: AsyncConnection[Any], queues: Sequence[str], worker: int) -> Job | None:
    """Take the next job of some queues out of the queue."""
    if list(queues) == [BEGUN]:
        return await _job(db, _FETCH_BEGUN, (worker, _FIRST))
    return await _job(db, _FETCH, (list(queues), worker))


async def fetch_lost(db: AsyncConnection[Any], worker: int, known: Collection[JobFetch]) -> Job | None:
    """Return a job that was fetched by this worker, if an answer was lost that said so."""
    values = worker, [each.job for each in known], [each.attempts for each in known]
    return await _job(db, _LOST, values)


async def _job(db: AsyncConnection[Any], query: str, values: tuple[Any, ...]) -> Job | None:
    async with db.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query.encode(), values)
        row = await cursor.fetchone()
    return None if row is None or row["id"] is None else Job.from_row(row)


async def take(db: AsyncConnection[Any], name: JobName, worker: str) -> TakenJob | None:
    """Take a job under a new fence; None: it has ended, or is gone.

    Raises:
        RequestInvalid: A newer version of this package wrote its request.
    """
    batch, identity = name
    row = await (await db.execute(_TAKE, (worker, batch, identity))).fetchone()
    if row is None:
        return None
    entry, request, fence, priority = row
    return TakenJob(batch, stored_job(entry, request, fence), priority)


async def remove_ended(db: AsyncConnection[Any], fetched: JobFetch, worker: int) -> None:
    """Remove a job whose row has ended; harmless to repeat, and where another fetch has it by now."""
    await db.execute(_FINISH.encode(), {**fetched._asdict(), "worker": worker})


async def give_back(db: AsyncConnection[Any], fetched: JobFetch, worker: int, how: PutBack) -> None:
    """Put a job back that this worker has; harmless to repeat, and where another fetch has it by now."""
    try:
        await db.execute(_GIVE_BACK.encode(), {**how.facts(), **fetched._asdict(), "worker": worker})
    except psycopg.errors.UniqueViolation:  # one of that name was handed to the queue meanwhile
        await remove_ended(db, fetched, worker)

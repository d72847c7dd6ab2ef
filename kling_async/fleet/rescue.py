"""Put the jobs of dead workers back into the queue, and those that the queue has lost.

Every worker looks for dead ones twice a second, one of them at a time. A worker is dead when its heart has
not beaten for `STALLED` seconds, or for `GONE` seconds and its connection has ended, as that of a killed
process does at once. One that is taken for dead and lives loses its jobs, by their fences, but does no harm.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from kling_async.fleet.taking import BACK, FOUND, PutBack, begun_first
from kling_async.fleet.tasks import QUEUE, TASK
from kling_async.orchestrator.ledger.facts import LEASE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import AsyncConnection

    from kling_async.fleet.tasks import JobName

__all__ = ["GONE", "PRESENCE", "STALLED", "Rescue"]

log = logging.getLogger("kling_async.fleet")

STALLED: Final = 3.0
"""Seconds without a heartbeat after which a worker is dead."""
GONE: Final = 1.2
"""The same where its connection has ended, too."""
PRESENCE: Final = 0x6B6C6677
"""Names the advisory locks that workers hold while they are connected ("klfw"), beside their numbers."""
_ONE_AT_A_TIME: Final = 0x6B6C6672
"""Names the advisory lock of whoever puts jobs back ("klfr")."""
_FORGOTTEN: Final = 60.0
"""Seconds after which dead workers are no longer shown."""
_PAGE: Final = 1000
"""Jobs that are compared with the queue at once."""
_NAMED_MAX: Final = 20
"""Most jobs named in one line of the log."""

_STALLED_JOBS: Final = f"""
    WITH dead AS (
        SELECT w.id FROM procrastinate_workers w
        WHERE w.id<>%(own)s AND pg_postmaster_start_time() < now() - make_interval(secs => %(settled)s)
        AND (w.last_heartbeat < now() - make_interval(secs => %(stalled)s) OR (
            w.last_heartbeat < now() - make_interval(secs => %(gone)s) AND NOT EXISTS (
                SELECT FROM pg_locks l JOIN pg_database d ON d.oid=l.database
                WHERE l.locktype='advisory' AND d.datname=current_database()
                AND l.classid=%(presence)s AND l.objid=w.id)))),
    found AS (
        SELECT {FOUND} FROM procrastinate_jobs
        WHERE status='doing' AND task_name=%(task)s
        AND (worker_id IS NULL OR worker_id IN (SELECT id FROM dead)) FOR UPDATE SKIP LOCKED),
    {BACK}"""  # noqa: S608 - parts of this package
_FORGET: Final = """
    WITH forgotten AS (DELETE FROM workers WHERE beat < now() - make_interval(secs => %(seconds)s))
    DELETE FROM procrastinate_workers WHERE last_heartbeat < now() - make_interval(secs => %(seconds)s)"""
_UNQUEUED: Final = """
    WITH page AS (
        SELECT number, batch, identity, priority, pool, batch || ':' || encode(identity, 'hex') AS name
        FROM jobs WHERE number>%(after)s AND done IS NULL ORDER BY number LIMIT %(page)s),
    lost AS (
        SELECT * FROM page
        WHERE NOT EXISTS (
            SELECT FROM procrastinate_jobs p WHERE p.queueing_lock=page.name AND p.status='todo')
        AND name NOT IN (
            SELECT queueing_lock FROM procrastinate_jobs WHERE status='doing' AND queueing_lock IS NOT NULL)),
    queued AS (
        INSERT INTO procrastinate_jobs (queue_name, task_name, priority, queueing_lock, args)
        SELECT %(queue)s || '/' || pool, %(task)s, priority, name,
            jsonb_build_object('batch', batch, 'identity', encode(identity, 'hex'))
        FROM lost ON CONFLICT DO NOTHING RETURNING queueing_lock)
    SELECT (SELECT max(number) FROM page), (SELECT array_agg(queueing_lock) FROM queued)"""


class Rescue:
    """Puts jobs back; what it has seen so far of the table is its only state.

    Args:
        own: The number of this worker, which lives.
    """

    def __init__(self, own: int) -> None:
        self.own = own
        self._after = 0
        """Up to which job the table was compared with the queue."""

    async def step(self, db: AsyncConnection[Any], *, whole: bool = True) -> list[JobName]:
        """Put back the jobs of dead workers, and a page of those that the queue has lost; return them.

        Does nothing while another worker does the same.

        Args:
            db: A connection.
            whole: Whether to look for lost jobs, too, and to forget those who died long ago.
        """
        async with db.transaction():
            free = await db.execute("SELECT pg_try_advisory_xact_lock(%s)", (_ONE_AT_A_TIME,))
            if await free.fetchone() != (True,):
                return []
            rescued = await self._stalled(db)
            lost = await self._unqueued(db) if whole else []
            if whole:
                await db.execute(_FORGET, {"seconds": _FORGOTTEN})
        _tell("put back %d jobs of workers that are gone: %s", rescued)
        _tell("handed %d jobs to the queue anew, which had lost them: %s", lost)
        return rescued + lost

    async def _stalled(self, db: AsyncConnection[Any]) -> list[JobName]:
        values = {
            **PutBack().facts(),
            "own": self.own,
            "stalled": STALLED,
            "gone": GONE,
            "settled": LEASE,
            "presence": PRESENCE,
            "task": TASK,
        }
        return begun_first(await (await db.execute(_STALLED_JOBS.encode(), values)).fetchall())

    async def _unqueued(self, db: AsyncConnection[Any]) -> list[JobName]:
        values = {"after": self._after, "page": _PAGE, "queue": QUEUE, "task": TASK}
        row = await (await db.execute(_UNQUEUED, values)).fetchone()
        last, names = row or (None, None)
        self._after = last or 0
        return [(batch, identity) for batch, _, identity in (name.partition(":") for name in names or ())]


def _tell(text: str, jobs: Sequence[JobName]) -> None:
    if jobs:
        named = ", ".join(f"{batch}/{identity}" for batch, identity in jobs[:_NAMED_MAX])
        more = f" and {len(jobs) - _NAMED_MAX} more" if len(jobs) > _NAMED_MAX else ""
        log.warning(text, len(jobs), named + more)

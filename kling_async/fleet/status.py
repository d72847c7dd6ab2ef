"""Take a snapshot of a fleet: jobs, slots, workers, batches, in a few queries also with a million jobs.

Three kinds of queries make a snapshot:

- tables of few rows, read whole: ``batches``, ``workers``, and those of the slot ledger (`slots`);
- jobs that have not ended, counted in the index ``jobs_open`` (batch, priority, label, state), which no other
  job is in: 0.15 s for a million of them, and a few seconds just after they were submitted, until PostgreSQL
  has vacuumed the table;
- jobs that ended in the last five minutes, by the index ``jobs_ended`` (ended_at), and failures by reason, by
  the index ``jobs_failed`` (batch, reason).

The counts of the second and third kind are kept by a `FleetReader` and taken anew when twenty times as long
has passed as they took: whoever looks each second costs the server no more than a twentieth of one core.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kling_async.batch.entry import JobState
from kling_async.fleet.slots import FleetOrphan, FleetPool, SlotHolder, read_slots
from kling_async.redaction import Serializable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from psycopg import AsyncConnection

__all__ = ["FleetBatch", "FleetMember", "FleetQueueShare", "FleetReader", "FleetStatus"]

_SHARE: Final = 20
"""The time between two counts, in times of how long one takes."""
_MINUTE: Final = 60.0
_LEAST: Final = 15.0
"""Fewest seconds that a rate is made of."""
_WINDOW: Final = 300.0
"""Seconds for which ends of jobs count for the rate."""
_BATCHES_MAX: Final = 50
_QUEUE_MAX: Final = 30
_REASONS_MAX: Final = 12
_MEMBERS_MAX: Final = 200

_NOW: Final = "SELECT extract(epoch FROM clock_timestamp())::float8"
_TOTALS: Final = """
    SELECT coalesce(sum(total), 0)::bigint, coalesce(sum(succeeded), 0)::bigint,
        coalesce(sum(failed), 0)::bigint, coalesce(sum(cancelled), 0)::bigint,
        coalesce(sum(units), 0)::float8, count(*)
    FROM batches"""
_BATCHES: Final = """
    SELECT id, name, extract(epoch FROM created)::float8, total, succeeded, failed, cancelled, units
    FROM batches ORDER BY total > succeeded + failed + cancelled DESC, created DESC, name LIMIT %s"""
_WORKERS: Final = """
    SELECT name, extract(epoch FROM started)::float8, extract(epoch FROM beat)::float8, concurrency, running,
        version
    FROM workers ORDER BY beat DESC, token LIMIT %s"""
_OPEN: Final = """
    WITH grouped AS (
        SELECT batch, priority, label, state, count(*) AS jobs FROM jobs WHERE done IS NULL
        GROUP BY batch, priority, label, state),
    shares AS (
        SELECT priority, label, sum(jobs) AS jobs FROM grouped WHERE state=%(planned)s
        GROUP BY priority, label)
    (SELECT batch, state::int, NULL::int, NULL::text, sum(jobs)::bigint FROM grouped
        WHERE state<>%(planned)s GROUP BY batch, state)
    UNION ALL
    (SELECT NULL, NULL, priority, label, jobs::bigint FROM shares
        ORDER BY priority DESC, jobs DESC, label LIMIT %(most)s)
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, count(*) FROM shares"""
_ENDED: Final = """
    SELECT count(*) FILTER (WHERE ended_at > now() - make_interval(secs => %(minute)s)), count(*),
        count(*) FILTER (WHERE state=%(failed)s),
        extract(epoch FROM now() - min(ended_at))::float8
    FROM jobs
    WHERE ended_at > now() - make_interval(secs => %(window)s) AND NOT cancelled AND fence > 0"""
"""Ends by workers: jobs of which nothing was made, and those that came ended from a journal, are no work."""
_REASONS: Final = """
    SELECT reason, count(*) FROM jobs WHERE reason IS NOT NULL GROUP BY reason
    ORDER BY count(*) DESC, reason LIMIT %s"""


class FleetMember(Serializable, frozen=True, kw_only=True):
    """A process of the fleet: a worker, or another program that shares the account's slots."""

    name: str
    """Host and process id."""
    beat: float
    """Seconds since its last sign of life; a living process shows one each second."""
    slots: dict[str, int]
    """Slots that it holds, by pool."""
    asks: bool = False
    """Whether it asks the API about tasks, for all processes of the account."""
    jobs: int | None = None
    """Jobs that it has: running, or waiting for slots; None: it is no worker."""
    concurrency: int | None = None
    """Most new jobs that it has at once."""
    seconds: float | None = None
    """How long it has worked."""
    version: int | None = None
    """Of the tables that it knows."""


class FleetQueueShare(Serializable, frozen=True, kw_only=True):
    """Jobs in the queue with the same priority and label."""

    priority: int
    label: str
    jobs: int


class FleetBatch(Serializable, frozen=True, kw_only=True):
    """A batch, and how far its jobs have come."""

    name: str
    created: float
    """When it was first submitted to, seconds since 1970."""
    total: int
    queued: int
    running: int
    storing: int
    succeeded: int
    failed: int
    cancelled: int
    units: float


class FleetStatus(Serializable, frozen=True, kw_only=True):
    """The state of a fleet at one moment, in all its batches and accounts.

    `queued` jobs have no task yet, or their create is on its way; `running` ones have a task; of those that
    are `storing` the task succeeded, and files are being stored. The three and the ended ones are all jobs.
    """

    at: float
    """The time of the database's server, seconds since 1970."""
    total: int
    queued: int
    running: int
    storing: int
    succeeded: int
    failed: int
    cancelled: int
    units: float
    """Units spent by jobs that have ended."""
    last_minute: int
    """Jobs that workers ended in the last minute."""
    per_minute: float
    """Ended jobs a minute, over the last five minutes, or the time since the first end within these."""
    failed_lately: int
    """Jobs that failed in the last five minutes."""
    seconds_left: float | None
    """Until all jobs have ended at that rate; None: nothing has ended lately, or nothing is left to do."""
    counted: float
    """How many seconds before `at` jobs that have not ended, ends and failures were counted."""
    pools: list[FleetPool]
    members: list[FleetMember]
    orphans: list[FleetOrphan]
    """The oldest ones; `FleetPool.orphaned` counts the slots of all."""
    queue: list[FleetQueueShare]
    """Highest priority first; within one, labels with the most jobs first."""
    queue_more: int
    """Further pairs of a priority and a label, which are not listed."""
    failures: dict[str, int]
    """Failed jobs by the class of their error, the most frequent first."""
    batches: list[FleetBatch]
    """Those with jobs left to do first, then the newest."""
    batches_more: int
    """Further batches, which are not listed; all numbers above count their jobs."""

    @property
    def ended(self) -> int:
        """Jobs that have ended, in whatever way."""
        return self.succeeded + self.failed + self.cancelled


class _Counts(NamedTuple):
    """The counts of jobs that are kept for a while."""

    at: float
    open: Mapping[tuple[str, int], int]
    """Jobs that have a task, by batch and state."""
    queue: Sequence[FleetQueueShare]
    queue_more: int
    last_minute: int
    window: int
    failed_lately: int
    oldest: float | None
    """Seconds since the first end within the window."""
    failures: Mapping[str, int]

    def _of(self, state: JobState, batch: str | None) -> int:
        """Return how many jobs are in a state, of one batch or of all."""
        return sum(n for (name, code), n in self.open.items() if code == state and batch in (None, name))

    def stages(self, left: int, batch: str | None = None) -> dict[str, int]:
        """Return how many jobs are queued, running and storing, of one batch or of all.

        Args:
            left: Jobs that have not ended. The counts may be older, and are cut to fit.
            batch: The id of the batch.
        """
        running = min(self._of(JobState.CREATED, batch), left)
        storing = min(self._of(JobState.SUCCEEDED, batch), left - running)
        return {"queued": left - running - storing, "running": running, "storing": storing}

    @property
    def per_minute(self) -> float:
        """The rate of ends."""
        span = min(_WINDOW, max(_LEAST, self.oldest or 0.0))
        return self.window / span * _MINUTE


class FleetReader:
    """Takes snapshots, one after the other, of the same fleet.

    Args:
        clock: Monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: _Counts | None = None
        self._next = -math.inf

    async def read(self, db: AsyncConnection[Any]) -> FleetStatus:
        """Take a snapshot: one state of the database, but for counts that are kept.

        Args:
            db: A connection to the fleet's schema (`database.connect`), outside of a transaction.

        Raises:
            ConfigurationError: A newer program has made tables that this one cannot read.
            psycopg.Error: The database cannot be read.
        """
        async with db.transaction():
            await db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            (now,) = await _one(db, _NOW)
            total, succeeded, failed, cancelled, units, batches = await _one(db, _TOTALS)
            rows = await _all(db, _BATCHES, (_BATCHES_MAX,))
            workers = await _all(db, _WORKERS, (_MEMBERS_MAX,))
            use = await read_slots(db, now)
            counts = await self._counted(db, now)
        left = total - succeeded - failed - cancelled
        return FleetStatus(
            at=now,
            total=total,
            succeeded=succeeded,
            failed=failed,
            cancelled=cancelled,
            units=units,
            **counts.stages(left),
            last_minute=counts.last_minute,
            per_minute=counts.per_minute,
            failed_lately=counts.failed_lately,
            seconds_left=left / counts.per_minute * _MINUTE if left and counts.per_minute else None,
            counted=now - counts.at,
            pools=[*use.pools],
            members=_members(workers, use.holders, now)[:_MEMBERS_MAX],
            orphans=[*use.orphans],
            queue=[*counts.queue],
            queue_more=counts.queue_more,
            failures={**counts.failures},
            batches=[_batch(row, counts) for row in rows],
            batches_more=batches - len(rows),
        )

    async def _counted(self, db: AsyncConnection[Any], now: float) -> _Counts:
        """Return counts of jobs, taken now unless the last ones are not old enough."""
        began = self._clock()
        if self._counts is None or began >= self._next:
            self._counts = await _count(db, now)
            ended = self._clock()
            self._next = ended + (ended - began) * _SHARE
        return self._counts


async def _count(db: AsyncConnection[Any], now: float) -> _Counts:
    planned = {"planned": int(JobState.PLANNED), "most": _QUEUE_MAX}
    open_, queue, shares = dict[tuple[str, int], int](), list[FleetQueueShare](), 0
    for batch, state, priority, label, jobs in await _all(db, _OPEN, planned):
        if batch is not None:
            open_[batch, state] = jobs
        elif priority is not None:
            queue.append(FleetQueueShare(priority=priority, label=label, jobs=jobs))
        else:
            shares = jobs
    times = {"minute": _MINUTE, "window": _WINDOW, "failed": int(JobState.FAILED)}
    ended = await _one(db, _ENDED, times)
    failures = dict(await _all(db, _REASONS, (_REASONS_MAX,)))
    last_minute, window, failed_lately, oldest = ended
    more = shares - len(queue)
    return _Counts(now, open_, queue, more, last_minute, window, failed_lately, oldest, failures)


async def _all(db: AsyncConnection[Any], query: str, values: Any = None) -> Sequence[Any]:
    return await (await db.execute(query.encode(), values)).fetchall()


async def _one(db: AsyncConnection[Any], query: str, values: Any = None) -> Any:
    (row,) = await _all(db, query, values)
    return row


def _batch(row: Sequence[Any], counts: _Counts) -> FleetBatch:
    batch, name, created, total, succeeded, failed, cancelled, units = row
    return FleetBatch(
        name=name,
        created=created,
        total=total,
        succeeded=succeeded,
        failed=failed,
        cancelled=cancelled,
        units=units,
        **counts.stages(total - succeeded - failed - cancelled, batch),
    )


def _members(
    workers: Iterable[Sequence[Any]], holders: Iterable[SlotHolder], now: float
) -> list[FleetMember]:
    """Return all processes: workers first, each with the slots that it holds under the same name."""
    rest = {holder.name: holder for holder in _by_name(holders)}
    found: list[FleetMember] = []
    for name, started, beat, concurrency, running, version in workers:
        holder = rest.pop(name, None)
        facts = {"jobs": running, "concurrency": concurrency, "seconds": now - started, "version": version}
        slots, asks = ({}, False) if holder is None else ({**holder.slots}, holder.asks)
        member = FleetMember(name=name, beat=max(0.0, now - beat), slots=slots, asks=asks, **facts)
        found.append(member)
    found.sort(key=lambda member: member.name)
    others = [
        FleetMember(name=holder.name, beat=holder.beat, slots={**holder.slots}, asks=holder.asks)
        for holder in rest.values()
    ]
    return found + sorted(others, key=lambda member: member.name)


def _by_name(holders: Iterable[SlotHolder]) -> list[SlotHolder]:
    """Join what one process holds by several clients."""
    joined: dict[str, SlotHolder] = {}
    for holder in holders:
        if (other := joined.get(holder.name)) is None:
            joined[holder.name] = holder
            continue
        slots = dict(other.slots)
        for pool, count in holder.slots.items():
            slots[pool] = slots.get(pool, 0) + count
        beat, asks = min(other.beat, holder.beat), other.asks or holder.asks
        joined[holder.name] = SlotHolder(holder.name, beat, asks, slots)
    return list(joined.values())

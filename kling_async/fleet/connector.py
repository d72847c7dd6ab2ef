"""Procrastinate's way to the database, with patience: an outage ends no worker and loses no job.

`FleetQueue` takes the place of procrastinate's job manager in its worker. It decides which queues are asked,
knows which jobs this worker runs, and so finds a job whose fetch was answered into a broken connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import psycopg
from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Status
from procrastinate.manager import JobManager
from psycopg import AsyncConnection

from kling_async.core.pool_sizes import POOLS
from kling_async.errors import ConfigurationError
from kling_async.fleet.database import connection_options, open_connection
from kling_async.fleet.link import OUTAGE
from kling_async.fleet.taking import (
    BEGUN,
    JobFetch,
    PutBack,
    fetch_lost,
    fetch_next,
    give_back,
    remove_ended,
)
from kling_async.fleet.tasks import queue_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from procrastinate.connector import Notify
    from procrastinate.jobs import Job, Notification
    from procrastinate.manager import NotificationCallback

    from kling_async.fleet.link import DatabaseLink

__all__ = ["FleetQueue", "PatientConnector", "Registered"]

log = logging.getLogger("kling_async.fleet")

_LOOK: Final = 1.0
"""Seconds between two looks for jobs that come back while there is no room for new ones."""
_SOON: Final = 0.1
"""Seconds until the next try while the worker's heart was not heard: it beats again at any moment."""
_DOUBT: Final = 30.0
"""Seconds after which a fetch whose answer was lost has come through, or never will: the server may have been
in the middle of it when the connection ended."""
_FAULT_PAUSE: Final = 60.0
"""Seconds until a job whose run was ended by a fault of the program is taken again."""


class PatientConnector(PsycopgConnector):
    """The part of a connector that listens; it goes on after each outage.

    Args:
        dsn: The database.
    """

    def __init__(self, dsn: str) -> None:
        super().__init__()
        self._options = connection_options(dsn)

    async def open_async(self, pool: Any = None) -> None:
        """Do nothing: connections are made when they are needed."""

    async def close_async(self) -> None:
        """Do nothing: the one connection ends with its listening."""

    @contextlib.asynccontextmanager
    async def _get_standalone_connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        async with await open_connection(self._options) as connection:
            yield connection

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        """Hand on notifications until cancelled. What came during an outage is found by looking."""
        channels = list(channels)
        while True:
            try:
                await super().listen_notify(on_notification, channels)
            except ConnectorException as error:
                if not isinstance(error.__cause__, OUTAGE):
                    raise
            await asyncio.sleep(_LOOK)


class Registered(Protocol):
    """A worker's entry among those that are alive (`kling_async.fleet.pulse.Pulse`)."""

    @property
    def id(self) -> int:
        """Its number among procrastinate's workers."""
        ...

    @property
    def alive(self) -> bool:
        """Whether its heart was heard lately."""
        ...

    async def register(self) -> None:
        """Enter it, or enter it again: others have taken it for dead during an outage."""
        ...


class _FetchedJob:
    """A job that this worker has.

    Args:
        queue: The queue that it came from.
    """

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.back: PutBack | None = None
        """How it goes back once its run is over; None: it has ended."""

    @property
    def is_new(self) -> bool:
        """Whether it takes room; one that came with a task does not, as slots bound the number of these."""
        return self.queue != BEGUN


class FleetQueue(JobManager):
    """The queue as one worker sees it.

    Args:
        connector: Listens.
        link: Does the rest.
        registered: The worker.
    """

    def __init__(self, connector: PatientConnector, link: DatabaseLink, registered: Registered) -> None:
        super().__init__(connector)
        self._link = link
        self._registered = registered
        self.capacity = 0
        """Most jobs that this worker holds, besides those that came to it with a task."""
        self._fetched: dict[JobFetch, _FetchedJob] = {}
        """One job may be there twice: others took this worker for dead, and it has fetched the job anew."""
        self.shares: Mapping[str, int] = {}
        """Most new jobs of each pool that this worker holds, so that those of others find room."""
        self._closed: dict[str, float] = {}
        """Pools whose jobs are left alone until then, by the monotonic clock; "": all."""
        self._doubtful_until = -math.inf
        """Until when a fetch may come through whose answer was lost, by the monotonic clock."""
        self._change = asyncio.Event()
        self.stopped = False
        """Whether nothing new is taken."""

    @property
    def fetched(self) -> int:
        """How many jobs this worker has."""
        return len(self._fetched)

    def stop(self) -> None:
        """Take nothing new."""
        self.stopped = True
        self._change.set()

    def close_pool(self, pool: str, seconds: float) -> bool:
        """Leave the new jobs of a pool alone for a while, or of all pools (""); False: they were before."""
        until, now = self._closed.get(pool, 0.0), time.monotonic()
        self._closed[pool] = max(until, now + seconds)
        return until <= now

    def put_back(self, job: JobFetch, how: PutBack | None) -> None:
        """Note how a job goes back once its run is over; None: it has ended."""
        self._fetched[job].back = how

    # -- what procrastinate's worker asks for

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:  # noqa: ARG002 - the queues are chosen here
        """Return the next job, once there is room; None: there is none, or nothing new is taken."""
        while not self.stopped:
            self._change.clear()
            wanted, seconds = self._wanted()
            if wanted and (job := await self._fetch(wanted)) is not None:
                self._fetched[JobFetch.of(job)] = _FetchedJob(job.queue)
                return job
            if seconds is None:
                return None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._change.wait(), seconds)
        return None

    def _wanted(self) -> tuple[list[str], float | None]:
        """Return the queues to take from now, and the seconds to the next look; None: procrastinate waits."""
        if not self._registered.alive:  # what it took now others would put back at once
            return [], _SOON
        now = time.monotonic()
        closed = {pool for pool, until in self._closed.items() if until > now}
        new = Counter(job.queue for job in self._fetched.values() if job.is_new)
        if new.total() >= self.capacity:
            return [BEGUN], _LOOK
        if "" in closed:
            return [BEGUN], None
        wanted = [BEGUN]
        for pool in sorted(POOLS):
            queue = queue_of(pool)
            if pool not in closed and new[queue] < self.shares.get(pool, self.capacity):
                wanted.append(queue)
        return wanted, None

    async def _fetch(self, queues: list[str]) -> Job | None:
        """Take a job, through outages; one whose fetch was answered into a broken connection comes first."""

        async def fetch(db: AsyncConnection[Any]) -> Job | None:
            worker, now = self._registered.id, time.monotonic()
            if now < self._doubtful_until:
                if (lost := await fetch_lost(db, worker, self._fetched)) is not None:
                    log.warning("job %s was fetched when the database went away", _name(lost))
                    return lost
                self._doubtful_until = min(self._doubtful_until, now + _DOUBT)
            if self.stopped or not self._registered.alive:
                return None
            try:
                return await fetch_next(db, queues, worker)
            except BaseException:
                self._doubtful_until = math.inf  # until the server was reached, and a while longer
                raise

        while True:
            try:
                return await self._link.patient(fetch)
            except psycopg.errors.ForeignKeyViolation:  # others have taken this worker for dead
                await self._registered.register()
            except OUTAGE:  # the program ends
                return None

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        """Hand on notifications; one may be of a job that comes back with a task, for which there is room."""

        async def noticed(*, channel: str, notification: Notification) -> None:
            self._change.set()
            await on_notification(channel=channel, notification=notification)

        await super().listen_for_jobs(on_notification=noticed, queues=queues)

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:  # noqa: ARG002 - as procrastinate calls it
        """Remove a job that has ended, or put it back."""
        fetched, worker = JobFetch.of(job), self._registered.id
        back = self._fetched[fetched].back
        if status is Status.FAILED:  # by a fault of the program, which procrastinate has logged
            back = PutBack(pause=_FAULT_PAUSE)
        try:
            if back is None:
                await self._link.patient(partial(remove_ended, fetched=fetched, worker=worker))
            else:
                await self._link.patient(partial(give_back, fetched=fetched, worker=worker, how=back))
        except OUTAGE:  # the program ends: others find the job when this worker's heart stops
            log.warning("job %s could not be put back: the database is away", _name(job))
        except (psycopg.Error, ConfigurationError) as error:  # likewise, once its worker has left
            log.warning("job %s could not be put back: %s", _name(job), error)
        finally:
            del self._fetched[fetched]
            self._change.set()

    async def register_worker(self) -> int:
        """Return the worker's number: it was entered before."""
        return self._registered.id

    async def unregister_worker(self, worker_id: int) -> None:
        """Do nothing: the worker's entry ends with its pulse."""

    async def update_heartbeat(self, worker_id: int) -> None:
        """Do nothing: its pulse beats, also while the worker drains."""

    async def prune_stalled_workers(self, seconds_since_heartbeat: float) -> list[int]:  # noqa: ARG002 - as procrastinate calls it
        """Do nothing: dead workers are removed after their jobs were put back."""
        return []

    async def list_jobs_to_abort_async(self, queue: str | None = None) -> Iterable[int]:  # noqa: ARG002 - as procrastinate calls it
        """Return nothing: a job cannot be aborted, its task would run on."""
        return []


def _name(job: Job) -> str:
    return f"{job.task_kwargs.get('batch')}/{job.task_kwargs.get('identity')}"

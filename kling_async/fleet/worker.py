"""A worker: takes jobs of a fleet and carries them, as many as keep the account's slots busy.

The queue is procrastinate's, which runs a coroutine for each job; how far the job has come stands in its row.
SIGTERM or SIGINT drains the worker: it takes nothing new, gives back at once what is not sent, and waits for
what runs, for ``grace`` seconds. A second signal, or the end of these, leaves the rest to other workers,
which adopt the tasks. A worker that is killed leaves its jobs to `kling_async.fleet.rescue`.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import anyio
import procrastinate
from procrastinate.worker import Worker as QueueWorker

from kling_async.batch.budget import BatchControl, Budget
from kling_async.batch.exclusions import Exclusions
from kling_async.batch.failures import FailureAction
from kling_async.batch.lifecycle import BatchLife
from kling_async.batch.options import ready_folder
from kling_async.batch.pausing import PauseSwitch
from kling_async.core.budget import is_amount
from kling_async.core.lifecycle import Lifecycle
from kling_async.errors import ClientClosed, ConfigurationError, KlingError, Problem, RequestInvalid
from kling_async.fleet.connector import FleetQueue, PatientConnector
from kling_async.fleet.database import connect, refusals, shown_dsn
from kling_async.fleet.endings import Left
from kling_async.fleet.journal import JournalWriter
from kling_async.fleet.keys import admit_key
from kling_async.fleet.link import OUTAGE, DatabaseLink, OutageLog
from kling_async.fleet.pulse import Pulse
from kling_async.fleet.schema import need_fleet_tables
from kling_async.fleet.taking import JobFetch, PutBack, take
from kling_async.fleet.tasks import QUEUE, TASK
from kling_async.runtime.signals import SignalWatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from procrastinate import JobContext

    from kling_async.core.lifecycle import Moves
    from kling_async.fleet.endings import NewCarrier
    from kling_async.fleet.taking import TakenJob
    from kling_async.orchestrator.engine import Engine

__all__ = ["WORKER_MOVES", "FleetWorker", "WorkOptions", "WorkerState", "room"]

log = logging.getLogger("kling_async.fleet")

_LEAST: Final = 16
"""Fewest jobs that a worker holds by default, however few slots the account has."""
_SPARE: Final = 2
"""Places that jobs of one pool leave to those of others."""
_LOOK: Final = 1.0
"""Seconds between two looks into the queue, where no notification comes."""
_NEVER: Final = 86400.0
"""Seconds between things that procrastinate's worker need not do."""
_CLOSED: Final = 60.0
"""Seconds for which jobs refused by the account are left alone; the client then lets one try."""
_REFUSALS: Final = 10
"""Equal refusals of different jobs in a row after which others like them are left alone for a while."""
_PAUSE: Final = 15.0
"""Seconds until a job that could not be ended is taken again; doubles each time up to `_PAUSE_MAX`."""
_PAUSE_MAX: Final = 600.0
_DOUBLINGS: Final = 6
_OUTDATED: Final = "the fleet's tables now need a newer program: upgrade kling-async here"


class QueueRunner(Protocol):
    """The part of procrastinate's worker that is used here, with types."""

    async def run(self) -> None:
        """Run jobs until stopped, and those under way to their ends."""

    def stop(self) -> None:
        """Take no more jobs."""


class WorkerState(enum.Enum):
    """How far a worker has come."""

    TAKING = "taking"
    """Takes jobs."""
    DRAINING = "draining"
    """Takes nothing new; waits for the tasks that run."""
    LEAVING = "leaving"
    """Waits for nothing any more."""
    ENDED = "ended"
    """All its jobs have ended, or are back in the queue."""


_W = WorkerState
WORKER_MOVES: Final[Moves[WorkerState]] = {
    _W.TAKING: frozenset({_W.DRAINING, _W.LEAVING, _W.ENDED}),  # at once: its queue has failed
    _W.DRAINING: frozenset({_W.LEAVING, _W.ENDED}),
    _W.LEAVING: frozenset({_W.ENDED}),
    _W.ENDED: frozenset(),
}


class WorkOptions(NamedTuple):
    """The options of a worker."""

    out: Path | None = None
    """The folder for files; None: none are stored, whoever reads the results gets addresses."""
    concurrency: int | None = None
    """Most new jobs at once; None: twice the account's slots, at least 16."""
    retries: int = 0
    """How many new tasks may be made for one that failed."""
    grace: float | None = None
    """Seconds that running tasks get to end when the worker drains; None: as long as they take."""
    signals: bool = True
    """Whether SIGINT and SIGTERM drain it, if the program has no handlers for them."""

    def check(self) -> None:
        """Check the numbers; those that a batch has too are checked with its options.

        Raises:
            RequestInvalid: Names every option that cannot be used.
        """
        problems = []
        most, grace = self.concurrency, self.grace
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            problems.append(Problem("concurrency", f"must be a whole number from 1, not {most!r:.40}"))
        if grace is not None and not is_amount(grace):
            problems.append(Problem("grace", f"must be a number of seconds from 0, not {grace!r:.40}"))
        if problems:
            raise RequestInvalid("fleet", problems)


def room(concurrency: int | None, slots: Mapping[str, int]) -> tuple[int, dict[str, int]]:
    """Return how many new jobs a worker holds, in all and of each pool: twice its slots, never all places.

    Jobs wait for slots in the worker that took them: one pool's must not fill it while another's slots idle.

    Args:
        concurrency: The number in all that the caller wants; None: what keeps the slots busy.
        slots: The account's slots by pool.
    """
    wanted = max(_LEAST, 2 * sum(slots.values())) if concurrency is None else concurrency
    most = max(1, wanted - _SPARE)
    return wanted, {pool: min(most, max(_LEAST, 2 * size)) for pool, size in slots.items()}


def _pause(left: Left, attempts: int) -> float:
    """Return the seconds for which a job that goes back is left alone, so that it is not refused at once.

    Args:
        left: Why it goes back.
        attempts: How often it went back before.
    """
    if left.error is None or left.action is FailureAction.POOL:  # its pool is left alone instead
        return 0.0
    if left.action is FailureAction.ACCOUNT:
        return _CLOSED
    return float(min(_PAUSE_MAX, _PAUSE * 2 ** min(attempts, _DOUBLINGS)))


class FleetWorker:
    """One worker, for one run.

    Args:
        dsn: The database.
        engine: Of the client that makes the tasks.
        options: How it works.
        carrier: Makes what carries its jobs.
    """

    def __init__(self, dsn: str, engine: Engine, options: WorkOptions, carrier: NewCarrier) -> None:
        options.check()
        self._dsn = dsn
        self._engine = engine
        self._options = options
        self._life = Lifecycle(WORKER_MOVES, WorkerState.TAKING)
        self._outages = OutageLog(dsn, "work waits for it")
        self._links = [DatabaseLink(dsn, self._outages), DatabaseLink(dsn, self._outages)]
        self._pulse = Pulse(dsn, self._outages, self._counts, partial(self.leave, _OUTDATED))
        self._queue = FleetQueue(PatientConnector(dsn), self._links[0], self._pulse)
        writer = JournalWriter(self._links[1])
        self._control = BatchControl(BatchLife(), Budget(None), Exclusions(_REFUSALS))
        self._carrier = carrier(writer, self._control, PauseSwitch(engine.scope))
        self._signals = SignalWatcher(self._heard, enabled=options.signals)
        self._stop = asyncio.Event()
        self.left = 0
        """Tasks that ran when it left: they run on, for other workers."""

    @property
    def state(self) -> WorkerState:
        """How far the worker has come."""
        return self._life.state

    @property
    def name(self) -> str:
        """The worker as people see it: host and process."""
        return self._pulse.name

    # -- its run

    async def run(self) -> None:
        """Work until drained.

        Raises:
            ConfigurationError: The server cannot be reached, or its tables are of another version.
            RequestInvalid: Nothing can be stored in the folder.
        """
        try:
            self._engine.scope.enter()
            await ready_folder(self._options.out)
            with refusals(self._dsn, entering=True):
                async with connect(self._dsn) as db:  # unlike later, an outage is an error now
                    await need_fleet_tables(db)
                    await admit_key(db, self._engine.transport.base_url, self._engine.account)
            await self._engine.packs.known(["video", "image"])
            async with self._present():
                await self._work(self._queue_worker())
        except OUTAGE:
            if not self._outages.leaving:
                raise
            log.warning("worker %s has ended: the database is away", self.name)
        finally:
            self._life.move(WorkerState.ENDED)

    @contextlib.asynccontextmanager
    async def _present(self) -> AsyncIterator[None]:
        """Be a worker of the fleet, by the server's clock."""
        scope, own_clock = self._engine.scope, self._engine.scope.now
        try:
            await self._pulse.start()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._pulse.close()
            raise
        scope.now = self._pulse.clock.now
        self._make_room()
        self._signals.start()
        self._engine.limiter.holds.subscribe(self._carrier)
        text = "worker %s takes jobs from %s, at most %d at once"
        log.info(text, self.name, shown_dsn(self._dsn), self._queue.capacity)
        if not self._engine.limiter.shared:
            text = "worker %s shares no slots with the others, each takes the whole limit: Client(slots=dsn)"
            log.warning(text, self.name)
        try:
            yield
        finally:
            self._signals.stop()
            self._engine.limiter.holds.unsubscribe(self._carrier)
            # the caller may be cancelled: what it leaves is given back all the same
            with anyio.CancelScope(shield=True):
                await self._pulse.close()
                for link in self._links:
                    await link.close()
            scope.now = own_clock
            log.info("worker %s has ended", self.name)

    async def _work(self, worker: QueueRunner) -> None:
        running = asyncio.create_task(worker.run(), name="kling_async fleet worker")
        stopping = asyncio.create_task(self._stop.wait(), name="kling_async fleet stop")
        try:
            await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                worker.stop()
                await self._drained(running)
            await running
        finally:
            stopping.cancel()
            if not running.done():  # cancelled, or closed by the program
                with anyio.CancelScope(shield=True):
                    self.leave("its program ends")
                    worker.stop()
                    await asyncio.wait([running])

    async def _drained(self, running: asyncio.Task[None]) -> None:
        """Wait for the end of what runs; leave the rest when time is over."""
        done, _ = await asyncio.wait([running], timeout=self._options.grace)
        if not done:
            self.leave(f"{self._options.grace:g} s are over")

    def _queue_worker(self) -> QueueRunner:
        app = procrastinate.App(connector=self._queue.connector)
        app.job_manager = self._queue
        app.task(name=TASK, queue=QUEUE, pass_context=True)(self._job)
        return QueueWorker(
            app,
            name=self.name,
            concurrency=1 << 30,  # the queue itself knows how many there may be
            fetch_job_polling_interval=_LOOK,
            abort_job_polling_interval=_NEVER,
            update_heartbeat_interval=_NEVER,
            install_signal_handlers=False,
        )

    def _counts(self) -> tuple[int, int]:
        return self._queue.fetched, self._queue.capacity

    def _make_room(self) -> None:
        """Tell the queue how many jobs there is room for, by what is known of the account's slots."""
        slots = {name: pool.limit for name, pool in self._engine.limiter.pools.items()}
        self._queue.capacity, self._queue.shares = room(self._options.concurrency, slots)

    # -- one job

    async def _job(self, context: JobContext, batch: str, identity: str) -> None:
        """Carry a job; note how it goes back if it has not ended."""
        fetched = JobFetch.of(context.job)
        self._queue.put_back(fetched, PutBack())  # should anything end this
        taken: TakenJob | None = None
        left: Left | None = Left()
        try:
            taken = await self._links[0].patient(partial(take, name=(batch, identity), worker=self.name))
            if taken is None:
                left = None
            elif self.state is not WorkerState.LEAVING:
                left = await self._carrier.carry(taken)
        except OUTAGE:
            log.warning("job %s/%s: the database is away while the worker ends", batch, identity)
        except ConfigurationError as error:  # of the database: the next job would fare no better
            self.leave(error.message)
        except (RequestInvalid, asyncio.CancelledError) as error:
            left = Left(error if isinstance(error, Exception) else None)
        self._make_room()
        if left is None:
            self._queue.put_back(fetched, None)
            return
        if isinstance(left.error, ClientClosed):
            self.leave("its client was closed")
            left = Left()
        fence = None if taken is None else taken.stored.fence
        self._queue.put_back(fetched, PutBack(_pause(left, fetched.attempts), fence))
        if left.error is not None:
            self._tell(f"{batch}/{identity}", left, taken)

    def _tell(self, name: str, left: Left, taken: TakenJob | None) -> None:
        error = left.error
        what = f"{type(error).__name__}: {error}" if isinstance(error, KlingError) else repr(error)
        if left.action is FailureAction.ACCOUNT:
            if self._queue.close_pool("", _CLOSED):
                text = "worker %s takes nothing new for %.0f s, for jobs would fail alike: %s"
                log.warning(text, self.name, _CLOSED, what)
        elif left.action is FailureAction.POOL and taken is not None:
            pool = taken.stored.entry.pool
            if self._queue.close_pool(pool, _CLOSED):
                text = "worker %s takes no jobs of pool %s for %.0f s: %s"
                log.warning(text, self.name, pool, _CLOSED, what)
        else:  # of creates that are held the client itself has told
            level = logging.INFO if left.action is FailureAction.LATER else logging.WARNING
            log.log(level, "job %s goes back into the queue: %s", name, what)

    # -- its end

    def drain(self, why: str = "drain()") -> None:
        """Take nothing new, give back what is not sent, wait for what runs."""
        if self.state is not WorkerState.TAKING:
            return
        if not self._pulse.entered:  # it has nothing yet, and may wait for the database
            self.leave(why)
            return
        self._life.move(WorkerState.DRAINING)
        self._end_taking()
        text = "worker %s drains (%s): takes nothing new, waits for %d tasks: %s"
        sent = self._carrier.sent()
        log.warning(text, self.name, why, len(sent), ", ".join(sent[:20]) or "none")

    def leave(self, why: str = "leave()") -> None:
        """Wait for nothing any more: tasks run on, and other workers adopt them."""
        if self.state in (WorkerState.LEAVING, WorkerState.ENDED):
            return
        self._life.move(WorkerState.LEAVING)
        sent = self._carrier.sent()
        self.left = len(sent)
        self._outages.leaving = True
        self._end_taking()
        self._carrier.leave()
        text = "worker %s leaves (%s); %d tasks run on, for other workers: %s"
        level = logging.WARNING if sent else logging.INFO
        log.log(level, text, self.name, why, len(sent), ", ".join(sent[:20]) or "none")

    def _end_taking(self) -> None:
        self._control.life.stop("stop()")
        self._queue.stop()
        self._carrier.drop_unsent()
        self._stop.set()

    def _heard(self, signal: str) -> None:
        if self.state is WorkerState.TAKING:
            self.drain(signal)
        else:
            self._signals.stop()  # a third signal is left to the process's own handlers
            self.leave(signal)

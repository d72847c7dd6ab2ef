"""`Fleet`: the jobs of many machines, as one program sees them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from kling_async.errors import Problem, RequestInvalid
from kling_async.fleet.again import cancel_queued, retry_failed
from kling_async.fleet.carrying import Carrier
from kling_async.fleet.database import connect, connection_options, refusals, shown_dsn
from kling_async.fleet.link import DatabaseLink, OutageLog
from kling_async.fleet.moving import (
    batch_name,
    mark_moved,
    need_here,
    need_moved,
    need_name,
    submit_moved,
)
from kling_async.fleet.pulse import ServerClock
from kling_async.fleet.results import FleetResults, outcomes
from kling_async.fleet.schema import need_fleet_tables, upgrade
from kling_async.fleet.status import FleetReader
from kling_async.fleet.submit import submit
from kling_async.fleet.submit_options import need_batch_name, need_priority
from kling_async.fleet.worker import FleetWorker, WorkOptions
from kling_async.fleet.writing import find_batch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from types import TracebackType

    from kling_async.batch.exported import Exported
    from kling_async.batch.outcomes import Outcome
    from kling_async.batch.source import Requests
    from kling_async.fleet.again import Cancelled, Retried
    from kling_async.fleet.schema import Versions
    from kling_async.fleet.status import FleetStatus
    from kling_async.fleet.submit import Submitted
    from kling_async.fleet.writing import BatchRow
    from kling_async.orchestrator.engine import Engine
    from kling_async.wire.requests import TaskRequest

__all__ = ["Fleet"]

_LONG: Final = 300.0
"""Seconds that a chunk of jobs may take to be written, over a slow line, too."""


class HasEngine(Protocol):
    """A `Client`, as far as a worker needs one."""

    _engine: Engine


class Fleet:
    """The jobs of a fleet, in one PostgreSQL database. Enter it with ``async with``; many programs may.

    Args:
        dsn: The database: ``postgresql://user@host:5432/name``, or ``host=... dbname=...``. The password is
            best given by ``PGPASSWORD`` or ``~/.pgpass``. PostgreSQL 14 or newer.

    Raises:
        ConfigurationError: The DSN cannot be read, or the extra ``fleet`` is not installed; on entering: the
            server cannot be reached, or its tables are of another version.
    """

    def __init__(self, dsn: str) -> None:
        connection_options(dsn)
        self._dsn = dsn
        self._outages = OutageLog(dsn, "commands wait for it")
        self._link: DatabaseLink | None = None
        self._clock = ServerClock()

    def __repr__(self) -> str:
        return f"<Fleet {shown_dsn(self._dsn)}>"

    async def init(self) -> tuple[Versions, Versions]:
        """Make the tables, or bring them up to date; return the versions before and after.

        Harmless to repeat, also by many at once and beside workers. The `Fleet` need not be entered.

        Raises:
            ConfigurationError: The server cannot be reached, or refuses to make tables, or these need a newer
                program.
        """
        with refusals(self._dsn, entering=True):
            async with connect(self._dsn) as db:
                return await upgrade(db)

    async def __aenter__(self) -> Self:
        with refusals(self._dsn, entering=True):
            async with connect(self._dsn) as db:
                await need_fleet_tables(db)
                await self._clock.set(db)
        self._link = DatabaseLink(self._dsn, self._outages)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def _opened(self) -> DatabaseLink:
        if self._link is None:
            raise RuntimeError("a fleet is entered first: async with Fleet(dsn) as fleet")
        return self._link

    @asynccontextmanager
    async def _long_link(self) -> AsyncIterator[DatabaseLink]:
        """Open a connection of its own for statements that may take long."""
        link = DatabaseLink(self._dsn, self._outages, answer=_LONG)
        try:
            yield link
        finally:
            await link.close()

    def now(self) -> float:
        """Return the time by the server's clock, seconds since 1970: ``Client(now=fleet.now)``.

        A machine's own clock may be wrong; signatures and what is written down then still agree.
        """
        self._opened()
        return self._clock.now()

    async def _batch(self, name: str) -> BatchRow:
        """Return a batch that is there."""
        found = await self._opened().patient(partial(find_batch, name=name))
        if found is None:
            text = f"no batch {name!r:.80} was submitted to this database; kling fleet status lists them"
            raise RequestInvalid("fleet", [Problem("batch", text)])
        return found

    async def submit(
        self,
        requests: Requests[Any],
        *,
        batch: str,
        priority: int = 0,
        label: str | Callable[[TaskRequest[Any]], str] = "",
        on_bad: Callable[[RequestInvalid], object] | None = None,
    ) -> Submitted:
        """Write jobs, each once, and hand the new ones to the queue, 10,000 at a time.

        The same request under the same key is the same job, however often it is submitted; two equal ones in
        one input are two jobs. Files are read and stored with their jobs, since these run on any machine.
        Cut short, it can be repeated; outages of the database are waited through. Nothing is sent to the
        vendor.

        Args:
            requests: Requests, or pairs of a key and a request; any iterable or async iterable, also one that
                never ends.
            batch: The name that the jobs are found by: 1 to 64 letters, digits, dots, dashes, underscores.
            priority: Jobs of higher priority go first, -32768 to 32767.
            label: Labels take turns within a priority; or a function of the request that returns one.
            on_bad: Called with the error of each wrong request, which is left out. Default: it is raised.

        Raises:
            RequestInvalid: A request, with its place in the input, or an option is wrong. Nothing was written
                then of a collection in memory or of a file of `read_jsonl` or `read_csv`; of an input that
                can be read once, at most the chunks before.
        """
        self._opened()
        need_batch_name(batch)
        async with self._long_link() as link:
            return await submit(link, requests, batch, priority=priority, label=label, on_bad=on_bad)

    async def submit_exported(
        self, exported: Exported, *, batch: str | None = None, priority: int = 0, moved: bool = False
    ) -> Submitted:
        """Move the jobs of a journal into the fleet: what ran is adopted here, what is done is not repeated.

        The journal is marked as moved before anything is written; from then on no batch goes on with it. The
        jobs keep their external ids. Cut short, it can be repeated.

        Args:
            exported: Of `kling_async.fleet.moving.read_movable`.
            batch: The batch's name. Default: that in the journal's mark, else that of the journal's file.
            priority: Jobs of higher priority go first.
            moved: The journal lies on another machine, and was marked there by ``kling journal move`` before
                it was exported.

        Raises:
            JournalError: The journal is not here and ``moved`` is not given, or was not marked before it was
                exported; a batch runs with it; its jobs have moved to another fleet or batch; or a job that
                may have to be sent has no request. Nothing was changed.
            RequestInvalid: The batch's name is another's, or the journal's jobs are a batch of another name.
        """
        name = batch_name(exported) if batch is None else batch
        need_batch_name(name)
        need_priority(priority)
        await self._opened().patient(partial(need_name, name=name, journal=exported.journal))
        if moved:
            need_moved(exported)
        else:
            need_here(exported)
            await asyncio.to_thread(mark_moved, exported, shown_dsn(self._dsn), name)
        marked = None if moved else Path(exported.path)
        async with self._long_link() as link:
            return await submit_moved(link, exported, name, priority, marked=marked)

    def results(
        self, batch: str, *, follow: bool = True, after: int = 0, folder: str | Path | None = None
    ) -> FleetResults:
        """Return the outcomes of a batch, which come as its jobs end, on whatever machine; each job's once.

        The addresses of a result are erased from the database once the next outcome comes; read again, an
        outcome has its ids, and ``client.attach(type, task_id=...)`` renews the addresses. Several programs
        may read one batch; each gets all outcomes. Outages of the database are waited through.

        Args:
            batch: The batch's name.
            follow: Wait until all jobs have ended; False: end with those that have.
            after: Go on after this place, the `FleetResults.place` of an earlier reading.
            folder: Where the workers' folder of files is on this machine, for `Outcome.files`.

        Raises:
            RequestInvalid: While iterating: there is no such batch.
        """
        where = None if folder is None else Path(folder)
        return FleetResults(partial(self._outcomes, batch, follow=follow, folder=where), after)

    async def _outcomes(
        self, batch: str, after: int, *, follow: bool, folder: Path | None
    ) -> AsyncGenerator[tuple[int, Outcome[Any]], None]:
        row = await self._batch(batch)
        reading = outcomes(self._dsn, row.id, follow=follow, after=after, folder=folder)
        async with aclosing(reading):
            async for place, outcome in reading:
                yield place, outcome

    async def work(
        self,
        client: HasEngine,
        *,
        concurrency: int | None = None,
        out: str | Path | None = None,
        retries: int = 0,
        grace: float | None = None,
        signals: bool = True,
        on_start: Callable[[FleetWorker], object] | None = None,
    ) -> None:
        """Take jobs of all batches and carry them, until a signal drains the worker.

        A task is created once, whatever becomes of the worker: jobs of one that was killed are adopted by
        others within seconds. SIGTERM or SIGINT drains it: it takes nothing new, gives back what is not sent,
        and waits for what runs; a second signal leaves at once. Cancelled, it leaves at once, too. Outages of
        the database are waited through. While it works the client's wall clock is that of the server.

        Args:
            client: Makes the tasks: ``Client(slots=dsn)``, which shares the account's slots with the others.
            concurrency: Most new jobs at once. Default: twice the account's slots, at least 16.
            out: The folder for files. Default: none are stored; whoever reads the results gets addresses.
            retries: How many new tasks may be made for one that failed and may succeed.
            grace: Seconds that running tasks get to end. Default: as long as they take.
            signals: Whether SIGINT and SIGTERM drain it, if the program has no handlers for them.
            on_start: Called with the `FleetWorker`, whose ``drain()`` and ``leave()`` do the same as signals.

        Raises:
            ConfigurationError: The server cannot be reached, its tables are of another version, or the
                fleet's tasks are made at another address of the API.
            RequestInvalid: Nothing can be stored in the folder, or an option is wrong.
        """
        folder = None if out is None else Path(out)
        options = WorkOptions(folder, concurrency, retries, grace, signals)
        engine = client._engine  # noqa: SLF001 - a door of the same package
        carrier = partial(Carrier, engine, out=folder, retries=retries)
        worker = FleetWorker(self._dsn, engine, options, carrier)
        if on_start is not None:
            on_start(worker)
        await worker.run()

    async def status(self) -> FleetStatus:
        """Return a snapshot: jobs, slots, workers, batches, rate; 0.2 s with a million jobs.

        Whoever looks each second uses a `kling_async.fleet.status.FleetReader`, or the dashboard.
        """
        return await self._opened().patient(FleetReader().read)

    async def retry(self, batch: str) -> Retried:
        """Try the failed jobs of a batch again, as `Client.batch` does with ``retry_failed=True``.

        A new task is made where the failure proves that there is none; else the old one is looked up first.

        Raises:
            RequestInvalid: There is no such batch.
        """
        row = await self._batch(batch)
        async with self._long_link() as link:
            return await retry_failed(link, row.id)

    async def cancel_queued(self, batch: str) -> Cancelled:
        """Take back the jobs of a batch of which nothing was sent; what was sent goes on.

        Raises:
            RequestInvalid: There is no such batch.
        """
        row = await self._batch(batch)
        async with self._long_link() as link:
            return await cancel_queued(link, row.id)

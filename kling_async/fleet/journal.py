"""The journal of a worker: the rows of the jobs that it took, in place of a batch's file.

Every write names the job's *fence*, the number that each taking of the job increments. The write of a worker
from whom the job was taken meanwhile is refused, so that it cannot undo what the next one wrote. Writes that
come together are one transaction; they are absolute, so that one whose answer was lost is repeated.
"""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kling_async.batch.entry import JobState, pack, spent_on
from kling_async.errors import JournalError
from kling_async.fleet.rows import dump_addresses
from kling_async.fleet.writing import end_jobs
from kling_async.orchestrator.ledger.facts import LEASE
from kling_async.runtime.boot_time import boot_time
from kling_async.runtime.loop import is_pending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from psycopg import AsyncConnection

    from kling_async.batch.entry import Entry
    from kling_async.fleet.link import DatabaseLink
    from kling_async.records import TaskRecord

__all__ = ["FencedPut", "FleetJournal", "JournalWriter", "StaleFence", "write_puts"]

_LOCK: Final = """
    SELECT j.batch, j.identity, j.fence, j.done IS NOT NULL
    FROM jobs j JOIN unnest(%s::text[], %s::bytea[]) AS n (batch, identity) USING (batch, identity)
    ORDER BY j.number FOR UPDATE OF j"""
_WRITE: Final = """
    UPDATE jobs SET state=n.state, attempt=n.attempt, entry=n.entry, reason=n.reason, units=n.units,
        planned_at = CASE
            WHEN n.sending IS NULL THEN jobs.planned_at WHEN n.sending THEN clock_timestamp() END
    FROM unnest(%s::text[], %s::bytea[], %s::smallint[], %s::integer[], %s::bytea[], %s::text[],
        %s::double precision[], %s::boolean[])
        AS n (batch, identity, state, attempt, entry, reason, units, sending)
    WHERE jobs.batch=n.batch AND jobs.identity=n.identity"""
_SPENT: Final = "UPDATE batches SET units=units+%s WHERE id=%s"
_ADDRESSES: Final = """
    INSERT INTO addresses (batch, identity, record) VALUES (%s, %s, %s)
    ON CONFLICT (batch, identity) DO UPDATE SET record=excluded.record"""
_ENDED: Final = (JobState.DONE, JobState.FAILED)


class StaleFence(JournalError):
    """Another worker has the job now, or it was taken back: this one's run of it ends without a trace."""


class FencedPut(NamedTuple):
    """An entry to be written under a fence."""

    batch: str
    fence: int
    entry: Entry
    addresses: bytes | None = None
    """The record of the task with its addresses; None: there is none."""

    @property
    def name(self) -> tuple[str, bytes]:
        """The key of the job's row."""
        return self.batch, bytes.fromhex(self.entry.identity)

    @property
    def ends(self) -> bool:
        """Whether nothing is left to do for the job."""
        return self.entry.state in _ENDED

    @property
    def sending(self) -> bool | None:
        """Whether a create may be sent from now on; None: that was decided before."""
        return self.entry.times.planned is not None if self.entry.state is JobState.PLANNED else None

    def columns(self) -> tuple[Any, ...]:
        """Return the values for `_WRITE`."""
        entry = self.entry
        reason = entry.error.kind if entry.state is JobState.FAILED and entry.error is not None else None
        units = spent_on(entry) if entry.ended else None
        return (*self.name, int(entry.state), entry.attempt, pack(entry), reason, units, self.sending)


async def write_puts(db: AsyncConnection[Any], puts: Sequence[FencedPut]) -> list[bool]:
    """Write entries in one transaction; return for each whether its fence holds, so that it was written.

    An end gets its place among those of its batch once, however often it is written.
    """
    latest = {(put.name, put.fence): put for put in puts}
    async with db.transaction():
        batches, identities = zip(*{put.name for put in puts}, strict=True)
        locked = await db.execute(_LOCK.encode(), (list(batches), list(identities)))
        rows = {(row[0], bytes(row[1])): row[2:] for row in await locked.fetchall()}
        fences = {name: fence for name, (fence, _) in rows.items()}
        good = [put for (name, fence), put in latest.items() if fences.get(name) == fence]
        if good:
            columns = [list(column) for column in zip(*(put.columns() for put in good), strict=True)]
            await db.execute(_WRITE.encode(), columns)
        await _write_ends(db, [put for put in good if put.ends and not rows[put.name][1]])
    return [fences.get(put.name) == put.fence for put in puts]


async def _write_ends(db: AsyncConnection[Any], puts: Sequence[FencedPut]) -> None:
    for put in puts:
        if put.addresses is not None:
            await db.execute(_ADDRESSES, (*put.name, put.addresses))
    # in one order: two workers that end jobs of the same batches must not wait for each other
    for batch in sorted({put.batch for put in puts}):
        own = [put for put in puts if put.batch == batch]
        failed = sum(put.entry.state is JobState.FAILED for put in own)
        await end_jobs(db, batch, [put.name[1] for put in own], failed=failed, succeeded=len(own) - failed)
        if units := sum(spent_on(put.entry) for put in own):
            await db.execute(_SPENT, (units, batch))


class JournalWriter:
    """Writes the entries of all jobs of a worker; those that come while it writes share the next transaction.

    Args:
        link: A connection of its own.
    """

    def __init__(self, link: DatabaseLink) -> None:
        self._link = link
        self._waiting: list[tuple[FencedPut, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    def put(self, put: FencedPut) -> asyncio.Future[None]:
        """Write an entry soon; the future is done once it is committed.

        Its errors: `StaleFence`; `JournalError`: the server refuses the write, or the program ends while the
        database is away.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((put, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="kling_async fleet journal")
        return done

    async def _write(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                puts = [put for put, _ in batch]
                try:
                    good = await self._link.patient(partial(write_puts, puts=puts))
                except Exception as error:  # noqa: BLE001 - told to each whose entry is not written
                    text = f"fleet: writing failed: {type(error).__name__}: {error}".partition("\n")[0]
                    _tell(batch, [JournalError(text, path="")] * len(batch))
                    continue
                _tell(batch, [None if fits else _stale(put) for put, fits in zip(puts, good, strict=True)])
        finally:
            self._writing = None


def _tell(
    batch: Sequence[tuple[FencedPut, asyncio.Future[None]]], errors: Sequence[JournalError | None]
) -> None:
    for (_, done), error in zip(batch, errors, strict=True):
        if not is_pending(done):
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error.again())


def _stale(put: FencedPut) -> StaleFence:
    return StaleFence(f"{put.entry!r}: another worker has this job, or it was taken back", path="")


class FleetJournal:
    """The journal as one job sees it (`batch.journal.JobJournal`).

    Args:
        writer: Of the worker.
        batch: The id of the job's batch.
        fence: Under which the job was taken.
        record: Returns the record of the job's task, with its addresses; None: there is none so far.
    """

    def __init__(
        self, writer: JournalWriter, batch: str, fence: int, record: Callable[[], TaskRecord | None]
    ) -> None:
        self._writer = writer
        self._batch = batch
        self._fence = fence
        self._record = record
        self._soon: asyncio.Future[None] | None = None
        self._confirmed = -math.inf
        """When the fence was last known to hold."""

    @property
    def id(self) -> str:
        """The id of the batch, part of every external_task_id made from it."""
        return self._batch

    async def put(self, entry: Entry) -> None:
        """Store an entry; return when it is committed. An outage of the database is waited for.

        Raises:
            StaleFence: Another worker has the job, or it was taken back.
            JournalError: The server refuses the write, or the program ends while the database is away.
        """
        before = boot_time()
        await self._put(entry)
        self._confirmed = before

    async def confirm(self, entry: Entry) -> None:
        """Check that no other worker has the job, by storing its entry again.

        Raises:
            StaleFence: One has it, or it was taken back.
            JournalError: The server refuses the write, or the program ends while the database is away.
        """
        await self.put(entry)

    def is_late(self) -> bool:
        """Tell whether others may have the job: its fence was last known to hold over a lease ago.

        They look for its create at once, and count it as not made only after more than two leases.
        """
        return boot_time() - self._confirmed > LEASE

    def put_soon(self, entry: Entry) -> None:
        """Store an entry that is no harm to lose."""
        self._soon = self._put(entry)
        self._soon.add_done_callback(_ignore_error)

    async def settled(self) -> None:
        """Return once all that was put is written, or cannot be."""
        if self._soon is not None:
            await asyncio.wait([self._soon])

    def _put(self, entry: Entry) -> asyncio.Future[None]:
        record = self._record() if entry.state is JobState.DONE and not entry.files else None
        addresses = None if record is None else dump_addresses(record)
        return self._writer.put(FencedPut(self._batch, self._fence, entry, addresses))


def _ignore_error(done: asyncio.Future[None]) -> None:
    if not done.cancelled():
        done.exception()

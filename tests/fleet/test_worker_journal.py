"""The rows of a worker: fences refuse the writes of whoever has lost a job, and ends count once."""

from __future__ import annotations

import asyncio
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from kling_async.batch.entry import Entry, Failure, JobState, Times, advance, mark_unsent, unpack
from kling_async.errors import JournalError
from kling_async.fleet.database import connect
from kling_async.fleet.journal import FencedPut, FleetJournal, JournalWriter, StaleFence, write_puts
from kling_async.fleet.link import DatabaseLink, OutageLog
from kling_async.fleet.rows import new_row
from kling_async.fleet.schema import upgrade
from kling_async.fleet.taking import take
from kling_async.fleet.writing import batch_named, write_chunk
from tests.fleet.support import film, rows

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from psycopg import AsyncConnection

    from kling_async.fleet.writing import BatchRow

pytestmark = pytest.mark.real

JOBS = 3
ENDS = (JobState.DONE, JobState.FAILED)


class Hold(NamedTuple):
    """A job as a worker has it."""

    fence: int
    entry: Entry


def next_entries(entry: Entry) -> list[Entry]:
    """Return the entries that may follow one."""
    sent = msgspec.structs.replace(entry, times=Times(planned=1.0))
    match entry.state:
        case JobState.PLANNED if entry.times.planned is None:
            return [sent, advance(entry, JobState.FAILED, error=Failure("TaskFailed", "no"))]
        case JobState.PLANNED:
            return [mark_unsent(entry), advance(entry, JobState.CREATED, task_id="1")]
        case JobState.CREATED:
            return [
                advance(entry, JobState.DONE, units="2.5"),
                advance(entry, JobState.FAILED, error=Failure("TaskFailed", "no")),
            ]
        case _:
            return []


class Fences(RuleBasedStateMachine):
    """Two workers take jobs from each other and write; every write may be repeated, and grouped."""

    runner: asyncio.Runner
    db: AsyncConnection[Any]

    def __init__(self) -> None:
        super().__init__()
        self.batch = self.done(self._fill())
        self.fences = dict.fromkeys(range(JOBS), 0)
        self.entries = dict(enumerate(self._entries))
        self.holds: dict[tuple[str, int], Hold] = {}
        self.order: list[int] = []

    def done(self, work: Awaitable[Any]) -> Any:
        """Do something in the test's loop."""

        async def doing() -> Any:
            return await work

        return self.runner.run(doing())

    async def _fill(self) -> BatchRow:
        self._entries = [
            Entry(identity=uuid.uuid4().hex, position=n, endpoint="text_to_video", external_task_id=f"x{n}")
            for n in range(JOBS)
        ]
        batch = await batch_named(self.db, uuid.uuid4().hex)
        await write_chunk(self.db, batch.id, [new_row(entry, film("x"), 0) for entry in self._entries])
        return batch

    @rule(who=st.sampled_from("ab"), job=st.integers(0, JOBS - 1))
    def take_job(self, who: str, job: int) -> None:
        """Take a job: one that has ended is not given, another one as it was written last."""
        taken = self.done(take(self.db, (self.batch.id, self.entries[job].identity), who))
        if self.entries[job].state in ENDS:
            assert taken is None
            return
        self.fences[job] += 1
        assert taken.stored.fence == self.fences[job]
        assert taken.stored.entry == self.entries[job]
        self.holds[who, job] = Hold(taken.stored.fence, taken.stored.entry)

    @rule(who=st.sampled_from("ab"), picks=st.lists(st.integers(0, 1), min_size=JOBS, max_size=JOBS))
    def write(self, who: str, picks: list[int]) -> None:
        """Write the next entries of all jobs that a worker believes to have, at once, twice."""
        puts: list[tuple[int, Entry]] = []
        for job, pick in enumerate(picks):
            hold = self.holds.get((who, job))
            following = next_entries(hold.entry) if hold is not None else []
            if following:
                puts.append((job, following[pick]))
        if not puts:
            return
        fenced = [
            FencedPut(
                self.batch.id,
                self.holds[who, job].fence,
                entry,
                b"{}" if entry.state is JobState.DONE else None,
            )
            for job, entry in puts
        ]
        good = [self.holds[who, job].fence == self.fences[job] for job, _ in puts]
        assert self.done(write_puts(self.db, fenced)) == good
        assert self.done(write_puts(self.db, fenced)) == good
        for (job, entry), fits in zip(puts, good, strict=True):
            self.holds[who, job] = Hold(self.holds[who, job].fence, entry)
            if fits:
                self.entries[job] = entry
                if entry.state in ENDS:
                    self.order.append(job)

    @invariant()
    def rows_are_as_written(self) -> None:
        """No refused write has changed anything; every end has one place and is counted once."""
        query = "SELECT position, state, entry, done, planned_at FROM jobs WHERE batch=%s ORDER BY position"
        found = self.done(rows_of(self.db, query, self.batch.id))
        for position, state, entry, done, planned in found:
            known = self.entries[position]
            assert (unpack(entry), state) == (known, known.state)
            assert (done is not None) == (known.state in ENDS)
            if known.state is JobState.PLANNED:
                assert (planned is None) == (known.times.planned is None)
        assert sorted(row[3] for row in found if row[3]) == list(range(1, len(self.order) + 1))
        states = [self.entries[job].state for job in self.order]
        succeeded = states.count(JobState.DONE)
        query = "SELECT done, succeeded, failed, units FROM batches WHERE id=%s"
        counted = (len(states), succeeded, len(states) - succeeded, 2.5 * succeeded)
        assert self.done(rows_of(self.db, query, self.batch.id)) == [counted]
        query = "SELECT count(*) FROM addresses WHERE batch=%s"
        assert self.done(rows_of(self.db, query, self.batch.id)) == [(succeeded,)]


async def rows_of(db: AsyncConnection[Any], query: str, *values: Any) -> list[Any]:
    """Return the rows of a query."""
    return await (await db.execute(query.encode(), values)).fetchall()


def test_fences_hold_and_ends_count_once(dsn: str) -> None:
    """Whoever writes what and when: see `Fences`."""
    with asyncio.Runner() as runner:

        async def opened() -> AsyncConnection[Any]:
            async with connect(dsn) as db:
                await upgrade(db)
            return await psycopg.AsyncConnection.connect(
                dsn, autocommit=True, options="-c search_path=kling_fleet"
            )

        Fences.runner, Fences.db = runner, runner.run(opened())
        try:
            run_state_machine_as_test(
                Fences,
                settings=settings(
                    max_examples=20,
                    stateful_step_count=25,
                    deadline=None,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
                ),
            )
        finally:
            runner.run(Fences.db.close())


@pytest.mark.anyio
async def test_writes_that_come_together_are_one_transaction(dsn: str, monkeypatch: Any) -> None:
    """Of a hundred puts at once a few transactions are made; a stale one among them is refused alone."""
    async with connect(dsn) as db:
        await upgrade(db)
        batch = await batch_named(db, "films")
        made = [
            Entry(identity=uuid.uuid4().hex, position=n, endpoint="text_to_video", external_task_id=f"x{n}")
            for n in range(100)
        ]
        await write_chunk(db, batch.id, [new_row(entry, film("x"), 0) for entry in made])
        await db.execute("UPDATE jobs SET fence=7 WHERE position=50")
    link = DatabaseLink(dsn, OutageLog(dsn, "tests wait"))
    sizes: list[int] = []

    async def counted(db: Any, puts: Any) -> list[bool]:
        sizes.append(len(puts))
        return await write_puts(db, puts)

    monkeypatch.setattr("kling_async.fleet.journal.write_puts", counted)
    writer = JournalWriter(link)
    journal = FleetJournal(writer, batch.id, 0, lambda: None)
    sent = [msgspec.structs.replace(entry, times=Times(planned=1.0)) for entry in made]
    told = await asyncio.gather(*map(journal.put, sent), return_exceptions=True)
    assert [type(error) for error in told if error is not None] == [StaleFence]
    assert isinstance(told[50], StaleFence)
    assert len(sizes) <= 3
    found = await rows(dsn, "SELECT count(*) FROM jobs WHERE planned_at IS NOT NULL")
    assert found == [(99,)]
    await link.close()


@pytest.mark.anyio
async def test_a_write_that_the_server_refuses_is_an_error(dsn: str) -> None:
    """What no waiting mends is told, and the next write goes on."""
    async with connect(dsn) as db:
        await upgrade(db)
        await db.execute("ALTER TABLE jobs RENAME TO gone")
    link = DatabaseLink(dsn, OutageLog(dsn, "tests wait"))
    writer = JournalWriter(link)
    entry = Entry(identity="00" * 16, position=0, endpoint="text_to_video", external_task_id="x")
    put = partial(writer.put, FencedPut("b", 1, entry))
    with pytest.raises(JournalError, match="UndefinedTable"):
        await put()
    async with connect(dsn) as db:
        await db.execute("ALTER TABLE gone RENAME TO jobs")
    with pytest.raises(StaleFence):
        await put()
    await link.close()

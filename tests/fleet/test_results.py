"""Read the outcomes of a batch while its jobs end, also through an outage; try again; take back."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

import pytest

from kling_async.batch.entry import Failure, JobState, unpack
from kling_async.errors import RequestInvalid, TaskFailed, TaskWithdrawn
from kling_async.fleet import Fleet, results
from kling_async.fleet.database import connect
from kling_async.wire.endpoints import JournaledRequest
from tests.fleet.ends import ADDRESS, end
from tests.fleet.support import film, rows, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection

    from kling_async.batch.outcomes import Outcome
    from tests.postgres import Postgres

pytestmark = [pytest.mark.real, pytest.mark.anyio]

REFUSED = Failure("TaskFailed", "text_to_video task 1 failed: out of luck")
UNKNOWN = Failure("BadResponse", "a page of a proxy")
EXPIRED = Failure("ResultExpired", "gone")


@pytest.fixture
async def fleet(dsn: str) -> AsyncIterator[Fleet]:
    """A fleet with five jobs of the batch films."""
    await Fleet(dsn).init()
    async with Fleet(dsn) as fleet:
        await fleet.submit([(f"shot-{n}", film(f"shot {n}")) for n in range(5)], batch="films")
        yield fleet


async def told(fleet: Fleet, **options: Any) -> list[Outcome[Any]]:
    """Return all outcomes."""
    return [outcome async for outcome in fleet.results("films", **options)]


def addresses(outcomes: list[Outcome[Any]]) -> list[str]:
    """Return the addresses of films."""
    return [outcome.result.videos[0].url for outcome in outcomes if outcome.result is not None]


async def test_outcomes_come_in_the_order_of_their_ends_while_jobs_end(fleet: Fleet, dsn: str) -> None:
    """Three readers that follow get each outcome once, in the order of the ends, and end with the last."""
    readers = [asyncio.create_task(told(fleet)) for _ in range(3)]
    await end(dsn, 3, 0)
    await end(dsn, 4, failure=REFUSED)
    await asyncio.sleep(0)
    await end(dsn, 1, 2)
    for found in await asyncio.gather(*readers):
        assert [outcome.key for outcome in found] == ["shot-3", "shot-0", "shot-4", "shot-1", "shot-2"]
        assert [outcome.ok for outcome in found] == [True, True, False, True, True]
        assert isinstance(found[2].error, TaskFailed)
        assert found[0].units == 1.5
        assert found[0].request == film("shot 3")
    rest = await told(fleet, after=3, follow=False)
    assert [outcome.position for outcome in rest] == [1, 2]


async def test_an_end_between_two_queries_of_a_reader_is_not_lost(
    fleet: Fleet, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last job ends after whichever query of a reader: that has all outcomes before it ends."""
    await end(dsn, 0, 1, 2, 3)

    class Interrupted:
        """A connection after one of whose queries the last job ends."""

        def __init__(self, db: AsyncConnection[Any], after: int) -> None:
            self._db = db
            self._after = after

        def __getattr__(self, name: str) -> Any:
            return getattr(self._db, name)

        async def execute(self, query: Any, *values: Any) -> Any:
            """Run a query."""
            found = await self._db.execute(query, *values)
            self._after -= 1
            if self._after == 0:
                await end(dsn, 4)
            return found

    ((batch,),) = await rows(dsn, "SELECT id FROM batches")
    monkeypatch.setattr(results, "_LOOK", 0.05)
    for query in range(1, 5):
        async with connect(dsn) as db:
            reading = results._pages(cast("Any", Interrupted(db, query)), batch, 0, follow=True)
            assert [job.done async for job in reading] == list(range(1, 6))
        await rows(dsn, "DELETE FROM addresses RETURNING 1")
        await rows(dsn, "UPDATE jobs SET done=NULL, state=0 WHERE position=4 RETURNING 1")
        await rows(dsn, "UPDATE batches SET done=4, succeeded=4 RETURNING 1")


async def test_a_reading_goes_on_where_an_earlier_one_has_ended(fleet: Fleet, dsn: str) -> None:
    """Also where jobs that were tried again have left gaps: none comes twice, none is passed over."""
    await end(dsn, 0, failure=REFUSED)
    await end(dsn, 1, 2)
    await fleet.retry("films")
    await end(dsn, 3, 0, 4)
    for size in range(1, 6):
        found, place = list[int](), 0
        while len(found) < 5:
            reading = fleet.results("films", follow=False, after=place)
            async for outcome in reading:
                found.append(outcome.position)
                if len(found) % size == 0:
                    break
            place = reading.place
            await reading.aclose()
        assert found == [1, 2, 3, 0, 4]


async def test_addresses_are_erased_once_they_were_read(fleet: Fleet, dsn: str) -> None:
    """The first reader has whole addresses; then no table holds one, and outcomes still have their ids."""
    await end(dsn, 0, 1, 2)
    reading = fleet.results("films", follow=False)
    first = await anext(reading)
    assert addresses([first]) == [ADDRESS]
    await reading.aclose()  # as if the reader had died: what it had not come back for is there still
    assert await rows(dsn, "SELECT count(*) FROM addresses") == [(3,)]
    assert addresses(await told(fleet, follow=False)) == [ADDRESS] * 3
    assert await rows(dsn, "SELECT count(*) FROM addresses") == [(0,)]
    dump = str(await rows(dsn, "SELECT encode(entry, 'escape'), j.* FROM jobs j"))
    assert "5ecre7" not in dump
    again = await told(fleet, follow=False)
    assert [outcome.record.task_id for outcome in again if outcome.record] == ["task-0", "task-1", "task-2"]
    assert addresses(again) == [ADDRESS.partition("?")[0]] * 3


async def test_an_outage_is_waited_through(
    fleet: Fleet,
    dsn: str,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A reader goes on where it was once the database is back, and says both."""
    monkeypatch.setattr(results, "_RETRY", 0.05)
    caplog.set_level(logging.WARNING, "kling_async.fleet")
    await end(dsn, 0)
    reading = fleet.results("films")
    assert (await anext(reading)).position == 0
    waiting = asyncio.ensure_future(anext(reading))
    await asyncio.to_thread(postgres.stop)
    await wait_until(lambda: bool(caplog.records))
    await asyncio.to_thread(postgres.start)
    await end(dsn, 4)
    assert (await waiting).position == 4
    await reading.aclose()
    texts = [record.getMessage() for record in caplog.records]
    assert texts[0].startswith("the fleet's database cannot be read: ")
    assert texts[1:] == ["the fleet's database can be read again"]


async def test_failed_jobs_are_tried_again(fleet: Fleet, dsn: str) -> None:
    """Where nothing of the task is left, under a new id; else under the old one, to be looked up first."""
    before = dict(await rows(dsn, "SELECT position, entry FROM jobs"))
    await end(dsn, 0, failure=REFUSED)
    await end(dsn, 1, failure=UNKNOWN)
    await end(dsn, 2, failure=EXPIRED)
    await end(dsn, 3)
    await rows(dsn, "DELETE FROM procrastinate_jobs RETURNING id")  # as workers leave it
    made = await fleet.retry("films")
    assert (made.retried, made.kept) == (2, 1)
    query = "SELECT position, entry, done, fence, planned_at IS NULL FROM jobs ORDER BY position"
    found = await rows(dsn, query)
    entries = [unpack(row[1]) for row in found]
    assert [entry.state for entry in entries[:3]] == [JobState.PLANNED, JobState.PLANNED, JobState.FAILED]
    assert [entry.attempt for entry in entries] == [1, 0, 0, 0, 0]
    assert entries[0].external_task_id != unpack(before[0]).external_task_id
    assert entries[1].external_task_id == unpack(before[1]).external_task_id
    assert [row[2] for row in found] == [None, None, 3, 4, None]
    assert [row[4] for row in found[:2]] == [True, False]
    assert len(await rows(dsn, "SELECT 1 FROM procrastinate_jobs")) == 2
    assert await fleet.retry("films") == made.__class__(retried=0, kept=1)
    await end(dsn, 0)
    assert [outcome.position for outcome in await told(fleet, after=4, follow=False)] == [0]


async def test_what_was_not_sent_is_taken_back(fleet: Fleet, dsn: str) -> None:
    """Jobs without a task end as cancelled; one whose create may be on its way goes on."""
    await end(dsn, 0)
    sent = "UPDATE jobs SET planned_at=now(), fence=1 WHERE position=1 RETURNING 1"
    held = "UPDATE jobs SET fence=7, worker='a:1' WHERE position=2 RETURNING 1"
    await rows(dsn, sent)
    await rows(dsn, held)
    made = await fleet.cancel_queued("films")
    assert (made.cancelled, made.sent) == (3, 1)
    assert await rows(dsn, "SELECT fence FROM jobs WHERE position=2") == [(8,)]
    assert await rows(dsn, "SELECT total, done, succeeded, cancelled FROM batches") == [(5, 4, 1, 3)]
    assert len(await rows(dsn, "SELECT 1 FROM procrastinate_jobs")) == 2  # the one sent, and one that ended
    outcomes = await told(fleet, after=1, follow=False)
    assert [outcome.position for outcome in outcomes] == [2, 3, 4]
    assert all(isinstance(outcome.error, TaskWithdrawn) for outcome in outcomes)
    assert (await fleet.cancel_queued("films")).cancelled == 0
    again = await fleet.submit([("shot-3", film("shot 3"))], batch="films")
    assert (again.new, again.known) == (1, 0)
    assert await rows(dsn, "SELECT total, succeeded, cancelled FROM batches") == [(5, 1, 2)]
    assert await rows(dsn, "SELECT count(*) FROM jobs WHERE done IS NULL") == [(2,)]
    assert len(await rows(dsn, "SELECT 1 FROM procrastinate_jobs")) == 3


async def test_units_of_jobs_that_are_tried_again_count_once(fleet: Fleet, dsn: str) -> None:
    """The next end counts those of all attempts, so the batch gives back what the first end counted."""
    await end(dsn, 0, 1, failure=REFUSED)
    await rows(dsn, "UPDATE jobs SET units=2.5 WHERE done IS NOT NULL RETURNING 1")
    await rows(dsn, "UPDATE batches SET units=9 RETURNING 1")
    assert (await fleet.retry("films")).retried == 2
    assert await rows(dsn, "SELECT units, failed, done FROM batches") == [(4.0, 0, 2)]
    assert await rows(dsn, "SELECT count(*) FROM jobs WHERE units IS NOT NULL") == [(0,)]


async def test_a_request_that_a_newer_version_wrote_holds_nothing_back(fleet: Fleet, dsn: str) -> None:
    """Its outcome comes with what is known of it, and so do all others."""
    strange = "UPDATE jobs SET request=%s WHERE position=1 RETURNING 1"
    await rows(dsn, strange, b'{"endpoint": "text_to_video", "of_the_future": 1}')
    await end(dsn, 0, 1, 2)
    found = await told(fleet, follow=False)
    assert addresses(found) == [ADDRESS] * 3
    assert isinstance(found[1].request, JournaledRequest)
    assert found[1].key == "shot-1"


async def test_a_batch_that_is_not_there_is_named(fleet: Fleet) -> None:
    """Reading, trying again and taking back say so at once."""
    with pytest.raises(RequestInvalid, match="no batch 'film' was submitted"):
        await anext(fleet.results("film"))
    for call in (fleet.retry, fleet.cancel_queued):
        with pytest.raises(RequestInvalid, match="no batch 'film' was submitted"):
            await call("film")

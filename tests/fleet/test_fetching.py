"""The queue as one worker sees it: a job that it fetches anew, after others put it back, is another run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from procrastinate.jobs import Status

from kling_async.fleet.connector import FleetQueue, PatientConnector
from kling_async.fleet.database import connect
from kling_async.fleet.link import DatabaseLink, OutageLog
from kling_async.fleet.taking import JobFetch, PutBack, fetch_lost
from tests.fleet.support import film, rows
from tests.fleet.working import site

if TYPE_CHECKING:
    from procrastinate.jobs import Job

pytestmark = [pytest.mark.real, pytest.mark.anyio]

PUT_BACK_BY_OTHERS = """
    UPDATE procrastinate_jobs SET status='todo', worker_id=NULL, attempts=attempts+1 RETURNING 1"""
IN_QUEUE = "SELECT status::text, worker_id FROM procrastinate_jobs"


class Registered:
    """A worker that is alive, whatever others believe."""

    id = 7
    alive = True

    async def register(self) -> None:
        """Do nothing."""


async def fetch(queue: FleetQueue) -> Job:
    """Return the next job."""
    job = await queue.fetch_job(None, Registered.id)
    assert job is not None
    return job


@pytest.mark.parametrize("first_back", [None, PutBack()])
@pytest.mark.parametrize("second_back", [None, PutBack()])
async def test_the_end_of_a_run_leaves_a_later_run_of_its_job_alone(
    dsn: str, first_back: PutBack | None, second_back: PutBack | None
) -> None:
    """Each run ends what it was fetched for, whether its job has ended or goes back, and nothing else."""
    async with site(dsn) as (fleet, _):
        await fleet.submit([film("a shot")], batch="films")
        new = "INSERT INTO procrastinate_workers (id) OVERRIDING SYSTEM VALUE VALUES (7) RETURNING id"
        await rows(dsn, new)
        link = DatabaseLink(dsn, OutageLog(dsn, "tests wait"))
        queue = FleetQueue(PatientConnector(dsn, link), link, Registered())
        queue.capacity = 2
        first = await fetch(queue)
        await rows(dsn, PUT_BACK_BY_OTHERS)
        async with connect(dsn) as db:
            assert await fetch_lost(db, 7, [JobFetch.of(first)]) is None
        second = await fetch(queue)
        assert (first.id, queue.running) == (second.id, 2)
        async with connect(dsn) as db:  # as if the answer to the second fetch had been lost
            lost = await fetch_lost(db, 7, [JobFetch.of(first)])
            assert lost is not None and JobFetch.of(lost) == JobFetch.of(second)
        queue.put_back(JobFetch.of(first), first_back)
        await queue.finish_job(first, Status.SUCCEEDED, True)
        assert await rows(dsn, IN_QUEUE) == [("doing", 7)]
        queue.put_back(JobFetch.of(second), second_back)
        await queue.finish_job(second, Status.SUCCEEDED, True)
        assert await rows(dsn, IN_QUEUE) == ([] if second_back is None else [("todo", None)])
        assert queue.running == 0
        await link.close()

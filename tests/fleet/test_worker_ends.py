"""Ends of a worker: whatever it is about then, jobs go back, tasks run on, and it does not hang."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kling_async.batch.entry import JobState, advance, pack, unpack
from kling_async.errors import ConfigurationError
from kling_async.fleet import Fleet, pulse, worker
from kling_async.fleet.connector import FleetQueue
from kling_async.fleet.database import connect
from kling_async.fleet.pulse import ServerClock
from kling_async.fleet.taking import take
from kling_async.fleet.worker import WorkerState
from tests.fleet.support import film, rows, wait_until
from tests.fleet.working import at_work, new_client, read, site

if TYPE_CHECKING:
    from kling_async.fleet.worker import FleetWorker

pytestmark = pytest.mark.real

QUEUED = "SELECT queue_name, count(*) FROM procrastinate_jobs WHERE status='todo' GROUP BY 1 ORDER BY 1"


@pytest.mark.anyio
async def test_a_worker_whose_client_is_closed_leaves(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its tasks run on and go to others at once; one whose request is not at hand has not failed."""
    async with site(dsn, slots=2, seconds=600.0) as (fleet, emu):
        await fleet.submit([film(f"shot {n}") for n in range(3)], batch="films")
        async with new_client(emu) as client:
            started: asyncio.Future[FleetWorker] = asyncio.get_running_loop().create_future()
            work = fleet.work(client, signals=False, on_start=started.set_result)
            working = asyncio.create_task(work)
            await wait_until(lambda: len(emu.tasks) == 2)
            await asyncio.sleep(0.3)
            await rows(dsn, "UPDATE jobs SET request=NULL WHERE state=1 RETURNING 1")
            await client.aclose()
            await asyncio.wait_for(working, 10)
            assert (await started).state is WorkerState.ENDED
        assert await rows(dsn, QUEUED) == [("kling/begun", 2), ("kling/video", 1)]
        assert await rows(dsn, "SELECT sum(failed) FROM batches") == [(0,)]
    assert "leaves (its client was closed); 2 tasks run on" in caplog.text
    assert "goes back into the queue" not in caplog.text


@pytest.mark.anyio
async def test_a_job_without_a_request_is_not_failed_by_the_end_of_a_client(dsn: str) -> None:
    """It was taken over with its task: that runs, whatever becomes of whoever waits for it."""
    async with site(dsn, slots=2, seconds=600.0) as (fleet, emu), new_client(emu) as client:
        await fleet.submit([film("a shot")], batch="films")
        ((data,),) = await rows(dsn, "SELECT entry FROM jobs")
        task = await client.submit(film("a shot"), external_task_id=unpack(data).external_task_id)
        created = pack(advance(unpack(data), JobState.CREATED, task_id=task.id))
        await rows(dsn, "UPDATE jobs SET request=NULL, state=1, entry=%s RETURNING 1", created)
        async with new_client(emu) as other:
            working = asyncio.create_task(fleet.work(other, signals=False))
            await wait_until(lambda: bool(other.tasks()))
            await other.aclose()
            await asyncio.wait_for(working, 10)
        emu.finish(task.id)
        async with at_work(fleet, emu):
            assert [outcome.status for outcome in await read(fleet)] == ["succeeded"]


@pytest.mark.anyio
@pytest.mark.parametrize("end", ["drain", "leave"])
async def test_a_job_that_is_just_being_taken_goes_back(
    dsn: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker ends between the fetch and the first step of the job: it waits for no slot and no task."""
    ending: list[FleetWorker] = []

    async def slow_take(db: Any, name: Any, worker: str) -> Any:
        taken = await take(db, name, worker)
        getattr(ending[0], end)()
        return taken

    monkeypatch.setattr(worker, "take", slow_take)
    async with site(dsn, slots=1, seconds=600.0) as (fleet, emu), new_client(emu) as client:
        await client.submit(film("it takes the only slot"))
        await fleet.submit([film("a shot")], batch="films")
        working = fleet.work(client, signals=False, on_start=ending.append)
        await asyncio.wait_for(working, 10)
        assert await rows(dsn, QUEUED) == [("kling/video", 1)]
        assert len(emu.tasks) == 1


@pytest.mark.anyio
async def test_a_running_task_that_is_just_being_taken_is_left(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that leaves does not wait for the task of a job that it was taking over."""
    async with site(dsn, slots=1, seconds=600.0) as (fleet, emu):
        await fleet.submit([film("a shot")], batch="films")
        async with at_work(fleet, emu, grace=0.1):
            await wait_until(lambda: len(emu.tasks) == 1)
            await asyncio.sleep(0.3)
        ending: list[FleetWorker] = []

        async def slow_take(db: Any, name: Any, worker: str) -> Any:
            taken = await take(db, name, worker)
            ending[0].leave()
            return taken

        monkeypatch.setattr(worker, "take", slow_take)
        async with new_client(emu) as client:
            await asyncio.wait_for(fleet.work(client, signals=False, on_start=ending.append), 10)
        assert await rows(dsn, QUEUED) == [("kling/begun", 1)]


@pytest.mark.anyio
async def test_a_worker_whose_queue_fails_has_ended(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the program is raised, and nobody takes the worker for one that lives."""

    async def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(FleetQueue, "fetch_job", fail)
    async with site(dsn) as (fleet, emu), new_client(emu) as client:
        started: list[FleetWorker] = []
        with pytest.raises(RuntimeError, match="a fault"):
            await asyncio.wait_for(fleet.work(client, signals=False, on_start=started.append), 10)
        assert started[0].state is WorkerState.ENDED
        assert await rows(dsn, "SELECT count(*) FROM workers") == [(0,)]


@pytest.mark.anyio
async def test_missing_rights_are_one_clear_line(dsn: str) -> None:
    """To make tables, to use them, and to work: the error names the database and what it refuses."""
    stranger = f"{conninfo_to_dict(dsn)['dbname']}_stranger"
    async with connect(dsn) as db:
        await db.execute(f"CREATE ROLE {stranger} LOGIN".encode())
    theirs = make_conninfo(dsn, user=stranger)
    refused = pytest.raises(ConfigurationError, match=f"{stranger}.* refuses: permission denied for ")
    with refused:
        await Fleet(theirs).init()
    async with site(dsn) as (_, emu):
        with refused:
            async with Fleet(theirs):
                pass
        async with connect(dsn) as db:
            await db.execute(f"GRANT USAGE ON SCHEMA kling_fleet TO {stranger}".encode())
            await db.execute(f"GRANT SELECT ON kling_fleet.schema TO {stranger}".encode())
        async with Fleet(theirs) as fleet, new_client(emu) as client:
            for use in (fleet.status(), fleet.retry("films"), fleet.work(client, signals=False)):
                with refused:
                    await use
            with refused:
                await anext(fleet.results("films"))


def test_a_clock_goes_on_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set once by the server, it tells the server's time also after a laptop was closed for an hour."""
    now = [100.0]
    monkeypatch.setattr(pulse, "boot_time", lambda: now[0])
    clock = ServerClock()
    clock.seen(5000.0, 99.9, 100.1)
    now[0] += 3600.0
    assert clock.now() == 8600.0


@pytest.mark.anyio
async def test_a_right_that_is_missing_ends_a_worker_and_not_its_jobs(
    dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It may fetch jobs and not take them: it leaves with that reason, and others get what it had."""
    name = conninfo_to_dict(dsn)["dbname"]
    worker_role = f"{name}_worker"
    async with site(dsn) as (fleet, emu):
        await fleet.submit([film(f"shot {n}") for n in range(3)], batch="films")
        async with connect(dsn) as db:
            await db.execute(f"CREATE ROLE {worker_role} LOGIN".encode())
            for what in ("USAGE ON SCHEMA kling_fleet", "ALL ON ALL TABLES IN SCHEMA kling_fleet"):
                await db.execute(f"GRANT {what} TO {worker_role}".encode())
            for what in ("ALL ON ALL SEQUENCES IN SCHEMA kling_fleet",):
                await db.execute(f"GRANT {what} TO {worker_role}".encode())
            await db.execute(f"REVOKE UPDATE ON kling_fleet.jobs FROM {worker_role}".encode())
        async with Fleet(make_conninfo(dsn, user=worker_role)) as theirs, new_client(emu) as client:
            await asyncio.wait_for(theirs.work(client, signals=False), 15)
        assert "permission denied for table jobs" in caplog.text
        async with at_work(fleet, emu):
            assert {outcome.status for outcome in await read(fleet)} == {"succeeded"}
        assert len(emu.tasks) == 3

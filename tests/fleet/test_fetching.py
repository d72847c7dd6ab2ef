"""The queue as one worker sees it: a job that it fetches anew, after others put it back, is another run."""

from __future__ import annotations

import socket
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from procrastinate.jobs import Status
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kling_async.errors import ConfigurationError
from kling_async.fleet import Fleet, connector, database
from kling_async.fleet.connector import FleetQueue, PatientConnector
from kling_async.fleet.database import connect, server_time
from kling_async.fleet.link import DatabaseLink, OutageLog
from kling_async.fleet.taking import JobFetch, PutBack, fetch_lost, fetch_next
from tests.fleet.proxy import Proxy
from tests.fleet.support import film, rows
from tests.fleet.working import site

if TYPE_CHECKING:
    from procrastinate.jobs import Job

pytestmark = [pytest.mark.real, pytest.mark.anyio]

NEW = "INSERT INTO procrastinate_workers (id) OVERRIDING SYSTEM VALUE VALUES (7) RETURNING id"
PUT_BACK_BY_OTHERS = """
    UPDATE procrastinate_jobs SET status='todo', worker_id=NULL, attempts=attempts+1 RETURNING 1"""
IN_QUEUE = "SELECT status::text, worker_id FROM procrastinate_jobs"


class Registered:
    """A worker that is alive, whatever others believe."""

    id = 7
    alive = True

    async def register(self) -> None:
        """Do nothing."""


async def queue_of(dsn: str) -> tuple[FleetQueue, DatabaseLink]:
    """Enter the worker; return its queue, and the link that it uses."""
    await rows(dsn, NEW)
    link = DatabaseLink(dsn, OutageLog(dsn, "tests wait"))
    queue = FleetQueue(PatientConnector(dsn), link, Registered())
    queue.capacity = 5
    return queue, link


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
        queue, link = await queue_of(dsn)
        first = await fetch(queue)
        await rows(dsn, PUT_BACK_BY_OTHERS)
        async with connect(dsn) as db:
            assert await fetch_lost(db, 7, [JobFetch.of(first)]) is None
        second = await fetch(queue)
        assert (first.id, queue.fetched) == (second.id, 2)
        async with connect(dsn) as db:  # as if the answer to the second fetch had been lost
            lost = await fetch_lost(db, 7, [JobFetch.of(first)])
            assert lost is not None and JobFetch.of(lost) == JobFetch.of(second)
        queue.put_back(JobFetch.of(first), first_back)
        await queue.finish_job(first, Status.SUCCEEDED, True)
        assert await rows(dsn, IN_QUEUE) == [("doing", 7)]
        queue.put_back(JobFetch.of(second), second_back)
        await queue.finish_job(second, Status.SUCCEEDED, True)
        assert await rows(dsn, IN_QUEUE) == ([] if second_back is None else [("todo", None)])
        assert queue.fetched == 0
        await link.close()


async def test_a_fetch_that_comes_through_late_is_found(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer was lost, and the server was still in the middle of it when the next fetch was made."""
    lost = iter([True])

    async def losing(db: Any, queues: Any, worker: int) -> Any:
        if next(lost, False):
            raise psycopg.OperationalError("the connection is lost")
        return await fetch_next(db, queues, worker)

    monkeypatch.setattr(connector, "fetch_next", losing)
    async with site(dsn) as (fleet, _):
        await fleet.submit([film(f"shot {n}") for n in range(3)], batch="films")
        queue, link = await queue_of(dsn)
        first = await fetch(queue)
        late = "UPDATE procrastinate_jobs SET status='doing', worker_id=7 WHERE id=%s RETURNING id"
        ((other,),) = await rows(dsn, "SELECT max(id) FROM procrastinate_jobs")
        await rows(dsn, late, other)
        assert [(await fetch(queue)).id for _ in range(2)] == [other, first.id + 1 if first.id else None]
        await link.close()


async def test_a_link_tries_each_host_for_its_time(dsn: str) -> None:
    """The first host accepts connections and says nothing, for longer than an answer may take."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with Proxy(dsn) as proxy:
            ports = [silent.getsockname()[1], conninfo_to_dict(proxy.dsn)["port"]]
            both = make_conninfo(
                proxy.dsn, host="127.0.0.1,127.0.0.1", port=",".join(map(str, ports)), connect_timeout=2
            )
            await Fleet(dsn).init()
            link = DatabaseLink(both, OutageLog(both, "tests wait"), answer=0.5)
            assert await link.patient(server_time) > 0
            await link.close()


async def test_a_connection_is_used_only_once_it_is_ready(dsn: str) -> None:
    """What a link is to do with each connection first is done again, where it failed."""
    told: list[str] = []

    async def ready(db: Any) -> None:
        told.append("checked")
        if len(told) < 3:
            raise ConfigurationError("not yet")

    link = DatabaseLink(dsn, OutageLog(dsn, "tests wait"), ready=ready)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="not yet"):
            await link.once(server_time)
    assert await link.once(server_time) > 0
    assert await link.once(server_time) > 0
    assert len(told) == 3
    await link.close()


async def test_a_fetch_is_looked_for_after_long_outages(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It came through, its answer was lost, and the server could not be asked for an hour."""
    later, lost = [0.0], iter([True])

    async def losing(db: Any, queues: Any, worker: int) -> Any:
        job = await fetch_next(db, queues, worker)
        if next(lost, False):
            later[0] = 3600.0
            raise psycopg.OperationalError("the connection is lost")
        return job

    monkeypatch.setattr(connector, "fetch_next", losing)
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + later[0])
    monkeypatch.setattr(connector, "time", clock)
    async with site(dsn) as (fleet, _):
        await fleet.submit([film("a shot")], batch="films")
        queue, link = await queue_of(dsn)
        assert (await fetch(queue)).queue == "kling/video"
        await link.close()


async def test_first_statements_that_are_not_answered_are_given_up(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooler lets the client in, and holds its first query back while the server is away."""
    monkeypatch.setattr(database, "_SETTLING", 0.2)
    monkeypatch.setattr(database, "_SETTINGS", "SELECT pg_backend_pid(), pg_sleep(30)")
    with pytest.raises(ConfigurationError, match="no answer within"):
        await Fleet(dsn).init()

"""Workers carry jobs to their ends, each once, whatever becomes of workers and of the database."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import pytest

from kling_async import Client
from kling_async.batch.entry import JobState, Times, advance, pack, unpack
from kling_async.batch.identity import external_id
from kling_async.core import rechecks
from kling_async.errors import RequestInvalid
from kling_async.fleet import Fleet, connector
from kling_async.fleet.database import connect
from kling_async.fleet.journal import FencedPut, write_puts
from kling_async.fleet.taking import fetch_next, take
from kling_async.fleet.worker import WorkerState, room
from kling_async.orchestrator import recovery
from kling_async.orchestrator.ledger.facts import LEASE
from tests.fleet.support import film, rows, wait_until
from tests.fleet.working import at_work, new_client, read, site
from tests.support import still

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = [pytest.mark.real, pytest.mark.anyio]


async def test_jobs_run_and_their_results_have_addresses(dsn: str) -> None:
    """All jobs of a batch end well, each created once; nothing of them is left in the queue."""
    async with site(dsn) as (fleet, emu):
        made = await fleet.submit([film(f"shot {n}") for n in range(10)], batch="films")
        async with at_work(fleet, emu):
            outcomes = await read(fleet)
        assert [outcome.status for outcome in outcomes] == ["succeeded"] * 10
        assert all(outcome.result and outcome.result.videos[0].url for outcome in outcomes)
        assert len(emu.tasks) == 10
        counts = "SELECT total, done, succeeded, failed FROM batches WHERE id=%s"
        assert await rows(dsn, counts, made.batch) == [(10, 10, 10, 0)]
        assert await rows(dsn, "SELECT count(*) FROM procrastinate_jobs") == [(0,)]
        assert await rows(dsn, "SELECT count(*) FROM workers") == [(0,)]


async def test_a_fetch_whose_answer_was_lost_is_found(
    dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The database took the job out of the queue, and the connection broke before it could say so."""
    lost: list[int] = []

    async def losing(db: Any, queues: Any, worker: int) -> Any:
        job = await fetch_next(db, queues, worker)
        if job is not None and len(lost) < 3:
            assert job.id is not None
            lost.append(job.id)
            await db.close()
            raise psycopg.OperationalError("the connection is lost")
        return job

    monkeypatch.setattr(connector, "fetch_next", losing)
    async with site(dsn) as (fleet, emu):
        await fleet.submit([film(f"shot {n}") for n in range(8)], batch="films")
        async with at_work(fleet, emu):
            outcomes = await read(fleet)
        assert [outcome.status for outcome in outcomes] == ["succeeded"] * 8
        assert len(emu.tasks) == 8
        assert len(set(lost)) == 3
    assert caplog.text.count("was fetched when the database went away") == 3


async def test_a_worker_taken_for_dead_loses_its_jobs_quietly(
    dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its heart stops while its runs go on: another worker gets the tasks, and what it writes is refused."""
    async with site(dsn, slots=4, seconds=8.0) as (fleet, emu):
        await fleet.submit([film(f"shot {n}") for n in range(4)], batch="films")
        async with at_work(fleet, emu) as first:
            await wait_until(lambda: len(emu.tasks) == 4)
            await asyncio.sleep(0.3)
            assert first._pulse._beating is not None
            first._pulse._beating.cancel()
            async with at_work(fleet, emu):
                outcomes = await read(fleet)
                assert [outcome.status for outcome in outcomes] == ["succeeded"] * 4
                await wait_until(lambda: first._queue.fetched == 0)
            assert len(emu.tasks) == 4
        assert await rows(dsn, "SELECT done, succeeded FROM batches") == [(4, 4)]
        assert await rows(dsn, "SELECT DISTINCT fence FROM jobs") == [(2,)]
    assert "put back 4 jobs of workers that are gone" in caplog.text
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_drain_gives_back_what_is_not_sent_and_waits_for_the_rest(
    dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Queued jobs are free for others at once; running ones end in the worker, which then ends."""
    async with site(dsn, slots=2, seconds=2.0) as (fleet, emu):
        await fleet.submit([film(f"shot {n}") for n in range(6)], batch="films")
        async with at_work(fleet, emu) as worker:
            await wait_until(lambda: len(emu.tasks) == 2 and worker._queue.fetched == 6)
            await asyncio.sleep(0.3)
            worker.drain()
            await wait_until(lambda: worker._queue.fetched == 2, 1.0)
            waiting = "SELECT count(*) FROM procrastinate_jobs WHERE status='todo'"
            waiting += " AND queue_name='kling/video'"
            assert await rows(dsn, waiting) == [(4,)]
            assert await rows(dsn, "SELECT count(*) FROM jobs WHERE worker IS NOT NULL") == [(2,)]
            await wait_until(lambda: worker.state is WorkerState.ENDED)
            assert await rows(dsn, "SELECT succeeded FROM batches") == [(2,)]
            assert len(emu.tasks) == 2
        async with at_work(fleet, emu):
            assert len(await read(fleet)) == 6
        assert len(emu.tasks) == 6
    assert "drains (drain()): takes nothing new, waits for 2 tasks" in caplog.text


async def test_what_runs_longer_than_the_grace_is_adopted_at_once(dsn: str) -> None:
    """A worker that leaves writes its tasks down as running; the next one waits for them, and makes none."""
    async with site(dsn, slots=3, seconds=6.0) as (fleet, emu):
        await fleet.submit([film(f"shot {n}") for n in range(3)], batch="films")
        async with at_work(fleet, emu, grace=0.5) as worker:
            await wait_until(lambda: len(emu.tasks) == 3)
            await asyncio.sleep(0.3)
            worker.drain()
            await wait_until(lambda: worker.state is WorkerState.ENDED, 3.0)
            query = "SELECT queue_name, status FROM procrastinate_jobs"
            assert await rows(dsn, query) == [("kling/begun", "todo")] * 3
        async with at_work(fleet, emu):
            outcomes = await read(fleet)
        assert [outcome.status for outcome in outcomes] == ["succeeded"] * 3
        assert len(emu.tasks) == 3


@pytest.mark.parametrize("made", [True, False])
async def test_a_create_that_may_have_been_sent_is_looked_up(
    dsn: str, made: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker was killed after it wrote that it sends: the task is adopted, or made under the same id."""
    monkeypatch.setattr(recovery, "PAUSE", 0.1)
    async with site(dsn, slots=3, seconds=0.5) as (fleet, emu):
        batch = (await fleet.submit([film("a shot")], batch="films")).batch
        ((data, identity),) = await rows(dsn, "SELECT entry, identity FROM jobs")
        entry = unpack(data)
        async with connect(dsn) as db:
            job = await take(db, (batch, identity.hex()), "killed:1")
            assert job is not None
            times = Times(planned=time.time())
            planned = msgspec.structs.replace(entry, times=times)
            assert await write_puts(db, [FencedPut(batch, job.stored.fence, planned)]) == [True]
        if made:
            async with new_client(emu) as client:
                await client.submit(film("a shot"), external_task_id=entry.external_task_id)
        async with at_work(fleet, emu):
            (outcome,) = await read(fleet)
        assert outcome.status == "succeeded"
        (task,) = emu.tasks.values()
        assert task.external_task_id == entry.external_task_id


def test_a_create_counts_as_not_made_only_when_nobody_can_send_it() -> None:
    """The looks for it take longer than the time in which whoever wrote it down may still send it."""
    assert (rechecks.LOOKS - 1) * rechecks.PAUSE > 2 * LEASE


async def test_jobs_that_the_account_refuses_wait(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    """Units are used up: no job fails; they go on once there are units, those of other pools at once."""
    async with site(dsn, slots=3, seconds=0.3, image=2) as (fleet, emu):
        emu.fault("text_to_video", status=429, code=1102, times=1)
        await fleet.submit([film(f"shot {n}") for n in range(30)], batch="films")
        await fleet.submit([still(f"still {n}") for n in range(3)], batch="stills")
        async with new_client(emu) as client, at_work(fleet, emu, client=client) as worker:
            outcomes = await read(fleet, "stills")
            assert [outcome.status for outcome in outcomes] == ["succeeded"] * 3
            assert await rows(dsn, "SELECT failed FROM batches WHERE name='films'") == [(0,)]
            client.account.reopen("video")
            worker._queue._closed.clear()
            assert {outcome.status for outcome in await read(fleet)} == {"succeeded"}
        assert len(emu.tasks) == 33
    assert caplog.text.count("takes no jobs of pool video for 60 s") == 1


async def test_jobs_that_the_queue_has_lost_run_all_the_same(
    dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody has deleted, or cancelled, what procrastinate knew of them."""
    async with site(dsn) as (fleet, emu):
        await fleet.submit([film(f"shot {n}") for n in range(4)], batch="films")
        await rows(dsn, "DELETE FROM procrastinate_jobs WHERE mod(id, 2) = 0 RETURNING 1")
        await rows(dsn, "UPDATE procrastinate_jobs SET status='cancelled' RETURNING 1")
        async with at_work(fleet, emu):
            outcomes = await read(fleet)
        assert [outcome.status for outcome in outcomes] == ["succeeded"] * 4
    assert "handed 4 jobs to the queue anew" in caplog.text


async def test_the_clock_of_a_machine_does_not_matter(dsn: str) -> None:
    """An hour ahead, it signs its tokens by the server's time, and writes that down."""
    async with site(dsn) as (fleet, emu):
        await fleet.submit([film("a shot")], batch="films")
        keys = {"api_key": None, "access_key": emu.access_key, "secret_key": emu.secret_key}
        wrong = {**keys, "now": lambda: time.time() + 3600}
        async with at_work(fleet, emu, client=wrong):
            (outcome,) = await read(fleet)
        assert outcome.status == "succeeded"
        assert abs(outcome.started - time.time()) < 60
        assert abs(outcome.ended - time.time()) < 60


async def test_a_request_that_is_wrong_by_now_fails_alone(dsn: str) -> None:
    """A row whose request this version refuses ends as failed, and nothing is sent."""
    async with site(dsn) as (fleet, emu):
        await fleet.submit([film("a shot"), film("another")], batch="films")
        ((data,),) = await rows(dsn, "SELECT request FROM jobs WHERE position=0")
        wrong = data.replace(b'"kling-v2-6"', b'"kling-v2-6","duration":7')
        await rows(dsn, "UPDATE jobs SET request=%s WHERE position=0 RETURNING 1", wrong)
        async with at_work(fleet, emu):
            outcomes = await read(fleet)
        assert sorted(outcome.status for outcome in outcomes) == ["failed", "succeeded"]
        assert len(emu.tasks) == 1


async def test_files_are_stored_where_they_are_wanted(dsn: str, tmp_path: Path) -> None:
    """With a folder files are stored, and no addresses kept; a failure is counted by its class."""
    async with site(dsn) as (fleet, emu):
        await fleet.submit([film("a shot"), film("emulator:fail")], batch="films")
        async with at_work(fleet, emu, out=tmp_path / "out"):
            found = await read(fleet)
        assert sorted(outcome.status for outcome in found) == ["failed", "succeeded"]
        assert len(list((tmp_path / "out").iterdir())) == 1
        assert await rows(dsn, "SELECT count(*) FROM addresses") == [(0,)]
        assert await rows(dsn, "SELECT reason FROM jobs WHERE reason IS NOT NULL") == [("TaskFailed",)]


async def test_a_failed_task_is_made_again_where_that_is_wanted(dsn: str) -> None:
    """The second attempt has an id of its own; both are one job."""
    async with site(dsn, seconds=60.0) as (fleet, emu):
        batch = (await fleet.submit([film("a shot")], batch="films")).batch
        async with at_work(fleet, emu, retries=1):
            await wait_until(lambda: len(emu.tasks) == 1)
            emu.finish(next(iter(emu.tasks)), "failed", "the machine broke")
            await wait_until(lambda: len(emu.tasks) == 2)
            emu.finish(list(emu.tasks)[1])
            (outcome,) = await read(fleet)
        assert (outcome.status, outcome.attempts) == ("succeeded", 2)
        ids = [task.external_task_id for task in emu.tasks.values()]
        ((identity,),) = await rows(dsn, "SELECT identity FROM jobs")
        assert ids == [external_id(batch, identity.hex(), attempt) for attempt in (0, 1)]


async def test_connections_that_break_again_and_again_cost_nothing(dsn: str) -> None:
    """Whatever a worker is about when one of its connections ends, no job is lost, none is made twice."""
    async with site(dsn, slots=6) as (fleet, emu):
        await fleet.submit([film(f"shot {n}") for n in range(40)], batch="films")
        kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname=current_database()"
        kill += " AND pid<>pg_backend_pid() AND application_name LIKE 'kling%%' ORDER BY random() LIMIT 3"
        async with at_work(fleet, emu):
            reading = asyncio.create_task(read(fleet))
            await wait_until(lambda: len(emu.tasks) > 0)
            while not reading.done():
                await rows(dsn, kill)
                await asyncio.wait([reading], timeout=0.25)
            outcomes = reading.result()
        assert [outcome.status for outcome in outcomes] == ["succeeded"] * 40
        assert len({outcome.position for outcome in outcomes}) == 40
        assert len(emu.tasks) == 40
        assert await rows(dsn, "SELECT total, done, succeeded FROM batches") == [(40, 40, 40)]


@pytest.mark.parametrize(("status", "code"), [(400, 1201), (403, 1103)])
async def test_refusals_of_one_kind_do_not_hold_up_another(
    dsn: str, status: int, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """While all creates of one model are refused, jobs of others find room; most jobs are not burnt."""
    async with site(dsn, slots=3, image=3) as (fleet, emu):
        emu.fault("text_to_video", status=status, code=code, times=None)
        for n in range(60):  # one by one, as a web backend does: each is the first of its submit
            await fleet.submit([film(f"shot {n}")], batch="films")
        await fleet.submit([still(f"still {n}") for n in range(5)], batch="stills")
        async with at_work(fleet, emu, concurrency=4) as worker:
            outcomes = await read(fleet, "stills", 20.0)
            assert [outcome.status for outcome in outcomes] == ["succeeded"] * 5
            assert worker._queue.fetched < 4
        creates = [row for row in emu.ledger.creates if row.code == code]
        assert 10 <= len(creates) <= 14
        ((failed,),) = await rows(dsn, "SELECT failed FROM batches WHERE name='films'")
        assert failed == (len(creates) if code == 1201 else 0)
    assert caplog.text.count("for those before were refused alike in a row") == 1
    told = caplog.text.count("goes back into the queue")  # each that was sent, not those that wait
    assert told == (0 if code == 1201 else len(creates))


async def test_jobs_of_one_pool_leave_room_for_those_of_others(dsn: str) -> None:
    """However many pictures wait before them, films are begun as long as they have slots."""
    async with site(dsn, slots=3, image=3, seconds=600.0) as (fleet, emu):
        await fleet.submit([still(f"still {n}") for n in range(60)], batch="stills", priority=5)
        await fleet.submit([film(f"shot {n}") for n in range(3)], batch="films")
        async with at_work(fleet, emu, concurrency=8, grace=0.1):
            await wait_until(lambda: emu.ledger.used("video") == 2 and emu.ledger.used("image") == 3, 15.0)


@pytest.mark.parametrize(
    ("concurrency", "slots", "expected"),
    [
        (None, {"video": 5, "image": 9}, (28, {"video": 16, "image": 18})),
        (None, {"video": 50}, (100, {"video": 98})),
        (24, {"video": 30, "image": 9}, (24, {"video": 22, "image": 18})),
        (2, {"video": 5}, (2, {"video": 1})),
        (1, {"video": 5, "image": 9}, (1, {"video": 1, "image": 1})),
        (None, {}, (16, {})),
    ],
)
def test_a_worker_has_room_for_twice_its_slots(
    concurrency: int | None, slots: dict[str, int], expected: tuple[int, dict[str, int]]
) -> None:
    """Of each pool, and in all, but one pool's jobs never have all places."""
    assert room(concurrency, slots) == expected


async def test_a_cancelled_worker_leaves_its_jobs(dsn: str) -> None:
    """The program that runs the worker ends it: all goes back at once, what runs before the rest."""
    async with site(dsn, slots=2, seconds=30.0) as (fleet, emu):
        await fleet.submit([film(f"shot {n}") for n in range(5)], batch="films")
        async with new_client(emu) as client:
            working = asyncio.create_task(fleet.work(client, signals=False))
            await wait_until(lambda: len(emu.tasks) == 2)
            await asyncio.sleep(0.3)
            working.cancel()
            with pytest.raises(asyncio.CancelledError):
                await working
        queued = "SELECT queue_name, count(*) FROM procrastinate_jobs WHERE status='todo' GROUP BY 1"
        assert sorted(await rows(dsn, queued)) == [("kling/begun", 2), ("kling/video", 3)]
        assert await rows(dsn, "SELECT count(*) FROM procrastinate_workers") == [(0,)]


async def test_a_job_without_a_request_that_was_never_made_fails(dsn: str) -> None:
    """Its request is only in the jobs file that it came from; a task that was made is waited for."""
    async with site(dsn, slots=3, seconds=0.5) as (fleet, emu):
        await fleet.submit([film("a shot"), film("another")], batch="films")
        async with new_client(emu) as client:
            ((data,),) = await rows(dsn, "SELECT entry FROM jobs WHERE position=0")
            entry = unpack(data)
            task = await client.submit(film("a shot"), external_task_id=entry.external_task_id)
        created = pack(advance(entry, JobState.CREATED, task_id=task.id))
        query = "UPDATE jobs SET request=NULL, state=1, entry=%s WHERE position=0 RETURNING 1"
        await rows(dsn, query, created)
        await rows(dsn, "UPDATE jobs SET request=NULL WHERE position=1 RETURNING 1")
        async with at_work(fleet, emu):
            outcomes = await read(fleet)
        assert sorted(outcome.status for outcome in outcomes) == ["failed", "succeeded"]
        assert len(emu.tasks) == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("concurrency", 0),
        ("concurrency", True),
        ("concurrency", 2.5),
        ("grace", -1),
        ("grace", float("nan")),
        ("grace", "5"),
        ("retries", -1),
    ],
)
async def test_wrong_options_are_named(dsn: str, option: str, value: Any) -> None:
    """Nothing is taken then."""
    fleet = Fleet(dsn)
    async with Client(api_key="key") as client:
        with pytest.raises(RequestInvalid, match=option):
            await fleet.work(client, **{option: value})

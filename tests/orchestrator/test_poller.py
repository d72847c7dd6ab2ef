"""orchestrator/poller.py: tasks are polled while somebody waits; no failed query decides a task's fate."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import (
    AuthenticationError,
    BadResponse,
    ClientClosed,
    Polling,
    RequestRejected,
    TaskFailed,
    TaskNotFound,
    v1,
)
from kling_async.core.schedule import Schedule
from kling_async.core.verdict import Answer
from kling_async.errors import KlingError, TransportError
from tests.support import Recorder, client_of, clip, pair, settle, still, until

if TYPE_CHECKING:
    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio


async def test_a_thousand_waiters_a_third_of_them_leaving() -> None:
    """Rule 14: waiters that stay get the result, those that leave harm nobody, and nothing runs on."""
    before = asyncio.all_tasks()
    async with pair({"video": 20}, seconds=60, client={"limits": {"video": 20}}) as (_, client):
        tasks = [await client.submit(clip()) for _ in range(20)]
        waits = [asyncio.create_task(tasks[i % 20].wait()) for i in range(1000)]
        await settle()
        for wait in waits[::3]:
            wait.cancel()
        results = await asyncio.gather(*waits, return_exceptions=True)
        assert sum(isinstance(r, v1.Videos) for r in results) == 1000 - len(waits[::3])
        assert all(isinstance(r, asyncio.CancelledError) for r in results[::3])
        assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("kling_async")]
    assert asyncio.all_tasks() == before


async def test_handlers_that_give_up_early_still_see_every_end() -> None:
    """Rule 14: round trip 0.3 s, waits of 0.25 s, one every 0.1 s: each end is seen within an interval."""
    async with pair({"video": 5}, seconds=20) as (emu, client):
        emu.fault("query", kind="slow", seconds=0.3, times=None)
        tasks = [await client.submit(clip()) for _ in range(5)]
        loop = asyncio.get_running_loop()
        ended_at = loop.time() + 20
        seen: dict[str, float] = {}

        async def handler(number: int) -> None:
            task = tasks[number % 5]
            try:
                await task.wait(timeout=0.25)
            except TimeoutError:
                return
            seen.setdefault(task.id, loop.time())

        async with asyncio.TaskGroup() as group:
            number = 0
            while len(seen) < 5 and loop.time() < ended_at + 30:
                group.create_task(handler(number))
                number += 1
                await asyncio.sleep(0.1)
        assert len(seen) == 5
        assert max(seen.values()) <= ended_at + 15 + 0.3 + 5 * 0.1 + 0.1


async def test_nobody_waits_nothing_is_asked() -> None:
    """Rule 14: without a waiter there is no demand, hence no query."""
    async with pair() as (emu, client):
        await client.submit(clip())
        await asyncio.sleep(300)
        assert emu.ledger.queries == []


async def test_status_queries_end_with_the_last_waiter() -> None:
    """Rule 14: after the last waiter left no new query is sent."""
    async with pair(seconds=500) as (emu, client):
        task = await client.submit(clip())
        with pytest.raises(TimeoutError):
            await task.wait(timeout=21)
        asked = len(emu.ledger.queries)
        assert asked
        await asyncio.sleep(100)
        assert len(emu.ledger.queries) == asked


async def test_a_queued_submit_is_demand_too() -> None:
    """Rule 14: tasks nobody waits for are asked about while somebody queues for their slots."""
    async with pair({"video": 1, "image": 9}, client={"limits": {"video": 1, "image": 9}}) as (emu, client):
        await client.submit(clip("first"))
        await client.submit(still())
        await client.submit(clip("second"))
        assert [row.endpoint for row in emu.ledger.queries if row.endpoint != "text_to_video"] == []
        assert len(emu.ledger.created) == 3


async def test_cancelling_a_waiter_cancels_no_query() -> None:
    """Rule 14: the answer to a query under way is used, whoever it was for."""
    async with pair(seconds=3) as (emu, client):
        emu.fault("query", kind="slow", seconds=2)
        task = await client.submit(clip())
        wait = asyncio.create_task(task.wait())
        await until(lambda: emu.ledger.queries)
        wait.cancel()
        await asyncio.sleep(3)
        assert task.done and len(emu.ledger.queries) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"code": 5000},
        {"code": 5001},
        {"code": 5002},
        {"code": 1302},
        {"code": 1302, "retry_after": 3},
        {"code": 1303},
        {"status": 429},
        {"status": 500},
        {"kind": "html"},
        {"kind": "html", "status": 404},
        {"kind": "lost_before"},
        {"kind": "lost_after"},
        {"kind": "half_body"},
        {"kind": "truncated_json"},
        {"kind": "empty"},
        {"kind": "hang"},
        {"kind": "wrong_types", "value": "nonsense"},
        {"kind": "wrong_types", "value": {"task_status": "failed"}},
        {"code": 1201, "message": "Task not found by id/external id"},
        {"kind": "unknown_status"},
    ],
    ids=lambda f: "-".join(str(v) for v in f.values())[:30],
)
async def test_no_failed_query_decides_a_fate(fault: dict[str, Any]) -> None:
    """Rule 11: whatever happens to two queries in a row, the wait goes on and gives the result."""
    async with pair() as (emu, client):
        emu.fault("query", times=2, **fault)
        assert (await client.run(clip())).videos
        assert len(emu.ledger.faults) == 2


async def test_an_unknown_status_is_running_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    """Rule 10: one log line per word, however often it comes."""
    async with pair() as (emu, client):
        emu.fault("query", kind="unknown_status", value="pondering", times=4)
        await client.run(clip())
        assert [r.getMessage() for r in caplog.records if "pondering" in r.getMessage()] == [
            "unknown task status 'pondering' counts as running"
        ]


async def test_a_refused_key_is_raised_and_the_task_can_be_waited_for_again() -> None:
    """Rule 11: a permanent error reaches the waiters; the task and its slot are untouched."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        emu.fault("query", code=1002)
        waits = [asyncio.create_task(task.wait()) for _ in range(3)]
        for wait in waits:
            with pytest.raises(AuthenticationError):
                await wait
        assert client.account.limits()["video"].held == 1
        assert await task.wait()


async def test_a_gateway_that_answers_json_of_its_own_decides_no_fate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rule 11: a 404 without a code of the API's is a gateway's; the third in a row is believed."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        stray = Answer(404, None, "no Route matched", "", b"null")
        real, left = client._engine.transport.exchange, 2

        async def exchange(*args: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            return stray if left >= 0 else await real(*args, **more)

        monkeypatch.setattr(client._engine.transport, "exchange", exchange)
        assert (await task.wait()).videos
        other = await client.submit(clip())
        left = 3
        with pytest.raises(RequestRejected, match="no Route matched"):
            await other.wait()
        assert (await other.wait()).videos and len(emu.ledger.created) == 2


async def test_a_broken_gateway_is_raised_when_it_lasts() -> None:
    """Three HTML pages of status 404 in a row are believed: the wait raises the last."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        emu.fault("query", kind="html", status=404, times=3)
        with pytest.raises(BadResponse) as caught:
            await task.wait()
        assert caught.value.http_status == 404
        assert await task.wait()


async def test_a_task_that_was_seen_is_missed_three_times_before_it_is_gone() -> None:
    """Rule 1: TaskNotFound is confirmed first, then its slots are free."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        emu.fault("query", code=1201, message="Task not found by id/external id", times=3)
        with pytest.raises(TaskNotFound, match=task.id):
            await task.wait()
        assert len(emu.ledger.queries) == 3
        assert client.account.limits()["video"].held == 0
        assert await task.wait()  # it was there after all: asked for again, it is found


async def test_a_miss_that_comes_after_the_end_was_seen_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refresh saw the end while the third query in a row was to miss it: the task has ended, once."""
    events = Recorder()
    async with pair(client={"on_event": events}) as (_, client):
        task = await client.submit(clip())
        miss = Answer(400, 1201, "Task not found by id/external id", "", b"null")
        real, late = client._engine.transport.exchange, asyncio.Event()
        queries = 0

        async def exchange(*args: Any, **more: Any) -> Any:
            nonlocal queries
            queries += 1
            if queries > 3:
                return await real(*args, **more)
            if queries == 3:
                await late.wait()
            return miss

        monkeypatch.setattr(client._engine.transport, "exchange", exchange)
        wait = asyncio.create_task(task.wait())
        await until(lambda: queries == 3)
        await asyncio.sleep(100)
        await task.refresh()
        assert task.done
        late.set()
        await settle()
        assert (await wait).videos
        assert [event.error for event in events.of("ended")] == [""]


async def test_a_moderated_task_fails_with_its_record() -> None:
    """TaskFailed holds the vendor's reason and all that is known; the slot is free."""
    async with pair() as (_, client):
        with pytest.raises(TaskFailed) as caught:
            await client.run(clip("emulator:fail"))
        record = caught.value.record
        assert record.status == "failed" and record.message and record.message in str(caught.value)
        assert client.account.limits()["video"].held == 0


async def test_an_attached_task_is_asked_at_once_and_holds_its_slots() -> None:
    """Rules 1 and 13: an attached task holds slots from when it is seen running until it has ended."""
    async with pair({"image": 9}, seconds=100) as (emu, client):
        made = await client.submit(still(n=3))
        async with client_of(emu) as other:
            task = other.attach(v1.ImageGeneration, task_id=made.id)
            assert task.status == "unknown" and other.tasks() == []
            wait = asyncio.create_task(task.wait())
            await until(lambda: task.status != "unknown", 1)
            assert other.account.limits()["image"].held == 1  # its weight is not known here
            assert [t.id for t in other.tasks()] == [made.id]
            await wait
            assert other.account.limits()["image"].held == 0


async def test_attach_by_external_id_and_twice() -> None:
    """Handles by either id are one task, which holds its slot once."""
    async with pair(seconds=100) as (_, client):
        made = await client.submit(clip(), external_task_id="mine")
        by_name = client.attach(v1.TextToVideo, external_task_id="mine")
        by_id = client.attach(v1.TextToVideo, task_id=made.id)
        await by_name.refresh()
        assert by_name.id == by_id.id == made.id
        assert client.account.limits()["video"].held == 1
        assert await by_name.wait() == await by_id.wait()


async def test_handles_by_either_id_made_before_anything_was_seen_are_one_task() -> None:
    """Handles by one id share a tracked task; across ids, slots and events still come once."""
    async with pair(seconds=100) as (emu, client):
        made = await client.submit(clip(), external_task_id="mine")
        heard = Recorder()
        async with client_of(emu, on_event=heard) as other:
            by_id = [other.attach(v1.TextToVideo, task_id=made.id) for _ in range(2)]
            by_name = other.attach(v1.TextToVideo, external_task_id="mine")
            waits = [asyncio.create_task(task.wait()) for task in (*by_id, by_name)]
            await asyncio.sleep(10)
            assert other.account.limits()["video"].held == 1
            assert [task.id for task in other.tasks()] == [made.id]
            await asyncio.gather(*waits)
            assert (other.account.limits()["video"].held, other.tasks()) == (0, [])
            assert len(heard.of("ended")) == 1
        assert client.attach(v1.TextToVideo, external_task_id="mine")._tracked is made._tracked


async def test_a_refreshed_task_that_runs_is_polled() -> None:
    """The task holds a slot from then on, so a submit that queues for it goes on when the task ends."""
    async with pair({"video": 1}, seconds=100) as (emu, client):
        made = await client.submit(clip())
        async with client_of(emu, limits={"video": 1}) as other:
            await other.attach(v1.TextToVideo, task_id=made.id).refresh()
            assert [task.id for task in other.tasks()] == [made.id]
            await asyncio.wait_for(other.submit(clip()), 200)


async def test_attach_to_nothing() -> None:
    """A task that was never seen is believed missing at once."""
    async with pair() as (emu, client):
        with pytest.raises(TaskNotFound):
            await client.attach(v1.TextToVideo, task_id="123456789012345678").wait()
        assert len(emu.ledger.queries) == 1


async def test_requests_per_second_binds_and_rounds_keep_their_distance() -> None:
    """Rule 13: no second sees more queries than allowed, however many tasks wait."""
    polling = Polling(min_interval=1, requests_per_second=3)
    async with pair({"video": 20}, seconds=40, client={"limits": {"video": 20}, "polling": polling}) as (
        emu,
        client,
    ):
        await asyncio.gather(*(client.run(clip()) for _ in range(20)))
        times = [row.at for row in emu.ledger.rows if row.kind in ("query", "list", "tasks")]
        assert max(sum(t <= u < t + 1 for u in times) for t in times) <= 4


async def test_closing_ends_all_waits() -> None:
    """Rule 14: closing the client raises ClientClosed to waiters, and nothing runs on."""
    async with pair(seconds=500) as (_, client):
        task = await client.submit(clip())
        wait = asyncio.create_task(task.wait())
        await asyncio.sleep(20)
        await client.aclose()
        with pytest.raises(ClientClosed):
            await wait
        with pytest.raises(ClientClosed):
            await task.wait()


async def test_a_query_that_breaks_fails_its_waiters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 14: a bug of ours is raised to the waiters; they do not wait for ever."""
    async with pair() as (_, client):
        task = await client.submit(clip())

        async def broken(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(client._engine.transport, "read", broken)
            with pytest.raises(TransportError, match="ZeroDivisionError"):
                await task.wait()
        assert await task.wait()


async def test_a_round_that_breaks_fails_its_waiters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 14: a bug in the schedule is raised to the waiters, too."""
    async with pair() as (_, client):
        task = await client.submit(clip())

        def broken(*_: object) -> list[object]:
            raise ZeroDivisionError

        wait = asyncio.create_task(task.wait())
        await settle()
        with monkeypatch.context() as patch:
            patch.setattr(Schedule, "ask", broken)
            with pytest.raises(KlingError, match="ZeroDivisionError"):
                await wait
        assert await task.wait()


async def test_events_tell_a_tasks_life() -> None:
    """A listener sees a task queued, admitted, created, asked about, changed and ended, with its ids."""
    events = Recorder()
    async with pair(client={"on_event": events}) as (_, client):
        task = await client.submit(clip())
        await task.wait()
        kinds = events.kinds()
        assert [k for k in kinds if k not in ("asked", "changed")] == [
            "queued",
            "admitted",
            "created",
            "ended",
        ]
        assert "asked" in kinds and "changed" in kinds
        end = events.of("ended")[0]
        assert (end.task_id, end.external_task_id, end.status) == (task.id, task.external_task_id, "succeed")


async def test_a_slot_held_too_long_stops_counting() -> None:
    """Rule 1: after max_task_life the slot is free, with an event; waiting for the task still works."""
    events = Recorder()
    async with pair(seconds=300, client={"on_event": events, "max_task_life": 100}) as (_, client):
        task = await client.submit(clip())
        await asyncio.sleep(101)
        assert client.account.limits()["video"].held == 0
        assert [e.external_task_id for e in events.of("slot_expired")] == [task.external_task_id]
        assert await task.wait()
        assert client.account.limits()["video"].held == 0


async def test_the_answer_may_leave_out_the_external_id() -> None:
    """Some answers lack task_info: the external id of the create is kept."""
    async with pair() as (emu, client):
        task = await client.submit(clip(), external_task_id="kept")
        _drop_task_info(emu)
        await task.refresh()
        assert task.external_task_id == "kept"


def _drop_task_info(emu: Emulator) -> None:
    (made,) = emu.tasks.values()
    emu.fault("query", kind="wrong_types", value={"task_id": made.task_id, "task_status": "processing"})

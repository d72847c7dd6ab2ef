"""orchestrator/poller.py: tasks are polled while somebody waits; no failed query decides a task's fate."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import (
    AuthenticationError,
    BadResponse,
    ClientClosed,
    Polling,
    TaskFailed,
    TaskNotFound,
    TaskTimeout,
    v1,
)
from kling_async.core.schedule import Schedule
from kling_async.core.verdict import Answer, Broken
from kling_async.errors import KlingError, TransportError
from tests.support import Recorder, client_of, clip, pair, settle, still, until, wall_clock

if TYPE_CHECKING:
    from kling_async import Client
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


async def submit_and_wait(client: Client) -> None:
    await (await client.submit(clip())).wait(timeout=300)


async def run(client: Client) -> None:
    await client.run(clip(), timeout=300)


WAYS = {"wait": submit_and_wait, "run": run}


@pytest.mark.parametrize(
    "status", [2, 99, 2.0, "2", "reviewing", True, [], {}, {"code": 2}, ["succeed"], "", None]
)
@pytest.mark.parametrize("result", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_nobody_waits_in_silence_for_a_task_whose_status_is_not_known(
    status: Any, result: bool, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Rule 10: a number, an odd type, no status at all: told the third time in a row, and by the timeout."""
    async with pair() as (emu, client):
        fields = {"task_id": "847570360000760860", "task_status": status}
        if result:
            fields["task_result"] = {"videos": [{"id": "v", "url": "https://example.com/v.mp4"}]}
        emu.fault("query", kind="wrong_types", value=fields, times=None)
        with pytest.raises(TaskTimeout, match=r"its status is '.+', which is not known") as caught:
            await WAYS[way](client)
        assert caught.value.task_id == fields["task_id"] and caught.value.unreadable == 0
        told = [r for r in caplog.records if "three answers in a row" in r.getMessage()]
        assert [r.levelname for r in told] == ["WARNING"]
        assert f"({int(result)} show a result)" in told[0].getMessage()
        assert client.account.limits()["video"].held == 1


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


NOT_FOUND = "Task not found by id/external id"


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "html", "status": 404},
        {"kind": "html", "status": 408},
        {"kind": "html", "status": 403},
        {"status": 401},
        {"code": 1203},
        {"code": 1201, "message": "id is malformed"},
        {"code": 1200},
        {"code": 1300},
        {"kind": "wrong_types", "value": "nonsense"},
    ],
    ids=lambda f: "-".join(str(v) for v in f.values())[:30],
)
async def test_a_query_ends_no_task_however_often_it_is_refused(fault: dict[str, Any]) -> None:
    """Rule 11: twenty refusals in a row that are not the vendor's about the account decide nothing."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        emu.fault("query", times=20, **fault)
        assert (await task.wait()).videos
        assert len(emu.ledger.faults) == 20 and len(emu.ledger.created) == 1


async def test_a_wall_before_the_vendor_is_told_and_raised_when_it_lasts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """401 and 403 without a code: one warning, after 15 minutes an error that names the host."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        emu.fault("query", kind="html", status=403, times=None)
        begun = asyncio.get_running_loop().time()
        with pytest.raises(BadResponse, match=r"127\.0\.0\.1 has refused all queries") as caught:
            await task.wait()
        assert 900 <= asyncio.get_running_loop().time() - begun < 1000
        assert caught.value.http_status == 403 and client.account.limits()["video"].held == 1
        assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1


async def test_a_task_that_was_accepted_is_missed_for_minutes_before_it_is_gone() -> None:
    """Rule 1: four looks over five minutes, in two forms of query; then its slots are free."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        emu.fault("query", code=1201, message=NOT_FOUND, times=None)
        emu.fault("tasks", kind="wrong_types", value=[], times=None)
        begun = asyncio.get_running_loop().time()
        with pytest.raises(TaskNotFound, match=task.id):
            await task.wait()
        assert 300 <= asyncio.get_running_loop().time() - begun < 400
        assert emu.ledger.queries and emu.ledger.of("tasks")
        assert client.account.limits()["video"].held == 0


async def test_a_task_that_another_form_shows_is_not_gone() -> None:
    """A GET that never finds the task ends nothing: /tasks shows it, and its result."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        emu.fault("query", code=1201, message=NOT_FOUND, times=None)
        assert (await task.wait()).videos


async def test_a_miss_that_comes_after_the_end_was_seen_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refresh saw the end while a query was to miss it: the task has ended, once."""
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
        assert client.attach(v1.TextToVideo, external_task_id="mine").tracked is made.tracked


async def test_a_refreshed_task_that_runs_is_polled() -> None:
    """The task holds a slot from then on, so a submit that queues for it goes on when the task ends."""
    async with pair({"video": 1}, seconds=100) as (emu, client):
        made = await client.submit(clip())
        async with client_of(emu, limits={"video": 1}) as other:
            await other.attach(v1.TextToVideo, task_id=made.id).refresh()
            assert [task.id for task in other.tasks()] == [made.id]
            await asyncio.wait_for(other.submit(clip()), 200)


async def test_attach_to_nothing() -> None:
    """An id that was merely given is believed to be no task's after three looks in five seconds."""
    async with pair() as (emu, client):
        begun = asyncio.get_running_loop().time()
        with pytest.raises(TaskNotFound):
            await client.attach(v1.TextToVideo, task_id="123456789012345678").wait()
        assert 5 <= asyncio.get_running_loop().time() - begun < 9
        assert len(emu.ledger.queries) + len(emu.ledger.of("tasks")) == 3


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


@pytest.mark.parametrize(
    "result",
    [
        None,
        {},
        [],
        "",
        {"videos": []},
        {"videos": [{"id": "1", "url": None}]},
        {"videos": [{"watermark_url": "u"}]},
    ],
    ids=str,
)
async def test_a_success_is_asked_again_for_its_result(result: Any) -> None:
    """Rule 11: a result that comes late is waited for; meanwhile the slot is free and nothing has ended."""
    events = Recorder()
    async with pair(client={"on_event": events}) as (emu, client):
        task = await client.submit(clip())
        odd = {"task_id": task.id, "task_status": "succeed", "task_result": result}
        emu.fault("query", kind="wrong_types", value=odd, times=3)
        wait = asyncio.create_task(task.wait())
        await until(lambda: emu.ledger.faults)
        await settle()
        assert client.account.limits()["video"].held == 0 and not task.done
        assert (await wait).videos[0].url
        assert [event.status for event in events.of("ended")] == ["succeed"]


async def test_a_result_that_never_comes_is_an_error_that_says_what_there_is() -> None:
    """After a few looks the task has ended, and each wait tells what its result holds."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        odd = {
            "task_id": task.id,
            "task_status": "succeed",
            "task_result": {"videos": [{"watermark_url": "u"}]},
        }
        emu.fault("query", kind="wrong_types", value=odd, times=None)
        for _ in range(2):
            with pytest.raises(BadResponse, match=r"names no file; it holds videos\[0\]\.watermark_url"):
                await task.wait()
        assert task.done and len(emu.ledger.faults) == 6


async def test_an_end_is_final() -> None:
    """Rule 11: a replica that lags does not turn an ended task back; fresh addresses are taken."""
    events = Recorder()
    async with pair(client={"on_event": events}) as (emu, client):
        task = await client.submit(clip())
        await task.wait()
        for value in (
            {"task_id": task.id, "task_status": "processing"},
            {"task_id": task.id, "task_status": "failed", "task_status_msg": "no"},
            {"task_id": task.id, "task_status": "succeed"},
        ):
            emu.fault("query", kind="wrong_types", value=value)
            assert (await task.refresh()).status == "succeed"
            assert task.done and (await task.wait()).videos
        assert len(events.of("ended")) == 1


async def test_an_answer_about_another_task_is_not_believed(caplog: pytest.LogCaptureFixture) -> None:
    """Rule 11: a cache that answers with another task's object ends nothing; the third time it is told."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        other = {
            "task_id": "7",
            "task_status": "succeed",
            "task_result": {"videos": [{"id": "1", "url": "https://a.example/other.mp4"}]},
        }
        emu.fault("query", kind="wrong_types", value=other, times=4)
        result = await task.wait()
        assert "other" not in result.videos[0].url and len(emu.ledger.faults) == 4
        told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert len(told) == 1 and "the answer is about another task" in told[0]


async def test_a_timeout_tells_how_many_answers_could_not_be_read() -> None:
    """A wait that ends without an end says why it may have missed it."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        emu.fault("query", kind="wrong_types", value="nonsense", times=None)
        with pytest.raises(TaskTimeout, match=r"\d+ answers about it could not be read") as caught:
            await task.wait(timeout=100)
        assert caught.value.unreadable == len(emu.ledger.faults) > 2


@pytest.mark.parametrize("started", [False, True], ids=["before its first step", "under way"])
async def test_a_cancelled_query_is_asked_again(started: bool) -> None:
    """Rule 14: whoever cancels all tasks of the loop leaves no waiter hanging, nor later ones."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        wait = asyncio.create_task(task.wait())
        emu.fault("query", kind="slow", seconds=5)

        def queries() -> list[asyncio.Task[Any]]:
            return [t for t in asyncio.all_tasks() if "status query" in t.get_name()]

        if started:
            await until(lambda: emu.ledger.queries)
        else:
            await settle()
            client.nudge(task.id)
        assert queries()
        for query in queries():
            query.cancel()
        assert (await wait).videos
        assert (await client.run(clip())).videos


async def test_a_query_that_raises_what_is_no_exception_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rule 14: its waiters are told, and later ones get the result."""

    class Halt(BaseException):
        pass

    async with pair() as (_, client):
        task = await client.submit(clip())

        async def broken(*_: Any) -> Any:
            raise Halt

        with monkeypatch.context() as patch:
            patch.setattr(client._engine.poller._reader, "ask", broken)
            with pytest.raises(TransportError, match="Halt"):
                await task.wait()
        assert (await task.wait()).videos


async def test_the_first_failed_query_of_a_kind_and_the_recovery_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Silence would look like a task that takes long: a warning for each kind of failure, one at its end."""
    async with pair() as (emu, client):
        emu.fault("query", code=5000, times=3)
        emu.fault("query", kind="lost_before", times=2)
        await client.run(clip())
        told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert len(told) == 3 and all("127.0.0.1" in line for line in told)
        assert "5000" in told[0] and "cut" in told[1] and "answers again, after" in told[2]
        assert len(emu.ledger.faults) == 5


async def test_an_untrusted_certificate_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No later query could succeed: the waiters are told at once, in any form of query."""
    async with pair() as (_, client):
        tasks = [await client.submit(clip()) for _ in range(3)]

        async def exchange(*_: Any, **__: Any) -> Any:
            return Broken(False, "no TLS connection", hopeless=True)

        begun = asyncio.get_running_loop().time()
        with monkeypatch.context() as patch:
            patch.setattr(client._engine.transport, "exchange", exchange)
            for error in await asyncio.gather(*(task.wait() for task in tasks), return_exceptions=True):
                assert isinstance(error, TransportError) and "TLS" in str(error)
        assert asyncio.get_running_loop().time() - begun < 60
        assert await asyncio.gather(*(task.wait() for task in tasks))


@pytest.mark.parametrize("hours", [8, -8, 24 * 365])
async def test_a_wrong_local_clock_delays_no_result(hours: int) -> None:
    """Ages of our own tasks come from our own clock, those of others from the vendor's Date."""
    loop = asyncio.get_running_loop()
    wall = wall_clock()
    slots = {"video": 5}
    async with pair(slots, seconds=60, client={"now": lambda: wall() + hours * 3600}) as (_, client):
        begun = loop.time()
        for _ in range(4):
            await asyncio.gather(*(client.run(clip()) for _ in range(5)))
        assert loop.time() - begun < 4 * 75


async def test_refreshes_keep_the_rate_and_polls_go_first() -> None:
    """Rule 13: 40 refreshes at once take 4 s at 10 a second, and delay no status query that is due."""
    loop = asyncio.get_running_loop()
    async with pair({"video": 40}, client={"limits": {"video": 40}}) as (emu, client):
        tasks = [await client.submit(clip()) for _ in range(40)]
        begun = loop.time()
        wait = asyncio.create_task(tasks[0].wait())
        await asyncio.gather(*(task.refresh() for task in tasks))
        assert 3.8 <= loop.time() - begun <= 6
        asked = [row.at for row in emu.ledger.queries]
        assert all(b - a > 0.9 for a, b in zip(asked, asked[10:], strict=False))
        assert (await wait).videos


async def test_refreshes_of_one_task_at_once_are_one_request() -> None:
    """Rule 13: all callers get its answer; one that is cancelled takes nothing from the others."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        callers = [asyncio.create_task(task.refresh()) for _ in range(200)]
        await asyncio.sleep(0)
        callers[0].cancel()
        await asyncio.gather(*callers[1:])
        assert len(emu.ledger.queries) == 1
        emu.fault("query", code=1002)
        failures = await asyncio.gather(*(task.refresh() for _ in range(3)), return_exceptions=True)
        assert all(isinstance(error, AuthenticationError) for error in failures)
        assert len({id(error) for error in failures}) == 3
        await task.refresh()


async def test_a_refresh_that_is_cut_short_fails_its_callers() -> None:
    """Rule 14: whoever cancels all tasks of the loop leaves no caller hanging, nor later ones."""
    async with pair() as (emu, client):
        task = await client.submit(clip())
        emu.fault("query", kind="slow", seconds=5)
        caller = asyncio.create_task(task.refresh())
        await until(lambda: emu.ledger.queries)
        for work in asyncio.all_tasks():
            if "refresh" in work.get_name():
                work.cancel()
        with pytest.raises(TransportError, match="cut short"):
            await caller
        await task.refresh()


async def test_pollers_of_dropped_views_are_freed() -> None:
    """A view's poller lives while a client or a running task needs it, and no longer."""
    async with pair() as (_, client):
        pollers = client._engine.pollers
        for number in range(20):
            await client.with_options(polling=Polling(max_interval=20 + number)).run(clip())
        task = await client.with_options(polling=Polling(max_interval=99)).submit(clip())
        await settle()
        gc.collect()
        assert len(list(pollers)) == 2
        await task.wait()
        del task
        await settle()
        gc.collect()
        assert list(pollers) == [client._engine.poller]

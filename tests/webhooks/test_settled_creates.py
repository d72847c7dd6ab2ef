"""Callbacks about creates whose answer has not come: they settle it, and each create makes one task."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_async import AmbiguousCreate, ExternalIdTaken, Retry, TaskFailed
from kling_async.webhooks import parse
from tests.clock import new_event_loop
from tests.support import client_of, clip, settle, until
from tests.webhooks.receiving import DOORS, posting, receiving
from tests.webhooks.support import encoded

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async.tasks import Task
    from tests.webhooks.receiving import Setting

virtual = pytest.mark.anyio


async def check_one(setting: Setting, task: Task[Any]) -> None:
    """Make sure that one task was made, tracked and ended once, and holds no slots."""
    assert (await asyncio.wait_for(task.wait(), 200)).videos[0].url
    await setting.settle()
    await asyncio.sleep(120)
    events = setting.events
    assert len(events.of("created")) + len(events.of("adopted")) == 1 == len(events.of("ended"))
    assert setting.client.stats().requests["create"] == 1
    assert setting.client.account.limits()["video"].held == 0
    assert not setting.client.tasks() and not setting.client.unresolved()
    assert setting.client.stats().in_flight == 0


@virtual
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("external_task_id", [None, "order-1"])
@pytest.mark.parametrize("slow", [5, 45])
async def test_a_callback_before_the_create_s_answer(
    door: str, external_task_id: str | None, slow: int
) -> None:
    """Rule 15a: the submit returns at the callback; the answer that comes later makes no second task."""
    async with receiving(door) as setting:
        setting.emu.fault("create", kind="slow", seconds=slow)
        begun = asyncio.get_running_loop().time()
        task = await setting.client.submit(clip(), external_task_id=external_task_id)
        assert asyncio.get_running_loop().time() - begun < 1
        assert setting.client.account.limits()["video"].held == 1
        assert len(setting.client.tasks()) == 1 and setting.client.stats().in_flight == 0
        await asyncio.sleep(slow + 1)
        assert len(setting.client.tasks()) == (1 if slow < 30 else 0)
        assert setting.asked == 0
        await check_one(setting, task)


@virtual
@pytest.mark.parametrize("fault", ["lost_after", "half_body", "html", "truncated_json", "hang"])
async def test_a_create_whose_answer_was_lost_is_settled_by_its_callback(fault: str) -> None:
    """Rule 15a: whatever became of the answer, the callback accepts the create, and none is sent again."""
    async with receiving() as setting:
        setting.emu.fault("create", kind=fault, acts=True)
        task = await setting.client.submit(clip(), external_task_id="order-1")
        await check_one(setting, task)


UNRESOLVED: Final[dict[str, Any]] = {"client": {"retry": Retry(max_tries=1)}, "seconds": 60}


async def lose(setting: Setting, **options: Any) -> None:
    """Make a create whose fate is unknown: its answer is lost, and so is that of the look-up."""
    setting.emu.fault("callback:submitted", kind="late", seconds=5)
    setting.emu.fault("create", kind="lost_after")
    setting.emu.fault("query", code=5001)
    with pytest.raises(AmbiguousCreate):
        await setting.client.submit(clip(), **options)
    assert len(setting.client.unresolved()) == 1 and not setting.client.tasks()


@virtual
@pytest.mark.parametrize("external_task_id", [None, "order-1"])
async def test_a_signed_callback_settles_an_unresolved_create(external_task_id: str | None) -> None:
    """Rule 15a: no look-up follows; the task has the slots of the create until its end."""
    async with receiving(**UNRESOLVED) as setting:
        await lose(setting, external_task_id=external_task_id)
        asked = setting.asked
        await until(lambda: not setting.client.unresolved(), 5.5)
        (task,) = setting.client.tasks()
        assert setting.client.account.limits()["video"].held == 1
        await asyncio.sleep(20)
        assert setting.asked == asked
        await check_one(setting, task)


@virtual
async def test_an_unsigned_callback_has_an_unresolved_create_looked_up_at_once() -> None:
    """Rule 15a: one look-up, which finds it, before the look that was planned 10 s after the loss."""
    async with receiving(signed=False, **UNRESOLVED) as setting:
        await lose(setting)
        asked = setting.asked
        await until(lambda: not setting.client.unresolved(), 6)
        assert setting.asked == asked + 1
        (task,) = setting.client.tasks()
        await check_one(setting, task)


@virtual
async def test_hints_never_have_a_create_forgotten() -> None:
    """Whoever knows the path token may ask for looks, but a miss of one of these counts for nothing."""
    async with receiving(**UNRESOLVED) as setting, posting(setting.url) as post:
        setting.emu.fault("create", kind="lost_before")
        setting.emu.fault("query", code=5001)
        with pytest.raises(AmbiguousCreate) as caught:
            await setting.client.submit(clip())
        name = caught.value.external_task_id
        for number in range(20):
            body = encoded(
                {
                    "task_id": "1",
                    "task_status": "succeed",
                    "task_info": {"external_task_id": name},
                    "n": number,
                }
            )
            assert await post(body, {}) == 200
            await asyncio.sleep(0.4)
        assert setting.asked > 2 and len(setting.client.unresolved()) == 1
        await until(lambda: not setting.client.unresolved(), 3000)  # by its six planned looks
        assert setting.client.account.limits()["video"].held == 0


@virtual
async def test_a_hint_settles_no_create_on_its_way() -> None:
    """The submit returns with the answer, however often an unsigned callback tells of its task before."""
    async with receiving(signed=False) as setting:
        setting.emu.fault("create", kind="slow", seconds=8)
        begun = asyncio.get_running_loop().time()
        task = await setting.client.submit(clip())
        assert asyncio.get_running_loop().time() - begun >= 8
        await check_one(setting, task)


@virtual
@pytest.mark.parametrize("lost", [False, True])
async def test_the_callback_of_an_older_task_under_the_same_id_settles_nothing(lost: bool) -> None:
    """An id of the caller's own may be taken: by the time of its creation that task is not ours."""
    async with receiving(seconds=5000, client={"retry": Retry(max_tries=1)}) as setting:
        setting.emu.fault("callback:submitted", kind="late", seconds=65)
        async with client_of(setting.emu) as stranger:
            await stranger.submit(clip("older"), external_task_id="same", callback_url=setting.url)
        await asyncio.sleep(60)
        setting.emu.fault("create", kind="lost_before" if lost else "slow", seconds=10)
        if lost:
            setting.emu.fault("query", code=5001)
        error = AmbiguousCreate if lost else ExternalIdTaken
        with pytest.raises(error):
            await setting.client.submit(clip("ours"), external_task_id="same")
        await asyncio.sleep(6)
        assert setting.client.stats().callbacks["believed"] >= 1 and not setting.client.tasks()
        await until(lambda: not setting.client.unresolved())
        assert setting.client.account.limits()["video"].held == 0 and not setting.client.tasks()


@virtual
async def test_an_end_told_before_the_answer_counts_as_told() -> None:
    """The receiver has proved reliable by it, and the next task's duration is known."""
    async with receiving() as setting:
        setting.emu.fault("create", kind="slow", seconds=50)
        setting.emu.fault("callback", kind="lost", times=2)
        task = await setting.client.submit(clip())
        assert task.done and (await task.wait()).videos
        host = setting.url.split("/")[2]
        assert setting.client._engine.pollers.channels.channel(host).reliability > 0.5
        assert (await setting.client.submit(clip())).eta is not None
        assert [e.kind for e in setting.events.events if e.kind in {"created", "changed", "ended"}] == [
            "created",
            "changed",
            "ended",
            "created",
        ]


@virtual
async def test_a_told_failure_before_the_answer_is_the_task_s_end() -> None:
    """The submit returns the task, and its wait raises why the vendor ended it."""
    async with receiving() as setting:
        setting.emu.fault("create", kind="slow", seconds=55)
        setting.emu.fault("callback", kind="lost", times=2)
        task = await setting.client.submit(clip("emulator:fail"))
        with pytest.raises(TaskFailed):
            await task.wait()
        assert setting.asked == 0 and setting.client.account.limits()["video"].held == 0


@virtual
async def test_callers_who_have_left_lose_nothing() -> None:
    """A create whose caller was cancelled is settled like any other: its task is in the client's care."""
    async with receiving() as setting:
        setting.emu.fault("create", kind="slow", seconds=20)
        setting.emu.fault("callback:submitted", kind="late", seconds=3)
        submit = asyncio.create_task(setting.client.submit(clip()))
        await asyncio.sleep(1)
        submit.cancel()
        await asyncio.gather(submit, return_exceptions=True)
        await asyncio.sleep(2.5)
        (task,) = setting.client.tasks()
        await check_one(setting, task)


@virtual
async def test_a_batch_goes_on_by_callbacks(tmp_path: Path) -> None:
    """Creates of a batch carry the client's address; settled before their answers, none is made twice."""
    async with receiving() as setting:
        setting.emu.fault("create", kind="slow", seconds=20, times=None)
        requests = [(f"k{n}", clip(f"number {n}")) for n in range(8)]
        async with setting.client.batch(requests, journal=tmp_path / "jobs.sqlite") as results:
            outcomes = [outcome async for outcome in results]
        assert {outcome.key for outcome in outcomes} == {key for key, _ in requests}
        assert all(outcome.ok for outcome in outcomes)
        assert len(setting.emu.tasks) == 8 == setting.client.stats().requests["create"]


@virtual
async def test_who_joins_a_submit_in_the_turn_of_its_callback_gets_the_task() -> None:
    """A call that shares a submission, and one that listens, never wait for what has been handed over."""
    async with receiving() as setting:
        setting.emu.fault("create", kind="slow", seconds=20)
        setting.emu.fault("callback:submitted", kind="late", seconds=3)
        same: dict[str, Any] = {"external_task_id": "order-1", "if_exists": "attach"}
        first = await setting.client.enqueue(clip(), **same)
        await until(lambda: len(setting.emu.tasks) == 1)
        (made,) = setting.emu.tasks
        body = {"task_id": made, "task_status": "submitted", "task_info": {"external_task_id": "order-1"}}
        record = parse(encoded(body)).record
        second = asyncio.create_task(setting.client.submit(clip(), **same))
        with ThreadPoolExecutor(1) as pool:  # in another thread: it is handed over, and taken in the call
            pool.submit(setting.client.callbacks.believe, record).result()
        async with asyncio.timeout(2):
            assert (await first.accepted()).id == made == (await second).id
        await check_one(setting, first)


@settings(max_examples=25, deadline=None)
@given(
    answer=st.sampled_from(["none", "slow", "lost_after", "half_body", "html", "truncated_json", "empty"]),
    told=st.lists(st.sampled_from(["none", "lost", "doubled", "late", "reordered", "forged"]), max_size=6),
    by=st.sampled_from([True, False]),
)
def test_any_answers_and_any_callbacks_make_one_task_each(answer: str, told: list[str], by: bool) -> None:
    """Three creates, whose answers and callbacks go wrong in any way: three tasks, each ended once."""

    async def check() -> None:
        async with receiving(signed=by) as setting:
            if answer != "none":
                setting.emu.fault("create", kind=answer, seconds=7, times=2, acts=True)
            for kind in told:
                setting.emu.fault("callback", kind=kind if kind != "none" else "doubled", skip=1)
            tasks = await asyncio.gather(*(setting.client.submit(clip(f"n {n}")) for n in range(3)))
            videos = await asyncio.wait_for(asyncio.gather(*(task.wait() for task in tasks)), 400)
            await setting.settle()
            await settle()
            assert len({video.videos[0].url for video in videos}) == 3 == len(setting.emu.tasks)
            assert len(setting.events.of("ended")) == 3
            assert setting.client.account.limits()["video"].held == 0
            assert not setting.client.tasks() and not setting.client.unresolved()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(check())

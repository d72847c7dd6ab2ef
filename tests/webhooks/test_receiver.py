"""webhooks/receiver.py: callbacks end waits, settle creates, and change nothing else, by both doors."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import httpx
import msgspec
import pytest

from kling_async import ClientClosed, TaskFailed, v1
from kling_async.webhooks import sign
from tests.orchestrator.test_told import record_now
from tests.support import client_of, clip, pair, settle, until
from tests.webhooks.receiving import DOORS, posting, receiving
from tests.webhooks.support import OTHER, SECRET, TOKEN, encoded

if TYPE_CHECKING:
    from kling_async import Client

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("door", DOORS)
async def test_a_signed_end_wakes_the_wait_without_a_query(door: str) -> None:
    """Rule 15: nobody asks, and the wait has the whole result; each change is told."""
    async with receiving(door) as setting:
        task = await setting.client.submit(clip())
        asked = setting.asked
        await asyncio.sleep(30.5)
        await setting.settle()
        assert task.done and task.status == "succeed"
        assert (await task.wait()).videos[0].url
        assert setting.asked == asked == 0
        assert setting.client.stats().callbacks == {"believed": 3}
        assert setting.client.account.limits()["video"].held == 0
        assert [event.status for event in setting.events.of("changed")] == ["processing", "succeed"]
        assert len(setting.events.of("ended")) == 1


async def test_a_wait_wakes_in_the_turn_of_its_callback() -> None:
    """Rule 15: the waiter runs in the next turn after the callback was taken, without a request."""
    async with pair(webhook_secret=SECRET) as (emu, client):
        task = await client.submit(clip())
        wait = asyncio.create_task(task.wait())
        await asyncio.sleep(30.5)
        await settle()
        record = await record_now(emu, task)
        asked = client.stats().asked
        if not wait.done():
            client.callbacks.believe(record)
            assert task.done
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert wait.done() and client.stats().asked == asked


def fresh_counts(client: Client) -> dict[str, int]:
    """Return the counts of callbacks."""
    return dict(client.stats().callbacks)


FAULTS: Final[dict[str, tuple[dict[str, Any], dict[str, int]]]] = {
    "none": ({}, {"believed": 3}),
    "lost": ({"kind": "lost", "times": 3}, {}),
    "the end lost": ({"on": "callback:succeed", "kind": "lost"}, {"believed": 2}),
    "doubled": ({"kind": "doubled", "times": 3}, {"believed": 3, "repeated": 3}),
    "late": ({"kind": "late", "seconds": 200, "times": 3}, {"believed": 3}),
    "late changes": ({"kind": "late", "seconds": 100, "times": 2}, {"believed": 3}),
    "reordered": ({"kind": "reordered", "times": 2}, {"believed": 3}),
    "replayed": ({"kind": "replayed", "times": 3}, {"believed": 3, "replayed": 3}),
    "replayed, old": ({"kind": "replayed", "seconds": 301, "times": 3}, {"believed": 3, "old": 3}),
    "forged": ({"kind": "forged", "times": 3}, {"believed": 3, "forged": 3}),
    "forged success": ({"kind": "forged", "times": 3, "value": "succeed"}, {"believed": 3, "forged": 3}),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", FAULTS)
async def test_every_fault_of_signed_callbacks(name: str, door: str) -> None:
    """Whatever happens to callbacks: one end, the vendor's result, free slots, and every one is counted."""
    fault, counts = FAULTS[name]
    async with receiving(door) as setting:
        if fault:
            setting.emu.fault(**{"on": "callback", **fault})
        task = await setting.client.submit(clip())
        video = await asyncio.wait_for(task.wait(), 120)
        assert video.videos[0].url and task.status == "succeed"
        await setting.settle()
        await settle()
        assert task.status == "succeed" and len(setting.events.of("ended")) == 1
        assert setting.client.stats().callbacks == counts
        assert setting.client.account.limits()["video"].held == 0 and not setting.client.tasks()
        assert (await task.wait()).videos == video.videos


UNSIGNED: Final[dict[str, tuple[dict[str, Any], dict[str, int]]]] = {
    "none": ({}, {"hint": 3}),
    "lost": ({"kind": "lost", "times": 3}, {}),
    "doubled": ({"kind": "doubled", "times": 3}, {"hint": 6}),
    "late": ({"kind": "late", "seconds": 200, "times": 3}, {"hint": 3}),
    "reordered": ({"kind": "reordered", "times": 2}, {"hint": 3}),
    "replayed": ({"kind": "replayed", "times": 3}, {"hint": 6}),
    "forged": ({"kind": "forged", "times": 3}, {"forged": 3, "hint": 3}),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", UNSIGNED)
async def test_every_fault_of_unsigned_callbacks(name: str, door: str) -> None:
    """A hint is never believed: the vendor's own answer ends the wait, once."""
    fault, counts = UNSIGNED[name]
    async with receiving(door, signed=False) as setting:
        if fault:
            setting.emu.fault(**{"on": "callback", **fault})
        task = await setting.client.submit(clip())
        assert (await asyncio.wait_for(task.wait(), 120)).videos[0].url
        await setting.settle()
        await settle()
        assert task.status == "succeed" and len(setting.events.of("ended")) == 1
        assert setting.client.stats().callbacks == counts
        assert setting.client.account.limits()["video"].held == 0


async def test_an_unsigned_end_costs_one_confirming_query() -> None:
    """Rule 15: hints about running tasks cost nothing, the hint of an end costs one query."""
    async with receiving(signed=False, seconds=10) as setting:
        task = await setting.client.submit(clip())
        wait = asyncio.create_task(task.wait())
        await asyncio.sleep(9.9)
        asked = setting.asked
        await until(wait.done, 1)
        assert setting.asked == asked + 1
        assert setting.client.stats().callbacks == {"hint": 3}


@pytest.mark.parametrize("door", DOORS)
async def test_what_a_stranger_posts_changes_nothing(door: str) -> None:
    """Forged, unsigned without the token, old, huge and malformed: refused, counted, and no query is sent."""
    async with receiving(door) as setting, posting(setting.url) as post:
        task = await setting.client.submit(clip(), callback_url="")
        now = setting.receiver._now()
        end = encoded({"task_id": task.id, "task_status": "failed", "task_status_msg": "no", "task_info": {}})
        replies = [
            await post(end, sign(end, OTHER, id="1", timestamp=now)),
            await post(end, sign(end, SECRET, id="1", timestamp=now - 301)),
            await post(end, {}, token="guessed"),
            await post(end, {"webhook-id": "1"}),
            await post(b"x" * (1024 * 1024 + 1), {}),
            await post(b"[]", {}),
            await post(b'{"task_id": "1"}', sign(b'{"task_id": "1"}', SECRET, id="1", timestamp=now)),
        ]
        assert replies == [401, 401, 401, 401, 413, 400, 400]
        await settle()
        expected = {"forged": 1, "old": 1, "path_token": 1, "unsigned": 1, "huge": 1, "malformed": 2}
        assert setting.client.stats().callbacks == expected
        assert setting.asked == 0 and task.status == "submitted" and not task.done


async def test_unknown_ids_are_answered_with_200_and_cost_nothing() -> None:
    """Neither a believed callback nor a hint about somebody else's task makes a request or a task."""
    async with receiving() as setting, posting(setting.url) as post:
        for status in ("submitted", "succeed", "failed"):
            body = encoded({"task_id": "77", "task_status": status, "task_info": {"external_task_id": "x"}})
            headers = sign(body, SECRET, id=status, timestamp=setting.receiver._now())
            assert await post(body, headers) == 200
            assert await post(body, {}) == 200
        await settle()
        assert setting.client.stats().callbacks == {"believed": 3, "hint": 3}
        assert setting.asked == 0 and not setting.client.tasks()


async def test_the_console_s_test_callback_is_welcome() -> None:
    """It is of the second generation and about no task of ours."""
    async with receiving() as setting:
        assert (await setting.emu.send_test_callback(setting.url)).answer == 200
        assert setting.client.stats().callbacks == {"believed": 1}


async def test_the_first_end_stands() -> None:
    """A signed callback that contradicts a known end, or is earlier, changes nothing."""
    async with receiving() as setting, posting(setting.url) as post:
        task = await setting.client.submit(clip())
        video = await task.wait()
        for number, status in enumerate(("failed", "processing", "succeed")):
            body = encoded({"task_id": task.id, "task_status": status, "updated_at": 2_000_000_000_000})
            headers = sign(body, SECRET, id=str(number), timestamp=setting.receiver._now())
            assert await post(body, headers) == 200
        assert task.status == "succeed" and (await task.wait()) == video
        assert len(setting.events.of("ended")) == 1


async def test_a_told_failure_has_the_vendor_s_reason() -> None:
    """The waiter gets `TaskFailed` without a query."""
    async with receiving() as setting:
        task = await setting.client.submit(clip("emulator:fail"))
        await asyncio.sleep(60)
        with pytest.raises(TaskFailed) as caught:
            await task.wait()
        assert caught.value.record.endpoint == "text_to_video" and setting.asked == 0


@pytest.mark.parametrize("door", DOORS)
async def test_a_closed_client_answers_503(door: str) -> None:
    """Nothing is read or counted; the running task is named by `aclose` and found by attach."""
    async with receiving(door) as setting, posting(setting.url) as post:
        task = await setting.client.submit(clip())
        wait = asyncio.create_task(task.wait())
        await asyncio.sleep(1)
        counts = fresh_counts(setting.client)
        await setting.client.aclose()
        with pytest.raises(ClientClosed):
            await wait
        body = encoded({"task_id": task.id, "task_status": "failed"})
        assert await post(body, sign(body, SECRET, id="9", timestamp=setting.receiver._now())) == 503
        assert not task.done and fresh_counts(setting.client) == counts


async def test_nothing_of_a_payload_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Neither addresses, prompts and tokens nor what a stranger wrote; ids and status words may."""
    caplog.set_level(logging.DEBUG)
    async with receiving() as setting, posting(setting.url) as post:
        task = await setting.client.submit(clip("a secret prompt"))
        video = await task.wait()
        await setting.settle()
        for body in (
            b"hidden-words",
            encoded({"task_id": "1", "task_status": "hidden-words", "x": "hidden-words"}),
        ):
            await post(body, {})
            await post(body, {}, token="hidden-words")
            await post(body, sign(body, OTHER, id="hidden-words", timestamp=setting.receiver._now()))
        lines = [record.getMessage() for record in caplog.records if record.name.startswith("kling_async")]
        hidden = (video.videos[0].url, "a secret prompt", TOKEN, SECRET, "hidden-words", setting.url)
        assert not [line for line in lines for text in hidden if text in line]
        assert TOKEN not in repr(setting.client) and TOKEN not in repr(setting.client.stats())


@pytest.mark.parametrize("door", DOORS)
async def test_where_no_callback_is_lost_only_creates_are_sent(door: str) -> None:
    """A receiver that has proved reliable: signed callbacks spare all queries, unsigned ones all but one."""
    for signed, each in ((True, 0), (False, 1)):
        async with receiving(door, signed=signed, client={"limits": {"video": 5}}) as setting:
            spent = []
            for _ in range(8):
                before = setting.asked
                await asyncio.gather(*(setting.client.run(clip()) for _ in range(5)))
                spent.append(setting.asked - before)
            assert spent[-1] <= 5 * each + 1 < spent[0]
            assert setting.client.stats().requests["create"] == 40 == len(setting.emu.tasks)


async def test_tasks_that_nobody_waits_for_cost_nothing() -> None:
    """Twenty tasks on five slots, each freed by its callback for the next: twenty creates and no query."""
    async with receiving(client={"limits": {"video": 5}}) as setting:
        for _ in range(4):
            for number in range(5):
                await setting.client.submit(clip(f"number {number}"))
            await asyncio.sleep(31)
        assert len(setting.emu.tasks) == 20 and setting.asked == 0 and not setting.client.tasks()


async def test_a_task_attached_and_never_seen_is_asked_about_instead() -> None:
    """A callback names no endpoint: whether that of `attach` is right, only an answer can tell."""
    async with receiving(seconds=5) as setting, client_of(setting.emu) as other:
        made = await setting.client.submit(clip(), external_task_id="order-1")
        await asyncio.sleep(6)
        attached = other.attach(v1.TextToVideo, external_task_id="order-1")
        ended = await record_now(setting.emu, made)
        other.callbacks.believe(msgspec.structs.replace(ended, endpoint=""))
        assert not attached.done and other.stats().asked == 0
        assert (await attached.wait()).videos and other.stats().asked == 1


async def test_the_client_takes_callbacks_from_any_thread() -> None:
    """What comes in another loop is handed to the client's; there it wakes the wait."""
    async with receiving() as setting:
        task = await setting.client.submit(clip(), callback_url="")
        wait = asyncio.create_task(task.wait())
        body = encoded({"task_id": task.id, "task_status": "failed", "task_status_msg": "no"})
        headers = sign(body, SECRET, id="1", timestamp=setting.receiver._now())

        async def elsewhere() -> int:
            transport = httpx.ASGITransport(app=setting.receiver)
            async with httpx.AsyncClient(transport=transport, base_url="http://receiver.example") as web:
                return (await web.post(f"/kling/{TOKEN}", content=body, headers=headers)).status_code

        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(asyncio.run, elsewhere()).result(30) == 200
        await settle()
        assert wait.done() and task.status == "failed"
        with pytest.raises(TaskFailed):
            await wait
        assert setting.client.stats().callbacks == {"believed": 1}


async def test_callbacks_by_other_ways_are_passed_on() -> None:
    """A program that gets them from a queue verifies, parses and passes them on: believed, or a hint."""
    async with pair(client={"callback_url": "http://127.0.0.1:9/nobody"}) as (emu, client):
        first, second = [await client.submit(clip(f"number {n}")) for n in range(2)]
        await asyncio.sleep(30.5)
        asked = client.stats().asked
        client.callbacks.believe(await record_now(emu, first))
        assert first.done and client.stats().asked == asked
        wait = asyncio.create_task(second.wait())
        await asyncio.sleep(0)
        client.callbacks.hint(await record_now(emu, second))
        await wait
        assert client.stats().callbacks == {}

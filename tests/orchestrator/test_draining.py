"""draining.py: `aclose(grace=...)` lets what is under way end, and admits nothing more meanwhile."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import ClientClosed, KlingError, TaskFailed
from tests.support import clip, pair, settle, still

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async import Client, Task

pytestmark = pytest.mark.anyio

ONE = {"video": 1, "image": 9}


async def closing(client: Client, grace: float) -> asyncio.Task[None]:
    """Begin to close a client."""
    closed = asyncio.ensure_future(client.aclose(grace=grace))
    await settle()
    assert not closed.done()
    return closed


def clock() -> float:
    return asyncio.get_running_loop().time()


async def test_a_wait_gets_its_result_and_then_the_client_closes() -> None:
    """The wait ends as it would have, soon after which the client is closed: not only when the grace ends."""
    async with pair(ONE, seconds=30) as (_, client):
        task = await client.submit(clip())
        wait, began = asyncio.ensure_future(task.wait()), clock()
        closed = await closing(client, grace=1000)
        assert (await wait).videos
        await closed
        assert 25 < clock() - began < 60
        with pytest.raises(ClientClosed):
            await client.enqueue(clip())


async def test_what_queues_and_what_comes_is_turned_away() -> None:
    """What queues, comes, or returns to the queue gets ClientClosed; no create is sent after the shutdown."""
    async with pair(ONE, seconds=30, client={"limits": {"video": 3}}) as (emu, client):
        first = await client.submit(clip())
        refused = await client.enqueue(
            clip("refused")
        )  # the account is full: code 1303, and back in the queue
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(refused.wait()),
            asyncio.ensure_future(first.wait()),
        ]
        await asyncio.sleep(0.5)
        queued = [await client.enqueue(clip(f"{n}")) for n in range(3)]
        waits += [asyncio.ensure_future(task.wait()) for task in queued]
        sent = len(emu.ledger.creates)
        assert sent >= 2
        closed = await closing(client, grace=1000)
        for submit in (client.enqueue, client.submit, client.run):
            with pytest.raises(ClientClosed, match="nothing was sent"):
                await submit(clip())
        await closed
        ends = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(end) for end in ends] == [ClientClosed, type(first.result), *[ClientClosed] * 3]
        assert len(emu.ledger.creates) == sent and len(emu.tasks) == 1


async def test_a_create_on_its_way_that_is_refused_does_not_go_again() -> None:
    """Sent before the shutdown, answered with 1303 during it: its slots become free, nothing is repeated."""
    async with pair(ONE, seconds=30, client={"limits": {"video": 3}}) as (emu, client):
        first = await client.submit(clip())
        emu.fault("create", kind="slow", seconds=2)
        second = await client.enqueue(clip("second"))
        waits = [asyncio.ensure_future(task.wait()) for task in (first, second)]
        await asyncio.sleep(0.5)
        assert second.status == "creating"
        await (await closing(client, grace=1000))
        done, turned_away = await asyncio.gather(*waits, return_exceptions=True)
        assert done == first.result and isinstance(turned_away, ClientClosed)
        assert len(emu.ledger.creates) == 2


async def test_a_create_on_its_way_that_is_accepted_is_waited_for() -> None:
    """Its task exists and is paid, so its wait may go on."""
    async with pair(ONE, seconds=30) as (emu, client):
        emu.fault("create", kind="slow", seconds=2)
        task = await client.enqueue(clip())
        wait = asyncio.ensure_future(task.wait())
        await asyncio.sleep(0.5)
        await (await closing(client, grace=1000))
        assert await wait == task.result and task.result is not None


async def test_the_grace_ends(caplog: pytest.LogCaptureFixture) -> None:
    """After it the waits get ClientClosed with the ids, and the log says what was left and what runs on."""
    async with pair(seconds=500) as (_, client):
        tasks = [await client.submit(clip(f"{n}")) for n in range(2)]
        waits = [asyncio.ensure_future(task.wait()) for task in tasks]
        began = clock()
        with caplog.at_level(logging.WARNING, "kling_async"):
            await client.aclose(grace=20)
        assert 20 <= clock() - began < 21
        for task, end in zip(tasks, await asyncio.gather(*waits, return_exceptions=True), strict=True):
            assert isinstance(end, ClientClosed) and task.id in end.task_ids
        said = caplog.text
        assert "closed after 20 s of grace, with 2 tasks that are waited for" in said
        assert all(f"{task.id}" in said for task in tasks)


async def test_without_anything_under_way_it_takes_no_time() -> None:
    """Tasks that nobody waits for are not waited for."""
    async with pair(seconds=500) as (_, client):
        await client.submit(clip())
        began = clock()
        await client.aclose(grace=100)
        assert clock() - began < 1


@pytest.mark.parametrize("way", ["download", "wait, then download", "stream", "updates"])
async def test_a_program_goes_on_to_the_end_of_what_it_does(way: str, tmp_path: Path) -> None:
    """A file that comes slowly after the task's end is whole, however the program came to fetch it."""

    async def deliver(task: Task[Any]) -> int:
        if way == "updates":
            assert [record.status async for record in task.updates()][-1] == "succeed"
        if way == "stream":
            async with task.stream() as file:
                return len(b"".join([chunk async for chunk in file]))
        if way == "wait, then download":
            await task.wait()
            await asyncio.sleep(0.1)  # as a program does that notes the result
        (path,) = await task.download(tmp_path)
        return path.stat().st_size

    async with pair(seconds=30) as (emu, client):
        emu.pad_files(2_000_000)
        emu.fault("download", kind="slow", seconds=5)
        work = asyncio.ensure_future(deliver(await client.submit(still())))
        await asyncio.sleep(1)
        await client.aclose(grace=1000)
        assert await work >= 2_000_000


async def test_a_second_close_ends_the_grace_and_a_cancelled_one_closes() -> None:
    """Both end at once what waits, and the client is closed afterwards."""
    async with pair(seconds=500) as (_, client):
        task = await client.submit(clip())
        wait = asyncio.ensure_future(task.wait())
        closed = await closing(client, grace=1000)
        began = clock()
        await client.aclose()
        await closed
        assert clock() - began < 1
        with pytest.raises(ClientClosed):
            await wait
    async with pair(seconds=500) as (_, client):
        task = await client.submit(clip())
        wait = asyncio.ensure_future(task.wait())
        closed = await closing(client, grace=1000)
        closed.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closed
        with pytest.raises(ClientClosed):
            await wait


async def test_a_batch_ends_as_at_a_close() -> None:
    """A batch whose client is drained creates nothing more and raises what a closed client raises."""
    async with pair(ONE, seconds=30) as (emu, client):

        async def run() -> list[Any]:
            async with client.batch([clip(f"{n}") for n in range(20)]) as results:
                return [outcome async for outcome in results]

        work = asyncio.ensure_future(run())
        await asyncio.sleep(5)
        made = len(emu.tasks)
        await client.aclose(grace=1000)
        with pytest.raises(ClientClosed):
            await work
        assert made == len(emu.tasks) == 1


async def test_a_client_that_was_never_used_closes_and_a_closed_one_stays_so() -> None:
    """Neither needs the grace."""
    async with pair() as (_, client):
        await client.aclose(grace=100)
        began = clock()
        await client.aclose(grace=100)
        assert clock() == began


async def test_a_task_that_fails_within_the_grace_is_told() -> None:
    """The grace changes nothing of how a wait ends."""
    async with pair(seconds=30) as (_, client):
        wait = asyncio.ensure_future((await client.submit(clip("emulator:fail"))).wait())
        await client.aclose(grace=1000)
        error = (await asyncio.gather(wait, return_exceptions=True))[0]
        assert isinstance(error, TaskFailed) and isinstance(error, KlingError)

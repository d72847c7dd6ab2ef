"""Methods without ``await`` called outside the client's loop: from a thread, or between two runs."""

from __future__ import annotations

import asyncio

import pytest

from kling_async import AmbiguousCreate, Client, Retry
from kling_async.testing import Emulator
from tests.clock import new_event_loop
from tests.support import client_of, clip, pair, settle, until

pytestmark = pytest.mark.anyio


async def unresolved(client: Client, name: str) -> None:
    with pytest.raises(AmbiguousCreate):
        await client.submit(clip(), external_task_id=name)


async def test_a_create_is_abandoned_from_a_thread() -> None:
    """The step is taken in the loop: the slot is free, and who queued for it goes on."""
    options = {"retry": Retry(max_tries=1), "limits": {"video": 1}}
    async with pair(client=options) as (emu, client):
        emu.fault("create", kind="lost_before")
        emu.fault("query", code=5000, times=1)
        await unresolved(client, "mine")
        waiting = asyncio.create_task(client.submit(clip()))
        await settle()
        assert client.account.limits()["video"].queued == 1
        assert await asyncio.to_thread(client.abandon, "mine")
        assert not await asyncio.to_thread(client.abandon, "another")
        await asyncio.wait_for(waiting, 5)
        assert client.unresolved() == []


async def test_a_task_is_nudged_from_a_thread() -> None:
    """The next status query is due at once, in the client's loop."""
    async with pair(seconds=None) as (emu, client):
        emu.set_duration(1000)
        task = await client.submit(clip())
        waiting = asyncio.create_task(task.wait())
        await settle()
        asked = len(emu.ledger.queries)
        assert await asyncio.to_thread(client.nudge, task.id)
        assert not await asyncio.to_thread(client.nudge, "another")
        await until(lambda: len(emu.ledger.queries) > asked, 5)
        waiting.cancel()


def test_a_nudge_between_two_runs_acts_in_the_next() -> None:
    """No loop runs when it is called; the next run begins with it and does not hang."""

    async def begin() -> tuple[Client, str]:
        emu = Emulator()
        await emu.start()
        emu.set_duration(1000)
        client = client_of(emu, now=lambda: 1_790_000_000.0)
        task = await client.submit(clip())
        await emu.stop()
        return client, task.id

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        client, name = runner.run(begin())
        assert client.nudge(name) and not client.nudge("another")
        assert len(client._engine.scope._handed) == 2

        async def end() -> None:
            assert [task.id for task in client.tasks()] == [name]
            assert not client._engine.scope._handed
            await client.aclose()

        runner.run(end())


def test_a_create_abandoned_between_two_runs_lets_the_next_go_in_the_next() -> None:
    """No loop runs when its slot is freed: who queues for it is admitted by the loop's next run."""

    async def begin() -> tuple[Emulator, Client, asyncio.Task[object]]:
        emu = Emulator()
        await emu.start()
        options = {"retry": Retry(max_tries=1), "limits": {"video": 1}, "now": lambda: 1_790_000_000.0}
        client = client_of(emu, **options)
        emu.fault("create", kind="lost_before")
        emu.fault("query", code=5000)
        await unresolved(client, "mine")
        waiting = asyncio.create_task(client.submit(clip()))
        await settle()
        return emu, client, waiting

    async def end(emu: Emulator, client: Client, waiting: asyncio.Task[object]) -> None:
        assert client.account.limits()["video"].queued == 1
        await asyncio.wait_for(waiting, 60)
        assert len(emu.tasks) == len(client.tasks()) == 1
        await client.aclose()
        await emu.stop()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        emu, client, waiting = runner.run(begin())
        assert client.abandon("mine")
        runner.run(end(emu, client, waiting))


async def closing_pair(client: Client) -> asyncio.Task[object]:
    """Begin a create that hangs, so that closing takes its grace."""
    submit = asyncio.create_task(client.submit(clip()))
    await until(lambda: client.stats().in_flight, step=0)
    await settle()
    return submit


async def test_a_second_caller_of_aclose_waits_for_the_first() -> None:
    """Both return when everything has ended, not before."""
    async with pair() as (emu, client):
        emu.fault("create", kind="hang")
        submit = await closing_pair(client)
        first, second = (asyncio.create_task(client.aclose()) for _ in range(2))
        await asyncio.sleep(1)
        assert not first.done() and not second.done()
        await asyncio.gather(first, second, submit, return_exceptions=True)
        assert client._engine.scope._work == {}


async def test_an_aclose_that_was_cut_short_can_be_repeated() -> None:
    """The second call ends what the first left running."""
    async with pair() as (emu, client):
        emu.fault("create", kind="hang")
        submit = await closing_pair(client)
        cut = asyncio.create_task(client.aclose())
        await asyncio.sleep(1)
        cut.cancel()
        await asyncio.wait([cut])
        assert cut.cancelled() and client._engine.scope._work
        await client.aclose()
        assert client._engine.scope._work == {}
        await asyncio.gather(submit, return_exceptions=True)

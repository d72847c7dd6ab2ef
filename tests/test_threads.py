"""Methods without ``await`` called outside the client's loop: from a thread, or between two runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import AmbiguousCreate, Client, ClientClosed, Retry, Task, TaskRecord
from kling_async.testing import Emulator
from tests.clock import new_event_loop
from tests.support import client_of, clip, pair, settle, until

if TYPE_CHECKING:
    from collections.abc import Coroutine

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


async def all_updates(task: Task[Any]) -> list[TaskRecord]:
    return [record async for record in task.updates()]


@pytest.mark.parametrize("create", ["hang", "lost_before"], ids=["sent", "sent and lost"])
def test_waiters_of_a_stopped_loop_fail_clearly(create: str) -> None:
    """Two loops in turns: a call that waits in the stopped one ends with an error once that runs again."""
    first, second = new_event_loop(), new_event_loop()

    async def begin() -> tuple[Emulator, Client, list[asyncio.Task[object]]]:
        emu = Emulator(slots={"video": 3})
        await emu.start()
        emu.set_duration(1000)
        client = client_of(emu, limits={"video": 3}, now=lambda: 1_790_000_000.0)
        task = await client.submit(clip())
        refreshed = await client.submit(clip())
        emu.fault("create", kind=create)
        emu.fault("query", kind="hang", times=10)
        calls: list[Coroutine[Any, Any, object]] = [
            task.wait(),
            task.wait(timeout=5000),
            all_updates(task),
            refreshed.refresh(),
        ]
        calls += [client.run(clip()) for _ in range(3)]
        waiting: list[asyncio.Task[object]] = [asyncio.ensure_future(call) for call in calls]
        await until(lambda: client.stats().in_flight, step=0)
        await asyncio.sleep(0.5)
        return emu, client, waiting

    async def use(client: Client) -> int:
        return len(client.tasks())

    async def end(emu: Emulator, client: Client, waiting: list[asyncio.Task[object]]) -> None:
        ends = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 60)
        assert all(isinstance(error, ClientClosed | AmbiguousCreate) for error in ends)
        assert [type(error) for error in ends[:4]] == [ClientClosed] * 4
        assert "another event loop" in str(ends[0])
        assert len(client.tasks()) == 2
        assert len(client.unresolved()) == 1
        await client.aclose()
        await emu.stop()

    emu, client, waiting = first.run_until_complete(begin())
    assert second.run_until_complete(use(client)) == 2
    first.run_until_complete(end(emu, client, waiting))
    for loop in (first, second):
        loop.run_until_complete(loop.shutdown_asyncgens())  # closes the sessions of this loop
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


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


@pytest.mark.parametrize("ask", ["accepted", "wait", "refresh", "updates"])
@pytest.mark.parametrize("if_exists", ["error", "attach"])
def test_what_queued_in_a_loop_that_ended_fails_clearly_in_the_next(ask: str, if_exists: Any) -> None:
    """Rule 17: the handle is the first thing that the next loop sees of the client, and does not hang."""

    async def begin() -> tuple[Client, Task[Any]]:
        emu = Emulator()
        await emu.start()
        client = client_of(emu, limits={"video": 1})
        await client.submit(clip())
        task = await client.enqueue(clip(), external_task_id="mine", if_exists=if_exists)
        await emu.stop()
        return client, task

    async def go_on(task: Task[Any]) -> None:
        with pytest.raises(ClientClosed, match="nothing was sent"):
            await asyncio.wait_for(anext(task.updates()) if ask == "updates" else getattr(task, ask)(), 60)
        assert (task.status, task.done, task.position) == ("refused", True, None)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        client, task = runner.run(begin())
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(go_on(task))
        runner.run(client.aclose())

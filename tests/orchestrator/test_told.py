"""orchestrator/poller.py: ends that callbacks tell, and hints, under rule 18."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kling_async import TaskFailed, v1
from kling_async.orchestrator.scheduling import receiver_of
from tests.support import Recorder, client_of, clip, pair, settle, until

if TYPE_CHECKING:
    from kling_async import Client
    from kling_async.core.callbacks import CallbackChannel
    from kling_async.records import TaskRecord
    from kling_async.tasks import Task
    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio

HOOK = "https://user:secret@Hooks.example.com:8443/kling/token?of=me"


def channel_of(client: Client) -> CallbackChannel:
    """Return what the client knows of the receiver at `HOOK`."""
    return client._engine.pollers.channels.channel("hooks.example.com:8443")


async def record_now(emu: Emulator, task: Task[Any]) -> TaskRecord:
    """Return what the vendor would post about a task just now; read by another client."""
    async with client_of(emu) as other:
        handle = other.attach(v1.TextToVideo, task_id=task.id)
        await handle.refresh()
        record = handle.tracked.record
        assert record is not None
        return record


async def submitted(client: Client, prompt: str = "a paper boat") -> Task[Any]:
    return await client.submit(clip(prompt), callback_url=HOOK)


async def test_a_told_end_wakes_the_waiters_in_the_same_turn_and_frees_the_slots() -> None:
    """Rule 18: no query is sent for an end that a believed callback tells."""
    events = Recorder()
    async with pair(client={"on_event": events}) as (emu, client):
        task = await submitted(client)
        await asyncio.sleep(30.1)
        record = await record_now(emu, task)
        asked = len(emu.ledger.queries)
        wait = asyncio.create_task(task.wait())
        await asyncio.sleep(0)
        client._engine.poller.told(task.tracked, record)
        assert task.done and client.account.limits()["video"].held == 0
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert wait.done() and (await wait).videos
        assert len(emu.ledger.queries) == asked
        assert len(events.of("ended")) == 1
        assert channel_of(client).reliability > 0.9
        assert (await submitted(client)).eta is not None


async def test_a_task_that_failed_is_told_as_well() -> None:
    """Rule 18: the waiter gets the vendor's reason."""
    async with pair() as (emu, client):
        task = await submitted(client, "emulator:fail")
        await asyncio.sleep(31)
        client._engine.poller.told(task.tracked, await record_now(emu, task))
        with pytest.raises(TaskFailed):
            await task.wait()


async def test_callbacks_only_move_a_task_forward() -> None:
    """Rule 18: what is earlier, doubled, or about another task changes nothing; what is new is a change."""
    events = Recorder()
    async with pair(client={"on_event": events}) as (emu, client):
        task, other = await submitted(client), await submitted(client)
        poller, tracked = client._engine.poller, task.tracked
        first = await record_now(emu, task)
        newer = msgspec.structs.replace(first, status="processing", updated_at=first.updated_at + 1)
        poller.told(tracked, newer)
        poller.told(tracked, first)
        assert task.status == "processing" and len(events.of("changed")) == 1
        poller.told(tracked, await record_now(emu, other))
        assert task.status == "processing"
        await asyncio.sleep(30.1)
        end = await record_now(emu, task)
        for _ in range(2):
            poller.told(tracked, end)
            poller.told(tracked, newer)
        assert task.done and len(events.of("ended")) == 1
        assert channel_of(client)._told == 1


async def test_a_told_success_without_its_result_is_asked_about_at_once() -> None:
    """Rule 18: the slots are free, and one query fetches what the callback left out."""
    async with pair() as (emu, client):
        task = await submitted(client)
        wait = asyncio.create_task(task.wait())
        await asyncio.sleep(30.1)
        asked = len(emu.ledger.queries)
        record = msgspec.structs.replace(await record_now(emu, task), result_data=msgspec.Raw(b"{}"))
        client._engine.poller.told(task.tracked, record)
        assert not task.done and client.account.limits()["video"].held == 0
        assert (await wait).videos
        assert len(emu.ledger.queries) == asked + 2  # one of them is the other client's
        assert channel_of(client).reliability > 0.9


async def test_a_hint_costs_one_confirming_query() -> None:
    """Rule 18: an end confirmed after a hint was told; a hint about a task that runs says nothing."""
    async with pair() as (emu, client):
        task = await submitted(client)
        wait = asyncio.create_task(task.wait())
        await asyncio.sleep(10)
        asked = len(emu.ledger.queries)
        client._engine.poller.hinted(task.tracked)
        await settle()
        await asyncio.sleep(0.5)
        assert len(emu.ledger.queries) == asked + 1 and channel_of(client).reliability == 0.0
        await asyncio.sleep(19.6)
        asked = len(emu.ledger.queries)
        assert client.nudge(task.id)
        await until(wait.done, 2)
        assert len(emu.ledger.queries) == asked + 1
        assert channel_of(client).reliability > 0.9


@pytest.mark.parametrize("how", ["told", "hinted", "nudged", "by its id"])
async def test_a_callback_after_its_end_was_found_takes_the_silence_back(how: str) -> None:
    """Rule 18: the query was only faster; also when nobody holds a handle any more."""
    async with pair() as (_, client):
        task = await submitted(client)
        await task.wait()
        channel = channel_of(client)
        assert (channel._silent, channel.reliability) == (1.0, 0.0)
        poller = client._engine.poller
        record = task.tracked.record
        assert record is not None
        await asyncio.sleep(2.0)
        for _ in range(2):  # a doubled one counts once
            match how:
                case "told":
                    poller.told(task.tracked, record)
                case "hinted":
                    poller.hinted(task.tracked)
                case "nudged":
                    client.nudge(task.id)
                case _:
                    poller._scheduling.told_late(task.tracked)
        assert channel._silent < 0.1 and channel._told == 1
        assert channel.latency == pytest.approx(2.0, abs=0.1)


async def test_a_reliable_receiver_spares_queries_and_a_deaf_one_is_noticed() -> None:
    """Rule 18: told tasks cost next to no query; when the callbacks stop, all ends are seen nevertheless."""
    async with pair({"video": 5}, client={"limits": {"video": 5}}) as (emu, client):
        loop = asyncio.get_running_loop()

        async def tell(task: Task[Any]) -> None:
            await asyncio.sleep(30.2)
            if not task.done:
                client._engine.poller.told(task.tracked, await record_now(emu, task))

        async def round_of(*, told: bool) -> int:
            tasks = [await submitted(client) for _ in range(5)]
            asked = len(emu.ledger.queries) + len(emu.ledger.of("tasks"))
            async with asyncio.TaskGroup() as group:
                for task in tasks:
                    group.create_task(task.wait())
                    if told:
                        group.create_task(tell(task))
            return len(emu.ledger.queries) + len(emu.ledger.of("tasks")) - asked - (5 if told else 0)

        spent = [await round_of(told=True) for _ in range(8)]
        assert spent[-1] <= 1 < spent[0]
        begun = loop.time()
        await round_of(told=False)
        assert loop.time() - begun < 300
        assert channel_of(client).reliability < 0.9


def test_a_receiver_is_a_host_and_its_port() -> None:
    """Tokens in paths and queries, names and passwords are left out; what is no address names nobody."""
    assert receiver_of(HOOK) == "hooks.example.com:8443"
    assert receiver_of("HTTPS://a.example#x") == "a.example"
    assert receiver_of("https://[::1]:80/x") == "[::1]:80"
    for odd in ("", "nonsense", "https://", "ftp://a.example", "https:///x"):
        assert receiver_of(odd) == ""

"""Sizes of pools that change while a client works: `Client.set_limits`."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from kling_async import Client, ConfigurationError, RequestInvalid
from tests.clock import new_event_loop
from tests.support import clip, pair, settle, still, until

pytestmark = pytest.mark.anyio


async def submitted(client: Client, number: int) -> list[asyncio.Task[Any]]:
    """Submit so many requests, and let what can begin do so."""
    tasks = [asyncio.create_task(client.run(clip(str(place)))) for place in range(number)]
    await settle()
    await asyncio.sleep(1)
    return tasks


async def test_a_larger_pool_takes_what_queues_at_once() -> None:
    """Nobody has to wait for a task to end, and the source of the size is the caller."""
    async with pair({"video": 5}, seconds=100, client={"limits": {"video": 2}}) as (emu, client):
        runs = await submitted(client, 6)
        assert len(emu.tasks) == 2
        client.set_limits({"video": 5})
        await asyncio.sleep(1)
        state = client.account.limits()["video"]
        assert (len(emu.tasks), state.limit, state.source, state.held, state.queued) == (5, 5, "caller", 5, 1)
        await asyncio.gather(*runs)
        assert not [row for row in emu.ledger.creates if row.code == 1303]


async def test_a_smaller_pool_lets_running_tasks_run() -> None:
    """They keep their slots; the next create waits until fewer run than the new size."""
    async with pair({"video": 5}, client={"limits": {"video": 5}}) as (emu, client):
        emu.set_duration(lambda task: 10.0 + int(task.body["prompt"]))
        runs = await submitted(client, 8)
        assert len(emu.tasks) == 5
        client.set_limits({"video": 2})
        await asyncio.gather(*runs[:3])
        assert len(emu.tasks) == 5
        await asyncio.gather(*runs)
        late = [task for task in emu.tasks.values() if int(task.body["prompt"]) > 4]
        for task in late:
            assert sum(other.created < task.created < other.ends for other in emu.tasks.values()) < 2


@pytest.mark.parametrize("seed", range(5))
async def test_no_change_of_sizes_strands_anything(seed: int) -> None:
    """Whatever sizes follow each other, each task is made once, and all end."""
    rng = random.Random(seed)
    async with pair({"image": 9}, seconds=20, client={"limits": {"image": 9}}) as (emu, client):
        work = [client.run(still(str(place), n=rng.randint(1, 3))) for place in range(25)]
        runs = [asyncio.create_task(one) for one in work]
        while not all(run.done() for run in runs):
            client.set_limits({"image": rng.choice([3, 4, 6, 9, None])})
            await asyncio.sleep(rng.choice([0, 0.05, 7, 30]))
            assert client.account.limits()["image"].limit <= 9
        assert all(run.exception() is None for run in runs) and len(emu.tasks) == 25


async def test_what_is_heavier_than_the_new_size_fails() -> None:
    """Rule 4: it could never be sent; what is light enough stays in its place."""
    async with pair({"image": 9}, seconds=50, client={"limits": {"image": 9}}) as (emu, client):
        first = asyncio.create_task(client.run(still(n=9)))
        await until(lambda: emu.tasks)
        heavy, light = (asyncio.create_task(client.run(still(n=n))) for n in (6, 2))
        await settle()
        client.set_limits({"image": 4})
        with pytest.raises(RequestInvalid, match="takes 6 image slots; this account has 4 in all"):
            await asyncio.wait_for(heavy, 1)
        await asyncio.gather(first, light)
        with pytest.raises(RequestInvalid, match="takes 5 image slots"):
            await client.submit(still(n=5))


async def test_a_pool_given_back_has_the_size_of_its_packs() -> None:
    """They are read at once, also where the client never had to read them before."""
    async with pair({"video": 5, "image": 9}, seconds=100, client={"limits": {"video": 1}}) as (emu, client):
        runs = await submitted(client, 7)
        assert len(emu.tasks) == 1
        client.set_limits({"video": None, "image": None})
        await until(lambda: client.account.limits()["video"].source == "packs", 0.5)
        await until(lambda: len(emu.tasks) == 5, 0.5)
        assert client.account.limits()["video"].limit == 5
        await asyncio.gather(*runs)


@pytest.mark.parametrize(
    "limits",
    [
        *({"video": 0}, {"video": -1}, {"video": True}, {"video": "5"}, {"video": 2.0}, {"videos": 3}),
        *({"image": 3, "video": 0}, None, 3, "video", [("video", 3)]),
    ],
)
async def test_wrong_sizes_change_nothing(limits: Any) -> None:
    """They are refused as those of ``Client(limits=...)`` are, all or nothing."""
    async with pair(seconds=5, client={"limits": {"video": 5, "image": 9}}) as (_, client):
        await client.run(clip())
        await client.run(still())
        before = client.account.limits()
        with pytest.raises(ConfigurationError, match="limits"):
            client.set_limits(limits)
        assert client.account.limits() == before


async def test_a_pool_not_used_yet_begins_with_the_new_size() -> None:
    """The size counts from its first submit; a derived client shares it."""
    async with pair({"video": 2}, seconds=5) as (_, client):
        client.set_limits({"video": 2})
        await client.with_options().run(clip())
        state = client.account.limits()["video"]
        assert (state.limit, state.source) == (2, "caller")


async def test_sizes_are_set_from_a_thread() -> None:
    """The step is taken in the client's loop."""
    async with pair({"video": 3}, seconds=50, client={"limits": {"video": 1}}) as (emu, client):
        runs = await submitted(client, 3)
        await asyncio.to_thread(client.set_limits, {"video": 3})
        await until(lambda: len(emu.tasks) == 3, 0.5)
        await asyncio.gather(*runs)


def test_sizes_set_with_no_loop_running_count_in_the_next() -> None:
    """As `Client.nudge` and `Client.abandon` act there."""
    client = Client(api_key="k")
    client.set_limits({"video": 7})

    async def use() -> int:
        async with client:
            return client._engine.limiter.pool("video").limit

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(use()) == 7


async def test_a_label_holds_no_more_slots_than_its_limit() -> None:
    """What is over the limit waits while others are made, also those submitted later."""
    options = {"limits": {"video": 5}, "label_limits": {"free": 2}}
    async with pair({"video": 5}, seconds=60, client=options) as (emu, client):
        free = [await client.enqueue(clip(f"free {n}"), label="free") for n in range(6)]
        await asyncio.sleep(1)
        paid = [await client.enqueue(clip(f"paid {n}")) for n in range(6)]
        for task in (*free, *paid):
            await task.wait()
    made = list(emu.tasks.values())
    capped = [one for one in made if one.body["prompt"].startswith("free")]
    for one in capped:
        assert sum(other.created <= one.created < other.ends for other in capped) <= 2
    assert len(capped) == 6 and max(made, key=lambda one: one.created) in capped, "the others passed them"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"label_limits": {"free": 0}}, r"^label_limits\['free'\] is 0; use a whole number above 0$"),
        ({"label_limits": {"free": True}}, r"^label_limits\['free'\] is True; "),
        ({"label_limits": {3: 1}}, r"^label_limits\[3\] is no label"),
        ({"label_limits": {"free": 1}, "queueing": False}, "^label_limits needs queueing=True"),
        ({"slots": "sqlite:a.db", "queueing": False}, "^slots=... needs queueing=True"),
    ],
)
def test_limits_of_labels_that_cannot_work_are_refused(options: dict[str, Any], text: str) -> None:
    """Sizes are whole numbers above 0, labels are text, and whoever is at a limit must be able to wait."""
    with pytest.raises(ConfigurationError, match=text):
        Client(api_key="k", **options)


async def test_a_request_heavier_than_its_label_s_limit_fails_at_once() -> None:
    """The error names the label and both numbers; nothing is sent."""
    async with pair(client={"label_limits": {"free": 2}}) as (emu, client):
        with pytest.raises(RequestInvalid, match="takes 3 image slots; label_limits allows 'free' 2 in all"):
            await client.submit(still(n=3), label="free")
        assert not emu.ledger.creates

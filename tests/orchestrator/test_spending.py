"""The units of a client, ``Client(max_units=...)``: reserved before a create, settled by what tasks cost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import (
    Client,
    ConfigurationError,
    PolicyViolation,
    RawTask,
    RequestInvalid,
    TaskFailed,
    UnitLimitReached,
    webhooks,
)
from tests.clock import new_event_loop
from tests.profiles import same_draws
from tests.support import clip, pair, settle, still

pytestmark = pytest.mark.anyio

CLIP = clip(model_name="kling-v2-6", mode="std", duration=5)
FAILING = clip("emulator:fail", model_name="kling-v2-6", mode="std", duration=5)
PRICE = 1.5
"""Units of such a clip."""


def units(client: Client) -> tuple[float, float]:
    """Return the video units spent and reserved."""
    stats = client.stats()
    return stats.units_spent.get("video", 0.0), stats.units_reserved.get("video", 0.0)


async def test_a_submit_over_the_limit_is_refused_before_anything_is_sent() -> None:
    """Running tasks count by their price; the error says what is spent, reserved, needed and allowed."""
    async with pair(client={"max_units": {"video": 4}}) as (emu, client):
        assert client.estimate(CLIP).most == PRICE
        first, second = await client.submit(CLIP), await client.enqueue(CLIP)
        for order in (client.submit, client.enqueue, client.run):
            with pytest.raises(UnitLimitReached, match=r"1.5 video units .*=4: 0 are spent, 3 res") as caught:
                await order(CLIP)
            error = caught.value
            assert (error.units, error.limit, error.spent, error.reserved) == (PRICE, 4, 0, 3)
        assert units(client) == (0, 3) and client.stats().left == {}
        await first.wait()
        await second.wait()
        assert units(client) == (3, 0)
        assert len(emu.tasks) == 2
        await client.submit(still())  # the limit is that of another pool


async def test_what_a_callback_ended_is_counted_as_an_estimate() -> None:
    """Callbacks show no price: its reservation counts as spent, and is told apart from what is known."""
    async with pair(client={"max_units": 10}) as (_, client):
        known, told = await client.submit(CLIP), await client.submit(CLIP)
        await known.wait()
        assert client.stats().units_estimated == {}
        body = {
            "task_id": told.id,
            "task_status": "succeed",
            "task_result": {"videos": [{"url": "https://x"}]},
        }
        client.callbacks.believe(webhooks.parse(json.dumps(body).encode()).record)
        await told.wait()
        assert told.record is not None and told.record.units is None
        assert units(client) == (2 * PRICE, 0) and client.stats().units_estimated == {"video": PRICE}


async def test_many_submits_at_once_do_not_pass_the_limit_together() -> None:
    """Those that fit are made, and those that queue count."""
    options = {"max_units": {"video": 10}, "limits": {"video": 2}}
    async with pair({"video": 2}, client=options) as (emu, client):
        runs = await asyncio.gather(*(client.run(CLIP) for _ in range(30)), return_exceptions=True)
        assert len(emu.tasks) == 6 and units(client) == (9, 0)
        assert sum(isinstance(run, UnitLimitReached) for run in runs) == 24


async def test_units_come_back_from_what_made_no_task_and_from_failed_tasks() -> None:
    """A failed task, a refusal, a withdrawal and a cancelled caller cost nothing."""
    options = {"max_units": 2 * PRICE, "limits": {"video": 1}}
    async with pair({"video": 1}, client=options) as (emu, client):
        with pytest.raises(TaskFailed):
            await client.run(FAILING)
        emu.fault("create", code=1301)
        with pytest.raises(PolicyViolation):
            await client.submit(CLIP)
        assert units(client) == (0, 0)
        await client.submit(CLIP)
        queued = await client.enqueue(CLIP)
        with pytest.raises(UnitLimitReached):
            await client.enqueue(CLIP)
        assert queued.withdraw() and units(client) == (0, PRICE)
        caller = asyncio.create_task(client.submit(CLIP))
        await settle()
        assert units(client) == (0, 2 * PRICE)
        caller.cancel()
        await settle()
        assert units(client) == (0, PRICE)


async def test_a_create_of_unknown_fate_keeps_its_units() -> None:
    """What may have been billed is not spent twice; once its task is found and ends, it is settled."""
    async with pair(client={"max_units": PRICE}) as (emu, client):
        emu.fault("create", kind="lost_after")
        run = asyncio.create_task(client.run(CLIP))
        await settle()
        await asyncio.sleep(1)
        assert units(client) == (0, PRICE)
        with pytest.raises(UnitLimitReached):
            await client.submit(CLIP)
        await run
        assert units(client) == (PRICE, 0)


async def test_a_task_that_exists_is_attached_to_without_units() -> None:
    """A restart enqueues everything again: what exists is found, though nothing may be spent any more."""
    async with pair(client={"max_units": PRICE}) as (emu, client):
        await client.submit(CLIP, external_task_id="a")
        async with Client(api_key=emu.api_key, base_url=emu.url, max_units=0) as later:
            again = await later.enqueue(CLIP, external_task_id="a", if_exists="attach")
            await again.wait()
            assert units(later) == (0, 0)
            new = await later.enqueue(CLIP, external_task_id="b", if_exists="attach")
            with pytest.raises(UnitLimitReached):
                await new.accepted()
    assert len(emu.tasks) == 1


async def test_an_unknown_price_cannot_be_kept_within_a_limit() -> None:
    """The error says why; where its pool has no limit such a request passes."""
    request = RawTask(path="/v1/videos/new", body={"prompt": "a boat"})
    async with pair(client={"max_units": 5}) as (emu, client):
        with pytest.raises(RequestInvalid, match="without a known price the limit cannot be kept"):
            await client.submit(request)
        assert not emu.ledger.creates


async def test_a_batch_keeps_its_own_limit_and_is_counted() -> None:
    """No job of a batch is refused by the client's limit; the next submit sees what the batch has spent."""
    async with pair(client={"max_units": PRICE}) as (_, client):
        async with client.batch([CLIP, CLIP]) as batch:
            assert [outcome.error async for outcome in batch] == [None, None]
        assert units(client) == (2 * PRICE, 0)
        with pytest.raises(UnitLimitReached):
            await client.submit(CLIP)


@pytest.mark.parametrize("limit", [-1, math.nan, math.inf, {"video": -1}, {"vidoe": 3}, {"video": "3"}])
def test_limits_that_are_none_are_refused(limit: Any) -> None:
    """A misspelt pool would be no limit at all."""
    with pytest.raises(ConfigurationError, match=r"^max_units"):
        Client(api_key="k", max_units=limit)


@given(
    limit=st.sampled_from([0.0, 1.5, 4.4, 9.0]),
    jobs=st.lists(st.tuples(st.booleans(), st.sampled_from(["run", "leave", "withdraw"])), max_size=12),
)
@same_draws(25)
def test_whatever_happens_no_more_is_spent_than_allowed(limit: float, jobs: list[tuple[bool, str]]) -> None:
    """Failing tasks, leaving callers, withdrawals: spent and reserved keep within the limit, and agree."""

    async def play() -> None:
        options = {"max_units": limit, "limits": {"video": 2}}
        async with pair({"video": 2}, client=options) as (emu, client):
            waits: list[asyncio.Task[Any]] = []
            for fails, then in jobs:
                request = FAILING if fails else CLIP
                if then == "withdraw":
                    await settle()  # one that was withdrawn on its way ends some turns of the loop later
                    full = sum(units(client)) + PRICE > limit
                    with pytest.raises(UnitLimitReached) if full else contextlib.nullcontext():
                        (await client.enqueue(request)).withdraw()
                    continue
                waits.append(asyncio.create_task(client.run(request)))
                await settle(5)
                if then == "leave":
                    waits[-1].cancel()
                assert sum(units(client)) <= limit
            await asyncio.gather(*waits, return_exceptions=True)
            await asyncio.sleep(5)
            for task in client.tasks():
                with contextlib.suppress(TaskFailed):
                    await task.wait()
            spent, reserved = units(client)
            billed = [task for task in emu.tasks.values() if "fail" not in task.body["prompt"]]
            assert reserved == 0 and spent == pytest.approx(PRICE * len(billed)) and spent <= limit

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(play())

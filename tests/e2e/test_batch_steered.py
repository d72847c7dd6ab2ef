"""Test batches that are steered while they run: paused, resumed, given more units or fewer."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import ClientClosed, RequestInvalid
from tests.e2e.batches import creates, remaining
from tests.support import clip, pair, settle, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

UNITS = 3.0
"""Units of one clip of the tests."""


def clips(number: int) -> list[Any]:
    return [clip(str(place)) for place in range(number)]


async def test_a_paused_batch_makes_no_tasks_and_what_runs_comes_in(tmp_path: Path) -> None:
    """The outcomes of running tasks come, the queue is left at once, and a resumed batch goes on."""
    options = {"limits": {"video": 2}}
    async with pair({"video": 2}, seconds=100, client=options) as (emu, client):
        async with client.batch(clips(8), journal=tmp_path / "jobs.sqlite", order="given") as results:
            await until(lambda: len(emu.tasks) == 2 and client.account.limits()["video"].queued)
            assert not results.paused
            results.pause()
            await settle()
            assert results.paused and client.account.limits()["video"].queued == 0
            assert [(await anext(results)).ok for _ in range(2)] == [True, True]
            more = asyncio.ensure_future(anext(results))
            await asyncio.sleep(3600)
            assert not more.done() and len(emu.tasks) == 2
            assert (results.report.running, results.report.stopped) == (0, "")
            results.resume()
            assert not results.paused
            found = [await more, *await remaining(results)]
        assert len(found) == 6 and all(outcome.ok for outcome in found)
        # the order of the input is kept
        made = [task.body["prompt"] for task in emu.tasks.values()]
        assert made == sorted(made)
        assert creates(emu) == 8 and results.report.done == 8


async def test_pausing_and_resuming_may_be_repeated() -> None:
    """Neither does anything a second time; a pause that ends at once loses nothing."""
    async with pair({"video": 2}, seconds=10, client={"limits": {"video": 2}}) as (emu, client):
        async with client.batch(clips(6)) as results:
            results.resume()
            for _ in range(3):
                await asyncio.sleep(7)
                results.pause()
                results.pause()
                results.resume()
                results.pause()
                await asyncio.sleep(5)
                results.resume()
                results.resume()
            assert len(await remaining(results)) == 6
        assert creates(emu) == 6
        results.pause()
        assert not results.paused


@pytest.mark.parametrize("seed", range(8))
async def test_pauses_at_any_time_lose_and_double_nothing(seed: int, tmp_path: Path) -> None:
    """Among refusals, lost answers and retries: each job is made once, under one id, and paused is paused."""
    rng = random.Random(seed)
    client_options = {"limits": {"video": rng.choice([2, 4])}}
    async with pair({"video": 3}, seconds=20, client=client_options) as (emu, client):
        for kind in ("lost_before", "lost_after", "half_body"):
            emu.fault("create", kind=kind, skip=rng.randint(0, 15))
        emu.fault("create", status=429, skip=rng.randint(0, 15))  # of a gateway: the create stays in doubt
        emu.fault("create", status=503, code=5001, skip=rng.randint(0, 15))
        journal = tmp_path / "jobs.sqlite" if rng.random() < 0.5 else None
        async with client.batch(clips(20), journal=journal) as results:
            found = asyncio.ensure_future(remaining(results))
            while not found.done():
                results.pause()
                await asyncio.sleep(
                    rng.choice([0, 0.01, 11])
                )  # creates on their way, and their look-ups, end
                await until(lambda: not client.stats().in_flight)
                before = len(emu.tasks)
                await asyncio.sleep(rng.choice([0, 5, 100]))
                assert len(emu.tasks) == before or found.done()
                results.resume()
                await asyncio.sleep(rng.choice([0, 0.001, 0.03, 1, 15]))
            assert [outcome.ok for outcome in found.result()] == [True] * 20
        assert len(emu.tasks) == 20
        assert len({task.external_task_id for task in emu.tasks.values()}) == 20


@pytest.mark.parametrize("end", ["stop", "SIGINT", "two signals", "leave", "aclose", "cancel"])
async def test_a_paused_batch_ends_as_any_other(
    end: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopping, signals, leaving the block and closing the client work in a pause, and end it."""
    async with pair({"video": 2}, seconds=100, client={"limits": {"video": 2}}) as (emu, client):
        before = asyncio.all_tasks()
        batch = client.batch(clips(6), journal=tmp_path / "jobs.sqlite")

        async def use() -> list[Any]:
            async with batch as results:
                await until(lambda: len(emu.tasks) == 2)
                await settle()
                results.pause()
                await settle()
                if end == "stop":
                    results.stop()
                elif "S" in end or "two" in end:
                    results._heard("SIGINT")
                    if "two" in end:
                        results._heard("SIGINT")
                elif end == "leave":
                    return []
                elif end == "aclose":
                    await client.aclose()
                elif end == "cancel":
                    asyncio.get_running_loop().call_later(1000, using.cancel)
                return await remaining(results)

        using = asyncio.ensure_future(use())
        (found,) = await asyncio.wait_for(asyncio.gather(using, return_exceptions=True), 2000)
        if end == "aclose":
            assert isinstance(found, ClientClosed)
        elif end == "cancel":
            assert isinstance(found, asyncio.CancelledError)
        else:
            assert isinstance(found, list) and all(outcome.ok for outcome in found)
            assert len(found) == (2 if end in ("stop", "SIGINT") else 0)
        assert not batch.paused and len(emu.tasks) == 2
        left = {task for task in asyncio.all_tasks() - before if "kling_async batch" in task.get_name()}
        assert not left
    async with pair({"video": 2}) as (_, client), client.batch([clip()]) as results:
        assert len(await remaining(results)) == 1  # nothing of the pause is left


async def test_the_input_of_a_paused_batch_is_read_ahead_only() -> None:
    """As far as ``ahead`` allows; then reading waits, too."""
    read: list[int] = []

    async def endless() -> AsyncIterator[Any]:
        for number in range(10_000):
            read.append(number)
            yield clip(str(number))

    async with pair({"video": 2}, seconds=10) as (emu, client), client.batch(endless(), ahead=4) as results:
        await until(lambda: emu.tasks)
        results.pause()
        await asyncio.sleep(1000)
        count, made = len(read), len(emu.tasks)
        await asyncio.sleep(1000)
        assert (len(read), len(emu.tasks)) == (count, made) and count < 300


async def test_a_batch_is_entered_before_it_is_paused() -> None:
    """The error says how."""
    async with pair() as (_, client):
        batch = client.batch(clips(1))
        with pytest.raises(RuntimeError, match="entered first"):
            batch.pause()
        batch.resume()


async def test_a_pause_from_a_thread() -> None:
    """The step is taken in the loop."""
    async with pair({"video": 1}, seconds=10) as (emu, client), client.batch(clips(3)) as results:
        await until(lambda: emu.tasks)
        await asyncio.to_thread(results.pause)
        assert results.paused
        await asyncio.sleep(100)
        assert len(emu.tasks) == 1
        await asyncio.to_thread(results.resume)
        assert len(await remaining(results)) == 3


# -- units


async def test_more_units_are_for_the_requests_that_come() -> None:
    """What was skipped for money before stays skipped in this run, and is told."""

    async def input_of() -> AsyncIterator[Any]:
        for number in range(3):
            yield clip(str(number))
        await until(lambda: results.report.skipped)
        results.max_units = 5 * UNITS
        for number in range(3, 6):
            yield clip(str(number))

    async with pair(seconds=10) as (emu, client):
        async with client.batch(input_of(), max_units=2 * UNITS) as results:
            found = await remaining(results)
        assert [outcome.position for outcome in found] == [0, 1, 3, 4, 5]
        (line,) = results.report.skipped
        assert (line.reason, line.requests) == ("max_units", 1)
        assert results.max_units == 5 * UNITS and results.report.units == {"video": 5 * UNITS}
        assert len(emu.tasks) == 5


async def test_a_request_that_waits_for_units_goes_on_when_there_are_more() -> None:
    """It waits for what a running task may give back; new units serve as well, at once."""
    async with pair(seconds=100) as (emu, client):
        async with client.batch(clips(4), max_units={"video": 4}, price=lambda _: 2.5) as results:
            await until(lambda: emu.tasks)
            await asyncio.sleep(1)
            assert len(emu.tasks) == 1  # the second waits: the first may cost less than it may cost at most
            results.max_units = {"video": 10, "image": 0}
            await asyncio.sleep(1)
            assert len(emu.tasks) == 4
            assert len(await remaining(results)) == 4
        assert results.report.skipped == ()


async def test_fewer_units_skip_what_is_not_sent() -> None:
    """Running tasks are paid for; what queues is judged when its turn comes."""
    async with pair({"video": 2}, seconds=10, client={"limits": {"video": 2}}) as (emu, client):
        async with client.batch(clips(9), max_units=100) as results:
            await until(lambda: len(emu.tasks) == 2)
            await asyncio.sleep(1)
            results.max_units = 4 * UNITS
            found = await remaining(results)
        assert [outcome.position for outcome in found] == [0, 1, 2, 3] and len(emu.tasks) == 4
        assert sum(line.requests for line in results.report.skipped) == 5
        assert results.report.stopped == "max_units"


@pytest.mark.parametrize("seed", range(6))
async def test_no_sequence_of_limits_is_exceeded(seed: int, tmp_path: Path) -> None:
    """No create is sent that passes the limit of that moment, and each request is made or skipped."""
    rng = random.Random(seed)
    journal = tmp_path / "jobs.sqlite" if seed % 2 else None
    async with pair({"video": 2}, seconds=10, client={"limits": {"video": 2}}) as (emu, client):
        async with client.batch(clips(30), journal=journal, max_units=3 * UNITS) as results:
            found = asyncio.ensure_future(remaining(results))
            while not found.done():
                await until(lambda: not client.stats().in_flight)
                made = len(emu.tasks)
                limit: Any = UNITS * rng.randint(0, 12)
                results.max_units = rng.choice([limit, {"video": limit}])
                await asyncio.sleep(rng.choice([0, 0.1, 4, 25]))
                assert len(emu.tasks) == made or len(emu.tasks) * UNITS <= limit
            ends = await found
        skipped = sum(line.requests for line in results.report.skipped)
        assert len(ends) == len(emu.tasks) and len(ends) + skipped == 30
        assert sum(results.report.units.values()) == UNITS * len(ends)


@pytest.mark.parametrize("limit", [-1, "3", True, float("nan"), {"videos": 3}, {"video": -1}, [3]])
async def test_a_wrong_limit_changes_nothing(limit: Any) -> None:
    """It is refused as the option is."""
    async with pair(seconds=5) as (_, client), client.batch(clips(2), max_units=2 * UNITS) as results:
        with pytest.raises(RequestInvalid, match="max_units"):
            results.max_units = limit
        assert results.max_units == 2 * UNITS
        assert len(await remaining(results)) == 2


async def test_a_limit_for_all_runs_is_set_from_the_beginning(tmp_path: Path) -> None:
    """With a journal, earlier runs count: a batch that began without a limit has not counted them."""
    journal = tmp_path / "jobs.sqlite"
    async with pair(seconds=5) as (emu, client):
        async with client.batch(clips(2), journal=journal) as results:
            await remaining(results)
        batch = client.batch(clips(4), journal=journal)
        batch.max_units = 3 * UNITS  # not entered yet: as if it were an option
        async with batch as results:
            assert len(await remaining(results)) == 3
            results.max_units = None
            results.max_units = 3 * UNITS
        async with client.batch(clips(5), journal=journal) as results:
            with pytest.raises(RequestInvalid, match="earlier runs were not counted; begin with a large one"):
                results.max_units = 3 * UNITS
            results.max_units = None
            assert len(await remaining(results)) == 5
        assert len(emu.tasks) == 5

"""Submits that meet at one moment: one id, room in the queue, the end of the client, callers who leave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import (
    ClientClosed,
    ExternalIdTaken,
    Polling,
    QueueFull,
    QueueTimeout,
    RequestInvalid,
    TaskWithdrawn,
    v1,
)
from kling_async.orchestrator import engine
from tests.orchestrator.test_gone_callers import held_connector
from tests.support import client_of, clip, pair, settle, until
from tests.test_enqueue import ONE

if TYPE_CHECKING:
    from kling_async import Client, Task

pytestmark = pytest.mark.anyio

ROOM = {"video": 3, "image": 9}


async def gone_by_withdrawal(client: Client) -> None:
    task = await client.enqueue(clip("gone"), external_task_id="gone")
    await asyncio.sleep(1)
    assert task.withdraw() is False


async def gone_by_cancellation(client: Client) -> None:
    submit = asyncio.create_task(client.submit(clip("gone"), external_task_id="gone"))
    await asyncio.sleep(1)
    submit.cancel()


async def gone_by_two_cancellations(client: Client) -> None:
    submits = []
    for _ in range(2):
        work = client.submit(clip("gone"), external_task_id="gone", if_exists="attach")
        submits.append(asyncio.create_task(work))
        await asyncio.sleep(1)
    for submit in submits:
        submit.cancel()


GONE = [gone_by_withdrawal, gone_by_cancellation, gone_by_two_cancellations]


# -- who leaves while the create is on its way


@pytest.mark.parametrize("leave", GONE)
async def test_what_nobody_wants_is_forgotten_and_counted_once(leave: Any) -> None:
    """Refused by the full account after its callers left, it is listed no more, and counts once."""
    async with pair(ROOM, seconds=500, client={"limits": {"video": 2}}) as (emu, client):
        emu.fault("create", kind="slow", seconds=5, acts=False)
        emu.set_foreign("video", 3)
        await leave(client)
        await asyncio.sleep(60)
        assert not client.tasks() and not emu.tasks
        assert client.attach(v1.TextToVideo, external_task_id="gone").status == "unknown"
        stats = client.stats()
        assert (stats.submitted, sum(stats.left.values())) == (1, 1)
        assert (stats.pools["video"].held, stats.queued) == (0, 0)


@pytest.mark.parametrize("found_by", ["look", "attach"])
async def test_a_task_that_left_the_queue_in_doubt_holds_its_slot_once_found(found_by: str) -> None:
    """Made behind a 429 without a code and left by its callers while it queued again: it runs, and counts."""
    async with pair({"video": 1, "image": 9}, seconds=500) as (emu, client):
        emu.fault("create", status=429, acts=True, retry_after=9)
        task = await client.enqueue(clip(), external_task_id="mine")
        await until(lambda: task.status == "queued" and len(emu.tasks) == 1, step=0)
        assert task.withdraw() is False and task.status == "unresolved"
        if found_by == "attach":
            await client.attach(v1.TextToVideo, external_task_id="mine").refresh()
        await until(lambda: not client.unresolved(), 60)
        assert client.account.limits()["video"].held == 1
        assert [found.external_task_id for found in client.tasks()] == ["mine"]
        await client.run(clip("next"))
        assert client.account.limits()["video"].held == 0 and client.stats().refused == 0


# -- withdrawal at any moment


async def test_what_waits_for_its_connection_can_be_withdrawn() -> None:
    """It is told so: its create sends no byte, however long the connection takes."""
    async with held_connector() as (emu, client, connector):
        task = await client.enqueue(clip())
        waiting = asyncio.create_task(task.wait())
        await asyncio.wait_for(connector.waiting.wait(), 60)
        assert task.status == "creating" and task.withdraw() is True and task.withdraw() is True
        with pytest.raises(TaskWithdrawn):
            await waiting
        connector.go_on.set()
        await asyncio.sleep(60)
        assert (len(emu.ledger.creates), task.status) == (0, "withdrawn")
        assert client.account.limits()["video"].held == 0


@pytest.mark.parametrize("fault", [None, {"code": 1003}, {"kind": "lost_before"}, {"status": 429}])
@pytest.mark.parametrize("by", ["api key", "key pair"])
async def test_a_withdrawal_tells_the_truth_in_every_turn(fault: dict[str, Any] | None, by: str) -> None:
    """True: the vendor saw no create of it. False without a fault: its task is there."""
    answers = set()
    for turns in range(16):
        async with pair(ONE, seconds=2000) as (emu, _):
            keys = {} if by == "api key" else {"access_key": emu.access_key, "secret_key": emu.secret_key}
            if fault is not None:
                emu.fault("create", **fault)
            async with client_of(emu, **keys) as client:
                task = await client.enqueue(clip())
                for _ in range(turns):
                    await asyncio.sleep(0)
                answers.add(unsent := task.withdraw())
                await asyncio.sleep(900)
                assert len(emu.ledger.creates) == 0 if unsent else fault or len(emu.tasks) == 1
                assert client.account.limits()["video"].held == len(emu.tasks)
    assert answers == {True, False}


# -- at one moment


@pytest.mark.parametrize("call", ["submit", "run", "enqueue"])
@pytest.mark.parametrize(("if_exists", "other"), [("error", "same"), ("attach", "same"), ("attach", "other")])
async def test_submits_of_one_id_at_one_moment_are_one_create(call: str, if_exists: Any, other: str) -> None:
    """The first one counts; those that come in the same turn of the loop are answered as later ones are."""
    async with pair(ROOM) as (emu, client):
        calls = [getattr(client, call)] * 3
        work = [
            method(clip(prompt), external_task_id="mine", if_exists=if_exists)
            for method, prompt in zip(calls, ["same", other, other], strict=True)
        ]
        first, *later = await asyncio.gather(*work, return_exceptions=True)
        assert not isinstance(first, BaseException)
        if if_exists == "error":
            # by the client, not by the vendor
            assert all(isinstance(error, ExternalIdTaken) and error.http_status == 0 for error in later)
        elif other == "other":
            assert [type(error) for error in later] == [RequestInvalid] * 2
        else:
            assert not any(isinstance(outcome, BaseException) for outcome in later)
        await asyncio.sleep(60)
        assert client.stats().requests["create"] == len(emu.tasks) == 1


async def test_submits_at_one_moment_find_the_room_that_is_left() -> None:
    """``max_queued`` bounds those that come in the same turn of the loop, too."""
    async with pair(ONE, client={"max_queued": 2}) as (_, client):
        await client.submit(clip())
        work = [asyncio.create_task(client.submit(clip(f"{n}"))) for n in range(9)]
        await settle()
        refused = [task.exception() for task in work if task.done()]
        assert [type(error) for error in refused] == [QueueFull] * 7
        assert client.stats().queued == 2
        for task in work:
            task.cancel()


async def test_what_was_enqueued_too_stays_when_its_submit_leaves() -> None:
    """A handle from ``enqueue`` is a holder, whoever put the submit into the queue, and on its way."""
    async with pair(ONE) as (emu, client):
        emu.fault("create", kind="slow", seconds=3)
        tasks: list[Task[Any]] = []
        for status in ("creating", "queued"):
            submit = asyncio.create_task(
                client.submit(clip(), external_task_id=status, if_exists="attach"),
            )
            await asyncio.sleep(1)
            task = await client.enqueue(clip(), external_task_id=status, if_exists="attach")
            tasks.append(task)
            assert task.status == status
            submit.cancel()
            await settle()
            assert task.status == status
        await tasks[1].wait()
        assert len(emu.tasks) == 2


@pytest.mark.parametrize(("times", "made"), [((5, None), True), ((None, 5), True), ((5, 60), False)])
async def test_what_is_shared_waits_as_long_as_the_most_patient_allows(
    times: tuple[float | None, float | None], made: bool
) -> None:
    """An order enqueued without a limit is not lost with a shorter one's time."""
    async with pair(ONE, seconds=200) as (emu, client):
        task = await client.submit(clip())
        began = asyncio.get_running_loop().time()
        for queue_timeout in times:
            task = await client.enqueue(
                clip(), external_task_id="mine", if_exists="attach", queue_timeout=queue_timeout
            )
            await asyncio.sleep(1)
        again = client.attach(v1.TextToVideo, external_task_id="mine")
        if made:
            await again.accepted()
        else:
            with pytest.raises(QueueTimeout, match="within 61 s"):
                await again.accepted()
            assert asyncio.get_running_loop().time() - began == pytest.approx(61, abs=0.2)
        assert len(emu.tasks) == 1 + made and task.done is not made


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("if_exists", ["error", "attach"])
async def test_a_handle_on_an_id_that_nobody_has_seen_stands_in_no_submits_way(
    exists: bool, if_exists: Any
) -> None:
    """A page that waits for an order before that is enqueued does not take its task's place."""
    async with pair(ROOM) as (emu, client), client_of(emu) as other:
        if exists:
            await other.submit(clip(), external_task_id="mine")
        page = client.attach(v1.TextToVideo, external_task_id="mine")
        waiting = asyncio.create_task(page.wait())
        await settle(1)
        task = await client.enqueue(clip(), external_task_id="mine", if_exists=if_exists)
        ends = await asyncio.gather(task.wait(), waiting, return_exceptions=True)
        if exists and if_exists == "error":
            assert isinstance(ends[0], ExternalIdTaken)
        else:
            assert ends[0] == ends[1] == task.result
        assert len(emu.tasks) == 1 and client.account.limits()["video"].held == 0


@pytest.mark.parametrize("first", ["page", "order"])
async def test_a_task_that_two_clients_come_to_by_different_ids_holds_its_slot_once(first: str) -> None:
    """One attached to the id before it was seen, the other found or made it, each with its own polling."""
    async with pair(ROOM, seconds=500) as (emu, maker), client_of(emu) as client:
        made = await maker.submit(clip(), external_task_id="mine")
        page = client.with_options(polling=Polling(request_cost=1)).attach(
            v1.TextToVideo, external_task_id="mine"
        )
        if first == "page":
            order = await client.enqueue(clip(), external_task_id="mine", if_exists="attach")
            await page.refresh()
            await order.accepted()
        else:
            order = await client.submit(clip(), external_task_id="mine", if_exists="attach")
            await page.refresh()
        assert order.id == page.id == made.id
        assert [task.id for task in client.tasks()] == [made.id]
        assert client.account.limits()["video"].held == 1
        await asyncio.gather(order.wait(), page.wait())
        assert client.account.limits()["video"].held == 0


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("call", ["submit", "enqueue"])
async def test_no_submit_outlives_a_client_that_is_closed_at_any_moment(call: str, turns: int) -> None:
    """It is made, or fails: a submit that enters the queue of a closed client would wait for ever."""
    async with pair(ONE) as (emu, client):

        async def submit() -> Task[Any]:
            task: Task[Any] = await getattr(client, call)(clip())
            return await task.accepted()

        work = asyncio.create_task(submit())
        for _ in range(turns):
            await asyncio.sleep(0)
        await client.aclose()
        done, _ = await asyncio.wait([work], timeout=60)
        assert done
        assert len(emu.tasks) == 1 if work.exception() is None else isinstance(work.exception(), ClientClosed)


async def test_a_run_whose_time_is_over_while_it_is_checked_has_sent_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says so, with the id: its files may be looked at for long."""

    async def slow(*_: object, **__: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(engine, "check_media", slow)
    async with pair(ONE) as (emu, client):
        with pytest.raises(QueueTimeout, match="nothing was created") as caught:
            await client.run(clip(), timeout=5, external_task_id="mine")
        assert caught.value.external_task_id == "mine"
        assert not emu.tasks

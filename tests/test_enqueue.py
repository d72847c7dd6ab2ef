"""One handle for the whole life of a task: queued, created, running, ended; withdrawn, shared, attached."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import (
    ClientClosed,
    ExternalIdTaken,
    PolicyViolation,
    QueueFull,
    QueueTimeout,
    RequestInvalid,
    TaskFailed,
    TaskTimeout,
    TaskWithdrawn,
    v1,
)
from kling_async.catalog import endpoint_of
from kling_async.orchestrator import bodies, engine, submitter
from tests.support import Recorder, client_of, clip, pair, settle, still, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

ONE = {"video": 1, "image": 9}


def creates(emu: Any) -> int:
    """How many tasks the emulator has made."""
    return len(emu.tasks)


# -- the queue


async def test_enqueue_returns_at_once_and_the_handle_lives_on(tmp_path: Path) -> None:
    """At a full account the handle is queued, with its id and place; then it is the task, up to its files."""
    async with pair(ONE) as (_, client):
        first = await client.submit(clip("first"))
        began = asyncio.get_running_loop().time()
        tasks = [await client.enqueue(clip(f"{n}"), external_task_id=f"order-{n}") for n in range(3)]
        assert asyncio.get_running_loop().time() - began < 0.1
        assert [(task.status, task.position, task.id, task.external_task_id) for task in tasks] == [
            ("queued", n, f"order-{n}", f"order-{n}") for n in range(3)
        ]
        assert all(task.request == clip(str(n)) and not task.done for n, task in enumerate(tasks))
        assert all(
            (task.record, task.result, task.raw, task.created_at) == (None, None, {}, None) for task in tasks
        )
        assert first.position is None
        await tasks[0].accepted()
        assert (tasks[0].status, tasks[0].position) == ("submitted", None)
        assert tasks[0].id != "order-0" and tasks[0].external_task_id == "order-0"
        assert [task.position for task in tasks[1:]] == [0, 1]
        videos = await tasks[2].wait()
        assert videos is tasks[2].result and tasks[1].done
        assert [path.suffix for path in await tasks[1].download(tmp_path)] == [".mp4"]


async def test_a_queued_task_needs_nobody_who_waits() -> None:
    """A handle that is dropped at once is demand as well: it is created, and its end is seen for its slot."""
    async with pair(ONE) as (emu, client):
        for n in range(4):
            await client.enqueue(clip(f"{n}"))
        await until(lambda: creates(emu) == 4)


async def test_higher_priority_goes_before() -> None:
    """A place counts all that go before: of higher priority, and of other labels in turn."""
    async with pair(ONE) as (_, client):
        await client.submit(clip())
        low = await client.enqueue(clip("low"))
        assert low.position == 0
        high = await client.enqueue(clip("high"), priority=1)
        other = await client.enqueue(clip("other"), label="b")  # label "" has just had its turn
        again = await client.enqueue(clip("again"))
        assert [task.position for task in (high, other, low, again)] == [0, 1, 2, 3]


async def test_the_client_lists_and_finds_what_queues() -> None:
    """``tasks()`` and ``attach`` give handles on the same submit, also by a client of other settings."""
    async with pair(ONE) as (_, client):
        running = await client.submit(clip())
        queued = await client.enqueue(clip("queued"), external_task_id="mine")
        assert [task.id for task in client.tasks()] == [running.id, "mine"]
        same = client.with_options().attach(v1.TextToVideo, external_task_id="mine")
        assert (same.status, same.position) == ("queued", 0)
        assert client.attach(v1.ImageToVideo, external_task_id="mine").status == "unknown"
        await queued.accepted()
        assert same.id == queued.id and same.tracked is queued.tracked


async def test_the_time_of_the_end_is_told_while_it_queues() -> None:
    """Once such tasks have ended, a queued one's ETA counts the turns before it."""
    async with pair(ONE, seconds=60) as (_, client):
        for n in range(3):
            await client.run(clip(f"{n}"))
        running = await client.enqueue(clip("runs"))
        await running.accepted()
        queued = [await client.enqueue(clip(f"q{n}")) for n in range(3)]
        etas = [task.eta for task in queued]
        assert running.eta is not None and None not in etas
        seconds = [(b - a).total_seconds() for a, b in itertools.pairwise(etas) if a and b]
        assert seconds == pytest.approx([60, 60], rel=0.25)
        assert queued[0].withdraw() and queued[0].eta is None


async def test_too_many_are_refused_at_once() -> None:
    """``max_queued`` bounds what waits, matches included; what runs does not count."""
    async with pair(ONE, client={"max_queued": 2}) as (emu, client):
        await client.submit(clip())
        for n in range(2):
            await client.enqueue(clip(f"{n}"))
        with pytest.raises(QueueFull, match="2 submits") as caught:
            await client.enqueue(clip("third"))
        assert caught.value.queued == 2
        with pytest.raises(QueueFull):
            await client.submit(clip("third"))
        assert creates(emu) == 1


# -- waiting


async def test_waits_of_all_kinds_cover_the_queue() -> None:
    """``wait``, ``updates`` and ``accepted`` begin in the queue; many may wait at once."""
    async with pair(ONE) as (_, client):
        await client.submit(clip())
        task = await client.enqueue(clip("queued"), external_task_id="mine")

        async def seen() -> list[str]:
            return [record.status async for record in task.updates()]

        one, two, accepted, statuses = await asyncio.gather(task.wait(), task.wait(), task.accepted(), seen())
        assert one is two and accepted is task
        assert statuses[0] == "queued" and statuses[-1] == "succeed"


async def test_a_wait_that_is_over_leaves_it_in_the_queue() -> None:
    """The error says that it still queues; neither a timeout nor a cancellation withdraws it."""
    async with pair(ONE) as (_, client):
        await client.submit(clip())
        task = await client.enqueue(clip("queued"), external_task_id="mine")
        for wait in (task.wait, task.accepted):
            with pytest.raises(TaskTimeout, match="still queued after 3 s") as caught:
                await wait(timeout=3)
            assert caught.value.queued and caught.value.external_task_id == "mine"
        waiting = asyncio.create_task(task.wait())
        await settle()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert task.status == "queued"
        await task.wait()


async def test_a_refusal_reaches_all_who_wait_and_ask_later() -> None:
    """Each gets an error of its own, of the same class; the status says refused."""
    async with pair(ONE) as (_, client):
        await client.submit(clip())
        task = await client.enqueue(clip("emulator:refuse:1301"))
        errors = await asyncio.gather(task.wait(), task.accepted(), return_exceptions=True)
        assert [type(error) for error in errors] == [PolicyViolation] * 2 and errors[0] is not errors[1]
        assert (task.status, task.done, task.position) == ("refused", True, None)
        with pytest.raises(PolicyViolation):
            await task.refresh()
        with pytest.raises(PolicyViolation):
            await anext(task.updates())


async def test_a_refusal_that_nobody_hears_is_a_warning_and_stays_for_ten_minutes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log names the id and the reason; ``attach`` finds it, and then no more."""
    async with pair(ONE) as (_, client):
        await client.enqueue(clip("emulator:refuse:1301"), external_task_id="unheard")
        with caplog.at_level(logging.WARNING):
            await until(lambda: "unheard" in caplog.text)
        assert "code 1301" in caplog.text
        await asyncio.sleep(590)
        found = client.attach(v1.TextToVideo, external_task_id="unheard")
        assert found.status == "refused"
        with pytest.raises(PolicyViolation):
            await found.wait()
        await asyncio.sleep(20)
        assert client.attach(v1.TextToVideo, external_task_id="unheard").status == "unknown"


async def test_of_many_unheard_refusals_a_thousand_are_kept() -> None:
    """The oldest go first."""
    async with pair(ONE, client={"queueing": False}) as (emu, client):
        emu.account_code = 1101
        await asyncio.gather(client.submit(clip()), return_exceptions=True)
        for n in range(1010):
            await client.enqueue(clip(), external_task_id=f"n-{n}")
        gone, first = (client.attach(v1.TextToVideo, external_task_id=f"n-{n}") for n in (9, 10))
        assert (gone.status, first.status) == ("unknown", "refused")


async def test_the_queue_timeout_ends_a_queued_task() -> None:
    """Counted from the enqueue; its waiters get `QueueTimeout`."""
    async with pair(ONE, seconds=100) as (emu, client):
        await client.submit(clip())
        task = await client.enqueue(clip("late"), queue_timeout=5)
        with pytest.raises(QueueTimeout):
            await task.wait()
        assert (task.status, creates(emu)) == ("withdrawn", 1)


# -- withdrawing


async def test_what_queues_can_be_withdrawn() -> None:
    """Nothing was sent, waiters are told, and the others move up; a second time there is nothing to do."""
    events = Recorder()
    async with pair(ONE, client={"on_event": events}) as (emu, client):
        await client.submit(clip())
        task, behind = await client.enqueue(clip("gone")), await client.enqueue(clip("behind"))
        waiting = asyncio.create_task(task.wait())
        await settle()
        assert task.withdraw() is True
        with pytest.raises(TaskWithdrawn, match="nothing was sent"):
            await waiting
        assert (task.status, task.done, behind.position) == ("withdrawn", True, 0)
        await behind.wait()
        assert creates(emu) == 2
        assert [event.error for event in events.of("left")] == ["TaskWithdrawn"]
        assert behind.withdraw() is False


async def test_a_task_whose_files_are_being_read_can_be_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its turn has come, but no byte is sent: then none will be."""
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any) -> bytes:
        reading.set()
        await go_on.wait()
        return await bodies.encode(*arguments)

    monkeypatch.setattr(submitter, "encode", slow)
    async with pair(ONE) as (emu, client):
        task = await client.enqueue(clip("gone"))
        waiting = asyncio.create_task(task.wait())
        await reading.wait()
        assert task.status == "creating" and task.withdraw() is True
        with pytest.raises(TaskWithdrawn):
            await waiting
        go_on.set()
        await settle()
        assert (creates(emu), task.status, client.account.limits()["video"].held) == (0, "withdrawn", 0)


async def test_what_is_on_its_way_cannot_be_withdrawn() -> None:
    """It is told so, and the task goes on for whoever waits."""
    async with pair(ONE) as (emu, client):
        emu.fault("create", kind="slow", seconds=3)
        task = await client.enqueue(clip())
        waiting = asyncio.create_task(task.wait())
        await asyncio.sleep(1)
        assert task.status == "creating" and task.withdraw() is False
        await waiting
        assert (task.status, creates(emu)) == ("succeed", 1)


async def test_a_refusal_by_the_full_account_ends_what_was_withdrawn_in_flight() -> None:
    """It does not queue again: nobody wants it."""
    async with pair({"video": 2, "image": 9}, seconds=500, client={"limits": {"video": 2}}) as (emu, client):
        emu.set_foreign("video", 2)
        emu.fault("create", kind="slow", seconds=3)
        task = await client.enqueue(clip())
        waiting = asyncio.create_task(task.wait())
        await asyncio.sleep(1)
        assert task.withdraw() is False
        with pytest.raises(TaskWithdrawn):
            await waiting
        assert (task.status, creates(emu)) == ("withdrawn", 0)


async def test_withdrawing_works_from_a_thread() -> None:
    """The thread waits for the loop to do it, and is told the truth."""
    async with pair(ONE) as (_, client):
        await client.submit(clip())
        task = await client.enqueue(clip("gone"))
        assert await asyncio.to_thread(task.withdraw) is True and task.status == "withdrawn"


# -- one id, one task


async def test_a_second_enqueue_of_an_id_is_answered_at_once() -> None:
    """Queued, running or ended in this client: an error by default, the same task with ``attach``."""
    async with pair(ONE) as (emu, client):
        running = await client.submit(clip("runs"), external_task_id="runs")
        queued = await client.enqueue(clip("queues"), external_task_id="queues")
        for held in (running, queued):
            request, name = held.request, held.external_task_id
            assert request is not None
            for call in (client.enqueue, client.submit, client.run):
                with pytest.raises(ExternalIdTaken, match='if_exists="attach"'):
                    await call(request, external_task_id=name)
            again = await client.enqueue(request, external_task_id=name, if_exists="attach")
            assert (again.id, again.status) == (held.id, held.status)
        assert (
            await client.run(clip("queues"), external_task_id="queues", if_exists="attach") == queued.result
        )
        assert creates(emu) == 2


async def test_an_id_of_another_request_is_an_error_that_names_the_fields() -> None:
    """With or without a task; also for a request of another endpoint."""
    async with pair(ONE) as (_, client):
        await client.submit(clip("runs", duration=5), external_task_id="runs")
        await client.enqueue(clip("queues"), external_task_id="queues")
        for name, other, fields in [
            ("runs", clip("runs!", duration=10), "prompt, duration"),
            ("queues", clip("queues", mode="pro"), "mode"),
            ("queues", still("queues"), "endpoint"),
        ]:
            with pytest.raises(RequestInvalid, match=f"differs in {fields};"):
                await client.enqueue(other, external_task_id=name, if_exists="attach")


async def test_a_shared_submit_stays_until_its_last_holder_leaves() -> None:
    """A cancelled ``submit`` withdraws only what nobody else wants."""
    async with pair(ONE, seconds=300) as (emu, client):
        await client.submit(clip())

        def submit() -> asyncio.Task[Any]:
            work = client.submit(clip("shared"), external_task_id="shared", if_exists="attach")
            return asyncio.create_task(work)

        one, two = submit(), submit()
        await asyncio.sleep(1)  # the account was asked for the id
        one.cancel()
        await settle()
        assert [task.id for task in client.tasks()][1:] == ["shared"]
        two.cancel()
        await settle()
        assert len(client.tasks()) == 1
        kept = await client.enqueue(clip("shared"), external_task_id="shared", if_exists="attach")
        three = submit()
        await asyncio.sleep(1)
        three.cancel()
        await settle()
        assert kept.status == "queued" and creates(emu) == 1


async def test_a_restart_enqueues_everything_again() -> None:
    """What the account has is found, whatever its state, without a slot; the rest is made. Nothing twice."""
    async with pair({"video": 3, "image": 9}, seconds=60) as (emu, client):
        for n in range(3):
            await client.submit(clip("emulator:fail" if n == 0 else f"{n}"), external_task_id=f"order-{n}")
        await until(lambda: "failed" in [task.status for task in emu.tasks.values()])
        async with client_of(emu) as other:
            tasks = [
                await other.enqueue(
                    clip("emulator:fail" if n == 0 else f"{n}"),
                    external_task_id=f"order-{n}",
                    if_exists="attach",
                )
                for n in range(5)
            ]
            outcomes = await asyncio.gather(*(task.wait() for task in tasks), return_exceptions=True)
            assert isinstance(outcomes[0], TaskFailed)
            assert not any(isinstance(outcome, BaseException) for outcome in outcomes[1:])
            assert [task.request is None for task in tasks] == [True, True, True, False, False]
        assert creates(emu) == 5


async def test_a_match_needs_no_slot() -> None:
    """A task that the account has is handed over while the account is full."""
    async with pair(ONE, seconds=500) as (emu, client):
        made = await client.submit(clip(), external_task_id="mine")
        async with client_of(emu) as other:
            found = await other.submit(clip(), external_task_id="mine", if_exists="attach", queue_timeout=2)
            assert found.id == made.id and other.account.limits()["video"].held == 1


@pytest.mark.parametrize("by", ["api key", "key pair"])
async def test_matches_share_their_questions(by: str) -> None:
    """By API key 20 ids are one question; else a page of the list answers all."""
    async with pair(ONE) as (emu, _):
        keys = {} if by == "api key" else {"access_key": emu.access_key, "secret_key": emu.secret_key}
        async with client_of(emu, **keys) as client:
            for n in range(45):
                await client.enqueue(clip(f"{n}"), external_task_id=f"order-{n}", if_exists="attach")
            await until(lambda: client.stats().queued >= 44)
            assert client.stats().requests["lookup"] == (3 if by == "api key" else 1)


async def test_an_id_that_the_vendor_refuses_as_taken_is_that_task() -> None:
    """The look before came too early: the refusal leads to the task, not to an error."""
    async with pair({"video": 3, "image": 9}, seconds=500) as (emu, client):
        await client.submit(clip("first"))
        async with client_of(emu, limits={"video": 1}) as other:
            emu.set_foreign("video", 2)
            task = await other.enqueue(clip("mine"), external_task_id="mine", if_exists="attach")
            await until(lambda: other.stats().refused > 0)
            emu.set_foreign("video", 0)
            made = await client.submit(clip("mine"), external_task_id="mine")
            await task.accepted()
            assert task.id == made.id and creates(emu) == 2


async def test_a_look_without_an_answer_is_an_error_and_nothing_is_sent() -> None:
    """Nobody knows whether the task exists, so that none is made; it can be enqueued again."""
    async with pair(ONE) as (emu, client):
        emu.fault("any", code=5000, status=500, times=40)
        task = await client.enqueue(clip(), external_task_id="mine", if_exists="attach")
        with pytest.raises(Exception, match="5000"):
            await task.wait()
        assert (task.status, creates(emu)) == ("refused", 0)


async def test_a_match_ends_with_withdrawal_timeout_and_client() -> None:
    """Before the answer has come: withdrawn, out of time, or the client closed."""
    async with pair(ONE) as (emu, client):
        emu.fault("tasks", kind="slow", seconds=20, times=9)
        gone = await client.enqueue(clip(), external_task_id="gone", if_exists="attach")
        late = await client.enqueue(clip(), external_task_id="late", if_exists="attach", queue_timeout=1)
        left = await client.enqueue(clip(), external_task_id="left", if_exists="attach")
        assert gone.status == "queued" and gone.position is None
        assert gone.withdraw() is True
        with pytest.raises(QueueTimeout):
            await late.wait()
        waiting = asyncio.create_task(left.wait())
        await settle()
        await client.aclose()
        with pytest.raises(ClientClosed, match="nothing was sent"):
            await waiting
        assert creates(emu) == 0


async def test_attach_needs_an_id_and_an_endpoint_that_takes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors that name the option, before anything is sent."""
    async with pair(ONE) as (emu, client):
        with pytest.raises(RequestInvalid, match="external_task_id: is needed"):
            await client.enqueue(clip(), if_exists="attach")
        with pytest.raises(RequestInvalid, match="if_exists: must be"):
            await client.enqueue(clip(), external_task_id="a", if_exists="take")  # type: ignore[arg-type]
        for hidden in ({"lookup": "none"}, {"takes_external_id": False}):
            endpoint = endpoint_of(clip())._replace(**hidden)
            monkeypatch.setattr(engine, "endpoint_of", lambda _, endpoint=endpoint: endpoint)
            with pytest.raises(RequestInvalid, match="if_exists: tasks of text_to_video cannot be found"):
                await client.enqueue(clip(), external_task_id="a", if_exists="attach")
        assert creates(emu) == 0


# -- the end of a client


async def test_a_closed_client_names_what_runs_on(caplog: pytest.LogCaptureFixture) -> None:
    """Waiters get the ids of the running tasks, and the log a warning; what queued was not sent."""
    async with pair(ONE, seconds=500) as (_, client):
        running = await client.submit(clip())
        queued = await client.enqueue(clip("queued"))
        waits = [asyncio.create_task(task.wait()) for task in (running, queued)]
        await settle()
        with caplog.at_level(logging.WARNING):
            await client.aclose()
        runs, unsent = await asyncio.gather(*waits, return_exceptions=True)
        assert isinstance(runs, ClientClosed) and runs.task_ids == (running.id,)
        assert isinstance(unsent, ClientClosed) and unsent.task_ids == () and queued.status == "refused"
        assert [record.getMessage() for record in caplog.records] == [
            f"the client was closed; tasks run on (1), attach() to them later: {running.id}"
        ]


# -- status pages


async def test_a_status_page_costs_one_question_at_most() -> None:
    """Fresh records, queued tasks and ended tasks cost none; concurrent refreshes are one."""
    async with pair(ONE, seconds=50) as (_, client):
        task, queued = await client.submit(clip()), await client.enqueue(clip("queued"))

        def asked() -> int:
            return sum(client.stats().requests[kind] for kind in ("one", "ids", "list"))

        before = asked()
        assert (await queued.refresh()).status == "queued"
        assert (await task.refresh(max_age=5)).task_id == task.id  # its create has just shown it
        assert asked() == before
        await asyncio.sleep(60)
        await task.wait()
        before = asked()
        await asyncio.gather(
            *(task.refresh() for _ in range(200)), *(task.refresh(max_age=1) for _ in range(9))
        )
        assert asked() == before
        await queued.accepted()
        await asyncio.sleep(6)
        before = asked()
        await asyncio.gather(*(queued.refresh(max_age=3) for _ in range(200)))
        assert asked() <= before + 1
        await task.refresh(max_age=0)


async def test_a_repr_shows_how_the_prompt_begins() -> None:
    """A person with many tasks tells them apart; a long prompt is cut."""
    async with pair(ONE) as (_, client):
        await client.submit(clip())
        task = await client.enqueue(clip("A rabbit reads the newspaper " * 9), external_task_id="order-1")
        assert repr(task) == "<Task text_to_video order-1 queued 'A rabbit reads the newspaper A rabbit...'>"
        assert repr(client.attach(v1.TextToVideo, task_id="7")) == "<Task text_to_video 7 unknown>"

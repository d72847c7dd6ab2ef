"""orchestrator/submitter.py: creates wait their turn, are sent once, and are never lost from sight."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from kling_async import (
    AmbiguousCreate,
    BadResponse,
    ClientClosed,
    ConcurrencyExceeded,
    ExternalIdTaken,
    OutOfUnits,
    PolicyViolation,
    QueueTimeout,
    RateLimited,
    RequestInvalid,
    RequestRejected,
    Retry,
    TransportError,
    v1,
)
from kling_async.errors import AuthenticationError, KlingError
from tests.support import Recorder, client_of, clip, pair, png, settle, still, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_submit_returns_when_the_vendor_has_accepted() -> None:
    """The task is there, running, with our external id, and holds its slot."""
    async with pair() as (emu, client):
        task = await client.submit(clip(), external_task_id="order-17")
        assert (task.status, task.done, task.external_task_id) == ("submitted", False, "order-17")
        assert task.id in emu.tasks
        assert client.account.limits()["video"].held == 1
        assert task.request == clip()


async def test_every_create_carries_an_external_id() -> None:
    """Rule 6: generated where the caller gives none, all different."""
    async with pair() as (emu, client):
        for _ in range(3):
            await client.submit(clip())
        ids = [row.external_task_id for row in emu.ledger.creates]
        assert all(ids) and len(set(ids)) == 3


async def test_more_submits_than_slots_queue() -> None:
    """All tasks are made, never more at once than the pool has, and nothing is refused on the way."""
    async with pair({"video": 3}, client={"limits": {"video": 3}}) as (emu, client):

        async def one() -> v1.Videos:
            return await (await client.submit(clip())).wait()

        results = await asyncio.gather(*(one() for _ in range(12)))
        assert len(results) == 12 and all(r.videos[0].url for r in results)
        assert emu.ledger.peak("video") == 3
        assert len(emu.ledger.creates) == len(emu.ledger.created) == 12


async def test_1303_is_never_seen_by_a_caller() -> None:
    """Rule 3: behind foreign load and a wrong limit every submit waits and none fails."""
    events = Recorder()
    async with pair({"video": 5}, foreign={"video": 3}, client={"on_event": events}) as (emu, client):
        await asyncio.gather(*((client.run(clip())) for _ in range(10)))
        refused = [row for row in emu.ledger.refused if row.code == 1303]
        assert refused and len(events.of("refused")) == len(refused)
        assert len(emu.ledger.created) == 10
        assert emu.ledger.peak("video") == 2


async def test_a_refused_create_sends_the_same_bytes_again() -> None:
    """Rule 6: the body is encoded once; the same external id, the same bytes."""
    async with pair({"video": 5}) as (emu, client):
        emu.fault("create", code=1303, times=3)
        await client.submit(clip())
        assert len({row.body_sha256 for row in emu.ledger.creates}) == 1
        assert len(emu.ledger.creates) == 4


async def test_queueing_off_raises_at_once() -> None:
    """With queueing=False a full account is an error of the caller's, and no slot is held for it."""
    async with pair({"video": 1}, client={"queueing": False}) as (_, client):
        await client.submit(clip())
        with pytest.raises(ConcurrencyExceeded) as caught:
            await client.submit(clip())
        assert caught.value.code == 1303 and caught.value.external_task_id
        assert client.account.limits()["video"].held == 1


async def test_priority_and_labels() -> None:
    """Rule 2: higher priority goes first, labels of one priority take turns, each label keeps its order."""
    async with pair({"video": 1}, client={"limits": {"video": 1}}) as (emu, client):
        jobs = [("a1", 0, "a"), ("a2", 0, "a"), ("a3", 0, "a"), ("b1", 0, "b"), ("b2", 0, "b"), ("x", 9, "")]
        first = asyncio.create_task(client.run(clip("first")))
        await settle()
        rest = [
            asyncio.create_task(client.run(clip(name), priority=priority, label=label))
            for name, priority, label in jobs
        ]
        await asyncio.gather(first, *rest)
        order = [(row.body or {})["prompt"] for row in emu.ledger.created]
        assert order == ["first", "x", "a1", "b1", "a2", "b2", "a3"]


async def test_a_caller_cancelled_in_the_queue_is_never_sent() -> None:
    """Rule 8: leaving the queue costs nothing, and those behind move up."""
    async with pair({"video": 1}, client={"limits": {"video": 1}}) as (emu, client):
        await client.submit(clip("first"))
        waiting = asyncio.create_task(client.submit(clip("gone")))
        behind = asyncio.create_task(client.submit(clip("behind")))
        await settle()
        waiting.cancel()
        await behind
        assert [(row.body or {})["prompt"] for row in emu.ledger.creates] == ["first", "behind"]
        assert client.account.limits()["video"].queued == 0


async def test_a_caller_cancelled_in_flight_leaves_a_task_in_care() -> None:
    """Rule 8: the create runs to its end, and its task is in client.tasks()."""
    async with pair() as (emu, client):
        emu.fault("create", kind="slow", seconds=5)
        flying = asyncio.create_task(client.submit(clip(), external_task_id="mine"))
        await until(lambda: emu.ledger.creates)
        flying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flying
        await until(client.tasks)
        assert [task.external_task_id for task in client.tasks()] == ["mine"]
        assert await client.tasks()[0].wait()


async def test_refused_by_1303_after_its_caller_left_is_dropped() -> None:
    """Rule 8: nobody waits for it any more, so it does not go back to the queue."""
    async with pair({"video": 5}) as (emu, client):
        emu.fault("create", kind="slow", seconds=5, code=1303)
        emu.set_foreign("video", 5)
        flying = asyncio.create_task(client.submit(clip()))
        await until(lambda: emu.ledger.creates)
        flying.cancel()
        await asyncio.sleep(100)
        assert len(emu.ledger.creates) == 1
        pool = client.account.limits()["video"]
        assert (pool.held, pool.queued) == (0, 0)


async def test_queue_timeout_ends_what_queues() -> None:
    """Nothing was created; the error names the id and the last refusal."""
    async with pair({"video": 1}, foreign={"video": 1}) as (emu, client):
        with pytest.raises(QueueTimeout, match=r"nothing was created.*parallel task") as caught:
            await client.submit(clip(), queue_timeout=20, external_task_id="late")
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.external_task_id == "late"
        assert not emu.ledger.created
        assert client.account.limits()["video"].queued == 0


async def test_queue_timeout_never_ends_a_create_in_flight() -> None:
    """Rule 8: a create that was admitted in time is waited for."""
    async with pair() as (emu, client):
        emu.fault("create", kind="slow", seconds=10)
        task = await client.submit(clip(), queue_timeout=1)
        assert task.id in emu.tasks


async def test_queue_timeout_applies_when_a_late_create_comes_back() -> None:
    """A create refused after the deadline does not queue again."""
    async with pair({"video": 1}, foreign={"video": 1}) as (emu, client):
        emu.fault("create", kind="slow", seconds=10)
        with pytest.raises(QueueTimeout):
            await client.submit(clip(), queue_timeout=5)
        assert len(emu.ledger.creates) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"code": 1200}, RequestRejected),
        ({"code": 1201, "message": "prompt is wrong"}, RequestRejected),
        ({"code": 1301}, PolicyViolation),
        ({"status": 404}, BadResponse),
    ],
)
async def test_a_final_refusal_concerns_its_request_alone(
    fault: dict[str, object], error: type[KlingError]
) -> None:
    """The error has the vendor's words, the slot is free, and the next submit goes through."""
    async with pair() as (emu, client):
        emu.fault("create", **fault)
        with pytest.raises(error):
            await client.submit(clip())
        assert client.account.limits()["video"].held == 0
        assert (await client.submit(clip())).id


async def test_a_taken_external_id() -> None:
    """Rule 7: "already exists" on a first send is the caller's mistake, named as such."""
    async with pair() as (emu, client):
        await client.submit(clip(), external_task_id="same")
        with pytest.raises(ExternalIdTaken) as caught:
            await client.submit(still(), external_task_id="same")
        assert caught.value.external_task_id == "same"
        assert len(emu.ledger.created) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "lost_before"},
        {"kind": "lost_after"},
        {"kind": "hang"},
        {"kind": "half_body"},
        {"kind": "empty"},
        {"kind": "html"},
        {"kind": "wrong_types", "value": [1]},
        {"code": 5000},
        {"code": 5002},
        {"status": 503},
    ],
    ids=lambda f: str(f.get("kind") or f.get("code") or f.get("status")),
)
async def test_a_lost_answer_is_looked_up(fault: dict[str, object]) -> None:
    """Rule 7: the task is found and adopted, or the create surely made nothing and is sent again."""
    events = Recorder()
    async with pair(client={"on_event": events}) as (emu, client):
        emu.fault("create", **fault)
        task = await client.submit(clip(), external_task_id="lost")
        assert len(emu.ledger.created) == 1 and task.id in emu.tasks
        assert len({row.body_sha256 for row in emu.ledger.creates}) == 1
        assert client.unresolved() == [] and client.account.limits()["video"].held == 1
        assert ("adopted" in events.kinds()) == (len(emu.ledger.creates) == 1)
        assert await task.wait()
        assert client.account.limits()["video"].held == 0


async def test_an_answer_cut_behind_the_id_is_no_lost_answer() -> None:
    """The id stands there: the task is made, and nothing is looked up."""
    events = Recorder()
    async with pair(client={"on_event": events}) as (emu, client):
        emu.fault("create", kind="truncated_json")
        assert (await client.submit(clip())).id in emu.tasks
        assert events.kinds() == ["queued", "admitted", "created"]


async def test_what_cannot_be_looked_up_is_ambiguous_and_resolved_later() -> None:
    """Rule 7: the caller is told, the slot stays held; later looks find the task and adopt it."""
    async with pair(seconds=2000, client={"retry": Retry(max_tries=2)}) as (emu, client):
        emu.fault("create", kind="lost_after")
        emu.fault("query", code=5000, times=6)
        with pytest.raises(AmbiguousCreate) as caught:
            await client.submit(clip(), external_task_id="lost")
        assert caught.value.external_task_id == "lost"
        assert [u.external_task_id for u in client.unresolved()] == ["lost"]
        assert client.account.limits()["video"].held == 1
        await until(client.tasks)
        assert [t.external_task_id for t in client.tasks()] == ["lost"] and client.unresolved() == []
        assert client.account.limits()["video"].held == 1 and len(emu.ledger.created) == 1
        assert await client.tasks()[0].wait()


async def test_an_unresolved_create_that_made_nothing_is_forgotten() -> None:
    """Later looks that miss free the slot; nothing is sent again, for the caller was told."""
    async with pair(client={"retry": Retry(max_tries=2)}) as (emu, client):
        emu.fault("create", kind="lost_before")
        emu.fault("query", code=5000, times=2)
        with pytest.raises(AmbiguousCreate):
            await client.submit(clip())
        await until(lambda: not client.unresolved(), 2000)
        assert client.account.limits()["video"].held == 0 and len(emu.ledger.creates) == 1


async def test_abandon_gives_the_slot_back_at_once() -> None:
    """A second call finds nothing to give up."""
    async with pair(client={"retry": Retry(max_tries=1)}) as (emu, client):
        emu.fault("create", kind="lost_before")
        emu.fault("query", code=5000)
        with pytest.raises(AmbiguousCreate):
            await client.submit(clip(), external_task_id="lost")
        assert client.abandon("lost") and not client.abandon("lost")
        assert client.unresolved() == [] and client.account.limits()["video"].held == 0


async def test_an_id_taken_by_an_earlier_task_is_never_adopted() -> None:
    """Rule 7: a task with our id, made before our first send, is somebody else's: the error says so."""
    async with pair(seconds=2000) as (emu, client):
        await client.submit(clip("a stranger's"), external_task_id="same")
        await asyncio.sleep(60)
        emu.fault("create", kind="lost_before")
        with pytest.raises(ExternalIdTaken):
            await client.submit(clip("ours"), external_task_id="same")
        assert len(emu.ledger.created) == 1 and client.account.limits()["video"].held == 1


async def test_a_task_id_spelled_like_our_external_id_is_not_ours() -> None:
    """The path takes either id, so a task whose own id equals our external id is somebody else's."""
    async with pair(seconds=2000) as (emu, client):
        first = await client.submit(clip("a stranger's"))
        emu.fault("create", kind="lost_before")
        task = await client.submit(clip("ours"), external_task_id=first.id)
        assert task.id != first.id and len(emu.ledger.created) == 2


async def test_an_ambiguous_create_found_by_attach_gives_its_slot_to_the_task() -> None:
    """Attached by the external id, it is one task with one slot, and no longer unresolved."""
    async with pair(seconds=60, client={"retry": Retry(max_tries=1)}) as (emu, client):
        emu.fault("create", kind="lost_after")
        emu.fault("query", code=5000)
        with pytest.raises(AmbiguousCreate):
            await client.submit(clip(), external_task_id="lost")
        task = client.attach(v1.TextToVideo, external_task_id="lost")
        await task.refresh()
        assert client.unresolved() == [] and client.account.limits()["video"].held == 1
        await task.wait()
        assert client.account.limits()["video"].held == 0
        assert len(emu.ledger.created) == 1


@pytest.mark.parametrize(
    "fault",
    [{"code": 1302}, {"code": 1302, "retry_after": 7}, {"status": 429}],
    ids=["1302", "retry-after", "bare-429"],
)
async def test_too_fast_goes_back_to_its_place(fault: dict[str, object]) -> None:
    """Rule 7: 1302, and a 429 without a known code, wait and are sent again; the belief stays."""
    async with pair() as (emu, client):
        emu.fault("create", times=2, **fault)
        loop = asyncio.get_running_loop()
        started = loop.time()
        await client.submit(clip())
        assert len(emu.ledger.creates) == 3 and len(emu.ledger.created) == 1
        assert client.account.limits()["video"].foreign == 0
        if "retry_after" in fault:
            assert loop.time() - started >= 14


async def test_too_fast_for_too_long_is_raised() -> None:
    """After Retry.max_tries the vendor's words reach the caller, and the slot is free."""
    async with pair(client={"retry": Retry(max_tries=3)}) as (emu, client):
        emu.fault("create", code=1302, times=None)
        with pytest.raises(RateLimited):
            await client.submit(clip())
        assert len(emu.ledger.creates) == 3
        assert client.account.limits()["video"].held == 0


async def test_a_server_that_is_down_is_tried_again_then_named() -> None:
    """Retries with pauses end in a TransportError that says that nothing was sent; nothing is unresolved."""
    async with pair() as (emu, client):
        await emu.stop()
        with pytest.raises(TransportError, match="cannot connect") as caught:
            await client.submit(clip())
        assert caught.value.sent is False and caught.value.external_task_id
        assert client.unresolved() == []
        assert client.account.limits()["video"].held == 0


async def test_a_proxy_that_is_no_address_makes_nothing_ambiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    """The submit fails before anything is sent, and the error says so."""
    monkeypatch.setenv("http_proxy", "http://[broken")
    monkeypatch.setenv("no_proxy", "")
    async with pair(client={"trust_env": True, "retry": Retry(max_tries=2)}) as (emu, client):
        with pytest.raises(TransportError, match="proxy is not a URL") as caught:
            await client.submit(clip())
        assert not caught.value.sent and client.unresolved() == [] and emu.ledger.creates == []


async def test_1102_closes_its_pool_alone() -> None:
    """Rule 5: what queues there and what comes fails at once; the other pool goes on."""
    async with pair({"video": 5, "image": 1}, client={"limits": {"image": 1, "video": 5}}) as (emu, client):
        await client.submit(still())
        queued = asyncio.create_task(client.submit(still("queued")))
        behind = asyncio.create_task(client.submit(still("behind")))
        await settle()
        emu.units["image"] = 0
        for waiting in (queued, behind):
            with pytest.raises(OutOfUnits):
                await waiting
        sent = len(emu.ledger.creates)
        with pytest.raises(OutOfUnits):
            await client.submit(still())
        assert len(emu.ledger.creates) == sent
        assert isinstance(client.account.limits()["image"].closed, OutOfUnits)
        assert (await client.submit(clip())).id


async def test_the_error_of_a_closed_pool_names_the_create_that_it_is_raised_to() -> None:
    """A caller who maps ids to orders would otherwise cancel the order whose create closed the pool."""
    async with pair({"image": 9}) as (emu, client):
        emu.units["image"] = 0
        for name in ("first", "second"):
            with pytest.raises(OutOfUnits) as caught:
                await client.submit(still(), external_task_id=name)
            assert caught.value.external_task_id == name


async def test_a_closed_pool_is_half_open_after_a_minute() -> None:
    """Rule 5: one submit goes ahead, those behind wait; its success opens the pool."""
    async with pair({"image": 9}) as (emu, client):
        emu.units["image"] = 0
        with pytest.raises(OutOfUnits):
            await client.submit(still())
        emu.units["image"] = 1000
        with pytest.raises(OutOfUnits):
            await client.submit(still())
        await asyncio.sleep(61)
        emu.fault("create", kind="slow", seconds=3)
        tries = [asyncio.create_task(client.submit(still())) for _ in range(3)]
        await asyncio.sleep(2)
        assert len(emu.ledger.creates) == 2  # the first refusal, and the one that goes ahead
        await asyncio.gather(*tries)
        assert client.account.limits()["image"].closed is None


async def test_reopen_at_once() -> None:
    """Rule 5: after units were bought nobody need wait a minute."""
    async with pair({"image": 9}) as (emu, client):
        emu.units["image"] = 0
        with pytest.raises(OutOfUnits):
            await client.submit(still())
        emu.units["image"] = 1000
        client.account.reopen("image")
        assert (await client.submit(still())).id


async def test_a_wrong_key_closes_all_pools() -> None:
    """Rule 5: no more requests are sent with that key."""
    async with pair(client={"api_key": "wrong"}) as (emu, client):
        with pytest.raises(AuthenticationError):
            await client.submit(clip())
        sent = len(emu.ledger.creates)
        with pytest.raises(AuthenticationError):
            await client.submit(clip())
        assert len(emu.ledger.creates) == sent == 1


async def test_an_input_file_that_vanished_in_the_queue(tmp_path: Path) -> None:
    """The body is read after admission; an error then names the missing file, and nothing is sent."""
    file = tmp_path / "in.png"
    file.write_bytes(png())
    async with pair({"image": 1}, client={"limits": {"image": 1}}) as (emu, client):
        await client.submit(still())
        waiting = asyncio.create_task(client.submit(still(image=file)))
        await until(lambda: client.account.limits()["image"].queued == 1)
        file.unlink()
        with pytest.raises(RequestInvalid, match="cannot read"):
            await waiting
        assert len(emu.ledger.creates) == 1
        assert client.account.limits()["image"].held == 0


async def test_closing_fails_what_queues_and_waits_for_what_flies() -> None:
    """Rule 14: `aclose` gives a create in flight 5 s; submits that queue get ClientClosed."""
    async with pair({"video": 1}, client={"limits": {"video": 1}}) as (emu, client):
        emu.fault("create", kind="slow", seconds=3)
        flying = asyncio.create_task(client.submit(clip()))
        queued = asyncio.create_task(client.submit(clip()))
        await until(lambda: emu.ledger.creates)
        await client.aclose()
        assert (await flying).id in emu.tasks
        with pytest.raises(ClientClosed):
            await queued
        with pytest.raises(ClientClosed):
            await client.submit(clip())


async def test_closing_gives_up_what_takes_too_long() -> None:
    """A create without an answer within the grace is ambiguous, not silently lost."""
    async with pair() as (emu, client):
        emu.fault("create", kind="hang")
        flying = asyncio.create_task(client.submit(clip(), external_task_id="slow"))
        await until(lambda: emu.ledger.creates)
        await client.aclose()
        with pytest.raises(AmbiguousCreate):
            await flying
        assert [u.external_task_id for u in client.unresolved()] == ["slow"]


async def test_a_thousand_in_the_queue_half_of_them_leaving() -> None:
    """The other half gets tasks, and nothing is left behind."""
    async with pair({"video": 20}, seconds=10, client={"limits": {"video": 20}}) as (emu, client):
        runs = [asyncio.create_task(client.run(clip(str(i)))) for i in range(1000)]
        await settle()
        for run in runs[::2]:
            run.cancel()
        results = await asyncio.gather(*runs, return_exceptions=True)
        assert sum(isinstance(r, v1.Videos) for r in results) == 500
        assert len(emu.ledger.created) >= 500
        pool = client.account.limits()["video"]
        assert (pool.queued, emu.ledger.peak("video")) == (0, 20)


async def test_client_of_uses_the_emulators_key() -> None:
    """The tests' helper makes a working client, whose repr shows state and no secret."""
    async with pair() as (emu, client):
        await client.submit(clip())
        assert repr(client) == f"<Client {emu.url} video 1/5 held, 0 queued>"
        assert str(emu.api_key) not in repr(client_of(emu))


async def test_a_create_that_is_cancelled_before_its_first_step_gives_itself_back() -> None:
    """Somebody cancels all tasks of the loop: the caller gets an error, and the slot is free."""
    async with pair() as (emu, client):
        submission = await client._engine.new_submission(clip())
        submit = asyncio.create_task(client._engine.queue.submit(submission))
        await until(lambda: client.stats().in_flight, step=0)
        for work in list(client._engine.scope._work):
            work.cancel()
        with pytest.raises(ClientClosed):
            await asyncio.wait_for(submit, 60)
        assert (len(emu.ledger.creates), client.stats().in_flight) == (0, 0)
        assert client.account.limits()["video"].held == 0


async def test_a_create_that_cannot_be_settled_fails_its_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in what follows the answer must not leave the caller waiting for ever."""
    async with pair() as (_, client):

        def breaks(*_: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(client._engine.poller, "watch", breaks)
        with pytest.raises(AmbiguousCreate):
            await asyncio.wait_for(client.submit(clip()), 60)

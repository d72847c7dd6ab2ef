"""stats.py: the counts agree with what happened, and the numbers of now with what is."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from kling_async import (
    AmbiguousCreate,
    BadResponse,
    Client,
    KlingError,
    Polling,
    QueueTimeout,
    Retry,
    Stats,
    TaskFailed,
    v1,
)
from kling_async import stats as module
from kling_async.events import ClientCounts
from kling_async.testing import Emulator, emulator
from tests.clock import new_event_loop
from tests.support import Recorder, client_of, clip, pair, settle, still, until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kling_async.events import Event

virtual = pytest.mark.anyio

NOW = {"queued", "oldest_wait", "in_flight", "running", "unresolved", "holds", "pools"} | {
    "units_spent",
    "units_reserved",
    "units_estimated",
}
"""Fields that tell of the moment and may fall; all others only grow."""


def test_every_field_says_what_it_means() -> None:
    """Each field has a docstring below it."""
    (node,) = [n for n in ast.parse(inspect.getsource(module)).body if isinstance(n, ast.ClassDef)]
    documented = set[str]()
    for field, text in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(field.target, ast.Name)
            documented.add(field.target.id)
    assert documented == set(Stats.__struct_fields__) > NOW


def test_all_that_is_counted_is_shown() -> None:
    """The counts are those fields of the statistics that do not tell of the moment, by the same names."""
    assert set(ClientCounts.__struct_fields__) == set(Stats.__struct_fields__) - NOW


def test_a_client_that_did_nothing_has_nothing_to_tell() -> None:
    """Without an event loop too, every kind of request is there, so that a series begins at 0."""
    stats = Client(api_key="k").stats()
    kinds = {"create", "one", "ids", "list", "lookup", "other"}
    assert stats == Stats(requests=dict.fromkeys(kinds, 0))
    assert stats.waited_mean == 0.0


@virtual
async def test_stats_are_frozen_plain_and_of_their_moment() -> None:
    """Statistics can be sent as JSON, cannot be changed, and do not change by themselves."""
    async with pair() as (_, client):
        before = client.stats()
        await client.run(clip())
        assert before == Stats(requests=before.requests) and not any(before.requests.values())
        stats = client.stats()
        with pytest.raises(AttributeError):
            stats.created = 7  # type: ignore[misc]
        stats.requests["create"] = 77
        stats.left["X"] = 1
        assert client.stats().requests["create"] == 1 and client.stats().left == {}
    assert msgspec.json.decode(msgspec.json.encode(before)) == msgspec.to_builtins(before)


def tally(events: Iterable[Event]) -> dict[str, Any]:
    """Count what a listener counts that takes events and nothing else."""
    events = list(events)
    kinds = Counter[str](event.kind for event in events)
    made = [event for event in events if event.kind in ("created", "adopted")]
    first = [event for event in events if event.kind == "queued" and not event.error]
    ended = Counter(event.error or event.status for event in events if event.kind == "ended")
    same = (
        "admitted",
        "refused",
        "created",
        "adopted",
        "changed",
        "asked",
        "slot_expired",
        "held",
        "downloaded",
    )
    return {
        **{kind: kinds[kind] for kind in same},
        "submitted": len(first),
        "requeued": kinds["queued"] - len(first),
        "left": dict(Counter(event.error for event in events if event.kind == "left")),
        "succeeded": ended["succeed"] + ended["succeeded"],
        "failed": ended["failed"],
        "gone": ended["TaskNotFound"],
        "waited": pytest.approx(sum(event.waited for event in made)),
        "waited_max": max((event.waited for event in made), default=0.0),
        "downloaded_bytes": sum(event.size for event in events),
    }


async def a_bad_day(emu: Emulator, client: Client, folder: Path) -> None:
    """Play refusals, lost answers, failures and time-outs, and in between what goes well."""

    async def one(request: Any, **more: Any) -> None:
        with contextlib.suppress(KlingError):
            task = await client.submit(request, **more)
            with contextlib.suppress(TaskFailed):
                await task.wait()
                await task.download(folder)

    for fault in ({"kind": "lost_after"}, {"kind": "lost_before"}, {"code": 1302}, {"code": 1301}):
        emu.fault("create", **fault)
    emu.fault("query", code=5000, times=2)
    emu.fault("tasks", kind="html", skip=1)
    requests = [*(clip(str(i)) for i in range(12)), clip("emulator:fail"), *(still(str(i)) for i in range(3))]
    jobs = [asyncio.create_task(one(request)) for request in requests]
    jobs.append(asyncio.create_task(one(clip("in a hurry"), queue_timeout=5, priority=-1)))
    jobs.append(asyncio.create_task(one(clip("nobody waits"), priority=-1)))
    asyncio.get_running_loop().call_later(20, jobs[-1].cancel)
    await asyncio.gather(*jobs, return_exceptions=True)
    await until(lambda: not client.tasks() or not client.stats().in_flight)


@virtual
async def test_the_counts_are_the_events_and_the_servers_own(tmp_path: Path) -> None:
    """A listener and the server's ledger come to the same numbers, whatever went wrong."""
    heard = Recorder()
    async with pair({"video": 3, "image": 9}, foreign={"video": 1}, client={"on_event": heard}) as (
        emu,
        client,
    ):
        await a_bad_day(emu, client, tmp_path)
        stats, ledger = client.stats(), emu.ledger
        shown = {name: getattr(stats, name) for name in tally(heard.events)}
        assert shown == tally(heard.events)
        assert stats.created + stats.adopted == len(ledger.created)
        assert stats.submitted == stats.created + stats.adopted + sum(stats.left.values())
        assert stats.refused == sum(row.code == 1303 for row in ledger.rows)
        assert stats.left == {"PolicyViolation": 1, "QueueTimeout": 1, "CancelledError": 1}
        assert (stats.failed, stats.gone) == (1, 0)
        kinds = Counter(row.kind for row in ledger.rows)
        assert stats.requests["create"] == kinds["create"] == len(ledger.creates)
        assert stats.requests["one"] + stats.requests["lookup"] == kinds["query"]
        assert stats.requests["lookup"] > 0 and stats.requests["ids"] == kinds["tasks"] > 0
        assert stats.requests["other"] == kinds["costs"] and stats.requests["list"] == kinds["list"]
        sizes = [path.stat().st_size for path in tmp_path.iterdir()]  # noqa: ASYNC240
        assert (stats.downloaded, stats.downloaded_bytes) == (len(sizes), sum(sizes))
        assert stats.downloaded == kinds["media"]
        assert stats.retried >= 3 and stats.unanswered == 3  # two answers lost, one page of a gateway's
        assert stats.adopted == 1 and stats.requeued == 1 and stats.refused > 0
        assert stats.bytes_sent > 16 * len(ledger.creates) and stats.bytes_received > stats.bytes_sent
        assert stats.pools == client.account.limits()
        assert (stats.queued, stats.in_flight, stats.running, stats.oldest_wait) == (0, 0, 0, 0.0)


@virtual
async def test_counts_only_grow(tmp_path: Path) -> None:
    """The difference of any two readings is a rate."""

    def numbers(stats: Stats) -> dict[str, float]:
        flat = msgspec.structs.asdict(stats)
        for name in ("left", "requests", "callbacks"):
            flat |= {f"{name} {key}": value for key, value in flat.pop(name).items()}
        for model, counts in flat.pop("models").items():
            flat |= {f"{model} {name}": value for name, value in msgspec.structs.asdict(counts).items()}
        return {name: value for name, value in flat.items() if name not in NOW}

    async with pair({"video": 2}, foreign={"video": 1}) as (emu, client):
        day = asyncio.create_task(a_bad_day(emu, client, tmp_path))
        before = numbers(client.stats())
        while not day.done():
            await asyncio.sleep(1)
            after = numbers(client.stats())
            assert all(after[name] >= value for name, value in before.items())
            before = after


@virtual
async def test_who_waits_and_how_long() -> None:
    """With one slot, tasks of 30 s and four submits 10 s apart, the waits add up."""
    options = {"limits": {"video": 1}, "polling": Polling(min_interval=0.1, max_interval=0.1)}
    async with pair({"video": 1}, client=options) as (_, client):
        jobs = []
        for _ in range(4):
            jobs.append(asyncio.create_task(client.run(clip())))
            await asyncio.sleep(10)
        stats = client.stats()
        assert (stats.submitted, stats.created, stats.queued, stats.running) == (4, 2, 2, 1)
        assert stats.oldest_wait == pytest.approx(20, abs=0.1)  # the third, since second 20 of 40
        assert stats.waited == stats.waited_max == pytest.approx(20, abs=1)  # the second, from 10 to 30
        await asyncio.gather(*jobs)
        stats = client.stats()
        assert (stats.queued, stats.oldest_wait, stats.admitted) == (0, 0.0, 4)
        assert stats.waited_max == pytest.approx(60, abs=3)  # the fourth, from 30 to 90
        assert stats.waited_mean == pytest.approx((0 + 20 + 40 + 60) / 4, abs=2)


@virtual
async def test_the_wait_counts_from_the_submit_through_all_refusals() -> None:
    """A submit that is sent and refused again and again waits all the while."""
    heard = Recorder()
    async with pair({"video": 1}, foreign={"video": 1}, client={"on_event": heard}) as (emu, client):
        submit = asyncio.create_task(client.submit(clip()))
        await asyncio.sleep(100)
        stats = client.stats()
        assert stats.refused > 3 and stats.oldest_wait == pytest.approx(100, abs=1)
        emu.set_foreign("video", 0)
        await submit
        last = heard.of("admitted")[-1]
        assert 100 < last.waited == client.stats().waited == client.stats().waited_max < 140
        assert client.stats().admitted == client.stats().refused + 1


@virtual
async def test_creates_in_doubt_are_seen() -> None:
    """Such a create is in flight, then unresolved, then adopted or given up."""
    async with pair(seconds=2000, client={"retry": Retry(max_tries=2)}) as (emu, client):
        emu.fault("create", kind="lost_after")
        emu.fault("query", code=5000, times=6)
        submit = asyncio.create_task(client.submit(clip()))
        await until(lambda: client.stats().in_flight == 1)
        with pytest.raises(AmbiguousCreate):
            await submit
        stats = client.stats()
        assert (stats.in_flight, stats.unresolved, stats.left) == (0, 1, {"AmbiguousCreate": 1})
        assert stats.pools["video"].held == 1
        await until(client.tasks)
        stats = client.stats()
        assert (stats.unresolved, stats.adopted, stats.running) == (0, 1, 1)


@virtual
async def test_a_client_that_does_not_queue_counts_refusals_too() -> None:
    """With ``queueing=False`` 1303 is raised: counted as refused and as left."""
    async with pair({"video": 1}, client={"queueing": False}) as (_, client):
        await client.submit(clip())
        with pytest.raises(KlingError):
            await client.submit(clip())
        stats = client.stats()
    assert (stats.refused, stats.left, stats.in_flight) == (1, {"ConcurrencyExceeded": 1}, 0)


@virtual
async def test_slots_that_stop_counting_are_counted() -> None:
    """A slot expires after max_task_life; the task itself is still looked after."""
    async with pair(seconds=500, client={"max_task_life": 100}) as (_, client):
        await client.submit(clip())
        await asyncio.sleep(101)
        stats = client.stats()
    assert (stats.slot_expired, stats.running, stats.pools["video"].held) == (1, 1, 0)


@virtual
async def test_clients_that_share_slots_count_together() -> None:
    """``with_options`` gives another way to ask, not another account."""
    async with pair() as (_, client):
        other = client.with_options(polling=Polling(min_interval=0.5))
        await asyncio.gather(client.run(clip()), other.run(clip()))
        await other.submit(still())
        assert client.stats() == other.stats()
        assert (client.stats().created, client.stats().succeeded, client.stats().running) == (3, 2, 1)


@virtual
async def test_requests_of_all_sorts_and_what_went_wrong_with_them() -> None:
    """Calls, lists, refreshes and repetitions are told apart; each one sent counts."""
    async with pair(client={"retry": Retry(max_tries=2)}) as (emu, client):
        task = await client.submit(clip())
        before = client.stats()
        await task.refresh()
        await client.list(v1.TextToVideo)
        await asyncio.sleep(2)  # after the first submit's own look at the packs
        await client.account.costs()
        emu.fault("query", kind="html", times=2)
        with pytest.raises(BadResponse):
            await task.refresh()
        after = client.stats()
        grown = {name: count - before.requests[name] for name, count in after.requests.items()}
        assert {name: count for name, count in grown.items() if count} == {"one": 3, "other": 2}
        assert after.asked - before.asked == 3
        assert (after.retried - before.retried, after.unanswered - before.unanswered) == (2, 2)
        assert after.bytes_sent == before.bytes_sent  # a GET has no body


def test_counts_outlive_the_event_loop() -> None:
    """A client that meets a second loop goes on counting; submits queued in the first are gone."""

    async def first() -> Client:
        async with emulator(slots={"video": 1}) as emu:
            client = client_of(emu, limits={"video": 1})
            await client.submit(clip())
            waiting = asyncio.create_task(client.submit(clip()))
            await settle()
            assert client.stats().queued == 1
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            with pytest.raises(QueueTimeout):
                await client.submit(clip(), queue_timeout=3)
            return client

    async def second(client: Client) -> Stats:
        stats = client.stats()
        await client.aclose()
        return stats

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        client = runner.run(first())
    between = client.stats()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        after = runner.run(second(client))
    assert (after.submitted, after.created, after.running, after.queued) == (3, 1, 1, 0)
    assert after.left == between.left == {"CancelledError": 1, "QueueTimeout": 1}

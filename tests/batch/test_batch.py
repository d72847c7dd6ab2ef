"""Test batch/batch.py: each request is made once, outcomes come as tasks end, memory stays bounded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import KlingError, OutOfUnits, RequestInvalid, TaskFailed, v1
from tests.support import clip, pair, settle, still, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from kling_async.batch.batch import Batch
    from kling_async.batch.outcomes import Outcome

pytestmark = pytest.mark.anyio


async def outcomes(batch: Batch[Any]) -> list[Outcome[Any]]:
    async with batch as results:
        return [outcome async for outcome in results]


def sidecars(folder: Path) -> list[Path]:
    return list(folder.glob("*.json"))


async def take(results: Batch[Any], found: list[Outcome[Any]]) -> None:
    """Take outcomes until the batch ends or raises."""
    async for outcome in results:
        found.append(outcome)  # noqa: PERF401 - what came before an error counts


async def test_each_request_has_one_outcome() -> None:
    """Each outcome has the typed result, position, request, record, units and times of its task."""
    async with pair({"video": 3}, client={"limits": {"video": 3}}) as (emu, client):
        emu.set_duration(lambda task: 10.0 if "quick" in task.body["prompt"] else 100.0)
        clips = [clip("slow"), clip("quick 1"), clip("quick 2"), clip("quick 3")]
        found = await outcomes(client.batch(clips))
        assert [o.position for o in found][-1] == 0
        assert sorted(o.position for o in found) == [0, 1, 2, 3]
        for outcome in found:
            assert outcome.ok and outcome.request is clips[outcome.position]
            assert outcome.record is not None and outcome.record.task_id in emu.tasks
            assert outcome.result is not None and outcome.result.videos[0].url
            assert (outcome.units, outcome.attempts, outcome.resumed) == (3.0, 1, False)
            assert 0 < outcome.started < outcome.ended
        assert len(emu.ledger.creates) == 4


async def test_any_iterable_and_pairs_of_key_and_request() -> None:
    """The input may be a generator, an async generator or a list; keys come back in the outcomes."""

    def sync() -> Iterator[Any]:
        yield clip("a")
        yield "second", clip("b")

    async def later() -> AsyncIterator[Any]:
        for value in sync():
            await asyncio.sleep(5)
            yield value

    async with pair() as (_, client):
        for source in (sync(), later(), list(sync())):
            found = await outcomes(client.batch(source))
            assert sorted((o.position, o.key) for o in found) == [(0, None), (1, "second")]


async def test_an_endless_input_is_read_no_further_than_needed() -> None:
    """The input is read only as jobs begin; after leaving early, running tasks go on."""
    read = 0

    def endless() -> Iterator[Any]:
        nonlocal read
        while True:
            read += 1
            yield clip(f"no {read}")

    async with pair({"video": 5}, client={"limits": {"video": 5}}) as (emu, client):
        async with client.batch(endless(), ahead=7) as results:
            async for outcome in results:
                assert read <= outcome.position + 2 * 7
                if outcome.position >= 40:
                    break
            await settle()
            assert read <= 60
        running = len(client.tasks())
        assert 0 < running <= 5
        await until(lambda: emu.ledger.used("video") == 0)


async def test_outcomes_not_taken_hold_the_input_back() -> None:
    """A caller that takes no outcomes holds the input back."""
    clips = (clip(f"no {n}") for n in range(100))
    async with pair(seconds=1) as (emu, client), client.batch(clips, ahead=10) as results:
        await asyncio.sleep(1000)
        assert len(emu.ledger.creates) == 10
        assert len([o async for o in results]) == 100


# -- failures


async def test_a_failed_task_is_an_outcome() -> None:
    """A failed task gives an outcome with its error and record; the other jobs go on."""
    async with pair(seconds=50) as (emu, client):
        async with client.batch([clip("a"), clip("b"), clip("c")]) as results:
            await until(lambda: len(emu.tasks) == 3)
            emu.finish(list(emu.tasks)[1], "failed", "Failure to pass the risk control system")
            found = {o.position: o async for o in results}
        assert [found[n].ok for n in range(3)] == [True, False, True]
        error = found[1].error
        assert isinstance(error, TaskFailed) and found[1].record is error.record
        assert results.report.failed == 1 and results.report.done == 2


async def test_on_error_stop_waits_for_running_tasks() -> None:
    """After the first failure no more tasks are made, running ones are waited for, nothing is raised."""
    async with pair({"video": 2}, seconds=50, client={"limits": {"video": 2}}) as (emu, client):
        clips = [clip(f"no {n}") for n in range(10)]
        async with client.batch(clips, on_error="stop") as results:
            await until(lambda: len(emu.tasks) == 2)
            emu.finish(next(iter(emu.tasks)), "failed", "risk control")
            found = [o async for o in results]
        assert 2 <= len(found) <= 4 and sum(not o.ok for o in found) == 1
        assert len(emu.ledger.creates) == len(found)
        assert results.report.stopped == "error" and "journal" in results.report.advice


async def test_on_error_raise_raises_the_failure() -> None:
    """The first failure is raised where its outcome comes, and ends the batch."""
    clips = [clip("a"), clip("b")]
    async with pair(seconds=50) as (emu, client), client.batch(clips, on_error="raise") as results:
        await until(lambda: len(emu.tasks) == 2)
        emu.finish(next(iter(emu.tasks)), "failed", "risk control")
        with pytest.raises(TaskFailed):
            await take(results, [])


async def test_an_invalid_request_is_an_outcome() -> None:
    """An invalid request is not sent; its outcome has the error, and the other jobs go on."""
    async with pair() as (emu, client):
        found = await outcomes(client.batch([clip(""), clip("b")]))
        assert [type(o.error) for o in sorted(found, key=lambda o: o.position)] == [
            RequestInvalid,
            type(None),
        ]
        assert len(emu.ledger.creates) == 1


@pytest.mark.parametrize(
    ("message", "attempts"),
    [("internal error", 3), ("", 3), ("Failure to pass the risk control system", 1), ("invalid image", 1)],
)
async def test_retries_make_new_tasks(message: str, attempts: int) -> None:
    """A failed task is made again up to ``retries`` times, but never after moderation or bad input."""
    async with pair(seconds=50) as (emu, client):
        async with client.batch([clip()], retries=2) as results:
            for n in range(1, attempts + 1):
                await until(lambda n=n: len(emu.tasks) == n)
                emu.finish(list(emu.tasks)[-1], "failed", message)
            (outcome,) = [o async for o in results]
        assert not outcome.ok and outcome.attempts == attempts
        ids = [row.external_task_id for row in emu.ledger.creates]
        assert len(set(ids)) == len(ids) == attempts


async def test_without_retries_there_is_one_attempt() -> None:
    """Without ``retries`` a failed task is not made again."""
    async with pair(seconds=50) as (emu, client):
        async with client.batch([clip()]) as results:
            await until(lambda: emu.tasks)
            emu.finish(next(iter(emu.tasks)), "failed", "internal error")
            (outcome,) = [o async for o in results]
        assert outcome.attempts == len(emu.ledger.creates) == 1


async def test_an_account_that_may_not_create_ends_the_batch() -> None:
    """Running tasks are waited for; then the account's error is raised, and the report says how to resume."""
    async with pair({"video": 2}, seconds=50, client={"limits": {"video": 2}}) as (emu, client):
        found: list[Outcome[Any]] = []
        async with client.batch([clip(f"no {n}") for n in range(10)]) as results:
            await until(lambda: len(emu.tasks) == 2)
            emu.fault("create", code=1102, status=429, times=None)
            with pytest.raises(OutOfUnits):
                await take(results, found)
        assert sum(o.ok for o in found) == 2
        assert results.report.stopped == "account"
        assert len(emu.tasks) == 2


async def test_an_outage_of_hours_is_waited_out() -> None:
    """While the server is down nothing is given up; afterwards every job is made."""
    async with pair({"video": 2}, seconds=50, client={"limits": {"video": 2}}) as (emu, client):
        job = asyncio.create_task(outcomes(client.batch([clip("a"), clip("b"), clip("c")])))
        await until(lambda: len(emu.tasks) == 2)
        await emu.stop()
        await asyncio.sleep(3 * 3600)
        await emu.start()
        found = await asyncio.wait_for(job, 3600)
        assert all(o.ok for o in found) and len(emu.tasks) == 3


async def test_an_error_of_the_input_is_raised_after_running_jobs() -> None:
    """The input's own error is raised after the outcomes of the jobs before it."""

    def broken() -> Iterator[Any]:
        yield clip()
        raise OSError("the prompts' disk is gone")

    async with pair() as (_, client):
        found: list[Any] = []
        async with client.batch(broken()) as results:
            with pytest.raises(OSError, match="disk is gone"):
                await take(results, found)
        assert len(found) == 1


@pytest.mark.parametrize(
    "options",
    [
        *({"on_error": "ignore"}, {"order": "random"}, {"retries": -1}, {"retries": 1.5}, {"retries": True}),
        *({"ahead": 0}, {"downloads": 0}, {"max_units": -1}, {"max_units": "5"}),
        *({"max_units": {"video": "x"}}, {"max_units": {"videos": 3}}),
        {"name": "{nonsense}"},
    ],
)  # fmt: skip
async def test_options_that_cannot_be_used_are_refused(options: dict[str, Any]) -> None:
    """An option that cannot be used raises an error with its name, before the input is read."""
    async with pair() as (_, client):
        with pytest.raises(RequestInvalid, match=next(iter(options))):
            client.batch([clip()], **options)


# -- files


async def test_files_are_fetched_after_success(tmp_path: Path) -> None:
    """Files are fetched at once and named by the template; the outcome has their paths."""
    async with pair(seconds=5) as (_, client):
        batch = client.batch(
            [("fox", clip("a fox")), ("crow", still("a crow", n=2))],
            download_to=tmp_path,
            name="{key}",
            sidecar=True,
        )
        found = {o.key: o for o in await outcomes(batch)}
        assert [f.suffix for f in found["fox"].files] == [".mp4"] and len(found["crow"].files) == 2
        for outcome in found.values():
            assert all(f.exists() and f.is_relative_to(tmp_path) for f in outcome.files)
        assert len(sidecars(tmp_path)) == 3


async def test_a_file_that_cannot_be_fetched_is_an_outcome(tmp_path: Path) -> None:
    """A file that cannot be fetched gives an outcome with the error and the paid task's record."""
    async with pair(seconds=5) as (emu, client):
        emu.fault("media", status=500, times=None)
        (outcome,) = await outcomes(client.batch([clip()], download_to=tmp_path))
        assert isinstance(outcome.error, KlingError) and outcome.record is not None


async def test_names_that_would_collide_are_refused(tmp_path: Path) -> None:
    """A template must tell jobs apart, and a key that names files may come once."""
    async with pair(seconds=5) as (emu, client):
        with pytest.raises(RequestInvalid, match="name"):
            client.batch([clip()], name="same")
        requests: list[Any] = [("a", clip("x")), ("b", clip("y")), ("a", clip("z")), clip("no key")]
        found = await outcomes(client.batch(requests, download_to=tmp_path, name="{key}"))
        wrong = {o.position: str(o.error) for o in found if not o.ok}
        assert set(wrong) == {2, 3} and "came before" in wrong[2] and "has no key" in wrong[3]
        assert len(emu.ledger.creates) == 2


async def test_a_missing_input_file_refuses_one_job(tmp_path: Path) -> None:
    """A missing input file refuses its job alone."""
    async with pair(seconds=5) as (_, client):
        requests = [still("x", image=tmp_path / "gone.png"), clip("y")]
        found = await outcomes(client.batch(requests, journal=tmp_path / "jobs.sqlite"))
        assert {o.position: o.ok for o in found} == {0: False, 1: True}


# -- money


async def test_max_units_stops_before_it_is_passed() -> None:
    """At 3 units a clip, 10 units pay for three; the report says why no more were made."""
    async with pair({"video": 5}, seconds=5) as (emu, client):
        async with client.batch([clip(f"no {n}") for n in range(10)], max_units=10) as results:
            found = [o async for o in results]
        assert len(found) == len(emu.tasks) == 3
        report = results.report
        assert (report.stopped, report.units) == ("max_units", {"video": 9.0})
        assert [(s.model, s.tasks, s.units, s.estimated) for s in report.spent] == [("kling-v3", 3, 9.0, 9.0)]


async def test_an_input_or_a_price_may_stop_a_batch_without_units() -> None:
    """A stop from within the reading, with no units for the next job, ends the batch without an error."""

    def stopping() -> Iterator[v1.TextToVideo]:
        batches[-1].stop()
        yield clip()

    def price(_: object) -> float:
        batches[-1].stop()
        return 5.0

    batches: list[Batch[Any]] = []
    async with pair() as (emu, client):
        batches.append(client.batch(stopping(), max_units=1))
        assert await outcomes(batches[-1]) == []
        batches.append(client.batch([clip()], max_units=1, price=price))
        assert await outcomes(batches[-1]) == []
        assert [batch.report.stopped for batch in batches] == ["stop()"] * 2
        assert emu.ledger.creates == []


async def test_a_failed_task_gives_its_units_back() -> None:
    """The units reserved for a failed task go to the next job."""
    async with pair({"video": 1}, seconds=50, client={"limits": {"video": 1}}) as (emu, client):
        async with client.batch([clip(f"no {n}") for n in range(10)], max_units=3) as results:
            for n in range(1, 4):
                await until(lambda n=n: len(emu.tasks) == n)
                emu.finish(list(emu.tasks)[-1], "failed", "risk control")
                await anext(results)
            rest = [o async for o in results]
        assert len(rest) == 1 and rest[0].ok


@pytest.mark.filterwarnings("ignore:.*is not known here.*:kling_async.KlingWarning")
async def test_an_unknown_price_is_refused() -> None:
    """Under ``max_units`` a request of unknown price is refused; the error names ``price=``."""
    raw = v1.TextToVideo(model_name="kling-v99", prompt="x")
    async with pair() as (emu, client):
        (outcome,) = await outcomes(client.batch([raw], max_units=100))
        assert isinstance(outcome.error, RequestInvalid) and "price=" in str(outcome.error)
        assert emu.ledger.creates == []


async def test_a_dry_run_estimates_cost_and_duration() -> None:
    """A dry run computes units, dollars and duration by prices and limit, and makes nothing."""
    async with pair({"video": 5}, client={"limits": {"video": 5}}) as (emu, client):
        clips = [clip(f"no {n}", duration=10) for n in range(20)]
        plan = await client.batch([*clips, still(n=2)]).dry_run()
        assert (plan.jobs, plan.done) == (21, 0)
        assert plan.units == {"video": 120.0, "image": 16.0} == plan.most
        assert plan.usd == pytest.approx(120 * 0.14 + 16 * 0.0035)
        assert 90 * 20 / 5 <= plan.seconds <= 2 * 180 * 20 / 5
        assert emu.ledger.creates == []


async def test_a_dry_run_leaves_the_batch_as_it_was(tmp_path: Path) -> None:
    """After a dry run the batch runs with the same positions and keys; it is entered once."""
    async with pair(seconds=5) as (_, client):
        requests: list[Any] = [("a", clip("x")), ("b", clip("y"))]
        batch = client.batch(requests, journal=tmp_path / "j.sqlite", download_to=tmp_path, name="{key}")
        with pytest.raises(RuntimeError, match="entered first"):
            await anext(batch)
        assert (await client.batch(requests, name="{key}").dry_run()).jobs == 2
        other = client.batch(requests, name="{key}")
        assert (await other.dry_run()).jobs == (await other.dry_run()).jobs == 2
        assert sorted(o.position for o in await outcomes(other)) == [0, 1]
        assert all(o.ok for o in await outcomes(batch))
        with pytest.raises(RuntimeError, match="entered once"):
            await outcomes(batch)


async def test_a_batch_stopped_before_it_is_entered_ends() -> None:
    """A batch stopped before it is entered makes nothing and ends at once."""
    async with pair() as (emu, client), client.batch([clip()]) as results:
        results.stop()
        assert [o async for o in results] == []
        assert emu.ledger.creates == [] and results.report.stopped == "stop()"


async def test_a_stop_drops_a_queued_next_attempt() -> None:
    """A stop also drops a next attempt that queues."""
    async with pair({"video": 1}, seconds=50, client={"limits": {"video": 1}}) as (emu, client):
        async with client.batch([clip("a"), clip("b")], retries=5) as results:
            await until(lambda: emu.tasks)
            emu.set_foreign("video", 1)
            emu.finish(next(iter(emu.tasks)), "failed", "internal error")
            await asyncio.sleep(60)
            results.stop()
            assert [o async for o in results] == []
        emu.set_foreign("video", 0)
        await asyncio.sleep(100)
        assert len(emu.tasks) == 1


async def test_labels_may_depend_on_the_request_and_add_up_in_the_report() -> None:
    """The report adds up costs by endpoint, model and label."""
    async with pair(seconds=5) as (_, client):
        batch = client.batch(
            [clip("a fox"), clip("a crow"), clip("a fox again")],
            label=lambda request: "foxes" if "fox" in str(getattr(request, "prompt", "")) else "others",
        )
        await outcomes(batch)
        assert {(s.label, s.tasks) for s in batch.report.spent} == {("foxes", 2), ("others", 1)}


async def test_longest_first() -> None:
    """With ``order="longest"`` the longest task is made first."""
    async with pair({"video": 1}, seconds=5, client={"limits": {"video": 1}}) as (emu, client):
        clips = [clip(str(n), duration=n) for n in (3, 15, 9)]
        await outcomes(client.batch(clips, order="longest"))
        assert [task.body["duration"] for task in emu.tasks.values()] == ["15", "9", "3"]

"""Test resumed batches: every job has one task, one result, one whole file and one bill."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import AuthenticationError, JournalError, ResultExpired, TaskFailed, media
from kling_async.batch.journal import Journal
from tests.e2e.batches import creates, run_batch
from tests.support import client_of, clip, pair, png, settle, still, until

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.anyio


async def test_finished_jobs_are_not_repeated(tmp_path: Path) -> None:
    """A second run sends nothing and has the same outcomes."""
    requests = [clip("a"), ("b", still("b", n=2))]
    async with pair(seconds=5) as (emu, client):
        first = await run_batch(client, requests, tmp_path, download_to=tmp_path / "out")
        asked = len(emu.ledger.rows)
    async with client_of(emu) as client:  # nobody listens any more
        second = await run_batch(client, requests, tmp_path, download_to=tmp_path / "out")
    assert len(emu.ledger.rows) == asked
    for before, after in zip(first, second, strict=True):
        assert after.resumed and not before.resumed
        assert (after.files, after.units, after.key) == (before.files, before.units, before.key)
        assert (after.started, after.ended) == (before.started, before.ended)
        assert all(file.stat().st_size for file in after.files)


async def test_a_result_without_files_is_remembered(tmp_path: Path) -> None:
    """A remembered result has its ids, and addresses without signatures."""
    async with pair(seconds=5) as (emu, client):
        (first,) = await run_batch(client, [clip("a")], tmp_path)
        (second,) = await run_batch(client, [clip("a")], tmp_path)
        assert second.resumed and second.record is not None
        assert second.result.videos[0].id == first.result.videos[0].id
        assert "?" not in second.result.videos[0].url
        (third,) = await run_batch(client, [clip("a")], tmp_path, download_to=tmp_path / "out")
        assert len(third.files) == 1 and creates(emu) == 1


async def test_two_identical_prompts_are_two_videos(tmp_path: Path) -> None:
    """Two identical prompts stay two jobs in every run."""
    requests = [clip("same"), clip("same"), ("k", clip("same")), ("k", clip("same"))]
    async with pair(seconds=5) as (emu, client):
        for _ in range(2):
            found = await run_batch(client, requests, tmp_path)
            assert len({o.record.task_id for o in found if o.record}) == 4
        assert creates(emu) == 4


async def test_a_changed_input_is_a_new_job(tmp_path: Path) -> None:
    """A changed request under its key, or a changed file, is a new job; the rest is not made again."""
    picture = tmp_path / "in.png"
    picture.write_bytes(png(320, 320))
    async with pair(seconds=5) as (emu, client):
        await run_batch(client, [("k", clip("old")), still("x", image=media(picture))], tmp_path)
        await run_batch(client, [("k", clip("old")), still("x", image=media(picture))], tmp_path)
        assert creates(emu) == 2
        picture.write_bytes(png(320, 321))
        found = await run_batch(client, [("k", clip("new")), still("x", image=media(picture))], tmp_path)
        assert [o.resumed for o in found] == [False, False]
        assert creates(emu) == 4


async def test_only_new_requests_are_made(tmp_path: Path) -> None:
    """Known jobs are found wherever they stand in the input."""
    async with pair(seconds=5) as (emu, client):
        await run_batch(client, [clip("a"), clip("b")], tmp_path)
        found = await run_batch(client, [clip("c"), clip("b"), clip("a")], tmp_path)
        assert [o.resumed for o in found] == [False, True, True] and creates(emu) == 3


async def test_running_tasks_are_adopted(tmp_path: Path) -> None:
    """Tasks that run when a batch is left are waited for by the next run."""
    async with pair({"video": 2}, seconds=100, client={"limits": {"video": 2}}) as (emu, client):
        requests = [clip(f"no {n}") for n in range(5)]
        async with client.batch(requests, journal=tmp_path / "jobs.sqlite"):
            await until(lambda: creates(emu) == 2)
            await settle()
        async with client_of(emu, limits={"video": 2}) as later:
            found = await run_batch(later, requests, tmp_path)
        assert all(o.ok for o in found) and creates(emu) == 5


async def test_a_create_with_a_lost_answer_is_found(tmp_path: Path) -> None:
    """A create whose answer was lost is found by the next run, not sent again."""
    async with pair(seconds=200) as (emu, client):
        emu.fault("create", kind="hang", acts=True)
        async with client.batch([clip("a")], journal=tmp_path / "jobs.sqlite"):
            await until(lambda: emu.tasks)
        await client.aclose()
        async with client_of(emu) as later:
            (outcome,) = await run_batch(later, [clip("a")], tmp_path)
        assert outcome.ok and len(emu.tasks) == 1


async def test_a_create_that_was_never_sent_is_sent_once(tmp_path: Path) -> None:
    """A create that was never sent is looked for, then sent once."""
    async with pair(seconds=20) as (emu, client):
        emu.fault("create", kind="lost_before", times=1)
        async with client.batch([clip("a")], journal=tmp_path / "jobs.sqlite"):
            await until(lambda: len(emu.ledger.creates) == 1)
        await client.aclose()
        async with client_of(emu) as later:
            (outcome,) = await run_batch(later, [clip("a")], tmp_path)
        assert outcome.ok and len(emu.tasks) == 1


async def test_a_rotated_key_makes_nothing_again(tmp_path: Path) -> None:
    """Under a new key of the same account nothing is made again."""
    async with pair({"video": 2}, seconds=100) as (emu, client):
        requests = [clip("a"), clip("b")]
        async with client.batch(requests, journal=tmp_path / "jobs.sqlite"):
            await until(lambda: creates(emu) == 2)
            await settle()
        emu_keys = {"access_key": emu.access_key, "secret_key": emu.secret_key}
        async with client_of(emu, **emu_keys) as later:
            found = await run_batch(later, requests, tmp_path)
        assert all(o.ok for o in found) and creates(emu) == 2


async def test_the_row_is_committed_before_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another connection reads the committed entry when a create is about to be sent."""
    seen: list[int] = []
    async with pair(seconds=5) as (_, client):
        real = client._engine.transport.create

        async def spied(*args: Any, **more: Any) -> Any:
            reader = sqlite3.connect(f"file:{tmp_path / 'jobs.sqlite'}?mode=ro", uri=True)
            with contextlib.closing(reader) as db:
                seen.append(db.execute("SELECT count(*) FROM jobs").fetchone()[0])
            return await real(*args, **more)

        monkeypatch.setattr(client._engine.transport, "create", spied)
        await run_batch(client, [clip("a"), clip("b")], tmp_path, ahead=1)
    assert seen == [1, 2]


async def test_a_final_failure_is_not_made_again(tmp_path: Path) -> None:
    """A final failure is remembered with its reason, and not made again."""
    async with pair(seconds=50) as (emu, client):
        async with client.batch([clip("a")], journal=tmp_path / "jobs.sqlite") as results:
            await until(lambda: emu.tasks)
            emu.finish(next(iter(emu.tasks)), "failed", "Failure to pass the risk control system")
            (first,) = [o async for o in results]
        assert isinstance(first.error, TaskFailed)
        (second,) = await run_batch(client, [clip("a")], tmp_path)
        assert isinstance(second.error, TaskFailed) and second.resumed and "risk control" in str(second.error)
        assert creates(emu) == 1


async def test_files_wanted_too_late_are_an_outcome_in_each_run(tmp_path: Path) -> None:
    """Files wanted after the vendor deleted them give ResultExpired in each run."""
    async with pair(seconds=5) as (emu, client):
        await run_batch(client, [clip("a")], tmp_path)
        emu.tasks.clear()
        emu.fault("query", code=1201, message="Task not found by id/external id", times=None)
        async with client_of(emu) as other:
            for run in (client, other):
                (late,) = await run_batch(run, [clip("a")], tmp_path, download_to=tmp_path / "out")
                assert isinstance(late.error, ResultExpired) and late.units == 3.0
        emu.faults.clear()


async def test_a_wrong_key_leaves_the_jobs_for_the_next_run(tmp_path: Path) -> None:
    """Jobs under a wrong key are left for the next run, not failed."""
    async with pair(seconds=5) as (emu, _):
        async with client_of(emu, api_key="wrong") as wrong:
            with pytest.raises(AuthenticationError):
                await run_batch(wrong, [clip("a"), clip("b")], tmp_path)
        async with client_of(emu) as right:
            found = await run_batch(right, [clip("a"), clip("b")], tmp_path)
        assert all(o.ok for o in found) and creates(emu) == 2


async def test_max_units_counts_over_all_runs(tmp_path: Path) -> None:
    """`max_units` counts what earlier runs spent and reserved."""
    requests = [clip(f"no {n}") for n in range(10)]
    async with pair({"video": 2}, seconds=100, client={"limits": {"video": 2}}) as (emu, client):
        async with client.batch(requests, journal=tmp_path / "jobs.sqlite", max_units=10):
            await until(lambda: creates(emu) == 2)
            await settle()
        async with client_of(emu, limits={"video": 2}) as later:
            found = await run_batch(later, requests, tmp_path, max_units=10)
            assert len(found) == creates(emu) == 3
            found = await run_batch(later, requests, tmp_path, max_units=10)
            assert len(found) == creates(emu) == 3


async def test_a_journal_in_use_is_not_taken_over(tmp_path: Path) -> None:
    """A second batch on a journal in use raises and names its holder."""
    async with pair(seconds=100) as (emu, client):
        async with client.batch([clip("a")], journal=tmp_path / "jobs.sqlite"):
            with pytest.raises(JournalError, match=r"another process holds it"):
                await run_batch(client, [clip("b")], tmp_path)
        assert len(emu.ledger.creates) <= 1


async def test_a_journal_that_breaks_ends_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that cannot be written ends the batch before any create."""
    async with pair(seconds=5) as (emu, client):

        async def full(*_: Any) -> None:
            raise JournalError("the disk is full", path="jobs.sqlite")

        monkeypatch.setattr(Journal, "put", full)
        with pytest.raises(JournalError, match="disk is full"):
            await run_batch(client, [clip(f"no {n}") for n in range(20)], tmp_path)
        assert emu.ledger.creates == []


async def test_a_dry_run_counts_finished_jobs(tmp_path: Path) -> None:
    """A dry run counts finished jobs as done and free."""
    requests = [clip("a"), clip("b"), clip("c")]
    async with pair(seconds=5) as (emu, client):
        await run_batch(client, requests[:2], tmp_path)
        plan = await client.batch(requests, journal=tmp_path / "jobs.sqlite").dry_run()
        assert (plan.jobs, plan.done, plan.units) == (3, 2, {"video": 3.0})
        assert creates(emu) == 2


async def test_ctrl_c_tells_how_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first signal waits for running tasks, the second for nothing; the first says how to resume."""
    async with pair({"video": 2}, seconds=100, client={"limits": {"video": 2}}) as (emu, client):
        requests = [clip(f"no {n}") for n in range(6)]
        async with client.batch(requests, journal=tmp_path / "jobs.sqlite") as results:
            await until(lambda: creates(emu) == 2)
            await settle()
            results._heard("SIGINT")
            assert len([o async for o in results]) == creates(emu) == 2
        report = results.report
        assert report.stopped == "SIGINT" and "jobs.sqlite" in report.advice
        said = capsys.readouterr().err
        assert "SIGINT" in said and "2 still running" in said and "jobs.sqlite" in said
        async with client.batch(requests, journal=tmp_path / "jobs.sqlite") as results:
            await until(lambda: creates(emu) == 4)
            await settle()
            results._heard("SIGTERM")
            results._heard("SIGTERM")
            started = asyncio.get_running_loop().time()
            rest = [o async for o in results]
            assert asyncio.get_running_loop().time() - started < 1
            assert all(o.resumed for o in rest)
        async with client_of(emu, limits={"video": 2}) as later:
            found = await run_batch(later, requests, tmp_path)
        assert len(found) == 6 and all(o.ok for o in found) and creates(emu) == 6

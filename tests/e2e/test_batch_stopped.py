"""Test batches that are stopped, left or interrupted: reports are true, journals are free."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from kling_async import RequestInvalid, TaskTimeout
from tests.e2e.batches import remaining
from tests.support import clip, pair, settle, still, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_a_cancelled_scope_leaves_the_journal_free(tmp_path: Path) -> None:
    """A cancelled anyio scope around a batch leaves its journal closed and unlocked."""
    journal = tmp_path / "jobs.sqlite"
    async with pair(seconds=100) as (emu, client):
        with anyio.move_on_after(20):
            async with client.batch([clip("a")], journal=journal) as results:
                await anext(results)
        assert len(emu.tasks) == 1
        async with client.batch([clip("a")], journal=journal) as results:
            assert [o.ok async for o in results] == [True]
        assert len(emu.tasks) == 1


async def test_after_leaving_running_tasks_are_counted() -> None:
    """After leaving, the report counts tasks that run on."""
    async with pair(seconds=100) as (emu, client):
        async with client.batch([clip("a"), clip("b")]) as results:
            await until(lambda: len(emu.tasks) == 2)
            await settle()
        assert (results.report.running, results.report.stopped) == (2, "closed")
        assert "2 still running" in results.report.advice


async def test_the_first_signal_waits_also_after_a_stop(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After stop() the first signal still waits for running tasks."""
    async with pair(seconds=100) as (emu, client):
        async with client.batch([clip("a")]) as results:
            await until(lambda: emu.tasks)
            await settle()
            results.stop()
            results._heard("SIGINT")
            assert "SIGINT" in capsys.readouterr().err
            assert [o.ok async for o in results] == [True]
        assert results.report.stopped == "stop()"


async def test_the_second_signal_gives_the_handlers_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the second signal the handlers are given back."""
    async with pair(seconds=100) as (emu, client), client.batch([clip("a")]) as results:
        deaf: list[bool] = []
        monkeypatch.setattr(results._signals, "stop", lambda: deaf.append(True))
        await until(lambda: emu.tasks)
        results._heard("SIGINT")
        assert deaf == []
        results._heard("SIGINT")
        assert deaf == [True]


@pytest.mark.filterwarnings("ignore:.*is not known here.*:kling_async.KlingWarning")
@pytest.mark.parametrize("on_error", ["stop", "raise"])
async def test_a_job_refused_unsent_stops_the_batch(on_error: Any, tmp_path: Path) -> None:
    """A job refused unsent counts as a failure for ``on_error``."""
    async with pair(seconds=5) as (emu, client):
        cases: list[tuple[Any, dict[str, Any]]] = [
            (still(image=tmp_path / "gone.png"), {"journal": tmp_path / "jobs.sqlite"}),
            (clip(model_name="kling-v99"), {"max_units": 100}),
        ]
        for first, more in cases:
            found: list[Any] = []
            requests = [first, *(clip(str(n)) for n in range(20))]
            async with client.batch(requests, on_error=on_error, **more) as results:
                try:
                    async for outcome in results:
                        found.append(outcome)  # noqa: PERF401 - what came before an error counts
                except RequestInvalid:
                    assert on_error == "raise"
            assert results.report.stopped == "error" and len(found) <= 1
        assert emu.tasks == {}


async def test_a_cancelled_input_raises() -> None:
    """An input that is cancelled raises an error at the end."""

    async def broken() -> AsyncIterator[Any]:
        yield clip("a")
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lost.cancel()
        await lost
        yield clip("b")

    async with pair(seconds=5) as (_, client), client.batch(broken()) as results:
        found = [await anext(results)]
        with pytest.raises(RuntimeError, match="cancelled"):
            await anext(results)
        assert found[0].ok and results.report.stopped == "input"


async def test_a_batch_ends_after_its_input_has_cleaned_up() -> None:
    """A batch ends after its source has cleaned up, so that the source can be closed or read on."""
    said: list[str] = []

    async def slow() -> AsyncIterator[Any]:
        try:
            yield clip("a")
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            said.append("closed")

    source = slow()
    async with pair(seconds=5) as (_, client):
        async with client.batch(source) as results:
            assert (await anext(results)).ok
        assert said == ["closed"]
        await source.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("given", [600, None], ids=["by job_timeout", "by max_task_life"])
@pytest.mark.parametrize("journaled", [True, False])
async def test_a_task_that_never_ends_ends_no_batch_but_its_own_job(
    given: float | None, journaled: bool, tmp_path: Path
) -> None:
    """The job becomes an outcome that tells the ids; its slot stays held, and the next run waits for it."""
    journal = tmp_path / "jobs.sqlite" if journaled else None
    limit = given or 7200
    async with pair({"video": 2}, seconds=None, client={"limits": {"video": 2}}) as (emu, client):
        emu.set_duration(lambda task: 1e9 if task.body["prompt"] == "stuck" else 30)
        jobs = [clip("stuck"), *(clip(str(n)) for n in range(3))]
        begun = asyncio.get_running_loop().time()
        async with client.batch(jobs, journal=journal, job_timeout=given, max_units=1000) as results:
            stuck, *others = await remaining(results)
        assert limit <= asyncio.get_running_loop().time() - begun < limit + 60
        assert all(outcome.ok for outcome in others)
        task = next(task for task in emu.tasks.values() if task.body["prompt"] == "stuck")
        assert isinstance(stuck.error, TaskTimeout)
        assert (stuck.error.task_id, stuck.error.external_task_id) == (task.task_id, task.external_task_id)
        assert (stuck.status, stuck.row()["status"], others[0].status) == ("running", "running", "succeeded")
        report = results.report
        assert (report.done, report.failed, report.running, report.stopped) == (3, 1, 1, "")
        assert "1 still running" in report.advice
        assert client.account.limits()["video"].held == (given is not None)  # rule 1: for max_task_life
        if journaled:
            emu.finish(task.task_id)
            async with client.batch(jobs, journal=journal, job_timeout=given, max_units=1000) as results:
                again = await remaining(results)
            assert [outcome.ok for outcome in again] == [True] * 4
            assert not again[0].resumed and again[0].record.task_id == task.task_id
        assert len(emu.tasks) == 4

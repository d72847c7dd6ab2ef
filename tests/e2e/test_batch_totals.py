"""Test the totals of a batch's report: of this run and of all runs apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kling_async.batch.outcomes import Totals
from tests.e2e.batches import run_and_report
from tests.support import clip, pair, settle, still, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

LIMITS = [None, 1000]


@pytest.mark.parametrize("max_units", LIMITS, ids=["no limit", "max_units"])
@pytest.mark.parametrize("journal", [True, False], ids=["journal", "no journal"])
async def test_one_run_has_one_total(max_units: float | None, journal: bool, tmp_path: Path) -> None:
    """Without an earlier run both are the same, and the report's text says it once."""
    async with pair(seconds=5) as (emu, client):
        emu.fault("create", code=1201, times=1)
        _, report = await run_and_report(
            client, [clip("a"), still(n=2), clip("b")], tmp_path if journal else None, max_units=max_units
        )
        assert report.this_run == report.all_runs
        assert (report.this_run.done, report.this_run.failed) == (2, 1)
        units = report.this_run.units
        assert units == report.units == {"video": 3.0, "image": 16.0}
        assert str(report) == "2 done, 1 failed, 3 units of video, 16 units of image"


@pytest.mark.parametrize("max_units", LIMITS, ids=["no limit", "max_units"])
async def test_a_resumed_run_tells_its_own_part(max_units: float | None, tmp_path: Path) -> None:
    """Done, failed and units of three runs add up; each run tells its own besides, with or without limit."""
    options: dict[str, Any] = {"max_units": max_units}
    async with pair(seconds=5) as (emu, client):
        _, first = await run_and_report(client, [clip("a"), still(n=2)], tmp_path, **options)
        emu.set_duration(lambda task: 5.0 if task.body["prompt"] == "b" else 1000.0)
        async with client.batch(
            [clip("a"), clip("b"), clip("c")], journal=tmp_path / "jobs.sqlite", **options
        ) as results:
            await until(lambda: results.report.this_run.done == 1)
            await settle()
            second = results.report
        assert second.this_run == Totals(done=1, failed=0, units={"video": 3.0})
        assert second.all_runs == Totals(done=2, failed=0, units={"video": 6.0})
        assert "2 done (in this run 1 done, 3 units of video)" in second.advice
        (running,) = (name for name, task in emu.tasks.items() if task.body["prompt"] == "c")
        emu.finish(running, "failed", "internal error")
        requests = [clip("a"), still(n=2), clip("b"), clip("c"), clip("d")]
        emu.set_duration(5)
        _, third = await run_and_report(client, requests, tmp_path, **options)
        assert third.this_run == Totals(done=1, failed=1, units={"video": 3.0})
        assert third.all_runs == Totals(done=4, failed=1, units={"video": 9.0, "image": 16.0})
        assert (third.done, third.failed, third.resumed) == (4, 1, 3)
        assert str(third) == (
            "this run: 1 done, 1 failed, 3 units of video;"
            " all runs: 4 done, 1 failed, 9 units of video, 16 units of image"
        )
        _, last = await run_and_report(client, requests, tmp_path, **options)
        assert last.this_run == Totals(done=0, failed=0, units={}) and last.all_runs == third.all_runs
        assert first.all_runs.units == {"video": 3.0, "image": 16.0}


@pytest.mark.parametrize("max_units", LIMITS, ids=["no limit", "max_units"])
async def test_a_job_that_two_runs_paid_for_counts_in_each(max_units: float | None, tmp_path: Path) -> None:
    """A failed attempt of one run and its successor's cost in the next count once each."""
    async with pair(seconds=5) as (emu, client):
        emu.set_duration(1000)
        async with client.batch(
            [clip("a")], journal=tmp_path / "jobs.sqlite", max_units=max_units
        ) as results:
            await until(lambda: emu.tasks)
            emu.finish(next(iter(emu.tasks)), "failed", "internal error")
            assert [outcome.ok async for outcome in results] == [False]
            first = results.report
        emu.set_duration(5)
        (made,), second = await run_and_report(client, [clip("a")], tmp_path, retries=1, max_units=max_units)
        assert made.ok
        assert second.this_run.units == {"video": 3.0}
        billed = first.this_run.units.get("video", 0.0)
        assert second.all_runs.units == {"video": billed + 3.0}
        assert second.all_runs.units == {"video": made.units}

"""Test max_units over several runs: nothing counts twice, no job waits for units that never come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kling_async import RawTask
from tests.e2e.batches import remaining, run_and_report
from tests.support import clip, pair, settle, until

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async import Client

pytestmark = pytest.mark.anyio


async def begin(client: Client, requests: Any, folder: Path, **options: Any) -> None:
    """Run the batch until all of its tasks are made, then leave it."""
    async with client.batch(requests, journal=folder / "jobs.sqlite", **options) as results:
        await until(lambda: len(client.tasks()) == len(requests))
        await settle()
        assert results.report.running == len(requests)


async def test_units_reserved_for_other_jobs_are_not_waited_for(tmp_path: Path) -> None:
    """Reservations of an earlier run's other jobs stay; the batch ends instead of waiting for them."""
    async with pair(seconds=1000) as (emu, client):
        await begin(client, [clip("a"), clip("b")], tmp_path, max_units=8)
        found, report = await run_and_report(client, [clip("c"), clip("d")], tmp_path, max_units=8)
        assert (found, report.stopped) == ([], "max_units")
        assert len(emu.tasks) == 2


async def test_units_of_unknown_fate_are_not_waited_for() -> None:
    """A create of unknown fate keeps its reservation; jobs that do not fit beside it are not made."""
    async with pair(seconds=5) as (emu, client):
        emu.fault("create", kind="lost_before", times=1)
        emu.fault("query", status=500, times=None)
        async with client.batch([clip("a"), clip("b")], max_units=4) as results:
            found = await remaining(results)
        assert [o.ok for o in found] == [False] and results.report.stopped == "max_units"
        emu.faults.clear()


async def test_a_queued_job_is_made_though_the_next_is_too_dear() -> None:
    """A queued job keeps its reservation and is made though the next is too dear."""
    async with pair({"video": 1}, seconds=50, client={"limits": {"video": 1}}) as (emu, client):
        clips = [clip("a"), clip("b"), clip("too dear", duration=15)]
        async with client.batch(clips, max_units=8) as results:
            found = [o async for o in results]
        assert sorted(o.position for o in found if o.ok) == [0, 1] and len(emu.tasks) == 2
        assert results.report.stopped == "max_units"


async def test_files_fetched_later_are_not_paid_again(tmp_path: Path) -> None:
    """A run that only fetches files of a paid task has no bill for it."""
    async with pair(seconds=5) as (emu, client):
        await run_and_report(client, [clip("a")], tmp_path, max_units=6)
        files = tmp_path / "out"
        found, report = await run_and_report(
            client, [clip("a"), clip("b")], tmp_path, max_units=6, download_to=files
        )
        assert [o.ok for o in found] == [True, True] and len(emu.tasks) == 2
        assert report.units == {"video": 6.0} and report.stopped == ""
        assert [(s.tasks, s.units) for s in report.spent] == [(1, 3.0)]


async def test_an_ended_task_without_files_is_spent(tmp_path: Path) -> None:
    """An ended task without its files counts as spent."""
    async with pair(seconds=5) as (emu, client):
        emu.fault("media", status=404, times=None)
        found, _ = await run_and_report(
            client, [clip("a")], tmp_path, max_units=6, download_to=tmp_path / "out"
        )
        assert not found[0].ok
        emu.faults.clear()
        _, report = await run_and_report(client, [clip("a")], tmp_path, max_units=6)
        assert report.units == {"video": 3.0}


async def test_tasks_begun_without_a_limit_count_when_there_is_one(tmp_path: Path) -> None:
    """Tasks begun without a limit count once a run has one."""
    async with pair(seconds=1000) as (emu, client):
        await begin(client, [clip("a"), clip("b")], tmp_path)
        found, report = await run_and_report(client, [clip("c"), clip("a"), clip("b")], tmp_path, max_units=6)
        assert [o.position for o in found] == [1, 2] and len(emu.tasks) == 2  # what is paid is told
        assert report.stopped == "max_units" and report.units == {"video": 6.0}


async def test_raw_tasks_count_in_their_own_pool(tmp_path: Path) -> None:
    """Raw tasks count in their own pool, also in a later run."""
    raw = RawTask(path="/v1/images/generations", body={"prompt": "x"}, pool="image")
    price = {"price": lambda _: 4.0, "max_units": {"image": 7, "video": 100}}
    async with pair(seconds=5) as (emu, client):
        _, report = await run_and_report(client, [raw], tmp_path, **price)
        assert list(report.units) == ["image"]
        found, report = await run_and_report(client, [raw, raw], tmp_path, **price)
        assert (len(found), len(emu.tasks), report.stopped) == (1, 1, "max_units")

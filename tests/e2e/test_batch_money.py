"""A batch's money over several runs: nothing is counted twice, nothing waits for units nobody gives back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kling_async import RawTask
from tests.e2e.batches import rest, told
from tests.support import clip, pair, settle, until

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async import Client

pytestmark = pytest.mark.anyio


async def begin(client: Client, requests: Any, folder: Path, **options: Any) -> None:
    """Run the batch until all of its tasks are made, and leave."""
    async with client.batch(requests, journal=folder / "jobs.sqlite", **options) as results:
        await until(lambda: len(client.tasks()) == len(requests))
        await settle()
        assert results.report.running == len(requests)


async def test_units_set_aside_for_other_jobs_are_not_waited_for(tmp_path: Path) -> None:
    """Tasks of an earlier run that this input does not name keep their share; the batch ends."""
    async with pair(seconds=1000) as (emu, client):
        await begin(client, [clip("a"), clip("b")], tmp_path, max_units=8)
        found, report = await told(client, [clip("c"), clip("d")], tmp_path, max_units=8)
        assert (found, report.stopped) == ([], "max_units")
        assert len(emu.tasks) == 2


async def test_units_of_unknown_fate_are_not_waited_for() -> None:
    """A create that nobody knows of keeps its share to the end; what does not fit beside it is not made."""
    async with pair(seconds=5) as (emu, client):
        emu.fault("create", kind="lost_before", times=1)
        emu.fault("query", status=500, times=None)
        async with client.batch([clip("a"), clip("b")], max_units=4) as results:
            found = await rest(results)
        assert [o.ok for o in found] == [False] and results.report.stopped == "max_units"
        emu.faults.clear()


async def test_what_was_admitted_is_made_though_the_next_is_too_dear() -> None:
    """Units were set aside for what queues: that no more fit behind it does not send it away."""
    async with pair({"video": 1}, seconds=50, client={"limits": {"video": 1}}) as (emu, client):
        clips = [clip("a"), clip("b"), clip("too dear", duration=15)]
        async with client.batch(clips, max_units=8) as results:
            found = [o async for o in results]
        assert sorted(o.position for o in found if o.ok) == [0, 1] and len(emu.tasks) == 2
        assert results.report.stopped == "max_units"


async def test_files_fetched_later_are_not_paid_again(tmp_path: Path) -> None:
    """The task was paid in the first run: the second one only fetches, its bill is empty."""
    async with pair(seconds=5) as (emu, client):
        await told(client, [clip("a")], tmp_path, max_units=6)
        files = tmp_path / "out"
        found, report = await told(client, [clip("a"), clip("b")], tmp_path, max_units=6, download_to=files)
        assert [o.ok for o in found] == [True, True] and len(emu.tasks) == 2
        assert report.units == {"video": 6.0} and report.stopped == ""
        assert [(s.tasks, s.units) for s in report.spent] == [(1, 3.0)]


async def test_ended_tasks_without_their_files_have_cost_what_they_cost(tmp_path: Path) -> None:
    """Its units are spent, not only set aside, whether the files are wanted by now or not."""
    async with pair(seconds=5) as (emu, client):
        emu.fault("media", status=404, times=None)
        found, _ = await told(client, [clip("a")], tmp_path, max_units=6, download_to=tmp_path / "out")
        assert not found[0].ok
        emu.faults.clear()
        _, report = await told(client, [clip("a")], tmp_path, max_units=6)
        assert report.units == {"video": 3.0}


async def test_tasks_begun_without_a_limit_count_when_there_is_one(tmp_path: Path) -> None:
    """What runs may cost what it may cost, though nobody minded when it was made."""
    async with pair(seconds=1000) as (emu, client):
        await begin(client, [clip("a"), clip("b")], tmp_path)
        found, report = await told(client, [clip("c"), clip("a"), clip("b")], tmp_path, max_units=6)
        assert [o.position for o in found] == [1, 2] and len(emu.tasks) == 2  # what is paid is told
        assert report.stopped == "max_units" and report.units == {"video": 6.0}


async def test_raw_tasks_count_in_their_own_pool(tmp_path: Path) -> None:
    """Also in a later run, which knows of them by the journal alone."""
    raw = RawTask(path="/v1/images/generations", body={"prompt": "x"}, pool="image")
    price = {"price": lambda _: 4.0, "max_units": {"image": 7, "video": 100}}
    async with pair(seconds=5) as (emu, client):
        _, report = await told(client, [raw], tmp_path, **price)
        assert list(report.units) == ["image"]
        found, report = await told(client, [raw, raw], tmp_path, **price)
        assert (len(found), len(emu.tasks), report.stopped) == (1, 1, "max_units")

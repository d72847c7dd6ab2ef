"""A batch that was begun on a laptop ends in a fleet: each of its tasks is made once."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from kling_async import read_jsonl
from kling_async.batch.journal_view import JournalView
from kling_async.cli import main
from kling_async.fleet.moving import read_movable
from tests.fleet.working import at_work, new_client, read, site

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async.fleet import Fleet
    from kling_async.testing import Emulator

pytestmark = [pytest.mark.real, pytest.mark.anyio]

JOBS = 8


async def begin(emu: Emulator, path: Path) -> None:
    """Run a batch until two jobs have ended, and leave it: two run, the others were not begun."""
    async with new_client(emu) as client:
        jobs = list(read_jsonl(path, check=client.check))
        async with client.batch(jobs, journal=path.with_suffix(".sqlite"), signals=False) as results:
            async for _ in results:
                if results.progress().done == 2:
                    break


async def move(fleet: Fleet, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Export the journal with its jobs file, and submit the rows."""
    words = ["journal", "export", str(path.with_suffix(".sqlite")), "--jobs", str(path)]
    assert await asyncio.to_thread(main, words) == 0
    with read_movable(capsys.readouterr().out.encode().splitlines()) as exported:
        made = await fleet.submit_exported(exported, batch="films")
    assert made.new == JOBS


async def test_a_batch_begun_on_a_laptop_ends_in_a_fleet(
    dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What ended is a result at once, what runs is waited for, the rest is made: no task is made twice.

    All tasks have the external ids that the laptop's batch would have given them.
    """
    path = tmp_path / "films.jsonl"
    lines = [
        {"endpoint": "text_to_video", "key": f"shot-{n}", "prompt": f"{n}", "model_name": "kling-v2-6"}
        for n in range(JOBS)
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    async with site(dsn, slots=2) as (fleet, emu):
        await begin(emu, path)
        before = {task.external_task_id for task in emu.tasks.values()}
        assert 2 <= len(before) < JOBS
        await move(fleet, path, capsys)
        async with at_work(fleet, emu):
            outcomes = await read(fleet)
        assert sorted(str(each.key) for each in outcomes) == [f"shot-{n}" for n in range(JOBS)]
        assert {each.status for each in outcomes} == {"succeeded"}
        made = [task.external_task_id for task in emu.tasks.values()]
        assert len(made) == len(set(made)) == JOBS
        assert before <= set(made)
    with JournalView(path.with_suffix(".sqlite")) as view:
        assert view.moved is not None and view.moved.batch == "films"

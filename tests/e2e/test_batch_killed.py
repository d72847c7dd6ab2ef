"""Test a batch killed fifty times: every job has one task, one file and one bill."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
from typing import TYPE_CHECKING, Final

import pytest

from kling_async.testing import Emulator
from tests.e2e.killed import JOBS, POINTS, main

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.real]

KILLS: Final = 50
SIGKILLED: Final = -9


async def test_fifty_kills(tmp_path: Path) -> None:
    """Kills before and after each durable step, create and file lose nothing and make nothing twice."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.e2e.killed"])
    points = itertools.cycle(itertools.product(range(3), POINTS))
    killed = 0
    async with Emulator(slots={"video": 5, "image": 9}) as emu:
        while True:
            times, point = next(points) if killed < KILLS else (0, "never")
            child = context.Process(target=main, args=(emu.url, emu.api_key, str(tmp_path), point, times))
            child.start()
            await asyncio.get_running_loop().run_in_executor(None, child.join, 60)
            if child.exitcode != SIGKILLED:
                break
            killed += 1
        assert (killed, child.exitcode) == (KILLS, 0)
        made = list(emu.tasks.values())
        assert len(made) == JOBS and all(task.status == "succeed" for task in made)
    said = (tmp_path / "said").read_text().splitlines()
    files = sorted((tmp_path / "out").iterdir())
    assert len(said) == JOBS and len(files) == JOBS
    assert all(line.split()[1:3] == ["True", "1"] for line in said), said
    assert len({file.stem for file in files}) == JOBS and all(file.stat().st_size > 50 for file in files)
    units = sum(float(line.split()[3]) for line in said)
    assert units == pytest.approx(sum(float(task.units) for task in made))

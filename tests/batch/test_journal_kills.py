"""Test the journal under ``kill -9``: entries whose put returned are found again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kling_async.batch.entry import Entry, JobState, advance
from kling_async.batch.journal import Journal
from kling_async.errors import JournalError
from tests.victim import JOBS, STATES, WORKERS, entry_of, job

ROOT = Path(__file__).parents[2]


async def all_of(path: Path) -> list[Entry]:
    async with Journal(path) as journal:
        return [entry async for entry in journal.entries()]


KILLS = [
    *[("BEGIN", n) for n in (1, 2, 9)],
    *[("INSERT INTO jobs", n) for n in (1, 5, 8, 20)],
    *[("UPDATE jobs", n) for n in (1, 3, 17, 60)],
    *[("COMMIT", n) for n in (1, 2, 7, 15)],
    *[("committed", n) for n in (1, 2, 11)],
    *[("told", n) for n in (1, 8, 33, 100)],
]


@pytest.mark.real
@pytest.mark.parametrize(("point", "number"), KILLS, ids=str)
def test_a_kill_loses_no_put_that_returned(tmp_path: Path, point: str, number: int) -> None:
    """After a kill every put that returned is stored, no entry is torn, and the lock is free."""
    path = tmp_path / "j.sqlite"
    command = [sys.executable, "-m", "tests.victim", str(path), point, str(number)]
    done = subprocess.run(command, cwd=ROOT, stdout=-1, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    told: dict[str, int] = {}
    for line in done.stdout.splitlines():
        name, state = line.split()
        told[name] = max(int(state), told.get(name, 0))
    found = {entry.identity: entry for entry in asyncio.run(all_of(path))}
    assert all(found[name].state >= state for name, state in told.items())
    assert len(found) <= len(told) + WORKERS
    for entry in found.values():
        assert entry.label == f"{entry.position} " * 400
        assert entry.state <= told.get(entry.identity, -1) + 1  # nobody was ahead of what he was told
    assert asyncio.run(finish(path)) == [STATES[-1]] * JOBS


async def finish(path: Path) -> list[JobState]:
    """Bring the victim's jobs to their ends; return their states."""
    async with Journal(path) as journal:
        for number in range(JOBS):
            entry = await entry_of(journal, job(number).identity) or job(number, journal.id)
            if entry.state is not JobState.DONE:
                await journal.put(advance(entry, JobState.DONE, files=()))
        return [entry.state async for entry in journal.entries()]


@pytest.mark.real
def test_the_lock_of_another_process_holds_until_it_is_killed(tmp_path: Path) -> None:
    """The lock's error names the process; once that is killed the journal opens."""
    path = tmp_path / "j.sqlite"
    script = "import sys, pathlib; from kling_async.batch.journal_store import Store; "
    script += "store = Store(pathlib.Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script, str(path)], cwd=ROOT, stdin=-1, stdout=-1) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == b"open\n"
            with pytest.raises(JournalError, match=rf"another process holds it \({holder.pid}\)"):
                asyncio.run(all_of(path))
        finally:
            holder.kill()
    assert asyncio.run(all_of(path)) == []

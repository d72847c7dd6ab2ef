"""Test tasks that the vendor accepted and then does not know: asked about again until nothing can be left."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import TaskNotFound
from kling_async.batch.journal import Journal
from tests.e2e.batches import creates, remaining, run_and_report
from tests.support import client_of, clip, pair, settle, until

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async import Client
    from kling_async.batch.entry import Entry
    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio

NOT_FOUND = "Task not found by id/external id"
DAY = 86400.0


def hide(emu: Emulator) -> None:
    """Let the vendor know no task in any form of query."""
    emu.fault("query", code=1201, message=NOT_FOUND, times=None)
    emu.fault("tasks", kind="wrong_types", value=[], times=None)
    emu.fault("list", kind="wrong_types", value=[], times=None)


async def entry_of(folder: Path) -> Entry:
    """Return the only entry of the journal."""
    async with Journal(folder / "jobs.sqlite") as journal:
        (entry,) = [entry async for entry in journal.entries()]
    return entry


def aged(emu: Emulator, days: float) -> Client:
    """Return a client whose wall clock is some days on."""
    return client_of(emu, now=lambda: time.time() + days * DAY)


async def lose(emu: Emulator, client: Client, folder: Path, **options: Any) -> Any:
    """Run a batch whose only task is not known any more."""
    hide(emu)
    begun = asyncio.get_running_loop().time()
    (lost,), report = await run_and_report(client, [clip("a")], folder, **options)
    assert isinstance(lost.error, TaskNotFound) and "asks again" in str(lost.error)
    assert asyncio.get_running_loop().time() - begun >= 300
    assert "journal=" in report.advice and "failed for good" not in report.advice
    emu.faults.clear()
    return lost


@pytest.mark.parametrize("alone", [False, True], ids=["with the input", "by the journal alone"])
@pytest.mark.parametrize("days", [0, 29], ids=["at once", "29 days later"])
async def test_a_missing_task_is_asked_about_again(days: int, alone: bool, tmp_path: Path) -> None:
    """What was missing and is found again is the result: nothing is made, nothing is written as failed."""
    async with pair(seconds=20) as (emu, client):
        await lose(emu, client, tmp_path)
        assert (await entry_of(tmp_path)).missing
        async with aged(emu, days) as later:
            options: dict[str, Any] = {"download_to": tmp_path / "out"}
            journal = tmp_path / "jobs.sqlite"
            batch: Any = later.resume(journal, **options)
            if not alone:
                batch = later.batch([clip("a")], journal=journal, retry_failed=True, retries=3, **options)
            async with batch as results:
                (found,) = await remaining(results)
        assert found.ok and found.files and creates(emu) == 1
        entry = await entry_of(tmp_path)
        assert not entry.missing and entry.error is None


@pytest.mark.parametrize("asked", [True, False], ids=["asked once more", "not asked since"])
async def test_after_thirty_days_a_missing_task_has_failed(asked: bool, tmp_path: Path) -> None:
    """It is final then, of the class it was; `retry_failed` makes a new task under a new id."""
    async with pair(seconds=20) as (emu, client):
        lost = await lose(emu, client, tmp_path)
        if asked:
            hide(emu)
            async with aged(emu, 29.999) as later:  # the run goes on beyond the thirtieth day
                (still_lost,), _ = await run_and_report(later, [clip("a")], tmp_path)
            assert isinstance(still_lost.error, TaskNotFound) and not still_lost.resumed
            emu.faults.clear()
        rows = len(emu.ledger.rows)
        async with aged(emu, 31) as later:
            (failed,), report = await run_and_report(later, [clip("a")], tmp_path)
            assert failed.resumed and isinstance(failed.error, TaskNotFound)
            assert failed.error.id == lost.error.id and len(emu.ledger.rows) == rows
            assert "1 failed for good" in report.advice and report.running == 0
            first = (await entry_of(tmp_path)).external_task_id
            (made,), _ = await run_and_report(later, [clip("a")], tmp_path, retry_failed=True)
        assert made.ok and made.attempts == 2 and creates(emu) == 2
        assert (await entry_of(tmp_path)).external_task_id != first


async def test_a_task_that_goes_missing_after_it_succeeded_is_asked_about_again(tmp_path: Path) -> None:
    """Paid, its file not fetched, then not known for minutes: a later run fetches it."""
    async with pair(seconds=20) as (emu, client):
        emu.fault("media", status=404, times=None)
        async with client.batch(
            [clip("a")], journal=tmp_path / "jobs.sqlite", download_to=tmp_path / "out"
        ) as results:
            await until(lambda: any(task.status == "succeed" for task in emu.tasks.values()))
            await settle()
            assert not results.report.done
        await lose(emu, client, tmp_path, download_to=tmp_path / "out")
        (found,), _ = await run_and_report(client, [clip("a")], tmp_path, download_to=tmp_path / "out")
        assert found.ok and found.files and creates(emu) == 1


async def test_the_reservation_of_a_missing_task_is_kept_until_it_has_failed(tmp_path: Path) -> None:
    """It may be billed until then, so ``max_units`` counts it; afterwards its units are free."""
    async with pair(seconds=20) as (emu, client):
        await lose(emu, client, tmp_path, max_units=3)
        async with aged(emu, 1) as later:
            _, report = await run_and_report(later, [clip("b")], tmp_path, max_units=3)
        assert report.stopped == "max_units" and creates(emu) == 1
        assert len(report.unclaimed_running) == 1
        async with aged(emu, 31) as later:
            (made,), report = await run_and_report(later, [clip("b")], tmp_path, max_units=3)
        assert made.ok and report.unclaimed_running == ()

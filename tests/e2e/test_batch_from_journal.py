"""Test client.resume: a journal alone finishes its running jobs, and makes nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from kling_async import (
    AmbiguousCreate,
    JournaledRequest,
    JournalError,
    RawTask,
    RequestInvalid,
    TaskNotFound,
    catalog,
)
from kling_async.v1 import TextToVideo
from tests.e2e.batches import creates, remaining, run_and_report, run_batch
from tests.e2e.test_every_endpoint import request_of
from tests.emulator.facts import SAMPLES
from tests.support import client_of, clip, pair, settle, still, until

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async import Client
    from kling_async.testing import Emulator

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::kling_async.errors.KlingWarning")]

TASKS: Final = {row.name: row for row in catalog.TASKS if not row.name.startswith("v2.")}


async def leave(emu: Emulator, client: Client, requests: Any, folder: Path, **options: Any) -> None:
    """Begin a batch and leave it once every create was seen by the server."""
    before = len(emu.ledger.creates)
    async with client.batch(requests, journal=folder / "jobs.sqlite", **options):
        await until(lambda: len(emu.ledger.creates) == before + len(requests))
        await settle()


async def resumed(client: Client, folder: Path, **options: Any) -> tuple[dict[str, Any], Any]:
    """Resume by the journal alone; return the outcomes by key, and the report."""
    async with client.resume(folder / "jobs.sqlite", **options) as results:
        found = {outcome.key: outcome for outcome in await remaining(results)}
    return found, results.report


async def test_a_journal_alone_finishes_what_needs_no_request(tmp_path: Path) -> None:
    """Jobs in every state: running ones are adopted, files fetched, lost creates found, the rest is told."""
    folder = tmp_path / "out"
    files: dict[str, Any] = {"download_to": folder, "name": "{key}"}
    async with pair(seconds=50) as (emu, client):
        await run_batch(client, [("done", clip("a")), ("file gone", clip("b"))], tmp_path, **files)
        (folder / "file gone.mp4").unlink()
        emu.fault("create", kind="hang", acts=True, times=1)
        await leave(emu, client, [("made in doubt", clip("c"))], tmp_path)
        emu.faults.clear()
        emu.fault("create", kind="hang", acts=False, times=1)
        await leave(emu, client, [("not made in doubt", clip("d"))], tmp_path)
        emu.faults.clear()
        emu.fault("create", code=1303, status=429, times=1)
        await leave(emu, client, [("refused", clip("e"))], tmp_path)
        emu.faults.clear()
        raw = RawTask(path="/v1/images/generations", body={"prompt": "x"}, pool="image")
        running = [("running", clip("f")), ("images", still(n=3)), ("raw", raw)]
        await leave(emu, client, running, tmp_path)
        await client.aclose()
        before = len(emu.ledger.creates)
        async with client_of(emu) as later:
            plan = await later.resume(tmp_path / "jobs.sqlite", **files).dry_run()
            assert (plan.jobs, plan.done, plan.fetched, plan.running) == (8, 1, 1, 3)
            assert (plan.doubtful, plan.unsent, plan.refused, plan.units) == (2, 1, 0, {})
            found, report = await resumed(later, tmp_path, **files)
            assert all(outcome.ok for outcome in found.values()), found
            assert set(found) == {"file gone", "made in doubt", "running", "images", "raw"}
            assert len(found["images"].files) == 3 and found["images"].units == 24
            names = sorted(file.name for outcome in found.values() for file in outcome.files)
            assert names == sorted(path.name for path in folder.iterdir() if path.stem != "done")
            assert found["running"].request == JournaledRequest(endpoint="text_to_video")
            (skipped,) = report.skipped
            assert (skipped.reason, skipped.requests) == (report.stopped, 2) == ("unsent", 2)
            assert (report.done, report.resumed, report.running) == (6, 1, 0)
            assert "run the batch with its input" in report.advice
            assert "2 of video not made" in report.advice
            again, _ = await resumed(later, tmp_path, **files)
            assert again == {} and later.account.limits()["video"].held == 0
            assert len(emu.ledger.creates) == before  # not one create was sent
            requests = [("not made in doubt", clip("d")), ("refused", clip("e"))]
            assert [o.ok for o in await run_batch(later, requests, tmp_path)] == [True, True]
        assert creates(emu) == 8 == len(emu.tasks)


@pytest.mark.parametrize("name", TASKS)
async def test_a_task_of_every_endpoint_is_fetched_by_the_journal_alone(name: str, tmp_path: Path) -> None:
    """Result, files and units are those of a resumed batch that has its input."""
    slots = {"video": 9, "image": 27, "virtual_try_on": 3}
    async with pair(slots, seconds=50, client={"limits": slots}) as (emu, client):
        emu.know(*SAMPLES)
        requests = [("k", request_of(name))]
        await leave(emu, client, requests, tmp_path)
        found, report = await resumed(client, tmp_path, download_to=tmp_path / "out")
        assert found["k"].ok, found["k"].error
        (same,) = await run_batch(client, requests, tmp_path)
        assert type(found["k"].result) is TASKS[name].result
        assert len(found["k"].files) == len(found["k"].result.files())
        assert found["k"].units == same.units and same.resumed
        assert report.all_runs.units == report.this_run.units
        assert creates(emu) == 1


@pytest.mark.parametrize("made", [True, False], ids=["made", "not made"])
@pytest.mark.parametrize("name", TASKS)
async def test_a_create_in_doubt_is_looked_up_and_never_sent(name: str, made: bool, tmp_path: Path) -> None:
    """At every endpoint: a task that was made is adopted, one that was not made is told."""
    slots = {"video": 9, "image": 27, "virtual_try_on": 3}
    async with pair(slots, seconds=50, client={"limits": slots}) as (emu, client):
        emu.know(*SAMPLES)
        emu.fault("create", kind="hang", acts=made, times=1)
        await leave(emu, client, [("k", request_of(name))], tmp_path)
        await client.aclose()
        before = len(emu.ledger.creates)
        async with client_of(emu, limits=slots) as later:
            found, report = await resumed(later, tmp_path)
        assert len(emu.ledger.creates) == before
        row = TASKS[name]
        if made and row.lookup != "none":
            assert found["k"].ok and type(found["k"].result) is row.result
        elif row.lookup == "none" or not row.idempotent:
            assert isinstance(found["k"].error, AmbiguousCreate) and report.running == 1
        else:
            assert found == {} and [line.requests for line in report.skipped] == [1]


async def test_unfinished_jobs_that_a_mended_input_lost_are_fetched(tmp_path: Path) -> None:
    """The advice of the batch with the mended prompt names the call that fetches the old prompt's task."""
    async with pair(seconds=50) as (emu, client):
        await leave(emu, client, [("k", clip("typpo"))], tmp_path)
        mended = [("k", clip("typo"))]
        files: dict[str, Any] = {"download_to": tmp_path / "out"}
        found, report = await run_and_report(client, mended, tmp_path, **files)
        assert found[0].ok and len(report.unclaimed_running) == 1
        call = re.search(r"1 unfinished job of the journal .*client\.resume\('(.+)', \.\.\.\)", report.advice)
        assert call is not None and call[1] == str(tmp_path / "jobs.sqlite")
        async with client.resume(call[1], **files) as results:
            (outcome,) = await remaining(results)
        assert (outcome.record.task_id,) == report.unclaimed_running and outcome.files
        assert results.report.advice == "" and results.report.resumed == 1
        _, after = await run_and_report(client, mended, tmp_path)
        assert (after.unclaimed, after.unclaimed_running, after.advice) == (1, (), "")
        assert creates(emu) == 2


async def test_another_account_s_jobs_are_left_alone(tmp_path: Path) -> None:
    """Under another key tasks are not found and creates in doubt stay so; then the first key works."""
    async with pair(seconds=50) as (emu, client):
        emu.fault("create", kind="hang", acts=True, times=1)
        await leave(emu, client, [("doubt", clip("a")), ("running", clip("b"))], tmp_path)
        await client.aclose()
        async with pair(api_key="another-key") as (other, stranger):
            found, report = await resumed(stranger, tmp_path)
            assert isinstance(found["doubt"].error, AmbiguousCreate)
            assert isinstance(found["running"].error, TaskNotFound)
            assert "client.resume(" in report.advice and other.tasks == {}
        async with client_of(emu) as later:
            found, _ = await resumed(later, tmp_path)
        assert len(found) == 2 and all(outcome.ok for outcome in found.values())


@pytest.mark.parametrize("dry", [True, False], ids=["dry run", "run"])
async def test_a_journal_that_is_not_there_is_not_made(dry: bool, tmp_path: Path) -> None:
    """A mistyped name is an error, and leaves no file and no folder."""
    async with pair() as (_, client):
        batch = client.resume(tmp_path / "no" / "jobs.sqlite", download_to=tmp_path / "out")
        with pytest.raises(JournalError, match="there is no such journal"):
            await (batch.dry_run() if dry else batch.__aenter__())
        left = [path.name for path in tmp_path.iterdir()]  # noqa: ASYNC240 - a local folder
        assert left == ([] if dry else ["out"])


async def test_options_about_creates_are_refused() -> None:
    """What makes tasks has no place there: such a keyword is a TypeError, a wrong value names its option."""
    async with pair() as (_, client):
        for option in ({"max_units": 3}, {"retries": 1}, {"journal": "x"}, {"nonsense": 1}):
            wrong: dict[str, Any] = option
            with pytest.raises(TypeError, match=next(iter(wrong))):
                client.resume("jobs.sqlite", **wrong)
        with pytest.raises(RequestInvalid, match="downloads"):
            client.resume("jobs.sqlite", downloads=0)
        nothing: Any = None
        with pytest.raises(RequestInvalid, match="journal: must be the path of a batch's journal"):
            client.resume(nothing)


@pytest.mark.parametrize("endpoint", ["text_to_video", "/v1/x"])
async def test_a_journaled_request_cannot_be_sent(endpoint: str) -> None:
    """Taken from an outcome and submitted, it is refused before anything is sent."""
    async with pair() as (emu, client):
        request = JournaledRequest(endpoint=endpoint)
        with pytest.raises(RequestInvalid, match="known by its fingerprint only"):
            await client.submit(request)
        found, report = await run_and_report(client, [request])
        assert found == [] and [line.reason for line in report.skipped] == ["unsent"]
        assert client.estimate(request).units is None
        assert emu.ledger.rows == []


async def test_a_job_of_an_endpoint_that_is_gone_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal of a version with other endpoints: its jobs there are refused by name, the rest goes on."""
    async with pair(seconds=50) as (emu, client):
        await leave(emu, client, [("old", still()), ("known", clip("a"))], tmp_path)
        names = catalog._by_name
        monkeypatch.setattr(catalog, "_by_name", {k: v for k, v in names.items() if v.request is TextToVideo})
        found, _ = await resumed(client, tmp_path)
        assert found["known"].ok
        assert isinstance(found["old"].error, RequestInvalid)
        assert "image_generation" in str(found["old"].error)


async def test_no_input_is_not_the_journal_alone(tmp_path: Path) -> None:
    """None as input is an error of the caller's, with a journal too."""
    async with pair() as (_, client):
        nothing: Any = None
        async with client.batch(nothing, journal=tmp_path / "jobs.sqlite") as results:
            with pytest.raises(TypeError, match="takes an iterable of requests, not NoneType"):
                await remaining(results)

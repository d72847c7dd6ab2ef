"""Corners of a batch: a stop in any moment, bills without numbers, odd answers, files that change."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import (
    AmbiguousCreate,
    BadResponse,
    DownloadError,
    JobFailed,
    JournalError,
    RawTask,
    RequestInvalid,
    Retry,
    TaskFailed,
    media,
    v1,
)
from kling_async.batch.entry import JobState
from kling_async.batch.journal_store import Store
from kling_async.downloads.partial import Partial
from kling_async.emulator.calls import results as emulator_results
from kling_async.emulator.http import dispatch as emulator_dispatch
from tests.e2e.batches import creates, rest, told
from tests.support import client_of, clip, pair, png, settle, still, until

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.anyio


# -- a stop means: no more tasks


@pytest.mark.parametrize("how", ["stop()", "SIGTERM"])
async def test_no_new_attempt_after_a_stop(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The task that runs is waited for; that it fails makes no other one."""
    async with pair(seconds=100) as (emu, client), client.batch([clip("a")], retries=2) as results:
        await until(lambda: emu.tasks)
        await settle()
        if how == "stop()":
            results.stop()
        else:
            results._heard(how)
        emu.finish(next(iter(emu.tasks)), "failed", "internal error")
        (outcome,) = await rest(results)
        assert isinstance(outcome.error, TaskFailed) and len(emu.tasks) == 1
        assert results.report.stopped == how
    capsys.readouterr()


async def test_a_create_refused_after_a_stop_is_let_go(tmp_path: Path) -> None:
    """It was on its way when the batch was stopped, and met a full account: it does not queue for ever."""
    async with pair({"video": 5}, seconds=100) as (emu, client):
        emu.set_foreign("video", 5)
        emu.fault("create", kind="slow", seconds=10, times=1)
        async with client.batch([clip("a")], journal=tmp_path / "jobs.sqlite") as results:
            await asyncio.sleep(3)
            results.stop()
            assert await rest(results) == [] and len(emu.ledger.creates) == 1
        emu.set_foreign("video", 0)
        await asyncio.sleep(1000)
        assert emu.tasks == {}
        found, _ = await told(client, [clip("a")], journal=tmp_path / "jobs.sqlite")
        assert found[0].ok and creates(emu) == 1


async def test_a_server_that_is_down_ends_a_stopped_batch() -> None:
    """What would be tried again later is let go."""
    async with pair(seconds=100, client={"retry": Retry(max_tries=2)}) as (emu, client):
        await emu.stop()
        async with client.batch([clip("a")]) as results:
            await asyncio.sleep(0.2)
            results.stop()
            assert await rest(results) == []
        await emu.start()
        await asyncio.sleep(1000)
        assert emu.tasks == {}


async def test_what_is_looked_for_when_the_batch_is_stopped_is_not_sent(tmp_path: Path) -> None:
    """Doubtful by an earlier run, it was never made: nor is it now; the next run makes it."""
    journal = tmp_path / "jobs.sqlite"
    async with pair(seconds=20) as (emu, client):
        emu.fault("create", kind="hang", acts=False)
        async with client.batch([clip("a")], journal=journal):
            await until(lambda: emu.ledger.creates)
        await client.aclose()
        async with client_of(emu) as later:
            async with later.batch([clip("a")], journal=journal) as results:
                await asyncio.sleep(5)
                results.stop()
                assert await rest(results) == []
            await asyncio.sleep(1000)
            assert emu.tasks == {} and later.unresolved() == []
            assert later.account.limits()["video"].held == 0
            found, _ = await told(later, [clip("a")], journal=journal)
            assert found[0].ok and len(emu.tasks) == 1


# -- money


def silence_bills(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor does not say what tasks took, as for an account that pays in cash."""
    for look in ("as_unified", "as_queried"):
        real = getattr(emulator_dispatch, look)

        def told(*args: Any, real: Any = real) -> Any:
            data = real(*args)
            data.pop("final_unit_deduction", None)
            data.pop("billing", None)
            return data

        monkeypatch.setattr(emulator_dispatch, look, told)


async def test_a_bill_without_a_number_costs_what_was_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`max_units` holds all the same, in this run and the next; the outcome says that nobody told."""
    silence_bills(monkeypatch)
    async with pair(seconds=5) as (emu, client):
        for _ in range(2):
            found, report = await told(
                client, [clip(str(n)) for n in range(12)], max_units=6, journal=tmp_path / "j.sqlite"
            )
            assert len(emu.tasks) == 2 and report.stopped == "max_units"
            assert [o.units for o in found] == [None, None] and report.units == {"video": 6.0}


async def test_a_result_of_an_odd_form_is_paid_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its units count; the task is not lost, and not made again; the raw answer is at hand."""
    keys = {"access_key": "emulator-access", "secret_key": "emulator-secret-of-32-bytes-or-more"}
    monkeypatch.setitem(
        emulator_results.RESULTS, "text_to_video", lambda *_: {"videos": "https://a.example/x.mp4"}
    )
    async with pair(seconds=5, client=keys) as (emu, client):
        for resumed in (False, True):
            found, report = await told(
                client, [clip(str(n)) for n in range(12)], max_units=6, journal=tmp_path / "j.sqlite"
            )
            assert len(emu.tasks) == 2 and report.units == {"video": 6.0}
            for outcome in found:
                assert isinstance(outcome.error, BadResponse) and outcome.units == 3.0
                assert outcome.record is not None and outcome.resumed is resumed


async def test_less_may_be_spent_than_an_earlier_run_set_aside(tmp_path: Path) -> None:
    """Looked for and not found, it is not sent when the limit is lower by now."""
    journal = tmp_path / "jobs.sqlite"
    async with pair(seconds=20) as (emu, client):
        emu.fault("create", kind="hang", acts=False)
        async with client.batch([clip("a")], journal=journal, max_units=9):
            await until(lambda: emu.ledger.creates)
        await client.aclose()
        async with client_of(emu) as later:
            found, report = await told(later, [clip("a")], journal=journal, max_units=2)
            assert (found, report.stopped) == ([], "max_units") and emu.tasks == {}
            found, _ = await told(later, [clip("a")], journal=journal, max_units=3)
            assert found[0].ok and len(emu.tasks) == 1


@pytest.mark.parametrize("fault", [{"kind": "html", "status": 403}, {"code": 1001}])
async def test_a_create_that_was_surely_refused_gives_its_units_back(
    fault: dict[str, Any], tmp_path: Path
) -> None:
    """Whatever the refusal is called: nothing of it exists, so nothing stays set aside."""
    async with pair(seconds=5) as (emu, client):
        emu.fault("create", times=3, **fault)
        requests = [clip(str(n)) for n in range(6)]
        found, report = await told(client, requests, max_units=9, journal=tmp_path / "j.sqlite", ahead=1)
        assert [o.ok for o in found].count(True) == 3 and report.units == {"video": 9.0}
        assert creates(emu) == 3


# -- odd answers


@pytest.mark.parametrize("by_keys", [False, True])
async def test_one_stale_answer_loses_no_task(by_keys: bool, tmp_path: Path) -> None:
    """A task that the journal knows is asked for again before it counts as gone, never as failed."""
    async with pair(seconds=100) as (emu, client):
        async with client.batch([clip("a")], journal=tmp_path / "j.sqlite"):
            await until(lambda: emu.tasks)
            await settle()
        keys: dict[str, Any] = {"access_key": emu.access_key, "secret_key": emu.secret_key}
        not_found = {"code": 1201, "message": "Task not found by id/external id"}
        for times, ok in ((3, False), (1, True)):
            emu.fault("query", times=times, **not_found)
            async with client_of(emu, **(keys if by_keys else {})) as later:
                ((outcome,), _) = await told(later, [clip("a")], journal=tmp_path / "j.sqlite")
            emu.faults.clear()
            assert outcome.ok is ok and not isinstance(outcome.error, JobFailed)
        assert len(emu.tasks) == 1


async def test_a_failure_that_cannot_be_written_down_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal breaks at the very last step: the outcome comes, and the batch says why it ended."""
    real = Store.write

    def write(store: Store, entries: Any, digests: Any) -> Any:
        if any(entry.state is JobState.FAILED for entry in entries):
            raise store.error("the disk is full")
        return real(store, entries, digests)

    monkeypatch.setattr(Store, "write", write)
    async with pair(seconds=5) as (emu, client):
        async with client.batch([clip("a")], journal=tmp_path / "j.sqlite") as results:
            await until(lambda: emu.tasks)
            emu.finish(next(iter(emu.tasks)), "failed", "internal error")
            outcome = await anext(results)
            assert isinstance(outcome.error, JournalError)
            with pytest.raises(JournalError, match="disk is full"):
                await anext(results)
        assert results.report.stopped == "journal" and results.report.advice


async def test_a_remembered_failure_does_not_raise_again(tmp_path: Path) -> None:
    """`on_error="raise"` is about what fails now: else no later run could get past it."""
    async with pair(seconds=50) as (emu, client):
        async with client.batch([clip("a")], journal=tmp_path / "j.sqlite") as results:
            await until(lambda: emu.tasks)
            emu.finish(next(iter(emu.tasks)), "failed", "invalid image format")
            await rest(results)
        found, report = await told(
            client, [clip("a"), clip("b")], journal=tmp_path / "j.sqlite", on_error="raise"
        )
        assert [o.ok for o in found] == [False, True] and report.stopped == ""


async def test_results_without_files_are_finished(tmp_path: Path) -> None:
    """A raw task names none: files are wanted, there are none, and that is its end."""
    raw = RawTask(path="/v1/images/generations", body={"prompt": "x"}, pool="image")
    async with pair(seconds=5) as (emu, client):
        for resumed in (False, True):
            found, _ = await told(client, [raw], journal=tmp_path / "j.sqlite", download_to=tmp_path / "out")
            assert found[0].ok and found[0].files == () and found[0].resumed is resumed
        assert len(emu.tasks) == 1


async def test_a_file_that_changes_while_its_job_queues_is_another_request(tmp_path: Path) -> None:
    """What is sent is what the job's name stands for; the new content is made by the next run, once."""
    picture = tmp_path / "in.png"
    picture.write_bytes(png(320, 320))
    requests = [still("first"), still("x", image=media(picture))]
    async with pair({"image": 1}, seconds=50, client={"limits": {"image": 1}}) as (emu, client):
        async with client.batch(requests, journal=tmp_path / "j.sqlite") as results:
            await until(lambda: emu.tasks)
            await settle()
            picture.write_bytes(png(320, 321))
            found = await rest(results)
        assert found[0].ok and isinstance(found[1].error, RequestInvalid)
        assert "has changed" in str(found[1].error) and creates(emu) == 1
        for _ in range(2):
            found, _ = await told(client, requests, journal=tmp_path / "j.sqlite")
            assert all(o.ok for o in found) and creates(emu) == 2


# -- refusals and doubt


async def test_a_lip_sync_that_met_a_full_account_can_be_made_later(tmp_path: Path) -> None:
    """Its endpoint cannot be asked by id: only what may really exist is in doubt, also after a kill."""
    request = v1.LipSync(
        input=v1.LipSyncInput(
            mode="text2video",
            video_url="https://a.example/v.mp4",
            text="hello",
            voice_id="genshin_vindi2",
            voice_language="en",
        )
    )
    journal = tmp_path / "j.sqlite"
    async with pair({"video": 1}, seconds=50, client={"limits": {"video": 1}}) as (emu, client):
        emu.set_foreign("video", 1)
        async with client.batch([request], journal=journal) as results:
            await until(lambda: len(emu.ledger.creates) == 3)
            await settle()
            entries = [entry async for entry in results._journal.entries()]  # type: ignore[union-attr]
            assert [entry.times.planned for entry in entries] == [None]  # as a kill would leave it
        emu.set_foreign("video", 0)
        found, _ = await told(client, [request], journal=journal)
        assert found[0].ok, found[0].error


async def test_one_try_is_enough_for_what_an_earlier_run_left(tmp_path: Path) -> None:
    """To look for it is no attempt."""
    journal = tmp_path / "j.sqlite"
    async with pair(seconds=20) as (emu, client):
        emu.fault("create", kind="hang", acts=False)
        async with client.batch([clip("a")], journal=journal):
            await until(lambda: emu.ledger.creates)
        await client.aclose()
        async with client_of(emu, retry=Retry(max_tries=1)) as later:
            found, _ = await told(later, [clip("a")], journal=journal)
        assert found[0].ok and len(emu.tasks) == 1


async def test_what_is_unresolved_holds_its_slots_once(tmp_path: Path) -> None:
    """Run after run gives the same create up: one slot, given back in the end."""
    journal = tmp_path / "j.sqlite"
    async with pair(seconds=20) as (emu, client):
        emu.fault("create", kind="lost_before", times=1)
        emu.fault("query", status=400, code=1200, times=None)
        for _ in range(3):
            ((outcome,), _) = await told(client, [clip("a")], journal=journal)
            assert isinstance(outcome.error, AmbiguousCreate)
            assert client.account.limits()["video"].held == len(client.unresolved()) == 1
        emu.faults.clear()
        await until(lambda: not client.unresolved(), 10_000)
        assert client.account.limits()["video"].held == 0


# -- what is said


async def test_creates_on_their_way_are_counted_as_running() -> None:
    """Left without a journal: what may exist is not called missing."""
    async with pair(seconds=100) as (emu, client):
        emu.fault("create", kind="slow", seconds=10, times=None)
        async with client.batch([clip("a"), clip("b")]) as results:
            await until(lambda: len(emu.tasks) == 2)
        assert results.report.running == 2 and "will be billed" in results.report.advice


async def test_a_client_that_closes_leaves_tasks_that_run() -> None:
    """They are counted, though their waits have failed."""
    async with pair({"video": 2}, seconds=100, client={"limits": {"video": 2}}) as (emu, client):
        async with client.batch([clip(str(n)) for n in range(5)]) as results:
            await until(lambda: len(emu.tasks) == 2)
            await settle()
            await client.aclose()
        assert results.report.running == 2


async def test_who_leaves_after_the_last_outcome_left_nothing() -> None:
    """One outcome taken of one job: there is nothing to go on with."""
    async with pair(seconds=5) as (_, client):
        async with client.batch([clip("a")]) as results:
            assert (await anext(results)).ok
        assert (results.report.stopped, results.report.advice) == ("", "")


async def test_requests_that_are_wrong_are_to_be_mended() -> None:
    """The same again would change nothing."""
    async with pair(seconds=5) as (_, client):
        _, report = await told(client, [clip(""), clip("good")])
        assert report.advice == "1 refused unsent: the errors say what to mend."
        _, report = await told(client, [clip("a")], max_units=1)
        assert report.stopped == "max_units"


async def test_a_folder_that_is_none_is_said_before_anything_is_paid(tmp_path: Path) -> None:
    """A file of that name is in the way."""
    (tmp_path / "out").write_text("a file")
    async with pair(seconds=5) as (emu, client):
        with pytest.raises(RequestInvalid, match=r"download_to: .* cannot be used"):
            await told(client, [clip("a")], download_to=tmp_path / "out")
        assert emu.ledger.rows == []


async def test_a_full_disk_buys_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be stored is not made; what was made is fetched by the next run, and paid once."""
    requests = [clip(str(n)) for n in range(60)]
    options: dict[str, Any] = {"journal": tmp_path / "j.sqlite", "download_to": tmp_path / "out"}
    slots = {"limits": {"video": 3}}
    async with pair({"video": 3}, seconds=5, client=slots) as (emu, client):
        with monkeypatch.context() as patch:

            def full(*_: Any) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            patch.setattr(Partial, "publish", full)
            async with client.batch(requests, **options) as results:
                with pytest.raises(DownloadError, match="No space left"):
                    await rest(results)
            assert results.report.stopped == "disk" and "run the same again" in results.report.advice
        made = len(emu.tasks)
        assert made < 10
        found, _ = await told(client, requests, **options)
        assert all(o.ok for o in found) and len(emu.tasks) == 60
        assert len(list((tmp_path / "out").glob("*.mp4"))) == 60


async def test_after_a_dry_run_the_same_batch_can_be_entered(tmp_path: Path) -> None:
    """And after a journal that was in use: it is opened anew."""
    journal = tmp_path / "j.sqlite"
    async with pair(seconds=5) as (_, client):
        batch = client.batch([clip("a")], journal=journal)
        assert (await batch.dry_run()).jobs == 1
        async with client.batch([], journal=journal):
            with pytest.raises(JournalError, match="another process holds it"):
                await batch.__aenter__()
        async with batch as results:
            assert [o.ok for o in await rest(results)] == [True]

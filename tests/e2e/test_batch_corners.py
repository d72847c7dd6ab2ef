"""Test corners of a batch: stops at any moment, missing bills, unusual answers, changing files."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import (
    AmbiguousCreate,
    BadResponse,
    DownloadError,
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
from tests.e2e.batches import creates, remaining, run_and_report
from tests.support import client_of, clip, pair, png, settle, still, until

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.anyio


# -- a stop means: no more tasks


@pytest.mark.parametrize("how", ["stop()", "SIGTERM"])
async def test_no_new_attempt_after_a_stop(how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """After a stop a running task is waited for; its failure makes no next attempt."""
    async with pair(seconds=100) as (emu, client), client.batch([clip("a")], retries=2) as results:
        await until(lambda: emu.tasks)
        await settle()
        if how == "stop()":
            results.stop()
        else:
            results._heard(how)
        emu.finish(next(iter(emu.tasks)), "failed", "internal error")
        (outcome,) = await remaining(results)
        assert isinstance(outcome.error, TaskFailed) and len(emu.tasks) == 1
        assert results.report.stopped == how
    capsys.readouterr()


async def test_a_create_refused_after_a_stop_is_dropped(tmp_path: Path) -> None:
    """A create on its way at the stop that meets a full account is dropped, not queued."""
    async with pair({"video": 5}, seconds=100) as (emu, client):
        emu.set_foreign("video", 5)
        emu.fault("create", kind="slow", seconds=10, times=1)
        async with client.batch([clip("a")], journal=tmp_path / "jobs.sqlite") as results:
            await asyncio.sleep(3)
            results.stop()
            assert await remaining(results) == [] and len(emu.ledger.creates) == 1
        emu.set_foreign("video", 0)
        await asyncio.sleep(1000)
        assert emu.tasks == {}
        found, _ = await run_and_report(client, [clip("a")], journal=tmp_path / "jobs.sqlite")
        assert found[0].ok and creates(emu) == 1


async def test_a_server_that_is_down_ends_a_stopped_batch() -> None:
    """A stopped batch drops creates that would be tried again later."""
    async with pair(seconds=100, client={"retry": Retry(max_tries=2)}) as (emu, client):
        await emu.stop()
        async with client.batch([clip("a")]) as results:
            await asyncio.sleep(0.2)
            results.stop()
            assert await remaining(results) == []
        await emu.start()
        await asyncio.sleep(1000)
        assert emu.tasks == {}


async def test_a_create_in_doubt_is_not_sent_after_a_stop(tmp_path: Path) -> None:
    """A create that an earlier run left in doubt is not sent after a stop; the next run makes it."""
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
                assert await remaining(results) == []
            await asyncio.sleep(1000)
            assert emu.tasks == {} and later.unresolved() == []
            assert later.account.limits()["video"].held == 0
            found, _ = await run_and_report(later, [clip("a")], journal=journal)
            assert found[0].ok and len(emu.tasks) == 1


# -- money


def hide_bills(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the vendor not say what tasks took, as for an account that pays in cash."""
    for look in ("as_unified", "as_queried"):
        real = getattr(emulator_dispatch, look)

        def without_bill(*args: Any, real: Any = real) -> Any:
            data = real(*args)
            data.pop("final_unit_deduction", None)
            data.pop("billing", None)
            return data

        monkeypatch.setattr(emulator_dispatch, look, without_bill)


async def test_a_missing_bill_counts_as_reserved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a bill the reservation counts against `max_units`, in this run and the next."""
    hide_bills(monkeypatch)
    async with pair(seconds=5) as (emu, client):
        for _ in range(2):
            found, report = await run_and_report(
                client, [clip(str(n)) for n in range(12)], max_units=6, journal=tmp_path / "j.sqlite"
            )
            assert len(emu.tasks) == 2 and report.stopped == "max_units"
            assert [o.units for o in found] == [None, None] and report.units == {"video": 6.0}


async def test_a_task_whose_result_cannot_be_read_is_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task whose result cannot be read is paid, is not made again, and keeps its raw answer."""
    keys = {"access_key": "emulator-access", "secret_key": "emulator-secret-of-32-bytes-or-more"}
    monkeypatch.setitem(
        emulator_results.RESULTS, "text_to_video", lambda *_: {"videos": "https://a.example/x.mp4"}
    )
    async with pair(seconds=5, client=keys) as (emu, client):
        for resumed in (False, True):
            found, report = await run_and_report(
                client, [clip(str(n)) for n in range(12)], max_units=6, journal=tmp_path / "j.sqlite"
            )
            assert len(emu.tasks) == 2 and report.units == {"video": 6.0}
            for outcome in found:
                assert isinstance(outcome.error, BadResponse) and outcome.units == 3.0
                assert outcome.record is not None and outcome.resumed is resumed


async def test_a_lower_limit_binds_earlier_reservations(tmp_path: Path) -> None:
    """A create in doubt that a search does not find is not sent when the limit is lower by now."""
    journal = tmp_path / "jobs.sqlite"
    async with pair(seconds=20) as (emu, client):
        emu.fault("create", kind="hang", acts=False)
        async with client.batch([clip("a")], journal=journal, max_units=9):
            await until(lambda: emu.ledger.creates)
        await client.aclose()
        async with client_of(emu) as later:
            found, report = await run_and_report(later, [clip("a")], journal=journal, max_units=2)
            assert (found, report.stopped) == ([], "max_units") and emu.tasks == {}
            found, _ = await run_and_report(later, [clip("a")], journal=journal, max_units=3)
            assert found[0].ok and len(emu.tasks) == 1


@pytest.mark.parametrize("fault", [{"kind": "html", "status": 403}, {"code": 1001}])
async def test_a_refused_create_gives_its_units_back(fault: dict[str, Any], tmp_path: Path) -> None:
    """Any sure refusal gives the reserved units back."""
    async with pair(seconds=5) as (emu, client):
        emu.fault("create", times=3, **fault)
        requests = [clip(str(n)) for n in range(6)]
        found, report = await run_and_report(
            client, requests, max_units=9, journal=tmp_path / "j.sqlite", ahead=1
        )
        assert [o.ok for o in found].count(True) == 3 and report.units == {"video": 9.0}
        assert creates(emu) == 3


# -- unusual answers


@pytest.mark.parametrize("by_keys", [False, True])
async def test_one_stale_answer_loses_no_task(by_keys: bool, tmp_path: Path) -> None:
    """A task that the journal knows and some answers do not is asked for again."""
    async with pair(seconds=100) as (emu, client):
        async with client.batch([clip("a")], journal=tmp_path / "j.sqlite"):
            await until(lambda: emu.tasks)
            await settle()
        keys: dict[str, Any] = {"access_key": emu.access_key, "secret_key": emu.secret_key}
        not_found = {"code": 1201, "message": "Task not found by id/external id"}
        emu.fault("query", times=3, **not_found)
        async with client_of(emu, **(keys if by_keys else {})) as later:
            ((outcome,), _) = await run_and_report(later, [clip("a")], journal=tmp_path / "j.sqlite")
        assert outcome.ok
        assert len(emu.tasks) == 1


async def test_a_failure_that_cannot_be_journaled_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that breaks at the last step gives the outcome and the reason."""
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


async def test_a_remembered_failure_does_not_raise(tmp_path: Path) -> None:
    """`on_error="raise"` does not raise failures of earlier runs."""
    async with pair(seconds=50) as (emu, client):
        async with client.batch([clip("a")], journal=tmp_path / "j.sqlite") as results:
            await until(lambda: emu.tasks)
            emu.finish(next(iter(emu.tasks)), "failed", "invalid image format")
            await remaining(results)
        found, report = await run_and_report(
            client, [clip("a"), clip("b")], journal=tmp_path / "j.sqlite", on_error="raise"
        )
        assert [o.ok for o in found] == [False, True] and report.stopped == ""


async def test_results_without_files_are_finished(tmp_path: Path) -> None:
    """A raw task has no files, and is finished without any."""
    raw = RawTask(path="/v1/images/generations", body={"prompt": "x"}, pool="image")
    async with pair(seconds=5) as (emu, client):
        for resumed in (False, True):
            found, _ = await run_and_report(
                client, [raw], journal=tmp_path / "j.sqlite", download_to=tmp_path / "out"
            )
            assert found[0].ok and found[0].files == () and found[0].resumed is resumed
        assert len(emu.tasks) == 1


async def test_a_file_that_changes_while_its_job_queues_is_another_request(tmp_path: Path) -> None:
    """A file that changes while its job queues is not sent; the next run makes the new content once."""
    picture = tmp_path / "in.png"
    picture.write_bytes(png(320, 320))
    requests = [still("first"), still("x", image=media(picture))]
    async with pair({"image": 1}, seconds=50, client={"limits": {"image": 1}}) as (emu, client):
        async with client.batch(requests, journal=tmp_path / "j.sqlite") as results:
            await until(lambda: emu.tasks)
            await settle()
            picture.write_bytes(png(320, 321))
            found = await remaining(results)
        assert found[0].ok and isinstance(found[1].error, RequestInvalid)
        assert "has changed" in str(found[1].error) and creates(emu) == 1
        for _ in range(2):
            found, _ = await run_and_report(client, requests, journal=tmp_path / "j.sqlite")
            assert all(o.ok for o in found) and creates(emu) == 2


# -- refusals and doubt


async def test_a_lip_sync_refused_by_a_full_account_is_made_later(tmp_path: Path) -> None:
    """At an endpoint without search by id, a sure refusal leaves no doubt, also after a kill."""
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
            entries = [entry async for entry in results._journal.entries()]
            assert [entry.times.planned for entry in entries] == [None]  # as a kill would leave it
        emu.set_foreign("video", 0)
        found, _ = await run_and_report(client, [request], journal=journal)
        assert found[0].ok, found[0].error


async def test_a_search_is_no_attempt(tmp_path: Path) -> None:
    """A search for an earlier run's create does not count as an attempt."""
    journal = tmp_path / "j.sqlite"
    async with pair(seconds=20) as (emu, client):
        emu.fault("create", kind="hang", acts=False)
        async with client.batch([clip("a")], journal=journal):
            await until(lambda: emu.ledger.creates)
        await client.aclose()
        async with client_of(emu, retry=Retry(max_tries=1)) as later:
            found, _ = await run_and_report(later, [clip("a")], journal=journal)
        assert found[0].ok and len(emu.tasks) == 1


async def test_an_unresolved_create_holds_its_slots_once(tmp_path: Path) -> None:
    """A create unresolved in several runs holds its slots once, until it is resolved."""
    journal = tmp_path / "j.sqlite"
    async with pair(seconds=20) as (emu, client):
        emu.fault("create", kind="lost_before", times=1)
        emu.fault("query", status=400, code=1200, times=None)
        for _ in range(3):
            ((outcome,), _) = await run_and_report(client, [clip("a")], journal=journal)
            assert isinstance(outcome.error, AmbiguousCreate)
            assert client.account.limits()["video"].held == len(client.unresolved()) == 1
        emu.faults.clear()
        await until(lambda: not client.unresolved(), 10_000)
        assert client.account.limits()["video"].held == 0


# -- the report


async def test_creates_on_their_way_count_as_running() -> None:
    """The report counts creates on their way as running."""
    async with pair(seconds=100) as (emu, client):
        emu.fault("create", kind="slow", seconds=10, times=None)
        async with client.batch([clip("a"), clip("b")]) as results:
            await until(lambda: len(emu.tasks) == 2)
        assert results.report.running == 2 and "will be billed" in results.report.advice


async def test_after_closing_the_client_running_tasks_are_counted() -> None:
    """After the client was closed, the report counts the tasks that run on."""
    async with pair({"video": 2}, seconds=100, client={"limits": {"video": 2}}) as (emu, client):
        async with client.batch([clip(str(n)) for n in range(5)]) as results:
            await until(lambda: len(emu.tasks) == 2)
            await settle()
            await client.aclose()
        assert results.report.running == 2


async def test_leaving_after_the_last_outcome_leaves_nothing_to_do() -> None:
    """A batch left after its last outcome has no reason and no advice."""
    async with pair(seconds=5) as (_, client):
        async with client.batch([clip("a")]) as results:
            assert (await anext(results)).ok
        assert (results.report.stopped, results.report.advice) == ("", "")


async def test_invalid_requests_have_their_own_advice() -> None:
    """For invalid requests the advice is to change them, not to run again."""
    async with pair(seconds=5) as (_, client):
        _, report = await run_and_report(client, [clip(""), clip("good")])
        assert report.advice == "1 refused unsent: their errors name what to change."
        _, report = await run_and_report(client, [clip("a")], max_units=1)
        assert report.stopped == "max_units"


async def test_an_unusable_folder_is_refused_before_anything_is_paid(tmp_path: Path) -> None:
    """A folder that cannot be made is an error before anything is paid."""
    (tmp_path / "out").write_text("a file")
    async with pair(seconds=5) as (emu, client):
        with pytest.raises(RequestInvalid, match=r"download_to: .* cannot be used"):
            await run_and_report(client, [clip("a")], download_to=tmp_path / "out")
        assert emu.ledger.rows == []


async def test_a_full_disk_ends_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk ends the batch; the next run fetches what was made, and pays nothing twice."""
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
                    await remaining(results)
            assert results.report.stopped == "disk" and "run the same again" in results.report.advice
        made = len(emu.tasks)
        assert made < 10
        found, _ = await run_and_report(client, requests, **options)
        assert all(o.ok for o in found) and len(emu.tasks) == 60
        assert len(list((tmp_path / "out").glob("*.mp4"))) == 60


async def test_after_a_dry_run_the_same_batch_can_be_entered(tmp_path: Path) -> None:
    """After a dry run, and after a journal that was in use, the same batch can be entered."""
    journal = tmp_path / "j.sqlite"
    async with pair(seconds=5) as (_, client):
        batch = client.batch([clip("a")], journal=journal)
        assert (await batch.dry_run()).jobs == 1
        async with client.batch([], journal=journal):
            with pytest.raises(JournalError, match="another process holds it"):
                await batch.__aenter__()
        async with batch as results:
            assert [o.ok for o in await remaining(results)] == [True]

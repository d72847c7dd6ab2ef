"""Test later runs of a journal: refused creates, failures, other keys, files and names."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import AmbiguousCreate, OutOfUnits, RequestInvalid, TaskFailed, TaskNotFound
from tests.e2e.batches import creates, run_and_report, run_batch
from tests.support import client_of, clip, pair, settle, still, until

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async import Client
    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio


def searches(emu: Emulator) -> int:
    return len([row for row in emu.ledger.rows if row.kind == "query" and row.code != 0])


# -- refused creates


async def test_a_refused_create_is_not_searched_for(tmp_path: Path) -> None:
    """A create refused by a full account is sent by the next run without a search, under the same id."""
    async with pair({"video": 1}, seconds=40, client={"limits": {"video": 3}}) as (emu, client):
        requests = [clip("a"), clip("b"), clip("c")]
        async with client.batch(requests, journal=tmp_path / "jobs.sqlite"):
            await until(lambda: len([row for row in emu.ledger.creates if row.code == 1303]) >= 2)
            await settle()
        refused = {row.external_task_id for row in emu.ledger.creates if row.code == 1303}
        async with client_of(emu, limits={"video": 1}) as later:
            found = await run_batch(later, requests, tmp_path)
        assert all(o.ok for o in found) and creates(emu) == 3 and searches(emu) == 0
        assert refused <= {task.external_task_id for task in emu.tasks.values()}


async def test_a_closed_account_leaves_no_doubt(tmp_path: Path) -> None:
    """A create refused for lack of units leaves no doubt and no reservation."""
    async with pair(seconds=5) as (emu, client):
        emu.fault("create", code=1102, times=1)
        with pytest.raises(OutOfUnits):
            await run_batch(client, [clip("a")], tmp_path, max_units=3)
        async with client_of(emu) as later:
            (outcome,) = await run_batch(later, [clip("a")], tmp_path, max_units=3)
        assert outcome.ok and creates(emu) == 1 and searches(emu) == 0


# -- failures


async def fail_first(emu: Emulator, client: Client, folder: Path, reason: str) -> Any:
    """Run a batch of one job whose task fails."""
    async with client.batch([clip("a")], journal=folder / "jobs.sqlite") as results:
        await until(lambda: emu.tasks)
        emu.finish(next(iter(emu.tasks)), "failed", reason)
        return await anext(results)


async def test_a_failure_of_an_earlier_run_is_retried_within_retries(tmp_path: Path) -> None:
    """A run with ``retries`` makes an earlier failure's task anew, once; one without reports the failure."""
    async with pair(seconds=20) as (emu, client):
        first = await fail_first(emu, client, tmp_path, "internal error, please retry")
        assert isinstance(first.error, TaskFailed)
        (told,) = await run_batch(client, [clip("a")], tmp_path)
        assert isinstance(told.error, TaskFailed) and told.resumed and creates(emu) == 1
        (again,) = await run_batch(client, [clip("a")], tmp_path, retries=1)
        assert again.ok and (again.attempts, again.resumed) == (2, False) and creates(emu) == 2
        (done,) = await run_batch(client, [clip("a")], tmp_path, retries=1)
        assert done.ok and done.resumed and creates(emu) == 2
        assert len({task.external_task_id for task in emu.tasks.values()}) == 2


async def test_moderation_is_never_retried(tmp_path: Path) -> None:
    """A moderated task is never made again, whatever ``retries`` a later run has."""
    async with pair(seconds=20) as (emu, client):
        await fail_first(emu, client, tmp_path, "Failure to pass the risk control system")
        (told,) = await run_batch(client, [clip("a")], tmp_path, retries=5)
        assert isinstance(told.error, TaskFailed) and creates(emu) == 1


async def test_a_retry_needs_units(tmp_path: Path) -> None:
    """A retry needs units of its own."""
    async with pair(seconds=20) as (emu, client):
        await fail_first(emu, client, tmp_path, "internal error")
        async with client.batch(
            [clip("a")], journal=tmp_path / "jobs.sqlite", retries=1, max_units=2
        ) as results:
            assert [o async for o in results] == []
        assert results.report.stopped == "max_units" and creates(emu) == 1


# -- another key


async def test_tasks_of_another_account_are_left_alone(tmp_path: Path) -> None:
    """Under another account's key, running tasks are reported and left; the right key finishes them."""
    async with pair(seconds=50) as (emu, client):
        async with client.batch([clip("a")], journal=tmp_path / "jobs.sqlite"):
            await until(lambda: creates(emu) == 1)
            await settle()
        async with pair(seconds=5, api_key="another-key") as (other, stranger):
            (lost,) = await run_batch(stranger, [clip("a")], tmp_path)
            assert isinstance(lost.error, TaskNotFound) and "another key" in str(lost.error)
            assert other.tasks == {}
        async with client_of(emu) as later:
            (found,) = await run_batch(later, [clip("a")], tmp_path)
        assert found.ok and creates(emu) == 1


async def test_a_create_in_doubt_is_not_sent_on_another_account(tmp_path: Path) -> None:
    """A create in doubt on one account is not sent on another; on the first one it is adopted."""
    async with pair(seconds=50) as (emu, client):
        emu.fault("create", kind="hang", acts=True)
        async with client.batch([clip("a")], journal=tmp_path / "jobs.sqlite"):
            await until(lambda: emu.tasks)
        await client.aclose()
        async with pair(seconds=5, api_key="another-key") as (other, stranger):
            (open_,) = await run_batch(stranger, [clip("a")], tmp_path)
            assert isinstance(open_.error, AmbiguousCreate) and "another key" in str(open_.error)
            assert other.tasks == {} and stranger.unresolved() == []
            assert stranger.account.limits()["video"].held == 0
        keys = {"access_key": emu.access_key, "secret_key": emu.secret_key}
        async with client_of(emu, **keys) as rotated:
            (found,) = await run_batch(rotated, [clip("a")], tmp_path)
        assert found.ok and len(emu.tasks) == 1


async def test_an_unsent_create_is_made_on_another_account(tmp_path: Path) -> None:
    """A create refused by one account is made by another."""
    async with pair(seconds=5) as (emu, client):
        emu.fault("create", code=1102, times=1)
        with pytest.raises(OutOfUnits):
            await run_batch(client, [clip("a")], tmp_path)
        async with pair(seconds=5, api_key="another-key") as (other, stranger):
            (made,) = await run_batch(stranger, [clip("a")], tmp_path)
            assert made.ok and len(other.tasks) == 1
        assert emu.tasks == {}


# -- files


async def test_missing_files_are_fetched_again(tmp_path: Path) -> None:
    """Missing or changed files are fetched again, unless ``refetch=False``; nothing is made."""
    folder = tmp_path / "out"
    requests = [("a", clip("a")), ("b", clip("b")), ("c", clip("c"))]
    async with pair(seconds=5) as (emu, client):
        first = await run_batch(client, requests, tmp_path, download_to=folder, name="{key}")
        whole = [o.files[0].read_bytes() for o in first]
        first[0].files[0].unlink()
        first[1].files[0].write_bytes(b"short")
        asked = len(emu.ledger.rows)
        kept = await run_batch(client, requests, tmp_path, download_to=folder, name="{key}", refetch=False)
        assert [o.resumed for o in kept] == [True] * 3 and len(emu.ledger.rows) == asked
        second = await run_batch(client, requests, tmp_path, download_to=folder, name="{key}")
        assert [o.resumed for o in second] == [False, False, True]
        assert [o.files[0].read_bytes() for o in second] == whole and creates(emu) == 3
        assert [o.units for o in second] == [o.units for o in first]
        third = await run_batch(client, requests, tmp_path, download_to=folder, name="{key}")
        assert [o.resumed for o in third] == [True] * 3


async def test_another_folder_gets_its_own_files(tmp_path: Path) -> None:
    """With another folder, the files are fetched into it."""
    async with pair(seconds=5) as (emu, client):
        for name in ("one", "two"):
            (outcome,) = await run_batch(client, [still()], tmp_path, download_to=tmp_path / name)
            assert outcome.files[0].parent == tmp_path / name and outcome.files[0].exists()
        assert creates(emu) == 1


async def test_a_key_s_older_request_is_not_answered_with_its_newer_file(tmp_path: Path) -> None:
    """One name, two requests in turn: both files stay, and each request is answered with its own."""
    folder = tmp_path / "out"
    options = {"download_to": folder, "name": "{key}"}
    async with pair(seconds=5) as (emu, client):
        (old,) = await run_batch(client, [("k", still("old", aspect_ratio="1:1"))], tmp_path, **options)
        first = old.files[0].read_bytes()
        (new,) = await run_batch(client, [("k", still("new", aspect_ratio="16:9"))], tmp_path, **options)
        assert new.files[0] == folder / "k-2.png" and new.files[0].read_bytes() != first
        (back,) = await run_batch(client, [("k", still("old", aspect_ratio="1:1"))], tmp_path, **options)
        assert back.files == old.files and back.files[0].read_bytes() == first and creates(emu) == 2


# -- names


async def test_files_of_another_order_do_not_collide(tmp_path: Path) -> None:
    """An input that grew at its front replaces no file of an earlier run."""
    options = {"download_to": tmp_path / "out", "name": "{index}"}
    async with pair(seconds=5) as (emu, client):
        ends: dict[str, bytes] = {}
        for prompts in ("ab", "cab", "dcab", "abcd"):
            found = await run_batch(client, [still(p, n=ord(p) - 96) for p in prompts], tmp_path, **options)
            for prompt, outcome in zip(prompts, found, strict=True):
                assert outcome.ok and len(outcome.files) == ord(prompt) - 96
                data = b"".join(file.read_bytes() for file in outcome.files)
                assert ends.setdefault(prompt, data) == data
        assert creates(emu) == 4 and len({file.name for file in (tmp_path / "out").iterdir()}) == 10
        assert {"0.png", "1-0.png", "1-1.png"} <= {file.name for file in (tmp_path / "out").iterdir()}


# -- invalid requests


async def test_one_bad_item_fails_alone(tmp_path: Path) -> None:
    """Each invalid request or key gives its own error; the others are made."""
    bad: list[Any] = [
        ("a\ud800", clip("a")),
        clip("b", extra={"odd": object()}),
        ("", clip("c")),
        clip("d\ud800"),
        clip(5),  # type: ignore[arg-type]
    ]
    says = ["surrogate", "cannot be sent as JSON", "must be a text", "half a character", "must be text"]
    for journal in (tmp_path / "jobs.sqlite", None):
        async with pair(seconds=5) as (emu, client):
            async with client.batch([*bad, clip("good")], journal=journal) as results:
                found = sorted([o async for o in results], key=lambda o: o.position)
            for outcome, text in zip(found, says, strict=False):
                assert isinstance(outcome.error, RequestInvalid) and text in str(outcome.error)
            assert found[-1].ok and creates(emu) == 1
            assert (results.report.failed, results.report.stopped) == (5, "")


# -- dry run


async def test_a_dry_run_counts_by_what_is_left(tmp_path: Path) -> None:
    """A dry run counts done, fetched, running and refused jobs; only new tasks cost."""
    requests = [clip("done"), clip("running"), clip("new"), clip("")]
    async with pair(seconds=5, slots={"video": 5, "image": 9}) as (emu, client):
        await run_batch(client, requests[:1], tmp_path)
        emu.set_duration(1000)
        async with client.batch(requests[:2], journal=tmp_path / "jobs.sqlite"):
            await until(lambda: creates(emu) == 2)
            await settle()
        plan = await client.batch(requests, journal=tmp_path / "jobs.sqlite").dry_run()
        assert (plan.jobs, plan.done, plan.fetched, plan.running, plan.refused) == (4, 1, 0, 1, 1)
        assert plan.units == {"video": 3.0} and plan.problems == (
            "requests[3]: TextToVideo: prompt: must not be empty",
        )
        files: dict[str, Any] = {"journal": tmp_path / "jobs.sqlite", "download_to": tmp_path / "out"}
        plan = await client.batch(requests, **files).dry_run()
        assert (plan.done, plan.fetched) == (0, 1) and creates(emu) == 2


async def test_a_dry_run_makes_nothing_on_the_disk(tmp_path: Path) -> None:
    """Before the first run there is no journal: a dry run makes none, nor its folder; then the batch does."""
    journal = tmp_path / "new" / "jobs.sqlite"
    options: dict[str, Any] = {"journal": journal, "download_to": tmp_path / "out"}
    async with pair(seconds=5) as (emu, client):
        batch = client.batch([clip("a"), clip("a"), still()], **options)
        plan = await batch.dry_run()
        assert (plan.jobs, plan.unclaimed, plan.refused, creates(emu)) == (3, 0, 0, 0)
        assert not list(tmp_path.iterdir())  # noqa: ASYNC240 - a local folder
        async with batch as results:
            assert [outcome.ok async for outcome in results] == [True] * 3
        assert journal.exists()
        again = await client.batch([clip("a"), clip("a"), still()], **options).dry_run()
        assert (again.jobs, again.done) == (3, 3)


async def test_a_dry_run_asks_for_the_account_s_limit() -> None:
    """A dry run asks for the packs once where no limit is given, and computes with it."""
    async with pair({"video": 20}, seconds=5) as (emu, client):
        requests = [clip(str(n)) for n in range(100)]
        plan = await client.batch(requests).dry_run()
        assert client.account.limits()["video"].limit == 20
        assert len(emu.ledger.rows) == 1
        await client.batch(requests).dry_run()
        assert len(emu.ledger.rows) == 1
    async with pair({"video": 20}, seconds=5, client={"limits": {"video": 5}}) as (emu, client):
        slower = await client.batch(requests).dry_run()
        assert emu.ledger.rows == [] and slower.seconds == pytest.approx(4 * plan.seconds, rel=0.01)


async def test_an_entered_batch_has_no_dry_run() -> None:
    """A batch that was entered refuses a dry run."""
    async with pair(seconds=5) as (_, client), client.batch([clip("a")]) as results:
        with pytest.raises(RuntimeError, match="no dry run"):
            await results.dry_run()
        assert [o.ok async for o in results] == [True]
    await asyncio.sleep(0)


# -- jobs that the input no longer names


async def test_jobs_that_the_input_no_longer_names_are_told(tmp_path: Path) -> None:
    """A mended prompt is another job: the old one is counted, and its id told while it is unfinished."""
    async with pair(seconds=50) as (emu, client):
        await run_batch(client, [clip("done")], tmp_path)
        async with client.batch([clip("typpo"), clip("b")], journal=tmp_path / "jobs.sqlite"):
            await until(lambda: creates(emu) == 3)
            await settle()
        (running,) = (name for name, task in emu.tasks.items() if task.body["prompt"] == "typpo")
        requests = [clip("typo"), clip("b")]
        batch = client.batch(requests, journal=tmp_path / "jobs.sqlite")
        assert (await batch.dry_run()).unclaimed == 2
        async with client.batch(requests, journal=tmp_path / "jobs.sqlite") as results:
            assert len([outcome async for outcome in results]) == 2
        assert (results.report.unclaimed, results.report.unclaimed_running) == (2, (running,))
        assert creates(emu) == 4
        _, report = await run_and_report(client, [clip("done"), clip("typpo"), *requests], tmp_path)
        assert (report.unclaimed, report.unclaimed_running, creates(emu)) == (0, (), 4)


# -- rows and results


async def test_an_outcome_is_a_row_and_keeps_a_paid_result(tmp_path: Path) -> None:
    """The row holds JSON types alone; a result is there though its file could not be stored."""
    async with pair(seconds=20) as (emu, client):
        (good,) = await run_batch(client, [("k", clip("a"))], label="night", download_to=tmp_path)
        row = good.row()
        assert json.loads(json.dumps(row)) == row
        assert (row["key"], row["position"], row["status"], row["units"]) == ("k", 0, "succeeded", 3.0)
        assert (row["label"], row["files"], row["error"]) == ("night", [str(good.files[0])], None)
        assert row["seconds"] == round(good.seconds, 3) >= 20
        emu.fault("media", status=404, times=None)
        (bad,) = await run_batch(client, [clip("b")], download_to=tmp_path)
        assert not bad.ok and bad.result is not None and bad.result.videos[0].url
        assert (bad.row()["status"], bad.row()["error"]) == ("failed", type(bad.error).__name__)
        emu.faults.clear()

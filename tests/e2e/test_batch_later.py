"""What a later run makes of what an earlier one left: refused creates, failures, other keys, files, names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import AmbiguousCreate, JobFailed, OutOfUnits, RequestInvalid, TaskFailed, TaskNotFound
from tests.e2e.batches import creates, go
from tests.support import client_of, clip, pair, settle, still, until

if TYPE_CHECKING:
    from pathlib import Path

    from kling_async import Client
    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio


def searches(emu: Emulator) -> int:
    return len([row for row in emu.ledger.rows if row.kind == "query" and row.code != 0])


# -- refused creates


async def test_what_was_only_refused_is_not_searched_for(tmp_path: Path) -> None:
    """The account was full, then the batch was left: the next run sends at once, under the same id."""
    async with pair({"video": 1}, seconds=40, client={"limits": {"video": 3}}) as (emu, client):
        requests = [clip("a"), clip("b"), clip("c")]
        async with client.batch(requests, journal=tmp_path / "jobs.sqlite"):
            await until(lambda: len([row for row in emu.ledger.creates if row.code == 1303]) >= 2)
            await settle()
        refused = {row.external_task_id for row in emu.ledger.creates if row.code == 1303}
        async with client_of(emu, limits={"video": 1}) as later:
            found = await go(later, requests, tmp_path)
        assert all(o.ok for o in found) and creates(emu) == 3 and searches(emu) == 0
        assert refused <= {task.external_task_id for task in emu.tasks.values()}


async def test_a_closed_account_leaves_no_doubt(tmp_path: Path) -> None:
    """Out of units: nothing was made, nothing stays set aside, the next run just makes it."""
    async with pair(seconds=5) as (emu, client):
        emu.fault("create", code=1102, times=1)
        with pytest.raises(OutOfUnits):
            await go(client, [clip("a")], tmp_path, max_units=3)
        async with client_of(emu) as later:
            (outcome,) = await go(later, [clip("a")], tmp_path, max_units=3)
        assert outcome.ok and creates(emu) == 1 and searches(emu) == 0


# -- failures


async def fail_first(emu: Emulator, client: Client, folder: Path, reason: str) -> Any:
    """Run a batch of one whose task fails."""
    async with client.batch([clip("a")], journal=folder / "jobs.sqlite") as results:
        await until(lambda: emu.tasks)
        emu.finish(next(iter(emu.tasks)), "failed", reason)
        return await anext(results)


async def test_a_failure_of_an_earlier_run_is_tried_again_when_asked(tmp_path: Path) -> None:
    """Under a new external id, once; a run that does not ask is told what it was."""
    async with pair(seconds=20) as (emu, client):
        first = await fail_first(emu, client, tmp_path, "internal error, please retry")
        assert isinstance(first.error, TaskFailed)
        (told,) = await go(client, [clip("a")], tmp_path)
        assert isinstance(told.error, JobFailed) and told.resumed and creates(emu) == 1
        (again,) = await go(client, [clip("a")], tmp_path, retries=1)
        assert again.ok and (again.attempts, again.resumed) == (2, False) and creates(emu) == 2
        (done,) = await go(client, [clip("a")], tmp_path, retries=1)
        assert done.ok and done.resumed and creates(emu) == 2
        assert len({task.external_task_id for task in emu.tasks.values()}) == 2


async def test_moderation_is_never_tried_again(tmp_path: Path) -> None:
    """However many retries a later run allows."""
    async with pair(seconds=20) as (emu, client):
        await fail_first(emu, client, tmp_path, "Failure to pass the risk control system")
        (told,) = await go(client, [clip("a")], tmp_path, retries=5)
        assert isinstance(told.error, JobFailed) and creates(emu) == 1


async def test_what_is_tried_again_must_be_afforded(tmp_path: Path) -> None:
    """A new task costs anew: what does not fit is not made."""
    async with pair(seconds=20) as (emu, client):
        await fail_first(emu, client, tmp_path, "internal error")
        async with client.batch(
            [clip("a")], journal=tmp_path / "jobs.sqlite", retries=1, max_units=2
        ) as results:
            assert [o async for o in results] == []
        assert results.report.stopped == "max_units" and creates(emu) == 1


# -- another key


async def test_another_account_s_tasks_are_not_spoilt(tmp_path: Path) -> None:
    """Its key does not find them: told so, left as they are, and finished under the right key."""
    async with pair(seconds=50) as (emu, client):
        async with client.batch([clip("a")], journal=tmp_path / "jobs.sqlite"):
            await until(lambda: creates(emu) == 1)
            await settle()
        async with pair(seconds=5, api_key="another-key") as (other, stranger):
            (lost,) = await go(stranger, [clip("a")], tmp_path)
            assert isinstance(lost.error, TaskNotFound) and "another key" in str(lost.error)
            assert other.tasks == {}
        async with client_of(emu) as later:
            (found,) = await go(later, [clip("a")], tmp_path)
        assert found.ok and creates(emu) == 1


async def test_another_account_does_not_buy_what_is_in_doubt(tmp_path: Path) -> None:
    """It may have been bought on the first one; only that one can tell. Found there, it is adopted."""
    async with pair(seconds=50) as (emu, client):
        emu.fault("create", kind="hang", acts=True)
        async with client.batch([clip("a")], journal=tmp_path / "jobs.sqlite"):
            await until(lambda: emu.tasks)
        await client.aclose()
        async with pair(seconds=5, api_key="another-key") as (other, stranger):
            (open_,) = await go(stranger, [clip("a")], tmp_path)
            assert isinstance(open_.error, AmbiguousCreate) and "another key" in str(open_.error)
            assert other.tasks == {} and stranger.unresolved() == []
            assert stranger.account.limits()["video"].held == 0
        keys = {"access_key": emu.access_key, "secret_key": emu.secret_key}
        async with client_of(emu, **keys) as rotated:
            (found,) = await go(rotated, [clip("a")], tmp_path)
        assert found.ok and len(emu.tasks) == 1


async def test_another_account_makes_what_nobody_sent(tmp_path: Path) -> None:
    """Refused by the first account, it is made by the second."""
    async with pair(seconds=5) as (emu, client):
        emu.fault("create", code=1102, times=1)
        with pytest.raises(OutOfUnits):
            await go(client, [clip("a")], tmp_path)
        async with pair(seconds=5, api_key="another-key") as (other, stranger):
            (made,) = await go(stranger, [clip("a")], tmp_path)
            assert made.ok and len(other.tasks) == 1
        assert emu.tasks == {}


# -- files


async def test_files_that_are_gone_are_fetched_again(tmp_path: Path) -> None:
    """Or of another length; nothing is made, the others are not asked for. Unless they were moved."""
    folder = tmp_path / "out"
    requests = [("a", clip("a")), ("b", clip("b")), ("c", clip("c"))]
    async with pair(seconds=5) as (emu, client):
        first = await go(client, requests, tmp_path, download_to=folder, name="{key}")
        whole = [o.files[0].read_bytes() for o in first]
        first[0].files[0].unlink()
        first[1].files[0].write_bytes(b"short")
        asked = len(emu.ledger.rows)
        kept = await go(client, requests, tmp_path, download_to=folder, name="{key}", refetch=False)
        assert [o.resumed for o in kept] == [True] * 3 and len(emu.ledger.rows) == asked
        second = await go(client, requests, tmp_path, download_to=folder, name="{key}")
        assert [o.resumed for o in second] == [False, False, True]
        assert [o.files[0].read_bytes() for o in second] == whole and creates(emu) == 3
        assert [o.units for o in second] == [o.units for o in first]
        third = await go(client, requests, tmp_path, download_to=folder, name="{key}")
        assert [o.resumed for o in third] == [True] * 3


async def test_another_folder_gets_files_of_its_own(tmp_path: Path) -> None:
    """What is said to lie there lies there."""
    async with pair(seconds=5) as (emu, client):
        for name in ("one", "two"):
            (outcome,) = await go(client, [still()], tmp_path, download_to=tmp_path / name)
            assert outcome.files[0].parent == tmp_path / name and outcome.files[0].exists()
        assert creates(emu) == 1


async def test_a_key_s_older_request_is_not_answered_with_its_newer_file(tmp_path: Path) -> None:
    """One name, two requests in turn: the file that lies there is the one of the request asked for."""
    folder = tmp_path / "out"
    options = {"download_to": folder, "name": "{key}"}
    async with pair(seconds=5) as (emu, client):
        (old,) = await go(client, [("k", still("old", aspect_ratio="1:1"))], tmp_path, **options)
        first = old.files[0].read_bytes()
        (new,) = await go(client, [("k", still("new", aspect_ratio="16:9"))], tmp_path, **options)
        assert new.files[0] == old.files[0] and new.files[0].read_bytes() != first
        (back,) = await go(client, [("k", still("old", aspect_ratio="1:1"))], tmp_path, **options)
        assert back.files[0].read_bytes() == first and creates(emu) == 2


# -- names


async def test_places_of_another_order_do_not_meet(tmp_path: Path) -> None:
    """An input that grew at its front: nobody's file takes the place of another's, run after run."""
    options = {"download_to": tmp_path / "out", "name": "{index}"}
    async with pair(seconds=5) as (emu, client):
        ends: dict[str, bytes] = {}
        for prompts in ("ab", "cab", "dcab", "abcd"):
            found = await go(client, [still(p, n=ord(p) - 96) for p in prompts], tmp_path, **options)
            for prompt, outcome in zip(prompts, found, strict=True):
                assert outcome.ok and len(outcome.files) == ord(prompt) - 96
                data = b"".join(file.read_bytes() for file in outcome.files)
                assert ends.setdefault(prompt, data) == data
        assert creates(emu) == 4 and len({file.name for file in (tmp_path / "out").iterdir()}) == 10
        assert {"0.png", "1-0.png", "1-1.png"} <= {file.name for file in (tmp_path / "out").iterdir()}


# -- bad items


async def test_one_bad_item_fails_alone(tmp_path: Path) -> None:
    """A key that no file can hold, a body that is no JSON, half a character: each names its fault."""
    bad: list[Any] = [
        ("a\ud800", clip("a")),
        clip("b", extra={"odd": object()}),
        ("", clip("c")),
        clip("d\ud800"),
        clip(5),  # type: ignore[arg-type]
    ]
    says = ["surrogate", "cannot be sent as JSON", "must be a text", "half a character", "must be a text"]
    for journal in (tmp_path / "jobs.sqlite", None):
        async with pair(seconds=5) as (emu, client):
            async with client.batch([*bad, clip("good")], journal=journal) as results:
                found = sorted([o async for o in results], key=lambda o: o.position)
            for outcome, text in zip(found, says, strict=False):
                assert isinstance(outcome.error, RequestInvalid) and text in str(outcome.error)
            assert found[-1].ok and creates(emu) == 1
            assert (results.report.failed, results.report.stopped) == (5, "")


# -- dry run


async def test_a_dry_run_tells_apart_what_is_left(tmp_path: Path) -> None:
    """Done, without files, running, refused: only what is to be made costs."""
    requests = [clip("done"), clip("running"), clip("new"), clip("")]
    async with pair(seconds=5, slots={"video": 5, "image": 9}) as (emu, client):
        await go(client, requests[:1], tmp_path)
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


async def test_a_dry_run_asks_for_the_account_s_limit() -> None:
    """Once, and only where nobody told it: twenty slots take a quarter of the time of five."""
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


async def test_a_batch_under_way_has_no_dry_run() -> None:
    """Its input is being read already."""
    async with pair(seconds=5) as (_, client), client.batch([clip("a")]) as results:
        with pytest.raises(RuntimeError, match="no dry run"):
            await results.dry_run()
        assert [o.ok async for o in results] == [True]
    await asyncio.sleep(0)

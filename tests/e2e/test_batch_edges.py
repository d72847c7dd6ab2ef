"""Test edges of a batch: creates found twice, exhausted budgets, broken inputs, billed attempts."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import Client, RequestInvalid, ResultExpired, Retry, TaskFailed
from kling_async.batch.job import JobRun
from kling_async.emulator.http import dispatch as emulator_dispatch
from tests.clock import new_event_loop
from tests.e2e.batches import creates, remaining, run_and_report, run_batch
from tests.support import client_of, clip, pair, settle, still, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio


# -- found twice


async def test_a_task_found_twice_is_one_task(tmp_path: Path) -> None:
    """A task found by two batches is one task, with one hold on its slots."""
    async with pair(seconds=1000) as (emu, client):
        emu.fault("create", kind="hang", acts=True)
        async with client.batch([clip("a")], journal=tmp_path / "jobs.sqlite"):
            await until(lambda: emu.tasks)
        async with client.batch([clip("a")], journal=tmp_path / "jobs.sqlite"):
            await asyncio.sleep(120)
        (outcome,) = await run_batch(client, [clip("a")], tmp_path)
        assert outcome.ok and len(emu.tasks) == 1
        assert client.account.limits()["video"].held == 0


@pytest.mark.parametrize("seed", range(12))
def test_unresolved_creates_are_looked_up_once_a_pause(seed: int) -> None:
    """Unresolved creates are looked up once a pause, whatever rounding does to timers."""

    async def hour() -> int:
        await asyncio.sleep(random.Random(seed).random() * 1000)
        async with pair(seconds=100) as (emu, client):
            emu.fault("create", kind="lost_before", times=None)
            emu.fault("query", status=400, code=1200, times=None)
            await run_batch(client, [clip("a")])
            await asyncio.wait_for(asyncio.sleep(3600), 4000)
            return len(emu.ledger.queries)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert 10 < runner.run(hour()) < 40


# -- units that run out


async def test_paid_jobs_have_outcomes_though_no_units_are_left(tmp_path: Path) -> None:
    """Out of units, paid jobs anywhere in the input give outcomes; new ones are skipped."""
    options: dict[str, Any] = {"max_units": 6}
    async with pair(seconds=50) as (emu, client):
        async with client.batch([clip("b"), clip("c")], journal=tmp_path / "jobs.sqlite", max_units=6):
            await until(lambda: creates(emu) == 2)
            await settle()
        for _ in range(2):
            found, report = await run_and_report(
                client, [clip("a"), clip("b"), clip("x"), clip("c")], tmp_path, **options
            )
            assert [(o.position, o.ok) for o in found] == [(1, True), (3, True)]
            assert report.stopped == "max_units" and "larger max_units" in report.advice
        assert creates(emu) == 2


async def test_an_endless_input_ends_when_the_units_do(tmp_path: Path) -> None:
    """Out of units, an endless input is read only as far as known jobs may stand."""
    read = 0

    def endless(first: int) -> Iterator[Any]:
        nonlocal read
        for read in range(first, 10**9):
            yield clip(f"no {read}")

    async with pair(seconds=5) as (emu, client):
        _, report = await run_and_report(client, endless(0), tmp_path, max_units=9)
        assert (creates(emu), report.stopped) == (3, "max_units") and read < 100
        found, report = await run_and_report(client, endless(1), tmp_path, max_units=9)
        assert len(found) == 2 and 1000 < read < 3000 and report.stopped == "max_units"


@asynccontextmanager
async def failing(emu: Emulator) -> AsyncIterator[None]:
    """Let every task fail after some seconds, for a reason that may not recur."""

    async def fail() -> None:
        while True:
            await asyncio.sleep(3)
            for name, task in emu.tasks.items():
                if task.status in ("submitted", "processing"):
                    emu.finish(name, "failed", "internal error")

    work = asyncio.create_task(fail())
    try:
        yield
    finally:
        work.cancel()


async def test_billed_attempts_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Billed failures count against the limit, and no attempt is made beyond it."""
    for look in ("as_unified", "as_queried"):
        real = getattr(emulator_dispatch, look)

        def billed(task: Any, *args: Any, real: Any = real) -> Any:
            data = real(task, *args)
            if task.status == "failed":
                data["final_unit_deduction"] = "3"
                data["billing"] = [{"charge_type": "unit", "amount": "3", "package_type": "video"}]
            return data

        monkeypatch.setattr(emulator_dispatch, look, billed)
    request = clip("a")
    async with pair(seconds=5000) as (emu, client), failing(emu):
        found, report = await run_and_report(client, [request], tmp_path, retries=5, max_units=7)
        assert len(emu.tasks) == 2 and report.units == {"video": 6.0} and report.stopped == "max_units"
        assert found == []  # a third task would be allowed, but not paid
        found, report = await run_and_report(client, [request], tmp_path, retries=5, max_units=9)
        assert len(emu.tasks) == 3 and report.units == {"video": 9.0}
        found, report = await run_and_report(client, [request], tmp_path, retries=2, max_units=9)
        (outcome,) = found
        assert outcome.units == 9.0 and len(emu.tasks) == 3


# -- stopped


async def test_a_lost_create_is_not_sent_again_after_a_stop(tmp_path: Path) -> None:
    """A lost create that a search does not find is not sent again after a stop."""
    async with pair(seconds=20) as (emu, client):
        emu.fault("create", kind="lost_before", times=1)
        async with client.batch([clip("a")], journal=tmp_path / "jobs.sqlite") as results:
            await until(lambda: emu.ledger.creates)
            results.stop()
            assert await remaining(results) == []
        assert emu.tasks == {} and len(emu.ledger.creates) == 1
        (outcome,) = await run_batch(client, [clip("a")], tmp_path)
        assert outcome.ok and len(emu.tasks) == 1


async def test_a_paid_job_has_an_outcome_after_a_stop(tmp_path: Path) -> None:
    """A paid job whose files are slow gives its outcome though the batch was stopped."""
    options: dict[str, Any] = {"client": {"retry": Retry(max_tries=1)}}
    async with pair(seconds=5, **options) as (emu, client):
        emu.fault("media", status=404, times=None)
        emu.fault("query", code=1302, status=429, times=None, skip=1)
        async with client.batch([clip("a")], download_to=tmp_path / "out") as results:
            await asyncio.sleep(8)
            results.stop()
            (outcome,) = await remaining(results)
        assert not outcome.ok and outcome.units == 3.0 and results.report.spent[0].units == 3.0
        emu.faults.clear()


# -- deleted files


@pytest.mark.parametrize("how", ["stop", "raise"])
async def test_deleted_files_stop_no_other_job(how: Any, tmp_path: Path) -> None:
    """Files that the vendor has deleted are an outcome each time; other jobs go on."""
    options: dict[str, Any] = {"download_to": tmp_path / "out", "on_error": how, "ahead": 1}
    async with pair(seconds=5) as (emu, client):
        (first,) = await run_batch(client, [clip("a")], tmp_path, **options)
        first.files[0].unlink()
        await asyncio.sleep(31 * 86400)
        found, report = await run_and_report(client, [clip("a"), clip("b")], tmp_path, **options)
        assert isinstance(found[0].error, ResultExpired) and found[0].files == () and found[0].resumed
        assert found[1].ok and creates(emu) == 2 and (report.stopped, report.advice) == ("", "")


async def test_a_failed_refetch_is_left_for_the_next_run(tmp_path: Path) -> None:
    """A refetch that failed for now leaves the advice to run again."""
    options: dict[str, Any] = {"download_to": tmp_path / "out"}
    async with pair(seconds=5, client={"retry": Retry(max_tries=1)}) as (emu, client):
        (first,) = await run_batch(client, [clip("a")], tmp_path, **options)
        first.files[0].unlink()
        emu.fault("media", status=503, times=None)
        (found,), report = await run_and_report(client, [clip("a")], tmp_path, **options)
        assert not found.ok and "run the same again" in report.advice
        emu.faults.clear()
        (found,), report = await run_and_report(client, [clip("a")], tmp_path, **options)
        assert found.ok and found.files[0].exists() and report.advice == ""


# -- inputs that break


class OddError(BaseException):
    """An error that is no Exception."""


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("error", [OddError, asyncio.CancelledError])
async def test_any_error_of_the_input_is_raised(error: type[BaseException], later: bool) -> None:
    """Any error of the input is raised at the end, whatever its type."""

    def broken() -> Iterator[Any]:
        yield clip("a")
        raise error

    async def broken_later() -> AsyncIterator[Any]:
        for value in broken():
            yield value

    async with pair(seconds=5) as (_, client):
        async with client.batch(broken_later() if later else broken()) as results:
            assert (await anext(results)).ok
            with pytest.raises(RuntimeError, match="input"):
                await asyncio.wait_for(anext(results), 1000)
        assert results.report.stopped == "input"


# -- the report


async def test_the_report_is_complete_at_the_last_outcome() -> None:
    """While the last outcome is handled, the report counts every job as done."""
    async with pair(seconds=5) as (_, client), client.batch([clip("a")]) as results:
        async for _ in results:
            assert (results.report.done, results.report.advice) == (1, "")


async def test_a_create_of_unknown_fate_is_counted_once() -> None:
    """A create of unknown fate is counted once, during the batch and after it."""
    async with pair(seconds=5) as (emu, client):
        emu.fault("create", kind="lost_before")
        emu.fault("query", status=400, code=1200, times=None)
        async with client.batch([clip("a")]) as results:
            (outcome,) = await remaining(results)
            assert not outcome.ok and results.report.running == 1
        assert results.report.running == 1


async def test_each_attempt_of_a_failed_job_is_counted() -> None:
    """Bill and outcome count each attempt of a failed job."""
    async with pair(seconds=5000) as (emu, client), failing(emu):
        (outcome,), report = await run_and_report(client, [clip("a")], retries=2)
        assert isinstance(outcome.error, TaskFailed) and outcome.attempts == report.spent[0].tasks == 3


@pytest.mark.parametrize("units", [-5, float("nan"), "3", True])
async def test_a_price_that_is_no_amount_is_refused(units: Any) -> None:
    """A price that is no number of units is the outcome of its request alone, before anything is made."""
    async with pair(seconds=5) as (emu, client):
        (outcome,) = await run_batch(client, [clip("a")], max_units=5, price=lambda _: units)
        assert isinstance(outcome.error, RequestInvalid) and "price: returned" in str(outcome.error)
        assert emu.tasks == {}


async def test_after_a_dry_run_the_input_is_read_one_by_one() -> None:
    """After a dry run with large chunks, the batch reads one by one again."""
    read = 0

    class Many:
        def __iter__(self) -> Iterator[Any]:
            nonlocal read
            for read in range(3000):
                yield clip(str(read))

    async with pair(seconds=5) as (_, client):
        batch = client.batch(Many(), ahead=3)
        assert (await batch.dry_run()).jobs == 3000
        async with batch as results:
            await anext(results)
            assert read < 10


async def test_an_unsent_create_opens_no_closed_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A create withdrawn before its first byte does not reopen a closed pool."""
    async with pair(seconds=5) as (emu, client):
        emu.fault("create", code=1102, times=1)
        await asyncio.gather(client.run(clip("a")), return_exceptions=True)
        assert client.account.limits()["video"].closed is not None
        await asyncio.sleep(61)  # half open: one may try
        async with client.batch([clip("b")], journal=tmp_path / "jobs.sqlite") as results:
            # as if stopped in the very turn of its admission
            monkeypatch.setattr(JobRun, "may_send", lambda *_: False)
            assert await remaining(results) == []
        monkeypatch.undo()
        assert client.account.limits()["video"].closed is not None and emu.tasks == {}
        async with client_of(emu) as later:
            (outcome,) = await run_batch(later, [clip("b")], tmp_path)
        assert outcome.ok


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "10.0.0.7", "[fd00::1]", "printer"])
async def test_a_dry_run_names_private_hosts_as_the_run_does(host: str) -> None:
    """With the vendor's API both refuse them, with one that is on this machine neither does."""
    requests = [still(image=f"http://{host}/fox.png"), still(image="https://a.example/fox.png")]
    async with Client(api_key="k", limits={"video": 5, "image": 9}) as client:
        plan = await client.batch(requests).dry_run()
        assert (plan.jobs, plan.refused) == (2, 1)
        assert "is not a public host" in plan.problems[0]
        refused = (await run_batch(client, requests[:1]))[0]
        assert f"requests[0]: {refused.error}" == plan.problems[0]
    async with pair() as (_, client):
        assert (await client.batch(requests).dry_run()).refused == 0

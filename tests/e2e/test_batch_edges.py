"""Edges of a batch: creates found twice, money that runs dry, inputs that break, attempts that are billed."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import RequestInvalid, ResultExpired, Retry, TaskFailed
from kling_async.emulator.http import dispatch as emulator_dispatch
from tests.clock import new_event_loop
from tests.e2e.batches import creates, go, rest, told
from tests.support import client_of, clip, pair, settle, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio


# -- found twice


async def test_a_task_found_twice_is_one_task(tmp_path: Path) -> None:
    """By the next batch, and by the first one's create that was still being looked for."""
    async with pair(seconds=1000) as (emu, client):
        emu.fault("create", kind="hang", acts=True)
        async with client.batch([clip("a")], journal=tmp_path / "jobs.sqlite"):
            await until(lambda: emu.tasks)
        async with client.batch([clip("a")], journal=tmp_path / "jobs.sqlite"):
            await asyncio.sleep(120)
        (outcome,) = await go(client, [clip("a")], tmp_path)
        assert outcome.ok and len(emu.tasks) == 1
        assert client.account.limits()["video"].held == 0


@pytest.mark.parametrize("seed", range(12))
def test_creates_of_unknown_fate_are_looked_at_once_a_pause(seed: int) -> None:
    """Whatever rounding does to the times at which timers ring: nothing spins."""

    async def hour() -> int:
        await asyncio.sleep(random.Random(seed).random() * 1000)
        async with pair(seconds=100) as (emu, client):
            emu.fault("create", kind="lost_before", times=None)
            emu.fault("query", status=400, code=1200, times=None)
            await go(client, [clip("a")])
            await asyncio.wait_for(asyncio.sleep(3600), 4000)
            return len(emu.ledger.queries)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert 10 < runner.run(hour()) < 40


# -- money that runs dry


async def test_what_was_paid_is_told_though_nothing_more_fits(tmp_path: Path) -> None:
    """Running, finished, without its files: wherever in the input; new ones are passed by."""
    options: dict[str, Any] = {"max_units": 6}
    async with pair(seconds=50) as (emu, client):
        async with client.batch([clip("b"), clip("c")], journal=tmp_path / "jobs.sqlite", max_units=6):
            await until(lambda: creates(emu) == 2)
            await settle()
        for _ in range(2):
            found, report = await told(
                client, [clip("a"), clip("b"), clip("x"), clip("c")], tmp_path, **options
            )
            assert [(o.position, o.ok) for o in found] == [(1, True), (3, True)]
            assert report.stopped == "max_units" and "larger max_units" in report.advice
        assert creates(emu) == 2


async def test_an_endless_input_ends_when_the_money_does(tmp_path: Path) -> None:
    """No further than what the journal knows is it read, give or take what may have been put before it."""
    read = 0

    def endless(first: int) -> Iterator[Any]:
        nonlocal read
        for read in range(first, 10**9):
            yield clip(f"no {read}")

    async with pair(seconds=5) as (emu, client):
        _, report = await told(client, endless(0), tmp_path, max_units=9)
        assert (creates(emu), report.stopped) == (3, "max_units") and read < 100
        found, report = await told(client, endless(1), tmp_path, max_units=9)
        assert len(found) == 2 and 1000 < read < 3000 and report.stopped == "max_units"


@asynccontextmanager
async def failing(emu: Emulator) -> AsyncIterator[None]:
    """Every task fails after some seconds, for a reason that may not come again."""

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


async def test_attempts_that_were_billed_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the vendor charge for failures: each counts, no attempt is made beyond the limit."""
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
        found, report = await told(client, [request], tmp_path, retries=5, max_units=7)
        assert len(emu.tasks) == 2 and report.units == {"video": 6.0} and report.stopped == "max_units"
        assert found == []  # a third task would be allowed, but not paid
        found, report = await told(client, [request], tmp_path, retries=5, max_units=9)
        assert len(emu.tasks) == 3 and report.units == {"video": 9.0}
        found, report = await told(client, [request], tmp_path, retries=2, max_units=9)
        (outcome,) = found
        assert outcome.units == 9.0 and len(emu.tasks) == 3


# -- stopped


async def test_a_lost_create_is_not_sent_again_after_a_stop(tmp_path: Path) -> None:
    """It is looked for, and not found: to send it once more would be to make a task."""
    async with pair(seconds=20) as (emu, client):
        emu.fault("create", kind="lost_before", times=1)
        async with client.batch([clip("a")], journal=tmp_path / "jobs.sqlite") as results:
            await until(lambda: emu.ledger.creates)
            results.stop()
            assert await rest(results) == []
        assert emu.tasks == {} and len(emu.ledger.creates) == 1
        (outcome,) = await go(client, [clip("a")], tmp_path)
        assert outcome.ok and len(emu.tasks) == 1


async def test_a_paid_job_is_told_whatever_stops_the_batch(tmp_path: Path) -> None:
    """Its files wait for a slow server: stopped, the outcome says what is missing."""
    options: dict[str, Any] = {"client": {"retry": Retry(max_tries=1)}}
    async with pair(seconds=5, **options) as (emu, client):
        emu.fault("media", status=404, times=None)
        emu.fault("query", code=1302, status=429, times=None, skip=1)
        async with client.batch([clip("a")], download_to=tmp_path / "out") as results:
            await asyncio.sleep(8)
            results.stop()
            (outcome,) = await rest(results)
        assert not outcome.ok and outcome.units == 3.0 and results.report.spent[0].units == 3.0
        emu.faults.clear()


# -- files of long ago


@pytest.mark.parametrize("how", ["stop", "raise"])
async def test_files_gone_for_good_stop_nothing(how: Any, tmp_path: Path) -> None:
    """The vendor has them no more: told each time, and the others are made."""
    options: dict[str, Any] = {"download_to": tmp_path / "out", "on_error": how, "ahead": 1}
    async with pair(seconds=5) as (emu, client):
        (first,) = await go(client, [clip("a")], tmp_path, **options)
        first.files[0].unlink()
        await asyncio.sleep(31 * 86400)
        found, report = await told(client, [clip("a"), clip("b")], tmp_path, **options)
        assert isinstance(found[0].error, ResultExpired) and found[0].files == () and found[0].resumed
        assert found[1].ok and creates(emu) == 2 and (report.stopped, report.advice) == ("", "")


async def test_a_refetch_that_failed_for_now_is_left_to_do(tmp_path: Path) -> None:
    """A server of files that is down: the advice is to run the same again."""
    options: dict[str, Any] = {"download_to": tmp_path / "out"}
    async with pair(seconds=5, client={"retry": Retry(max_tries=1)}) as (emu, client):
        (first,) = await go(client, [clip("a")], tmp_path, **options)
        first.files[0].unlink()
        emu.fault("media", status=503, times=None)
        (found,), report = await told(client, [clip("a")], tmp_path, **options)
        assert not found.ok and "run the same again" in report.advice
        emu.faults.clear()
        (found,), report = await told(client, [clip("a")], tmp_path, **options)
        assert found.ok and found.files[0].exists() and report.advice == ""


# -- inputs that break


class OddError(BaseException):
    """Not an Exception."""


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("error", [OddError, asyncio.CancelledError])
async def test_an_input_that_breaks_in_any_way_is_told(error: type[BaseException], later: bool) -> None:
    """A batch that looks finished would lose the rest; one that hangs would, too."""

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


# -- what is said


async def test_in_the_body_of_the_last_outcome_all_is_done() -> None:
    """The report is right at every moment, not only at the end."""
    async with pair(seconds=5) as (_, client), client.batch([clip("a")]) as results:
        async for _ in results:
            assert (results.report.done, results.report.advice) == (1, "")


async def test_what_is_unknown_is_counted_once() -> None:
    """While the batch is open, and after it."""
    async with pair(seconds=5) as (emu, client):
        emu.fault("create", kind="lost_before")
        emu.fault("query", status=400, code=1200, times=None)
        async with client.batch([clip("a")]) as results:
            (outcome,) = await rest(results)
            assert not outcome.ok and results.report.running == 1
        assert results.report.running == 1


async def test_a_failed_job_says_how_many_tasks_were_made() -> None:
    """In the bill as in the outcome."""
    async with pair(seconds=5000) as (emu, client), failing(emu):
        (outcome,), report = await told(client, [clip("a")], retries=2)
        assert isinstance(outcome.error, TaskFailed) and outcome.attempts == report.spent[0].tasks == 3


@pytest.mark.parametrize("units", [-5, float("nan"), "3", True])
async def test_a_price_that_is_none_is_said(units: Any) -> None:
    """Before anything is made for it."""
    async with pair(seconds=5) as (emu, client):
        with pytest.raises(RequestInvalid, match="price: gave"):
            await go(client, [clip("a")], max_units=5, price=lambda _: units)
        assert emu.tasks == {}


async def test_after_a_dry_run_no_more_is_read_than_needed() -> None:
    """The large steps of a plan are not those of the work."""
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
    """What was withdrawn before its first byte says nothing of the account."""
    async with pair(seconds=5) as (emu, client):
        emu.fault("create", code=1102, times=1)
        await asyncio.gather(client.run(clip("a")), return_exceptions=True)
        assert client.account.limits()["video"].closed is not None
        await asyncio.sleep(61)  # half open: one may try
        async with client.batch([clip("b")], journal=tmp_path / "jobs.sqlite") as results:
            monkeypatch.setattr(
                results, "may_send", lambda _: False
            )  # stopped in the very turn of its admission
            assert await rest(results) == []
        assert client.account.limits()["video"].closed is not None and emu.tasks == {}
        async with client_of(emu) as later:
            (outcome,) = await go(later, [clip("b")], tmp_path)
        assert outcome.ok

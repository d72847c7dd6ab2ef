"""progress.py and observing.py: how far a batch has come, and who is told while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import logging
from typing import TYPE_CHECKING, Any

import pytest
from tqdm import tqdm

from kling_async import Progress, RequestInvalid
from tests.support import clip, pair

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


def sums_up(progress: Progress) -> bool:
    """Tell whether the parts of a progress make up its total."""
    parts = (progress.queued, progress.running, progress.done, progress.failed, progress.skipped)
    return progress.total == sum(parts)


async def test_the_counts_add_up_from_begin_to_end(tmp_path: Path) -> None:
    """Total, queued, running, done and failed agree at every look; times, slots, units and file are told."""
    shown: list[Progress] = []
    requests = [clip(f"{n} emulator:fail" if n == 3 else str(n)) for n in range(7)]
    async with (
        pair({"video": 2}, seconds=30) as (_, client),
        client.batch(requests, download_to=tmp_path, progress=shown.append) as results,
    ):
        assert results.progress().queued == 7
        assert results.progress().seconds_left is None
        await asyncio.sleep(10)
        early = results.progress()
        assert (early.total, early.running, early.queued, early.done) == (7, 2, 5, 0)
        assert early.slots["video"].held == 2
        await asyncio.sleep(35)
        middle = results.progress()
        assert (middle.running, middle.done) == (2, 2)
        assert middle.seconds_left == pytest.approx(75, abs=20)
        assert middle.rate == pytest.approx(2 / middle.seconds * 60)
        assert middle.last_file is not None
        assert middle.last_file.is_file()
        assert [outcome.ok async for outcome in results].count(True) == 6
    end = results.progress()
    assert (end.done, end.failed, end.running, end.queued, end.seconds_left) == (6, 1, 0, 0, 0)
    assert end.units == {"video": results.report.units["video"]}
    assert all(map(sums_up, shown))
    assert shown[-1].finished == 7


async def test_it_is_told_often_enough_and_not_too_often() -> None:
    """At most ten times a second; without a change once a second; the last time when all is over."""
    times: list[float] = []
    async with pair({"video": 2}, seconds=20) as (_, client):
        clock = asyncio.get_running_loop().time

        async with client.batch([clip()] * 6, progress=lambda _: times.append(clock())) as results:
            async for _ in results:
                pass
            assert results.progress().finished == 6
    gaps = [after - before for before, after in itertools.pairwise(times[:-1])]
    assert min(gaps) >= 0.1 - 1e-6
    assert max(gaps) <= 1.1 + 1e-6
    assert len(times) >= 60


async def test_without_a_length_the_total_is_known_at_the_end() -> None:
    """A generator tells its number once it has ended; until then no time is told."""

    def endless() -> Iterator[Any]:
        yield from [clip(str(n)) for n in range(40)]

    async with (
        pair({"video": 2}, seconds=10) as (_, client),
        client.batch(endless(), ahead=4, source_thread=False) as results,
    ):
        await anext(results)
        first = results.progress()
        assert (first.total, first.seconds_left) == (None, None)
        assert first.running + first.queued <= 4
        async for _ in results:
            pass
        assert sums_up(results.progress())
        assert results.progress().total == 40


async def test_earlier_runs_and_skipped_requests_are_counted(tmp_path: Path) -> None:
    """Resumed jobs count as done; those that the units do not suffice for as skipped."""
    journal = tmp_path / "jobs.sqlite"
    async with pair({"video": 2}, seconds=10) as (_, client):
        requests = [(f"k{n}", clip(str(n))) for n in range(4)]
        async with client.batch(requests[:2], journal=journal) as results:
            await asyncio.gather(anext(results), anext(results))
        unit = results.report.units["video"] / 2
        async with client.batch(requests, journal=journal, max_units=3 * unit) as results:
            async for _ in results:
                pass
        end = results.progress()
    assert (end.total, end.done, end.resumed, end.skipped, end.units) == (4, 3, 2, 1, {"video": unit})


async def test_stopping_and_pausing_are_shown() -> None:
    """A batch that makes no more tasks says so while its last ones run; so does a paused one."""
    async with pair({"video": 1}, seconds=10) as (_, client), client.batch([clip()] * 3) as results:
        await asyncio.sleep(1)
        assert not results.progress().stopping
        results.pause()
        assert results.progress().paused
        results.resume()
        results.stop()
        await asyncio.sleep(0)
        assert results.progress().stopping
        async for _ in results:
            pass
        assert results.progress().queued == 2


async def test_an_error_of_the_function_is_logged_once_and_harms_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The batch goes on; so do the calls."""
    calls: list[Progress] = []

    def show(progress: Progress) -> None:
        calls.append(progress)
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR, "kling_async"):
        async with (
            pair({"video": 2}, seconds=10) as (_, client),
            client.batch([clip()] * 3, progress=show) as results,
        ):
            assert [outcome.ok async for outcome in results] == [True] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "progress= raised; further exceptions in it are not logged"
    ]
    assert calls[-1].done == 3
    assert len(calls) > 3


async def test_a_bar_of_tqdm_is_moved() -> None:
    """Total, place and words of the caller's bar follow the batch; its owner closes it."""
    out = io.StringIO()
    with contextlib.closing(tqdm(file=out, mininterval=0)) as bar:
        async with (
            pair({"video": 2}, seconds=10) as (_, client),
            client.batch([clip(), clip("emulator:fail")], progress=bar) as results,
        ):
            async for _ in results:
                pass
        assert (bar.n, bar.total) == (2, 2)
    assert "failed=1" in out.getvalue()
    assert "2/2" in out.getvalue()


@pytest.mark.parametrize("wrong", [1, "bar", asyncio.sleep])
async def test_what_cannot_be_called_is_refused(wrong: Any) -> None:
    """Anything but a plain function or a bar is named before anything is made."""
    async with pair() as (_, client):
        with pytest.raises(RequestInvalid, match="progress"):
            client.batch([], progress=wrong)

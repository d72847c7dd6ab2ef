"""A batch that is stopped, left, or interrupted: what is said of it is true, its journal is free."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from kling_async import RequestInvalid
from tests.support import clip, pair, settle, still, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_a_cancelled_scope_leaves_the_journal_free(tmp_path: Path) -> None:
    """Whoever cancels with anyio cancels every await on the way out, too; another batch goes on at once."""
    journal = tmp_path / "jobs.sqlite"
    async with pair(seconds=100) as (emu, client):
        with anyio.move_on_after(20):
            async with client.batch([clip("a")], journal=journal) as results:
                await anext(results)
        assert len(emu.tasks) == 1
        async with client.batch([clip("a")], journal=journal) as results:
            assert [o.ok async for o in results] == [True]
        assert len(emu.tasks) == 1


async def test_after_leaving_the_report_knows_what_runs_on() -> None:
    """The tasks that were made and not seen ended."""
    async with pair(seconds=100) as (emu, client):
        async with client.batch([clip("a"), clip("b")]) as results:
            await until(lambda: len(emu.tasks) == 2)
            await settle()
        assert (results.report.running, results.report.stopped) == (2, "closed")
        assert "2 still running" in results.report.advice


async def test_the_first_signal_is_polite_whatever_stopped_the_batch_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What runs is waited for after stop() and Ctrl-C; only the second signal ends that."""
    async with pair(seconds=100) as (emu, client):
        async with client.batch([clip("a")]) as results:
            await until(lambda: emu.tasks)
            await settle()
            results.stop()
            results._heard("SIGINT")
            assert "SIGINT" in capsys.readouterr().err
            assert [o.ok async for o in results] == [True]
        assert results.report.stopped == "stop()"


async def test_the_third_signal_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who neither takes outcomes nor leaves can still be ended: the handlers are given back."""
    async with pair(seconds=100) as (emu, client), client.batch([clip("a")]) as results:
        deaf: list[bool] = []
        monkeypatch.setattr(results._interrupts, "stop", lambda: deaf.append(True))
        await until(lambda: emu.tasks)
        results._heard("SIGINT")
        assert deaf == []
        results._heard("SIGINT")
        assert deaf == [True]


@pytest.mark.filterwarnings("ignore:.*is not known here.*:kling_async.KlingWarning")
@pytest.mark.parametrize("on_error", ["stop", "raise"])
async def test_what_is_refused_unsent_stops_the_batch_too(on_error: Any, tmp_path: Path) -> None:
    """A file that cannot be read, a price that nobody knows: failures like any other."""
    async with pair(seconds=5) as (emu, client):
        cases: list[tuple[Any, dict[str, Any]]] = [
            (still(image=tmp_path / "gone.png"), {"journal": tmp_path / "jobs.sqlite"}),
            (clip(model_name="kling-v99"), {"max_units": 100}),
        ]
        for first, more in cases:
            found: list[Any] = []
            requests = [first, *(clip(str(n)) for n in range(20))]
            async with client.batch(requests, on_error=on_error, **more) as results:
                try:
                    async for outcome in results:
                        found.append(outcome)  # noqa: PERF401 - what came before an error counts
                except RequestInvalid:
                    assert on_error == "raise"
            assert results.report.stopped == "error" and len(found) <= 1
        assert emu.tasks == {}


async def test_an_input_that_is_cancelled_did_not_end() -> None:
    """Its error is raised; a batch that looks finished would lose the rest."""

    async def broken() -> AsyncIterator[Any]:
        yield clip("a")
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lost.cancel()
        await lost
        yield clip("b")

    async with pair(seconds=5) as (_, client), client.batch(broken()) as results:
        found = [await anext(results)]
        with pytest.raises(RuntimeError, match="cancelled"):
            await anext(results)
        assert found[0].ok and results.report.stopped == "input"


async def test_an_input_is_through_with_its_cleaning_up_when_the_batch_is() -> None:
    """The source's own end comes first, so that it can be closed or read on."""
    said: list[str] = []

    async def slow() -> AsyncIterator[Any]:
        try:
            yield clip("a")
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            said.append("closed")

    source = slow()
    async with pair(seconds=5) as (_, client):
        async with client.batch(source) as results:
            assert (await anext(results)).ok
        assert said == ["closed"]
        await source.aclose()  # type: ignore[attr-defined]

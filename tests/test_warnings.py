"""Warnings point at the line of the user's that led to them, from every entry point."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import linecache
import warnings
from typing import TYPE_CHECKING

import anyio
import pytest

from kling_async import Client, KlingWarning, v1
from kling_async.wire.checks import check
from tests.support import pair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

_numbers = itertools.count(1)


@pytest.fixture
def caught() -> Iterator[list[warnings.WarningMessage]]:
    """The warnings that a test gives rise to."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", KlingWarning)
        yield found


def doubtful() -> v1.TextToVideo:
    """A request that is made with a warning, another one each time: each warns once in a process."""
    return v1.TextToVideo(prompt=f"A fox <<<image_{next(_numbers)}>>>")


def line_of(caught: list[warnings.WarningMessage]) -> str:
    """The source line that the one warning points at; it is in this file."""
    (warning,) = caught
    assert warning.filename == __file__ and issubclass(warning.category, KlingWarning)
    return linecache.getline(warning.filename, warning.lineno).strip()


@pytest.mark.anyio
async def test_submit_run_and_call_point_at_the_await(caught: list[warnings.WarningMessage]) -> None:
    """The user's coroutine awaits ours, so its line is on the stack."""
    async with pair() as (_, client):
        await client.submit(doubtful())
        assert line_of(caught) == "await client.submit(doubtful())"
        caught.clear()
        await client.run(doubtful())
        assert line_of(caught) == "await client.run(doubtful())"
        caught.clear()
        speech = v1.TextToSpeech(text="x", voice_id="AOT", voice_language="en", voice_speed=1.23)
        await client.call(speech)
        assert line_of(caught) == "await client.call(speech)"


@pytest.mark.anyio
async def test_in_a_task_of_its_own_it_points_at_the_users_code(
    caught: list[warnings.WarningMessage],
) -> None:
    """The machinery of asyncio between a task and the program that runs it is passed over."""
    async with pair() as (_, client):
        async with anyio.create_task_group() as group:
            group.start_soon(submitted, client)
        assert line_of(caught) == "await client.submit(doubtful())  # in a task"


async def submitted(client: Client) -> None:
    await client.submit(doubtful())  # in a task


def test_where_ours_is_the_task_it_points_at_the_line_that_runs_the_loop(
    caught: list[warnings.WarningMessage],
) -> None:
    """No line of the user's awaits it: the nearest one is told, not one of asyncio's."""

    async def checked() -> None:
        asyncio.get_running_loop().call_soon(check, doubtful())
        await asyncio.sleep(0)

    asyncio.run(checked())
    assert line_of(caught) == "asyncio.run(checked())"


@pytest.mark.anyio
@pytest.mark.parametrize("journal", [False, True])
async def test_a_batch_points_at_its_async_with(
    journal: bool, tmp_path: Path, caught: list[warnings.WarningMessage]
) -> None:
    """Its requests are checked and made in tasks of its own, which remember where it was entered."""
    path = tmp_path / "journal.sqlite" if journal else None
    async with pair() as (_, client):
        async with client.batch([doubtful()], journal=path) as results:
            assert [outcome.ok async for outcome in results] == [True]
        assert line_of(caught) == "async with client.batch([doubtful()], journal=path) as results:"


@pytest.mark.anyio
async def test_a_batch_of_an_async_input_points_there_too(caught: list[warnings.WarningMessage]) -> None:
    """However the requests come."""

    async def requests() -> AsyncIterator[v1.TextToVideo]:
        yield doubtful()

    async with pair() as (_, client):
        async with client.batch(requests()) as results:
            assert [outcome.ok async for outcome in results] == [True]
        assert line_of(caught) == "async with client.batch(requests()) as results:"


@pytest.mark.anyio
async def test_a_batch_in_an_exit_stack_points_at_its_entering(
    caught: list[warnings.WarningMessage],
) -> None:
    """The frames of the standard library's own context managers are passed over."""
    async with pair() as (_, client), contextlib.AsyncExitStack() as stack:
        results = await stack.enter_async_context(client.batch([doubtful()]))
        assert [outcome.ok async for outcome in results] == [True]
        assert line_of(caught) == "results = await stack.enter_async_context(client.batch([doubtful()]))"


@pytest.mark.anyio
async def test_a_dry_run_points_at_its_await(caught: list[warnings.WarningMessage]) -> None:
    """Nothing was entered before."""
    async with pair() as (_, client):
        await client.batch([doubtful()]).dry_run()
    assert line_of(caught) == "await client.batch([doubtful()]).dry_run()"


@pytest.mark.anyio
async def test_a_batch_leaves_other_warnings_alone(caught: list[warnings.WarningMessage]) -> None:
    """What is submitted beside a batch points at its own line."""
    async with pair() as (_, client), client.batch([v1.TextToVideo(prompt="x")]) as results:
        await client.submit(doubtful())
        assert line_of(caught) == "await client.submit(doubtful())"
        assert [outcome.ok async for outcome in results] == [True]


def test_a_client_points_at_its_construction(caught: list[warnings.WarningMessage]) -> None:
    """A misspelt pool is warned about where it is given."""
    Client(api_key="x", limits={f"vidoe{next(_numbers)}": 3})
    assert line_of(caught) == 'Client(api_key="x", limits={f"vidoe{next(_numbers)}": 3})'


def test_an_estimate_warns_of_nothing(caught: list[warnings.WarningMessage]) -> None:
    """It judges no request; what it does not know is in its answer."""
    assert Client(api_key="x").estimate(doubtful()).units == 3
    assert caught == []


def test_a_warning_is_filtered_by_the_users_module(caught: list[warnings.WarningMessage]) -> None:
    """A filter by module and line sees the user's own."""
    warnings.filterwarnings("ignore", category=KlingWarning, module=r"tests\.test_warnings")
    check(doubtful())
    assert caught == []

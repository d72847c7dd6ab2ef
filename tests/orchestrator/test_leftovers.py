"""Clients that are dropped without ``aclose()``, as by a cell of a notebook that is run again."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import TYPE_CHECKING

import aiohttp
import pytest

from kling_async import Client
from kling_async.testing import emulator
from tests.clock import new_event_loop
from tests.support import client_of, clip, settle, still, wall_clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kling_async import Client

pytestmark = pytest.mark.anyio


async def open_sessions() -> list[aiohttp.ClientSession]:
    """Return the sessions that nobody has closed, after garbage was collected and the loop has turned."""
    gc.collect()
    await settle()
    return [item for item in gc.get_objects() if type(item) is aiohttp.ClientSession and not item.closed]


@pytest.fixture(autouse=True)
def _no_complaints(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The loop has nothing to say: no unclosed session, no exception that nobody has retrieved."""
    yield
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


def dropped(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said of dropped clients."""
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


async def test_a_dropped_client_names_what_runs_on_and_closes_its_connections(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Running and queued ones by id; once nothing of it is left, its sessions are closed."""
    async with emulator(slots={"video": 1}) as emu:
        before = len(await open_sessions())
        client: Client | None = client_of(emu)
        assert client is not None
        running, queued = await client.submit(clip()), await client.enqueue(clip())
        ids = running.id, queued.id
        assert len(await open_sessions()) > before
        client = None
        (said,) = dropped(caplog)
        assert said.startswith(
            "a client was dropped without aclose(); tasks run on (2), attach() to them later"
        )
        assert all(name in said for name in ids)
        assert (await queued.wait()).videos  # its handles work on
        del running, queued
        await asyncio.sleep(60)
        assert len(await open_sessions()) == before
        assert len(emu.tasks) == 2


async def test_what_queues_in_a_dropped_client_is_still_made(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody holds client or handles: the queue goes on behind a foreign task, then all is freed."""
    async with emulator(slots={"video": 1}) as emu:
        before = len(await open_sessions())
        emu.set_duration(30)
        emu.set_foreign("video", 1)
        client = client_of(emu)
        for n in range(3):
            await client.enqueue(clip(str(n)))
        del client
        for _ in range(10):
            await asyncio.sleep(30)
            gc.collect()
        assert len(emu.tasks) == 0
        emu.set_foreign("video", 0)
        for _ in range(20):
            await asyncio.sleep(60)
            gc.collect()
        assert len(emu.tasks) == 3
        await asyncio.sleep(7200)
        assert len(await open_sessions()) == before


async def test_a_cell_that_is_run_again_leaves_one_client(caplog: pytest.LogCaptureFixture) -> None:
    """Twenty clients under one name: the nineteen before are collected, and silent since nothing runs."""
    async with emulator() as emu:
        before = len(await open_sessions())
        clients: weakref.WeakSet[Client] = weakref.WeakSet()
        namespace: dict[str, Client] = {}
        for _ in range(20):
            namespace["client"] = client_of(emu)
            clients.add(namespace["client"])
            await namespace["client"].run(still())
        assert len(clients) == 1
        sessions = len(await open_sessions()) - before
        assert sessions <= 2  # of the last one: reads and creates
        await namespace["client"].aclose()
        assert len(await open_sessions()) == before
        assert dropped(caplog) == []


async def test_a_client_with_other_options_keeps_the_first_one(caplog: pytest.LogCaptureFixture) -> None:
    """Clients that share slots are one: nothing was dropped while one of them is held."""
    async with emulator() as emu:
        client = client_of(emu).with_options()
        await client.submit(still())
        gc.collect()
        assert dropped(caplog) == []
        del client
        assert len(dropped(caplog)) == 1


async def test_a_closed_client_says_what_runs_on_once(caplog: pytest.LogCaptureFixture) -> None:
    """The warning of ``aclose()`` is not repeated when the object goes."""
    async with emulator() as emu:
        client = client_of(emu)
        await client.submit(still())
        await client.aclose()
        del client
        (said,) = dropped(caplog)
        assert said.startswith("the client was closed")


def test_a_loop_that_ended_has_nothing_to_close(caplog: pytest.LogCaptureFixture) -> None:
    """A client dropped after its loop was closed: the loop has closed the sessions, none complains."""

    async def use() -> Client:
        async with emulator() as emu:
            client = client_of(emu, now=wall_clock())
            await client.run(still())
            return client

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        before = len(runner.run(open_sessions()))
        client = runner.run(use())
    del client
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert len(runner.run(open_sessions())) == before
    assert dropped(caplog) == []

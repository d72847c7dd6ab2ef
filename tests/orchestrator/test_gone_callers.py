"""Callers who leave before their create's first byte: no task is made for somebody who has gone."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import anyio
import pytest

from kling_async import QueueTimeout
from kling_async.errors import TaskTimeout
from kling_async.orchestrator.bodies import encode
from kling_async.orchestrator.submission import SubmissionHooks
from tests.support import clip, pair, settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kling_async import Client

pytestmark = pytest.mark.anyio


async def cancelled_scope(client: Client) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await client.submit(clip())


async def past_deadline(client: Client) -> None:
    with anyio.move_on_after(-1):
        await client.submit(clip())


async def asyncio_timeout(client: Client) -> None:
    async with asyncio.timeout(0):
        await client.submit(clip())


async def cancelled_task(client: Client) -> None:
    task = asyncio.ensure_future(client.submit(clip()))
    await asyncio.sleep(0)
    task.cancel()
    await task


async def run_with_timeout(client: Client, timeout: float) -> None:
    await client.run(clip(), timeout=timeout)


GONE = [
    cancelled_scope,
    past_deadline,
    asyncio_timeout,
    cancelled_task,
    lambda client: run_with_timeout(client, 0),
    lambda client: run_with_timeout(client, -5.0),
]


@pytest.mark.parametrize("call", GONE)
async def test_who_has_gone_before_the_submit_gets_no_task(call: Callable[[Client], Awaitable[None]]) -> None:
    """Whatever cancels the caller or ends its time: nothing is sent, no slot is held."""
    async with pair() as (emu, client):
        with contextlib.suppress(QueueTimeout, TaskTimeout, TimeoutError, asyncio.CancelledError):
            await call(client)
        await asyncio.sleep(60)
        assert (len(emu.ledger.creates), client.tasks(), client.stats().in_flight) == (0, [], 0)
        pool = client.account.limits().get("video")
        assert pool is None or (pool.held, pool.queued) == (0, 0)


async def test_who_leaves_while_files_are_read_gets_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body is made in the client's care; before its first byte somebody must still want the task."""
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*arguments: object) -> bytes:
        reading.set()
        await go_on.wait()
        return await encode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("kling_async.orchestrator.submitter.encode", slow)
    async with pair() as (emu, client):
        submit = asyncio.create_task(client.submit(clip()))
        await asyncio.wait_for(reading.wait(), 60)
        submit.cancel()
        await asyncio.wait([submit])
        go_on.set()
        await settle()
        await asyncio.sleep(60)
        assert (len(emu.ledger.creates), client.tasks(), client.unresolved()) == (0, [], [])
        assert client.account.limits()["video"].held == 0


class SlowNotes(SubmissionHooks):
    """Hooks that take their time to write down what is sent."""

    def __init__(self) -> None:
        self.writing, self.go_on = asyncio.Event(), asyncio.Event()
        self.refused = 0

    async def before_send(self) -> None:
        self.writing.set()
        await self.go_on.wait()

    def on_refused(self) -> None:
        self.refused += 1


async def test_who_leaves_while_the_send_is_written_down_gets_no_task() -> None:
    """What was written down is taken back: nothing was sent."""
    async with pair() as (emu, client):
        engine, hooks = client._engine, SlowNotes()
        submission = await engine.new_submission(clip(), hooks=hooks)
        submit = asyncio.create_task(engine.queue.submit(submission))
        await asyncio.wait_for(hooks.writing.wait(), 60)
        submit.cancel()
        await asyncio.wait([submit])
        hooks.go_on.set()
        await settle()
        assert (len(emu.ledger.creates), hooks.refused, client.stats().in_flight) == (0, 1, 0)
        assert client.account.limits()["video"].held == 0

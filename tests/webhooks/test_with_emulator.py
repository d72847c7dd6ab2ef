"""From the emulator through both doors: what the account signs is believed, and nothing else is."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from kling_async import v1
from kling_async.core.status import TaskState
from kling_async.orchestrator.results import result_of
from kling_async.records import decode_task
from kling_async.testing import emulator
from kling_async.webhooks import AcceptedCallback, CallbackApp, CallbackGate, DropReason, Trust
from tests.decoding.test_outputs import ROWS
from tests.emulator.calls.test_answers import SLOTS, VARIANTS, made
from tests.emulator.facts import path
from tests.emulator.support import calling
from tests.support import client_of, clip, pair, until, wall_clock
from tests.webhooks.support import OTHER, SECRET, TOKEN, encoded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

RUNNING, SUCCEEDED = TaskState.RUNNING, TaskState.SUCCEEDED
IN_ORDER = [RUNNING, RUNNING, SUCCEEDED]


class Inbox(list[AcceptedCallback]):
    """Collects what is accepted."""

    async def __call__(self, accepted: AcceptedCallback, /) -> None:
        """Keep one callback."""
        self.append(accepted)

    @property
    def states(self) -> list[TaskState]:
        """States in the order in which they were told."""
        return [one.callback.state for one in self]


@asynccontextmanager
async def listening(**settings: Any) -> AsyncIterator[tuple[Inbox, CallbackApp, str]]:
    """Run a server of aiohttp with the handler; yield what it takes, and the callback address."""
    inbox = Inbox()
    app = CallbackApp(CallbackGate(**settings), inbox, now=wall_clock())
    outer = web.Application()
    outer.router.add_post("/kling/{token}", app.aiohttp)
    runner = web.AppRunner(outer, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield inbox, app, f"http://127.0.0.1:{runner.addresses[0][1]}/kling/{TOKEN}"
    finally:
        await runner.cleanup()


async def test_a_client_s_tasks_call_back() -> None:
    """A submit with an address is told of three times, under its external id, with the whole result."""
    async with (
        listening(secret=SECRET, path_token=TOKEN) as (inbox, app, url),
        pair(webhook_secret=SECRET) as (emu, client),
    ):
        task = await client.submit(clip(), callback_url=url, external_task_id="order-1")
        video = await task.wait()
        await emu.drain_callbacks()
        last = inbox[-1].callback
        assert inbox.states == IN_ORDER
        assert {(one.trust, one.callback.external_task_id) for one in inbox} == {(Trust.BELIEVED, "order-1")}
        assert last.task_id == task.id and last.holds_result
        told = result_of(ROWS["text_to_video"], last.record)
        assert isinstance(told, v1.Videos) and told.videos[0].id == video.videos[0].id
        assert app.gate.counts.believed == 3 and not app.gate.counts.dropped


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
async def test_every_endpoint_s_result_is_told(name: str, changes: dict[str, Any]) -> None:
    """The callback's result is that of a query, for every endpoint, and needs no query."""
    async with (
        listening(secret=SECRET) as (inbox, _, url),
        calling(slots=SLOTS, webhook_secret=SECRET) as (emu, call),
    ):
        task_id = await made(call, name, **changes, callback_url=url)
        emu.finish(task_id)
        await emu.drain_callbacks()
        data = (await call("GET", f"{path(name)}/{task_id}")).data
    callback = inbox[-1].callback
    assert callback.holds_result and callback.task_id == task_id
    told = result_of(ROWS[name], callback.record)
    asked = result_of(ROWS[name], decode_task(name, encoded(data)))
    assert [file.url for file in told.files()] == [file.url for file in asked.files()]


@pytest.mark.parametrize(
    ("fault", "states", "dropped"),
    [
        ({"kind": "forged", "times": 3}, IN_ORDER, {DropReason.FORGED: 3}),
        ({"kind": "replayed", "times": 3}, IN_ORDER, {DropReason.REPLAYED: 3}),
        ({"kind": "replayed", "seconds": 301}, IN_ORDER, {DropReason.OLD: 1}),
        ({"kind": "doubled", "seconds": 5, "times": 3}, IN_ORDER, {DropReason.REPEATED: 3}),
        ({"kind": "late", "seconds": 400, "times": 2}, [SUCCEEDED, RUNNING, RUNNING], {}),
        ({"kind": "reordered", "times": 2}, [SUCCEEDED, RUNNING, RUNNING], {}),
        ({"kind": "lost", "times": 2}, [SUCCEEDED], {}),
    ],
)
async def test_scripted_faults_meet_the_gate(
    fault: dict[str, Any], states: list[TaskState], dropped: dict[DropReason, int]
) -> None:
    """Forged, replayed and old ones are refused, doubles are taken once, late ones in any order."""
    async with listening(secret=SECRET) as (inbox, app, url), pair(webhook_secret=SECRET) as (emu, client):
        emu.fault("callback", **fault)
        await (await client.submit(clip(), callback_url=url)).wait()
        await emu.drain_callbacks()
        assert inbox.states == states and app.gate.counts.dropped == dropped
        refused = {row.answer for row in emu.ledger.callbacks} - {200, None}
        assert refused == ({401} if set(dropped) - {DropReason.REPEATED} else set())


async def test_unsigned_callbacks_are_hints() -> None:
    """An account without a secret is heard by its path token; one with another secret is not."""
    async with (
        listening(secret=SECRET, path_token=TOKEN) as (inbox, app, url),
        emulator() as emu,
        client_of(emu) as client,
    ):
        emu.set_duration(30)
        await (await client.submit(clip(), callback_url=url)).wait()
        emu.set_webhook_secret(OTHER)
        await (await client.submit(clip("another"), callback_url=url)).wait()
        await emu.drain_callbacks()
        assert [one.trust for one in inbox] == [Trust.HINT] * 3
        assert app.gate.counts.dropped == {DropReason.FORGED: 3}


async def test_a_callback_may_come_before_the_answer_to_its_create() -> None:
    """With the answer delayed, the first news of a task is the callback, by its external id."""
    async with listening(secret=SECRET) as (inbox, _, url), pair(webhook_secret=SECRET) as (emu, client):
        emu.fault("create", kind="slow", seconds=2)
        task = await client.submit(clip(), callback_url=url, external_task_id="early")
        await until(lambda: len(inbox) >= 2)
        assert inbox[0].callback.external_task_id == "early" and inbox[0].callback.task_id == task.id

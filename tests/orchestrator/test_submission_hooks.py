"""Submissions of a batch: hooks, attempts of earlier runs; and handles made from requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kling_async import Client, ConfigurationError, v1
from kling_async.orchestrator.attempts import EarlierAttempt
from kling_async.orchestrator.handles import attach
from kling_async.orchestrator.submission import SubmissionHooks
from kling_async.tasks import Task
from tests.support import clip, pair, still, until

if TYPE_CHECKING:
    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio


async def submit(client: Client, request: Any, name: str, **more: Any) -> str:
    """Submit as another run of the same program would; return the task's id."""
    submission = await client._engine.new_submission(request, external_task_id=name, generated=True, **more)
    return (await client._engine.queue.submit(submission)).id


class Notes(SubmissionHooks):
    """Hooks that write down when they were called."""

    def __init__(self, emu: Emulator) -> None:
        self._emu = emu
        self.before: list[int] = []
        """Creates that the server had seen."""
        self.refused: list[int] = []

    async def before_send(self) -> None:
        self.before.append(len(self._emu.ledger.creates))

    def on_refused(self) -> None:
        self.refused.append(1)


class FullDisk(SubmissionHooks):
    """Hooks that cannot write anything down."""

    async def before_send(self) -> None:
        raise ConfigurationError("the disk is full")


async def test_what_an_earlier_run_may_have_sent_is_looked_for_first() -> None:
    """A task that is found is adopted without a create; otherwise one create is sent."""
    async with pair(seconds=500) as (emu, client):
        before = await client.submit(clip(), external_task_id="job-1")
        assert await submit(client, clip(), "job-1", earlier=EarlierAttempt(0.0)) == before.id
        assert len(emu.ledger.creates) == 1
        assert await submit(client, clip(), "job-2", earlier=EarlierAttempt(0.0)) in emu.tasks
        assert [row.external_task_id for row in emu.ledger.creates] == ["job-1", "job-2"]
        assert client.account.limits()["video"].held == 2


async def test_something_can_be_written_down_before_the_first_byte() -> None:
    """The hook runs once per attempt that may exist, anew after a refusal; if it fails nothing is sent."""
    async with pair(seconds=500) as (emu, client):
        notes = Notes(emu)
        emu.fault("create", code=1302)
        await submit(client, clip(), "job-1", hooks=notes)
        assert (notes.before, notes.refused, len(emu.ledger.creates)) == ([0, 1], [1], 2)
        emu.fault("create", kind="lost_before")
        await submit(client, clip(), "job-1b", hooks=notes)
        assert (notes.before, notes.refused, len(emu.ledger.creates)) == ([0, 1, 2], [1], 4)
        with pytest.raises(ConfigurationError, match="disk is full"):
            await submit(client, clip(), "job-2", hooks=FullDisk())
        assert len(emu.ledger.creates) == 4
        await until(lambda: client.account.limits()["video"].held == 2)


async def test_a_handle_made_with_the_request_holds_its_weight() -> None:
    """A handle made from a type alone does not know the weight, and counts as 1."""
    async with pair(seconds=500) as (emu, client):
        made = await client.submit(still(n=4))
        other = Client(api_key=emu.api_key, base_url=emu.url)
        await Task(*attach(other._engine, still(n=4), task_id=made.id)).refresh()
        assert other.account.limits()["image"].held == 4
        await other.aclose()
        other = Client(api_key=emu.api_key, base_url=emu.url)
        await Task(*attach(other._engine, v1.ImageGeneration, task_id=made.id)).refresh()
        assert other.account.limits()["image"].held == 1
        await other.aclose()

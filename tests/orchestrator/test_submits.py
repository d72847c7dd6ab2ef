"""orchestrator/submits.py: jobs and handles out of what callers ask for; what a batch needs of a job."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from kling_async import Client, ConfigurationError, v1
from kling_async.tasks import attach
from tests.support import clip, pair, still, until

pytestmark = pytest.mark.anyio


async def submit(client: Client, request: Any, name: str, **job: Any) -> str:
    """Submit as another run of the same program would; the task's id."""
    made = await client._engine.new_submission(request, external_task_id=name, generated=True)
    for field, value in job.items():
        setattr(made, field, value)
    return (await client._engine.creates.submit(made)).id


async def test_what_an_earlier_run_may_have_sent_is_looked_for_first() -> None:
    """Found, it is adopted without a create; not found, it is created, once."""
    async with pair(seconds=500) as (emu, client):
        before = await client.submit(clip(), external_task_id="job-1")
        assert await submit(client, clip(), "job-1", doubt=True) == before.id
        assert len(emu.ledger.creates) == 1
        assert await submit(client, clip(), "job-2", doubt=True) in emu.tasks
        assert [row.external_task_id for row in emu.ledger.creates] == ["job-1", "job-2"]
        assert client.account.limits()["video"].held == 2


async def test_something_can_be_written_down_before_the_first_byte() -> None:
    """Once while what was sent may exist, anew after it was surely refused; if it fails nothing is sent."""
    async with pair(seconds=500) as (emu, client):
        heard: list[int] = []

        async def write() -> None:
            heard.append(len(emu.ledger.creates))

        async def fail() -> None:
            raise ConfigurationError("the disk is full")

        emu.fault("create", code=1302)
        put_off: list[int] = []
        refused = partial(put_off.append, 1)
        await submit(client, clip(), "job-1", before=write, put_off=refused)
        assert (heard, put_off, len(emu.ledger.creates)) == ([0, 1], [1], 2)
        emu.fault("create", kind="lost_before")
        await submit(client, clip(), "job-1b", before=write, put_off=refused)
        assert (heard, put_off, len(emu.ledger.creates)) == ([0, 1, 2], [1], 4)
        with pytest.raises(ConfigurationError, match="disk is full"):
            await submit(client, clip(), "job-2", before=fail)
        assert len(emu.ledger.creates) == 4
        await until(lambda: client.account.limits()["video"].held == 2)


async def test_a_handle_made_with_the_request_holds_its_weight() -> None:
    """Of a type alone the weight is unknown and counts as 1."""
    async with pair(seconds=500) as (emu, client):
        made = await client.submit(still(n=4))
        other = Client(api_key=emu.api_key, base_url=emu.url)
        await attach(other._engine, still(n=4), task_id=made.id).refresh()
        assert other.account.limits()["image"].held == 4
        await other.aclose()
        other = Client(api_key=emu.api_key, base_url=emu.url)
        await attach(other._engine, v1.ImageGeneration, task_id=made.id).refresh()
        assert other.account.limits()["image"].held == 1
        await other.aclose()

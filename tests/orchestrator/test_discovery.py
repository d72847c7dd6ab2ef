"""Test orchestrator/discovery.py: a task is found by its id alone, whatever its endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import ConfigurationError, RequestInvalid, TaskNotFound, v1
from tests.support import client_of, clip, pair, still

pytestmark = pytest.mark.anyio

REQUESTS: list[Any] = [
    clip(),
    still(n=2),
    v1.OmniVideo(prompt="a paper boat", aspect_ratio="1:1"),
    v1.TextToAudio(prompt="rain", duration=5),
    v1.OmniImage(prompt="a paper boat", aspect_ratio="1:1"),
]
"""Requests whose results are videos, images and sounds, some of which ``/tasks`` does not show whole."""


@pytest.mark.parametrize("ended", [False, True], ids=["running", "ended"])
@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: request.endpoint_name)
async def test_a_task_is_found_by_either_id_and_gives_its_typed_result(request_: Any, ended: bool) -> None:
    """Another client finds it with its endpoint, and its wait returns what the maker's would."""
    async with pair(seconds=20) as (emu, maker), client_of(emu) as other:
        task = await maker.submit(request_, external_task_id="mine")
        if ended:
            await task.wait()
        for name in (task.id, "mine"):
            found = await other.find(name)
            assert (found.id, found.record is not None and found.record.endpoint) == (
                task.id,
                request_.endpoint_name,
            )
        result = await found.wait()
        assert type(result) is type(await task.wait()) and result == await task.wait()


async def test_finding_again_gives_the_same_task_and_its_slot_counts_once() -> None:
    """Two handles by `find` and one by `attach` stand for one running task."""
    async with pair(seconds=20) as (emu, maker), client_of(emu) as other:
        task = await maker.submit(clip())
        handles = [await other.find(task.id), await other.find(task.id)]
        handles.append(other.attach(v1.TextToVideo, task_id=task.id))
        assert len({handle.tracked for handle in handles}) == 1
        assert other.account.limits()["video"].held == 1 and len(other.tasks()) == 1


async def test_an_id_that_nobody_knows_is_not_found() -> None:
    """One query by each id decides; no endpoint is asked."""
    async with pair() as (emu, client):
        with pytest.raises(TaskNotFound, match="no task 123"):
            await client.find("123")
        assert [row.path for row in emu.ledger.rows] == ["/tasks", "/tasks"]


async def test_a_key_pair_cannot_find_and_nothing_is_sent() -> None:
    """``/tasks`` takes an API key only; an id that names another path is refused as everywhere."""
    async with pair() as (emu, _):
        keys = {"access_key": emu.access_key, "secret_key": emu.secret_key}
        async with client_of(emu, **keys) as client:
            with pytest.raises(ConfigurationError, match="API key"):
                await client.find("123")
            with pytest.raises(RequestInvalid):
                await client.find("../123")
        assert emu.ledger.rows == []

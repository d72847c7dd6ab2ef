"""``if_exists="attach"`` with the id of a task of another endpoint: an error that says so."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import AmbiguousCreate, ExternalIdTaken, RequestInvalid, v1
from tests.support import client_of, clip, pair, png, still, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kling_async import Client
    from kling_async.testing import Emulator

pytestmark = pytest.mark.anyio

SLOTS = {"video": 5, "image": 9}

OTHERS: dict[str, Callable[[], Any]] = {
    "an image": still,
    "a video of the same type": lambda: v1.ImageToVideo(image=png(), prompt="x"),
    "a sound": lambda: v1.TextToAudio(prompt="rain", duration=5),
}


def keys_of(emu: Any, by: str) -> dict[str, Any]:
    return {} if by == "api key" else {"access_key": emu.access_key, "secret_key": emu.secret_key}


@pytest.mark.parametrize("by", ["api key", "key pair"])
@pytest.mark.parametrize("ended", [False, True], ids=["runs", "ended"])
@pytest.mark.parametrize("other", OTHERS)
async def test_a_task_of_another_endpoint_is_an_error_before_the_wait(
    other: str, ended: bool, by: str
) -> None:
    """By either kind of key, and whether or not it runs: nothing is made, and no slot stays held."""
    async with pair(SLOTS, seconds=60) as (emu, client):
        made = await client.submit(OTHERS[other](), external_task_id="mine")
        if ended:
            await made.wait()
        async with client_of(emu, **keys_of(emu, by)) as second:
            with pytest.raises(ExternalIdTaken, match="belongs to a task that is no text_to_video"):
                await second.submit(clip(), external_task_id="mine", if_exists="attach")
            assert second.unresolved() == [] and second.tasks() == []
            await second.submit(clip())
            assert second.account.limits()["video"].held == 1


async def test_many_ids_are_told_apart_by_few_questions() -> None:
    """Of 30 ids in use the endpoint's own are taken; a page of its list tells which these are."""
    async with pair({"video": 20, "image": 20}, seconds=900) as (emu, client):
        for n in range(15):
            await client.submit(clip(f"{n}"), external_task_id=f"clip-{n}")
            await client.submit(still(f"{n}"), external_task_id=f"still-{n}")
        async with client_of(emu) as other:
            tasks = [
                await other.enqueue(clip(f"{n}"), external_task_id=f"{kind}-{n}", if_exists="attach")
                for kind in ("clip", "still")
                for n in range(15)
            ]
            ends = await asyncio.gather(*(task.accepted() for task in tasks), return_exceptions=True)
            assert [isinstance(end, ExternalIdTaken) for end in ends] == [False] * 15 + [True] * 15
            assert len(emu.tasks) == 30
            assert other.stats().requests["lookup"] == 2 + 1 + 15  # ids, a list, and each that it lacks


async def test_the_id_of_a_task_that_this_client_was_attached_to_names_its_endpoint() -> None:
    """A handle without a request does not hide that the task is of another endpoint."""
    async with pair(SLOTS, seconds=60) as (emu, client):
        await client.submit(still(), external_task_id="mine")
        async with client_of(emu) as other:
            await other.attach(v1.ImageGeneration, external_task_id="mine").refresh()
            with pytest.raises(RequestInvalid, match="differs in endpoint"):
                await other.enqueue(clip(), external_task_id="mine", if_exists="attach")


async def test_an_id_that_another_endpoint_takes_meanwhile_is_an_error() -> None:
    """The look before came too early; the vendor's refusal is about a task that this endpoint has not."""
    async with pair({"video": 1, "image": 9}, seconds=500) as (emu, client):
        other = client_of(emu, limits={"video": 1})
        async with other:
            emu.set_foreign("video", 1)
            task = await other.enqueue(clip(), external_task_id="mine", if_exists="attach")
            await until(lambda: other.stats().refused > 0)
            await client.submit(still(), external_task_id="mine")
            emu.set_foreign("video", 0)
            with pytest.raises(ExternalIdTaken, match="no text_to_video"):
                await task.accepted()
            assert other.unresolved() == [] and other.account.limits()["video"].held == 0


async def test_where_the_own_path_is_of_no_use_the_result_tells() -> None:
    """A gateway that answers only ``/tasks``: what runs is taken, what ended as something else is not."""
    async with pair(SLOTS, seconds=60) as (emu, client):
        image = await client.submit(still(), external_task_id="image")
        await image.wait()
        await client.submit(clip(), external_task_id="video")
        async with client_of(emu) as other:
            emu.fault("query", status=404, code=1203, times=9)
            with pytest.raises(ExternalIdTaken):
                await other.submit(clip(), external_task_id="image", if_exists="attach")
            found = await other.submit(clip(), external_task_id="video", if_exists="attach")
            assert found.status in ("submitted", "processing")


# -- the id of a create of unknown fate


@asynccontextmanager
async def unresolved(fault: str) -> AsyncIterator[tuple[Emulator, Client]]:
    """Start an emulator and a client whose create under the id "mine" is of unknown fate."""
    async with pair({"video": 3, "image": 9}, seconds=500) as (emu, client):
        emu.fault("create", kind=fault)
        for question in ("query", "tasks"):
            emu.fault(question, status=500, code=5000, times=100)
        with pytest.raises(AmbiguousCreate):
            await client.submit(clip(), external_task_id="mine")
        emu.faults.clear()
        yield emu, client


@pytest.mark.parametrize("if_exists", ["error", "attach"])
async def test_a_submit_under_the_id_of_a_lost_create_settles_it(if_exists: Any) -> None:
    """Accepted, it is the one task of that id: it holds one slot, and nothing is unresolved any more."""
    async with unresolved("lost_before") as (emu, client):
        task = await client.submit(clip(), external_task_id="mine", if_exists=if_exists)
        assert client.account.limits()["video"].held == 1 and client.unresolved() == []
        assert [known.id for known in client.tasks()] == [task.id] == list(emu.tasks)


async def test_a_refusal_as_taken_has_a_lost_create_looked_up_at_once() -> None:
    """The vendor says that the id has a task: the create of unknown fate made it."""
    async with unresolved("lost_after") as (emu, client):
        with pytest.raises(ExternalIdTaken):
            await client.submit(clip(), external_task_id="mine")
        await until(lambda: client.unresolved() == [], 1)
        assert client.account.limits()["video"].held == 1
        assert [known.id for known in client.tasks()] == list(emu.tasks)

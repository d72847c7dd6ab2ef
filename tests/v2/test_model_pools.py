"""Slots by model: where the caller says so, and what the refusals of a full account tell about it."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import RawTask, v1, v2
from kling_async.catalog import endpoint_of
from kling_async.orchestrator.model_pools import model_of
from tests.v2.vendor import vendor_and_client

if TYPE_CHECKING:
    from kling_async import Client, Event

pytestmark = pytest.mark.anyio


def turbo(prompt: str) -> v2.TextToVideo:
    return v2.TextToVideo(prompt=prompt, model_name="kling-3.0-turbo")


async def most_at_once(client: Client, vendor: Any, requests: list[Any]) -> dict[str, int]:
    """Run requests; return the most tasks that ran at once, by model as its path or body names it."""
    most: dict[str, int] = {}

    async def run(request: Any) -> None:
        task = await client.submit(request)
        running = [one["model"] for one in vendor.tasks if not vendor.ended(one)]
        for model in running:
            most[model] = max(most.get(model, 0), running.count(model))
        most["all"] = max(most.get("all", 0), len(running))
        await task.wait()

    await asyncio.gather(*map(run, requests))
    return most


async def test_a_model_has_slots_of_its_own_where_the_caller_says_so() -> None:
    """Both generations of one model share its pool; other models keep the pool of their pack type."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with vendor_and_client(limits={"video": 2, "video/kling-3.0": 3}) as (vendor, client):
            requests: list[Any] = [v2.TextToVideo(prompt=str(n)) for n in range(3)]
            requests += [v1.TextToVideo(prompt=str(n)) for n in range(3)]
            most = await most_at_once(client, vendor, [*requests, *(turbo(str(n)) for n in range(5))])
            assert most["kling-3.0-turbo"] == 2
            assert most["all"] == 5
            assert client.account.limits()["video/kling-3.0"].limit == 3
            task = client.attach(v2.TextToVideo(prompt="0"), task_id=vendor.tasks[0]["id"])
            assert task.tracked.endpoint.pool == "video/kling-3.0"


async def test_by_default_all_models_share_their_slots() -> None:
    """Without such a limit there is one pool."""
    async with vendor_and_client(limits={"video": 2}) as (vendor, client):
        await most_at_once(client, vendor, [v2.TextToVideo(prompt="x"), turbo("x"), turbo("y")])
        assert list(client.account.limits()) == ["video"]


async def test_refusals_are_counted_by_model() -> None:
    """A vendor that counts by model shows: one model is made while another is refused."""
    seen: list[Event] = []
    async with vendor_and_client(limits={"video": 9}, on_event=seen.append) as (vendor, client):
        vendor.limits = {"kling-3.0": 1}
        await client.submit(v2.TextToVideo(prompt="a"))
        waiting = asyncio.ensure_future(client.submit(v2.TextToVideo(prompt="b")))
        await asyncio.gather(*(client.submit(turbo(name)) for name in "cde"))
        models = client.stats().models
        assert models["kling-3.0"].refused >= 1 and models["kling-3.0"].created == 1
        others = models["kling-3.0-turbo"]
        assert others.created == 3 and others.created_beside_refusals >= 1
        await waiting
        assert client.stats().models["kling-3.0"].created_beside_refusals == 0
        assert {event.model for event in seen if event.kind == "refused"} == {"kling-3.0"}
        shown = client.stats().to_dict()["models"]["kling-3.0-turbo"]
        assert shown == {
            "created": 3,
            "refused": 0,
            "created_beside_refusals": others.created_beside_refusals,
        }


@pytest.mark.parametrize(
    ("request_", "model"),
    [
        (v1.TextToVideo(prompt="x"), "kling-3.0"),
        (v1.OmniVideo(prompt="x"), "kling-3.0-omni"),
        (
            v2.MotionControl(
                image="https://a.example", video="https://a.example", character_orientation="video"
            ),
            "kling-3.0",
        ),
        (v1.TextToVideo(prompt="x", model_name="kling-v9"), "kling-v9"),
        (RawTask(path="/omni-video/kling-4.0", body={}), "kling-4.0"),
        (RawTask(path="/v1/videos/new", body={"model_name": "kling-v3"}), "kling-3.0"),
        (v2.DramaSubtitle(source_video="https://a.example"), ""),
    ],
)
def test_a_model_has_one_name_in_both_generations(request_: Any, model: str) -> None:
    """The second generation's; a request that names none has none."""
    assert model_of(request_, endpoint_of(request_)) == model

"""Results that callbacks tell: as whole as a query's, whatever a callback leaves out."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from kling_async.v1 import WatermarkInfo
from kling_async.webhooks import parse
from kling_async.wire.fields import fields
from tests.e2e.test_every_endpoint import TASKS, request_of, typed
from tests.emulator.calls.test_answers import SLOTS
from tests.emulator.facts import SAMPLES
from tests.support import client_of, pair, still
from tests.webhooks.receiving import receiving
from tests.webhooks.support import encoded

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::kling_async.errors.KlingWarning")]

DESCRIBED = {"images": ("index", "url"), "videos": ("id", "url", "duration")}
"""All that the vendor describes of a result in callbacks."""


def as_described(body: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a callback what the vendor does not describe."""
    result = {
        name: [
            {key: entry[key] for key in keys if key in entry} for entry in body["task_result"].get(name, ())
        ]
        for name, keys in DESCRIBED.items()
    }
    return {**body, "task_result": {**result, "audios": []}}


def marked(name: str) -> Any:
    """Return the request of an endpoint's example, with a watermarked copy where it makes one."""
    request, kind = request_of(name), TASKS[name].request
    if any(field.name == "watermark_info" for field in fields(kind)):
        return msgspec.structs.replace(request, watermark_info=WatermarkInfo(enabled=True))
    return request


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("name", TASKS)
async def test_a_told_result_is_the_one_that_a_query_shows(name: str, plain: bool) -> None:
    """Equal in all fields; a query is sent only where callbacks are not known to hold all of the result."""
    client = {"limits": SLOTS, "max_task_life": 600}
    async with receiving(seconds=20, emu={"slots": SLOTS}, client=client) as setting:
        setting.emu.know(*SAMPLES)
        request = request_of(name) if plain else marked(name)
        task = await setting.client.submit(request)
        await asyncio.sleep(21)
        assert setting.asked == 0 and task.done == TASKS[name].whole_in_callbacks
        told = await task.wait()
        assert setting.asked == (0 if TASKS[name].whole_in_callbacks else 1)
        async with client_of(setting.emu) as other:
            found = await other.attach(TASKS[name].request, task_id=task.id).wait()
        assert typed(told) == typed(found) and told.files() == found.files() != ()
        assert told.files(watermarked=True) == found.files(watermarked=True)


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("name", TASKS)
async def test_what_a_callback_leaves_out_is_asked_for(name: str, plain: bool) -> None:
    """Of a callback with nothing but the described fields: the slots are free, the result is whole."""
    async with pair(SLOTS, seconds=20, client={"limits": SLOTS, "max_task_life": 600}) as (emu, client):
        emu.know(*SAMPLES)
        request = request_of(name) if plain else marked(name)
        task = await client.submit(request)
        await asyncio.sleep(21)
        async with client_of(emu) as other:
            handle = other.attach(TASKS[name].request, task_id=task.id)
            found = await handle.wait()
            single = await other.request("GET", f"{TASKS[name].path}/{task.id}")
        client.callbacks.believe(parse(encoded(as_described(single))).record)
        assert client.account.limits()[TASKS[name].pool].held == 0
        told = await task.wait()
        assert typed(told) == typed(found) and told.files() == found.files() != ()
        assert told.files(watermarked=True) == found.files(watermarked=True)


HALF: dict[str, dict[str, Any]] = {
    "no entries": {"images": []},
    "fewer images than asked for": {"images": [{"index": 0, "url": "https://x.example/0.png"}]},
    "an entry without an address": {"images": [{"url": "https://x.example/0.png"}, {"index": 1}]},
    "an empty address": {"images": [{"url": "https://x.example/0.png"}, {"url": ""}]},
    "an address that is none": {"images": [{"url": "https://x.example/0.png"}, {"url": "pending"}]},
    "a number for an address": {"images": [{"url": "https://x.example/0.png"}, {"url": 0}]},
    "an entry that is none": {"images": [{"url": "https://x.example/0.png"}, "https://x.example/1.png"]},
    "nothing": {},
}


@pytest.mark.parametrize("half", HALF)
async def test_half_a_result_is_asked_for(half: str) -> None:
    """A believed success that lacks a file frees the slots, and one query tells the rest."""
    async with pair(SLOTS, seconds=20) as (_, client):
        task = await client.submit(still(n=2))
        await asyncio.sleep(21)
        body = {"task_id": task.id, "task_status": "succeed", "task_result": HALF[half]}
        client.callbacks.believe(parse(encoded(body)).record)
        assert client.account.limits()["image"].held == 0
        told = await task.wait()
        assert [image.url.startswith("http://127.0.0.1") for image in told.images] == [True, True]

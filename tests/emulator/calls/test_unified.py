"""``GET /tasks``, the second generation's query by ids, which finds tasks made under ``/v1``, too."""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import jwt
import pytest

from kling_async.testing import Emulator, emulator

pytestmark = pytest.mark.anyio


async def ask(emu: Emulator, token: str | None = None, **query: str) -> tuple[int, dict[str, Any]]:
    """Send GET /tasks; return the HTTP status and the JSON."""
    headers = {"Authorization": f"Bearer {token or emu.api_key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{emu.url}/tasks", params=query, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


async def make(emu: Emulator, path: str, **body: Any) -> str:
    """Create a task; return its id."""
    headers = {"Authorization": f"Bearer {emu.api_key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{emu.url}{path}", json=body, headers=headers) as answer,
    ):
        task_id: str = (await answer.json())["data"]["task_id"]
        return task_id


async def test_tasks_of_all_products_in_the_second_generations_words() -> None:
    """Status, results and billing have that API's names; unknown ids are left out."""
    async with emulator(slots={"video": 5, "image": 9}) as emu:
        film = {"model_name": "kling-v2-6", "prompt": "x", "external_task_id": "mine"}
        video = await make(emu, "/v1/videos/text2video", **film)
        image = await make(emu, "/v1/images/generations", model_name="kling-v3", prompt="x", n=2)
        bad = await make(emu, "/v1/videos/text2video", model_name="kling-v2-6", prompt="x")
        running = await make(emu, "/v1/videos/text2video", model_name="kling-v2-6", prompt="x")
        emu.finish(video)
        emu.finish(image)
        emu.finish(bad, "failed", "no")
        status, answer = await ask(emu, task_ids=f"{video},{image},{bad},{running},7")
        assert (status, answer["code"]) == (200, 0)
        found = {task["id"]: task for task in answer["data"]}
        assert set(found) == {video, image, bad, running}
        assert [found[i]["status"] for i in (video, image, bad)] == ["succeeded", "succeeded", "failed"]
        assert found[running]["status"] in ("submitted", "processing") and "outputs" not in found[running]
        assert found[video]["external_id"] == "mine" and "task_info" not in found[video]
        assert [output["type"] for output in found[image]["outputs"]] == ["image", "image"]
        assert found[video]["outputs"][0]["duration"] == "5" and found[bad]["message"] == "no"
        billing = {"charge_type": "unit", "amount": "16", "package_type": "image"}
        assert found[image]["billing"] == [billing]


async def test_by_external_ids() -> None:
    """Tasks are found by external_task_id with the other parameter; both parameters at once are refused."""
    async with emulator(slots={"video": 5}) as emu:
        film = {"model_name": "kling-v2-6", "prompt": "x", "external_task_id": "mine"}
        video = await make(emu, "/v1/videos/text2video", **film)
        _, answer = await ask(emu, external_task_ids="mine,other")
        assert [task["id"] for task in answer["data"]] == [video]
        for wrong in ({}, {"task_ids": video, "external_task_ids": "mine"}):
            status, answer = await ask(emu, **wrong)
            assert (status, answer["code"]) == (400, 1201)


@pytest.mark.parametrize(("count", "code"), [(20, 0), (21, 1201)])
async def test_at_most_twenty_ids(count: int, code: int) -> None:
    """21 ids are refused, as was measured."""
    async with emulator(slots={"video": 5}) as emu:
        _, answer = await ask(emu, task_ids=",".join(map(str, range(count))))
        assert answer["code"] == code


async def test_a_key_pair_is_refused() -> None:
    """A JWT works under /v1 only; at /tasks it is refused with 401/1002."""
    async with emulator(slots={"video": 5}) as emu:
        claims = {"iss": emu.access_key, "exp": int(time.time()) + 1800, "nbf": int(time.time()) - 5}
        token = jwt.encode(claims, str(emu.secret_key), algorithm="HS256")
        status, answer = await ask(emu, token, task_ids="1")
        assert (status, answer["code"]) == (401, 1002)

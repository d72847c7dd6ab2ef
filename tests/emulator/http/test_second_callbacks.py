"""Callbacks, faults and lists of the second generation, held against the vendor's notes and samples."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp
import pytest

from tests.emulator.calls.test_second import SOLUTIONS
from tests.emulator.http.test_callbacks import SECRET, Post, played, playing
from tests.emulator.support import Caller, calling
from tests.golden import golden

pytestmark = pytest.mark.anyio

TEXT: Final = "/text-to-video/kling-3.0"
DOCUMENTED: Final = golden("callbacks")["callbacks"]["v2, documented"]["body"]


async def film(call: Caller, url: str, path: str = TEXT, **body: Any) -> str:
    """Create a task that calls back; return its id."""
    made = await call("POST", path, json={"prompt": "p", **body, "options": {"callback_url": url}})
    data = made.data
    return str(data.get("id") or data["task_id"])


def statuses(posts: list[Post]) -> list[str]:
    return [post.json["status"] for post in posts]


async def test_callbacks_have_the_second_form_and_are_signed() -> None:
    """Each change is told under the documented names and no others; what the task cost stands in the last."""
    async with playing(webhook_secret=SECRET) as (emu, call, receiver):
        name = await film(call, receiver.url)
        await played(emu)
        (shown,) = (await call("GET", "/tasks", params={"task_ids": name})).data
    assert statuses(receiver.posts) == ["submitted", "processing", "succeeded"]
    assert all(post.genuine() and set(post.json) <= set(DOCUMENTED) for post in receiver.posts)
    assert receiver.posts[-1].json == shown and shown["billing"]
    assert receiver.posts[0].json["outputs"] == []


@pytest.mark.parametrize("path", SOLUTIONS)
async def test_solutions_call_back(path: str) -> None:
    """In the same form; subtitles tell of their end only."""
    body, _ = SOLUTIONS[path]
    async with playing(webhook_secret=SECRET) as (emu, call, receiver):
        name = await film(call, receiver.url, path, **body)
        await played(emu)
    wanted = ["succeeded"] if path.endswith("drama_subtitle") else ["submitted", "processing", "succeeded"]
    assert statuses(receiver.posts) == wanted
    assert {post.json["id"] for post in receiver.posts} == {name}


@pytest.mark.parametrize("word", ["succeed", "succeeded"])
async def test_a_fault_strikes_the_end_by_either_word(word: str) -> None:
    """A forged callback before it tells a status under the second generation's name."""
    async with playing(webhook_secret=SECRET) as (emu, call, receiver):
        emu.fault(f"callback:{word}", kind="forged")
        await film(call, receiver.url)
        await played(emu)
    assert statuses(receiver.posts) == ["submitted", "processing", "failed", "succeeded"]
    assert [post.genuine() for post in receiver.posts] == [True, True, False, True]
    assert all("task_status" not in post.json for post in receiver.posts)


async def test_an_unknown_status_is_told_under_the_right_name() -> None:
    """In the answer to a create, a query and a page; a refusal stays as it is."""
    solution = "/solutions/virtual_try_on"
    async with calling(units={"video": 100, "image": 100}) as (emu, call):
        for on in ("create", "tasks", "history"):
            emu.fault(on, kind="unknown_status", times=2)
        made = (await call("POST", TEXT, json={"prompt": "p"})).data
        worn = (await call("POST", solution, json=SOLUTIONS[solution][0])).data
        (asked,) = (await call("GET", "/tasks", params={"task_ids": made["id"]})).data
        page = (await call("POST", "/tasks", json={})).data
        emu.fault("create", kind="unknown_status")
        refused = await call("POST", TEXT, json={"prompt": ""})
    (listed,) = page["result"]
    assert set(page) == {"count", "has_more", "result"}
    for shown in (made, worn, asked, listed):
        assert shown["status"] == "reviewing" and "task_status" not in shown
    assert refused.refusal[:2] == (400, 1201)


@pytest.mark.parametrize("kind", ["html", "empty", "truncated_json", "lost_after", "hang"])
async def test_other_faults_strike_paths_of_the_second_generation(kind: Any) -> None:
    """By the beginning of the path; the next request is answered as ever."""
    async with calling() as (emu, call):
        emu.fault("/text-to-video", kind=kind)
        try:
            struck = await asyncio.wait_for(call("POST", TEXT, json={"prompt": "p"}), 1)
            assert struck.json is None
        except (aiohttp.ClientError, TimeoutError):
            assert kind in {"lost_after", "hang"}
        assert (await call("POST", TEXT, json={"prompt": "p"})).code == 0
        assert len(emu.tasks) == (1 if kind in {"html", "hang"} else 2)


async def test_lists_keep_to_what_each_page_says() -> None:
    """Of solutions the end is exclusive, a limit of 0 is 1, and ``succeed`` is a status, too."""
    solution = "/solutions/virtual_try_on"
    async with calling(units={"image": 100}) as (emu, call):
        made = (await call("POST", solution, json=SOLUTIONS[solution][0])).data
        emu.finish(made["task_id"])
        at = made["create_time"]

        async def listed(path: str, **body: Any) -> int:
            return int((await call("POST", path, json=body)).data["count"])

        assert await listed("/solutions", start_time=at - 1, end_time=at) == 0
        assert await listed("/solutions", start_time=at, end_time=at + 1) == 1
        assert await listed("/solutions", limit=0) == await listed("/solutions", limit=-3) == 1
        for word in ("succeed", "succeeded"):
            assert await listed("/solutions", filters=[{"key": "status", "values": [word]}]) == 1
        for path in ("/tasks", "/solutions"):
            refused = await call("POST", path, json={"start_time": at, "end_time": at})
            assert refused.refusal[:2] == (400, 1201)
        wrong = {"filters": [{"key": "status", "values": ["succeed"]}]}
        assert (await call("POST", "/tasks", json=wrong)).refusal[:2] == (400, 1201)


async def test_an_unknown_key_is_taken_for_a_signed_token() -> None:
    """As observed in September 2026 on creates and queries; /v1 says that it does not know the key."""
    async with calling() as (_, call):
        for method, path in (("POST", TEXT), ("GET", "/tasks"), ("POST", "/tasks")):
            status, code, words = (await call(method, path, auth="Bearer api-key-kling-none")).refusal
            assert (status, code) == (401, 1002) and "does not support AK/SK" in words


@pytest.mark.parametrize("seconds", [5, 5.5, "5", "5.5", 0, 1, 20])
async def test_a_length_is_any_number(seconds: Any) -> None:
    """Also as text, and out of bounds."""
    async with calling() as (_, call):
        assert (await call("POST", TEXT, json={"prompt": "p", "settings": {"duration": seconds}})).code == 0


async def test_a_last_frame_needs_a_first_one() -> None:
    """Also for omni videos, where neither is required."""
    frame = {"type": "last_frame", "url": "https://a.example/x.png"}
    body = {"contents": [{"type": "prompt", "text": "p"}, frame], "settings": {"aspect_ratio": "1:1"}}
    async with calling() as (_, call):
        refused = await call("POST", "/omni-video/kling-3.0-omni", json=body)
        assert refused.refusal[:2] == (400, 1201)

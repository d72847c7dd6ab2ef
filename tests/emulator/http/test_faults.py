"""Scripted faults: what each kind does to the client and to the server, and how they are counted."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from kling_async.testing import Fault, Task
from tests.emulator.support import ALL_TIME, COSTS, IMAGE, VIDEO, calling

pytestmark = pytest.mark.anyio


async def test_an_answer_by_code_or_status_or_both() -> None:
    """A code brings its status and envelope, a status alone a plain text; Retry-After is sent as given."""
    async with calling() as (emu, call):
        emu.fault("create", code=5001, retry_after=7)
        reply = await call.video()
        assert (reply.status, reply.code, reply.headers["Retry-After"]) == (503, 5001, "7")
        emu.fault("create", status=200, code=1303, message="later")
        assert (await call.video()).refusal == (200, 1303, "later")
        emu.fault("create", status=429)
        reply = await call.video()
        assert (reply.status, reply.raw, reply.headers.get("Retry-After")) == (
            429,
            b"scripted by the emulator",
            None,
        )
        emu.fault("create", code=5002, acts=True)
        assert (await call.video(external_task_id="there")).status == 504
        assert [task.external_task_id for task in emu.tasks.values()] == ["there"]
        assert await call.status("there") == "submitted"


async def test_faults_are_counted() -> None:
    """A fault skips some requests and strikes the given number; without a number it strikes all."""
    async with calling() as (emu, call):
        emu.faults.add(Fault("list", code=5000, skip=1, times=2))
        assert [(await call("GET", VIDEO)).code for _ in range(5)] == [0, 5000, 5000, 0, 0]
        emu.faults.add(Fault("list", code=5001, times=None))
        emu.faults.add(Fault("list", code=5000))
        assert [(await call("GET", VIDEO)).code for _ in range(4)] == [5001] * 4
        assert list(emu.faults) == [Fault("list", code=5001, times=None), Fault("list", code=5000)]
        emu.faults.clear()
        assert (await call("GET", VIDEO)).code == 0


@pytest.mark.parametrize(
    ("on", "hit"),
    [
        ("create", ["create"]),
        ("query", ["query"]),
        ("list", ["list"]),
        ("costs", ["costs"]),
        ("media", ["media"]),
        ("any", ["create", "query", "list", "costs", "media"]),
        ("text_to_video", ["create", "query", "list"]),
        ("image_generation", []),
        ("/v1/videos/", ["create", "query", "list"]),
        ("/v1/videos/text2video/", ["query"]),
    ],
)
async def test_faults_select_requests(on: str, hit: list[str]) -> None:
    """A fault selects a kind of request, an endpoint, a path's beginning, or all but control requests."""
    async with calling() as (emu, call):
        made = await call.video()
        task_id = made.data["task_id"]
        emu.finish(task_id)
        url = (await call("GET", f"{VIDEO}/{task_id}")).data["task_result"]["videos"][0]["url"]
        emu.fault(on, status=500, times=None)
        requests = {
            "create": call.video(),
            "query": call("GET", f"{VIDEO}/{task_id}"),
            "list": call("GET", VIDEO),
            "costs": call("GET", COSTS, params=ALL_TIME),
            "media": call("GET", url, auth=None),
        }
        assert [name for name, request in requests.items() if (await request).status == 500] == hit
        assert [row.kind for row in emu.ledger.faults] == hit
        assert (await call("GET", "/_emulator/ledger")).status == 200


async def test_lost_before_and_after() -> None:
    """The client sees a cut connection both times; only after the server acted is there a task."""
    async with calling() as (emu, call):
        emu.fault("create", kind="lost_before")
        emu.fault("create", kind="lost_after")
        for name in ("before", "after"):
            with pytest.raises(aiohttp.ClientConnectionError):
                await call.video(external_task_id=name)
        assert [task.external_task_id for task in emu.tasks.values()] == ["after"]
        lost, kept = emu.ledger.creates
        assert (lost.external_task_id, lost.code, lost.status, lost.fault) == (
            "before",
            None,
            None,
            "lost_before",
        )
        assert (kept.external_task_id, kept.code, kept.status, kept.fault) == ("after", 0, None, "lost_after")
        assert emu.ledger.created == [kept] and not emu.ledger.refused


@pytest.mark.parametrize(("acts", "waiting"), [(None, 1), (True, 1), (False, 0)])
async def test_slow_answers(acts: bool | None, waiting: int) -> None:
    """The answer comes late; the server acts at once, or as late as it answers if so scripted."""
    async with calling() as (emu, call):
        loop = asyncio.get_running_loop()
        emu.fault("create", kind="slow", seconds=30, acts=acts)
        start = loop.time()
        pending = asyncio.create_task(call.video())
        await asyncio.sleep(29)
        assert len(emu.tasks) == waiting
        assert (await pending).code == 0 and loop.time() - start == pytest.approx(30, abs=0.1)
        assert len(emu.tasks) == 1


async def test_hanging_until_the_client_leaves() -> None:
    """No answer comes, the server acts only if so scripted, and the handler ends when the client has left."""
    async with calling() as (emu, call):
        before = asyncio.all_tasks()
        for acts in (False, True):
            emu.fault("create", kind="hang", acts=acts)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call.video(), 100)
            assert len(emu.tasks) == acts
        await asyncio.sleep(2)
        assert asyncio.all_tasks() == before
        assert [row.status for row in emu.ledger.creates] == [None, None]


@pytest.mark.real
@pytest.mark.parametrize("fault", [Fault(kind="hang", acts=True), Fault(kind="slow", seconds=600)])
async def test_stopping_does_not_wait_for_hanging_requests(fault: Fault) -> None:
    """Hanging requests are cut at once when the server stops, by the real clock."""
    async with calling() as (emu, call):
        emu.faults.add(fault)
        arrived = asyncio.Event()

        def notice(_: Task) -> float:
            arrived.set()
            return 60.0

        emu.set_duration(notice)
        pending = asyncio.create_task(call.video())
        await arrived.wait()
        start = time.perf_counter()
        await emu.stop()
        assert time.perf_counter() - start < 1
        with pytest.raises(aiohttp.ClientConnectionError):
            await pending


async def test_half_a_body() -> None:
    """The whole length is announced, half is sent, the connection is cut; the server has acted."""
    async with calling() as (emu, call):
        emu.fault("create", kind="half_body")
        with pytest.raises(aiohttp.ClientPayloadError):
            await call.video()
        assert len(emu.tasks) == 1 and emu.ledger.created[0].status == 200


async def test_bodies_that_are_no_envelope() -> None:
    """A gateway's HTML, JSON cut short, and an empty body are complete HTTP answers without an envelope."""
    async with calling() as (emu, call):
        emu.fault("create", kind="html")
        page = await call.video()
        assert (page.status, page.headers["Content-Type"]) == (502, "text/html") and b"<html>" in page.raw
        assert not emu.tasks
        emu.fault("create", kind="html", status=503, acts=True)
        assert (await call.video()).status == 503 and len(emu.tasks) == 1
        emu.fault("create", kind="truncated_json")
        half = await call.video()
        assert half.status == 200 and half.json is None and half.raw.startswith(b'{"code":0')
        emu.fault("create", kind="empty")
        nothing = await call.video()
        assert (nothing.status, nothing.raw, len(emu.tasks)) == (200, b"", 3)


async def test_answers_of_the_wrong_shape() -> None:
    """The data has another type, or the task an unknown status; in lists as well."""
    async with calling() as (emu, call):
        emu.fault("query", kind="wrong_types", times=1)
        emu.fault("query", kind="wrong_types", value=[1])
        emu.fault("query", kind="unknown_status")
        emu.fault("list", kind="unknown_status", value="paused")
        task_id = (await call.video()).data["task_id"]
        path = f"{VIDEO}/{task_id}"
        assert (await call("GET", path)).data == "unexpected"
        assert (await call("GET", path)).data == [1]
        assert (await call("GET", path)).data["task_status"] == "reviewing"
        assert [task["task_status"] for task in (await call("GET", VIDEO)).data] == ["paused"]
        assert await call.status(task_id) == "submitted"


async def test_files_may_be_forbidden() -> None:
    """A fault on media answers with the given status, as for an expired URL."""
    async with calling() as (emu, call):
        task_id = (await call.image()).data["task_id"]
        emu.finish(task_id)
        url = (await call("GET", f"{IMAGE}/{task_id}")).data["task_result"]["images"][0]["url"]
        emu.fault("media", status=403)
        assert [(await call("GET", url, auth=None)).status for _ in range(2)] == [403, 200]


async def test_faults_over_http() -> None:
    """The same fields as JSON arm a fault, for emulators in another process; DELETE disarms all."""
    async with calling() as (emu, call):
        door = "/_emulator/faults"
        body = {"on": "list", "kind": "answer", "code": 5000, "times": 2}
        assert (await call("POST", door, json=body, auth=None)).json == {"armed": 1}
        assert list(emu.faults) == [Fault("list", code=5000, times=2)]
        assert (await call("GET", VIDEO)).code == 5000
        assert (await call("DELETE", door, auth=None)).json == {"armed": 0}
        assert (await call("GET", VIDEO)).code == 0
        assert (await call("PUT", door)).status == 404


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"kind": "explode"}, "Invalid enum value 'explode' - at `$.kind`"),
        ({}, "needs a status, a code or both"),
        ({"onn": "list"}, "no such field of a fault: onn"),
        ({"code": "1303"}, "Expected `int | null`, got `str` - at `$.code`"),
        ([], "a fault is a JSON object"),
    ],
)
async def test_faults_that_make_no_sense_over_http(body: Any, words: str) -> None:
    """Invalid faults are refused with the reason, and nothing is armed."""
    async with calling() as (emu, call):
        reply = await call("POST", "/_emulator/faults", json=body)
        assert reply.status == 400 and words in reply.json["error"] and not list(emu.faults)


def test_faults_that_make_no_sense() -> None:
    """In Python, an invalid fault is refused where it is written."""
    with pytest.raises(ValueError, match="no kind of fault: 'explode'"):
        Fault(kind="explode")  # type: ignore[arg-type]

"""Creates whose answers are odd, and look-ups that a cache or a mixing proxy answers with another task.

The server here is independent of the emulator, and makes one answer in the place of another.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiohttp import web

from kling_async import AmbiguousCreate, Client, catalog
from tests.support import clip, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.anyio

Fields = dict[str, Any]


def task_object(task_id: Any, external: Any, status: str = "submitted", **more: Any) -> Fields:
    info = {"external_task_id": external}
    times = {"created_at": 2_000_000_000_000, "updated_at": 2_000_000_000_000}
    return {"task_id": task_id, "task_status": status, "task_info": info, **times, **more}


def done(task: Fields) -> Fields:
    videos = [{"id": "v", "url": "https://example.com/v.mp4", "duration": "5"}]
    return {**task, "task_status": "succeed", "task_result": {"videos": videos}}


OTHER: Final = done(task_object("66", "another's"))


class Vendor:
    """A vendor whose tasks have succeeded at once, with steps in between that change its answers.

    Attributes:
        created: Makes the answer to a create out of its task.
        loses: How many answers to creates are lost.
        shows: Makes the task object of a later answer; None: it is not found.
    """

    def __init__(self) -> None:
        self.tasks: dict[str, Fields] = {}
        self.created: Callable[[Fields], object] = envelope
        self.loses = 0
        self.shows: Callable[[str, Fields | None], Fields | None] = lambda _, task: task
        self.posts = 0
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return await self.create(request)
        if "costs" in request.path:
            return web.json_response(envelope({"resource_pack_subscribe_infos": []}))
        self.asked.append(request.path_qs)
        if request.path == "/tasks":
            names = (request.query.get("external_task_ids") or request.query.get("task_ids") or "").split(",")
            found = [self.find(name) for name in names]
            return web.json_response(envelope([task for task in found if task is not None]))
        if request.path.endswith("text2video"):
            return web.json_response(envelope([done(task) for task in self.tasks.values()]))
        task = self.find(request.path.rsplit("/", 1)[1])
        if task is None:
            return web.json_response({"code": 1201, "message": "Task not found by id"}, status=400)
        return web.json_response(envelope(task))

    async def create(self, request: web.Request) -> web.StreamResponse:
        self.posts += 1
        name = json.loads(await request.read())["external_task_id"]
        self.tasks[name] = task = task_object(f"{77 + len(self.tasks)}", name)
        if self.loses:
            self.loses -= 1
            assert request.transport is not None
            request.transport.close()
        answer = self.created(task)
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return web.Response(body=body, content_type="application/json")

    def find(self, name: str) -> Fields | None:
        task = next((task for own, task in self.tasks.items() if name in (own, task["task_id"])), None)
        return self.shows(name, None if task is None else done(task))


def envelope(data: object) -> Fields:
    return {"code": 0, "message": "SUCCEED", "request_id": "r", "data": data}


@asynccontextmanager
async def vendor_and_client() -> AsyncIterator[tuple[Vendor, Client]]:
    vendor = Vendor()
    runner = web.ServerRunner(web.Server(vendor.handle), shutdown_timeout=0.1)  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with Client(base_url=address, api_key="a-key", limits={"video": 500}) as client:
            yield vendor, client
    finally:
        await runner.cleanup()


# --- odd answers to creates ------------------------------------------------------------------

ODD: dict[str, Callable[[Fields], object]] = {
    "no code": lambda task: {"data": task},
    "code null": lambda task: {**envelope(task), "code": None},
    "code as words": lambda task: {**envelope(task), "code": "SUCCEED"},
    "code as text": lambda task: {**envelope(task), "code": "0"},
    "code of HTTP": lambda task: {**envelope(task), "code": 200},
    "code an object": lambda task: {**envelope(task), "code": {}},
    "at the top": lambda task: {"code": 0, "message": "SUCCEED", **task},
    "bare": lambda task: task,
    "named id": lambda task: envelope({"id": task["task_id"]}),
    "named id at the top": lambda task: {"id": task["task_id"], "object": "video"},
    "number": lambda task: envelope({**task, "task_id": int(task["task_id"])}),
    "float": lambda task: envelope({**task, "task_id": float(task["task_id"])}),
    "list": lambda task: envelope([task]),
    "text": lambda task: envelope(json.dumps(task)),
    "wrapped": lambda task: envelope(envelope(task)),
    "odd rest": lambda task: envelope({**task, "task_info": "", "created_at": {}, "task_status": []}),
    "no rest": lambda task: envelope({"task_id": task["task_id"]}),
    "cut": lambda task: json.dumps(envelope(task)).encode()[:-20],
    "not UTF-8": lambda task: json.dumps(envelope(task)).encode().replace(b"SUCCEED", b"\xff"),
}


@pytest.mark.parametrize("how", ODD)
async def test_a_create_that_shows_its_task_is_accepted(how: str) -> None:
    """Principle (d): with the id at hand nothing is looked up, and the task is waited for as any other."""
    async with vendor_and_client() as (vendor, client):
        vendor.created = ODD[how]
        task = await client.submit(clip(), external_task_id="mine")
        assert (task.id, task.external_task_id, vendor.posts, vendor.asked) == ("77", "mine", 1, [])
        assert (await task.wait()).videos
        assert client.account.limits()["video"].held == 0


@pytest.mark.parametrize("code", [1201, 1303, 1102, 1300])
async def test_a_code_of_the_vendor_s_refuses_though_an_id_is_shown(code: int) -> None:
    """Principle (a): a refusal may name the task that stands in the way."""
    async with vendor_and_client() as (vendor, client):
        vendor.created = lambda task: {**envelope(task), "code": code, "message": "no"}
        submit = asyncio.create_task(client.submit(clip()))
        await asyncio.wait([submit], timeout=5)
        assert {task.status for task in client.tasks()} <= {"queued"}
        submit.cancel()
        await asyncio.wait([submit])
        assert submit.cancelled() or submit.exception() is not None


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("more", [{"id": "99"}, {"id": 99}])
async def test_an_answer_under_any_id_that_the_create_showed_is_about_its_task(
    number: int, more: Fields
) -> None:
    """Asked by the first id, a gateway may answer under the other; alone and among several."""
    async with vendor_and_client() as (vendor, client):
        vendor.created = lambda task: envelope({**task, **({"id": int(task["task_id"]) + 22} | more)})
        vendor.shows = lambda _, task: task and {**task, "task_id": "99"}
        first = await client.submit(clip())
        vendor.shows = lambda name, task: task and ({**task, "task_id": "99"} if name == "77" else task)
        tasks = [first, *[await client.submit(clip()) for _ in range(number - 1)]]
        assert all([(await task.wait()).videos for task in tasks])
        assert (first.id, client._engine.known_as("99")) == ("77", [])


# --- the create's answer names another external id -------------------------------------------


def renamed(_: str, task: Fields | None) -> Fields | None:
    return task and {**task, "task_info": {"external_task_id": "renamed"}}


def running(_: str, task: Fields | None) -> Fields | None:
    return task and {**task, "task_status": "processing"}


def unnamed(_: str, task: Fields | None) -> Fields | None:
    return task and {**task, "task_info": {}}


@pytest.mark.parametrize("named", ["renamed", 17, "another's"])
@pytest.mark.parametrize("shows", [lambda _, task: task, unnamed, renamed])
async def test_a_renaming_gateway_s_create_is_confirmed(named: object, shows: Any) -> None:
    """One query of the shown task tells; if it is renamed, too, a look-up by our own id gives that task."""
    async with vendor_and_client() as (vendor, client):
        vendor.created = lambda task: envelope({**task, "task_info": {"external_task_id": named}})
        vendor.shows = shows
        task = await client.submit(clip(), external_task_id="mine")
        path = "/v1/videos/text2video"
        expected = [f"{path}/77", f"{path}/mine"] if shows is renamed else [f"{path}/77"]
        assert (task.id, task.external_task_id, vendor.posts, vendor.asked) == ("77", "mine", 1, expected)
        assert (await task.wait()).videos


async def test_a_create_answered_with_another_s_task_is_looked_for() -> None:
    """The task of our own id is ours; the one that was shown is not, and its id is no alias."""
    async with vendor_and_client() as (vendor, client):
        vendor.created = lambda _: envelope(OTHER)
        vendor.shows = lambda name, task: OTHER if name == "66" else task
        task = await client.submit(clip(), external_task_id="mine")
        assert (task.id, vendor.posts, client.unresolved()) == ("77", 1, [])
        assert not client._engine.known_as("66")


@pytest.mark.parametrize("exists", [True, False])
async def test_a_create_answered_with_another_s_task_is_never_sent_again(exists: bool) -> None:
    """Not found under our own id, nobody knows if it was made: the caller is told, later looks find it."""
    async with vendor_and_client() as (vendor, client):
        vendor.created = lambda _: envelope(OTHER)
        vendor.shows = lambda name, _: OTHER if exists and name == "66" else None
        with pytest.raises(AmbiguousCreate, match="another task"):
            await client.submit(clip(), external_task_id="mine")
        assert (vendor.posts, len(client.unresolved())) == (1, 1)
        vendor.shows = running
        await until(client.tasks)
        assert [task.id for task in client.tasks()] == ["77"] and vendor.posts == 1


async def test_a_create_answered_with_a_running_task_of_ours_is_looked_for() -> None:
    """A proxy repeats the answer to an earlier create, without its external id: that task is not this one."""
    async with vendor_and_client() as (vendor, client):
        vendor.shows = running
        first = await client.submit(clip(), external_task_id="first")
        vendor.created = lambda _: envelope({"task_id": "77"})
        second = await client.submit(clip(), external_task_id="second")
        assert (first.id, second.id, vendor.posts) == ("77", "78", 2)


# --- look-ups answered with another task -----------------------------------------------------


@pytest.mark.parametrize("times", [1, 2, 1000])
async def test_a_look_up_answered_with_another_s_task_finds_nothing_and_misses_nothing(times: int) -> None:
    """It is asked again; where it stays so the fate is unknown. Nothing is adopted, nothing sent again."""
    left = [times]

    def mixed(name: str, task: Fields | None) -> Fields | None:
        if name == "mine" and left[0]:
            left[0] -= 1
            return OTHER
        return task

    async with vendor_and_client() as (vendor, client):
        vendor.loses, vendor.shows = 1, mixed
        if times < 1000:
            assert (await client.submit(clip(), external_task_id="mine")).id == "77"
        else:
            with pytest.raises(AmbiguousCreate, match="another task"):
                await client.submit(clip(), external_task_id="mine")
            vendor.shows = running
            await until(client.tasks)
            assert [task.id for task in client.tasks()] == ["77"]
        assert (vendor.posts, client.unresolved()) == (1, [])


async def test_a_look_up_answered_with_a_task_of_ours_under_another_id_is_odd() -> None:
    """Without an external id in the answer its own id tells that it is another one of ours."""
    async with vendor_and_client() as (vendor, client):
        first = await client.submit(clip(), external_task_id="first")
        answers = [{"task_id": "77", "task_status": "processing"}]
        vendor.shows = lambda name, task: answers.pop() if name == "second" and answers else task
        vendor.loses = 1
        second = await client.submit(clip(), external_task_id="second")
        assert (first.id, second.id, vendor.posts, answers) == ("77", "78", 2, [])


@pytest.mark.parametrize("answer", ["ours, unnamed", "another's"])
async def test_a_look_up_by_tasks_is_held_against_its_question(
    answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One task without an external id is the one asked about; another's leads on to the list."""
    row = catalog.TASKS[0]._replace(lookup="search")
    monkeypatch.setattr("kling_async.orchestrator.engine.endpoint_of", lambda _: row)
    async with vendor_and_client() as (vendor, client):
        vendor.loses = 1
        vendor.shows = (
            unnamed if answer == "ours, unnamed" else lambda name, task: OTHER if name == "mine" else task
        )
        assert (await client.submit(clip(), external_task_id="mine")).id == "77"
        assert [path.partition("?")[0] for path in vendor.asked] == (
            ["/tasks"] if answer == "ours, unnamed" else ["/tasks", "/v1/videos/text2video"]
        )
        assert vendor.posts == 1

"""Clients behind gateways: dialects are found by their shape, and nothing is paid twice or lost.

Most run against the emulator's gateways. The server of the second half is independent of it: a gateway of the
new-api family in a few lines, written from what people's gateways answer.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from kling_async import (
    AmbiguousCreate,
    AuthenticationError,
    Client,
    ConfigurationError,
    OutOfUnits,
    RequestRejected,
    Retry,
    TaskFailed,
    TaskNotFound,
)
from kling_async.testing import Gateway
from tests.e2e.small_vendor import address_of
from tests.support import client_of, clip, pair, still

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

FORMS: dict[str, Gateway] = {
    "envelope": Gateway(dialect="envelope"),
    "new-api": Gateway(),
    "new-api, older": Gateway(older=True),
    "new-api, words": Gateway(quotes="words"),
    "new-api, nothing quoted": Gateway(quotes="nothing"),
    "flat": Gateway(dialect="flat"),
    "a token's own limit": Gateway(most_tasks=1),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("named", [False, True])
async def test_more_tasks_than_slots_queue_behind_a_gateway(form: str, named: bool) -> None:
    """A full account queues in every form of the refusal; each result has its address; each task is one."""
    gateway = FORMS[form]
    options: dict[str, Any] = {"dialect": gateway.dialect} if named else {}
    async with pair({"video": 2}, client=options, gateway=gateway, prefix="/kling") as (emu, client):
        results = await asyncio.gather(*(client.run(clip(f"scene {n}")) for n in range(5)))
        assert all(result.videos[0].url.startswith(emu.url) for result in results)
        assert len(emu.tasks) == 5 and emu.ledger.peak("video") <= 2
        assert len({task.body["prompt"] for task in emu.tasks.values()}) == 5


@pytest.mark.parametrize("form", FORMS)
async def test_a_task_that_fails_or_does_not_exist_is_told_behind_a_gateway(form: str) -> None:
    """The vendor's reason arrives with `TaskFailed`; an unknown id is `TaskNotFound` by any dialect."""
    async with pair(gateway=FORMS[form]) as (_, client):
        with pytest.raises(TaskFailed, match="risk control"):
            await client.run(clip("emulator:fail"))
        with pytest.raises(TaskNotFound):
            await client.attach(type(clip()), task_id="task_unknown").refresh()


async def test_a_gateway_is_asked_no_more_often_than_it_asks_the_vendor() -> None:
    """Queries of one task stand 15 s apart, from the first one on, and no list is asked for."""
    async with pair({"video": 3}, seconds=100, gateway=Gateway()) as (emu, client):
        await asyncio.gather(*(client.run(clip(f"scene {n}")) for n in range(3)))
        rows = [row for row in emu.ledger.rows if row.kind != "create"]
    assert {row.kind for row in rows} <= {"query", "costs"}
    for path in {row.path for row in rows if row.kind == "query"}:
        times = [row.at for row in rows if row.path == path]
        assert len(times) > 4 and all(later - earlier >= 15 for earlier, later in pairwise(times))


@pytest.mark.parametrize("quotes", ["json", "words"])
async def test_units_that_ran_out_close_the_pool_behind_a_gateway(quotes: Any) -> None:
    """1102 is read out of the message, and the next submit fails without a request."""
    async with pair(units={"video": 0}, gateway=Gateway(quotes=quotes)) as (emu, client):
        with pytest.raises(OutOfUnits):
            await client.run(clip())
        before = len(emu.ledger.rows)
        with pytest.raises(OutOfUnits):
            await client.run(clip())
        assert len(emu.ledger.rows) == before and not emu.tasks


async def test_a_wrong_key_and_a_path_that_is_not_served_are_refused_at_once() -> None:
    """OpenAI's form of an error, once the dialect is known, needs no look-up: nothing was made."""
    async with pair(gateway=Gateway(), client={"dialect": "new-api"}) as (emu, client):
        with pytest.raises(RequestRejected, match="Invalid URL"):
            await client.run(still())
        async with client_of(emu, api_key="sk-wrong", dialect="new-api") as stranger:
            with pytest.raises(AuthenticationError, match="Invalid token"):
                await stranger.run(clip())
        assert not emu.tasks and {row.kind for row in emu.ledger.rows} <= {"create", "costs"}


async def test_a_lost_create_is_not_sent_again_where_nobody_can_look_it_up() -> None:
    """The lost create is `AmbiguousCreate`, and paid once."""
    async with pair(gateway=Gateway()) as (emu, client):
        await client.run(clip("the first one teaches the dialect"))
        emu.fault("create", kind="lost_after")
        with pytest.raises(AmbiguousCreate):
            await client.run(clip("lost"))
        assert len(emu.tasks) == 2


async def test_a_lost_create_is_sent_again_if_its_caller_wishes_that() -> None:
    """``Retry(resend_lost=True)`` takes a second task into the bargain."""
    options = {"dialect": "new-api", "retry": Retry(resend_lost=True)}
    async with pair(gateway=Gateway(), client=options) as (emu, client):
        emu.fault("create", kind="lost_after")
        assert (await client.run(clip("lost"))).videos
        assert len(emu.tasks) == 2


async def test_attach_by_external_id_is_refused_where_nobody_can_look_it_up() -> None:
    """``if_exists="attach"`` would make a second task after each restart, and says so before it pays."""
    async with pair(gateway=Gateway(), client={"dialect": "new-api"}) as (emu, client):
        with pytest.raises(ConfigurationError, match="by external id"):
            await client.submit(clip(), external_task_id="mine", if_exists="attach")
        assert not emu.tasks


# --- gateways that lose external ids -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lost_after", "lost_before"])
async def test_a_gateway_that_loses_external_ids_makes_no_second_task(kind: str) -> None:
    """A task of ours that it accepted is not found by its id, so a miss proves nothing."""
    gateway = Gateway(dialect="envelope", loses_external_ids=True)
    async with pair(gateway=gateway) as (emu, _):
        async with client_of(emu, dialect="envelope") as client:
            await client.run(clip("accepted"))
            emu.fault("create", kind=kind)
            with pytest.raises(AmbiguousCreate):
                await client.run(clip("in doubt"))
        assert len(emu.tasks) == (2 if kind == "lost_after" else 1)


@pytest.mark.parametrize("kind", ["lost_after", "lost_before"])
async def test_a_gateway_that_keeps_external_ids_is_trusted_after_one_look(kind: str) -> None:
    """The sample is found, so a miss permits the second send, and a task that was made is adopted."""
    async with pair(gateway=Gateway(dialect="envelope")) as (emu, _):
        async with client_of(emu, dialect="envelope") as client:
            await client.run(clip("accepted"))
            emu.fault("create", kind=kind)
            assert (await client.run(clip("in doubt"))).videos
        assert len(emu.tasks) == 2


async def test_without_an_accepted_task_a_gateway_is_not_trusted() -> None:
    """Nothing can be looked for as a sample: the very first create, lost, is not sent again."""
    async with pair(gateway=Gateway(dialect="envelope")) as (emu, _):
        async with client_of(emu, dialect="envelope") as client:
            emu.fault("create", kind="lost_before")
            with pytest.raises(AmbiguousCreate):
                await client.run(clip("in doubt"))
        assert not emu.tasks


async def test_the_vendor_needs_no_sample() -> None:
    """Loopback counts as the vendor: the very first create, lost, is sent again."""
    async with pair() as (emu, client):
        emu.fault("create", kind="lost_before")
        assert (await client.run(clip())).videos
        assert len(emu.tasks) == 1


# --- a gateway that is not the emulator's --------------------------------------------------------


class NewApi:
    """A gateway of the new-api family with one channel of two slots, whose vendor takes 40 s for a task."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.creates = 0

    async def create(self, request: web.Request) -> web.Response:
        self.creates += 1
        body = await request.json()
        if request.headers["Authorization"] != "Bearer sk-gateway":
            error = {"message": "无效的令牌", "type": "new_api_error", "param": "", "code": ""}
            return web.json_response({"error": error}, status=401)
        if body["model_name"] == "kling-v9":
            words = "No available channel for model kling-v9 under group default (distributor)"
            return web.json_response(
                {"error": {"message": words, "type": "new_api_error", "code": "model_not_found"}}, status=503
            )
        if sum(self.status(row) == "IN_PROGRESS" for row in self.rows.values()) >= 2:
            return web.json_response(
                {"code": "fail_to_fetch_task", "message": "当前分组上游负载已饱和", "data": None},
                status=429,
            )
        name = f"task_{len(self.rows):032d}"
        self.rows[name] = {"began": asyncio.get_running_loop().time(), "prompt": body["prompt"]}
        return web.json_response(
            {
                "id": name,
                "task_id": name,
                "object": "video",
                "model": body["model_name"],
                "status": "queued",
                "progress": 0,
                "created_at": 1_790_000_000,
            }
        )

    def status(self, row: dict[str, Any]) -> str:
        return "IN_PROGRESS" if asyncio.get_running_loop().time() < row["began"] + 40 else "SUCCESS"

    async def show(self, name: str) -> web.Response:
        row = self.rows.get(name)
        if row is None:
            wrong = {"code": "task_not_exist", "message": "task_not_exist", "data": None}
            return web.json_response(wrong, status=400)
        status = self.status(row)
        data = {
            "id": 5,
            "created_at": 1_790_000_000,
            "task_id": name,
            "platform": "50",
            "action": "textGenerate",
            "status": status,
            "fail_reason": "",
            "submit_time": 1_790_000_000,
            "progress": "30%",
            "properties": {"input": ""},
            "data": {},
        }
        if status == "SUCCESS":
            data["result_url"] = f"https://cdn.example/{row['prompt']}.mp4"
        return web.json_response({"code": "success", "message": "", "data": data})

    async def other(self, request: web.Request) -> web.Response:
        words = f"Invalid URL ({request.method} {request.path})"
        error = {"message": words, "type": "invalid_request_error", "param": "", "code": ""}
        return web.json_response({"error": error}, status=404)


@asynccontextmanager
async def new_api() -> AsyncIterator[tuple[NewApi, str]]:
    gateway = NewApi()

    async def answer(request: web.Request) -> web.Response:
        path, _, name = request.path.partition("/kling/v1/videos/text2video")
        if path or "text2video" not in request.path:
            return await gateway.other(request)
        return await (gateway.show(name[1:]) if request.method == "GET" else gateway.create(request))

    async with address_of(answer) as url:
        yield gateway, f"{url}/kling"


async def test_an_independent_gateway_is_understood() -> None:
    """Five tasks on two slots end with their addresses; the key's own 429 queues; each create is one task."""
    async with new_api() as (gateway, url), Client(base_url=url, api_key="sk-gateway") as client:
        prompts = [f"scene-{n}" for n in range(5)]
        results = await asyncio.gather(*(client.run(clip(p, model_name="kling-v2-6")) for p in prompts))
        assert [r.videos[0].url for r in results] == [f"https://cdn.example/{p}.mp4" for p in prompts]
        assert sorted(row["prompt"] for row in gateway.rows.values()) == prompts
        with pytest.raises(TaskNotFound):
            await client.attach(type(clip()), task_id="task_9").refresh()


async def test_an_independent_gateway_refuses() -> None:
    """A wrong key is told in the gateway's words; a 503 for a model without a channel proves nothing."""
    async with new_api() as (gateway, url):
        async with Client(base_url=url, api_key="sk-wrong") as client:
            with pytest.raises(AuthenticationError, match="无效的令牌"):
                await client.run(clip(model_name="kling-v2-6"))
        async with Client(base_url=url, api_key="sk-gateway", dialect="new-api") as client:
            with pytest.raises(AmbiguousCreate, match="no way to look a task up"):
                await client.run(clip(extra={"model_name": "kling-v9"}))
        assert not gateway.rows


async def test_an_answer_that_shows_a_task_is_never_dropped() -> None:
    """Whatever else is odd in the answer to a create, its task is looked after, not paid and lost."""
    odd = [
        {"task_id": "task_7"},
        {"data": {"id": "task_7"}},
        {"result": {"task_id": "task_7"}, "id": "task_7"},
        {"code": "success", "data": {"task": {"task_id": "task_7"}}},
        {"object": "video.job", "id": "task_7"},
    ]
    for body in odd:

        async def answer(request: web.Request, body: Any = body) -> web.Response:
            return web.Response(body=json.dumps(body), content_type="application/json")

        async with address_of(answer) as url, Client(base_url=url, api_key="sk-gateway") as client:
            assert (await client.submit(clip())).id == "task_7"

"""Gateways with quirks of their own: other fields, other types, other ids; nothing is paid twice or lost.

The server is independent of the emulator: a table of tasks and one form of answers per scenario.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from kling_async import AmbiguousCreate, Client, ConfigurationError, DownloadError, Retry
from kling_async.webhooks import parse
from tests.e2e.small_vendor import address_of
from tests.films import FILM
from tests.support import clip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

pytestmark = pytest.mark.anyio

PATH = "/v1/videos/text2video"
ADDRESS = "https://cdn.example/a.mp4"


class Quirky:
    """A gateway: how it answers is given by functions of a task's public id and whether it has ended."""

    def __init__(
        self,
        shown: Callable[[str, bool], Any],
        created: Callable[[str], Any] | None = None,
        *,
        seconds: float = 40,
        missing: Any = None,
        keeps_external_ids: bool = False,
    ) -> None:
        self.shown = shown
        self.created = created or (lambda name: {"id": name, "object": "video", "status": "queued"})
        self.seconds = seconds
        self.missing = missing or {"code": "task_not_exist", "message": "task_not_exist", "data": None}
        self.keeps_external_ids = keeps_external_ids
        self.began: dict[str, float] = {}
        self.external: dict[str, str] = {}
        self.asked: list[str] = []
        self.before: list[Callable[[web.Request], web.StreamResponse | None]] = []
        """Each takes one request in the place of the gateway, unless it returns None."""
        self.always: Callable[[web.Request], web.StreamResponse | None] = lambda _: None
        """As ``before``, for each GET."""
        self.slow = 0.0
        """Seconds until a create is answered."""
        self.lose: list[str] = []
        """What happens to the next creates: ``after`` or ``before`` they are made, the connection is cut."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return await self.create(request)
        if self.before and (odd := self.before.pop(0)(request)) is not None:
            return odd
        if (odd := self.always(request)) is not None:
            return odd
        name = request.path.rpartition("/")[2]
        self.asked.append(name)
        name = self.external.get(name, name) if self.keeps_external_ids else name
        if name not in self.began:
            return web.json_response(self.missing, status=400)
        return web.json_response(self.shown(name, self.now() >= self.began[name] + self.seconds))

    async def create(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        lost = self.lose.pop(0) if self.lose else ""
        if self.before and (odd := self.before.pop(0)(request)) is not None:
            return odd
        if lost == "before":
            cut(request)
            return web.Response()
        name = f"task_{len(self.began)}"
        self.began[name] = self.now()
        if "external_task_id" in body:
            self.external[body["external_task_id"]] = name
        await asyncio.sleep(self.slow)
        if lost == "after":
            cut(request)
        return web.json_response(self.created(name), status=201)


@asynccontextmanager
async def client_at(gateway: Quirky, **options: Any) -> AsyncIterator[Client]:
    async with (
        address_of(gateway.answer) as url,
        Client(base_url=f"{url}/kling", api_key="sk-gateway", **options) as client,
    ):
        yield client


def always(answer: web.Response) -> Callable[[web.Request], web.Response]:
    return lambda _: answer


def cut(request: web.Request) -> None:
    """Close the connection of a request."""
    assert request.transport is not None
    request.transport.close()


def row(name: str, ended: bool, **fields: Any) -> dict[str, Any]:
    """Return a row of a table of tasks in the answer of the new-api family."""
    status = "SUCCESS" if ended else "IN_PROGRESS"
    task = {"task_id": name, "status": status, "fail_reason": "", "submit_time": 1_790_000_000, "data": None}
    return {"code": "success", "message": "", "data": task | fields}


def vendors(name: str, status: str) -> dict[str, Any]:
    task: dict[str, Any] = {"task_id": f"v-{name}", "task_status": status}
    if status == "succeed":
        task["task_result"] = {"videos": [{"id": "1", "url": ADDRESS, "duration": "5"}]}
    return {"code": 0, "message": "SUCCEED", "data": task}


def envelope(name: str, ended: bool, **fields: Any) -> dict[str, Any]:
    """Return the vendor's envelope with a public id."""
    task = vendors(name, "succeed" if ended else "processing")["data"] | {"task_id": name} | fields
    return {"code": 0, "message": "", "request_id": name, "task_id": name, "data": task}


SHOWN: dict[str, Callable[[str, bool], Any]] = {
    "the address alone": lambda name, ended: row(name, ended, result_url=ADDRESS if ended else ""),
    "word in another case": lambda name, ended: row(
        name, ended, status="Success" if ended else "in_Progress", url=ADDRESS
    ),
    "data encoded twice": lambda name, ended: (
        row(name, ended) | {"data": json.dumps(row(name, ended, result_url=ADDRESS)["data"])}
    ),
    "the vendor's answer encoded twice": lambda name, ended: row(
        name, ended, data=json.dumps(vendors(name, "succeed"))
    ),
    "the vendor's task without its envelope": lambda name, ended: row(
        name, ended, data=vendors(name, "succeed")["data"]
    ),
    "the vendor's answer is older": lambda name, ended: row(
        name, ended, data=vendors(name, "submitted"), result_url=ADDRESS
    ),
    "no word of its own": lambda name, ended: row(
        name, ended, status="UNKNOWN", data=vendors(name, "succeed" if ended else "processing")
    ),
    "a video in metadata": lambda name, ended: {
        "id": name,
        "object": "video",
        "status": "completed" if ended else "in_progress",
        "metadata": {"url": ADDRESS},
    },
    "an object of another name": lambda name, ended: {
        "id": name,
        "object": "video.generation",
        "status": "succeeded" if ended else "processing",
        "video_url": ADDRESS,
    },
    "code of null, and an error of null": lambda name, ended: {
        "code": None,
        "error": None,
        "id": name,
        "object": "video",
        "status": "completed" if ended else "queued",
        "url": ADDRESS,
    },
    "flat, without its own fields until the end": lambda name, ended: {
        "code": "SUCCESS",
        "data": {"task_id": name, "status": "Succeeded", "url": ADDRESS}
        if ended
        else {"task_id": name, "status": "queued"},
    },
    "a code of 200": lambda name, ended: row(name, ended, result_url=ADDRESS) | {"code": 200},
    "no envelope": lambda name, ended: envelope(name, ended)["data"],
    "the vendor's envelope": envelope,
    "the vendor's envelope, its data encoded twice": lambda name, ended: (
        envelope(name, ended) | {"data": json.dumps(envelope(name, ended)["data"])}
    ),
    "the vendor's envelope, times and status as a table has them": lambda name, ended: envelope(
        name, ended, created_at=1_790_000_000, task_status="SUCCESS" if ended else "IN_PROGRESS"
    ),
}


@pytest.mark.parametrize("form", SHOWN)
async def test_every_form_of_a_task_ends_with_its_address(form: str) -> None:
    """Fields may be missing, of other types, or in other places; HTTP 201 accepts as 200 does."""
    gateway = Quirky(SHOWN[form])
    async with client_at(gateway) as client:
        result = await asyncio.wait_for(client.run(clip()), 600)
        assert result.videos[0].url == ADDRESS and len(gateway.began) == 1


REFUSED = {
    "JSON in JSON in JSON": json.dumps({"error": {"message": json.dumps({"code": 1303, "message": "m"})}}),
    "a number as text": '{"code":"1303","message":"full"}',
    "within a Chinese sentence": '上游返回错误 {状态码 429} {"code":1303,"message":"超出并发"} (id: 7)',
    "cut": '{"code": 1303, "message": "parallel task ov',
    "behind braces": "model {kling-v3} of {group}: Parallel task over resource pack limit",
}


@pytest.mark.parametrize("quoted", REFUSED)
@pytest.mark.parametrize("status", [200, 400, 429])
@pytest.mark.parametrize("form", ["word", "object", "both", "number"])
async def test_a_full_account_queues_however_its_refusal_is_quoted(
    quoted: str, status: int, form: str
) -> None:
    """The create is sent again when the slot is free, and no task is made twice."""
    error = {"message": REFUSED[quoted], "type": "upstream_error", "code": "fail_to_fetch_task"}
    bodies = {
        "word": {"code": "fail_to_fetch_task", "message": REFUSED[quoted], "data": None},
        "object": {"error": error},
        "both": {"code": "fail_to_fetch_task", "message": "上游错误", "error": error},
        "number": {"code": status, "message": REFUSED[quoted]},
    }
    gateway = Quirky(SHOWN["the address alone"])

    def full(request: web.Request) -> web.Response | None:
        return web.json_response(bodies[form], status=status)

    gateway.before = [lambda _: None, full]
    async with client_at(gateway) as client:
        results = await asyncio.gather(*(client.run(clip(f"scene {n}")) for n in range(2)))
        assert all(result.videos[0].url == ADDRESS for result in results) and len(gateway.began) == 2


async def test_a_429_in_any_form_queues_behind_a_known_gateway() -> None:
    """A proxy's HTML in front of it, too: nothing is looked up, and nothing is in doubt."""
    forms = [
        web.Response(text="<html>429 Too Many Requests</html>", content_type="text/html", status=429),
        web.json_response({"detail": "slow down"}, status=429),
        web.Response(status=429),
        web.json_response({"code": 429, "message": "请求过于频繁"}, status=429),
    ]
    gateway = Quirky(SHOWN["the address alone"])
    async with client_at(gateway, dialect="new-api", retry=Retry(max_tries=2)) as client:
        running = await client.submit(clip("the first"))
        gateway.before = [always(form) for form in forms]
        assert (await client.run(clip("the second"))).videos
        await running.wait()
        assert len(gateway.began) == 2 and not client.unresolved()


# --- lost creates ----------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["after", "before"])
async def test_the_first_create_lost_at_a_gateway_on_this_machine_is_not_sent_again(lost: str) -> None:
    """A gateway's own word for "not found" shows that it is no vendor: a miss proves nothing."""
    gateway = Quirky(SHOWN["the address alone"])
    gateway.lose = [lost]
    async with client_at(gateway) as client:
        with pytest.raises(AmbiguousCreate):
            await client.run(clip())
        assert len(gateway.began) == (lost == "after")


async def test_attach_at_a_gateway_of_unknown_dialect_pays_for_nothing() -> None:
    """A "not found" in its own word would make a second task after each restart."""
    gateway = Quirky(SHOWN["the address alone"])
    async with client_at(gateway) as client:
        with pytest.raises(ConfigurationError, match="name it, dialect="):
            await client.submit(clip(), external_task_id="mine", if_exists="attach")
        assert not gateway.began


async def test_attach_at_a_gateway_that_loses_ids_is_refused_once_that_shows() -> None:
    """A task of ours that was accepted is not found, so no miss is paid for any more."""
    gateway = Quirky(envelope, lambda name: envelope(name, False))
    async with client_at(gateway, dialect="envelope") as client:
        await client.submit(clip(), external_task_id="first", if_exists="attach")
        with pytest.raises(ConfigurationError, match="this one does not"):
            await client.submit(clip(), external_task_id="second", if_exists="attach")
        assert len(gateway.began) == 1


async def test_many_creates_in_doubt_look_for_the_sample_once() -> None:
    """The first of them looks, the others wait for what it finds; each is then sent again, once."""
    gateway = Quirky(envelope, lambda name: envelope(name, False), keeps_external_ids=True)
    async with client_at(gateway, dialect="envelope", limits={"video": 10}) as client:
        await client.run(clip("accepted"), external_task_id="sample")
        gateway.lose = ["before"] * 5
        await asyncio.gather(*(client.run(clip(f"scene {n}")) for n in range(5)))
        assert len(gateway.began) == 6 and gateway.asked.count("sample") == 1


async def test_a_sample_shown_under_another_id_is_found() -> None:
    """Creates show a public id, look-ups the vendor's own: the external id proves whose it is."""

    def shown(name: str, ended: bool) -> Any:
        external = next(mine for mine, public in gateway.external.items() if public == name)
        asked = gateway.asked[-1]
        info = {
            "task_id": name if asked == name else f"v-{name}",
            "task_info": {"external_task_id": external},
        }
        return envelope(name, ended, **info)

    gateway = Quirky(shown, lambda name: envelope(name, False), keeps_external_ids=True)
    async with client_at(gateway, dialect="envelope") as client:
        await client.run(clip("accepted"))
        gateway.lose = ["before"]
        await client.run(clip("in doubt"))
        assert len(gateway.began) == 2


@pytest.mark.parametrize("where", ["create", "query"])
async def test_an_external_id_of_the_gateways_own_is_no_other_task(where: str) -> None:
    """The gateway shows the id that it gave the vendor: by the task id of the answer the task is ours."""

    def shown(name: str, ended: bool) -> Any:
        return envelope(name, ended, task_info={"external_task_id": f"gw-{name}"})

    first = shown if where == "create" else envelope
    gateway = Quirky(shown, lambda name: first(name, False))
    async with client_at(gateway, dialect="envelope") as client:
        assert (await client.run(clip())).videos
        assert (await client.run(clip("another"))).videos
        assert len(gateway.began) == 2


# --- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["row", "envelope"])
@pytest.mark.parametrize("asks", [True, False])
async def test_a_file_of_the_gateways_own_host_is_fetched_with_the_key(
    form: str, asks: bool, tmp_path: Path
) -> None:
    """Where it asks for the key, and for an address without a host; the host it leads on to gets no key."""
    seen: list[tuple[str, str | None]] = []

    async def store(request: web.Request) -> web.Response:
        seen.append(("store", request.headers.get("Authorization")))
        return web.Response(body=FILM, content_type="video/mp4")

    path = "/v1/videos/task_0/content"
    shown = {
        "row": lambda name, ended: row(name, ended, result_url=path if ended else ""),
        "envelope": lambda name, ended: envelope(name, ended, task_result={"videos": [{"url": path}]}),
    }[form]
    async with address_of(store) as elsewhere:

        def file(request: web.Request) -> web.Response | None:
            if not request.path.endswith("/content"):
                return None
            key = request.headers.get("Authorization")
            seen.append((request.path, key))
            if asks and key != "Bearer sk-gateway":
                return web.json_response({"error": {"message": "无效的令牌", "type": "x"}}, status=401)
            return web.Response(status=302, headers={"Location": f"{elsewhere}/film.mp4"})

        gateway = Quirky(shown)
        gateway.always = file
        async with client_at(gateway, dialect="new-api" if form == "row" else "envelope") as client:
            task = await client.submit(clip())
            await task.wait()
            (stored,) = await task.download(tmp_path)
            assert stored.read_bytes() == FILM
    key = "Bearer sk-gateway"
    assert seen == ([(path, None), (path, key)] if asks else [(path, None)]) + [("store", None)]


async def test_the_key_is_shown_to_no_other_host(tmp_path: Path) -> None:
    """Another port of the same machine is another host: its 401 is an error of the file."""
    keys: list[str | None] = []

    async def store(request: web.Request) -> web.Response:
        keys.append(request.headers.get("Authorization"))
        return web.Response(status=401)

    async with address_of(store) as elsewhere:
        gateway = Quirky(lambda name, ended: row(name, ended, result_url=f"{elsewhere}/a.mp4"))
        async with client_at(gateway, retry=Retry(max_tries=1)) as client:
            task = await client.submit(clip())
            await task.wait()
            with pytest.raises(DownloadError):
                await task.download(tmp_path)
    assert keys and set(keys) == {None}


async def test_a_gateway_that_restarts_does_not_stop_a_client_for_hours() -> None:
    """Creates that nobody can look up hold their slots for ten minutes, and stay unresolved after that."""
    gateway = Quirky(SHOWN["the address alone"])
    async with client_at(gateway, dialect="new-api", limits={"video": 2}) as client:
        bad = [web.Response(text="<html>502</html>", status=502), web.Response(status=503)]
        gateway.before = [always(answer) for answer in bad]
        lost = [client.run(clip(f"lost {n}")) for n in range(2)]
        told = await asyncio.gather(*lost, return_exceptions=True)
        assert all(isinstance(error, AmbiguousCreate) for error in told)
        begun = gateway.now()
        results = await asyncio.gather(*(client.run(clip(f"scene {n}")) for n in range(3)))
        assert all(result.videos for result in results) and 600 <= gateway.now() - begun < 800
        assert len(client.unresolved()) == 2 and len(gateway.began) == 3


@pytest.mark.parametrize("ended", [False, True])
async def test_a_callback_shows_the_vendors_id_which_a_gateway_does_not_know(ended: bool) -> None:
    """The callback settles no create that waits for its answer: nobody could ask for the task by that id."""
    gateway = Quirky(envelope, lambda name: envelope(name, False))
    gateway.slow = 20
    async with client_at(gateway, dialect="envelope") as client:
        running = asyncio.create_task(client.run(clip(), external_task_id="mine"))
        await asyncio.sleep(5)
        told = vendors("task_0", "succeed" if ended else "processing")["data"]
        told["task_info"] = {"external_task_id": "mine"}
        client.callbacks.believe(parse(json.dumps(told).encode()).record)
        await asyncio.sleep(1)
        assert not running.done()
        assert (await running).videos[0].url == ADDRESS
        assert len(gateway.began) == 1 and "v-task_0" not in gateway.asked


async def test_a_create_that_is_sent_again_unseen_waits_for_what_broke_its_answer() -> None:
    """``Retry(resend_lost=True)`` makes no eight tasks in the second in which a gateway restarts."""
    gateway = Quirky(SHOWN["the address alone"])
    sent: list[float] = []

    def broken(_: web.Request) -> web.Response:
        sent.append(gateway.now())
        return web.Response(status=503)

    async with client_at(gateway, dialect="new-api", retry=Retry(resend_lost=True)) as client:
        gateway.before = [broken] * 3
        assert (await client.run(clip())).videos
    assert [round(later - earlier) for earlier, later in pairwise(sent)] == [20, 20]
    assert len(gateway.began) == 1


@pytest.mark.parametrize("times", [1, 2, 5])
@pytest.mark.parametrize("dialect", ["new-api", "envelope"])
async def test_a_task_that_a_gateway_does_not_know_for_a_while_goes_on(dialect: Any, times: int) -> None:
    """A table may lag behind: the task is asked about again alone, as where one of many is "not found"."""
    gateway = Quirky(SHOWN["the address alone"] if dialect == "new-api" else envelope)
    async with client_at(gateway, dialect=dialect) as client:
        task = await client.submit(clip())
        gateway.before = [always(web.json_response(gateway.missing, status=400)) for _ in range(times)]
        assert (await asyncio.wait_for(task.wait(), 1500)).videos
        assert not gateway.before and ("tasks" not in gateway.asked or dialect == "envelope")

"""Tasks of the second generation from submit to file, against a vendor that is no emulator of ours."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiohttp import web

from kling_async import (
    AmbiguousCreate,
    BadResponse,
    Client,
    ConfigurationError,
    ExternalIdTaken,
    RawTask,
    RequestInvalid,
    TaskFailed,
    TaskNotFound,
    v1,
    v2,
)
from kling_async.webhooks import parse
from tests.support import until
from tests.v2.vendor import NOW, Vendor, refusal, success, vendor_and_client, wall_time

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

URL: Final = "https://a.example/x.png"


def clip(prompt: str = "A pebble", **more: Any) -> v2.TextToVideo:
    return v2.TextToVideo(prompt=prompt, **more)


async def test_a_video_from_submit_to_result(tmp_path: Path) -> None:
    """The model stands in the path, ids in options; the result is the one of v1; a file is stored."""
    async with vendor_and_client() as (vendor, client):
        task = await client.submit(
            clip(duration=3), external_task_id="job-1", callback_url="https://a.example/c"
        )
        result = await task.wait()
        path, body = vendor.creates[0]
        assert path == "/text-to-video/kling-3.0"
        assert body == {
            "prompt": "A pebble",
            "settings": {"duration": 3},
            "options": {"external_task_id": "job-1", "callback_url": "https://a.example/c"},
        }
        assert isinstance(result, v1.Videos)
        assert task.record is not None
        assert (result.videos[0].seconds, task.record.units) == (3.041, "2.4")
        assert (task.record.endpoint, task.external_task_id) == ("v2.text_to_video", "job-1")
        (stored,) = await task.download(tmp_path, name="{endpoint}-{task_id}")
        assert stored.name == f"v2.text_to_video-{task.id}.mp4"
        assert all(call[:2] == ("GET", "/tasks") for call in vendor.queries)


async def test_solutions_are_asked_about_at_their_own_query() -> None:
    """Create, look-up by either id and result of a solution; the try-on's answer has another form."""
    async with vendor_and_client() as (vendor, client):
        vendor.outputs = lambda task: [{"type": "image", "url": f"{vendor.url}/files/{task['id']}.png"}]
        images = await client.run(v2.VirtualTryOn(product_image=URL, person_image=URL))
        assert len(images.images) == 1
        assert vendor.creates[0][0] == "/solutions/virtual_try_on"
        assert {call[1] for call in vendor.queries} == {"/solutions"}
        name = vendor.tasks[0]["external_id"]
        again = client.attach(v2.VirtualTryOn, external_task_id=name)
        assert (await again.wait()).images == images.images


async def test_a_hundred_tasks_are_asked_about_twenty_at_a_time() -> None:
    """Tasks of v1 and v2 share queries of at most 20 ids; those of the solutions have their own."""
    async with vendor_and_client(limits={"video": 200, "virtual_try_on": 9}) as (vendor, client):
        jobs = [client.run(clip(f"x{n}")) for n in range(50)]
        jobs += [client.run(v1.TextToVideo(prompt=f"x{n}")) for n in range(20)]
        solutions = [
            client.run(v2.DramaSubtitle(source_video=f"https://a.example/{n}.mp4")) for n in range(25)
        ]
        await asyncio.gather(*jobs, *solutions)
        asked = [query["task_ids"].split(",") for _, path, query in vendor.queries if path == "/tasks"]
        assert max(map(len, asked)) == 20
        kinds = [
            {next(t for t in vendor.tasks if t["id"] == i)["path"].split("/")[1] for i in ids}
            for ids in asked
        ]
        assert {"v1", "text-to-video"} in kinds
        assert all("solutions" not in kind for kind in kinds)
        others = [query["task_ids"].split(",") for _, path, query in vendor.queries if path == "/solutions"]
        assert max(map(len, others)) == 20
        assert len(vendor.queries) < 80


async def test_both_generations_share_the_slots() -> None:
    """One pool for v1 and v2: no more tasks at once than it has slots."""
    async with vendor_and_client(limits={"video": 2}) as (vendor, client):
        running: list[int] = []

        async def run(request: Any) -> None:
            task = await client.submit(request)
            running.append(sum(not vendor.ended(t) for t in vendor.tasks))
            await task.wait()

        await asyncio.gather(
            *(run(clip(str(n))) for n in range(3)), *(run(v1.TextToVideo(prompt=str(n))) for n in range(3))
        )
        assert max(running) == 2
        assert client.stats().refused == 0


@pytest.mark.parametrize("limits", [{"video": 3}, {"video": 9, "video/kling-3.0": 3}], ids=["all", "model"])
async def test_clients_that_share_a_ledger_share_these_slots(tmp_path: Path, limits: dict[str, int]) -> None:
    """Two clients of one file hold no more slots together than there are, and see all ends."""
    slots = f"sqlite:///{tmp_path / 'slots.db'}"
    async with vendor_and_client(limits=limits, slots=slots) as (vendor, client):
        vendor.limits = {"kling-3.0": 3}
        async with Client(
            base_url=vendor.url, api_key="key-1", now=wall_time, limits=limits, slots=slots
        ) as other:
            await asyncio.gather(*(user.run(clip(f"x{n}")) for n in range(6) for user in (client, other)))
            assert len(vendor.tasks) == 12
            assert client.stats().refused + other.stats().refused == 0
            assert {call[1] for call in vendor.queries} == {"/tasks"}


LOST: Final = {
    "an error": lambda: web.json_response({"code": 5000, "message": "oops"}, status=500),
    "HTML": lambda: web.Response(status=502, text="<h1>bad</h1>", content_type="text/html"),
    "nothing": lambda: web.Response(status=504),
}


@pytest.mark.parametrize("name", LOST)
@pytest.mark.parametrize("kind", ["video", "solution", "raw"])
async def test_a_lost_create_is_found_by_its_external_id(name: str, kind: str) -> None:
    """The answer is lost, the task was made: it is found by the unified query and not made again."""
    requests: dict[str, Any] = {
        "video": clip(),
        "solution": v2.DramaSubtitle(source_video=URL),
        "raw": RawTask(path="/text-to-video/kling-4.0", body={"prompt": "x"}),
    }
    async with vendor_and_client() as (vendor, client):
        vendor.faults = [LOST[name]()]
        task = await client.submit(requests[kind])
        await task.wait()
        assert len(vendor.tasks) == len(vendor.creates) == 1
        at = "/solutions" if kind == "solution" else "/tasks"
        assert ("GET", at, {"external_task_ids": vendor.tasks[0]["external_id"]}) in vendor.queries
        assert client.stats().adopted == 1


async def test_a_create_that_made_nothing_is_sent_again() -> None:
    """An answer lost before the vendor, an empty look-up: the same id is sent once more."""
    async with vendor_and_client() as (vendor, client):
        made = vendor.create
        calls = 0

        def create(path: str, body: Any) -> web.Response:
            nonlocal calls
            calls += 1
            return web.Response(status=502) if calls == 1 else made(path, body)

        vendor.on_create = create
        await client.run(clip())
        assert len(vendor.tasks) == 1
        assert calls == 2


async def test_an_unknown_model_s_path_is_of_the_second_generation_too() -> None:
    """A RawTask at a path with a model gets its ids under options, and is asked about at /tasks."""
    async with vendor_and_client() as (vendor, client):
        request = RawTask(
            path="/omni-video/kling-4.0",
            body={"contents": [], "options": {"watermark_info": {"enabled": True}}},
        )
        result = await client.run(request)
        assert list(vendor.creates[0][1]["options"]) == ["watermark_info", "external_task_id"]
        assert "videos" in result.raw
        assert {call[1] for call in vendor.queries} == {"/tasks"}


async def test_a_failure_costs_nothing_and_tells_why() -> None:
    """The failed task's reason is raised; an amount of 0 without a type is a cost of 0."""
    async with vendor_and_client() as (vendor, client):
        task = await client.submit(clip())
        vendor.tasks[0]["fails"] = "Something went wrong when we tried to get the contents of the file."
        with pytest.raises(TaskFailed, match="contents of the file"):
            await task.wait()
        assert task.record is not None and task.record.units == "0"


async def test_an_id_that_is_left_out_is_not_still_running() -> None:
    """A given id that no answer shows is told after a few looks; an accepted task's after many."""
    async with vendor_and_client() as (vendor, client):
        with pytest.raises(TaskNotFound):
            await client.attach(v2.TextToVideo, task_id="910000000000000099").wait()
        given = asyncio.get_running_loop().time()
        assert given < 60
        task = await client.submit(clip())
        vendor.hidden = {vendor.tasks[0]["id"]}
        with pytest.raises(TaskNotFound):
            await task.wait()
        assert 600 < asyncio.get_running_loop().time() - given < 1500


async def test_a_task_left_out_of_one_answer_lives_on() -> None:
    """One answer that leaves a running task out decides nothing."""
    async with vendor_and_client() as (vendor, client):
        tasks = [await client.submit(clip(str(n))) for n in range(3)]
        waits = [asyncio.ensure_future(task.wait()) for task in tasks]
        vendor.hidden = {vendor.tasks[1]["id"]}
        await asyncio.sleep(45)
        vendor.hidden = set()
        assert len(await asyncio.gather(*waits)) == 3


async def test_a_key_pair_is_refused_before_anything_is_sent() -> None:
    """Submit, attach and history say which key to make; the first generation works on."""
    async with vendor_and_client(access_key="ak", secret_key="s" * 32) as (vendor, client):
        for request in (clip(), v2.DramaSubtitle(source_video=URL), RawTask(path="/omni-video/x", body={})):
            with pytest.raises(ConfigurationError, match=r"takes no key pair.*KLING_API_KEY"):
                await client.submit(request)
        with pytest.raises(ConfigurationError, match="takes no key pair"):
            client.attach(v2.TextToVideo, task_id="1")
        with pytest.raises(ConfigurationError, match="takes no key pair"):
            client.history()
        assert not vendor.creates and not vendor.queries


async def test_a_batch_by_key_pair_stops_with_the_reason(tmp_path: Path) -> None:
    """The journal keeps such a job open: with an API key the same batch goes on."""
    requests = [clip(), v1.TextToVideo(prompt="x")]
    async with vendor_and_client(access_key="ak", secret_key="s" * 32) as (vendor, client):
        vendor.key_pairs = True
        async with client.batch(requests, journal=tmp_path / "j") as batch:
            with pytest.raises(ConfigurationError, match="takes no key pair"):
                [outcome async for outcome in batch]
        assert {path for path, _ in vendor.creates} <= {"/v1/videos/text2video"}
        later = Client(base_url=vendor.url, api_key="key-1", now=wall_time)
        async with later, later.batch(requests, journal=tmp_path / "j") as batch:
            assert all([outcome.ok async for outcome in batch])
        assert len(vendor.tasks) == 2


async def test_the_former_host_serves_only_v1() -> None:
    """The error names the hosts to use."""
    client = Client(api_key="key", base_url="https://api.klingai.com")
    with pytest.raises(ConfigurationError, match=r"api\.klingai\.com serves only /v1.*api-singapore"):
        await client.submit(clip())
    await client.aclose()


async def test_an_id_is_unique_over_generations() -> None:
    """The id of a task at another endpoint is refused by the vendor, and told, not attached to."""
    async with vendor_and_client() as (vendor, client):
        await client.submit(v1.TextToVideo(prompt="x"), external_task_id="one")
    async with vendor_and_client() as (vendor, client):
        vendor.tasks.append(
            {"id": "7", "external_id": "one", "path": "/v1/videos/text2video", "model": "m", "made": NOW}
        )
        with pytest.raises(ExternalIdTaken, match="one"):
            await client.submit(clip(), external_task_id="one")
        assert len(vendor.tasks) == 1


@pytest.mark.parametrize("watermark", [False, True])
@pytest.mark.parametrize("shown", [False, True])
async def test_a_callback_ends_the_wait(watermark: bool, shown: bool) -> None:
    """A believed callback of the second shape is the end; a query follows only for a copy that it lacks."""
    async with vendor_and_client() as (vendor, client):
        plain = vendor.outputs
        vendor.outputs = lambda task: [{**one, "watermark_url": f"{one['url']}?w"} for one in plain(task)]
        task = await client.submit(clip(watermark=watermark), callback_url="https://a.example/c")
        wait = asyncio.ensure_future(task.wait())
        await asyncio.sleep(0)
        vendor.queries.clear()
        body = vendor.shown({**vendor.tasks[0], "made": NOW - 30})
        vendor.tasks[0]["made"] = NOW - 30
        for output in body["outputs"] if not shown else ():
            del output["watermark_url"]
        client.callbacks.believe(parse(json.dumps(body).encode()).record)
        result = await wait
        assert len(vendor.queries) == (1 if watermark and not shown else 0)
        assert len(result.files(watermarked=True)) == (1 if watermark or shown else 0)


@pytest.mark.parametrize("if_exists", ["error", "attach"])
@pytest.mark.parametrize("lost", [False, True])
async def test_an_id_at_another_product_is_told(if_exists: Any, lost: bool) -> None:
    """A task of images has the id: it is never taken for the video, and nothing is made."""
    async with vendor_and_client() as (vendor, client):
        vendor.outputs = lambda task: [{"type": "image", "url": f"{vendor.url}/files/{task['id']}.png"}]
        other = {"id": "7", "external_id": "one", "path": "/v1/images/generations", "model": "m"}
        vendor.tasks.append({**other, "made": NOW - 3600})
        made, calls = vendor.create, 0

        def create(path: str, body: Any) -> web.Response:
            nonlocal calls
            calls += 1
            return web.Response(status=502) if lost and calls == 1 else made(path, body)

        vendor.on_create = create
        with pytest.raises(ExternalIdTaken):
            await client.submit(clip(), external_task_id="one", if_exists=if_exists)
        assert len(vendor.tasks) == 1


async def test_a_batch_resumes_tasks_of_the_second_generation(tmp_path: Path) -> None:
    """The second run finds every task in the journal and makes none; the model is a part of the identity."""
    requests = [clip("a"), clip("a", model_name="kling-3.0-turbo"), v2.DramaSubtitle(source_video=URL)]
    vendor_tasks = 0
    async with vendor_and_client() as (vendor, client):
        for _ in range(2):
            options: dict[str, Any] = {"journal": tmp_path / "j", "download_to": tmp_path / "out"}
            async with client.batch(requests, **options) as batch:
                outcomes = [outcome async for outcome in batch]
            assert [outcome.error for outcome in outcomes] == [None] * 3
            vendor_tasks = vendor_tasks or len(vendor.tasks)
            assert len(vendor.tasks) == vendor_tasks == 3


async def test_a_journal_alone_finishes_tasks_of_the_second_generation(tmp_path: Path) -> None:
    """Without the requests: what runs is waited for, and has its typed result."""
    async with vendor_and_client() as (vendor, client):
        batch = client.batch(
            [("a", clip()), ("b", v2.DramaSubtitle(source_video=URL))], journal=tmp_path / "j"
        )
        async with batch:
            await until(lambda: len(vendor.tasks) == 2, 20)
        async with client.resume(tmp_path / "j") as results:
            kinds = {outcome.key: type(outcome.result) async for outcome in results}
        assert kinds == {"a": v2.Videos, "b": v2.SubtitledVideos}
        assert len(vendor.tasks) == 2


async def read_all(client: Client, **options: Any) -> list[str]:
    return [task.task_id async for task in client.history(**options)]


async def test_the_history_goes_through_every_page() -> None:
    """All tasks, those of v1 too, page after page; a cursor goes with the same filters, not the times."""
    async with vendor_and_client() as (vendor, client):
        for n in range(3):
            await client.submit(clip(str(n)))
        await client.submit(v1.TextToVideo(prompt="x"))
        await asyncio.sleep(40)
        late = await client.submit(clip("late"))
        everything = [task["id"] for task in vendor.tasks][::-1]
        assert await read_all(client) == everything
        vendor.queries.clear()
        start, end = (dt.datetime.fromtimestamp(wall_time() + s, dt.UTC) for s in (-3600, 3600))
        ended = await read_all(client, start=start, end=end, status="succeed", product_type=["video"])
        assert ended == [name for name in everything if name != late.id]
        first, *others = [body for method, _, body in vendor.queries if method == "POST"]
        filters = [{"key": "status", "values": ["succeeded"]}, {"key": "product_type", "values": ["video"]}]
        assert first == {
            "limit": 500,
            "start_time": int(start.timestamp() * 1000),
            "end_time": int(end.timestamp() * 1000),
            "filters": filters,
        }
        assert others == [{"limit": 500, "cursor": "2", "filters": filters}]
        assert await read_all(client, end=dt.datetime.fromtimestamp(NOW - 9, dt.UTC)) == []
        record = await anext(client.history(status="succeeded"))
        assert (record.status, record.units, record.endpoint) == ("succeeded", "2.4", "")


async def test_the_history_of_solutions_is_its_own() -> None:
    """The vendor keeps these tasks in another list."""
    async with vendor_and_client() as (_, client):
        await client.submit(clip())
        task = await client.submit(v2.DramaSubtitle(source_video=URL))
        assert await read_all(client, of="solutions") == [task.id]
        assert task.id not in await read_all(client)


async def test_a_history_that_leads_in_a_circle_is_told() -> None:
    """What was read has been yielded; then the error says why there is no way on."""
    async with vendor_and_client() as (vendor, client):
        page = {"result": [{"id": "1", "status": "failed"}], "has_more": True, "next_cursor": "c"}
        vendor.on_page = lambda *_: success(page)
        tasks = client.history()
        assert [(await anext(tasks)).task_id for _ in range(2)] == ["1", "1"]
        with pytest.raises(BadResponse, match="came a second time"):
            await anext(tasks)
        vendor.on_page = lambda *_: success({**page, "next_cursor": None})
        with pytest.raises(BadResponse, match="sent no cursor"):
            await read_all(client)
        vendor.on_page = lambda *_: success("odd")
        with pytest.raises(BadResponse, match="cannot be read"):
            await read_all(client)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"start": dt.datetime(2026, 1, 1)}, "start"),  # noqa: DTZ001 - without a zone, which is the point
        ({"end": 5}, "end"),
        (
            {"start": dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "end": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)},
            "end",
        ),
        ({"status": ""}, "status"),
        ({"status": []}, "status"),
        ({"of": "solutions", "product_type": "video"}, "product_type"),
        ({"of": "all"}, "of"),
    ],
)
async def test_a_wrong_history_is_refused(options: dict[str, Any], field: str) -> None:
    """Before anything is sent, with the name of the argument."""
    async with vendor_and_client() as (vendor, client):
        with pytest.raises(RequestInvalid) as caught:
            client.history(**options)
        assert [problem.field for problem in caught.value.problems] == [field]
        assert vendor.queries == []


async def test_there_is_no_list_of_one_endpoint() -> None:
    """The error names the list that there is."""
    async with vendor_and_client() as (_, client):
        with pytest.raises(RequestInvalid, match=r"client.history\(\)"):
            await client.list(v2.TextToVideo)


async def test_a_gateway_that_refuses_ids_in_numbers_does_not_stop_the_wait() -> None:
    """Refused queries of many are followed by single ones, and no storm of requests."""
    async with vendor_and_client() as (vendor, client):
        by_ids = vendor.by_ids
        vendor.on_ids = lambda query, path: (
            refusal(400, 1201, "one only") if "," in next(iter(query.values())) else by_ids(query, path)
        )
        await asyncio.gather(*(client.run(clip(str(n))) for n in range(4)))
        assert len(vendor.queries) < 40


async def test_a_task_that_vanishes_before_its_answer_is_ambiguous_no_longer_than_it_must() -> None:
    """A create whose answer is lost and whose id nobody can be asked about is told as such."""
    async with vendor_and_client() as (vendor, client):
        vendor.faults = [web.Response(status=502)]
        vendor.on_ids = lambda *_: refusal(403, 1103, "no right")
        with pytest.raises(AmbiguousCreate):
            await client.submit(clip())
        assert len(vendor.tasks) == 1
        await until(lambda: bool(client.unresolved()), 1)


def test_the_vendor_is_told_by_its_page() -> None:
    """What the pages say of the server itself: at most 20 ids, exactly one parameter."""
    vendor = Vendor()
    assert vendor.by_ids({"task_ids": "1", "external_task_ids": "1"}, "/tasks").status == 400
    assert vendor.by_ids({"task_ids": ",".join("1" * 21)}, "/tasks").status == 400
    assert vendor.by_ids({}, "/tasks").status == 400

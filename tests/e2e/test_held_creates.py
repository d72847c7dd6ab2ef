"""Creates that are all refused alike wait instead of burning the input: by a wall, or for their model.

The server here is independent of the emulator: a vendor in a few lines that makes tasks for the models that
it serves, behind a gateway that may refuse everything for a while.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiohttp import web

from kling_async import (
    AccountError,
    AmbiguousCreate,
    APIError,
    BadResponse,
    Client,
    ClientClosed,
    QueueTimeout,
    RawTask,
    RequestRejected,
)
from tests.e2e.batches import remaining, run_and_report
from tests.e2e.small_vendor import SmallVendor, address_of, not_found, refusal, success, wall_time
from tests.support import Recorder, clip, still, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from kling_async.batch.outcomes import Outcome

pytestmark = pytest.mark.anyio

NEW: Final = "kling-v3"
"""The model that is refused; with another all goes well."""
OLD: Final = "kling-v2-6"


class Vendor(SmallVendor):
    """A vendor whose tasks take ten seconds, and a gateway before it.

    Attributes:
        model: Answers creates of this model with `refusal` while it is set.
        wall: Answers of the gateway to creates and to reads; None: it lets them through.
    """

    def __init__(self) -> None:
        super().__init__()
        self.model: str | None = None
        self.refusal: Callable[[], web.Response] = lambda: refusal(1203, 404, "model not found")
        self.wall: dict[str, Callable[[], web.Response] | None] = {"POST": None, "GET": None}
        self.posts: list[tuple[float, str]] = []
        """When which create came, by its prompt."""

    def answer(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        if request.method == "POST":
            self.posts.append((wall_time(), body["prompt"]))
        if (wall := self.wall[request.method]) is not None:
            return wall()
        if request.method == "POST":
            return self.create(body)
        task = self.find(request.path.rsplit("/", 1)[1])
        if task is None or request.path == "/tasks" or "costs" in request.path:
            return not_found()
        return success(self.look(task))

    def create(self, body: dict[str, Any]) -> web.Response:
        if self.model is not None and body.get("model_name") == self.model:
            return self.refusal()
        name, now = body["external_task_id"], int(wall_time() * 1000)
        assert name not in self.tasks, "made twice"
        task = self.make(name, "submitted")
        task["created_at"] = task["updated_at"] = now
        return success(task)

    def look(self, task: dict[str, Any]) -> dict[str, Any]:
        if wall_time() >= task["created_at"] / 1000 + 10:
            task["task_status"] = "succeed"
            video = {"id": "v", "url": "https://x.example/v", "duration": "5"}
            task["task_result"] = {"videos": [video], "images": [{"index": 0, "url": "https://x.example/i"}]}
        return task


def page(status: int) -> web.Response:
    return web.json_response({"message": "no Route matched with those values"}, status=status)


@asynccontextmanager
async def vendor_at() -> AsyncIterator[tuple[Vendor, str]]:
    vendor = Vendor()
    async with address_of(vendor.handle) as address:
        yield vendor, address


def client_at(address: str, **options: Any) -> Client:
    options = {"limits": {"video": 5, "image": 9}, "now": wall_time, **options}
    return Client(base_url=address, api_key="a-key", **options)


@asynccontextmanager
async def vendor_and_client(**options: Any) -> AsyncIterator[tuple[Vendor, Client]]:
    async with vendor_at() as (vendor, address), client_at(address, **options) as client:
        yield vendor, client


def refused(found: list[Outcome[Any]]) -> list[Outcome[Any]]:
    return [outcome for outcome in found if not outcome.ok]


REFUSALS: Final[dict[str, Callable[[], web.Response]]] = {
    "404 page": lambda: page(404),
    "403 HTML": lambda: web.Response(status=403, text="<h1>no</h1>", content_type="text/html"),
    "unknown code": lambda: refusal(1999, 400, "something new"),
    "1103": lambda: refusal(1103, 403, "no right to this model"),
    "1203": lambda: refusal(1203, 404, "model not found"),
}


@pytest.mark.parametrize("form", REFUSALS)
async def test_what_queues_behind_equal_refusals_waits_and_is_made_later(form: str) -> None:
    """Rule 5a: about ten submits fail, others of the pool pass, and the rest is made in the end."""
    async with vendor_and_client() as (vendor, client):
        vendor.model, vendor.refusal = NEW, REFUSALS[form]
        submits = [asyncio.create_task(client.submit(clip(str(n), model_name=NEW))) for n in range(60)]
        await until(lambda: bool(client.stats().holds), 200)
        others = await asyncio.gather(*(client.run(clip("good", model_name=OLD)) for _ in range(20)))
        assert len(others) == 20
        await until(lambda: client.stats().in_flight == 0, 200)
        failed = [submit for submit in submits if submit.done()]
        assert 10 <= len(failed) <= 16
        vendor.model = None
        done = await asyncio.gather(*submits, return_exceptions=True)
        errors = [error for error in done if isinstance(error, BaseException)]
        assert len(errors) <= len(failed) + 1  # a probe, perhaps
        assert all(isinstance(error, APIError | BadResponse) for error in errors)
        assert len(vendor.tasks) == 20 + 60 - len(errors)
        assert client.stats().holds == {} and client.unresolved() == []


async def test_one_probe_a_minute_and_its_refusal_is_its_own() -> None:
    """Rule 5a: while the model is refused, one create a minute fails; the others wait on."""
    async with vendor_and_client() as (vendor, client):
        vendor.model = NEW
        submits = [asyncio.create_task(client.submit(clip(str(n), model_name=NEW))) for n in range(30)]
        await until(lambda: bool(client.stats().holds))
        await asyncio.sleep(1)
        failed, start = sum(submit.done() for submit in submits), len(vendor.posts)
        await asyncio.sleep(605)
        times = [time for time, _ in vendor.posts[start:]]
        assert len(times) == 10 and sum(submit.done() for submit in submits) == failed + 10
        assert all(59.9 <= b - a <= 61 for a, b in itertools.pairwise(times))
        for submit in submits:
            submit.cancel()
        done = await asyncio.gather(*submits, return_exceptions=True)
        assert {type(error) for error in done} == {RequestRejected, asyncio.CancelledError}


async def test_a_hold_is_told_once_with_all_that_one_needs(caplog: pytest.LogCaptureFixture) -> None:
    """A warning and an event at its begin and its end; numbers in `stats`; why, in a `QueueTimeout`."""
    heard = Recorder()
    caplog.set_level(logging.WARNING, "kling_async")
    async with vendor_and_client(on_event=heard) as (vendor, client):
        vendor.model, vendor.refusal = NEW, REFUSALS["404 page"]
        submits = [asyncio.create_task(client.submit(clip(str(n), model_name=NEW))) for n in range(20)]
        await until(lambda: bool(heard.of("held")), 300)
        assert client.stats().holds == {f"text_to_video {NEW}": "HTTP 404 without a code"}
        with pytest.raises(QueueTimeout, match=r"127\.0\.0\.1: HTTP 404 without a code"):
            await client.submit(clip("late", model_name=NEW), queue_timeout=5)
        await until(lambda: len(vendor.posts) >= 12, 200)  # a probe was refused
        vendor.model = None
        await asyncio.gather(*submits, return_exceptions=True)
        assert client.stats().held == 1
    (held,), (released,) = heard.of("held"), heard.of("released")
    assert (held.endpoint, held.pool, held.error) == ("text_to_video", "video", "BadResponse")
    assert released.endpoint == "text_to_video"
    texts = [record.getMessage() for record in caplog.records if "held" in record.getMessage()]
    assert len(texts) == 1
    for word in (f"10 creates of text_to_video {NEW}", "127.0.0.1", "HTTP 404", "60 s", "no Route matched"):
        assert word in texts[0], word


async def test_reopen_ends_all_holds_at_once() -> None:
    """Whoever has mended the cause need not wait for the probe."""
    async with vendor_and_client() as (vendor, client):
        vendor.model = NEW
        submits = [asyncio.create_task(client.submit(clip(str(n), model_name=NEW))) for n in range(20)]
        await until(lambda: bool(client.stats().holds))
        vendor.model = None
        client.account.reopen("video")
        done = await asyncio.wait_for(asyncio.gather(*submits, return_exceptions=True), 50)
        assert sum(isinstance(error, RequestRejected) for error in done) <= 15
        assert client.stats().holds == {}


async def test_a_request_without_a_model_and_a_raw_one_have_holds_of_their_own() -> None:
    """None is a key of its own; a `RawTask` is known by its path and the model in its body."""
    body = {"prompt": "raw", "model_name": NEW}
    async with vendor_and_client() as (vendor, client):
        vendor.model = NEW
        raw = [RawTask(path="/v1/videos/text2video", body=body) for _ in range(12)]
        submits = [asyncio.create_task(client.submit(request)) for request in raw]
        await until(lambda: bool(client.stats().holds))
        assert list(client.stats().holds) == [f"/v1/videos/text2video {NEW}"]
        await client.submit(clip("typed", model_name=OLD))
        await client.submit(RawTask(path="/v1/videos/text2video", body={"prompt": "other"}))
        for submit in submits:
            submit.cancel()
        await asyncio.gather(*submits, return_exceptions=True)


async def test_a_wall_before_creates_and_look_ups_holds_creates_too() -> None:
    """Every create is unresolved then: the endpoint pauses, and each task is made once after the wall."""
    async with vendor_and_client(limits={"video": 40}) as (vendor, client):
        vendor.wall = dict.fromkeys(vendor.wall, lambda: page(403))
        submits = [asyncio.create_task(client.submit(clip(str(n)))) for n in range(100)]
        await until(lambda: bool(client.stats().holds))
        await asyncio.sleep(30)
        assert len(vendor.posts) == 40
        vendor.wall = dict.fromkeys(vendor.wall)
        done = await asyncio.gather(*submits, return_exceptions=True)
        assert sum(isinstance(error, AmbiguousCreate) for error in done) == 40
        assert len(vendor.tasks) == 60
        await until(lambda: not client.unresolved(), 3000, step=10)


async def test_a_client_that_is_closed_ends_what_is_held() -> None:
    """What is parked is told like anything else that queues."""
    async with vendor_at() as (vendor, address):
        vendor.model = NEW
        async with client_at(address) as client:
            submits = [asyncio.create_task(client.submit(clip(str(n), model_name=NEW))) for n in range(30)]
            await until(lambda: bool(client.stats().holds))
        done = await asyncio.gather(*submits, return_exceptions=True)
    assert {type(error) for error in done} == {RequestRejected, ClientClosed}


# -- batches


@pytest.mark.parametrize(("code", "status", "number"), [(1203, 404, 3000), (1203, 404, 90), (1103, 403, 90)])
async def test_a_model_that_is_not_granted_costs_a_batch_about_ten_jobs(
    tmp_path: Path, code: int, status: int, number: int
) -> None:
    """Of 3,000 about ten fail, the rest is unsent; granted, the next run makes all (shown with fewer)."""
    stills = [still(str(n), model_name="kling-v2-1") for n in range(3)]
    requests = [*(clip(f"new {n}", model_name=NEW) for n in range(number)), *stills]
    async with vendor_at() as (vendor, address):
        vendor.model, vendor.refusal = NEW, lambda: refusal(code, status, "not for you")
        async with client_at(address) as client:
            found, report = await run_and_report(client, requests, tmp_path)
        bad = refused(found)
        assert 10 <= len(bad) <= 15 and len(vendor.posts) == len(bad) + 3
        assert all(isinstance(outcome.error, AccountError | RequestRejected) for outcome in bad)
        (line,) = report.skipped
        assert (line.what, line.requests) == (f"text_to_video {NEW}", number - len(bad))
        assert report.stopped == "refusals" and str(code) in report.advice
        vendor.model = None
        if number > 1000:
            return
        async with client_at(address, limits={"video": 50}) as client:
            found, report = await run_and_report(client, requests, tmp_path, retry_failed=True)
        assert len(found) == number + 3 and refused(found) == [] and report.advice == ""
        assert len(vendor.tasks) == number + 3


@pytest.mark.parametrize("slots", [5, 40])
async def test_seconds_of_a_gateway_s_404_do_not_burn_a_batch(tmp_path: Path, slots: int) -> None:
    """At most what was on its way fails, nothing for good; the next run makes the rest under the same ids."""
    requests = [clip(str(n)) for n in range(120)]
    async with vendor_at() as (vendor, address):
        vendor.wall = dict.fromkeys(vendor.wall, lambda: page(404))
        async with (
            client_at(address, limits={"video": slots}) as client,
            client.batch(requests, journal=tmp_path / "jobs.sqlite") as results,
        ):
            await asyncio.sleep(1.5)
            vendor.wall = dict.fromkeys(vendor.wall)
            found = await remaining(results)
        assert len(refused(found)) <= slots + 10
        async with client_at(address, limits={"video": slots}) as client:
            found, report = await run_and_report(client, requests, tmp_path)
        assert len(found) == len(vendor.tasks) == 120 and refused(found) == [] and report.advice == ""


async def test_a_hold_stops_its_endpoint_and_model_in_every_batch_and_nothing_else() -> None:
    """One customer's refusals stop another's batch only where these would be refused as well."""
    mixed: list[Any] = [*(clip(f"b {n}", model_name=OLD) for n in range(30)), clip("a", model_name=NEW)]
    async with vendor_and_client() as (vendor, client):
        vendor.model = NEW
        async with (
            client.batch([clip(f"c {n}", model_name=OLD) for n in range(30)]) as others,
            client.batch(mixed) as same,
        ):
            submits = [asyncio.create_task(client.submit(clip(str(n), model_name=NEW))) for n in range(40)]
            await until(lambda: bool(client.stats().holds))
            async with client.batch([clip(f"d {n}", model_name=NEW) for n in range(50)]) as late:
                assert await remaining(late) == []
            assert (late.report.stopped, late.report.skipped[0].requests) == ("refusals", 50)
            assert "1203" in late.report.advice
            found = await remaining(same)
            assert len(found) == 30 and refused(found) == []
            assert [(line.what, line.requests) for line in same.report.skipped] == [
                (f"text_to_video {NEW}", 1)
            ]
            assert len(await remaining(others)) == 30
            assert (others.report.stopped, others.report.skipped, others.report.advice) == ("", (), "")
        for submit in submits:
            submit.cancel()
        await asyncio.gather(*submits, return_exceptions=True)


async def test_a_batch_begun_after_the_pause_is_the_probe() -> None:
    """Nobody queues there: the first job finds out, and the others follow or stop with it."""
    requests = [clip(f"d {n}", model_name=NEW) for n in range(50)]
    async with vendor_and_client() as (vendor, client):
        vendor.model = NEW
        async with client.batch(requests) as results:
            assert 10 <= len(await remaining(results)) <= 15
        await asyncio.sleep(60)
        posts = len(vendor.posts)
        async with client.batch(requests) as results:
            assert len(await remaining(results)) == 1 == len(vendor.posts) - posts
        assert results.report.stopped == "refusals"
        await asyncio.sleep(60)
        vendor.model = None
        async with client.batch(requests) as results:
            assert refused(await remaining(results)) == [] and len(vendor.tasks) == 50


async def test_a_batch_that_no_refusals_stop_waits_and_probes() -> None:
    """``stop_after_refusals=None``: its jobs wait as any submit does, and are made once that works."""
    requests = [clip(f"d {n}", model_name=NEW) for n in range(50)]
    async with vendor_and_client() as (vendor, client):
        vendor.model, vendor.refusal = NEW, REFUSALS["1103"]
        async with client.batch(requests, stop_after_refusals=None) as results:
            await asyncio.sleep(200)
            assert len(vendor.posts) <= 15 + 3
            vendor.model = None
            found = await remaining(results)
        assert len(found) == 50 and len(refused(found)) <= 18
        assert len(vendor.tasks) == 50 - len(refused(found)) and results.report.skipped == ()


async def test_what_only_a_batch_counts_never_holds_another_s_creates() -> None:
    """1201, 1300 and 1301 stop their endpoint and model in that batch; the client goes on."""
    for code in (1201, 1300, 1301):
        async with vendor_and_client() as (vendor, client):
            vendor.model, vendor.refusal = NEW, partial(refusal, code, 400, "no")
            async with client.batch([clip(f"a {n}", model_name=NEW) for n in range(50)]) as results:
                assert 10 <= len(await remaining(results)) <= 15
            assert results.report.stopped == "refusals" and client.stats().holds == {}
            vendor.model = None
            async with client.batch([clip(f"b {n}", model_name=NEW) for n in range(20)]) as results:
                assert refused(await remaining(results)) == []

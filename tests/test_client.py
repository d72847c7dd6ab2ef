"""client.py: the methods that users call."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from kling_async import (
    AmbiguousCreate,
    BadResponse,
    Client,
    ClientClosed,
    ConfigurationError,
    KlingWarning,
    Polling,
    QueueTimeout,
    RawTask,
    RequestInvalid,
    RequestRejected,
    Retry,
    ServerError,
    Task,
    TaskTimeout,
    Timeouts,
    TransportError,
    v1,
)
from kling_async.testing import emulator
from tests.support import client_of, clip, pair, settle, still, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_run_is_submit_and_wait() -> None:
    """One call gives one result; on_task shows the task as soon as it exists."""
    async with pair() as (_, client):
        made: list[Task[v1.Videos]] = []
        videos = await client.run(clip(), on_task=made.append, external_task_id="mine", priority=1, label="x")
        assert videos.videos and made[0].external_task_id == "mine"


async def test_runs_timeout_covers_queue_and_task() -> None:
    """In the queue the error is QueueTimeout, later TaskTimeout."""
    async with pair({"video": 1}, seconds=100, client={"limits": {"video": 1}}) as (emu, client):
        with pytest.raises(TaskTimeout):
            await client.run(clip(), timeout=20)
        with pytest.raises(QueueTimeout):
            await client.run(clip(), timeout=20)
        await client.tasks()[0].wait()
        emu.fault("create", kind="slow", seconds=25)
        with pytest.raises(TaskTimeout, match="external_task_id"):
            await client.run(clip(), timeout=20)
        await until(client.tasks)


async def test_runs_timeout_after_a_refusal_says_that_nothing_was_created() -> None:
    """A submit that 1303 sent back to the queue has no task that could run on; the error tells the reason."""
    async with pair(foreign={"video": 5}, client={"limits": {"video": 5}}) as (emu, client):
        with pytest.raises(QueueTimeout, match=r"nothing was created .*parallel task"):
            await client.run(clip(), timeout=20)
        assert emu.ledger.refused and not emu.ledger.created


async def test_call_answers_at_once() -> None:
    """run() and call() take the synchronous requests alike; the answer is typed."""
    async with pair() as (_, client):
        costs = await client.run(v1.AccountCosts(start_time=0, end_time=4102444800000))
        assert {pack.status for pack in costs.packs} == {"online"}
        with pytest.raises(TransportError, match="no answer within 0 s"):
            await client.run(v1.AccountCosts(start_time=0, end_time=1), timeout=0)


async def test_the_inner_code_of_an_accepting_answer_is_raised() -> None:
    """data.code other than 0 is a refusal, though the envelope says 0."""
    async with pair() as (emu, client):
        emu.fault("costs", kind="wrong_types", value={"code": 1201, "msg": "no such window"})
        with pytest.raises(RequestRejected, match="no such window"):
            await client.call(v1.AccountCosts(start_time=0, end_time=1))


async def test_the_wrong_kind_of_request_is_a_type_error() -> None:
    """A call cannot be submitted, a task cannot be called, and the message says what to use."""
    async with pair() as (_, client):
        wrong: Any = v1.AccountCosts(start_time=0, end_time=1)
        with pytest.raises(TypeError, match=r"client\.call"):
            await client.submit(wrong)
        wrong = v1.TextToVideo
        with pytest.raises(TypeError, match="not its type: TextToVideo"):
            await client.submit(wrong)
        wrong = clip()
        with pytest.raises(TypeError, match=r"client\.submit"):
            await client.call(wrong)


async def test_list_pages_newest_first() -> None:
    """Records are plain data, and a page shorter than asked for is the last."""
    async with pair() as (_, client):
        made = [await client.submit(clip()) for _ in range(3)]
        page = await client.list(v1.TextToVideo, page_size=2)
        assert [r.task_id for r in page] == [made[2].id, made[1].id]
        assert [r.task_id for r in await client.list(v1.TextToVideo, page=2, page_size=2)] == [made[0].id]
        assert await client.list(v1.ImageGeneration) == []


@pytest.mark.parametrize("bad", [{"page": 0}, {"page": 1001}, {"page_size": 0}, {"page_size": 501}])
async def test_list_checks_its_bounds(bad: dict[str, int]) -> None:
    """Wrong bounds are refused before anything is sent."""
    async with pair() as (emu, client):
        with pytest.raises(RequestInvalid, match=next(iter(bad))):
            await client.list(v1.TextToVideo, **bad)
        assert emu.ledger.lists == []


async def test_a_list_that_cannot_be_read() -> None:
    """A page of another shape is BadResponse."""
    async with pair() as (emu, client):
        emu.fault("list", kind="wrong_types", value={"not": "a list"})
        with pytest.raises(BadResponse, match="list cannot be read"):
            await client.list(v1.TextToVideo)


async def test_request_is_the_escape_hatch() -> None:
    """Any path is sent signed and gives plain objects; a GET is repeated, a POST never."""
    async with pair() as (emu, client):
        body = {"model_name": "kling-v3", "prompt": "x", "external_task_id": "raw"}
        data = await client.request("post", "/v1/videos/text2video", json=body)
        assert data["task_status"] == "submitted"
        emu.fault("query", code=5000, times=2)
        found = await client.request("GET", "/v1/videos/text2video/raw")
        assert found["task_id"] == data["task_id"]
        emu.fault("create", code=5000)
        with pytest.raises(ServerError):
            await client.request("POST", "/v1/videos/text2video", json=body)
        assert len(emu.ledger.creates) == 2
        page = await client.request("GET", "/v1/videos/text2video", params={"pageNum": "1", "pageSize": "5"})
        assert len(page) == 1


@pytest.mark.parametrize("path", ["//evil.example", "/a/../b", "v1/x", "/a?b=c", "/a#b", "/./a", ""])
async def test_request_stays_below_the_base_url(path: str) -> None:
    """A path that could lead elsewhere is refused before anything is sent."""
    async with pair() as (emu, client):
        with pytest.raises(RequestInvalid, match="path"):
            await client.request("GET", path)
        assert emu.ledger.rows == []


async def test_raw_tasks_queue_like_all_others() -> None:
    """An endpoint without types gives its slots, its path, and its result as plain data."""
    async with pair({"image": 9}) as (emu, client):
        request = RawTask(
            path="/v1/images/generations",
            body={"model_name": "kling-v3", "prompt": "x", "n": 2},
            pool="image",
            weight=2,
        )
        task = await client.submit(request, external_task_id="raw")
        assert client.account.limits()["image"].held == 2
        result = await task.wait()
        assert len(result.raw["images"]) == 2
        assert [row.external_task_id for row in emu.ledger.created] == ["raw"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prompt": object()}, "body"),
        ({"prompt": "\ud800"}, "body"),
        ({"external_task_id": "mine"}, "body['external_task_id']"),
    ],
    ids=["no JSON", "half a character", "id"],
)
async def test_a_raw_body_that_cannot_be_sent_is_refused(body: dict[str, Any], field: str) -> None:
    """It is refused before it queues; an id within the body would be overwritten unseen."""
    async with pair() as (emu, client):
        with pytest.raises(RequestInvalid) as caught:
            await client.submit(RawTask(path="/v1/images/generations", body=body))
        assert [problem.field for problem in caught.value.problems] == [field]
        assert emu.ledger.rows == []


@pytest.mark.parametrize("bad", ["../../account/costs", "..", "a/b", "", "a b", "x" * 129, "ä", "a?b"])
@pytest.mark.parametrize("which", ["task_id", "external_task_id"])
async def test_attach_refuses_ids_that_could_name_another_path(bad: str, which: str) -> None:
    """The id is refused before a path is built, and the error names the argument."""
    async with pair() as (emu, client):
        ids: Any = {which: bad}
        with pytest.raises(RequestInvalid, match=which):
            client.attach(v1.TextToVideo, **ids)
        assert emu.ledger.rows == []


@pytest.mark.parametrize("ids", [{}, {"task_id": "1", "external_task_id": "2"}])
async def test_attach_takes_exactly_one_id(ids: dict[str, str]) -> None:
    """Neither none nor both are accepted."""
    async with pair() as (_, client):
        wrong: Any = ids
        with pytest.raises(RequestInvalid, match="one of them"):
            client.attach(v1.TextToVideo, **wrong)


async def test_submit_refuses_a_bad_external_id_and_takes_a_callback() -> None:
    """The id must be fit for a path; the callback address is sent."""
    async with pair() as (emu, client):
        with pytest.raises(RequestInvalid, match="external_task_id"):
            await client.submit(clip(), external_task_id="a/b")
        await client.submit(clip(), callback_url="https://example.com/hook")
        assert (emu.ledger.creates[0].body or {})["callback_url"] == "https://example.com/hook"


@pytest.mark.parametrize("how", ["submit", "run"])
async def test_an_address_for_callbacks_is_checked_before_anything_is_paid(how: str) -> None:
    """By its form everywhere; a private host only where the API is on this machine, as the emulator is."""
    async with pair() as (emu, client):
        for url in ("https:///hook", "https://a.example/ hook", "https://a.example/hook\n", "hook"):
            with pytest.raises(RequestInvalid, match="callback_url: the address"):
                await getattr(client, how)(clip(), callback_url=url)
        assert emu.ledger.creates == []
        await getattr(client, how)(clip(), callback_url="http://localhost:8000/hook")
    async with Client(api_key="k", limits={"video": 5}) as client:
        with pytest.raises(RequestInvalid, match="callback_url: the API cannot post to 'localhost'"):
            await getattr(client, how)(clip(), callback_url="http://localhost:8000/hook")


@pytest.mark.parametrize(
    "wrong",
    [
        {"priority": None},
        {"priority": "high"},
        {"priority": 0.5},
        {"label": None},
        {"label": ["a"]},
        {"queue_timeout": "5"},
        {"queue_timeout": -1},
        {"queue_timeout": float("nan")},
    ],
    ids=str,
)
async def test_a_place_in_the_queue_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    """Priority, label and timeout are checked before they queue, where they would stop all others."""
    async with pair({"video": 1}, client={"limits": {"video": 1}}) as (emu, client):
        await client.submit(clip())
        waiting = asyncio.create_task(client.submit(clip()))
        await settle()
        with pytest.raises(RequestInvalid) as caught:
            await client.submit(clip(), **wrong)
        assert [problem.field for problem in caught.value.problems] == list(wrong)
        assert (await waiting).id and len(emu.ledger.created) == 2


async def test_with_options_shares_slots_and_life() -> None:
    """The derived client has other settings and the same pools; equal settings share a poller."""
    async with pair({"video": 2}, client={"limits": {"video": 2}}) as (emu, client):
        quick = client.with_options(
            polling=Polling(min_interval=0.5, max_interval=0.5), timeouts=Timeouts(read=5)
        )
        assert quick._engine.poller is not client._engine.poller
        for _ in range(
            3
        ):  # other patience needs no poller of its own, or each request would leave one behind
            assert client.with_options(retry=Retry(max_tries=1))._engine.poller is client._engine.poller
        assert client.with_options()._engine.poller is client._engine.poller
        await asyncio.gather(*(c.run(clip()) for c in (client, quick) for _ in range(3)))
        assert emu.ledger.peak("video") == 2
        await quick.aclose()
        with pytest.raises(ClientClosed):
            await client.submit(clip())


async def test_a_poller_keeps_to_the_timeouts_of_the_client_it_was_made_from() -> None:
    """Other timeouts, then another `Polling`: the status queries of the last client keep those timeouts."""
    patient = Client(api_key="k").with_options(timeouts=Timeouts(total=7))
    poller = patient.with_options(polling=Polling(min_interval=3))._engine.poller
    assert poller._reader._timeouts == patient._engine.timeouts == Timeouts(total=7)


async def test_a_misspelt_pool_does_not_go_unseen() -> None:
    """A limit for such a pool would bind nothing, and reopening it would open nothing."""
    for name, meant in {"videos": "video", "vidoe": "video", "imgae": "image"}.items():
        with pytest.raises(ConfigurationError, match=f"'{name}'.* is no pool; did you mean '{meant}'"):
            Client(api_key="k", limits={name: 3})
    with pytest.warns(KlingWarning, match=r"films.* is none of the pools known here: video, image"):
        Client(api_key="k", limits={"films": 20})
    async with pair() as (_, client):
        await client.submit(clip())
        with pytest.raises(ConfigurationError, match="no pool 'films' in use; there are video"):
            client.account.reopen("films")
        assert "films" not in client.account.limits()


async def test_clients_that_share_slots_know_each_others_tasks() -> None:
    """A task attached through the other client still has one place, one set of slots and one schedule."""
    async with pair({"video": 5}, client={"limits": {"video": 5}}) as (_, client):
        other = client.with_options(polling=Polling(min_interval=0.5, max_interval=0.5))
        task = await client.submit(clip())
        again = other.attach(v1.TextToVideo, task_id=task.id)
        assert [t.id for t in other.tasks()] == [task.id] == [t.id for t in client.tasks()]
        await again.refresh()
        assert client.account.limits()["video"].held == 1
        assert await again.wait() and task.done
        assert client.account.limits()["video"].held == 0 and client.tasks() == other.tasks() == []


async def test_closing_twice_and_without_use() -> None:
    """Closing is harmless and leaves asyncio as it was; a closed client says so."""
    before = asyncio.all_tasks()
    client = Client(api_key="k", base_url="http://127.0.0.1:9")
    assert repr(client) == "<Client http://127.0.0.1:9 idle>"
    await client.aclose()
    await client.aclose()
    assert repr(client) == "<Client http://127.0.0.1:9 closed>"
    assert asyncio.all_tasks() == before
    with pytest.raises(ClientClosed):
        async with client:
            pass


async def test_closed_pools_show_in_the_repr() -> None:
    """The state stands in one line."""
    async with pair(client={"api_key": "wrong"}) as (emu, client):
        with pytest.raises(Exception, match="api key not found"):
            await client.submit(clip())
        assert "video closed" in repr(client) and emu.url in repr(client)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"limits": {"video": 0}}, "limits"),
        ({"limits": {"video": True}}, "limits"),
        ({"limits": {"video": 2.5}}, "limits"),
        ({"max_task_life": 0}, "max_task_life"),
        ({"max_task_life": float("inf")}, "max_task_life"),
        ({"api_key": None}, "KLING_API_KEY"),
        ({"base_url": "ftp://x"}, "KLING_BASE_URL"),
        ({"proxy": "proxy.example:3128"}, "proxy: use http://"),
        ({"proxy": "socks5://proxy.example:3128"}, "proxy: socks5:// proxies"),
    ],
)
def test_bad_settings_are_named(options: dict[str, Any], names: str) -> None:
    """Construction fails with the argument or variable to change."""
    settings: dict[str, Any] = {"api_key": "k", **options}
    with pytest.raises(ConfigurationError, match=names):
        Client(**settings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeouts": 30}, r"timeouts must be a Timeouts, not int.*Timeouts\("),
        ({"polling": 5}, r"polling must be a Polling, not int.*Polling\("),
        ({"retry": 3}, r"retry must be a Retry, not int.*Retry\("),
        ({"on_event": "x"}, "on_event must be callable, not str"),
        ({"api_key": b""}, "api_key must be text, not bytes"),
        ({"limits": {"videos": 3}}, "did you mean 'video'"),
    ],
)
def test_options_of_a_wrong_type_are_named_at_construction(options: dict[str, Any], words: str) -> None:
    """Nothing is sent and nothing paid: a wrong type is an error of the constructor, with the right one."""
    settings: dict[str, Any] = {"api_key": "key", **options}
    with pytest.raises(ConfigurationError, match=words):
        Client(**settings)


def test_a_view_of_a_client_checks_its_options_too() -> None:
    """`with_options` names a wrong type, as the constructor does."""
    client = Client(api_key="key")
    with pytest.raises(TypeError, match="polling must be a Polling, not int"):
        client.with_options(polling=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (v1.TextToVideo, "not its type: TextToVideo"),
        (v1.IdentifyFace, "not its type: IdentifyFace"),
        (None, "NoneType is not a request"),
        ({"prompt": "x"}, "dict is not a request"),
    ],
)
def test_what_is_no_request_is_a_type_error(odd: Any, words: str) -> None:
    """A type in place of a request too: by ``check`` and ``estimate`` as by ``submit``."""
    client = Client(api_key="k")
    for use in (client.check, client.estimate):
        with pytest.raises(TypeError, match=words):
            use(odd)


def test_check_judges_as_submit_does_and_sends_nothing(tmp_path: Path) -> None:
    """``client.check()`` needs no loop; fields, rules, files and the kind of request are judged."""
    client = Client(api_key="k", base_url="http://127.0.0.1:1")
    client.check(v1.TextToVideo(prompt="x"))
    client.check(v1.TextToSpeech(text="x", voice_id="oversea_male1", voice_language="en"))
    for wrong, field in (
        (v1.TextToVideo(prompt="x", duration=99), "duration"),
        (v1.TextToVideo(), "prompt"),
        (v1.ImageToVideo(prompt="x", image=tmp_path / "missing.png"), "image"),
        (v1.ImageToVideo(prompt="x", image=b"no picture"), "image"),
        (RawTask(path="/../x", body={}), "path"),
    ):
        with pytest.raises(RequestInvalid) as caught:
            client.check(wrong)
        assert [problem.field for problem in caught.value.problems] == [field]
    with pytest.raises(TypeError):
        client.check("text")  # type: ignore[arg-type]


async def test_a_request_too_heavy_for_the_pool() -> None:
    """An image set larger than the account can hold is refused before anything is sent."""
    async with pair(client={"limits": {"image": 4}}) as (emu, client):
        with pytest.raises(RequestInvalid, match="takes 5 image slots; this account has 4"):
            await client.submit(still(n=5))
        assert emu.ledger.creates == []


async def test_a_path_prefix_is_kept() -> None:
    """A gateway's prefix stands before every path."""
    async with pair(prefix="/kling") as (emu, client):
        assert emu.url.endswith("/kling")
        assert (await client.run(clip())).videos


async def test_both_credentials_and_a_server_clock_that_is_off() -> None:
    """A key pair signs; a refused token is signed anew by the server's clock and sent once more."""
    async with emulator(slots={"video": 5}) as emu:
        emu.set_duration(10)
        for skew in (0, -7200, 7200):
            emu.skew = skew
            async with client_of(emu, access_key=emu.access_key, secret_key=emu.secret_key) as client:
                assert (await client.run(clip())).videos
        assert len(emu.ledger.created) == 3


RUN_TWICE = """
import asyncio, sys, threading
from kling_async import Client, Polling, v1
from kling_async.testing import Emulator

ready, stop = threading.Event(), threading.Event()
urls = []

def be_patient():
    asyncio.get_running_loop().slow_callback_duration = 60  # debug mode tells of slow machines too

def serve():
    async def main():
        be_patient()
        async with Emulator(slots={"video": 5}) as emu:
            emu.set_duration(0.5)
            urls.append(emu.url)
            ready.set()
            await asyncio.get_running_loop().run_in_executor(None, stop.wait)
    asyncio.run(main())

thread = threading.Thread(target=serve)
thread.start()
assert ready.wait(30)
polling = Polling(min_interval=0.05, max_interval=0.1)
client = Client(api_key="emulator-key", base_url=urls[0], polling=polling, limits={"video": 1})

async def first():
    be_patient()
    task = await client.submit(v1.TextToVideo(prompt="x"))
    asyncio.create_task(client.run(v1.TextToVideo(prompt="queues when the loop ends")))
    asyncio.create_task(task.wait())
    await asyncio.sleep(0.02)
    return task

async def second(task):
    be_patient()
    assert (await task.wait()).videos
    assert len(await client.list(v1.TextToVideo)) >= 1
    CLOSE

try:
    task = asyncio.run(first())
    asyncio.run(second(task))
finally:
    stop.set()
    thread.join()
print("fine", len(client.tasks()))
"""


@pytest.mark.real
@pytest.mark.parametrize("close", ["await client.aclose()", "pass"])
def test_two_loops_in_a_row_leave_no_warning(close: str) -> None:
    """Rule 17: a task of one asyncio.run is waited for in the next; stderr stays empty, closed or not."""
    code = textwrap.dedent(RUN_TWICE).replace("CLOSE", close)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("fine")


@pytest.mark.real
@pytest.mark.parametrize("ends", [True, False], ids=["the loop has ended", "between two runs"])
def test_giving_up_and_reopening_need_no_running_loop(ends: bool) -> None:
    """A script may call them after, or between, its asyncio.run; a create is given up in the next one."""

    async def begin() -> Client:
        async with emulator(slots={"video": 5}) as emu:
            client = Client(api_key=emu.api_key, base_url=emu.url, retry=Retry(max_tries=1))
            await client.submit(clip())
            emu.fault("create", kind="lost_after")
            emu.fault("query", code=5000)
            with pytest.raises(AmbiguousCreate):
                await client.submit(clip(), external_task_id="lost")
            return client

    with asyncio.Runner() as runner:
        client = runner.run(begin())
        if ends:
            runner.close()
        assert client.account.limits()["video"].held == 2
        assert client.abandon("lost") and client.account.limits()["video"].held == 2
        client.account.reopen()

        async def end() -> None:
            assert client.unresolved() == [] and not client.abandon("lost")
            assert client.account.limits()["video"].held == 1
            await client.aclose()

        if ends:
            asyncio.run(end())
        else:
            runner.run(end())


@pytest.mark.filterwarnings("ignore::kling_async.errors.KlingWarning")
async def test_a_call_that_names_what_is_not_there_is_refused_as_such() -> None:
    """The error is about a voice, not a task, and has the vendor's words and code."""
    async with pair() as (_, client):
        speech = v1.TextToSpeech(text="Hello", voice_id="oversea_female1", voice_language="en")
        with pytest.raises(RequestRejected, match="not found") as caught:
            await client.call(speech)
        assert (caught.value.code, caught.value.http_status) == (1201, 400)
        assert not caught.value.message.startswith("no task")
